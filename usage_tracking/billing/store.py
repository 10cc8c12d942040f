"""Store what was fetched: whole days of a provider's bill are replaced, or nothing is."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from decimal import Context, Decimal
from typing import Any

from django.db import connections, transaction

from .. import daily
from ..models import AIProviderBill
from ..redaction import clean_text
from .billed import Billed, BillingError, Fetched

#: The columns that, with the provider, make a row unique.
_KEYS = ("day", "family", "model_name", "project", "key_id", "service_tier", "line_item")
_NAMES = ("key_name", "key_hint")
_COUNTS = ("requests", "prompt_tokens", "completion_tokens", "cached_tokens")

_LARGEST_COUNT = 2**63 - 1
_COST: Any = AIProviderBill._meta.get_field("cost")
_COST_STEP = Decimal(1).scaleb(-_COST.decimal_places)
#: A tenth of what the column can hold: SQLite's floating point could round up to one more digit.
_COST_LIMIT = Decimal(10) ** (_COST.max_digits - _COST.decimal_places - 1)
#: Adds without rounding, whatever the thread's own context is.
_EXACT = Context(prec=100, traps=[])


def replace(provider: str, fetched: Fetched, *, using: str, now: dt.datetime) -> int:
    """Replace the days of a provider's bill with what was fetched; return the number of rows.

    Rows that the columns cannot tell apart are added up. A day on which nothing was billed has one
    row without a family. If anything fails, all days keep their rows.

    Args:
        provider: The provider, as the log names it.
        fetched: The days, and what was billed on them.
        using: The database alias.
        now: When the bill was fetched, an aware datetime.

    Raises:
        BillingError: A number does not fit into its column, or a row is of a day that was not
            fetched.
    """
    rows = _rows(provider, fetched)
    bills = [AIProviderBill(provider=provider, fetched_at=now, **values) for values in rows]
    with transaction.atomic(using=using):
        _lock(using)
        stored = AIProviderBill.objects.using(using)
        stored.filter(provider=provider, day__in=set(fetched.days)).delete()
        stored.bulk_create(bills)
    return len(bills)


def _lock(using: str) -> None:
    """Let only one transaction write bills; others can read them.

    The unique constraint alone would let the rows of two fetches of a day mix if their names
    differ, because neither transaction sees and deletes what the other one inserts. Unlike an
    advisory lock, LOCK TABLE waits before the transaction takes its snapshot, which matters for the
    isolation level REPEATABLE READ. https://www.postgresql.org/docs/current/sql-lock.html
    """
    connection = connections[using]
    if connection.vendor == "postgresql":
        table = connection.ops.quote_name(AIProviderBill._meta.db_table)
        with connection.cursor() as cursor:
            cursor.execute(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")
    daily.begin_write(using)


def _rows(provider: str, fetched: Fetched) -> list[dict[str, Any]]:
    """Return the values of the columns."""
    added: dict[tuple[Any, ...], dict[str, Any]] = {}
    for billed in fetched.rows:
        if billed.day not in fetched.days:
            raise BillingError(
                f"The bill of {provider} has an amount of {billed.day}, a day that was not asked "
                "for. The stored bill was not changed."
            )
        values = _values(billed)
        key = tuple(values[name] for name in _KEYS)
        added[key] = _sum(added[key], values) if key in added else values
    for values in added.values():
        _check(provider, values)
    billed_days = {values["day"] for values in added.values()}
    nothing = dict.fromkeys(_COUNTS, 0) | {"cost": Decimal(0)}
    empty = sorted(set(fetched.days) - billed_days)
    return [*added.values(), *({"day": day, **nothing} for day in empty)]


def _values(billed: Billed) -> dict[str, Any]:
    values: dict[str, Any] = {name: getattr(billed, name) for name in ("day", *_COUNTS, "cost")}
    for name in (*_KEYS[1:], *_NAMES):
        longest: int = AIProviderBill._meta.get_field(name).max_length  # type: ignore[assignment, union-attr]
        values[name] = clean_text(getattr(billed, name) or "", longest)
    # Names of units are JSON and have no limit; this one keeps a row readable.
    values["units"] = _add_units({}, billed.units) or None
    return values


def _sum(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    values = dict(one)
    for name in _NAMES:
        values[name] = one[name] or other[name]
    for name in (*_COUNTS, "cost"):
        values[name] = _add(one[name], other[name])
    values["units"] = _add_units(one["units"] or {}, other["units"] or {}) or None
    return values


def _add_units(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    units = dict(one)
    for name, count in other.items():
        short = clean_text(name, 100)
        units[short] = units.get(short, 0) + count
    return units


def _add(one: Any, other: Any) -> Any:
    """Return the sum of what is known."""
    if one is None or other is None:
        return other if one is None else one
    return _EXACT.add(one, other) if isinstance(one, Decimal) else one + other


def _check(provider: str, values: dict[str, Any]) -> None:
    """Round the cost to its column.

    Raises:
        BillingError: A number does not fit into its column.
    """
    counts = {name: values[name] for name in _COUNTS} | (values["units"] or {})
    for name, count in counts.items():
        if count is not None and not _is_count(count):
            raise _misfit(provider, values, name, count, f"a whole number up to {_LARGEST_COUNT}")
    cost: Decimal | None = values["cost"]
    if cost is not None:
        # A number that is too large, or no number, becomes NaN.
        values["cost"] = _EXACT.quantize(cost, _COST_STEP)
        if not values["cost"].is_finite() or values["cost"].copy_abs() >= _COST_LIMIT:
            raise _misfit(provider, values, "cost", cost, f"a number of USD below {_COST_LIMIT}")


def _is_count(count: object) -> bool:
    return isinstance(count, int) and not isinstance(count, bool) and 0 <= count <= _LARGEST_COUNT


def _misfit(
    provider: str, values: Mapping[str, Any], name: str, value: object, wanted: str
) -> BillingError:
    what = values["line_item"] or values["model_name"] or values["family"]
    return BillingError(
        f"In the bill of {provider} of {values['day']}, {name} of {what!r} must be {wanted}, not "
        f"{str(value)[:50]}. The stored bill was not changed."
    )
