"""Walk the pages and days that the APIs of OpenAI and Anthropic have in common."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from ..days import utc_today
from .billed import Billed, BillingError, Fetched
from .http import Client, Params
from .values import Fields, added, days_of

#: Pages of one report; more are a server that never ends.
MAX_PAGES = 2000

_DAY = dt.timedelta(days=1)


class Layout(NamedTuple):
    """How a provider writes the beginning and the end of a bucket and of a report."""

    start: str
    end: str
    #: Reads a moment; raises ValueError, TypeError or OverflowError.
    moment: Callable[[Any], dt.datetime]
    #: Writes the midnight with which a day of UTC begins.
    midnight: Callable[[dt.date], str | int]


class Reports:
    """The reports of one provider on some days of UTC.

    Args:
        client: Sends the requests.
        layout: How the provider writes times.
        first: The first day.
        last: The last day.

    Attributes:
        notes: Sentences about what is left out.
    """

    def __init__(self, client: Client, layout: Layout, first: dt.date, last: dt.date) -> None:
        self.notes: list[str] = []
        self._client, self._layout, self._first, self._last = client, layout, first, last
        self._known: set[dt.date] = set()

    def results(
        self, url: str, params: Params, *, decides: bool = False
    ) -> Iterator[tuple[dt.date, Fields]]:
        """Yield the results of a report, each with its day.

        Args:
            url: Of the report.
            params: Beside the days.
            decides: Whether a day without a bucket in this report is unknown.

        Raises:
            BillingError: The report cannot be read, has other days, or repeats results.
        """
        layout = self._layout
        params = {
            layout.start: layout.midnight(self._first),
            layout.end: layout.midnight(self._last + _DAY),
            "bucket_width": "1d",
            **params,
        }
        for day, results in _buckets(self._client, url, params, layout, self._first, self._last):
            if decides:
                self._known.add(day)
            for result in results:
                yield day, result

    def fetched(self, rows: Iterable[Billed]) -> Fetched:
        """Return the bill of the days that the provider reported, with the notes.

        Raises:
            BillingError: No day was reported, although some have ended.
        """
        days = days_of(self._first, self._last)
        missing = [day for day in days if day not in self._known]
        if not self._known and self._first < utc_today():
            raise BillingError(
                f"{self._client.title} reported none of the days from {self._first} to"
                f" {self._last}."
            )
        if missing:
            span = f"{len(missing)} days from {missing[0]} to {missing[-1]}"
            self.notes.append(
                f"{self._client.title} did not report {span if missing[1:] else missing[0]}."
            )
        return Fetched(
            tuple(day for day in days if day in self._known),
            added(row for row in rows if row.day in self._known),
            tuple(self.notes),
        )


def pages(
    client: Client, url: str, params: Params, *, cursor: str = "page", follows: str = "next_page"
) -> Iterator[Fields]:
    """Yield the pages of a listing.

    Args:
        client: Sends the requests.
        url: Of the first page.
        params: Of every page.
        cursor: The parameter of the next page.
        follows: The field in which a page names the next.

    Raises:
        BillingError: A page cannot be read, or the pages do not end.
    """
    seen: set[str] = set()
    source = f"The answer of {client.title} to {url.rpartition('/')[2]}"
    while True:
        page = Fields(source, client.json(url, params))
        yield page
        if not page.flag("has_more"):
            return
        following = page.required_text(follows)
        if following in seen:
            raise BillingError(f"{source} repeats a page: {follows} names it twice.")
        if len(seen) >= MAX_PAGES:
            raise BillingError(f"{source} has more than {MAX_PAGES} pages. Fetch fewer days.")
        seen.add(following)
        params = {**params, cursor: following}


def _buckets(
    client: Client, url: str, params: Params, layout: Layout, first: dt.date, last: dt.date
) -> Iterator[tuple[dt.date, list[Fields]]]:
    """Yield the day and the results of every bucket. A day may have several.

    Raises:
        BillingError: A page cannot be read, a bucket is not a day of UTC from `first` to `last`,
            or a page repeats results.
    """
    seen: set[tuple[dt.date, frozenset[tuple[str, object]]]] = set()
    for page in pages(client, url, params):
        on_page = set()
        for bucket in page.items("data"):
            day = _day(bucket, layout, first, last)
            results = bucket.items("results")
            on_page |= {(day, _group(result)) for result in results}
            yield day, results
        # Within a page a provider may split a group by what it does not name.
        if not seen.isdisjoint(on_page):
            raise BillingError(f"{page.source} repeats a page: it has results of a day twice.")
        seen |= on_page


def _day(bucket: Fields, layout: Layout, first: dt.date, last: dt.date) -> dt.date:
    start, end = (_moment(bucket, name, layout) for name in (layout.start, layout.end))
    day = start.date()
    # OpenAI cuts the bucket of the current day at the time of the request.
    is_cut = day == last and start < end < start + _DAY
    if start.time() != dt.time() or not (end == start + _DAY or is_cut):
        raise BillingError(
            f"{bucket.source} has a bucket from {start:%Y-%m-%d %H:%M:%S} to"
            f" {end:%Y-%m-%d %H:%M:%S} UTC, which is not one day of UTC. It may be in another time"
            " zone."
        )
    if not first <= day <= last:
        raise BillingError(f"{bucket.source} has a bucket of {day}, which was not asked for.")
    return day


def _moment(bucket: Fields, name: str, layout: Layout) -> dt.datetime:
    try:
        return layout.moment(bucket.values.get(name))
    except (ValueError, TypeError, OverflowError, OSError):
        if bucket.values.get(name) is None:
            raise BillingError(
                f'{bucket.source} has no "{name}". The API may have changed.'
            ) from None
        raise bucket.error(name, "a time with its zone") from None


def _group(result: Fields) -> frozenset[tuple[str, object]]:
    """Return what identifies a result: its names, without numbers and amounts."""
    return frozenset(
        (name, value)
        for name, value in result.values.items()
        if name != "amount" and (value is None or isinstance(value, str | bool))
    )
