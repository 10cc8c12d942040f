"""What calls add up to.

A sum counts what is known, and is None where calls were made and nothing is known of them. The
counts beside it say how many calls it leaves out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any

#: What a sum of SQLite's floating point numbers can be trusted for; less than any call costs.
COST_STEP = Decimal("1e-8")
_NOTHING = Decimal("0E-8")


@dataclass(frozen=True, slots=True)
class Figures:
    """What some calls add up to. Tokens, USD and ms."""

    calls: int = 0
    failures: int = 0
    prompt_tokens: int | None = 0
    completion_tokens: int | None = 0
    total_tokens: int | None = 0
    cost: Decimal | None = _NOTHING
    response_time_ms: int = 0
    #: Calls without a user.
    unattributed: int = 0
    #: Calls of which no tokens are known; a refused call is one of them, and not to worry about.
    unknown_usage: int = 0
    failed_unknown_usage: int = 0
    #: Calls whose cost is not known.
    unpriced: int = 0
    failed_unpriced: int = 0

    @property
    def average_response_time_ms(self) -> float | None:
        return self.response_time_ms / self.calls if self.calls else None

    def plus(self, other: Figures) -> Figures:
        if not self.calls or not other.calls:
            return other if other.calls else self
        return Figures(*(_add(getattr(self, n), getattr(other, n)) for n in NUMBERS))

    def as_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in (*NUMBERS, "average_response_time_ms")}


NUMBERS = tuple(field.name for field in fields(Figures))


def total(parts: Iterable[Figures]) -> Figures:
    sum_ = Figures()
    for figures in parts:
        sum_ = sum_.plus(figures)
    return sum_


def largest_first(figures: Figures) -> tuple[int, int]:
    """Sorts by tokens, then by calls; those of unknown size last."""
    tokens = figures.total_tokens
    return (1 if tokens is None else -tokens, -figures.calls)


def _add(a: Any, b: Any) -> Any:
    if a is None or b is None:
        return b if a is None else a
    return a + b
