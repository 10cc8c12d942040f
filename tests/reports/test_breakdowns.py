"""Breakdowns of calls, compared with totals computed in Python."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reports.calls import UNHURRIED, Call, add_up, calls, save
from tests.support.builders import NOON, make_user, rolled_back, save_log
from usage_tracking.reports import (
    DIMENSIONS,
    Breakdown,
    Selection,
    breakdown,
    breakdown_lines,
)

pytestmark = pytest.mark.django_db

HOUR = dt.timedelta(hours=1)
NEW_YORK = "America/New_York"
#: Time zones, and a moment in each around which calls are made.
PLACES = [
    ("UTC", NOON),
    # The clocks go back on the 1st of November.
    (NEW_YORK, dt.datetime(2026, 11, 1, 5, 30, tzinfo=dt.UTC)),
    ("Asia/Kolkata", dt.datetime(2026, 3, 14, 18, 29, tzinfo=dt.UTC)),
]
MADE = calls(st.integers(-1440, 1440))


def hour_of(moment: dt.datetime, zone: dt.tzinfo) -> dt.datetime:
    offset = moment.astimezone(zone).utcoffset()
    assert offset is not None
    part = offset % HOUR
    whole = (moment + part).astimezone(dt.UTC).replace(minute=0, second=0, microsecond=0)
    return whole - part


@pytest.mark.slow
@pytest.mark.parametrize(("zone", "moment"), PLACES)
@pytest.mark.parametrize("use_tz", [True, False])
def test_lines_equal_a_second_computation(zone: str, moment: dt.datetime, use_tz: bool):
    users = [make_user(name, email=f"{name}@example.com") for name in ("ada", "bob", "cy")]
    clock = ZoneInfo(zone)
    numbers = {user.pk: number for number, user in enumerate(users)}

    @settings(UNHURRIED, max_examples=25)
    @given(
        calls=MADE,
        by=st.lists(st.sampled_from(DIMENSIONS), unique=True),
        limit=st.integers(1, 4),
        bounds=st.sampled_from(("days", "instants", "none")),
        only_user=st.none() | st.integers(0, 2),
        provider=st.none() | st.just("azure"),
    )
    def check(
        calls: list[Call],
        by: list[str],
        limit: int,
        bounds: str,
        only_user: int | None,
        provider: str | None,
    ) -> None:
        made = {id(call): moment + dt.timedelta(minutes=call.minutes) for call in calls}
        today = moment.astimezone(clock).date()
        start: Any = {"days": today, "instants": moment - 5 * HOUR, "none": None}[bounds]
        end: Any = {"days": today, "instants": moment + 7 * HOUR, "none": None}[bounds]
        selection = Selection(
            start,
            end,
            user=None if only_user is None else users[only_user],
            provider=provider,
        )

        def wanted(call: Call) -> bool:
            at = made[id(call)]
            if bounds == "days" and call.day(moment, clock) != today:
                return False
            if bounds == "instants" and not start <= at < end:
                return False
            return only_user in (None, call.user) and provider in (None, call.model[0])

        def value(call: Call, name: str) -> Any:
            return {
                "user": None if call.user is None else users[call.user].pk,
                "model": call.model[1],
                "provider": call.model[0],
                "section": call.section,
                "day": call.day(moment, clock),
                "hour": hour_of(made[id(call)], clock),
            }[name]

        groups: dict[Any, list[Call]] = {}
        for call in filter(wanted, calls):
            groups.setdefault(tuple(value(call, name) for name in by), []).append(call)
        with rolled_back():
            save(calls, users, moment if use_tz else moment.replace(tzinfo=None))
            whole = breakdown(selection, by)
            pages = []
            after = None
            while True:
                pages.append(breakdown(selection, by, after=after, limit=limit))
                if not pages[-1].more:
                    break
                after = pages[-1].lines[-1].key
        assert {line.key: line.totals for line in whole.lines} == {
            key: add_up(members) for key, members in groups.items()
        }
        assert not whole.more
        assert [line for page in pages for line in page.lines] == list(whole.lines)
        assert all(len(page.lines) == limit for page in pages[:-1])
        for line in whole.lines:
            user = line.values.get("user")
            name = None if user is None else users[numbers[user]].username
            assert line.username == name
            assert line.email == (name and f"{name}@example.com")

    with override_settings(AI_USAGE_DAY_TIMEZONE=zone, USE_TZ=use_tz, TIME_ZONE="UTC"):
        check()


def of_two_users(day: dt.date) -> Breakdown:
    return breakdown(Selection(day, day), ("user", "model"))


def test_two_statements_whatever_the_number_of_users():
    for name in ("ada", "bob", "cy"):
        save_log(user=make_user(name), model_name="gpt-4o", cost=Decimal("0.1"))
    save_log(user=None, model_name="gpt-4o", cost=Decimal("0.1"))
    with CaptureQueriesContext(connection) as queries:
        found = of_two_users(NOON.date())

    assert len(queries) == 2
    # The calls without a user come last.
    assert [line.username for line in found.lines] == ["ada", "bob", "cy", None]


def test_a_reader_that_continues_meets_no_line_twice_while_calls_are_recorded():
    ada, bob = make_user("ada"), make_user("bob")
    save_log(user=ada, model_name="m")
    save_log(user=bob, model_name="m")
    selection = Selection(NOON.date(), NOON.date())
    first = breakdown(selection, ("user", "model"), limit=1)
    # A line before the reader's place, and one behind it.
    save_log(user=ada, model_name="a")
    save_log(user=bob, model_name="z")
    rest = breakdown(selection, ("user", "model"), after=first.lines[-1].key)

    assert [line.key for line in first.lines] == [(ada.pk, "m")]
    assert [line.key for line in rest.lines] == [(bob.pk, "m"), (bob.pk, "z")]


def test_all_lines_come_page_by_page(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("usage_tracking.reports.breakdowns._PAGE", 2)
    for name in ("a", "b", "c", "d"):
        save_log(model_name=name)
    selection = Selection(NOON.date(), NOON.date())

    assert [x.key for x in breakdown_lines(selection, ("model",))] == [
        ("a",),
        ("b",),
        ("c",),
        ("d",),
    ]


@pytest.mark.parametrize(
    ("by", "after", "text"),
    [
        (("users",), None, "a dimension must be one of hour, day, user, model, section, provider"),
        (("user", "user"), None, "each dimension may be given once, not user, user"),
        (("user", "day"), (1,), "after must have 2 values, not 1"),
    ],
)
def test_a_wrong_argument_is_named(by: tuple[str, ...], after: Any, text: str):
    with pytest.raises(ValueError, match=text):
        breakdown(Selection(), by, after=after)


def test_a_period_that_ends_before_it_starts_is_an_error():
    with pytest.raises(ValueError, match="before it starts"):
        Selection(dt.date(2026, 3, 2), dt.date(2026, 3, 1))
    with pytest.raises(ValueError, match="before it starts"):
        Selection(NOON, NOON - HOUR)
    with pytest.raises(ValueError, match="before it starts"):
        Selection(NOON, NOON.date() - dt.timedelta(days=1))
    with pytest.raises(ValueError, match="before it starts"):
        Selection(NOON.date() + dt.timedelta(days=1), NOON)
    assert Selection(NOON, NOON.date()).end == NOON.date()
