"""Periods of days on the command line."""

from __future__ import annotations

import datetime as dt
from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

import pytest
from django.core.management import CommandError
from django.test import override_settings
from freezegun import freeze_time

from usage_tracking.days import DayRange
from usage_tracking.management.arguments import day
from usage_tracking.management.periods import add_period, named, period_of

#: A Friday.
TODAY = dt.date(2026, 3, 13)


def between(first: str, last: str) -> DayRange:
    return DayRange(dt.date.fromisoformat(first), dt.date.fromisoformat(last))


def read(*arguments: str, **default: Any) -> DayRange:
    parser = ArgumentParser(exit_on_error=False)
    add_period(parser, default="all days")
    return period_of(vars(parser.parse_args(arguments)), today=TODAY, **default)


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("today", "2026-03-13", "2026-03-13"),
        ("yesterday", "2026-03-12", "2026-03-12"),
        ("this-week", "2026-03-09", "2026-03-15"),
        ("last-week", "2026-03-02", "2026-03-08"),
        ("this-month", "2026-03-01", "2026-03-31"),
        ("last-month", "2026-02-01", "2026-02-28"),
        ("this-year", "2026-01-01", "2026-12-31"),
        ("last-year", "2025-01-01", "2025-12-31"),
        ("1d", "2026-03-13", "2026-03-13"),
        ("30d", "2026-02-12", "2026-03-13"),
        ("2024", "2024-01-01", "2024-12-31"),
        ("2024-02", "2024-02-01", "2024-02-29"),
        ("2026-10-05", "2026-10-05", "2026-10-05"),
    ],
)
def test_period_names_days(text: str, first: str, last: str):
    assert read(text) == between(first, last)


def test_weeks_and_years_begin_on_their_first_day():
    monday = dt.date(2026, 3, 9)

    assert named("this-week", monday) == between("2026-03-09", "2026-03-15")
    assert named("last-week", dt.date(2026, 3, 15)) == between("2026-03-02", "2026-03-08")
    assert named("last-month", dt.date(2026, 1, 31)) == between("2025-12-01", "2025-12-31")


def test_from_and_to_name_days():
    assert read("--from", "2026-01-05", "--to", "2026-02-01") == between("2026-01-05", "2026-02-01")
    assert read("--from", "2026-01-05") == DayRange(dt.date(2026, 1, 5), None)
    assert read("--to", "2026-01-05") == DayRange(None, dt.date(2026, 1, 5))


def test_default_applies_without_arguments():
    assert read() == DayRange()
    assert read(default="last-month") == between("2026-02-01", "2026-02-28")
    assert read("today", default="last-month") == between("2026-03-13", "2026-03-13")
    assert read("--from", "2026-01-05", default="today") == DayRange(dt.date(2026, 1, 5), None)


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("lastmonth", "last-month"),
        ("last_week", "last-week"),
        ("Yesterday", "yesterday"),
        ("thismonth", "this-month"),
    ],
)
def test_similar_word_is_suggested(text: str, near: str):
    message = f"'{text}' is not a valid period. Did you mean '{near}'?"
    with pytest.raises(ValueError, match=f"^{message[:-1]}.$"):
        named(text, TODAY)


def test_beginning_of_words_suggests_all_of_them():
    with pytest.raises(ValueError, match="Did you mean 'last-week' or 'last-month' or 'last-year'"):
        named("last", TODAY)


@pytest.mark.parametrize(
    "text", ["", "2026-13", "2026-02-30", "2026-1-5", "0d", "99999d", "30", "0000", "9999", "soon"]
)
def test_other_text_lists_the_periods(text: str):
    with pytest.raises(
        ValueError, match=r"is not a valid period\. Use today, yesterday, .*2026-10"
    ):
        named(text, TODAY)


def test_period_and_days_exclude_each_other():
    with pytest.raises(CommandError) as caught:
        read("last-month", "--from", "2026-01-05")

    assert str(caught.value) == "Use either the period 'last-month' or --from and --to, not both."
    assert caught.value.returncode == 2


def test_days_in_the_wrong_order_are_refused():
    with pytest.raises(CommandError, match="--to 2026-01-04 is before --from 2026-01-05") as caught:
        read("--from", "2026-01-05", "--to", "2026-01-04")

    assert caught.value.returncode == 2


def test_days_may_be_words():
    with (
        freeze_time("2026-03-14 12:00"),
        override_settings(AI_USAGE_DAY_TIMEZONE="Pacific/Kiritimati"),
    ):
        assert [day("today"), day("yesterday")] == [dt.date(2026, 3, 15), dt.date(2026, 3, 14)]
    with pytest.raises(ArgumentTypeError, match="'tomorrow' is not a valid date"):
        day("tomorrow")


def test_options_of_call_command_may_be_text():
    options = {"period": None, "start": "2026-01-05", "end": dt.date(2026, 1, 6)}

    assert period_of(options) == between("2026-01-05", "2026-01-06")
    for wrong in ({"start": "5.1.2026"}, {"period": "lastmonth", "start": None, "end": None}):
        with pytest.raises(CommandError, match="is not a valid") as caught:
            period_of(options | wrong)
        assert caught.value.returncode == 2
