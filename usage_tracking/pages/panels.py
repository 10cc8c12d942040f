"""What pages show of a report: cards, and three charts of the same days with their tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeAlias

from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from .. import conf
from ..days import DayRange
from ..reports import DayLine, PeriodReport, Totals
from .charts import Chart, Layer, color_class, stacked_bars
from .formatting import average_text, cost_text, count, day_text, tokens_text

#: Returns the link of a bar from its days and its section, None for several sections.
Url: TypeAlias = Callable[[DayRange, str | None], str]

#: Longer periods are drawn by week.
_MOST_DAYS = 92
_WEEK = 7
#: If there are more sections, the smallest share one layer.
_MOST_SECTIONS = 12


@dataclass(frozen=True, slots=True)
class Card:
    """One value with its label."""

    label: str
    value: str
    detail: str = ""
    #: A link to the calls that the value counts.
    url: str = ""


@dataclass(frozen=True, slots=True)
class Legend:
    """A section, or several, and the CSS class of its colour."""

    label: str
    css_class: str


@dataclass(frozen=True, slots=True)
class Row:
    """A day or a week in the table of a chart."""

    label: str
    url: str
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Panel:
    """One chart, and the same values as a table for keyboards and screen readers."""

    name: str
    title: str
    description: str
    chart: Chart | None
    #: The text to show if there is no chart.
    note: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Panels:
    """The charts of a report and their common legend."""

    legend: tuple[Legend, ...]
    panels: tuple[Panel, ...]
    by_week: bool


@dataclass(frozen=True, slots=True)
class _Column:
    """One day, or the days of one week."""

    days: DayRange
    short: str
    long: str
    totals: Totals
    by_section: Mapping[str, Totals]

    def totals_of(self, codes: frozenset[str]) -> Totals:
        return Totals.sum(self.by_section[code] for code in codes if code in self.by_section)


@dataclass(frozen=True, slots=True)
class _Metric:
    name: str
    title: str
    none_known: str
    value: Callable[[Totals], int | Decimal | None]
    #: Formats the value together with the number of calls that it leaves out.
    text: Callable[[Totals], str]
    #: Formats the value for a cell of the table.
    cell: Callable[[Totals], str]
    tick: Callable[[Decimal], str]
    whole: bool = True


def calls_card(totals: Totals, url: str = "") -> Card:
    """Return the number of calls, with their average response time."""
    average = average_text(totals)
    detail = _("%(time)s on average") % {"time": average} if average else ""
    return Card(_("Calls"), count(totals.calls), detail, url)


def panels_of(report: PeriodReport, url: Url | None = None) -> Panels:
    """Return charts of the calls, tokens and cost of `report` by day, stacked by section.

    Periods of more than 92 days are drawn by week. If there are more than twelve sections, the
    smallest share the last layer.

    Args:
        report: What to draw.
        url: Makes the link of a bar; without it bars have no links.
    """
    by_week = len(report.by_day) > _MOST_DAYS
    columns = [_column(lines) for lines in _batches(report.by_day, _WEEK if by_week else 1)]
    sections = [line.section for line in report.by_section]
    folded = frozenset(sections[_MOST_SECTIONS - 1 :] if len(sections) > _MOST_SECTIONS else ())
    shown = [code for code in sections if code not in folded]
    legend = [Legend(_label(code), _color(code)) for code in shown]
    if folded:
        label = ngettext("%(n)d more section", "%(n)d more sections", len(folded))
        legend.append(Legend(label % {"n": len(folded)}, "ai-usage-color-more"))
    groups: list[frozenset[str]] = [frozenset([code]) for code in shown]
    groups += [folded] if folded else []
    return Panels(
        legend=tuple(legend),
        panels=tuple(
            _panel(metric, columns, list(zip(legend, groups, strict=True)), url)
            for metric in _metrics()
        ),
        by_week=by_week,
    )


def _metrics() -> tuple[_Metric, ...]:
    return (
        _Metric(
            "calls",
            _("Calls"),
            "",
            lambda totals: totals.calls,
            lambda totals: (
                ngettext("%(n)s call", "%(n)s calls", totals.calls) % {"n": count(totals.calls)}
            ),
            lambda totals: count(totals.calls),
            _compact,
        ),
        _Metric(
            "tokens",
            _("Tokens"),
            _("No provider reported tokens."),
            lambda totals: totals.total_tokens,
            lambda totals: _with_unknown(tokens_text(totals), totals.unknown_usage),
            tokens_text,
            _compact,
        ),
        _Metric(
            "cost",
            _("Cost (USD)"),
            _("No call has a known price."),
            lambda totals: totals.cost,
            lambda totals: _with_unknown(cost_text(totals), totals.unpriced),
            cost_text,
            lambda amount: f"${amount:,.{max(2, -_exponent(amount))}f}",
            whole=False,
        ),
    )


def _panel(
    metric: _Metric,
    columns: Sequence[_Column],
    layers: Sequence[tuple[Legend, frozenset[str]]],
    url: Url | None,
) -> Panel:
    def link(column: _Column, codes: frozenset[str]) -> str:
        if url is None:
            return ""
        return url(column.days, next(iter(codes)) if len(codes) == 1 else None)

    parts = [
        (legend, codes, [column.totals_of(codes) for column in columns]) for legend, codes in layers
    ]
    chart = stacked_bars(
        [column.short for column in columns],
        [
            Layer(
                legend.label,
                legend.css_class,
                tuple(metric.value(totals) for totals in of_columns),
                tuple(
                    f"{column.long}\n{legend.label}: {metric.text(totals)}"
                    for column, totals in zip(columns, of_columns, strict=True)
                ),
                tuple(link(column, codes) for column in columns) if url else (),
            )
            for legend, codes, of_columns in parts
        ],
        metric.tick,
        whole=metric.whole,
    )
    whole = Totals.sum(column.totals for column in columns)
    return Panel(
        name=metric.name,
        title=metric.title,
        description=metric.text(whole),
        chart=chart,
        note=(metric.none_known if whole.calls else "") if chart is None else "",
        rows=tuple(
            Row(
                column.long,
                url(column.days, None) if url else "",
                (
                    *(metric.cell(of_columns[n]) for _legend, _codes, of_columns in parts),
                    metric.cell(column.totals),
                ),
            )
            for n, column in enumerate(columns)
            if column.totals.calls
        ),
    )


def _column(lines: Sequence[DayLine]) -> _Column:
    days = DayRange(lines[0].date, lines[-1].date)
    by_section: dict[str, Totals] = {}
    for line in lines:
        for part in line.by_section:
            by_section[part.section] = by_section.get(part.section, Totals()).plus(part.figures)
    return _Column(
        days,
        date_format(lines[0].date, "j M"),
        day_text(days),
        Totals.sum(line.figures for line in lines),
        by_section,
    )


def _batches(lines: Sequence[DayLine], size: int) -> list[Sequence[DayLine]]:
    """Return `lines` in batches of `size`, of which only the oldest can be shorter."""
    ends = range(len(lines), 0, -size)
    return [lines[max(end - size, 0) : end] for end in ends][::-1]


def _with_unknown(text: str, left_out: int) -> str:
    if not left_out:
        return text
    note = ngettext("unknown for %(n)s call", "unknown for %(n)s calls", left_out)
    return f"{text} ({note % {'n': count(left_out)}})"


def _label(code: str) -> str:
    return conf.sections().get(code, code)


def _color(code: str) -> str:
    return color_class(code, conf.sections(), conf.default_section())


def _compact(number: Decimal) -> str:
    """Format a round number of an axis in thousands, millions or billions."""
    for power, unit in ((9, "B"), (6, "M"), (3, "k")):
        if number >= Decimal(10) ** power:
            return f"{(number / Decimal(10) ** power).normalize():f}{unit}"
    return f"{number.normalize():f}"


def _exponent(number: Decimal) -> int:
    exponent = number.as_tuple().exponent
    return exponent if isinstance(exponent, int) else 0
