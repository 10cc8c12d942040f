"""What a reconciliation says: how much of each provider's bill the log has, and where the rest is.

The names of fields are also the keys of `reconcile_ai_usage --json` and of the API.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from typing import Any

from .totals import COST_STEP

_STEP = Decimal("0.01")

#: The kinds of explanations, in the order in which they are given.
KINDS = (
    "model_without_rows",
    "key_without_rows",
    "family_without_rows",
    "unknown_usage",
    "left_or_timed_out",
    "unpriced",
    "batch",
    "price",
    "more_captured",
    "unexplained",
)


def tenths(percent: Decimal) -> Decimal:
    """Return a percentage with one decimal, rounded down: only a complete log has 100."""
    return percent.quantize(Decimal("0.1"), ROUND_FLOOR)


@dataclass(frozen=True, slots=True)
class Measure:
    """One quantity on both sides: requests, tokens or USD. None is not known.

    `matched` is the part of the billed quantity that the log has: where the log has more of one
    model than was billed, the surplus does not make up for what it lacks of another.
    """

    billed: int | Decimal | None = None
    captured: int | Decimal | None = None
    matched: int | Decimal | None = None

    @property
    def percent(self) -> Decimal | None:
        """How much of the bill the log has, rounded down; None if nothing can be compared.

        Only a complete log has 100.
        """
        if self.billed is None or self.matched is None or self.billed <= 0:
            return None
        share = Decimal(self.matched) / Decimal(self.billed) * 100
        return share.quantize(_STEP, ROUND_FLOOR)

    @property
    def missing(self) -> int | Decimal | None:
        """The billed quantity that the log does not have; None if nothing can be compared."""
        if self.billed is None or self.matched is None:
            return None
        return self.billed - self.matched

    def as_dict(self) -> dict[str, Any]:
        """Return the quantities; amounts of money are text."""
        return {
            "billed": _plain(self.billed),
            "captured": _plain(self.captured),
            "matched": _plain(self.matched),
            "percent": None if self.percent is None else float(self.percent),
        }


@dataclass(frozen=True, slots=True)
class Measures:
    """The quantities that are compared. Tokens are those of prompt and completion."""

    requests: Measure = Measure()
    tokens: Measure = Measure()
    cost: Measure = Measure()

    @property
    def percent(self) -> Decimal | None:
        """The lower of the percentages of requests and tokens; None if neither is known."""
        known = [each.percent for each in (self.requests, self.tokens) if each.percent is not None]
        return min(known, default=None)

    def as_dict(self) -> dict[str, Any]:
        """Return the measures by name."""
        return {
            "requests": self.requests.as_dict(),
            "tokens": self.tokens.as_dict(),
            "cost": self.cost.as_dict(),
        }


@dataclass(frozen=True, slots=True)
class ReconciledLine:
    """One day, model, key or project of a provider."""

    #: The day as YYYY-MM-DD, the model, the id of the key or of the project; "" if it is unknown.
    key: str
    #: The same for people.
    label: str
    measures: Measures
    #: Whether the day may still change; False for other lines.
    provisional: bool = False
    #: Captured cost / billed cost of the same tokens; None if it cannot be told.
    price_ratio: Decimal | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the fields."""
        return {
            "key": self.key,
            "label": self.label,
            **self.measures.as_dict(),
            "provisional": self.provisional,
            "price_ratio": None if self.price_ratio is None else float(self.price_ratio),
        }


@dataclass(frozen=True, slots=True)
class Explanation:
    """A reason why bill and log differ, with what it accounts for. None is not known."""

    #: One of KINDS.
    kind: str
    #: A sentence.
    text: str
    requests: int | None = None
    tokens: int | None = None
    cost: Decimal | None = None
    #: The models that it concerns, and the keys as the provider lists them.
    models: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the fields."""
        return {
            "kind": self.kind,
            "text": self.text,
            "requests": self.requests,
            "tokens": self.tokens,
            "cost": _plain(self.cost),
            "models": list(self.models),
            "keys": list(self.keys),
        }


@dataclass(frozen=True, slots=True)
class ProviderReconciliation:
    """The bill of one provider and the calls of the log, of the days whose bill was fetched."""

    provider: str
    #: When the bill was fetched; of several days, the earliest. None if there is no bill.
    fetched_at: dt.datetime | None
    #: The days in UTC that are compared, and those without a bill.
    days: tuple[dt.date, ...]
    missing_days: tuple[dt.date, ...]
    #: Days that are compared, but were fetched before the provider had closed them.
    provisional_days: tuple[dt.date, ...]
    #: Days that are not compared, because rows of them were pruned from the log.
    pruned_days: tuple[dt.date, ...]
    #: All days that are compared, and the settled ones alone.
    totals: Measures
    settled: Measures
    lines: tuple[ReconciledLine, ...]
    explanations: tuple[Explanation, ...]

    @property
    def settled_days(self) -> tuple[dt.date, ...]:
        """The days that are compared, and whose bill the provider has closed."""
        return tuple(day for day in self.days if day not in self.provisional_days)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields."""
        return {
            "provider": self.provider,
            "fetched_at": None if self.fetched_at is None else self.fetched_at.isoformat(),
            "days": _texts(self.days),
            "missing_days": _texts(self.missing_days),
            "provisional_days": _texts(self.provisional_days),
            "pruned_days": _texts(self.pruned_days),
            "totals": self.totals.as_dict(),
            "settled": self.settled.as_dict(),
            "lines": [line.as_dict() for line in self.lines],
            "explanations": [each.as_dict() for each in self.explanations],
        }


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """The bills of all providers, and the calls of the log. Days are those of UTC."""

    start: dt.date
    end: dt.date
    #: What the lines are: "day", "model", "key" or "project".
    by: str
    providers: tuple[ProviderReconciliation, ...]

    def below(self, percent: Decimal) -> tuple[ProviderReconciliation, ...]:
        """Return the providers of whose settled days the log has less than `percent`."""
        return tuple(
            each
            for each in self.providers
            if each.settled.percent is not None and each.settled.percent < percent
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the fields."""
        return {
            "start": self.start.isoformat(),
            "end": self.end.isoformat(),
            "timezone": "UTC",
            "by": self.by,
            "providers": [each.as_dict() for each in self.providers],
        }


def _plain(value: int | Decimal | None) -> int | str | None:
    return format(value.quantize(COST_STEP), "f") if isinstance(value, Decimal) else value


def _texts(days: Iterable[dt.date]) -> list[str]:
    return [day.isoformat() for day in days]
