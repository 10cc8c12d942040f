"""Numbers over HTTP: those of a second computation in Python from the rows."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from itertools import product
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.models import User
from django.test import override_settings
from freezegun import freeze_time
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.api.conftest import GLOBAL_LOG_STATS, GLOBAL_STATS, LOG_STATS, STATS, client_of, get
from tests.reports.calls import UNHURRIED, Call, add_up, calls, save
from tests.reports.test_period import PLACES
from tests.support.builders import NOON, make_log, make_user, rolled_back, save_log
from usage_tracking.models import AIUsageLog

pytestmark = pytest.mark.django_db

TODAY = NOON.date()
DAY = dt.timedelta(days=1)
TOTALS = {
    "total_requests",
    "total_tokens",
    "total_prompt_tokens",
    "total_completion_tokens",
    "successful_requests",
    "failed_requests",
    "success_rate",
    "average_response_time_ms",
    "average_tokens_per_request",
    "cost",
    "days_included",
    "date_range",
    "daily_breakdown",
}
UNITS = {
    "total_cached_tokens",
    "total_cache_write_tokens",
    "total_reasoning_tokens",
    "total_audio_tokens",
    "total_image_tokens",
    "total_tool_calls",
}
OF_LOGS = (
    TOTALS | UNITS | {"by_section", "recent_logs", "unknown_usage_requests", "unpriced_requests"}
)
OF_ALL = {"top_users", "unattributed_requests"}
KEYS = {
    LOG_STATS: OF_LOGS,
    GLOBAL_LOG_STATS: OF_LOGS | OF_ALL | {"total_users"},
    STATS: TOTALS,
    GLOBAL_STATS: TOTALS | OF_ALL | {"active_users"},
}
WRONG_DAYS: list[Any] = [
    "0",
    "-1",
    "367",
    "100000",
    "x",
    "1.5",
    "",
    "9" * 50,
    "\x00",
    "1e2",
    ["1", "2"],
]


def tokens(some: list[Call]) -> int | None:
    """What is known of them; None if there are calls and nothing is."""
    known = [(c.prompt or 0) + (c.completion or 0) for c in some if not is_unknown(c)]
    return sum(known) if known or not some else None


def cost(some: list[Call]) -> Decimal | None:
    known = [c.cost for c in some if c.cost is not None]
    return sum(known, Decimal(0)) if known or not some else None


def is_unknown(call: Call) -> bool:
    return call.prompt is None and call.completion is None


def ratio(part: int, whole: int) -> float | None:
    return round(part / whole, 2) if whole else None


def as_cost(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


@pytest.mark.slow
@pytest.mark.parametrize(("zone", "moment"), PLACES)
def test_totals_equal_a_second_computation(zone: str, moment: dt.datetime):
    users = [make_user(name, email=f"{name}@example.com") for name in ("ada", "bob", "cy")]
    root = User.objects.create_superuser("root")
    clock = ZoneInfo(zone)
    today = moment.astimezone(clock).date()

    @settings(UNHURRIED, max_examples=15)
    @given(
        calls=calls(st.integers(-4 * 1440, 2 * 1440)),
        days=st.integers(1, 5),
        section=st.sampled_from((None, "chat")),
    )
    def check(calls: list[Call], days: int, section: str | None) -> None:
        parameters: dict[str, Any] = {"days": days}
        narrowed = parameters | ({"section": section} if section else {})
        with rolled_back(), freeze_time(moment):
            save(calls, users, moment)
            own = get(users[0], LOG_STATS, **narrowed).json()
            all_ = get(root, GLOBAL_LOG_STATS, **narrowed).json()
            own_days = get(users[0], STATS, **parameters).json()
            all_days = get(root, GLOBAL_STATS, **parameters).json()

        dates = [today - n * DAY for n in reversed(range(days))]
        of_range = [call for call in calls if call.day(moment, clock) in dates]
        of_section = [call for call in of_range if section in (None, call.section)]
        of_ada = [call for call in of_section if call.user == 0]

        for answer, wanted in ((own, of_ada), (all_, of_section)):
            check_totals(answer, wanted)
            check_days(answer, wanted, dates)
            assert answer["total_tokens"] == tokens(wanted)
            assert as_cost(answer["cost"]) == cost(wanted)
            known = sum(not is_unknown(c) for c in wanted)
            assert answer["average_tokens_per_request"] == ratio(tokens(wanted) or 0, known)
            totals = add_up(wanted)
            assert answer["unknown_usage_requests"] == totals.unknown_usage
            assert answer["unpriced_requests"] == totals.unpriced
            for name in UNITS:
                assert answer[name] == getattr(totals, name.removeprefix("total_"))
            sections = {c.section for c in wanted}
            assert set(answer["by_section"]) == sections
            for code in sections:
                some = [c for c in wanted if c.section == code]
                line = answer["by_section"][code]
                assert line.pop("display_name")
                assert as_cost(line.pop("cost")) == cost(some)
                assert line == {
                    "count": len(some),
                    "total_tokens": tokens(some),
                    "avg_response_time_ms": ratio(sum(c.ms for c in some), len(some)),
                    "percentage": ratio(100 * len(some), len(wanted)),
                }
            recent = [
                (dt.datetime.fromisoformat(row["created_at"]) - moment) // dt.timedelta(minutes=1)
                for row in answer["recent_logs"]
            ]
            assert recent == sorted((c.minutes for c in wanted), reverse=True)[:10]
        check_users(all_, of_section, users)
        assert all_["total_users"] == len({c.user for c in of_section} - {None})

        for answer, wanted in (
            (own_days, [c for c in of_range if c.user == 0]),
            (all_days, of_range),
        ):
            check_totals(answer, wanted)
            check_days(answer, wanted, dates)
            # Daily rows do not tell what is not known from what is nothing.
            assert answer["total_tokens"] == tokens(wanted) or tokens(wanted) is None
            assert as_cost(answer["cost"]) == (cost(wanted) or 0)
        check_users(all_days, of_range, users)
        assert all_days["active_users"] == len({c.user for c in of_range} - {None})

    with override_settings(AI_USAGE_DAY_TIMEZONE=zone):
        check()


def check_totals(answer: Any, wanted: list[Call]) -> None:
    failed = sum(not call.success for call in wanted)
    number = len(wanted)
    assert answer["total_requests"] == number
    assert answer["failed_requests"] == failed
    assert answer["successful_requests"] == number - failed
    assert answer["success_rate"] == ratio(100 * (number - failed), number)
    assert answer["average_response_time_ms"] == ratio(sum(c.ms for c in wanted), number)
    for name in ("prompt", "completion"):
        known = [n for c in wanted if (n := getattr(c, name)) is not None]
        assert (answer[f"total_{name}_tokens"] or 0) == sum(known)


def check_days(answer: Any, wanted: list[Call], dates: list[dt.date]) -> None:
    assert answer["days_included"] == len(dates)
    assert answer["date_range"] == {"start": str(dates[0]), "end": str(dates[-1])}
    assert [line["date"] for line in answer["daily_breakdown"]] == [str(date) for date in dates]
    assert sum(line["requests"] for line in answer["daily_breakdown"]) == len(wanted)
    assert (
        sum(line["failed_requests"] for line in answer["daily_breakdown"])
        == (answer["failed_requests"])
    )
    assert sum(line["tokens"] or 0 for line in answer["daily_breakdown"]) == (tokens(wanted) or 0)
    assert sum(as_cost(line["cost"]) or 0 for line in answer["daily_breakdown"]) == (
        cost(wanted) or 0
    )


def check_users(answer: Any, wanted: list[Call], users: list[User]) -> None:
    names = {user.username: n for n, user in enumerate(users)}
    assert {line["user__username"] for line in answer["top_users"]} == {
        users[c.user].username for c in wanted if c.user is not None
    }
    for line in answer["top_users"]:
        some = [c for c in wanted if c.user == names[line["user__username"]]]
        assert line["user__email"] == f"{line['user__username']}@example.com"
        assert line["user_total_requests"] == len(some)
        assert (line["user_total_tokens"] or 0) == (tokens(some) or 0)
        assert (as_cost(line["user_cost"]) or 0) == (cost(some) or 0)
    assert answer["unattributed_requests"] == sum(c.user is None for c in wanted)


class TestEveryPage:
    def test_it_has_all_keys(self, auditor: User, subtests: pytest.Subtests):
        with freeze_time(NOON):
            save_log(user=auditor)
            answers = {path: get(auditor, path).json() for path in KEYS}

        for path, answer in answers.items():
            with subtests.test(path):
                assert set(answer) == KEYS[path]
                assert (answer["total_requests"], answer["days_included"]) == (1, 30)
                assert answer["date_range"] == {"start": "2026-02-13", "end": "2026-03-14"}
                assert len(answer["daily_breakdown"]) == 30
                assert answer["daily_breakdown"][-1] == {
                    "date": "2026-03-14",
                    "requests": 1,
                    "tokens": 230,
                    "cost": answer["daily_breakdown"][-1]["cost"],
                    "successful_requests": 1,
                    "failed_requests": 0,
                }

    def test_nothing_has_no_average(self, auditor: User, subtests: pytest.Subtests):
        for path in KEYS:
            with subtests.test(path):
                answer = get(auditor, path, days=1).json()

                assert (answer["total_requests"], answer["total_tokens"]) == (0, 0)
                assert answer["cost"] == "0.00000000"
                assert answer["success_rate"] is None
                assert answer["average_response_time_ms"] is None
                assert answer["average_tokens_per_request"] is None

    def test_wrong_days_are_named(self, auditor: User, subtests: pytest.Subtests):
        for path, days in product(KEYS, WRONG_DAYS):
            with subtests.test(path, days=days):
                response = get(auditor, path, days=days)

                assert (response.status_code, list(response.json())) == (400, ["days"])

    def test_unknown_parameter_is_named(self, auditor: User, subtests: pytest.Subtests):
        for path in KEYS:
            with subtests.test(path):
                response = get(auditor, path, start_date="2026-03-01")

                assert (response.status_code, list(response.json())) == (400, ["start_date"])

    @pytest.mark.slow
    def test_it_takes_three_statements_at_most(
        self, auditor: User, django_assert_max_num_queries, subtests: pytest.Subtests
    ):
        for number in range(12):
            save_log(user=make_user(f"user{number}"), section=f"section{number}")
            save_log(user=auditor)
        auditor.has_perm("usage_tracking.view_aiusagelog")  # asks once per request, as Django does

        for path, days in product(KEYS, [1, 30, 366]):
            with (
                subtests.test(path, days=days),
                freeze_time(NOON),
                django_assert_max_num_queries(3),
            ):
                get(auditor, path, days=days)

    def test_other_methods_are_refused(self, auditor: User):
        client = client_of(auditor)
        found = {
            (path, method): getattr(client, method)(path).status_code
            for path, method in product(KEYS, ("post", "put", "delete"))
        }

        assert {request: status for request, status in found.items() if status != 405} == {}


class TestSection:
    """Of the pages that add up logs, which are the ones that know sections."""

    PAGES = (LOG_STATS, GLOBAL_LOG_STATS)

    def test_wrong_one_is_named(self, auditor: User, subtests: pytest.Subtests):
        wrong: list[Any] = ["chatbot", "x" * 51, "chat\x00", "", ["chat", "other"]]
        for path, section in product(self.PAGES, wrong):
            with subtests.test(path, section=section):
                response = get(auditor, path, section=section)

                assert (response.status_code, list(response.json())) == (400, ["section"])

    def test_declared_one_may_have_no_calls(self, auditor: User, subtests: pytest.Subtests):
        for path in self.PAGES:
            with subtests.test(path):
                answer = get(auditor, path, section="chat").json()

                assert answer["total_requests"] == 0
                assert (answer["by_section"], answer["recent_logs"]) == ({}, [])

    def test_one_that_only_calls_have_is_shown(self, auditor: User, subtests: pytest.Subtests):
        save_log(user=auditor, section="removed", created_at=NOON - 500 * DAY)

        for path in self.PAGES:
            with subtests.test(path), freeze_time(NOON):
                answer = get(auditor, path, section="removed")

                assert (answer.status_code, answer.json()["total_requests"]) == (200, 0)

    def test_sections_are_counted_apart(self, auditor: User, subtests: pytest.Subtests):
        with freeze_time(NOON):
            save_log(user=auditor, section="chat")
            save_log(user=auditor, section="removed", success=False, response_time_ms=333)
            answers = {path: get(auditor, path).json() for path in self.PAGES}

        for path, answer in answers.items():
            with subtests.test(path):
                assert answer["by_section"]["removed"] == {
                    "display_name": "removed",
                    "count": 1,
                    "total_tokens": 230,
                    "cost": None,
                    "avg_response_time_ms": 333.0,
                    "percentage": 50.0,
                }
                assert answer["by_section"]["chat"]["display_name"] == "Customer Chat"


def test_deleted_users_calls_stay_in_the_totals(ada: User, auditor: User):
    with freeze_time(NOON):
        save_log(user=ada)
        ada.delete()
        pages = [get(auditor, path).json() for path in (GLOBAL_LOG_STATS, GLOBAL_STATS)]

    for page in pages:
        assert (page["total_requests"], page["unattributed_requests"]) == (1, 1)
        assert page["top_users"] == []
    assert pages[0]["recent_logs"][0]["user_username"] is None


def test_ten_users_and_ten_calls_are_listed(auditor: User):
    with freeze_time(NOON):
        AIUsageLog.objects.bulk_create(
            make_log(user=make_user(f"user{n}"), prompt_tokens=n) for n in range(12)
        )
        page = get(auditor, GLOBAL_LOG_STATS).json()
        days = get(auditor, GLOBAL_STATS).json()

    for answer in (page, days):
        assert [line["user__username"] for line in answer["top_users"]] == [
            f"user{n}" for n in range(11, 1, -1)
        ]
    assert (page["total_users"], days["active_users"], len(page["recent_logs"])) == (12, 12, 10)
