"""Days as text, as datetimes and as ranges in URLs."""

from __future__ import annotations

import datetime as dt
from itertools import pairwise

import pytest
from django.test import override_settings
from hypothesis import given
from hypothesis import strategies as st

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


@given(st.sets(st.dates(dt.date(2026, 1, 1), dt.date(2026, 2, 10))))
def test_runs_have_exactly_the_days_and_no_neighbours(days):
    runs = [run.ends() for run in DayRange.runs_of(days)]

    inside = [
        first + dt.timedelta(n) for first, last in runs for n in range((last - first).days + 1)
    ]
    assert inside == sorted(days)
    assert all((following - last).days > 1 for (_, last), (following, _) in pairwise(runs))


def between(first: str, last: str) -> DayRange:
    return DayRange(dt.date.fromisoformat(first), dt.date.fromisoformat(last))


@pytest.mark.parametrize(
    ("days", "before"),
    [
        (("2026-03-14", "2026-03-14"), ("2026-03-13", "2026-03-13")),
        (("2026-03-10", "2026-03-14"), ("2026-03-05", "2026-03-09")),
        (("2026-03-01", "2026-03-31"), ("2026-02-01", "2026-02-28")),
        (("2026-01-01", "2026-01-31"), ("2025-12-01", "2025-12-31")),
        (("2026-01-01", "2026-03-31"), ("2025-10-01", "2025-12-31")),
        (("2025-01-01", "2025-12-31"), ("2024-01-01", "2024-12-31")),
        (("2026-02-01", "2026-02-27"), ("2026-01-05", "2026-01-31")),
        (("1970-01-01", "9998-12-30"), ("0001-01-01", "1969-12-31")),
        (("1970-01-01", "9998-12-31"), ("0001-01-01", "1969-12-31")),
    ],
)
def test_period_before_has_as_many_months_or_days(days, before):
    assert between(*days).before() == between(*before)


@pytest.mark.parametrize(
    ("days", "moment", "before"),
    [
        (("2026-03-14", "2026-03-14"), "2026-03-14 09:30", "2026-03-13 09:30:00"),
        (("2026-03-09", "2026-03-15"), "2026-03-14 09:30", "2026-03-07 09:30:00"),
        (("2026-03-01", "2026-03-31"), "2026-03-14 09:30", "2026-02-14 09:30:00"),
        (("2026-03-01", "2026-03-31"), "2026-03-30 09:30", "2026-02-28 23:59:59.999999"),
        (("2024-01-01", "2024-12-31"), "2024-02-29 09:30", "2023-02-28 23:59:59.999999"),
    ],
)
def test_same_time_before_is_on_the_corresponding_day(days, moment, before):
    found = between(*days).same_time_before(dt.datetime.fromisoformat(moment))

    assert found == dt.datetime.fromisoformat(before)


def test_open_range_has_no_period_before():
    with pytest.raises(TypeError, match="open end"):
        DayRange(PI, None).before()


def test_range_contains_its_days():
    assert PI in DayRange(PI, PI)
    assert PI in DayRange(None, PI)
    assert PI not in DayRange(dt.date(2026, 3, 15), None)
    assert PI in DayRange()
