"""Compare the log with what providers billed, and say what is missing."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from django.db import router

from .. import conf, daily
from ..days import aware, day_of
from ..models import AIUsageLog
from .accounts import account_lines, with_whole_hints
from .bills import BillRow, bill_rows, is_provisional
from .captured import Captured, captured_calls
from .explanations import explanations_of
from .measuring import measures_of, price_ratio
from .model_names import common_names
from .period import check_order, days_between
from .reconciled import Measures, ProviderReconciliation, ReconciledLine, Reconciliation

#: What the lines of a reconciliation can be.
BY = ("day", "model", "key", "project")

#: The key and the label of a line.
_Line: TypeAlias = tuple[str, str]


def reconciliation(
    start: dt.date,
    end: dt.date,
    *,
    by: str = "model",
    providers: Collection[str] | None = None,
    using: str | None = None,
) -> Reconciliation:
    """Compare the stored bills with the log. It takes three statements at most.

    Days are those of UTC, and calls count under the day of their `created_at` in UTC. A provider
    takes part if its bill of any of the days was fetched, or if `providers` names it.

    Args:
        start: The first day.
        end: The last day.
        by: What the lines are: "day", "model", "key" or "project".
        providers: Only these providers, as the log names them.
        using: The database alias; by default the one that the routers name for reading.

    Raises:
        ValueError: `end` is before `start`, or `by` is unknown.
    """
    check_order(start, end)
    if by not in BY:
        raise ValueError(f"by must be one of {', '.join(BY)}, not {by!r}")
    using = using or router.db_for_read(AIUsageLog)
    bills: dict[str, list[BillRow]] = {name: [] for name in providers or ()}
    for row in bill_rows(start, end, providers, using=using):
        bills.setdefault(row.provider, []).append(row)
    billed = [name for name, rows in bills.items() if rows]
    calls: dict[str, list[Captured]] = {}
    pruned: dt.date | None = None
    if billed:
        hints = conf.key_hint() or by in ("key", "project")
        for each in captured_calls(start, end, billed, hints=hints, using=using):
            calls.setdefault(each.provider, []).append(each)
        pruned = daily.horizon(using)
    days = tuple(days_between(start, end))
    return Reconciliation(
        start,
        end,
        by,
        tuple(
            _provider(name, bills[name], calls.get(name, ()), days, by, pruned)
            for name in sorted(bills)
        ),
    )


def _provider(
    provider: str,
    bills: Sequence[BillRow],
    calls: Sequence[Captured],
    days: Sequence[dt.date],
    by: str,
    pruned: dt.date | None,
) -> ProviderReconciliation:
    fetched: dict[dt.date, dt.datetime] = {}
    for row in bills:
        fetched[row.day] = min(fetched.get(row.day, row.fetched_at), row.fetched_at)
    gone = {day for day in fetched if _is_pruned(day, pruned)}
    compared = [day for day in days if day in fetched and day not in gone]
    provisional = [day for day in compared if is_provisional(day, fetched[day])]
    both = _named_alike(_Both.of(with_whole_hints(bills, calls), calls).on(compared))
    settled = both.on(set(compared) - set(provisional))
    return ProviderReconciliation(
        provider=provider,
        fetched_at=min(map(aware, fetched.values()), default=None),
        days=tuple(compared),
        missing_days=tuple(day for day in days if day not in fetched),
        provisional_days=tuple(provisional),
        pruned_days=tuple(sorted(gone)),
        totals=both.measures,
        settled=settled.measures,
        lines=_lines(both, settled if settled.bills else both, by, compared, set(provisional)),
        explanations=explanations_of(both.bills, both.calls, settled.bills, settled.calls),
    )


@dataclass(frozen=True, slots=True)
class _Both:
    """Some rows of one provider's bill, and the calls that belong to them."""

    bills: tuple[BillRow, ...]
    calls: tuple[Captured, ...]

    @classmethod
    def of(cls, bills: Iterable[BillRow], calls: Iterable[Captured]) -> _Both:
        return cls(tuple(bills), tuple(calls))

    @property
    def measures(self) -> Measures:
        return measures_of(self.bills, self.calls)

    def on(self, days: Collection[dt.date]) -> _Both:
        """Return the part of some days."""
        wanted = frozenset(days)
        return _Both(
            tuple(row for row in self.bills if row.day in wanted),
            tuple(each for each in self.calls if each.day in wanted),
        )


def _is_pruned(day: dt.date, pruned: dt.date | None) -> bool:
    """Return whether rows of the UTC day `day` may be gone; days of the log have their own zone."""
    begins = dt.datetime.combine(day, dt.time(), dt.UTC)
    return pruned is not None and day_of(begins) <= pruned


def _named_alike(both: _Both) -> _Both:
    """Return the same with the names under which models are compared."""
    names = common_names(
        {row.model_name for row in both.bills if row.is_usage},
        {row.model_name for row in both.bills} | {each.model_name for each in both.calls},
    )
    families: dict[str, set[str]] = {}
    for row in both.bills:
        if row.is_usage and row.is_recorded:
            families.setdefault(names[row.model_name], set()).add(row.family)
    calls = []
    for each in both.calls:
        name = names[each.model_name]
        family = each.family
        # A batch may be one of any endpoint, so the bill decides.
        if each.is_batch and len(found := families.get(name, set())) == 1:
            (family,) = found
        calls.append(each._replace(model_name=name, family=family))
    return _Both.of((row._replace(model_name=names[row.model_name]) for row in both.bills), calls)


def _lines(
    both: _Both,
    settled: _Both,
    by: str,
    days: Sequence[dt.date],
    provisional: Collection[dt.date],
) -> tuple[ReconciledLine, ...]:
    if by in ("key", "project"):
        return tuple(sorted(account_lines(both.bills, both.calls, by), key=_largest_first))
    if by == "day":
        by_day = _parts(both, _billed_day, _captured_day)
        return tuple(
            ReconciledLine(
                day.isoformat(),
                day.isoformat(),
                by_day.get(_day_line(day), _Both((), ())).measures,
                provisional=day in provisional,
            )
            for day in days
        )
    closed = _parts(settled, _billed_model, _captured_model)
    lines = [
        ReconciledLine(
            *line,
            part.measures,
            price_ratio=price_ratio(closed[line].bills, closed[line].calls)
            if line in closed
            else None,
        )
        for line, part in _parts(both, _billed_model, _captured_model).items()
    ]
    return tuple(sorted(lines, key=_largest_first))


def _parts(
    both: _Both,
    of_bill: Callable[[BillRow], _Line | None],
    of_calls: Callable[[Captured], _Line | None],
) -> dict[_Line, _Both]:
    """Divide both sides by their lines; what has no line is left out."""
    bills: dict[_Line, list[BillRow]] = {}
    calls: dict[_Line, list[Captured]] = {}
    for row in both.bills:
        if (line := of_bill(row)) is not None:
            bills.setdefault(line, []).append(row)
    for each in both.calls:
        if (line := of_calls(each)) is not None:
            calls.setdefault(line, []).append(each)
    return {
        line: _Both.of(bills.get(line, ()), calls.get(line, ()))
        for line in dict.fromkeys((*bills, *calls))
    }


def _day_line(day: dt.date) -> _Line:
    return day.isoformat(), day.isoformat()


def _billed_day(row: BillRow) -> _Line:
    return _day_line(row.day)


def _captured_day(calls: Captured) -> _Line:
    return _day_line(calls.day)


def _billed_model(row: BillRow) -> _Line | None:
    has_line = (row.is_usage and row.is_recorded) or row.cost
    return _model_line(row.model_name) if has_line else None


def _captured_model(calls: Captured) -> _Line:
    return _model_line(calls.model_name)


def _model_line(name: str) -> _Line:
    return name, name or "without a model"


def _largest_first(line: ReconciledLine) -> tuple[Any, ...]:
    tokens, requests = line.measures.tokens, line.measures.requests
    return (
        -(tokens.billed or 0),
        -(requests.billed or 0),
        -(tokens.captured or 0),
        line.label,
    )
