"""Brings the rows of a site's own tracking tables over, as often as one likes.

The id of a new row is made of the old table's name and the old key: what is there already is left
as it is. Rows go the way of all events, through `writer.store`.
"""

from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import DataError, IntegrityError, OperationalError, connections
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from .. import conf, daily, places
from ..days import day_of
from ..delivery.writer import store
from ..events import MANUAL, MAX_COST, MAX_COUNT, Usage, UsageEvent, named_uuid7
from ..models import AIUsageLog, AIUsageTracking
from ..pricing import price

BATCH = 500
#: Times to try a batch again whose rows somebody holds.
TRIES = 20

#: What may be read of an old table; `--map` gives these names to its columns.
FIELDS = (
    "id",
    "created_at",
    "user_id",
    "section",
    "provider",
    "model_name",
    "operation",
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "cached_tokens",
    "reasoning_tokens",
    "cost",
    "response_time_ms",
    "success",
    "error_message",
    "metadata",
)
_REQUIRED = ("id", "created_at", "prompt_tokens", "completion_tokens")
_COUNTS = ("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens")


class Unusable(ValueError):
    """The old table cannot be read as asked for."""


@dataclass(frozen=True, slots=True)
class Source:
    """A table and what its columns are to us."""

    table: str
    #: Our field → its column.
    columns: dict[str, str]
    left_out: tuple[str, ...]
    rows: int


@dataclass(frozen=True, slots=True)
class Batch:
    """What became of some rows."""

    read: int
    imported: int
    there: int
    without_user: int
    #: Of days whose logs were pruned since: the daily rows count them already.
    pruned: int
    #: Whose old total is another than prompt + completion.
    other_total: int
    #: Old key → why it was left out.
    bad: dict[Any, str]
    #: What the rows add up to.
    sums: dict[daily.Key, daily.Sums]


@dataclass(slots=True)
class _Read:
    """Rows on their way."""

    events: dict[Any, UsageEvent] = field(default_factory=dict)
    bad: dict[Any, str] = field(default_factory=dict)
    other_total: int = 0
    pruned: int = 0


def look_at(table: str, renamed: Mapping[str, str], *, using: str) -> Source:
    """How `table` will be read; `renamed` maps its columns to FIELDS. Raises Unusable."""
    if table in (AIUsageLog._meta.db_table, AIUsageTracking._meta.db_table):
        raise Unusable(
            f"--from must be the old table, not {table}, which is a table of usage_tracking. "
            "Rename the old one first: docs/migrating.md"
        )
    existing = _columns(table, using)
    if unknown := sorted({*renamed} - {*existing}):
        raise Unusable(f"{table} has no column {', '.join(unknown)}: {', '.join(existing)}")
    if unknown := sorted({*renamed.values()} - {*FIELDS}):
        raise Unusable(f"no field {', '.join(unknown)}; there are {', '.join(FIELDS)}")
    columns = {name: name for name in existing if name in FIELDS and name not in renamed}
    columns |= {new: old for old, new in renamed.items()}
    if lacking := [name for name in _REQUIRED if name not in columns]:
        raise Unusable(
            f"{table} has no column {', '.join(lacking)}; if they have other names there, give "
            + " ".join(f"--map COLUMN={name}" for name in lacking)
        )
    left_out = tuple(name for name in existing if name not in columns.values())
    with connections[using].cursor() as cursor:
        cursor.execute(f"SELECT COUNT(*) FROM {_quote(table, using)}")
        (rows,) = cursor.fetchone()
    return Source(table, columns, left_out, rows)


def bring_over(source: Source, *, using: str, dry_run: bool = False) -> Iterator[Batch]:
    """Imports the rows in the order of their keys, each batch in a transaction of its own."""
    for rows in _pages(source, using):
        read = _read(source, rows, using)
        _leave_out_pruned(read, using)
        ids = [event.id for event in read.events.values()]
        found = AIUsageLog.objects.using(using).filter(pk__in=ids).values_list("pk", flat=True)
        new = {key: e for key, e in read.events.items() if e.id not in set(found)}
        if not dry_run:
            read.bad |= _store(new, using)
        imported = [event for key, event in new.items() if key not in read.bad]
        yield Batch(
            read=len(rows),
            imported=len(imported),
            there=len(read.events) - len(new),
            without_user=sum(event.user_id is None for event in imported),
            pruned=read.pruned,
            other_total=read.other_total,
            bad=read.bad,
            sums=_add_up(e for key, e in read.events.items() if key not in read.bad),
        )


#: User and day → field → what the old daily table has, and what ours has.
Differences = dict[daily.Key, dict[str, tuple[Any, Any]]]


def compare(table: str, ours: Mapping[daily.Key, daily.Sums] | None, *, using: str) -> Differences:
    """Where the old daily table says other than `ours`, or than our own if that is None.

    Only columns that both have are compared. Raises Unusable.
    """
    existing = _columns(table, using)
    if lacking := [name for name in ("user_id", "date") if name not in existing]:
        raise Unusable(f"{table} has no column {', '.join(lacking)}")
    names = [name for name in daily.Sums._fields if name in existing]
    selected = ", ".join(_quote(name, using) for name in ("user_id", "date", *names))
    with connections[using].cursor() as cursor:
        cursor.execute(f"SELECT {selected} FROM {_quote(table, using)}")
        rows = cursor.fetchall()
    if ours is None:
        own = AIUsageTracking.objects.using(using).values_list(
            "user_id", "date", *daily.Sums._fields
        )
        ours = {(user, day): daily.Sums._make(sums) for user, day, *sums in own}
    differences: Differences = {}
    for user, day, *values in rows:
        key = _user_key(user), day if isinstance(day, dt.date) else parse_date(str(day)[:10])
        mine = ours.get(key) if key[1] else None  # type: ignore[arg-type]
        found = {
            name: (old, new)
            for name, old in zip(names, values, strict=True)
            if not _same(old, new := getattr(mine or daily.Sums(), name))
        }
        if found:
            differences[key] = found  # type: ignore[index]
    return differences


def _same(old: Any, new: Any) -> bool:
    return abs(Decimal(str(old or 0)) - Decimal(new)) < Decimal("1e-6")


def _columns(table: str, using: str) -> list[str]:
    connection = connections[using]
    with connection.cursor() as cursor:
        if table not in connection.introspection.table_names(cursor, include_views=True):
            raise Unusable(f"there is no table {table} in the database {using!r}")
        return [
            column.name for column in connection.introspection.get_table_description(cursor, table)
        ]


def _quote(name: str, using: str) -> str:
    return connections[using].ops.quote_name(name)


def _pages(source: Source, using: str) -> Iterator[list[dict[str, Any]]]:
    """By key instead of by a long query: nothing is held while the rows are written."""
    key = _quote(source.columns["id"], using)
    selected = ", ".join(_quote(column, using) for column in source.columns.values())
    select = f"SELECT {selected} FROM {_quote(source.table, using)}"
    last: list[Any] = []
    while True:
        where = f" WHERE {key} > %s" if last else ""
        with connections[using].cursor() as cursor:
            cursor.execute(f"{select}{where} ORDER BY {key} LIMIT {BATCH}", last)
            rows = [dict(zip(source.columns, row, strict=True)) for row in cursor.fetchall()]
        if not rows:
            return
        yield rows
        last = [rows[-1]["id"]]


def _read(source: Source, rows: list[dict[str, Any]], using: str) -> _Read:
    keys = {_user_key(row.get("user_id")) for row in rows} - {None}
    user: Any = get_user_model()
    users = user._base_manager.using(places.users_of(using)).in_bulk(keys)
    read = _Read()
    for row in rows:
        try:
            event = _event(source, row, users, using)
        except (ValueError, InvalidOperation, OverflowError) as error:
            read.bad[row["id"]] = str(error)
            continue
        read.events[row["id"]] = event
        total = row.get("total_tokens")
        read.other_total += total is not None and total != event.total_tokens
    return read


def _event(
    source: Source, row: Mapping[str, Any], users: Mapping[Any, Any], using: str
) -> UsageEvent:
    created_at = _moment(row["created_at"], using)
    user = users.get(_user_key(row.get("user_id")))
    success = row.get("success", True)
    if success not in (True, False):
        raise ValueError(f"success is {success!r}")
    return UsageEvent.create(
        id=named_uuid7(created_at, f"{source.table}:{row['id']}"),
        created_at=created_at,
        user_id=None if user is None else str(user.pk),
        username="" if user is None else user.get_username(),
        section=row.get("section") or conf.default_section(),
        provider=row.get("provider") or "",
        model_name=row.get("model_name") or "",
        operation=row.get("operation") or "",
        usage=Usage(
            **{name: _count(name, row.get(name)) for name in _COUNTS}, cost=_cost(row.get("cost"))
        ),
        source=MANUAL,
        response_time_ms=_count("response_time_ms", row.get("response_time_ms")) or 0,
        success=bool(success),
        error_message=row.get("error_message") or "",
        metadata=_metadata(row.get("metadata")),
    )


def _user_key(value: Any) -> Any:
    """The key as the ORM gives it; None for what cannot be one of today's user model."""
    try:
        return None if value is None else get_user_model()._meta.pk.to_python(value)
    except ValidationError:
        return None


def _moment(value: Any, using: str) -> dt.datetime:
    moment = value if isinstance(value, dt.datetime) else parse_datetime(str(value or ""))
    if moment is None:
        raise ValueError(f"created_at is {value!r}")
    if timezone.is_naive(moment):
        # As Django stores them: without USE_TZ in TIME_ZONE, else in the connection's zone.
        zone = connections[using].timezone or timezone.get_default_timezone()
        moment = timezone.make_aware(moment, zone)
    if not 1970 < moment.year < 9999:
        raise ValueError(f"created_at is {value!r}, no moment of an AI call")
    return moment.astimezone(dt.UTC)


def _count(name: str, value: Any) -> int | None:
    if value is None:
        return None
    number = Decimal(str(value)).to_integral_value()
    if not number.is_finite() or not 0 <= number <= MAX_COUNT:
        raise ValueError(f"{name} is {value!r}, no count")
    return int(number)


def _cost(value: Any) -> Decimal | None:
    if value is None:
        return None
    cost = Decimal(str(value))
    if not (cost.is_finite() and 0 <= cost < MAX_COST):
        raise ValueError(f"cost is {value!r}")
    return cost


def _metadata(value: Any) -> Any:
    if isinstance(value, (str, bytes)):
        with suppress(ValueError):
            value = json.loads(value or "{}")
    if not value or isinstance(value, dict):
        return value
    return {"metadata": value}


def _leave_out_pruned(read: _Read, using: str) -> None:
    days = {day_of(event.created_at) for event in read.events.values()}
    rows = AIUsageTracking.objects.using(using).filter(logs_pruned=True, date__in=days)
    pruned = set(rows.values_list("user_id", "date"))
    for key, event in list(read.events.items()):
        if (_user_key(event.user_id), day_of(event.created_at)) in pruned:
            del read.events[key]
            read.pruned += 1


def _store(events: Mapping[Any, UsageEvent], using: str) -> dict[Any, str]:
    """Writes them; gives those that the database refuses, with its reason."""
    if not events:
        return {}
    for attempt in range(1, TRIES + 1):
        try:
            # Whoever is not there now will not come: these users are old.
            store(events.values(), using=using, patience=dt.timedelta.min)
        except (DataError, IntegrityError) as error:
            if len(events) == 1:
                return dict.fromkeys(events, str(error).strip().partition("\n")[0])
            items = list(events.items())
            middle = len(items) // 2
            return _store(dict(items[:middle]), using) | _store(dict(items[middle:]), using)
        except OperationalError:  # somebody holds a row: `store` gives way to the site
            if attempt == TRIES:
                raise
            time.sleep(0.1)
        else:
            break
    return {}


def _add_up(events: Iterator[UsageEvent]) -> dict[daily.Key, daily.Sums]:
    return daily.merge(
        (
            (_user_key(event.user_id), day_of(event.created_at)),
            daily.of_call(
                event.prompt_tokens,
                event.completion_tokens,
                event.response_time_ms,
                event.success,
                price(event),
            ),
        )
        for event in events
        if event.user_id is not None
    )
