"""Write the price table of the package from the data of genai-prices: `make prices`.

The table holds everything that a price depends on: how to find the provider and the model, the
prices by unit, size, date, time of day and facts of the call, and the units.
`usage_tracking.pricing.data` reads it, and `usage_tracking.pricing.table` describes its format.
"""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from importlib.metadata import distribution
from typing import Any

from genai_prices import types
from genai_prices.data import providers
from genai_prices.data_units import unit_data
from genai_prices.units import UnitRegistry

from usage_tracking.pricing.data import PATH

#: The fewest seconds of audio that Groq bills. genai-prices has this in its code, not in its data.
#: https://groq.com/pricing
_LEAST_SECONDS = dict.fromkeys(
    [("groq", "whisper-large-v3"), ("groq", "whisper-large-v3-turbo")], 10
)
_UNITS = UnitRegistry(unit_data)


def main() -> None:
    """Write the table."""
    PATH.write_text(table(), encoding="utf-8")


def table() -> str:
    """Return the table as JSON, one line per model so that a diff can be reviewed."""
    package = distribution("genai-prices")
    head = {
        "source": {
            "name": package.metadata["Name"],
            "version": package.version,
            "url": "https://github.com/pydantic/genai-prices",
            "license": package.read_text("licenses/LICENSE"),
        },
        "units": {
            name: {"per": unit.per, "dimensions": dict(unit.dimensions)}
            for name, unit in _UNITS.units.items()
        },
    }
    blocks = [
        _opened(
            _provider(provider), "models", [_dump(_model(provider, m)) for m in provider.models]
        )
        for provider in providers
    ]
    return _opened(head, "providers", blocks) + "\n"


def _provider(provider: types.Provider) -> dict[str, Any]:
    return _without_none(
        id=provider.id,
        model_match=_clause(provider.model_match),
        provider_match=_clause(provider.provider_match),
        fallback_model_providers=provider.fallback_model_providers,
    )


def _model(provider: types.Provider, model: types.ModelInfo) -> dict[str, Any]:
    match = _clause(model.match)
    prices: Any
    if isinstance(model.prices, types.ModelPrice):
        prices = _prices(model.prices)
    else:
        prices = [
            _constraint(entry.constraint) | {"prices": _prices(entry.prices)}
            for entry in model.prices
        ]
    return _without_none(
        id=model.id,
        match=None if match == model.id else match,
        prices=prices,
        price_variants=[
            {"when": entry.when} | _constraint(entry.constraint) | {"prices": _prices(entry.prices)}
            for entry in model.price_variants or ()
        ]
        or None,
        least_seconds=_LEAST_SECONDS.get((provider.id, model.id)),
    )


def _clause(clause: Any) -> Any:
    """Return a string for `equals`, a list for `or`, an object with one key for any other."""
    match clause:
        case None:
            return None
        case types.ClauseEquals(equals=text):
            return text.lower()
        case types.ClauseOr(or_=clauses):
            return [_clause(each) for each in clauses]
        case types.ClauseAnd(and_=clauses):
            return {"and": [_clause(each) for each in clauses]}
        case types.ClauseRegex(regex=pattern):
            return {"regex": pattern}
        case types.ClauseStartsWith(starts_with=text):
            return {"starts_with": text.lower()}
        case types.ClauseEndsWith(ends_with=text):
            return {"ends_with": text.lower()}
        case types.ClauseContains(contains=text):
            return {"contains": text.lower()}
    raise TypeError(f"The table has no format for the clause {clause!r}; extend _clause.")


def _constraint(constraint: Any) -> dict[str, Any]:
    match constraint:
        case None:
            return {}
        case types.StartDateConstraint(start_date=day):
            return {"from": day.isoformat()}
        case types.TimeOfDateConstraint(start_time=start, end_time=end):
            return {"between": [_utc(start), _utc(end)]}
    raise TypeError(
        f"The table has no format for the constraint {constraint!r}; extend _constraint."
    )


def _utc(time: dt.time) -> str:
    if time.tzinfo is not None:
        time = dt.datetime.combine(dt.date(1970, 1, 1), time).astimezone(dt.UTC).time()
    return time.isoformat()


def _prices(prices: types.ModelPrice) -> dict[str, Any]:
    return {
        _UNITS.unit_for_price_key(key).usage_key: _price(price)
        for key, price in vars(prices).items()
        if price is not None
    }


def _price(price: Any) -> Any:
    if isinstance(price, types.TieredPrices):
        return [_price(price.base), *([tier.start, _price(tier.price)] for tier in price.tiers)]
    number = int(price) if price == int(price) else float(price)
    if Decimal(repr(number)) != price:
        raise ValueError(f"A price must have at most 15 digits to be a JSON number, not {price}.")
    return number


def _without_none(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _opened(value: dict[str, Any], name: str, items: list[str]) -> str:
    """Return the JSON of `value` with a list `name` of `items`, which are JSON, one per line."""
    lines = ",\n".join(items)
    return f'{_dump(value)[:-1]},"{name}":[\n{lines}\n]}}'


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


if __name__ == "__main__":
    main()
