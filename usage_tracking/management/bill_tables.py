"""Lay out a reconciliation as text: what was billed, what the log has, and where the rest is."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from decimal import Decimal

from ..days import DayRange, aware
from ..reports import (
    Explanation,
    Measure,
    Measures,
    ProviderReconciliation,
    ReconciledLine,
    tenths,
)
from .formatting import NONE, UNKNOWN, count, money
from .tables import Table, shown

_COLUMNS = ("REQUESTS", "CAPTURED", "%", "TOKENS", "CAPTURED", "%", "USD", "CAPTURED")
_PRICE = "PRICE RATIO"
_HUNDREDTH = Decimal("0.01")
#: More models or keys are not listed; JSON has them all.
_LISTED = 10


def headline(title: str, found: ProviderReconciliation, start: dt.date, end: dt.date) -> str:
    """Return one line that says how much of the bill the log has.

    Args:
        title: The provider for people.
        found: What was compared.
        start: The first day that was asked for.
        end: The last day.
    """
    if not found.days:
        verdict = "can be compared" if found.pruned_days else "is stored"
        return f"{title}: no bill {_period([start, end])} (UTC) {verdict}"
    compared = f"{_period(found.days)} (UTC)"
    if shares := _shares(found.totals):
        return f"{title}: the log has {shares} that were billed {compared}"
    requests, tokens = found.totals.requests, found.totals.tokens
    captured = f"; the log has {_number(requests.captured)} {_noun('requests', requests.captured)}"
    captured += f" and {_number(tokens.captured)} {_noun('tokens', tokens.captured)}"
    if not _has_nothing(found.totals):
        return f"{title}: requests and tokens billed {compared} are unknown{captured}"
    has_calls = requests.captured or tokens.captured
    return f"{title}: nothing was billed {compared}{captured if has_calls else ''}"


def facts(found: ProviderReconciliation, *, failed: bool, stored: bool) -> Iterator[str]:
    """Yield the lines below the headline.

    Args:
        found: What was compared.
        failed: Whether the bill could not be fetched now, so that an older one is shown.
        stored: Whether a stored bill was asked for.
    """
    if found.fetched_at is not None and (failed or stored):
        moment = f"{aware(found.fetched_at).astimezone(dt.UTC):%Y-%m-%d %H:%M} UTC"
        yield f"Bill of {moment}" + ("; a newer one could not be fetched" if failed else "")
    if found.days:
        yield from _amounts(found.totals)
    if found.provisional_days:
        yield from _settled(found)
    if found.missing_days and (found.days or found.pruned_days):
        yield f"Days without a stored bill: {spans(found.missing_days)}"
    if found.pruned_days:
        yield f"Days not compared, because the log was pruned: {spans(found.pruned_days)}"


def table(found: ProviderReconciliation, by: str) -> Table:
    """Return the days, models, keys or projects, and their total."""
    has_prices = any(map(_price, found.lines))
    rows = [_row(line, with_price=has_prices) for line in found.lines]
    if len(rows) > 1:
        rows.append(("Total", *_cells(found.totals), *[""] * has_prices))
    return Table((by.upper(), *_COLUMNS, *[_PRICE] * has_prices), tuple(rows))


def explanations(found: ProviderReconciliation) -> Iterator[str]:
    """Yield the reasons why bill and log differ, in the order of the report."""
    if found.explanations:
        yield "What explains the rest:"
    for each in found.explanations:
        yield f"- {shown(each.text)}"
        if details := _details(each):
            yield f"  {details}"


def percent(share: Decimal | None) -> str:
    """Format a percentage with one decimal, rounded down: only a complete log has 100.0 %."""
    return UNKNOWN if share is None else f"{tenths(share)} %"


def spans(days: Iterable[dt.date]) -> str:
    """Format days; successive ones are written as a span."""
    return ", ".join(
        str(first) if first == last else f"{first} to {last}"
        for first, last in (run.ends() for run in DayRange.runs_of(days))
    )


def _period(days: Sequence[dt.date]) -> str:
    first, last = min(days), max(days)
    return f"on {first}" if first == last else f"from {first} to {last}"


def _shares(measures: Measures) -> str:
    """Return "95.0 % of 10 requests and 95.0 % of 20 tokens", without what is unknown."""
    named = (("requests", measures.requests), ("tokens", measures.tokens))
    return " and ".join(
        f"{percent(measure.percent)} of {_number(measure.billed)} {_noun(name, measure.billed)}"
        for name, measure in named
        if measure.percent is not None
    )


def _noun(plural: str, number: int | Decimal | None) -> str:
    return plural.removesuffix("s") if number == 1 else plural


def _has_nothing(measures: Measures) -> bool:
    """Return whether the provider says that nothing was billed."""
    billed = [each.billed for each in (measures.requests, measures.tokens)]
    return 0 in billed and not any(billed)


def _amounts(totals: Measures) -> Iterator[str]:
    unknown = [
        name
        for name, measure in (("requests", totals.requests), ("tokens", totals.tokens))
        if measure.billed is None
    ]
    if len(unknown) == 1:
        yield f"The provider does not say how many {unknown[0]} it billed"
    cost = totals.cost
    if cost.billed or cost.captured:
        share = ""
        # With a wrong price, the log can have the higher costs: a share would hide it.
        if cost.percent is not None and (cost.captured or 0) <= (cost.billed or 0):
            share = f" ({percent(cost.percent)})"
        yield f"USD: {_number(cost.billed)} billed, {_number(cost.captured)} captured{share}"


def _settled(found: ProviderReconciliation) -> Iterator[str]:
    open_days = spans(found.provisional_days)
    if not (settled := found.settled_days):
        yield f"No day is settled: the provider may still change the bill of {open_days}"
        return
    shares = _shares(found.settled)
    if shares and shares != _shares(found.totals):
        yield f"Settled days ({spans(settled)}): {shares}"
    elif not shares:
        verdict = "nothing was billed" if _has_nothing(found.settled) else "nothing to compare"
        yield f"Settled days ({spans(settled)}): {verdict}"
    yield f"Provisional days, whose bill may still change: {open_days}"


def _row(line: ReconciledLine, *, with_price: bool) -> tuple[str, ...]:
    label = shown(line.label or line.key) or UNKNOWN
    if line.provisional:
        label += " (provisional)"
    price = (_price(line) or NONE,) if with_price else ()
    return (label, *_cells(line.measures), *price)


def _cells(measures: Measures) -> tuple[str, ...]:
    requests, tokens, cost = measures.requests, measures.tokens, measures.cost
    return (
        *(_number(requests.billed), _number(requests.captured), _share(requests)),
        *(_number(tokens.billed), _number(tokens.captured), _share(tokens)),
        *(_number(cost.billed), _number(cost.captured)),
    )


def _share(measure: Measure) -> str:
    if measure.percent is not None:
        return percent(measure.percent).removesuffix(" %")
    # Nothing was billed, or nothing can be compared.
    return UNKNOWN if measure.billed is None or measure.matched is None else NONE


def _number(value: int | Decimal | None) -> str:
    return money(value) if isinstance(value, Decimal) else count(value)


def _price(line: ReconciledLine) -> str:
    """Return the ratio of the prices; "" if it is unknown or about 1."""
    if line.price_ratio is None:
        return ""
    ratio = line.price_ratio.quantize(_HUNDREDTH)
    return "" if ratio == 1 else f"{ratio:,}"


def _details(each: Explanation) -> str:
    """Return what the sentence does not say."""
    parts = [] if each.cost is None else [f"USD: {money(each.cost)}"]
    for title, names in (("models", each.models), ("keys", each.keys)):
        if others := [name for name in names if not _has(each.text, name)]:
            parts.append(f"{title}: {_listed(others)}")
    return "; ".join(parts)


def _has(text: str, name: str) -> bool:
    """Return whether a sentence has the name; "gpt-4.1-mini" does not have "gpt-4.1"."""
    return re.search(rf"(?<![\w.-]){re.escape(name)}(?!\.?[\w-])", text) is not None


def _listed(names: Collection[str]) -> str:
    listed = [shown(name) or UNKNOWN for name in names][:_LISTED]
    more = len(names) - len(listed)
    return ", ".join(listed) + (f" and {more} more" if more else "")
