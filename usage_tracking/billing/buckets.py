"""Walk the pages and days that the APIs of OpenAI and Anthropic have in common."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Container, Iterable, Iterator
from typing import Any, NamedTuple

from .billed import Billed, BillingError, Fetched
from .http import Client, Params
from .values import Fields, added, days_of

#: Pages of one report; more are a server that never ends.
MAX_PAGES = 2000

_DAY = dt.timedelta(days=1)


class Layout(NamedTuple):
    """How a provider writes the beginning and the end of a bucket."""

    start: str
    end: str
    #: Reads a moment; raises ValueError, TypeError or OverflowError.
    moment: Callable[[Any], dt.datetime]


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


def walk(
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


def fetched(
    title: str,
    first: dt.date,
    last: dt.date,
    seen: Container[dt.date],
    rows: Iterable[Billed],
    notes: Iterable[str],
) -> Fetched:
    """Return the bill of the days that a provider reported: a day without a bucket is unknown.

    Args:
        title: The provider for people.
        first: The first day in UTC.
        last: The last day.
        seen: The days of which the provider's main report has a bucket.
        rows: What was billed.
        notes: Sentences about what was left out.

    Raises:
        BillingError: No day was reported, although some have ended.
    """
    days = days_of(first, last)
    known = tuple(day for day in days if day in seen)
    missing = [day for day in days if day not in seen]
    if not known and first < dt.datetime.now(dt.UTC).date():
        raise BillingError(f"{title} reported none of the days from {first} to {last}.")
    if missing:
        count = f"{len(missing)} days from {missing[0]} to {missing[-1]}"
        notes = [*notes, f"{title} did not report {count if missing[1:] else missing[0]}."]
    return Fetched(known, added(row for row in rows if row.day in known), tuple(notes))


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
