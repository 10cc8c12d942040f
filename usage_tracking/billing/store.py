"""Store what was fetched: whole days of a provider's bill are replaced, or nothing is."""

from __future__ import annotations

import datetime as dt
from dataclasses import fields
from dataclasses import replace as replace_fields
from decimal import Context, Decimal
from typing import Any

from django.db import connections, transaction

from .. import daily
from ..models import AIProviderBill
from ..redaction import clean_text
from .billed import Billed, BillingError, Fetched
from .values import MAX_COUNT, added

_COUNTS = ("requests", "prompt_tokens", "completion_tokens", "cached_tokens")
_COLUMNS: Any = AIProviderBill._meta
#: Column of text → its longest value.
_LENGTHS = {
    name: _COLUMNS.get_field(name).max_length
    for name in (
        *("family", "model_name", "project", "key_id", "key_name", "key_hint"),
        *("service_tier", "line_item"),
    )
}
#: A tenth of what the column can hold: SQLite's floating point could round up to one more digit.
_LARGEST_COST = 10**9
_COST_STEP = Decimal(1).scaleb(-_COLUMNS.get_field("cost").decimal_places)
#: Rounds as it should, whatever the thread's own context is.
_EXACT = Context(prec=50)


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
    rows = [_cut(billed) for billed in fetched.rows]
    for billed in rows:
        if billed.day not in fetched.days:
            raise BillingError(
                f"The bill of {provider} has an amount of {billed.day}, a day that was not asked "
                "for. The stored bill was not changed."
            )
        _check(provider, billed)
    values = []
    for billed in added(rows):
        _check(provider, billed)
        cost = None if billed.cost is None else _EXACT.quantize(billed.cost, _COST_STEP)
        columns = {field.name: getattr(billed, field.name) for field in fields(billed)}
        values.append(columns | {"cost": cost, "units": billed.units or None})
    nothing = dict.fromkeys(_COUNTS, 0) | {"cost": Decimal(0)}
    empty = sorted(set(fetched.days) - {billed.day for billed in rows})
    return [*values, *({"day": day, **nothing} for day in empty)]


def _cut(billed: Billed) -> Billed:
    """Return the row with text as its columns can hold it."""
    texts: dict[str, Any] = {
        name: clean_text(getattr(billed, name) or "", longest) for name, longest in _LENGTHS.items()
    }
    # Names of units are JSON, which has no limit; this one keeps a row readable.
    units = {clean_text(name, 100): count for name, count in billed.units.items()}
    return replace_fields(billed, units=units, **texts)


def _check(provider: str, billed: Billed) -> None:
    """Check that the numbers fit into their columns.

    Raises:
        BillingError: One does not.
    """
    counts = {name: getattr(billed, name) for name in _COUNTS} | dict(billed.units)
    for name, count in counts.items():
        if count is not None and not _is_count(count):
            wanted = f"a whole number up to {MAX_COUNT}"
            raise _misfit(provider, billed, name, count, wanted)
    cost = billed.cost
    if cost is not None and not (cost.is_finite() and cost.copy_abs() <= _LARGEST_COST):
        raise _misfit(provider, billed, "cost", cost, f"a number of USD up to {_LARGEST_COST}")


def _is_count(count: object) -> bool:
    return isinstance(count, int) and not isinstance(count, bool) and 0 <= count <= MAX_COUNT


def _misfit(provider: str, billed: Billed, name: str, value: object, wanted: str) -> BillingError:
    what = billed.line_item or billed.model_name or billed.family
    return BillingError(
        f"In the bill of {provider} of {billed.day}, {name} of {what!r} must be {wanted}, not "
        f"{str(value)[:50]}. The stored bill was not changed."
    )
