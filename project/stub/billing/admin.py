"""What the admin APIs have in common: queries, time buckets, pages, groups and errors."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from email.message import Message
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar

from project.stub.exchange import Charge, Served

if TYPE_CHECKING:
    from project.stub.billing.bill import Bill

Json = dict[str, Any]
_T = TypeVar("_T")
WIDTHS = {"1m": timedelta(minutes=1), "1h": timedelta(hours=1), "1d": timedelta(days=1)}


class AdminError(Exception):
    """A request that the provider refuses."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


class Charged(NamedTuple):
    """One request on the bill."""

    served: Served
    charge: Charge
    moment: datetime
    #: The name that the bill has for the model.
    model: str


class Query:
    """The parameters of a request. Lists may be written `name=a&name=b` or `name[]=a`."""

    def __init__(self, values: Mapping[str, list[str]]) -> None:
        self._values = values

    def all(self, name: str) -> list[str]:
        """Return a list."""
        return [*self._values.get(name, ()), *self._values.get(f"{name}[]", ())]

    def one(self, name: str, default: str = "") -> str:
        """Return a single value."""
        return self._values.get(name, [default])[-1]

    def limit(self, default: int, highest: int) -> int:
        """Return the number of items on a page. Raises AdminError."""
        given = self.one("limit", str(default))
        if not given.isdigit() or not 1 <= int(given) <= highest:
            raise AdminError(400, f"'limit' must be between 1 and {highest}, not {given!r}.")
        return int(given)

    def groups(self, known: Sequence[str]) -> list[str]:
        """Return the fields of `group_by`. Raises AdminError if one is not `known`."""
        groups = self.all("group_by")
        for name in groups:
            if name not in known:
                raise AdminError(400, f"'group_by' has no option {name!r}.")
        return groups

    def keeps(self, filters: Mapping[str, Callable[[Charged], object]], each: Charged) -> bool:
        """Return whether a request passes the filters: name of a parameter → value."""
        return all(
            not (wanted := self.all(name)) or value(each) in wanted
            for name, value in filters.items()
        )


class AdminAPI(ABC):
    """The admin API of one provider."""

    #: Paths, and the names of the methods that answer them.
    routes: ClassVar[tuple[tuple[re.Pattern[str], str], ...]]

    def __init__(self, bill: Bill) -> None:
        self.bill = bill

    @abstractmethod
    def authorize(self, headers: Message) -> None:
        """Raise AdminError if the key may not read the bill."""

    @abstractmethod
    def error(self, status: int, message: str) -> Json:
        """Return the body of an error."""

    def find(self, path: str) -> Callable[[Query], Json] | None:
        """Return the function that answers requests for `path`."""
        for pattern, name in self.routes:
            if match := pattern.fullmatch(path):
                method, parts = getattr(self, name), match.groupdict()
                return lambda query: method(query, **parts)
        return None


def bucket_starts(start: datetime, end: datetime, width: timedelta, zone: tzinfo) -> list[datetime]:
    """Return the beginnings of the buckets that are part of a range, whose end is exclusive."""
    zero = datetime(2020, 1, 1, tzinfo=zone).astimezone(UTC)
    moment = zero + (start - zero) // width * width
    starts = []
    while moment < end:
        starts.append(moment)
        moment += width
    return starts


def page_of(items: Sequence[_T], query: Query, size: int) -> tuple[Sequence[_T], str | None]:
    """Return a page, and the cursor of the next. Raises AdminError."""
    cursor = query.one("page", "page_0")
    number = cursor.removeprefix("page_")
    if not number.isdigit() or int(number) > len(items):
        raise AdminError(400, f"'page' {cursor!r} is invalid.")
    end = int(number) + size
    return items[int(number) : end], f"page_{end}" if end < len(items) else None


def listed(items: Sequence[Json], query: Query, after: str, highest: int) -> Json:
    """Return a page of a list whose cursor is the id of the last item of the page before."""
    ids = [item["id"] for item in items]
    last = query.one(after)
    if last and last not in ids:
        raise AdminError(400, f"{after!r} {last!r} is invalid.")
    start = ids.index(last) + 1 if last else 0
    end = start + query.limit(20, highest)
    return {
        "data": list(items[start:end]),
        "first_id": next(iter(ids[start:end]), None),
        "last_id": next(reversed(ids[start:end]), None),
        "has_more": end < len(items),
    }


def grouped(
    charges: Iterable[Charged],
    groups: Sequence[str],
    value: Mapping[str, Callable[[Charged], object]],
) -> dict[tuple[object, ...], list[Charged]]:
    """Return the requests by the values of the fields `groups`."""
    found: dict[tuple[object, ...], list[Charged]] = {}
    for each in charges:
        found.setdefault(tuple(value[name](each) for name in groups), []).append(each)
    return found


def total(charges: Iterable[Charged], field: str) -> int:
    """Return the sum of one of the counts."""
    return sum(getattr(each.charge.counts, field) or 0 for each in charges)
