"""Days as text, as datetimes and as ranges in URLs."""

from __future__ import annotations

import datetime as dt

import pytest
from django.test import override_settings

from usage_tracking.days import DayRange, InvalidDaysError, midnight, parse_day

PI = dt.date(2026, 3, 14)


def test_day_is_parsed(subtests):
    assert parse_day("2026-03-14") == PI
    for text in ("", "14.3.2026", "2026-02-30", "20260314", "2026-03-14T00:00", "10000-01-01"):
        with subtests.test(text), pytest.raises(ValueError, match=r"data|day"):
            parse_day(text)


def test_midnight_can_be_compared_with_the_column():
    assert midnight(PI) == dt.datetime(2026, 3, 14, tzinfo=dt.UTC)
    with override_settings(USE_TZ=False):
        assert midnight(PI) == dt.datetime(2026, 3, 14)  # noqa: DTZ001 -- stored naive there


def test_range_is_parsed(subtests):
    for parameters, days in (
        ({}, DayRange()),
        ({"start_date": "", "end_date": ""}, DayRange()),
        ({"start_date": "2026-03-14"}, DayRange(PI, None)),
        ({"end_date": "2026-03-14"}, DayRange(None, PI)),
        ({"start_date": "2026-03-14", "end_date": "2026-03-14"}, DayRange(PI, PI)),
    ):
        with subtests.test(str(parameters)):
            assert DayRange.read(parameters) == days


def test_invalid_range_is_reported(subtests):
    for parameters, text in (
        ({"start_date": "14.3.2026"}, "14.3.2026"),
        ({"end_date": "2026-02-30"}, "2026-02-30"),
        ({"end_date": "\x00"}, "\x00"),
        ({"start_date": "0001-01-01"}, "0001-01-01"),
        ({"start_date": "2026-03-15", "end_date": "2026-03-14"}, "2026-03-15 to 2026-03-14"),
    ):
        with subtests.test(text):
            with pytest.raises(InvalidDaysError) as error:
                DayRange.read(parameters)
            assert error.value.text == text


def test_parameters_name_the_range(subtests):
    for days in (DayRange(), DayRange(PI), DayRange(None, PI), DayRange(PI, PI)):
        with subtests.test(str(days)):
            assert DayRange.read(days.parameters) == days
            assert bool(days) == bool(days.parameters)


def test_ranges_of_the_calendar():
    assert DayRange.until(PI, 7) == DayRange(dt.date(2026, 3, 8), PI)
    assert DayRange.of_month(dt.date(2024, 2, 10)) == DayRange(
        dt.date(2024, 2, 1), dt.date(2024, 2, 29)
    )
    assert DayRange.of_year(PI) == DayRange(dt.date(2026, 1, 1), dt.date(2026, 12, 31))
