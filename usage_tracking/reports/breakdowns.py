"""Totals of calls by any combination of user, model, section, provider and time.

The lines are in the order of their keys. A reader continues after the last key that it has seen,
and so gets each line once, however many calls are recorded meanwhile.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import router
from django.db.models import Q

from ..days import stored
from ..models import AIUsageLog
from .grouping import Key, group_in_order
from .hours import HOUR, as_instant, hour_of_call, shift_at
from .lines import TOTALS, countable
from .names import names_of
from .selection import Selection
from .totals import Totals

#: The columns by the names that `breakdown` takes; hours and days come first in every order.
_COLUMNS = {
    "hour": "hour",
    "day": "day",
    "user": "user_id",
    "model": "model_name",
    "section": "section",
    "provider": "provider",
}
DIMENSIONS = tuple(_COLUMNS)
_TIMES = ("day", "hour")
#: What stands for a user, whose key alone says little.
_USER = ("user", "username", "email")
#: How many lines `breakdown_lines` reads at a time.
_PAGE = 5_000


@dataclass(frozen=True, slots=True)
class BreakdownLine:
    """The totals of the calls that share the values of the dimensions."""

    #: The value of each dimension: the user's primary key, None for calls without a user; a day; an
    #: aware datetime in UTC at which the hour starts; otherwise text, "" if unknown.
    values: dict[str, Any]
    #: None if users are not a dimension, and for calls without a user.
    username: str | None
    #: Also None if the user has no address.
    email: str | None
    totals: Totals

    @property
    def key(self) -> Key:
        """The values, which `breakdown` takes as `after`."""
        return tuple(self.values.values())

    @property
    def named(self) -> dict[str, Any]:
        """The values under the names of `columns_of`."""
        values = self.values | {"username": self.username, "email": self.email}
        return {name: values[name] for name in columns_of(tuple(self.values))}


@dataclass(frozen=True, slots=True)
class Breakdown:
    """Lines in the order of their keys; `more` says whether others follow."""

    by: tuple[str, ...]
    lines: tuple[BreakdownLine, ...]
    more: bool


def breakdown(
    selection: Selection,
    by: Sequence[str],
    *,
    after: Key | None = None,
    limit: int | None = None,
    using: str | None = None,
) -> Breakdown:
    """Add up the calls of `selection` by the dimensions `by`.

    It takes one statement, and one more for the names of users.

    Args:
        selection: The calls.
        by: Names of DIMENSIONS; without any, the only line has the totals of all calls.
        after: Leave out the lines up to this key.
        limit: How many lines to return; None returns all.
        using: The database alias; by default the one that the routers name for reading.

    Raises:
        ValueError: `by` has an unknown name or one twice, or `after` is not a key of `by`.
    """
    _check(by, after)
    using = using or router.db_for_read(AIUsageLog)
    times = sorted(name for name in by if name in _TIMES)
    names = (*times, *(name for name in by if name not in _TIMES))
    logs = selection.logs(using)
    if after is not None:
        following = _following(dict(zip(by, after, strict=True)), names)
        if following is None:
            return Breakdown(tuple(by), (), more=False)
        logs = logs.filter(following)
    columns = [_COLUMNS[name] for name in names]
    shift = shift_at(selection.start or dt.date(2000, 1, 1))
    hours = [name for name in names if name == "hour"]
    rows = countable(logs.annotate(hour=hour_of_call(shift)) if hours else logs, *hours)
    groups = group_in_order(rows, TOTALS, columns, None if limit is None else limit + 1)
    # Without columns, SQL adds up no rows to one group.
    found = [(dict(zip(names, key, strict=True)), totals) for key, totals in groups if totals.calls]
    more = limit is not None and len(found) > limit
    found = found[:limit]
    users = (
        names_of({values["user"] for values, _ in found} - {None}, using=using)
        if "user" in by
        else {}
    )
    lines = []
    for values, totals in found:
        if "hour" in by:
            values["hour"] = as_instant(values["hour"] - shift)
        username, email = users.get(values.get("user"), (None, None))
        lines.append(BreakdownLine({name: values[name] for name in by}, username, email, totals))
    return Breakdown(tuple(by), tuple(lines), more)


def columns_of(by: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the values of a line, in their order: a user has three."""
    return tuple(name for one in by for name in (_USER if one == "user" else (one,)))


def breakdown_lines(
    selection: Selection, by: Sequence[str], *, using: str | None = None
) -> Iterator[BreakdownLine]:
    """Yield all lines of a breakdown, of which at most a few thousand are in memory.

    The arguments and errors are those of `breakdown`.
    """
    after = None
    while True:
        page = breakdown(selection, by, after=after, limit=_PAGE, using=using)
        yield from page.lines
        if not page.more:
            return
        after = page.lines[-1].key


def _check(by: Sequence[str], after: Key | None) -> None:
    for name in by:
        if name not in _COLUMNS:
            raise ValueError(f"a dimension must be one of {', '.join(DIMENSIONS)}, not {name!r}")
    if len(set(by)) < len(by):
        raise ValueError(f"each dimension may be given once, not {', '.join(by)}")
    if after is not None and len(after) != len(by):
        raise ValueError(f"after must have {len(by)} values, not {len(after)}")


def _following(after: dict[str, Any], names: Sequence[str]) -> Q | None:
    """Return the condition for keys after `after`, in the order of `names`; None if none follow."""
    condition: Q | None = None
    for name in reversed(names):
        value = after[name]
        same, later = _hours(value) if name == "hour" else _values(_COLUMNS[name], value)
        if condition is not None:
            later = same & condition if later is None else later | (same & condition)
        condition = later
    if condition is not None and names[0] in _TIMES:
        # The plain bound lets the database use an index.
        first = after[names[0]]
        bound = Q(day__gte=first) if names[0] == "day" else Q(created_at__gte=stored(first))
        condition = bound & condition
    return condition


def _values(column: str, value: Any) -> tuple[Q, Q | None]:
    """Return the conditions for `value`, and for the values after it. NULL comes last."""
    if value is None:
        return Q(**{f"{column}__isnull": True}), None
    later = Q(**{f"{column}__gt": value})
    if column == _COLUMNS["user"]:
        later |= Q(**{f"{column}__isnull": True})
    return Q(**{column: value}), later


def _hours(start: dt.datetime) -> tuple[Q, Q]:
    first, end = stored(start), stored(start + HOUR)
    return Q(created_at__gte=first, created_at__lt=end), Q(created_at__gte=end)
