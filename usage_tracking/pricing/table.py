"""The price table: the price of each model, with the data and the rules of genai-prices.

genai-prices itself is not used at run time, because it imports an HTTP client and pydantic. `make
prices` writes its data to `prices.json`, and tests compare the rules below with its `calc_price`.
https://github.com/pydantic/genai-prices

In `prices.json` each of `providers` has `models`; the first one whose `match` fits a name is the
model. A match is a string that equals the name, a list of alternatives, or an object such as
`{"contains": "claude"}`; a model without one is matched by its `id`. A price is a number, or, if it
depends on the size of the input, a list: the lowest price, then `[above this many input tokens,
price]` for each step. `prices` is a list if they depend on the date or the time of day; the last
entry in force applies. `price_variants` replace single prices if the call has the facts of `when`.

`additions.json` has published prices that genai-prices lacks, each with the page that says so: a
price of a unit that has none, or a variant for the models that have none for the same facts. It
also names prices of genai-prices that the provider's page contradicts; they are unknown here.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import replace
from decimal import Decimal
from functools import lru_cache
from typing import Any

from .data import load
from .tariffs import Entry, Prices, Tariff, Tiers


@lru_cache(maxsize=1024)
def find(provider: str, model: str) -> Tariff | None:
    """Return the tariff of a model; None if the table does not have it.

    If `provider` is empty, it is derived from the name of the model.
    """
    name = model.lower()
    if provider.lower() == "litellm":
        # LiteLLM puts the provider in front of the model: anthropic/claude-opus-4-1.
        prefix, slash, rest = name.partition("/")
        if slash and prefix and _provider_named(prefix):
            provider, name = prefix, rest
    home = _provider_named(provider) if provider else None
    if home is None and (not provider or provider.lower() == "litellm"):
        home = _provider_of(name)
    if home is None:
        return None
    # Azure, for example, sells OpenAI's models.
    others = home.get("fallback_model_providers", ())
    places = [home, *(each for id in others for each in load().providers if each["id"] == id)]
    for spelling in dict.fromkeys((name, _COMPACT_DATE.sub(_dashed, name))):
        for place in places:
            for entry in place["models"]:
                if _matches(entry.get("match", entry["id"]), spelling):
                    tariff = _tariff(entry, has_variants=place is home)
                    return _with_additions(tariff, home["id"], spelling)
    return None


def _with_additions(tariff: Tariff, provider: str, model: str) -> Tariff:
    for addition in load().additions:
        if addition["provider"] != provider:
            continue
        if "match" in addition and not _matches(addition["match"], model):
            continue
        tariff = _added(tariff, addition)
    return tariff


def _added(tariff: Tariff, addition: dict[str, Any]) -> Tariff:
    if variant := addition.get("variant"):
        if any(each.when == variant["when"] for each in tariff.variants):
            return tariff
        return replace(tariff, variants=(*tariff.variants, _entry(variant)))
    if addition.get("weekdays"):
        entries = (each._replace(weekdays=each.between is not None) for each in tariff.entries)
        return replace(tariff, entries=tuple(entries))
    added = _entry(addition).prices
    overrides: Prices = addition.get("overrides", {})
    return replace(
        tariff,
        entries=tuple(
            each._replace(prices={**added, **each.prices, **overrides}) for each in tariff.entries
        ),
    )


def _provider_named(provider: str) -> dict[str, Any] | None:
    name = provider.lower().strip()
    providers = load().providers
    return next(
        (each for each in providers if each["id"] == name),
        next((each for each in providers if _matches(each.get("provider_match"), name)), None),
    )


def _provider_of(model: str) -> dict[str, Any] | None:
    if not model:
        return None
    return next(
        (each for each in load().providers if _matches(each.get("model_match"), model)), None
    )


# LiteLLM and OpenRouter write gpt-5.2-20251211 for gpt-5.2-2025-12-11.
_COMPACT_DATE = re.compile(r"(?<=-)20\d{6}(?=[-:]|$)")


def _dashed(match: re.Match[str]) -> str:
    try:
        return dt.date.fromisoformat(match[0]).isoformat()
    except ValueError:
        return match[0]


def _matches(pattern: Any, text: str) -> bool:
    """Return whether a match of the file fits `text`, in lower case; None never fits."""
    if pattern is None:
        return False
    if isinstance(pattern, str):
        return text == pattern
    if isinstance(pattern, list):
        return any(_matches(each, text) for each in pattern)
    ((kind, operand),) = pattern.items()
    match kind:
        case "starts_with":
            return text.startswith(operand)
        case "ends_with":
            return text.endswith(operand)
        case "contains":
            return operand in text
        case "regex":
            return re.search(operand, text) is not None
        case "and":
            return all(_matches(each, text) for each in operand)
    raise ValueError(f"The price table has a match of the unknown kind {kind!r}.")


def _tariff(model: dict[str, Any], *, has_variants: bool) -> Tariff:
    prices = model["prices"]
    entries = prices if isinstance(prices, list) else [{"prices": prices}]
    variants = model.get("price_variants", ()) if has_variants else ()
    return Tariff(
        tuple(map(_entry, entries)), tuple(map(_entry, variants)), model.get("least_seconds", 0)
    )


def _entry(entry: dict[str, Any]) -> Entry:
    day, times = entry.get("from"), entry.get("between")
    read = dt.time.fromisoformat
    factor = entry.get("factor")
    return Entry(
        prices={unit: _price(price) for unit, price in entry.get("prices", {}).items()},
        when=entry.get("when", {}),
        start=dt.date.fromisoformat(day) if day else None,
        between=(read(times[0]), read(times[1])) if times else None,
        factor=None if factor is None else (Decimal(factor), frozenset(entry["units"])),
    )


def _price(price: Any) -> Decimal | Tiers:
    if not isinstance(price, list):
        return Decimal(price)
    base, *steps = price
    return Tiers(Decimal(base), tuple((start, Decimal(at)) for start, at in reversed(steps)))
