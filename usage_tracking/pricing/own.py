"""AI_USAGE_PRICES: the prices and discounts of the site.

A key is a model, `provider:model`, `provider:*` or `*`. Its value is one entry or a list of them.
An entry maps units to USD: for tokens per million, for other units see docs/prices.md. `input`,
`output`, `cache_read` and `cache_write` are short for the units of those tokens. An entry may have:

- `from`: the first day on which it applies, in UTC
- `when`: facts of the answer, such as `{"service_tier": "flex"}`; its prices replace single ones
- `discount`: the part by which everything is cheaper, such as "0.15"; a negative one is a surcharge

Case does not matter in keys and facts. A key whose value has a fault, which the system checks
report, prices nothing: its calls have no cost, with the fault as the reason.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any, NamedTuple

from .. import conf, units
from ..log import logger, one_line
from ..units import STANDARD
from .tariffs import Entry, Facts, Prices, Tariff

#: Short names of entries and their units.
SHORT_NAMES = {
    "input": "input_tokens",
    "output": "output_tokens",
    "cache_read": "cache_read_tokens",
    "cache_write": "cache_write_tokens",
}
#: All names that an entry may have besides the options.
PRICE_NAMES = (*SHORT_NAMES, *units.NAMES, "requests")
_OPTIONS = ("from", "when", "discount")
#: Facts that answers state and that a price may depend on.
FACTS = (
    *("service_tier", "processing", "speed", "inference_geo", "route", "search_type"),
    *("search_context_size", "cache_ttl", "tool", "input"),
)

#: The highest price in USD. With the largest count, the cost is still a number that can be shown.
MAX_RATE = 10**9

# A dated or numbered variant: gpt-4o-2024-08-06, claude-sonnet-4-5-20250929, gemini-2.0-flash-001.
_VARIANT = re.compile(r"-(?:\d{4}-\d{2}-\d{2}|\d{8}|\d{3,4}|latest)$")


class OwnEntry(NamedTuple):
    """One entry of AI_USAGE_PRICES."""

    entry: Entry
    discount: Decimal | None

    def fits(self, at_time: dt.datetime, facts: Facts) -> bool:
        """Return whether the entry applies to a call at `at_time` (UTC) with these facts."""
        return self.entry.in_force(at_time) and self.entry.when.items() <= facts.items()


class OwnPrices(NamedTuple):
    """What the site says about the price of one call."""

    #: The prices that replace those of the table; None if the table applies.
    base: Prices | None
    #: Prices of single units for the facts of this call.
    more: Prices
    #: The facts of this call that the site's entries name.
    facts: Facts
    #: The factor on everything; 1 without a discount.
    factor: Decimal

    @property
    def has_prices(self) -> bool:
        """Whether any price is the site's own."""
        return self.base is not None or bool(self.more)


class InvalidPricesError(ValueError):
    """A part of AI_USAGE_PRICES that a call needs has a fault."""


def find(provider: str, model: str, at_time: dt.datetime, facts: Facts) -> OwnPrices | None:
    """Return what the site says about a call; None if it says nothing.

    The most specific key with an entry that fits the call decides.

    Args:
        provider: The provider of the call.
        model: The model of the call.
        at_time: When the call was made, an aware datetime.
        facts: The facts of the call that are not the standard.

    Raises:
        InvalidPricesError: What the site says has a fault.
    """
    prices = conf.prices()
    if not prices:
        return None
    at_time = at_time.astimezone(dt.UTC)
    for key in _keys(_normal(provider), _normal(model)):
        fitting = [own for own in _entries(prices, key) if own.fits(at_time, facts)]
        if fitting:
            return _combined(fitting)
    return None


def _normal(name: str) -> str:
    return name.strip().lower()


def _keys(provider: str, model: str) -> dict[str, None]:
    base = _VARIANT.sub("", model)
    names = (f"{provider}:{model}", model, f"{provider}:{base}", base, f"{provider}:*", "*")
    return dict.fromkeys(name for name in names if name)


def _combined(fitting: list[OwnEntry]) -> OwnPrices:
    base: Prices | None = None
    more: dict[str, Any] = {}
    facts: dict[str, str] = {}
    factor = Decimal(1)
    for own in fitting:  # later entries take precedence
        entry = own.entry
        if own.discount is not None:
            factor = 1 - own.discount
        facts |= entry.when
        if not entry.prices:
            continue
        if entry.when:
            more |= entry.prices
        else:
            base = entry.prices
    return OwnPrices(base, more, facts, factor)


class _Parsed:
    """The entries that were read from one value of the setting."""

    def __init__(self, prices: object) -> None:
        self.prices = prices
        if not isinstance(prices, Mapping):
            raise InvalidPricesError(f"AI_USAGE_PRICES{next(faults(prices))}")
        #: Key as calls are compared with it → the keys of the setting.
        self._keys: dict[str, list[str]] = {}
        for key in prices:
            if isinstance(key, str):
                self._keys.setdefault(_normal(key), []).append(key)
        self._by_key: dict[str, tuple[OwnEntry, ...] | str] = {}

    def entries(self, key: str) -> tuple[OwnEntry, ...]:
        """Return the entries of a key, those with a later `from` and those with a `when` last.

        Raises:
            InvalidPricesError: The value of the key has a fault.
        """
        if key not in self._keys:
            return ()
        found = self._by_key.get(key)
        if found is None:
            found = self._by_key[key] = self._read(self._keys[key])
        if isinstance(found, str):
            raise InvalidPricesError(found)
        return found

    def _read(self, keys: list[str]) -> tuple[OwnEntry, ...] | str:
        prices: Any = self.prices
        value = prices[keys[0]]
        fault = _same(keys) if len(keys) > 1 else next(_key_faults(keys[0], value), "")
        if fault:
            reason = f"AI_USAGE_PRICES{fault}"[:_LONGEST_REASON]
            logger.error("[TRACK_ERROR] Calls have no cost: %s", one_line(reason))
            return reason
        given = [value] if isinstance(value, Mapping) else value
        entries = map(_entry, given)
        return tuple(
            sorted(entries, key=lambda own: (bool(own.entry.when), own.entry.start or dt.date.min))
        )


_LONGEST_REASON = 300
_seen = _Parsed({})


def _entries(prices: object, key: str) -> tuple[OwnEntry, ...]:
    global _seen
    parsed = _seen
    if parsed.prices is not prices:
        parsed = _seen = _Parsed(prices)
    return parsed.entries(key)


def _entry(given: Mapping[str, Any]) -> OwnEntry:
    prices: dict[str, Any] = {}
    for name, value in given.items():
        if name not in _OPTIONS:
            prices[SHORT_NAMES.get(name, name)] = rate_of(value)
    return OwnEntry(
        Entry(
            prices,
            when=_facts(given["when"]) if "when" in given else {},
            start=_day(given["from"]) if "from" in given else None,
        ),
        _discount(given["discount"]) if "discount" in given else None,
    )


def _facts(when: Mapping[str, str]) -> dict[str, str]:
    facts = {name: _normal(value) for name, value in when.items()}
    if facts.get("service_tier") == "batch":  # as `facts_of` says it
        facts["processing"] = facts.pop("service_tier")
    return facts


def rate_of(value: object) -> Decimal | None:
    """Return a price in USD as the site wrote it; None unless it is from 0 to below `MAX_RATE`."""
    rate = _number(value)
    return abs(rate) if 0 <= rate < MAX_RATE else None


def _discount(value: object) -> Decimal:
    discount = _number(value)
    if not -10 <= discount < 1:
        raise ValueError(f"discount must be at least -10 and below 1, not {_shown(value)}")
    return discount


def _number(value: object) -> Decimal:
    """Return a number as the site wrote it; infinity for anything else."""
    try:
        number = Decimal(str(value))
    except Exception:  # noqa: BLE001 -- a setting may be any object
        return Decimal("Infinity")
    return number if number.is_finite() else Decimal("Infinity")


def _day(value: object) -> dt.date:
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        return value
    text = str(value)
    if not _DAY.fullmatch(text):
        raise ValueError(f"must be YYYY-MM-DD, not {text}")
    return dt.date.fromisoformat(text)


_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def faults(prices: object) -> Iterator[str]:
    """Yield what is wrong with a value of AI_USAGE_PRICES, in plain English."""
    if not isinstance(prices, Mapping):
        yield f" must be a dictionary, not {type(prices).__name__}"
        return
    same: dict[str, list[str]] = {}
    for key, value in prices.items():
        yield from _key_faults(key, value)
        if isinstance(key, str):
            same.setdefault(_normal(key), []).append(key)
    yield from (_same(keys) for keys in same.values() if len(keys) > 1)


def _same(keys: list[str]) -> str:
    return f" has the same model as {' and '.join(map(_shown, keys))}; use one key for it"


def _key_faults(key: object, value: object) -> Iterator[str]:
    name = _shown(key)
    if not isinstance(key, str) or not key.strip():
        yield f" has the key {name}, which is not the name of a model"
    elif key.strip(": ") != key.strip() or ("*" in key and not _WILDCARD.fullmatch(key.strip())):
        yield (
            f' has the key {name}; write the whole name of a model, "provider:model", '
            '"provider:*" or "*"'
        )
    given = value if isinstance(value, (list, tuple)) else [value]
    if not given:
        yield f"[{name}] has no entry"
    for entry in given:
        if isinstance(entry, Mapping):
            yield from (f"[{name}] {fault}" for fault in _entry_faults(entry))
        else:
            yield f"[{name}] must be a dictionary or a list of them, not {_shown(entry)}"


_WILDCARD = re.compile(r"([^*]+:)?\*")


def _entry_faults(entry: Mapping[Any, Any]) -> Iterator[str]:
    if not entry.keys() - {"from", "when"}:
        yield "has neither a price nor a discount"
    prices: dict[Any, Any] = {}
    for name, value in entry.items():
        if name == "when":
            yield from _when_faults(value)
        elif fault := _value_fault(name, value):
            yield fault
        if (unit := SHORT_NAMES.get(name, name)) in prices:
            yield f"has two prices for {unit}: {prices[unit]!r} and {name!r} mean the same"
        prices[unit] = name


def _value_fault(name: object, value: object) -> str:
    if name == "from":
        try:
            _day(value)
        except Exception:  # noqa: BLE001 -- a setting may be any object
            return f'has the date {_shown(value)} in "from"; write it as YYYY-MM-DD'
    elif name == "discount":
        try:
            _discount(value)
        except ValueError as error:
            return str(error)
    elif name not in PRICE_NAMES:
        hint = units.suggestions(_shown(name).strip("'"), (*PRICE_NAMES, *_OPTIONS))
        return f"has the unknown unit {_shown(name)}{hint}"
    elif rate_of(value) is None:
        limits = f"at least 0 and below {MAX_RATE:,}"
        return f"has the price {_shown(value)} of {name}; it must be a number of USD, {limits}"
    return ""


_KNOWN_FACTS = f"; known are {', '.join(FACTS)}"


def _when_faults(value: object) -> Iterator[str]:
    if not isinstance(value, Mapping) or not value:
        example = '{"service_tier": "flex"}'
        yield f'has {_shown(value)} in "when"; it must be a dictionary such as {example}'
        return
    for fact, wanted in value.items():
        if fact not in FACTS:
            hint = units.suggestions(_shown(fact).strip("'"), FACTS)
            yield f"has the unknown fact {_shown(fact)}{hint or _KNOWN_FACTS}"
        elif not isinstance(wanted, str) or not wanted.strip():
            yield f'has {_shown(wanted)} for {fact} in "when"; it must be text such as "flex"'
        elif _normal(wanted) in STANDARD:
            yield (
                f'has {_shown(wanted)} for {fact} in "when", which is the standard; '
                'leave out "when" for its prices'
            )
    if {_normal(str(value.get(name))) for name in ("service_tier", "processing")} == {"batch"}:
        yield 'has "batch" twice in "when"; write it for processing only'


def _shown(value: object) -> str:
    """Return a value as messages show it."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 -- a setting may be any object
        text = f"<{type(value).__name__}>"
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"


_LONGEST_VALUE = 100


def applied(own: OwnPrices, tariff: Tariff | None) -> Tariff | None:
    """Return the tariff of a call about which the site says `own`; None if there is none."""
    if own.base is not None:
        tariff = Tariff((Entry(own.base),))
    if tariff is None or not own.facts:
        return tariff
    named = Entry(own.more, when=own.facts)
    return replace(tariff, variants=(named, *tariff.variants))
