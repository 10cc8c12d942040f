"""The report of a day, compared with totals computed in Python."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from django.test import override_settings
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reports.calls import UNHURRIED, Call, add_up, calls, group, save
from tests.support.builders import (
    NOON,
    make_event,
    make_log,
    make_user,
    rolled_back,
    save_log,
)
from usage_tracking import outbox, reports
from usage_tracking.models import AIUsageLog
from usage_tracking.reports import Backlog, NotFound, Totals

pytestmark = pytest.mark.django_db

TODAY = NOON.date()
DAY = dt.timedelta(days=1)
NEW_YORK = "America/New_York"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("zone", "until"),
    [
        ("UTC", dt.datetime(2026, 3, 14, 15, tzinfo=dt.UTC)),
        # The clocks go forward on the 8th of March and back on the 1st of November.
        (NEW_YORK, dt.datetime(2026, 3, 8, 15, tzinfo=ZoneInfo(NEW_YORK))),
        (NEW_YORK, dt.datetime(2026, 11, 1, 15, tzinfo=ZoneInfo(NEW_YORK))),
        ("Pacific/Kiritimati", dt.datetime(2026, 3, 14, 9, 59, tzinfo=dt.UTC)),
    ],
)
def test_totals_equal_a_second_computation(zone: str, until: dt.datetime):
    users = [make_user(name) for name in ("ada", "bob", "cy")]
    clock = ZoneInfo(zone)
    day = until.astimezone(clock).date()

    @settings(UNHURRIED, max_examples=20)
    @given(
        calls=calls(st.integers(-3 * 1440, 1440)),
        only_user=st.none() | st.integers(0, 2),
        section=st.sampled_from((None, "chat")),
    )
    def check(calls: list[Call], only_user: int | None, section: str | None) -> None:
        with rolled_back():
            save(calls, users, until)
            report = reports.day_report(
                day,
                user=None if only_user is None else users[only_user],
                section=section,
                until=until,
                top=2,
            )

        wanted = [
            call
            for call in calls
            if (only_user is None or call.user == only_user) and section in (None, call.section)
        ]
        today, yesterday = [], []
        for call in wanted:
            at = (until + dt.timedelta(minutes=call.minutes)).astimezone(clock)
            if at.time() <= until.astimezone(clock).time():
                if at.date() == day:
                    today.append(call)
                elif at.date() == day - DAY:
                    yesterday.append(call)
        assert report.totals.figures == add_up(today)
        assert report.previous.figures == add_up(yesterday)
        assert {x.section: x.figures for x in report.by_section} == group(today, "section")
        models = {(x.provider, x.model_name): x.figures for x in report.by_model}
        assert models == group(today, "model")
        by_user = group(today, "user")
        nobody = by_user.pop(None, None)
        ranked = sorted(
            by_user,
            key=lambda u: (-1 if (n := by_user[u].total_tokens) is None else n, by_user[u].calls),
            reverse=True,
        )
        shown = [x for x in report.top_users if x.user_id is not None]
        assert report.users == len(by_user)
        assert [x.figures.total_tokens for x in shown] == [
            by_user[u].total_tokens for u in ranked[:2]
        ]
        numbers = {user.pk: number for number, user in enumerate(users)}
        assert all(x.figures == by_user[numbers[x.user_id]] for x in shown)
        assert all(x.username == users[numbers[x.user_id]].username for x in shown)
        assert [x.figures for x in report.top_users if x.user_id is None] == [nobody] * bool(nobody)

    with override_settings(AI_USAGE_DAY_TIMEZONE=zone):
        check()


class TestDayReport:
    def test_empty_database_has_a_report_of_zeros(self):
        report = reports.day_report(TODAY, until=NOON)

        assert (report.totals.figures, report.previous.figures) == (Totals(), Totals())
        assert (report.by_section, report.by_model, report.top_users, report.users) == (
            (),
            (),
            (),
            0,
        )
        assert report.totals.figures.average_response_time_ms is None

    def test_it_takes_three_statements(self, django_assert_num_queries):
        users = [make_user(f"user{n}") for n in range(60)]
        logs = [
            make_log(user=user, section=f"section{n}", model_name=f"model{n}", cost=Decimal(1))
            for n, user in enumerate(users)
        ]
        for some in (logs[:1], logs[1:]):
            AIUsageLog.objects.bulk_create(some)
            with django_assert_num_queries(3):
                reports.day_report(TODAY, until=NOON)

    def test_unknown_sums_are_none(self):
        save_log(prompt_tokens=None, completion_tokens=None, cost=None)

        totals = reports.day_report(TODAY).totals.figures

        assert (totals.prompt_tokens, totals.total_tokens, totals.cost) == (None, None, None)
        assert (totals.unknown_usage, totals.unpriced, totals.unattributed) == (1, 0, 1)

    def test_sums_count_the_known_values(self):
        save_log(prompt_tokens=None, completion_tokens=None, cost=None, success=False)
        save_log(cost=Decimal("0.25"))

        totals = reports.day_report(TODAY).totals.figures

        assert (totals.calls, totals.total_tokens, totals.cost) == (2, 230, Decimal("0.25"))
        assert (totals.unknown_usage, totals.failed_unknown_usage) == (0, 1)
        assert (totals.unpriced, totals.failed_unpriced) == (0, 1)

    def test_cost_has_no_noise_of_floating_point(self):
        for _ in range(3):
            save_log(cost=Decimal("0.1"))

        cost = reports.day_report(TODAY).totals.figures.cost

        assert str(cost) == "0.30000000"

    def test_sections_that_are_not_declared_keep_their_code(self):
        save_log(section="chat")
        save_log(section="elsewhere", prompt_tokens=1)

        lines = reports.day_report(TODAY).by_section

        assert [(line.section, line.display_name) for line in lines] == [
            ("chat", "Customer Chat"),
            ("elsewhere", "elsewhere"),
        ]

    def test_unattributed_calls_are_never_dropped_from_the_top(self):
        for number in range(5):
            save_log(user=make_user(f"user{number}"), prompt_tokens=1000 + number)
        save_log(user=None, prompt_tokens=None, completion_tokens=None)

        report = reports.day_report(TODAY, top=2)

        assert [line.username for line in report.top_users] == ["user4", "user3", None]
        assert report.users == 5

    def test_unattributed_calls_take_no_place_in_the_top(self):
        for number in range(3):
            save_log(user=make_user(f"user{number}"))

        assert len(reports.day_report(TODAY, top=2).top_users) == 2

    def test_user_beside_others(self):
        ada = make_user("ada")
        save_log(user=ada)
        save_log(user=make_user("bob"))

        report = reports.day_report(TODAY, user=ada)

        assert (report.username, report.totals.figures.calls, report.users) == ("ada", 1, 1)

    def test_past_day_is_whole(self):
        save_log(created_at=NOON + dt.timedelta(hours=11))
        save_log(created_at=NOON - dt.timedelta(hours=13))

        report = reports.day_report(TODAY, until=NOON + DAY)

        assert (report.totals.until, report.previous.until) == (None, None)
        assert (report.totals.figures.calls, report.previous.figures.calls) == (1, 1)

    def test_day_before_ends_at_the_same_time(self):
        save_log(created_at=NOON - DAY)
        save_log(created_at=NOON - DAY + dt.timedelta(microseconds=1))

        report = reports.day_report(TODAY, until=NOON)

        assert report.previous.until == NOON - DAY
        assert report.previous.figures.calls == 1

    @override_settings(AI_USAGE_DAY_TIMEZONE=NEW_YORK)
    def test_same_time_is_that_of_the_clock(self, subtests: pytest.Subtests):
        for until, before in (
            ("2026-03-08 15:00", "2026-03-07T15:00:00-05:00"),  # 23 hours earlier
            ("2026-11-01 15:00", "2026-10-31T15:00:00-04:00"),  # 25 hours earlier
            ("2026-03-09 02:30", "2026-03-08T02:30:00-05:00"),  # skipped: 03:30 by summer time
            ("2026-11-02 01:30", "2026-11-01T01:30:00-04:00"),  # repeated: the first of the two
        ):
            with subtests.test(until):
                moment = dt.datetime.fromisoformat(until).replace(tzinfo=ZoneInfo(NEW_YORK))
                report = reports.day_report(moment.date(), until=moment.astimezone(dt.UTC))

                assert report.previous.until is not None
                assert report.previous.until.isoformat() == before

    def test_repeated_hour_of_today_is_counted_once(self):
        # 01:30 in New York for the first time, at 05:30 UTC, and an hour later once more.
        first = dt.datetime(2026, 11, 1, 5, 30, tzinfo=dt.UTC)
        save_log(created_at=first)
        save_log(created_at=first + dt.timedelta(hours=1))
        with override_settings(AI_USAGE_DAY_TIMEZONE=NEW_YORK):
            calls = [
                reports.day_report(dt.date(2026, 11, 1), until=until).totals.figures.calls
                for until in (first, first + dt.timedelta(hours=1))
            ]

        assert calls == [1, 2]

    def test_other_zone_than_that_of_the_day_is_active(self):
        from django.utils import timezone

        save_log(created_at=NOON)
        with timezone.override("Pacific/Kiritimati"):
            report = reports.day_report(TODAY, until=NOON)

        assert (report.totals.figures.calls, report.timezone) == (1, "UTC")

    @pytest.mark.sqlite
    def test_site_without_time_zones_has_local_times(self):
        with override_settings(USE_TZ=False, TIME_ZONE="UTC"):
            save_log(created_at=NOON.replace(tzinfo=None))
            report = reports.day_report(TODAY, until=NOON.replace(tzinfo=None))
            earlier = reports.day_report(TODAY, until=NOON.replace(tzinfo=None, hour=11))

        assert (report.totals.figures.calls, earlier.totals.figures.calls) == (1, 0)
        assert report.totals.until == NOON


class TestPeriod:
    def test_month_is_compared_with_the_month_before(self):
        month = dt.date(2026, 2, 1), dt.date(2026, 2, 28)
        for at in ("2026-01-01", "2026-01-31", "2026-02-01", "2026-02-28", "2026-03-01"):
            save_log(created_at=dt.datetime.fromisoformat(f"{at}T12:00+00:00"))

        report = reports.day_report(month[0], last=month[1])

        assert (report.totals.date, report.totals.last, report.totals.until) == (*month, None)
        assert (report.previous.date, report.previous.last) == (
            dt.date(2026, 1, 1),
            dt.date(2026, 1, 31),
        )
        assert (report.totals.figures.calls, report.previous.figures.calls) == (2, 2)

    def test_running_period_is_compared_up_to_the_same_time(self):
        for days, hours in ((0, 0), (3, 0), (7, 0), (7, -1), (10, 0), (14, 0)):
            save_log(created_at=NOON - dt.timedelta(days=days, hours=hours))

        report = reports.day_report(TODAY - 6 * DAY, last=TODAY, until=NOON)

        assert (report.totals.until, report.previous.until) == (NOON, NOON - 7 * DAY)
        assert (report.totals.figures.calls, report.previous.figures.calls) == (2, 2)

    def test_it_takes_three_statements(self, django_assert_num_queries):
        for number in range(30):
            save_log(
                user=make_user(f"user{number}"),
                cost=Decimal(1),
                created_at=NOON - number * DAY,
            )
        with django_assert_num_queries(3):
            reports.day_report(TODAY - 29 * DAY, last=TODAY, until=NOON, rank="cost")

    def test_user_and_section_narrow_both_periods(self):
        ada = make_user("ada")
        for at in (NOON, NOON - 2 * DAY):
            save_log(user=ada, section="chat", created_at=at)
            save_log(user=ada, section="other", created_at=at)
            save_log(section="chat", created_at=at)

        report = reports.day_report(TODAY - DAY, last=TODAY, user=ada, section="chat")

        assert (report.totals.figures.calls, report.previous.figures.calls) == (1, 1)

    def test_future_period_is_empty(self):
        report = reports.day_report(TODAY + DAY, last=TODAY + 2 * DAY, until=NOON)

        assert (report.totals.figures.calls, report.totals.until) == (0, None)

    def test_last_day_before_the_first_is_refused(self):
        with pytest.raises(ValueError, match="ends on 2026-03-13, before it starts on 2026-03-14"):
            reports.day_report(TODAY, last=TODAY - DAY)


class TestRank:
    def test_lines_are_ordered_by_cost_on_request(self):
        for number, cost in enumerate((Decimal(1), None, Decimal(3), Decimal(2))):
            save_log(
                user=make_user(f"user{number}"),
                section=f"section{number}",
                model_name=f"model{number}",
                cost=cost,
                prompt_tokens=1000 - number,
            )

        def order(**options) -> list[list[str]]:
            report = reports.day_report(TODAY, top=3, **options)
            return [
                [line.section[-1] for line in report.by_section],
                [line.model_name[-1] for line in report.by_model],
                [str(line.username)[-1] for line in report.top_users],
            ]

        assert order() == [list("0123"), list("0123"), list("012")]
        assert order(rank="cost") == [list("2301"), list("2301"), list("230")]


class TestBacklog:
    def test_files_of_every_process_wait_and_dead_letters_do_not(self, tmp_path, monkeypatch):
        box = outbox.Outbox(tmp_path)
        monkeypatch.setattr(outbox, "get", lambda: box)
        box.put(make_event())
        box.dead_letter(make_event(), "refused")

        (waiting,) = box.segments()
        assert reports.backlog() == Backlog(bytes=waiting.stat().st_size, files=1, dead_letters=1)
        box.close()

    def test_outbox_in_memory_has_no_files(self):
        assert reports.backlog() == Backlog(0, 0, 0)


class TestFindUser:
    def test_name_and_key_find_the_user(self):
        ada = make_user("ada")

        assert reports.find_user("ada") == ada
        assert reports.find_user(str(ada.pk)) == ada

    def test_name_that_is_the_key_of_another_user_is_ambiguous(self):
        ada = make_user("ada")
        make_user(str(ada.pk))

        with pytest.raises(NotFound, match="is the name of one and the id of another"):
            reports.find_user(str(ada.pk))

    def test_unknown_name_suggests_similar_ones(self):
        make_user("Charlotte")

        with pytest.raises(NotFound, match=r"no user 'charlote'\. Did you mean 'Charlotte'\?"):
            reports.find_user("charlote")

    def test_dissimilar_name_suggests_none(self):
        make_user("ada")

        with pytest.raises(NotFound) as caught:
            reports.find_user("zoroaster")
        assert str(caught.value) == "There is no user 'zoroaster'."

    def test_invalid_key_is_not_found(self, subtests: pytest.Subtests):
        for text in ("", "9" * 40, "\x00", "-1", "%"):
            with subtests.test(text), pytest.raises(NotFound):
                reports.find_user(text)


class TestFindSection:
    def test_declared_section_needs_no_call(self):
        assert reports.find_section("rag_pipeline") == "rag_pipeline"

    def test_section_of_a_call_need_not_be_declared(self):
        save_log(section="elsewhere")

        assert reports.find_section("elsewhere") == "elsewhere"

    def test_misspelt_section_suggests_a_similar_one(self, subtests: pytest.Subtests):
        message = r"Did you mean 'rag_pipeline'\?"
        for text in ("rag_pipelin", "RAG pipeline", "rag_pipelin\x00"):
            with subtests.test(text), pytest.raises(NotFound, match=message):
                reports.find_section(text)
