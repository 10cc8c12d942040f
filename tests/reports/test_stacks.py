"""The columns of a report: days and hours, by section, model or provider."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.test import override_settings

from tests.support.builders import NOON, save_log
from usage_tracking.reports import period_report
from usage_tracking.reports.hours import hours_of_day

pytestmark = pytest.mark.django_db

TODAY = NOON.date()
DAY, HOUR = dt.timedelta(days=1), dt.timedelta(hours=1)
#: Zones with a day on which the clocks change, or whose hours start off those of UTC.
DAYS = [
    ("UTC", "2026-03-14", 24),
    ("America/New_York", "2026-03-08", 23),
    ("America/New_York", "2026-11-01", 25),
    ("Asia/Kolkata", "2026-03-14", 24),
    ("Asia/Kathmandu", "2026-03-14", 24),
    ("America/St_Johns", "2026-11-01", 25),
    ("Australia/Lord_Howe", "2026-04-05", 25),  # half an hour longer
    ("Pacific/Kiritimati", "2026-03-14", 24),
]


@pytest.mark.parametrize(("zone", "date", "number"), DAYS)
def test_each_call_is_in_its_hour(zone: str, date: str, number: int):
    day = dt.date.fromisoformat(date)
    midnight = dt.datetime.combine(day, dt.time(), ZoneInfo(zone)).astimezone(dt.UTC)
    with override_settings(AI_USAGE_DAY_TIMEZONE=zone):
        hours = hours_of_day(day)
        assert hours[0] == midnight
        assert len(hours) == number
        for n, hour in enumerate(hours):
            for minute in (0, 29):
                save_log(created_at=hour + dt.timedelta(minutes=minute), prompt_tokens=n)
        save_log(created_at=midnight - dt.timedelta(seconds=1))
        save_log(created_at=midnight + number * HOUR)

        report = period_report(day, day, hourly=True)

    assert [column.start for column in report.columns] == hours
    assert [column.totals.calls for column in report.columns] == [2] * number
    assert [column.totals.prompt_tokens for column in report.columns] == [
        2 * n for n in range(number)
    ]
    assert report.totals.calls == 2 * number


@pytest.mark.parametrize(
    ("stack", "keys"),
    [
        ("section", {("chat",), ("rag",)}),
        ("provider", {("openai",), ("",)}),
        ("model", {("openai", "gpt-4o"), ("openai", "gpt-5"), ("", "")}),
    ],
)
@pytest.mark.parametrize("hourly", [False, True])
def test_parts_are_those_of_the_stack(stack: str, keys: set[tuple[str, ...]], hourly: bool):
    save_log(cost=Decimal(1))
    save_log(section="rag", model_name="gpt-5", cost=Decimal(2))
    save_log(provider="", model_name="", cost=Decimal(4))

    report = period_report(TODAY, TODAY, stack=stack, hourly=hourly)

    (column,) = [column for column in report.columns if column.parts]
    assert column.parts.keys() == keys
    assert column.totals == report.totals
    assert column.totals.cost == Decimal(7)


def test_calls_of_another_time_zone_add_their_hours():
    with override_settings(AI_USAGE_DAY_TIMEZONE="Pacific/Auckland"):
        log = save_log(created_at=NOON)
    assert log.day == TODAY + DAY

    report = period_report(log.day, log.day, hourly=True)

    assert report.columns[0].start == NOON
    assert report.columns[0].totals.calls == report.totals.calls == 1
    assert len(report.columns) == 25


def test_naive_times_have_hours_too(settings):
    settings.USE_TZ = False
    settings.TIME_ZONE = "Asia/Kolkata"
    save_log(created_at=dt.datetime(2026, 3, 14, 9, 45))  # noqa: DTZ001

    report = period_report(TODAY, TODAY, hourly=True)

    (column,) = [column for column in report.columns if column.parts]
    assert isinstance(column.start, dt.datetime)
    assert column.start.astimezone(ZoneInfo("Asia/Kolkata")).hour == 9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stack": "user"}, "stack must be one of section, model, provider, not 'user'"),
        ({"rank": "calls"}, "rank must be one of tokens, cost, not 'calls'"),
        ({"hourly": True}, "hours are those of one day"),
    ],
)
def test_invalid_options_are_refused(options: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        period_report(TODAY - DAY, TODAY, **options)
