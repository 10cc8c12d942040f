"""Sums over calls.

A sum counts the known values. It is None if there are calls and none of them has a known value. The
counts beside it say how many calls it leaves out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from decimal import Decimal
from operator import attrgetter
from typing import Any, TypeAlias

#: The precision of costs in USD: SQLite's floating point sums are exact to this step, and every
#: call costs more.
COST_STEP = Decimal("1e-8")
_NOTHING = Decimal("0E-8")


@dataclass(frozen=True, slots=True)
class Totals:
    """The totals of some calls, in tokens, USD and ms."""

    calls: int = 0
    failures: int = 0
    prompt_tokens: int | None = 0
    completion_tokens: int | None = 0
    total_tokens: int | None = 0
    cost: Decimal | None = _NOTHING
    response_time_ms: int = 0
    #: Calls without a user.
    unattributed: int = 0
    #: Successful calls of which nothing was counted, see `querysets.UNKNOWN_USAGE`.
    unknown_usage: int = 0
    #: Failed calls of which nothing was counted. This is expected: a refused call uses no tokens.
    failed_unknown_usage: int = 0
    #: Successful calls with known usage, but without a known cost, see `querysets.UNPRICED`.
    unpriced: int = 0
    #: Failed calls without a known cost.
    failed_unpriced: int = 0
    #: Calls with known prompt or completion tokens, those that `total_tokens` adds up.
    calls_with_tokens: int = 0
    #: Part of the prompt tokens, like the next one.
    cached_tokens: int | None = 0
    cache_write_tokens: int | None = 0
    #: Part of the completion tokens.
    reasoning_tokens: int | None = 0
    #: Audio tokens of prompt and completion, and image tokens of both.
    audio_tokens: int | None = 0
    image_tokens: int | None = 0
    #: Calls of tools that the provider runs, such as web searches; see `units.TOOL_CALLS`.
    tool_calls: int | None = 0

    @classmethod
    def sum(cls, parts: Iterable[Totals]) -> Totals:
        """Return the totals of all `parts` together."""
        # By number instead of by part, because a chart adds up tens of thousands.
        columns = zip(*(_NUMBERS_OF(part) for part in parts if part.calls), strict=True)
        known = ([value for value in column if value is not None] for column in columns)
        sums: list[Any] = [sum(values) if values else None for values in known]
        return cls(*sums)

    @property
    def average_response_time_ms(self) -> float | None:
        """The average of all calls, in ms; None without a call."""
        return self.response_time_ms / self.calls if self.calls else None

    def plus(self, other: Totals) -> Totals:
        """Return the totals of both together; an unknown sum counts as nothing beside a known."""
        return Totals.sum((self, other))

    def as_dict(self) -> dict[str, Any]:
        """Return the fields and the average, under the keys of `usage_today --json`."""
        return {name: getattr(self, name) for name in (*NUMBERS, "average_response_time_ms")}


#: The former name, for code of sites.
Figures: TypeAlias = Totals
NUMBERS = tuple(field.name for field in fields(Totals))
_NUMBERS_OF = attrgetter(*NUMBERS)


def largest_first(totals: Totals) -> tuple[int, int]:
    """Return a sort key: most tokens first, then most calls; unknown tokens come last."""
    tokens = totals.total_tokens
    return (1 if tokens is None else -tokens, -totals.calls)


def costliest_first(totals: Totals) -> tuple[Decimal, int, int]:
    """Return a sort key: the highest cost first, unknown costs last, then as `largest_first`."""
    cost = totals.cost
    return (Decimal(1) if cost is None else -cost, *largest_first(totals))


#: The orders of lines by name: what `Grouping.rank` names, and the same as a sort key.
RANKS: dict[str, tuple[tuple[str, ...], Callable[[Totals], Any]]] = {
    "tokens": (("total_tokens",), largest_first),
    "cost": (("cost", "total_tokens"), costliest_first),
}
