"""Amounts of requests and tokens in explanations: added up, ranked and as text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any, NamedTuple, TypeAlias

from .bills import BillRow
from .measuring import plus

#: How many models, keys or families are named; the others are one more line.
MOST = 10


class Amount(NamedTuple):
    """What something accounts for. None is not known."""

    requests: int | None = None
    tokens: int | None = None
    cost: Decimal | None = None

    def plus(self, row: BillRow) -> Amount:
        """Return the amount with a row added."""
        return Amount(
            plus(self.requests, row.requests),
            plus(self.tokens, row.tokens),
            plus(self.cost, row.cost),
        )

    def __str__(self) -> str:
        known = [(self.requests, "request"), (self.tokens, "token")]
        parts = [counted(number, noun) for number, noun in known if number is not None]
        # A zero beside another number is only in the way.
        shown = [part for part in parts if not part.startswith("0 ")] or parts
        return " and ".join(shown) or "an unknown number of requests"


#: A name, its rows and what they add up to.
Group: TypeAlias = tuple[str, list[BillRow], Amount]


def grouped(rows: Iterable[BillRow], by: Callable[[BillRow], str]) -> list[Group]:
    """Return the rows by name."""
    groups: dict[str, list[BillRow]] = {}
    for row in rows:
        groups.setdefault(by(row), []).append(row)
    return [(name, of_name, total(of_name)) for name, of_name in groups.items()]


def largest(groups: Iterable[Group]) -> list[Group]:
    """Return the groups, most tokens first; those after the tenth are one group."""
    ranked = sorted(groups, key=lambda g: (-(g[2].tokens or 0), -(g[2].requests or 0), g[0]))
    if len(ranked) <= MOST:
        return ranked
    others = [row for _, rows, _ in ranked[MOST:] for row in rows]
    return [*ranked[:MOST], (f"{len(ranked) - MOST} others", others, total(others))]


def total(rows: Iterable[BillRow]) -> Amount:
    """Return what the rows add up to."""
    amount = Amount()
    for row in rows:
        amount = amount.plus(row)
    return amount


def models_of(rows: Iterable[Any]) -> tuple[str, ...]:
    """Return the names of the models in rows of a bill or of the log."""
    return tuple(dict.fromkeys(row.model_name for row in rows if row.model_name))


def keys_of(rows: Iterable[BillRow]) -> tuple[str, ...]:
    """Return the API keys that were billed, as the provider lists them."""
    return tuple(dict.fromkeys(row.key for row in rows if row.key))


def to_keys(rows: Sequence[BillRow]) -> str:
    """Return the keys that were billed as the end of a sentence, "" if none is known."""
    keys = keys_of(rows)
    if not keys:
        return ""
    more = f" and {len(keys) - MOST} others" if len(keys) > MOST else ""
    word = "key" if len(keys) == 1 else "keys"
    return f" to the {word} {', '.join(keys[:MOST])}{more}"


def counted(number: int, noun: str) -> str:
    """Return a number with its noun."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def share_of(part: int, whole: int) -> str:
    """Return a share in percent, rounded down."""
    return f"{part * 1000 // whole / 10:.1f} %"


def were(amount: Amount) -> str:
    """Return the verb of a sentence about an amount."""
    return "was" if amount.requests == 1 and amount.tokens is None else "were"


def be(number: int) -> str:
    """Return the verb of a sentence about a number of things."""
    return "was" if number == 1 else "were"


def have(number: int) -> str:
    """Return the verb of a sentence about what a number of things has."""
    return "has" if number == 1 else "have"
