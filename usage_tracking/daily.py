"""The sums in daily rows: add to them, check them and rebuild them.

Every change of a row in the log ends with one call of `add`, in the same transaction.
"""

from __future__ import annotations

import datetime as dt
import operator
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, NamedTuple, Protocol

from django.apps import apps
from django.contrib.auth import get_user_model
from django.db import connections, router, transaction
from django.db.models import Aggregate, Count, F, Max, Q, QuerySet, Sum
from django.utils import timezone

from . import sql

Key = tuple[Any, dt.date]
#: SQLite keeps decimals as floating point numbers. This is less than the column can hold, so that
#: small differences do not get lost one by one.
_COST_NOISE = Decimal("5e-11")


class Sums(NamedTuple):
    """The sums of a daily row, in tokens, ms and USD. The names are those of its fields."""

    total_requests: int = 0
    total_prompt_tokens: int = 0
    total_completion_tokens: int = 0
    total_tokens: int = 0
    total_response_time_ms: int = 0
    successful_requests: int = 0
    failed_requests: int = 0
    total_cost: Decimal = Decimal(0)

    def plus(self, other: Sums) -> Sums:
        """Return the sum of both."""
        return Sums._make(map(operator.add, self, other))

    def minus(self, other: Sums) -> Sums:
        """Return these sums minus the others."""
        return Sums._make(map(operator.sub, self, other))

    def is_zero(self) -> bool:
        """Return whether all sums are zero, apart from the rounding noise of SQLite."""
        return not any(self[:-1]) and abs(self.total_cost) < _COST_NOISE


class Totals(NamedTuple):
    """A daily row after an increment."""

    total_requests: int
    total_tokens: int
    created: bool


#: The fields of a row that its daily row depends on.
COUNTED = frozenset(
    {
        "user",
        "user_id",
        "day",
        "created_at",
        "prompt_tokens",
        "completion_tokens",
        "response_time_ms",
        "success",
        "cost",
    }
)


def of_call(
    prompt_tokens: int | None,
    completion_tokens: int | None,
    response_time_ms: int,
    success: bool,  # noqa: FBT001 -- a column among columns
    cost: Decimal | None,
) -> Sums:
    """Return the sums that one call adds, in tokens, ms and USD; unknown values add nothing."""
    prompt, completion = prompt_tokens or 0, completion_tokens or 0
    return Sums(
        1,
        prompt,
        completion,
        prompt + completion,
        response_time_ms,
        int(success),
        int(not success),
        cost or Decimal(0),
    )


class Call(Protocol):
    """The fields of a call that its event and its row have in common."""

    @property
    def prompt_tokens(self) -> int | None:
        """The number of input tokens, None if it is unknown."""

    @property
    def completion_tokens(self) -> int | None:
        """The number of output tokens, None if it is unknown."""

    @property
    def response_time_ms(self) -> int:
        """The duration of the call in milliseconds."""

    @property
    def success(self) -> bool:
        """Whether the provider answered without an error."""


def of_event(call: Call, cost: Decimal | None) -> Sums:
    """Return the sums that one call of this cost (USD) adds."""
    return of_call(
        call.prompt_tokens, call.completion_tokens, call.response_time_ms, call.success, cost
    )


def of_logs(logs: QuerySet[Any]) -> dict[Key, Sums]:
    """Return the sums of `logs` by user and day; rows without a user have no daily row."""
    totals: dict[str, Aggregate] = {
        "total_requests": Count("pk"),
        "total_prompt_tokens": Sum("prompt_tokens", default=0),
        "total_completion_tokens": Sum("completion_tokens", default=0),
        # The column has the name of the sum, so the sum needs an alias.
        "sum_of_tokens": Sum("total_tokens", default=0),
        "total_response_time_ms": Sum("response_time_ms", default=0),
        "successful_requests": Count("pk", filter=Q(success=True)),
        "failed_requests": Count("pk", filter=Q(success=False)),
        "total_cost": Sum("cost", default=Decimal(0)),
    }
    rows = (
        logs.exclude(user=None)
        .order_by()
        .values("user_id", "day")
        .annotate(**totals)
        .values_list("user_id", "day", *totals)
    )
    return {(user, day): Sums._make(sums) for user, day, *sums in rows}


#: The sums that one row adds, as SQL expressions; see `of_call` and `of_logs`.
_OF_ROW = {
    "total_requests": "1",
    "total_prompt_tokens": "COALESCE(prompt_tokens, 0)",
    "total_completion_tokens": "COALESCE(completion_tokens, 0)",
    "total_tokens": "COALESCE(total_tokens, 0)",
    "total_response_time_ms": "response_time_ms",
    "successful_requests": "CASE WHEN success THEN 1 ELSE 0 END",
    "failed_requests": "CASE WHEN success THEN 0 ELSE 1 END",
    "total_cost": "COALESCE(cost, 0)",
}


def difference(before: Mapping[Key, Sums], after: Mapping[Key, Sums]) -> dict[Key, Sums]:
    """Return the sums to add to `before` to get `after`."""
    zero = Sums()
    return {key: after.get(key, zero).minus(before.get(key, zero)) for key in {*before, *after}}


@contextmanager
def following(logs: QuerySet[Any], *, using: str) -> Iterator[None]:
    """Apply the changes that the block makes to `logs` to the daily rows; in a transaction."""
    begin_write(using)
    list(logs.select_for_update().values_list("pk"))  # an aggregate cannot be locked
    before = of_logs(logs)
    yield
    add(difference(before, of_logs(logs)), using=using)


def begin_write(using: str) -> None:
    """Take SQLite's write lock at the start of a transaction that reads before it writes.

    Without it, a deferred transaction fails at its first write with "database is locked", without
    waiting, if another connection has written since its first read. The timeout of the connection
    helps only a transaction that begins with a write. https://sqlite.org/lang_transaction.html
    """
    connection = connections[using]
    if connection.vendor == "sqlite":
        table = connection.ops.quote_name(_tracking()._meta.db_table)
        with connection.cursor() as cursor:
            cursor.execute(f"UPDATE {table} SET total_requests = 0 WHERE false")


def lock(keys: Iterable[Key], *, using: str) -> None:
    """Lock the existing daily rows of (user id, day), in the order of `add`."""
    rows = _tracking().objects.using(using).select_for_update()
    for user_id, day in sorted(keys):
        list(rows.filter(user_id=user_id, date=day).values_list("pk"))


def add(increments: Mapping[Key, Sums], *, using: str) -> dict[Key, Totals]:
    """Add to the daily rows of (user id, day), and create missing ones.

    Call it inside a transaction. All writers lock rows in one order, so they wait for each other
    and never deadlock. Return the totals of the rows to which calls were added.
    """
    ordered = sorted((key, sums) for key, sums in increments.items() if not sums.is_zero())
    growing = [(key, sums) for key, sums in ordered if sums.total_requests > 0]
    if not growing:
        _update(ordered, using)
        return {}
    if len(growing) == len(ordered):
        return _upsert(growing, using)
    totals: dict[Key, Totals] = {}
    tracking = _tracking().objects.using(using)
    for key, sums in ordered:  # one by one, to keep the order with two kinds of statement
        if sums.total_requests > 0:
            totals |= _upsert([(key, sums)], using)
        else:
            # A subtraction never creates a row: the user may be about to be deleted with the row.
            tracking.filter(user_id=key[0], date=key[1]).update(
                **{name: F(name) + value for name, value in sums._asdict().items()},
                updated_at=timezone.now(),
            )
    return totals


def _upsert(increments: list[tuple[Key, Sums]], using: str) -> dict[Key, Totals]:
    connection: Any = connections[using]
    quote = connection.ops.quote_name
    columns, rows = _columns(connection), _rows(increments, connection)
    grown = _grown("excluded")
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {quote(_tracking()._meta.db_table)} AS d ({', '.join(columns)}) "
            f"SELECT {', '.join(f'i.{name}' for name in columns)} "
            f"FROM {sql.relation(columns, connection, 'i')} "
            "WHERE true ORDER BY i.user_id, i.date "  # without WHERE SQLite misreads ON
            f"ON CONFLICT (user_id, date) DO UPDATE SET {grown}, updated_at = excluded.updated_at "
            "RETURNING user_id, date, total_requests, total_tokens",
            [sql.parameter(rows)],
        )
        returned = cursor.fetchall()
    added = dict(increments)
    result = {}
    for user_id, day, requests, tokens in returned:
        key = _key(user_id, day)
        result[key] = Totals(requests, tokens, requests == added[key].total_requests)
    return result


def _update(increments: list[tuple[Key, Sums]], using: str) -> None:
    """Add to existing daily rows, in at most two statements, to hold their locks briefly.

    This never creates a row: the user may be about to be deleted with the row.
    """
    if not increments:
        return
    connection: Any = connections[using]
    quote = connection.ops.quote_name
    table = quote(_tracking()._meta.db_table)
    relation = sql.relation(_columns(connection), connection, "i")
    parameters = [sql.parameter(_rows(increments, connection))]
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            # An UPDATE locks its rows in any order, so lock them before, in the order of `add`.
            cursor.execute(
                f"SELECT 1 FROM {table} AS d, {relation} "
                "WHERE d.user_id = i.user_id AND d.date = i.date "
                "ORDER BY d.user_id, d.date FOR NO KEY UPDATE OF d",
                parameters,
            )
        cursor.execute(
            f"UPDATE {table} AS d SET {_grown('i')}, updated_at = i.updated_at FROM {relation} "
            "WHERE d.user_id = i.user_id AND d.date = i.date",
            parameters,
        )


def _columns(connection: Any) -> dict[str, str]:
    """Return the columns of a daily row that is added, with their types on PostgreSQL."""
    user: Any = get_user_model()._meta.pk
    return {
        "user_id": str(user.rel_db_type(connection)),
        "date": "date",
        **dict.fromkeys(Sums._fields, "bigint"),
        "total_cost": "numeric",
        "created_at": "timestamptz",
        "updated_at": "timestamptz",
    }


def _rows(increments: list[tuple[Key, Sums]], connection: Any) -> Iterator[dict[str, Any]]:
    """Yield the values of `_columns`."""
    user: Any = get_user_model()._meta.pk
    now = sql.moment(timezone.now(), connection)
    for (user_id, day), sums in increments:
        yield {
            **sums._asdict(),
            "user_id": sql.key(user, user_id, connection),
            "date": day.isoformat(),
            "total_cost": format(sums.total_cost, "f"),
            "created_at": now,
            "updated_at": now,
        }


def _grown(alias: str) -> str:
    """Return the assignments that add the sums of the relation `alias` to the daily row `d`."""
    # SQLite adds decimals as floating point numbers; rounding keeps the noise from growing.
    return ", ".join(
        f"{name} = ROUND(d.{name} + {alias}.{name}, 10)"
        if name == "total_cost"
        else f"{name} = d.{name} + {alias}.{name}"
        for name in Sums._fields
    )


def drift(
    *,
    using: str | None = None,
    start: dt.date | None = None,
    end: dt.date | None = None,
) -> dict[Key, Sums]:
    """Return the sums that the daily rows lack (negative: have in excess), by user and day.

    One statement reads rows and daily rows in one snapshot. Every write changes both in one
    transaction, so the result does not depend on the traffic. It skips daily rows whose rows were
    pruned, and days before the oldest row: a site may have removed rows with its own SQL.

    Args:
        using: The alias of the database, by default the one that the routers choose.
        start: The first day to check.
        end: The last day to check, inclusive.
    """
    using = using or router.db_for_read(_log())
    connection = connections[using]
    quote = connection.ops.quote_name
    log, daily = quote(_log()._meta.db_table), quote(_tracking()._meta.db_table)
    bounds = [(comparison, day) for comparison, day in ((">=", start), ("<=", end)) if day]
    parameters = [connection.ops.adapt_datefield_value(day) for _, day in bounds]

    def within(column: str) -> str:
        return "".join(f" AND {column} {comparison} %s" for comparison, _ in bounds)

    sums = ", ".join(f"SUM({quote(name)}) AS {quote(name)}" for name in Sums._fields)
    uneven = " OR ".join(
        f"ABS(SUM({quote(name)})) > 0.000001"
        if name == "total_cost"
        else f"SUM({quote(name)}) <> 0"
        for name in Sums._fields
    )
    counted = ", ".join(f"{_OF_ROW[name]} AS {quote(name)}" for name in Sums._fields)
    kept = ", ".join(f"-{quote(name)}" for name in Sums._fields)
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT user_id, day, {sums} FROM ("
            f"SELECT user_id, day, {counted}, 0 AS pruned FROM {log} "
            f"WHERE user_id IS NOT NULL{within('day')} "
            f"UNION ALL SELECT user_id, date AS day, {kept}, "
            f"CASE WHEN logs_pruned THEN 1 ELSE 0 END AS pruned FROM {daily} "
            f"WHERE date >= (SELECT MIN(day) FROM {log}){within('date')}"
            ") AS ledger GROUP BY user_id, day "
            f"HAVING MAX(pruned) = 0 AND ({uneven}) ORDER BY day, user_id",
            parameters * 2,
        )
        rows = cursor.fetchall()
    return {
        _key(user_id, day): Sums._make((*map(int, found[:-1]), Decimal(str(found[-1]))))
        for user_id, day, *found in rows
    }


def rebuild(
    *,
    using: str | None = None,
    start: dt.date | None = None,
    end: dt.date | None = None,
) -> dict[Key, Sums]:
    """Rebuild the daily rows from the rows; return the result of `drift` before.

    It is safe during live traffic: it adds the difference, which the traffic does not change.
    """
    using = using or router.db_for_write(_log())
    with transaction.atomic(using=using):
        begin_upkeep(using)
        found = drift(using=using, start=start, end=end)
        add(found, using=using)
        rows = _tracking().objects.using(using)
        empty = rows.filter(total_requests=0).values_list("pk", "user_id", "date")
        emptied = [pk for pk, *key in empty if tuple(key) in found]
        for at in range(0, len(emptied), 500):
            rows.filter(pk__in=emptied[at : at + 500]).delete()
    return found


def begin_upkeep(using: str) -> None:
    """Let only one transaction rebuild or prune: two would both add the same difference."""
    connection = connections[using]
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(hashtext('usage_tracking.rebuild'))")
    begin_write(using)


def horizon(using: str | None = None) -> dt.date | None:
    """Return the last day whose rows were pruned, None if there is none."""
    rows = _tracking().objects.using(using or router.db_for_read(_log()))
    last: dt.date | None = rows.filter(logs_pruned=True).aggregate(last=Max("date"))["last"]
    return last


def merge(parts: Iterable[tuple[Key, Sums]]) -> dict[Key, Sums]:
    """Return the parts as a dict; sums with the same key are added."""
    merged: dict[Key, Sums] = {}
    for key, sums in parts:
        merged[key] = merged[key].plus(sums) if key in merged else sums
    return merged


def _key(user_id: Any, day: Any) -> Key:
    """Return a key with the types of the ORM, from the values of a raw cursor."""
    model = _tracking()
    return (
        get_user_model()._meta.pk.to_python(user_id),
        model._meta.get_field("date").to_python(day),
    )


def _log() -> Any:
    return apps.get_model("usage_tracking", "AIUsageLog")


def _tracking() -> Any:
    return apps.get_model("usage_tracking", "AIUsageTracking")
