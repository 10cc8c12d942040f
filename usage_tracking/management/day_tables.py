"""Lay out the report of a day or a period as tables of text."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

from ..days import DayRange
from ..reports import REPRICE, DayReport, Period, Totals, UnpricedModel
from .formatting import COLUMNS, NONE, UNKNOWN, average, cells, change, count, money
from .tables import Table, shown


def headline(report: DayReport) -> str:
    """Return one line that names the days, the time zone, the user and the section."""
    until = report.totals.until
    return ", ".join(
        (
            f"AI usage of {' to '.join(map(str, _first_and_last(report.totals)))}"
            + (f" until {until:%H:%M:%S}" if until else "")
            + f" ({report.timezone})",
            "all users" if report.username is None else f"user {shown(report.username)}",
            "all sections" if report.section is None else f"section {shown(report.section)}",
        )
    )


def day_tables(report: DayReport) -> Iterator[Table]:
    """Yield the totals, the breakdowns that have lines, the missing data and the outbox."""
    yield _totals(report)
    if report.by_section:
        yield _breakdown(
            "SECTION",
            (
                (_section(line.section, line.display_name), line.figures)
                for line in report.by_section
            ),
        )
        yield _breakdown(
            "MODEL",
            ((_model(line.model_name, line.provider), line.figures) for line in report.by_model),
        )
        listed = sum(line.user_id is not None for line in report.top_users)
        title = f"TOP {listed} OF {report.users} USERS" if report.users > listed else "USER"
        yield _breakdown(
            title,
            (
                ("Unattributed" if line.username is None else shown(line.username), line.figures)
                for line in report.top_users
            ),
        )
    yield _missing_data(report.totals.figures)
    if report.unpriced_models:
        yield from _unpriced(report.unpriced_models)
    outbox = report.outbox
    yield Table(
        ("OUTBOX", "BYTES WAITING", "FILES", "DEAD LETTERS"),
        (("", f"{outbox.bytes:,}", f"{outbox.files:,}", f"{outbox.dead_letters:,}"),),
    )


def _totals(report: DayReport) -> Table:
    now, before = report.totals.figures, report.previous.figures
    rows = (
        ("Calls", count(now.calls), count(before.calls), change(now.calls, before.calls)),
        (
            "Failed",
            count(now.failures),
            count(before.failures),
            change(now.failures, before.failures),
        ),
        *(
            (name, count(a), count(b), change(a, b))
            for name, a, b in (
                ("Prompt tokens", now.prompt_tokens, before.prompt_tokens),
                ("Completion tokens", now.completion_tokens, before.completion_tokens),
                ("Total tokens", now.total_tokens, before.total_tokens),
            )
        ),
        *(
            (name, count(a), count(b), change(a, b))
            for name, a, b in (
                ("Cached tokens", now.cached_tokens, before.cached_tokens),
                ("Cache write tokens", now.cache_write_tokens, before.cache_write_tokens),
                ("Reasoning tokens", now.reasoning_tokens, before.reasoning_tokens),
                ("Audio tokens", now.audio_tokens, before.audio_tokens),
                ("Image tokens", now.image_tokens, before.image_tokens),
                ("Tool calls", now.tool_calls, before.tool_calls),
            )
            if a or b  # most sites use few of them
        ),
        ("Cost USD", money(now.cost), money(before.cost), change(now.cost, before.cost)),
        (
            "Average ms",
            average(now),
            average(before),
            change(now.average_response_time_ms, before.average_response_time_ms),
        ),
    )
    return Table(
        (
            "TOTAL",
            _column(report.totals),
            _column(report.previous),
            "CHANGE",
        ),
        rows,
    )


def _missing_data(figures: Totals) -> Table:
    rows = (
        ("Unattributed (no user)", figures.unattributed, None),
        ("Unknown usage (no tokens)", figures.unknown_usage, figures.failed_unknown_usage),
        ("Unpriced (no cost)", figures.unpriced, figures.failed_unpriced),
    )
    return Table(
        ("MISSING DATA", "CALLS", "SHARE", "FAILED"),
        tuple(
            (
                name,
                count(calls),
                f"{calls / figures.calls:.1%}" if figures.calls else NONE,
                NONE if failed is None else count(failed),
            )
            for name, calls, failed in rows
        ),
    )


def _unpriced(models: tuple[UnpricedModel, ...]) -> Iterator[Table]:
    yield Table(
        ("UNPRICED MODEL", "CALLS", "UNITS", "REASON"),
        tuple(
            (
                _model(line.model_name, line.provider),
                count(line.calls),
                ", ".join(line.units) or UNKNOWN,
                shown(line.reason) or UNKNOWN,
            )
            for line in models
        ),
        texts=(0, 2, 3),
    )
    if settings := [(shown(line.setting),) for line in models if line.setting]:
        yield Table(
            ("SETTINGS THAT PRICE THEM (write USD for ...)",),
            (*settings, (f"Then run: python manage.py {REPRICE}",)),
        )


def _breakdown(title: str, lines: Iterator[tuple[str, Totals]]) -> Table:
    return Table(
        (title, *COLUMNS),
        tuple((name, *cells(totals)) for name, totals in lines),
    )


def _first_and_last(period: Period) -> tuple[dt.date, ...]:
    """Return the first and the last day that the figures cover; one for a period of one day."""
    if period.last is None:
        return (period.date,)
    last = period.until.date() if period.until else period.last
    return (period.date, last)


def _column(period: Period) -> str:
    if period.last is None:
        return f"{period.date} {period.until:%H:%M}" if period.until else str(period.date)
    is_month = DayRange(period.date, period.last) == DayRange.of_month(period.date)
    if is_month and period.until is None:
        return f"{period.date:%Y-%m}"
    first, last = _first_and_last(period)
    return f"{first} to {last:%m-%d}" if first.year == last.year else f"{first} to {last}"


def _section(code: str, label: str) -> str:
    return shown(code if label == code else f"{label} ({code})")


def _model(name: str, provider: str) -> str:
    return shown(f"{name or UNKNOWN} ({provider})" if provider else name or UNKNOWN)
