"""The period before a report's, and the forecast of the month, compared with sums in Python."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.test import override_settings

from tests.support.builders import NOON, make_log, make_user, save_log
from usage_tracking.days import DayRange
from usage_tracking.models import AIUsageLog
from usage_tracking.reports import Forecast, SumsBefore, compare, period_report
from usage_tracking.reports.comparison import period_before

TODAY = NOON.date()
DAY = dt.timedelta(days=1)


def days(first: str, last: str) -> DayRange:
    return DayRange(dt.date.fromisoformat(first), dt.date.fromisoformat(last))


class TestPeriodBefore:
    """Today is March 14, at noon."""

    @pytest.mark.parametrize(
        ("shown", "before"),
        [
            (days("2026-03-03", "2026-03-12"), days("2026-02-21", "2026-03-02")),
            (days("2026-03-13", "2026-03-13"), days("2026-03-12", "2026-03-12")),
            # Whole months, however long.
            (days("2026-02-01", "2026-02-28"), days("2026-01-01", "2026-01-31")),
            (days("2026-01-01", "2026-02-28"), days("2025-11-01", "2025-12-31")),
            (days("2025-01-01", "2025-12-31"), days("2024-01-01", "2024-12-31")),
            (days("2024-01-01", "2024-12-31"), days("2023-01-01", "2023-12-31")),
        ],
    )
    def test_period_that_is_over_has_whole_days_before(self, shown: DayRange, before: DayRange):
        found = period_before(shown, NOON)

        assert found is not None
        assert (found.days, found.until) == (before, None)

    @pytest.mark.parametrize(
        ("shown", "before"),
        [
            (days("2026-03-14", "2026-03-14"), days("2026-03-13", "2026-03-13")),
            (days("2026-03-08", "2026-03-14"), days("2026-03-01", "2026-03-07")),
            # Of the days to come, none counts.
            (days("2026-03-01", "2026-03-31"), days("2026-02-01", "2026-02-14")),
            (days("2026-03-12", "2026-03-20"), days("2026-03-03", "2026-03-05")),
        ],
    )
    def test_period_with_today_is_compared_until_the_same_time(
        self, shown: DayRange, before: DayRange
    ):
        found = period_before(shown, NOON)

        assert found is not None
        assert found.days == before
        assert found.until == dt.datetime.combine(before.last or TODAY, dt.time(12), dt.UTC)

    def test_end_of_a_month_is_compared_with_the_whole_of_a_shorter_one(self):
        found = period_before(days("2026-03-01", "2026-03-31"), NOON + 16 * DAY)

        assert found is not None
        assert (found.days, found.until) == (days("2026-02-01", "2026-02-28"), None)

    def test_time_of_day_is_that_of_the_setting(self):
        with override_settings(AI_USAGE_DAY_TIMEZONE="America/New_York"):
            # 08:00 in summer; the day before the clocks change, 08:00 was 13:00 UTC.
            found = period_before(days("2026-03-08", "2026-03-08"), NOON - 6 * DAY)

        assert found is not None
        assert found.until == dt.datetime(2026, 3, 7, 13, tzinfo=dt.UTC)

    @pytest.mark.parametrize(
        "shown", [days("2026-03-15", "2026-03-20"), days("0001-01-01", "0001-01-02")]
    )
    def test_nothing_is_before_the_future_or_the_calendar(self, shown: DayRange):
        assert period_before(shown, NOON) is None


@pytest.mark.django_db
class TestCompare:
    def save(self, *ages: float, **changes: Any) -> None:
        for age in ages:
            save_log(created_at=NOON - age * DAY, **changes)

    def test_sums_are_those_until_the_same_time(self):
        ada = make_user()
        self.save(0, 6, cost=Decimal(1))
        self.save(7, 9, cost=Decimal(2), user=ada)
        self.save(13.25, cost=Decimal(4), success=False, prompt_tokens=None, completion_tokens=None)
        self.save(6.9, 14, cost=Decimal(8))  # after noon of the last day, and before the first

        found = compare(period_report(TODAY - 6 * DAY, TODAY), NOON)

        assert found.sums == SumsBefore(3, 1, 460, Decimal("8.00000000"), 1)

    def test_filters_of_the_report_count(self):
        ada = make_user()
        other: dict[str, Any] = {
            "user": ada,
            "section": "rag",
            "provider": "google",
            "model_name": "gemini",
        }
        self.save(7, cost=Decimal(1), **other)
        for name, value in (*other.items(), ("created_at", NOON - 20 * DAY)):
            wrong = other | {
                name: None if name == "user" else value if name == "created_at" else ""
            }
            save_log(**{"created_at": NOON - 7 * DAY, "cost": Decimal(2)} | wrong)

        found = compare(period_report(TODAY - 6 * DAY, TODAY, **other), NOON)

        assert found.sums == SumsBefore(1, 0, 230, Decimal("1.00000000"), 1)

    def test_unknown_sums_are_none_and_none_are_zero(self):
        report = period_report(TODAY - 6 * DAY, TODAY)
        assert compare(report, NOON).sums == SumsBefore(0, 0, 0, Decimal(0), 0)

        self.save(8, prompt_tokens=None, completion_tokens=None)
        assert compare(report, NOON).sums == SumsBefore(1, 0, None, None, 0)

    def test_it_takes_one_statement(self, django_assert_num_queries):
        self.save(0, 7)
        report = period_report(TODAY - 6 * DAY, TODAY)

        with django_assert_num_queries(1):
            compare(report, NOON)

    def test_future_takes_none(self, django_assert_num_queries):
        report = period_report(TODAY + 60 * DAY, TODAY + 61 * DAY)

        with django_assert_num_queries(0):
            found = compare(report, NOON)

        assert (found.before, found.sums, found.forecast) == (None, None, None)


@pytest.mark.django_db
class TestForecast:
    def forecast(self, first: dt.date = TODAY, now: dt.datetime = NOON) -> Forecast | None:
        return compare(period_report(first, max(first, TODAY)), now).forecast

    def save(self, costs: dict[int, Any]) -> None:
        AIUsageLog.objects.bulk_create(
            make_log(created_at=NOON - age * DAY, cost=cost, day=TODAY - age * DAY)
            for age, cost in costs.items()
        )

    def test_rest_of_the_month_costs_as_the_past_days(self):
        self.save({0: 1, 1: 2, 7: 5, 8: 100, 13: 10, 14: 1000})

        found = self.forecast()

        # March 1 is 13 days ago. 17 days are left, and half of today.
        assert found is not None
        assert found.month == dt.date(2026, 3, 1)
        assert found.so_far == Decimal(118)
        assert (found.per_day, found.days) == (Decimal(1), 7)
        assert found.cost == Decimal("135.5")
        assert found.unknown == 0

    def test_days_before_the_first_call_do_not_count(self):
        self.save({0: 1, 1: 2, 2: 4})

        found = self.forecast()

        assert found is not None
        assert (found.per_day, found.days) == (Decimal(3), 2)

    def test_first_day_has_none(self):
        self.save({0: 1})

        assert self.forecast() is None

    def test_month_without_known_costs_has_none(self):
        self.save({0: None, 1: None})

        assert self.forecast() is None

    def test_unknown_costs_are_counted(self):
        self.save({0: 1, 1: None, 2: 1})
        save_log(success=False)

        found = self.forecast()

        assert found is not None
        assert found.unknown == 1

    def test_it_is_the_same_whatever_the_report_reads(self):
        self.save({0: 1, 1: 2, 7: 5, 8: 100, 13: 10, 14: 1000})

        found = {self.forecast(TODAY - age * DAY) for age in (0, 5, 13, 20)}

        assert len(found) == 1
        assert self.forecast(TODAY - 900 * DAY) in found
        # It has no period before. Its 740,000 days are not read: they would take half a minute.
        all_time = replace(period_report(TODAY, TODAY), start=dt.date.min)
        assert compare(all_time, NOON).forecast in found

    def test_it_is_of_the_current_month_only(self):
        self.save({0: 1, 1: 2})
        for first, last, has_one in (
            ("2026-02-01", "2026-02-28", False),
            ("2026-02-01", "2026-03-01", True),
            ("2026-03-02", "2026-03-03", True),
            ("2026-03-31", "2026-04-02", True),
            ("2026-04-01", "2026-04-02", False),
        ):
            shown = days(first, last)
            found = compare(period_report(shown.first or TODAY, shown.last or TODAY), NOON)
            assert bool(found.forecast) == has_one, first

    def test_day_with_a_change_of_the_clocks_is_longer(self):
        with override_settings(AI_USAGE_DAY_TIMEZONE="America/New_York"):
            zone = ZoneInfo("America/New_York")
            day = dt.date(2026, 11, 1)
            noon = dt.datetime.combine(day, dt.time(12), zone).astimezone(dt.UTC)
            save_log(created_at=noon - DAY, cost=Decimal(25))
            found = compare(period_report(day, day), noon).forecast

        # 12 of 25 hours are left of the day, and 29 days of the month.
        assert found is not None
        assert found.cost == Decimal(25 * 29 + 12)
