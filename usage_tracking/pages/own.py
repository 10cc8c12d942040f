"""A user's own month: the context of `usage_tracking/summary.html`."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.db import router
from django.utils.translation import gettext as _

from ..days import EARLIEST, DayRange
from ..models import AIUsageLog, today
from ..reports import PeriodReport, SectionLine, Totals, period_report
from .cards import Card, calls_card
from .formatting import cost_text, count, month_text, share, tokens_text
from .panels import more_text, panels_of

_LEVELS = range(1, 7)


@dataclass(frozen=True, slots=True)
class Month:
    """A month that the page links to."""

    first: dt.date

    @property
    def value(self) -> str:
        """The month in a URL."""
        return f"{self.first:%Y-%m}"

    @property
    def label(self) -> str:
        """The month as text, with its year."""
        return month_text(self.first)


def own_month(
    user: Any,
    month: dt.date,
    *,
    show_cost: bool = True,
    heading: int = 2,
    limit: int | None = None,
) -> dict[str, Any]:
    """Return the context of `usage_tracking/summary.html`, in two statements.

    Args:
        user: Whose calls to show.
        month: The first day of the month.
        show_cost: Whether to show costs. Otherwise they are not in the context but for `report`.
        heading: The level of the heading, from 1 to 6.
        limit: How many sections to list; the others share one line. None lists all.

    Raises:
        ValueError: `heading` or `limit` is invalid.
    """
    heading = _whole("heading", heading)
    if heading not in _LEVELS:
        raise ValueError(f"heading must be a level from 1 to 6, not {heading}.")
    if limit is not None:
        limit = _whole("limit", limit)
        if limit < 1:
            raise ValueError(f"limit must be 1 or more sections, or None for all, not {limit}.")
    # The current month ends today: future days are not days without calls.
    last = DayRange.of_month(month).last or month
    report = period_report(month, min(last, max(today(), month)), user=user)
    drawn = panels_of(report, listed=limit)
    return {
        "month": month_text(month),
        "report": report,
        "cards": _cards(report.totals, show_cost=show_cost),
        "drawn": replace(
            drawn,
            panels=tuple(
                # A page may show several months, and each name becomes an id.
                replace(panel, name=f"{panel.name}-{month:%Y-%m}")
                for panel in drawn.panels
                if show_cost or panel.name != "cost"
            ),
        ),
        "lines": [
            (
                name,
                count(totals.calls),
                tokens_text(totals),
                cost_text(totals) if show_cost else "",
            )
            for name, totals in _by_section(report, limit)
        ],
        "show_cost": show_cost,
        "heading": heading,
        "summary_id": f"ai-usage-{month:%Y-%m}",
    }


def first_month(user: Any) -> dt.date | None:
    """Return the first day of the month of the first call of `user`, in one statement."""
    logs = AIUsageLog.objects.using(router.db_for_read(AIUsageLog)).filter(user=user)
    day = logs.order_by("created_at").values_list("day", flat=True).first()
    return day and max(day, EARLIEST).replace(day=1)


def months_between(first: dt.date, last: dt.date) -> Sequence[Month]:
    """Return the months from `first` to `last`, both included and both the first day of theirs."""
    numbers = range(first.year * 12 + first.month - 1, last.year * 12 + last.month)
    return tuple(Month(dt.date(number // 12, number % 12 + 1, 1)) for number in numbers)


def _cards(totals: Totals, *, show_cost: bool) -> list[Card]:
    failed = _("%(share)s of the calls") % {"share": share(totals.failures, totals.calls)}
    return [
        calls_card(totals),
        Card(_("Tokens"), tokens_text(totals)),
        *([Card(_("Cost"), cost_text(totals))] if show_cost else []),
        Card(_("Failures"), count(totals.failures), failed if totals.failures else ""),
    ]


def _by_section(report: PeriodReport, limit: int | None) -> list[tuple[str, Totals]]:
    """Return the sections with their totals; those after the first `limit` in one line."""
    lines = [(line.display_name, line.figures) for line in report.by_section[:limit]]
    others: Sequence[SectionLine] = report.by_section[len(lines) :]
    if others:
        totals = Totals.sum(line.figures for line in others)
        lines.append((more_text("section", len(others)), totals))
    return lines


def _whole(name: str, value: Any) -> int:
    """Return a whole number, which a template may also give as text, such as `limit="5"`."""
    text = str(value)
    if isinstance(value, bool) or not re.fullmatch(r"-?[0-9]+", text):
        raise ValueError(f"{name} must be a whole number, not {value!r}.")
    return int(text)
