"""The report of a period, compared with totals computed in Python."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.test import override_settings
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reports.calls import UNHURRIED, Call, add_up, calls, group, save
from tests.support.builders import NOON, make_log, make_user, rolled_back, save_log
from usage_tracking import reports
from usage_tracking.models import AIUsageLog
from usage_tracking.reports import Totals

pytestmark = pytest.mark.django_db

TODAY = NOON.date()
DAY = dt.timedelta(days=1)
NEW_YORK = "America/New_York"
#: Time zones, and a moment in each around which calls are made.
PLACES = [
    ("UTC", NOON),
    # The clocks go forward on the 8th of March and back on the 1st of November.
    (NEW_YORK, dt.datetime(2026, 3, 8, 7, 30, tzinfo=dt.UTC)),
    (NEW_YORK, dt.datetime(2026, 11, 1, 5, 30, tzinfo=dt.UTC)),
    ("Pacific/Kiritimati", dt.datetime(2026, 3, 14, 9, 59, tzinfo=dt.UTC)),
]
MADE = calls(st.integers(-4 * 1440, 3 * 1440))


@pytest.mark.slow
@pytest.mark.parametrize(("zone", "moment"), PLACES)
def test_totals_equal_a_second_computation(zone: str, moment: dt.datetime):
    users = [make_user(name, email=f"{name}@example.com") for name in ("ada", "bob", "cy")]
    clock = ZoneInfo(zone)
    today = moment.astimezone(clock).date()

    @settings(UNHURRIED, max_examples=20)
    @given(
        calls=MADE,
        days=st.tuples(st.integers(-3, 1), st.integers(0, 3)),
        only_user=st.none() | st.integers(0, 2),
        section=st.sampled_from((None, "chat")),
    )
    def check(
        calls: list[Call], days: tuple[int, int], only_user: int | None, section: str | None
    ) -> None:
        start = today + days[0] * DAY
        end = start + days[1] * DAY
        with rolled_back():
            save(calls, users, moment)
            report = reports.period_report(
                start,
                end,
                user=None if only_user is None else users[only_user],
                section=section,
                top=2,
            )
            latest = reports.latest_logs(
                report, 3, user=None if only_user is None else users[only_user]
            )

        wanted = [
            call
            for call in calls
            if start <= call.day(moment, clock) <= end
            and (only_user is None or call.user == only_user)
            and section in (None, call.section)
        ]
        assert report.totals == add_up(wanted)
        assert {x.section: x.figures for x in report.by_section} == group(wanted, "section")
        assert [line.date for line in report.by_day] == [
            start + n * DAY for n in range(days[1] + 1)
        ]
        for line in report.by_day:
            of_day = [call for call in wanted if call.day(moment, clock) == line.date]
            assert line.figures == add_up(of_day)
            assert {x.section: x.figures for x in line.by_section} == group(of_day, "section")
        models = group(wanted, "model")
        assert report.models == len(models)
        assert [x.figures.total_tokens for x in report.by_model] == ranked(models)[:2]
        assert all(x.figures == models[x.provider, x.model_name] for x in report.by_model)
        by_user = group(wanted, "user")
        nobody = by_user.pop(None, None)
        shown = [x for x in report.top_users if x.user_id is not None]
        numbers = {user.pk: number for number, user in enumerate(users)}
        assert report.users == len(by_user)
        assert [x.figures.total_tokens for x in shown] == ranked(by_user)[:2]
        assert all(x.figures == by_user[numbers[x.user_id]] for x in shown)
        assert all(x.username == users[numbers[x.user_id]].username for x in shown)
        assert all(x.email == users[numbers[x.user_id]].email for x in shown)
        assert [x.figures for x in report.top_users if x.user_id is None] == [nobody] * bool(nobody)
        failed = [call for call in wanted if not call.success]
        messages = {call.error or "" for call in failed}
        errors = {m: add_up([c for c in failed if (c.error or "") == m]) for m in messages}
        assert report.errors == len(errors)
        assert [x.figures.calls for x in report.by_error] == sorted(
            (totals.calls for totals in errors.values()), reverse=True
        )[:2]
        assert all(x.figures == errors[x.error_message] for x in report.by_error)
        minutes = sorted((call.minutes for call in wanted), reverse=True)[:3]
        assert [(log.created_at - moment) // dt.timedelta(minutes=1) for log in latest] == minutes

    with override_settings(AI_USAGE_DAY_TIMEZONE=zone):
        check()


@pytest.mark.parametrize(("zone", "moment"), PLACES)
def test_daily_rows_add_up_to_the_same(zone: str, moment: dt.datetime):
    users = [make_user(name) for name in ("ada", "bob", "cy")]
    today = moment.astimezone(ZoneInfo(zone)).date()

    @settings(UNHURRIED, max_examples=20)
    @given(
        calls=MADE,
        days=st.tuples(st.integers(-3, 1), st.integers(0, 3)),
        only_user=st.none() | st.integers(0, 2),
    )
    def check(calls: list[Call], days: tuple[int, int], only_user: int | None) -> None:
        start = today + days[0] * DAY
        end = start + days[1] * DAY
        user = None if only_user is None else users[only_user]
        with rolled_back():
            save(calls, users, moment)
            logs = reports.period_report(start, end, user=user)
            rows = reports.daily_rows_report(start, end, user=user)

        assert as_known(logs.totals) == rows.totals
        assert [(x.date, as_known(x.figures)) for x in logs.by_day] == [
            (x.date, x.sums) for x in rows.by_day
        ]
        assert rows.users == logs.users
        assert {x.user_id: as_known(x.figures) for x in logs.top_users} == {
            **{x.user_id: x.sums for x in rows.top_users},
            **({None: rows.unattributed} if rows.unattributed.total_requests else {}),
        }

    with override_settings(AI_USAGE_DAY_TIMEZONE=zone):
        check()


def ranked(groups: dict[Any, Totals]) -> list[int | None]:
    """Return the tokens of the groups, the largest first."""
    tokens = [totals.total_tokens for totals in groups.values()]
    return sorted(tokens, key=lambda n: -1 if n is None else n, reverse=True)


def as_known(totals: Totals) -> tuple[object, ...]:
    """Return `totals` as daily rows store them: unknown values count as 0."""
    return (
        totals.calls,
        totals.prompt_tokens or 0,
        totals.completion_tokens or 0,
        totals.total_tokens or 0,
        totals.response_time_ms,
        totals.calls - totals.failures,
        totals.failures,
        totals.cost or 0,
    )


def test_former_name_of_the_totals_can_be_imported():
    assert reports.Figures is Totals


class TestPeriodReport:
    def test_empty_database_has_a_line_for_every_day(self):
        report = reports.period_report(TODAY - 364 * DAY, TODAY)

        assert report.totals == Totals()
        assert [line.figures for line in report.by_day] == [Totals()] * 365
        assert (report.by_section, report.by_model, report.top_users, report.by_error) == (
            (),
            (),
            (),
            (),
        )

    def test_it_takes_three_statements_with_the_latest_calls(self, django_assert_num_queries):
        for number in range(12):
            save_log(user=make_user(f"user{number}"), section=f"section{number}")

        for days in (1, 366):
            with django_assert_num_queries(3):
                report = reports.period_report(TODAY - (days - 1) * DAY, TODAY)
                names = [log.user.username for log in reports.latest_logs(report, 10) if log.user]

            assert len(names) == 10

    def test_daily_rows_take_two_statements(self, django_assert_num_queries):
        save_log(user=make_user())
        save_log()

        with django_assert_num_queries(2):
            reports.daily_rows_report(TODAY - 365 * DAY, TODAY)

    def test_unknown_sums_are_none(self):
        save_log(prompt_tokens=None, completion_tokens=None, cost=None)

        (line,) = reports.period_report(TODAY, TODAY).by_model

        assert (line.figures.total_tokens, line.figures.cost) == (None, None)
        assert (line.figures.unknown_usage, line.figures.unpriced) == (1, 0)

    def test_failed_calls_without_a_message_are_failures(self):
        save_log(success=False, error_message=None)
        save_log(success=False, error_message="")
        save_log(success=True, error_message="a retry helped")

        report = reports.period_report(TODAY, TODAY)

        assert [(x.error_message, x.figures.calls) for x in report.by_error] == [("", 2)]

    def test_costs_have_no_noise_of_floating_point(self):
        for _ in range(3):
            save_log(user=make_user() if not AIUsageLog.objects.exists() else None, cost="0.1")

        assert str(reports.period_report(TODAY, TODAY).totals.cost) == "0.30000000"
        assert str(reports.daily_rows_report(TODAY, TODAY).totals.total_cost) == "0.30000000"

    def test_deleted_users_calls_stay_without_a_user(self):
        ada = make_user()
        save_log(user=ada, cost=Decimal("0.25"))
        ada.delete()

        logs = reports.period_report(TODAY, TODAY)
        rows = reports.daily_rows_report(TODAY, TODAY)

        assert (logs.totals.calls, logs.totals.unattributed, logs.users) == (1, 1, 0)
        assert (rows.totals.total_requests, rows.unattributed.total_requests, rows.users) == (
            1,
            1,
            0,
        )

    def test_pruned_days_are_known_to_the_daily_rows_alone(self):
        save_log(user=make_user())
        AIUsageLog.objects.all()._raw_delete("default")

        assert reports.period_report(TODAY, TODAY).totals.calls == 0
        assert reports.daily_rows_report(TODAY, TODAY).totals.total_requests == 1

    def test_end_before_the_start_is_refused(self):
        with pytest.raises(ValueError, match="before it starts"):
            reports.period_report(TODAY, TODAY - DAY)
        with pytest.raises(ValueError, match="before it starts"):
            reports.daily_rows_report(TODAY, TODAY - DAY)

    def test_ends_of_the_calendar_are_days_too(self):
        user = make_user()

        for day in (dt.date.min, dt.date.max):
            assert reports.period_report(day, day, user=user).totals == Totals(), day

    def test_latest_of_a_section_with_few_calls(self):
        AIUsageLog.objects.bulk_create(make_log(section="chat") for _ in range(20))
        rare = [save_log(section="other", created_at=NOON - n * DAY) for n in range(3)]

        report = reports.period_report(TODAY - 30 * DAY, TODAY, section="other")

        assert reports.latest_logs(report, 2) == rare[:2]

    def test_lines_can_be_ranked_by_cost(self):
        for name, cost, tokens in (
            ("cheap", 1, 900),
            ("unknown", None, 1),
            ("dear", 3, 1),
            ("unknown, long", None, 5000),
            ("free", 0, 9),
        ):
            save_log(
                user=make_user(name), section=name, model_name=name, cost=cost, prompt_tokens=tokens
            )
        save_log(cost=100, section="dear")
        expected = ["dear", "cheap", "free", "unknown, long", "unknown"]

        report = reports.period_report(TODAY, TODAY, rank="cost")

        assert [x.section for x in report.by_section] == expected
        assert [x.model_name for x in report.by_model if x.provider] == ["gpt-4o", *expected]
        assert [x.username for x in report.top_users] == [*expected, None]

    def test_only_one_provider_or_model(self):
        save_log()
        save_log(provider="azure")
        save_log(provider="", model_name="")

        def calls(**filters: Any) -> int:
            return reports.period_report(TODAY, TODAY, **filters).totals.calls

        assert calls(provider="azure") == 1
        assert calls(model_name="gpt-4o") == 2
        assert calls(provider="azure", model_name="") == 0
        assert calls(provider="", model_name="") == 1
