"""Read the rows of a table in chunks, newest first.

Each statement continues after the last row of the one before. So memory does not grow with the
rows, and no cursor or transaction stays open between two chunks.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import connections
from django.db.models import DateTimeField, F, Q, QuerySet, TextField, UUIDField
from django.db.models.functions import Cast

from .. import places
from ..fields import CALL_FIELDS
from ..models import AIUsageLog, AIUsageTracking

#: The columns of some rows, each with its values: columns are faster to convert than cells.
Chunk: TypeAlias = Sequence[Sequence[Any]]
_Row = TypeVar("_Row")

#: The titles of the columns of an export; all but "username" are fields.
COLUMNS: dict[type[Any], tuple[str, ...]] = {
    AIUsageLog: ("id", "created_at", "day", "user", "username", "section", *CALL_FIELDS),
    AIUsageTracking: (
        "date",
        "user",
        "username",
        "total_requests",
        "successful_requests",
        "failed_requests",
        "total_prompt_tokens",
        "total_completion_tokens",
        "total_tokens",
        "total_cost",
        "total_response_time_ms",
        "average_response_time_ms",
        "created_at",
        "updated_at",
    ),
}
#: The columns of JSON.
_JSON = frozenset({"usage_details", "metadata"})
#: The number of rows that one statement reads.
SIZE = 5_000


@dataclass(frozen=True, slots=True)
class Rows:
    """Titled columns, whose values come in chunks."""

    titles: tuple[str, ...]
    chunks: Iterable[Chunk]
    #: The titles of columns whose texts are JSON already.
    json: frozenset[str] = frozenset()


def stored_rows(rows: QuerySet[Any]) -> Rows:
    """Return the columns of `rows`, calls or daily rows, newest first. Their order is ignored."""
    model = rows.model
    titles = COLUMNS[model]
    reads = {title: _read(model, title, rows.db) for title in titles}
    if "id" not in reads:
        reads["id"] = "pk", None
    readers = [reader for _, reader in reads.values()]
    moment, pk = (list(reads).index(name) for name in (moment_of(model), "id"))
    plain = rows.select_related(None).prefetch_related(None)
    read = plain.values_list(*(expression for expression, _ in reads.values()))

    def position(row: tuple[Any, ...]) -> tuple[Any, Any]:
        reader = readers[moment]
        return reader(row[moment]) if reader else row[moment], row[pk]

    def columns(chunk: list[tuple[Any, ...]]) -> Chunk:
        found: list[Sequence[Any]] = [
            list(map(reader, column)) if reader else column
            for reader, column in zip(readers, zip(*chunk, strict=True), strict=True)
        ]
        if places.users_are_apart():
            number = titles.index("username")
            found[number] = _usernames(found[number], rows.db)
        return found[: len(titles)]

    json = frozenset(title for title in titles if title in _JSON)
    return Rows(titles, map(columns, newest_first(read, position)), json)


def newest_first(
    rows: QuerySet[Any, _Row], position: Callable[[_Row], tuple[Any, Any]]
) -> Iterator[list[_Row]]:
    """Yield `rows` in lists of at most `SIZE`. Their order is ignored.

    Args:
        rows: Calls or daily rows, as instances or as tuples.
        position: Returns the value of `moment_of` and the primary key of a row.
    """
    moment = moment_of(rows.model)
    rows = rows.order_by(f"-{moment}", "-pk")
    chunk = list(rows[:SIZE])
    while chunk:
        yield chunk
        if len(chunk) < SIZE:
            return
        last, pk = position(chunk[-1])
        # The plain bound lets the database use an index; the other one is exact.
        after = Q(**{f"{moment}__lte": last}) & (Q(**{f"{moment}__lt": last}) | Q(pk__lt=pk))
        chunk = list(rows.filter(after)[:SIZE])


def moment_of(model: type[Any]) -> str:
    """Return the name of the field that says when a row's calls were made."""
    return "created_at" if model is AIUsageLog else "date"


def _read(model: type[Any], title: str, using: str) -> tuple[Any, Callable[[Any], Any] | None]:
    """Return the expression of a column, and what converts its values.

    To parse and to write a value takes longer than anything else, so texts are read where they say
    the same.
    """
    if title == "username":
        # A join cannot reach another database, where `_usernames` looks up the keys.
        is_apart = places.users_are_apart()
        return F("user" if is_apart else f"user__{get_user_model().USERNAME_FIELD}"), None
    text = Cast(title, TextField(null=True))
    if title in _JSON:
        return text, None
    if connections[using].vendor == "postgresql":
        field = model._meta.get_field(title)
        if isinstance(field, UUIDField):
            return text, None
        if isinstance(field, DateTimeField) and settings.USE_TZ:
            return text, dt.datetime.fromisoformat
    return title, None


def _usernames(keys: Sequence[Any], using: str) -> Sequence[Any]:
    model = get_user_model()
    # Not with a manager: any manager, even the base manager, may hide users.
    users: QuerySet[Any] = QuerySet(model, using=places.users_of(using))
    found = users.filter(pk__in=set(keys) - {None})
    names = dict(found.values_list("pk", model.USERNAME_FIELD))
    return [names.get(key) for key in keys]
