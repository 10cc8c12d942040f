"""Read the values of an answer strictly, and add up rows.

A value that is missing or odd is an error that names it: a renamed field must not become an
unknown number. Fields that no source reads are ignored.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from typing import Any

from ..redaction import clean_text, redact
from .billed import Billed, BillingError

#: What stands for the hidden part of a key.
_MASK = re.compile(r"[*.…]")
#: The largest count that `AIProviderBill` stores.
MAX_COUNT = 2**63 - 1
#: In USD or cents. No bill has such an amount, and much larger ones could not be added up.
MAX_AMOUNT = Decimal(10) ** 10


@dataclass(frozen=True, slots=True)
class Fields:
    """A JSON object of an answer."""

    #: What it is for people, such as "The answer of OpenAI to costs".
    source: str
    values: Mapping[str, Any]

    def count(self, name: str) -> int:
        """Return a count.

        Raises:
            BillingError: It is missing or not a whole number from 0 to MAX_COUNT.
        """
        value = self._required(name)
        if isinstance(value, float):
            value = Decimal(value)
        if isinstance(value, Decimal):
            is_whole = value.is_finite() and 0 <= value <= MAX_COUNT and value == int(value)
            value = int(value) if is_whole else value
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_COUNT:
            raise self.error(name, "a whole number of at least 0")
        return value

    def optional_count(self, name: str) -> int | None:
        """Return a count, or None if it is missing or null."""
        return None if self.values.get(name) is None else self.count(name)

    def amount(self, name: str) -> Decimal:
        """Return an amount of money, which may be negative.

        Raises:
            BillingError: It is missing, not finite or too large.
        """
        value = self._required(name)
        if isinstance(value, str | int | float | Decimal) and not isinstance(value, bool):
            try:
                amount = Decimal(str(value))
            except InvalidOperation:
                amount = Decimal("NaN")
            if amount.is_finite() and -MAX_AMOUNT < amount < MAX_AMOUNT:
                return amount
        raise self.error(name, "a finite amount of money")

    def dollars(self, currency: str = "currency") -> None:
        """Check the currency.

        Raises:
            BillingError: It is not USD.
        """
        if str(self._required(currency)).upper() != "USD":
            raise self.error(currency, "USD")

    def text(self, name: str) -> str:
        """Return a name; "" if it is missing or null.

        Raises:
            BillingError: It is not text.
        """
        value = self.values.get(name)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self.error(name, "text")
        return value

    def required_text(self, name: str) -> str:
        """Return a name that must be there.

        Raises:
            BillingError: It is missing, empty or not text.
        """
        self._required(name)
        if not (text := self.text(name)):
            raise self.error(name, "text")
        return text

    def flag(self, name: str) -> bool:
        """Return a required boolean.

        Raises:
            BillingError: It is missing or not a boolean.
        """
        value = self._required(name)
        if not isinstance(value, bool):
            raise self.error(name, "true or false")
        return value

    def inside(self, name: str) -> Fields:
        """Return a required object.

        Raises:
            BillingError: It is missing or not an object.
        """
        value = self._required(name)
        if not isinstance(value, dict):
            raise self.error(name, "an object")
        return Fields(self.source, value)

    def items(self, name: str) -> list[Fields]:
        """Return a required list of objects.

        Raises:
            BillingError: It is missing or not a list of objects.
        """
        value = self._required(name)
        if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
            raise self.error(name, "a list of objects")
        return [Fields(self.source, each) for each in value]

    def error(self, name: str, expected: str) -> BillingError:
        """Return the error of a value that is not what it must be."""
        return BillingError(f"{self.source}: {name} must be {expected}, not {self._shown(name)}.")

    def _required(self, name: str) -> Any:
        if self.values.get(name) is None:
            raise BillingError(f'{self.source} has no "{name}". The API may have changed.')
        return self.values[name]

    def _shown(self, name: str) -> str:
        value = self.values[name]
        if isinstance(value, dict | list):
            return "an object" if isinstance(value, dict) else "a list"
        shown = str(value) if isinstance(value, float | Decimal) else repr(value)
        return clean_text(redact(shown[:500]), 60)


def days_of(first: dt.date, last: dt.date) -> list[dt.date]:
    """Return the days from `first` to `last`."""
    return [first + dt.timedelta(days=each) for each in range((last - first).days + 1)]


def hint_of(redacted: str) -> str:
    """Return the last four characters of a key that a listing shows masked, or "".

    There may be three: OpenAI's documentation shows "sk-abc...def".
    """
    _, *masked = _MASK.split(redacted)
    hint = masked[-1][-4:] if masked else ""
    return hint if len(hint) >= 3 and " " not in hint else ""


def named(rows: Iterable[Billed], keys: Mapping[str, tuple[str, str]]) -> list[Billed]:
    """Return the rows with the names and hints of their keys.

    Args:
        rows: The rows.
        keys: The id of a key → its name and its last four characters.
    """
    return [
        replace(row, key_name=keys[row.key_id][0], key_hint=keys[row.key_id][1])
        if row.key_id in keys
        else row
        for row in rows
    ]


def added(rows: Iterable[Billed]) -> tuple[Billed, ...]:
    """Add up rows of the same names, in the order of these. What one does not know, none does."""
    sums: dict[tuple[Any, ...], Billed] = {}
    for row in rows:
        names = (
            *(row.day, row.family, row.model_name, row.project, row.key_id),
            *(row.service_tier, row.line_item),
        )
        sums[names] = _sum(sums[names], row) if names in sums else row
    return tuple(row for _, row in sorted(sums.items(), key=lambda item: item[0]))


def _sum(one: Billed, other: Billed) -> Billed:
    counts: dict[str, Any] = {
        name: None if None in (a, b) else a + b
        for name in ("requests", "prompt_tokens", "completion_tokens", "cached_tokens", "cost")
        for a, b in [(getattr(one, name), getattr(other, name))]
    }
    units = {
        name: one.units.get(name, 0) + other.units.get(name, 0)
        for name in [*one.units, *(each for each in other.units if each not in one.units)]
    }
    return replace(one, units=units, **counts)
