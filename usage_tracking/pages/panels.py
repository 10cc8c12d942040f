"""The charts of a report, each with the same values as a table."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeAlias

from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from .. import conf
from ..days import DayRange, day_of
from ..reports import Column, PeriodReport, Totals
from ..reports.stacks import ranked, sums_by_key
from .charts import Chart, Layer, color_class, color_classes, stacked_bars
from .formatting import cost_text, count, day_text, tick_text, tokens_text, usd_tick

#: A section, a provider, or a provider and its model.
Key: TypeAlias = tuple[Any, ...]
#: Returns the link of a bar from its days and its key, None for several keys.
Url: TypeAlias = Callable[[DayRange, Key | None], str]

#: Longer periods are drawn by week.
_MOST_DAYS = 92
_WEEK = 7
#: If there are more sections, models or providers, those after the first share one layer.
_MOST_LAYERS = 12
_METRICS = ("calls", "tokens", "cost")


@dataclass(frozen=True, slots=True)
class Legend:
    """A section, model or provider, or several, and the CSS class of its colour."""

    label: str
    css_class: str


@dataclass(frozen=True, slots=True)
class Row:
    """An hour, a day or a week in the table of a chart."""

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

    #: What the layers are, such as "Sections".
    title: str
    #: What the columns are and what is stacked, such as "by day, stacked by section".
    caption: str
    #: The heading of the first column of the tables.
    column: str
    legend: tuple[Legend, ...]
    panels: tuple[Panel, ...]
    by_week: bool


@dataclass(frozen=True, slots=True)
class _Column:
    """One or more columns of the report, drawn as one."""

    days: DayRange
    #: For the axis, and for tooltips and tables.
    short: str
    long: str
    #: The totals of each layer, and of all.
    layers: tuple[Totals, ...]
    totals: Totals


@dataclass(frozen=True, slots=True)
class _Metric:
    name: str
    title: str
    #: The text to show if there are calls, but no value is known.
    none_known: str
    value: Callable[[Totals], int | Decimal | None]
    #: Formats the value together with the number of calls that it leaves out.
    text: Callable[[Totals], str]
    #: Formats the value for a cell of the table.
    cell: Callable[[Totals], str]
    tick: Callable[[Decimal], str]
    whole: bool = True


def panels_of(
    report: PeriodReport,
    url: Url | None = None,
    *,
    metrics: Sequence[str] = _METRICS,
    listed: int | None = None,
) -> Panels:
    """Return charts of the columns of `report`, which are hours or days, or weeks if they are many.

    If there are more than twelve sections, models or providers, the last ones share a layer.

    Args:
        report: What to draw.
        url: Makes the link of a bar; without it bars have no links.
        metrics: Which charts to return: "calls", "tokens" and "cost", in the order to show them.
        listed: How many keys have a layer of their own, at most eleven of more than twelve; the
            others share the last. None sets no other limit.
    """
    by_week = not report.is_hourly and len(report.columns) > _MOST_DAYS
    keys = ranked(report.columns, report.rank)
    most = _MOST_LAYERS - 1 if len(keys) > _MOST_LAYERS else len(keys)
    shown = keys[: most if listed is None else min(most, listed)]
    folded = frozenset(keys[len(shown) :])
    legend = _legend(report.stack, shown)
    if folded:
        legend.append(Legend(more_text(report.stack, len(folded)), "ai-usage-color-more"))
    groups: list[frozenset[Key]] = [frozenset([key]) for key in shown]
    groups += [folded] if folded else []
    columns = [
        _column(batch, groups) for batch in _batches(report.columns, _WEEK if by_week else 1)
    ]
    layers = list(zip(legend, groups, strict=True))
    titles = {"section": _("Sections"), "model": _("Models"), "provider": _("Providers")}
    heading, by_column = (
        (_("Hour"), _("by hour"))
        if report.is_hourly
        else (_("Week"), _("by week"))
        if by_week
        else (_("Day"), _("by day"))
    )
    stacked = {
        "section": _("stacked by section"),
        "model": _("stacked by model"),
        "provider": _("stacked by provider"),
    }
    named = {metric.name: metric for metric in _metrics()}
    return Panels(
        title=titles[report.stack],
        caption=f"{by_column}, {stacked[report.stack]}",
        column=heading,
        legend=tuple(legend),
        panels=tuple(_panel(named[name], columns, layers, url) for name in metrics),
        by_week=by_week,
    )


def model_label(provider: str, model_name: str) -> str:
    """Return the name of a model; "?" stands for an unknown part."""
    return f"{provider or '?'} / {model_name or '?'}"


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
            tick_text,
        ),
        _Metric(
            "tokens",
            _("Tokens"),
            _("No provider reported tokens."),
            lambda totals: totals.total_tokens,
            lambda totals: _with_unknown(tokens_text(totals), totals.unknown_usage),
            tokens_text,
            tick_text,
        ),
        _Metric(
            "cost",
            _("Cost (USD)"),
            _("No call has a known price."),
            lambda totals: totals.cost,
            lambda totals: _with_unknown(cost_text(totals), totals.unpriced),
            cost_text,
            usd_tick,
            whole=False,
        ),
    )


def _panel(
    metric: _Metric,
    columns: Sequence[_Column],
    layers: Sequence[tuple[Legend, frozenset[Key]]],
    url: Url | None,
) -> Panel:
    def link(column: _Column, keys: frozenset[Key]) -> str:
        if url is None:
            return ""
        return url(column.days, next(iter(keys)) if len(keys) == 1 else None)

    parts = [
        (legend, keys, [column.layers[n] for column in columns])
        for n, (legend, keys) in enumerate(layers)
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
                tuple(link(column, keys) for column in columns) if url else (),
            )
            for legend, keys, of_columns in parts
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
                    *(metric.cell(of_columns[n]) for _legend, _keys, of_columns in parts),
                    metric.cell(column.totals),
                ),
            )
            for n, column in enumerate(columns)
            if column.totals.calls
        ),
    )


def _column(columns: Sequence[Column], groups: Sequence[Collection[Key]]) -> _Column:
    parts = columns[0].parts if len(columns) == 1 else sums_by_key(columns)
    layers = tuple(
        Totals.sum(totals for key, totals in parts.items() if key in keys) for keys in groups
    )
    start, last = columns[0].start, columns[-1].start
    if isinstance(start, dt.datetime):
        day = day_of(start)
        short, long = _hour_texts(start.astimezone(conf.day_timezone()))
        days = DayRange(day, day)
    else:
        days = DayRange(start, last)
        short, long = date_format(start, "j M"), day_text(days)
    return _Column(days, short, long, layers, Totals.sum(layers))


def _hour_texts(local: dt.datetime) -> tuple[str, str]:
    """Return the time for the axis, and the day and time for tables.

    The time has the name of the zone where the clocks change within three hours, because it may
    occur twice.
    """
    near = dt.timedelta(hours=3)
    utc = local.astimezone(dt.UTC)
    offsets = {(utc + step).astimezone(local.tzinfo).utcoffset() for step in (-near, near)}
    time = date_format(local, "H:i")
    zone = f" {local.tzname()}" if len(offsets) > 1 else ""
    return time, f"{date_format(local, 'DATE_FORMAT')}, {time}{zone}"


def _batches(columns: Sequence[Column], size: int) -> list[Sequence[Column]]:
    """Return `columns` in batches of `size`, of which only the oldest can be shorter."""
    ends = range(len(columns), 0, -size)
    return [columns[max(end - size, 0) : end] for end in ends][::-1]


def _with_unknown(text: str, left_out: int) -> str:
    if not left_out:
        return text
    note = ngettext("unknown for %(n)s call", "unknown for %(n)s calls", left_out)
    return f"{text} ({note % {'n': count(left_out)}})"


def _legend(stack: str, keys: Sequence[Key]) -> list[Legend]:
    if stack == "section":
        sections, rest = conf.sections(), conf.default_section()
        return [
            Legend(str(sections.get(code, code)), color_class(code, sections, rest))
            for (code,) in keys
        ]
    classes = color_classes(["/".join(key) if any(key) else "" for key in keys])
    if stack == "provider":
        labels = [provider or "?" for (provider,) in keys]
    else:
        labels = [model_label(*key) for key in keys]
    return [Legend(label, css_class) for label, css_class in zip(labels, classes, strict=True)]


def more_text(stack: str, number: int) -> str:
    """Return a label for the `number` keys of a stack that share a layer or a line."""
    if stack == "section":
        text = ngettext("%(n)d more section", "%(n)d more sections", number)
    elif stack == "model":
        text = ngettext("%(n)d more model", "%(n)d more models", number)
    else:
        text = ngettext("%(n)d more provider", "%(n)d more providers", number)
    return text % {"n": number}
