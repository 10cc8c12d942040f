"""Import the rows of a site's own tracking tables. The import can be repeated.

The id of a new row is derived from the old table's name and the old key, so a row that exists
already is left unchanged. The rows are written by `writer.store`, as all events are.
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
from ..events import MANUAL, MAX_COST, MAX_DURATION, UsageEvent, named_uuid7
from ..fields import CALL_FIELDS
from ..models import AIUsageLog, AIUsageTracking
from ..pricing import price
from ..usage import MAX_COUNT, Usage

#: Rows per transaction.
BATCH = 500
#: How often to try a batch while another transaction locks its rows.
TRIES = 20

#: The fields to read from an old table; `--map` maps its columns to these names.
FIELDS = (
    *("id", "created_at", "user_id", "section"),
    *(name for name in CALL_FIELDS if name != "usage_source"),
)
_REQUIRED = ("id", "created_at", "prompt_tokens", "completion_tokens")
_COUNTS = ("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens")


class UnusableTableError(ValueError):
    """The old table does not exist or lacks a column."""


@dataclass(frozen=True, slots=True)
class Source:
    """An old table and the meaning of its columns."""

    table: str
    #: Field → column.
    columns: dict[str, str]
    #: Columns that are not read.
    skipped: tuple[str, ...]
    #: Number of rows.
    rows: int


@dataclass(frozen=True, slots=True)
class ImportedBatch:
    """The result of one batch, as numbers of rows."""

    read: int
    imported: int
    #: Imported by an earlier run.
    existing: int
    #: Imported without user.
    without_user: int
    #: Skipped because the rows of their days were pruned; the daily rows include them already.
    pruned: int
    #: The old total is not prompt + completion.
    other_total: int
    #: Old key → why the row was skipped.
    bad: dict[Any, str]
    #: What the rows add to the daily rows.
    sums: dict[daily.Key, daily.Sums]


@dataclass(slots=True)
class _Parsed:
    """The events of a page of rows, by old key."""

    events: dict[Any, UsageEvent] = field(default_factory=dict)
    bad: dict[Any, str] = field(default_factory=dict)
    other_total: int = 0
    pruned: int = 0


def inspect(table: str, renamed: Mapping[str, str], *, using: str) -> Source:
    """Map the columns of `table` to fields.

    `renamed` maps columns to `FIELDS`. Other columns are read if they have the name of a field.

    Raises:
        UnusableTableError: There is no such table or column, or a required field has no column.
    """
    if table in (AIUsageLog._meta.db_table, AIUsageTracking._meta.db_table):
        raise UnusableTableError(
            f"--from must be the old table, not {table}, which is a table of usage_tracking. "
            "Rename the old table first: see docs/migrating.md"
        )
    existing = _columns(table, using)
    if unknown := sorted({*renamed} - {*existing}):
        raise UnusableTableError(
            f"{table} has no column {', '.join(unknown)}. It has: {', '.join(existing)}"
        )
    if unknown := sorted({*renamed.values()} - {*FIELDS}):
        raise UnusableTableError(
            f"There is no field {', '.join(unknown)}. Choose from: {', '.join(FIELDS)}"
        )
    columns = {name: name for name in existing if name in FIELDS and name not in renamed}
    columns |= {new: old for old, new in renamed.items()}
    if lacking := [name for name in _REQUIRED if name not in columns]:
        raise UnusableTableError(
            f"{table} has no column {', '.join(lacking)}. If the column has another name, use "
            + " ".join(f"--map COLUMN={name}" for name in lacking)
        )
    skipped = tuple(name for name in existing if name not in columns.values())
    with connections[using].cursor() as cursor:
        cursor.execute(f"SELECT COUNT(*) FROM {_quote(table, using)}")
        (rows,) = cursor.fetchone()
    return Source(table, columns, skipped, rows)


def import_rows(source: Source, *, using: str, dry_run: bool = False) -> Iterator[ImportedBatch]:
    """Import the rows in the order of their keys, with one transaction per batch."""
    for rows in _pages(source, using):
        parsed = _parse(source, rows, using)
        _skip_pruned(parsed, using)
        ids = [event.id for event in parsed.events.values()]
        found = AIUsageLog.objects.using(using).filter(pk__in=ids).values_list("pk", flat=True)
        new = {key: e for key, e in parsed.events.items() if e.id not in set(found)}
        if not dry_run:
            parsed.bad |= _store(new, using)
        imported = [event for key, event in new.items() if key not in parsed.bad]
        yield ImportedBatch(
            read=len(rows),
            imported=len(imported),
            existing=len(parsed.events) - len(new),
            without_user=sum(event.user_id is None for event in imported),
            pruned=parsed.pruned,
            other_total=parsed.other_total,
            bad=parsed.bad,
            sums=_sums(e for key, e in parsed.events.items() if key not in parsed.bad),
        )


#: User and day → field → the value in the old daily table, and ours.
Differences = dict[daily.Key, dict[str, tuple[Any, Any]]]


def compare(table: str, ours: Mapping[daily.Key, daily.Sums] | None, *, using: str) -> Differences:
    """Compare the old daily table with `ours`, or with the daily rows if that is None.

    Only columns that both tables have are compared.

    Raises:
        UnusableTableError: There is no such table, or it has no `user_id` or `date`.
    """
    existing = _columns(table, using)
    if lacking := [name for name in ("user_id", "date") if name not in existing]:
        raise UnusableTableError(f"{table} has no column {', '.join(lacking)}")
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
            raise UnusableTableError(f"There is no table {table} in the database {using!r}")
        return [
            column.name for column in connection.introspection.get_table_description(cursor, table)
        ]


def _quote(name: str, using: str) -> str:
    return connections[using].ops.quote_name(name)


def _pages(source: Source, using: str) -> Iterator[list[dict[str, Any]]]:
    """Read page by page, so that no query stays open while the rows are written."""
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


def _parse(source: Source, rows: list[dict[str, Any]], using: str) -> _Parsed:
    keys = {_user_key(row.get("user_id")) for row in rows} - {None}
    user: Any = get_user_model()
    users = user._base_manager.using(places.users_of(using)).in_bulk(keys)
    parsed = _Parsed()
    for row in rows:
        try:
            event = _event(source, row, users, using)
        except (ValueError, InvalidOperation, OverflowError) as error:
            parsed.bad[row["id"]] = str(error)
            continue
        parsed.events[row["id"]] = event
        total = row.get("total_tokens")
        parsed.other_total += total is not None and total != event.total_tokens
    return parsed


def _event(
    source: Source, row: Mapping[str, Any], users: Mapping[Any, Any], using: str
) -> UsageEvent:
    created_at = _created_at(row["created_at"], using)
    user = users.get(_user_key(row.get("user_id")))
    success = row.get("success", True)
    if success not in (True, False):
        raise ValueError(f"success must be a boolean, not {success!r}")
    counts: dict[str, Any] = {name: _count(name, row.get(name)) for name in _COUNTS}
    faults: dict[str, str] = {}
    details = _details(row.get("usage_details"), faults)
    return UsageEvent.create(
        id=named_uuid7(created_at, f"{source.table}:{row['id']}"),
        created_at=created_at,
        user_id=None if user is None else str(user.pk),
        username="" if user is None else user.get_username(),
        section=row.get("section") or conf.default_section(),
        provider=row.get("provider") or "",
        model_name=row.get("model_name") or "",
        operation=row.get("operation") or "",
        usage=Usage(**counts, cost=_cost(row.get("cost")), details=details, faults=faults),
        source=MANUAL,
        response_time_ms=_count("response_time_ms", row.get("response_time_ms"), MAX_DURATION) or 0,
        success=bool(success),
        error_message=row.get("error_message") or "",
        metadata=_metadata(row.get("metadata")),
    )


def _user_key(value: Any) -> Any:
    """Return the primary key as the ORM has it; None if it is not valid for the user model."""
    try:
        return None if value is None else get_user_model()._meta.pk.to_python(value)
    except ValidationError:
        return None


def _created_at(value: Any, using: str) -> dt.datetime:
    at = value if isinstance(value, dt.datetime) else parse_datetime(str(value or ""))
    if at is None:
        raise ValueError(f"created_at must be a date and time, not {value!r}")
    if timezone.is_naive(at):
        # As Django stores it: without USE_TZ in TIME_ZONE, else in the connection's time zone.
        at = timezone.make_aware(at, connections[using].timezone or timezone.get_default_timezone())
    if not 1970 < at.year < 9999:
        raise ValueError(f"created_at must be between 1971 and 9998, not {value!r}")
    return at.astimezone(dt.UTC)


def _count(name: str, value: Any, maximum: int = MAX_COUNT) -> int | None:
    if value is None:
        return None
    number = Decimal(str(value)).to_integral_value()
    if not number.is_finite() or not 0 <= number <= maximum:
        raise ValueError(f"{name} must be from 0 to {maximum}, not {value!r}")
    return int(number)


def _cost(value: Any) -> Decimal | None:
    if value is None:
        return None
    cost = Decimal(str(value))
    if not (cost.is_finite() and 0 <= cost < MAX_COST):
        raise ValueError(f"cost must be at least 0 and less than {MAX_COST}, not {value!r}")
    return cost


def _details(value: Any, faults: dict[str, str]) -> dict[str, Any]:
    """Return the further units of an old row; what is not an object is named in `faults`."""
    value = _from_json(value)
    if isinstance(value, dict):
        return value
    if value:
        faults["usage_details"] = f"<{type(value).__name__}>"
    return {}


def _from_json(value: Any) -> Any:
    """Return the JSON value of a column that a database may return as text."""
    if isinstance(value, (str, bytes)):
        with suppress(ValueError, RecursionError):
            return json.loads(value or "{}")
    return value


def _metadata(value: Any) -> Any:
    value = _from_json(value)
    if not value or isinstance(value, dict):
        return value
    return {"metadata": value}


def _skip_pruned(parsed: _Parsed, using: str) -> None:
    days = {day_of(event.created_at) for event in parsed.events.values()}
    rows = AIUsageTracking.objects.using(using).filter(logs_pruned=True, date__in=days)
    pruned = set(rows.values_list("user_id", "date"))
    for key, event in list(parsed.events.items()):
        if (_user_key(event.user_id), day_of(event.created_at)) in pruned:
            del parsed.events[key]
            parsed.pruned += 1


def _store(events: Mapping[Any, UsageEvent], using: str) -> dict[Any, str]:
    """Write the events; return those that the database refuses, by old key, with its reason."""
    if not events:
        return {}
    for attempt in range(1, TRIES + 1):
        try:
            # No patience: a user of an old row that does not exist now will not be created.
            store(events.values(), using=using, patience=dt.timedelta.min)
        except (DataError, IntegrityError) as error:
            if len(events) == 1:
                return dict.fromkeys(events, str(error).strip().partition("\n")[0])
            items = list(events.items())
            middle = len(items) // 2
            return _store(dict(items[:middle]), using) | _store(dict(items[middle:]), using)
        except OperationalError:  # another transaction locks a row: `store` does not block it
            if attempt == TRIES:
                raise
            time.sleep(0.1)
        else:
            break
    return {}


def _sums(events: Iterator[UsageEvent]) -> dict[daily.Key, daily.Sums]:
    return daily.merge(
        (
            (_user_key(event.user_id), day_of(event.created_at)),
            daily.of_event(event, price(event)),
        )
        for event in events
        if event.user_id is not None
    )
