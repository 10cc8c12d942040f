"""The report over HTTP: what a billing job asks for, and what it gets for a wrong question."""

from __future__ import annotations

import csv
import datetime as dt
import io
from collections import Counter
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from freezegun import freeze_time

from tests.api.conftest import LOGS, REPORT, client_of, get, raw
from tests.support.builders import NOON, make_log, make_user, save_log
from usage_tracking.models import AIUsageLog

pytestmark = pytest.mark.django_db

DAY = dt.timedelta(days=1)
MARCH = {"start": "2026-03-01", "end": "2026-03-31"}
FIGURES = {
    "calls",
    "failures",
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "audio_tokens",
    "image_tokens",
    "tool_calls",
    "cost",
    "unpriced",
    "unknown_usage",
}
#: Query strings, and the parameter that is wrong.
WRONG = [
    ("start=yesterday", "start"),
    ("start=2026-02-30", "start"),
    ("start=2026-3-1", "start"),
    ("start=20260301", "start"),
    ("start=2026-W10", "start"),
    ("start=0001-01-01", "start"),
    ("end=9999-12-31T23:59:59-14:00", "end"),
    ("start=2026-03-01T00:00:00", "start"),
    ("start=2026-03-01T24:00:01Z", "start"),
    ("start=2026-03-01T00:00:00%2B25:00", "start"),
    ("start=2026-03-01 00:00:00Z", "start"),
    ("start=%D9%A22026-03-01", "start"),
    ("end=2026-03-01%00", "end"),
    ("end=", "end"),
    ("start=2026-03-02&end=2026-03-01", "end"),
    ("start=2026-03-02T00:00Z&end=2026-03-01T00:00Z", "end"),
    ("start=2026-03-02&end=2026-03-01T23:59Z", "end"),
    ("start=2026-03-02T00:00Z&end=2026-03-01", "end"),
    ("start=2026-03-01&start=2026-03-02", "start"),
    ("start_date=2026-03-01", "start_date"),
    ("group_by=", "group_by"),
    ("group_by=users", "group_by"),
    ("group_by=user,user", "group_by"),
    ("group_by=user,", "group_by"),
    ("group_by=month", "group_by"),
    ("group_by=user&group_by=user", "group_by"),
    ("limit=0", "limit"),
    ("limit=10001", "limit"),
    ("limit=x", "limit"),
    ("section=nowhere", "section"),
    ("section=chat%00", "section"),
    ("model=" + "x" * 101, "model"),
    ("provider=" + "x" * 51, "provider"),
    ("offset=1", "offset"),
    ("cursor=", "cursor"),
    ("cursor=x", "cursor"),
    ("cursor=W10:1abc:def", "cursor"),
    ("cursor=" + "x" * 5000, "cursor"),
    ("cursor=%00", "cursor"),
    ("cursor=%F0%9F%92%A9", "cursor"),
]


def report(by: Any, **parameters: Any) -> Any:
    response = get(by, REPORT, **MARCH | parameters)
    assert response.status_code == 200, response.content
    return response.json()


def pages(by: Any, **parameters: Any) -> list[Any]:
    found = [report(by, **parameters)]
    while link := found[-1]["next"]:
        response = client_of(by).get(link)
        assert response.status_code == 200, response.content
        found.append(response.json())
    return found


def cursor_of(page: Any) -> str:
    (cursor,) = parse_qs(urlsplit(page["next"]).query)["cursor"]
    return cursor


class TestLines:
    def test_line_has_the_vocabulary(self, ada: User):
        save_log(
            user=ada,
            cost=Decimal("0.0000000012"),
            cached_tokens=50,
            reasoning_tokens=8,
            usage_details={"cache_write_tokens": 5, "input_audio_tokens": 3, "web_searches": 2},
        )
        save_log(user=ada, success=False, cost=Decimal("0.1"))

        answer = report(ada, group_by="user,model,section,provider,day,hour")

        assert {name: answer[name] for name in answer if name != "results"} == {
            "start": "2026-03-01",
            "end": "2026-03-31",
            "timezone": "UTC",
            "group_by": ["user", "model", "section", "provider", "day", "hour"],
            "next": None,
        }
        (line,) = answer["results"]
        assert line == {
            "user": ada.pk,
            "username": "ada",
            "email": "ada@example.com",
            "model": "gpt-4o",
            "section": "chat",
            "provider": "openai",
            "day": "2026-03-14",
            "hour": "2026-03-14T12:00:00Z",
            "calls": 2,
            "failures": 1,
            "prompt_tokens": 300,
            "completion_tokens": 160,
            "total_tokens": 460,
            "cached_tokens": 50,
            "cache_write_tokens": 5,
            "reasoning_tokens": 8,
            "audio_tokens": 3,
            "image_tokens": None,
            "tool_calls": 2,
            "cost": "0.10000000",
            "unpriced": 0,
            "unknown_usage": 0,
        }

    def test_unknown_values_are_null_and_counted(self, ada: User):
        save_log(user=ada, cost=None)
        save_log(user=ada, prompt_tokens=None, completion_tokens=None, cost=None, model_name="")

        priceless, unknown = report(ada, group_by="model")["results"][::-1]

        assert (priceless["cost"], priceless["unpriced"]) == (None, 1)
        assert (unknown["model"], unknown["total_tokens"], unknown["unknown_usage"]) == (
            "",
            None,
            1,
        )

    def test_default_is_the_last_thirty_days_by_day(self, ada: User):
        for days in (0, 29, 30):
            save_log(user=ada, created_at=NOON - days * DAY)

        with freeze_time(NOON):
            answer = get(ada, REPORT).json()

        assert (answer["start"], answer["end"]) == ("2026-02-13", "2026-03-14")
        assert [line["day"] for line in answer["results"]] == ["2026-02-13", "2026-03-14"]
        assert set(answer["results"][0]) == FIGURES | {"day"}

    def test_lists_are_read_with_commas_and_one_by_one(self, ada: User):
        save_log(user=ada)

        one_by_one = raw(ada, REPORT, "start=2026-03-01&end=2026-03-31&group_by=model&group_by=day")

        assert one_by_one.json() == report(ada, group_by="model,day")

    def test_filters_narrow(self, ada: User):
        save_log(user=ada)
        save_log(user=ada, section="elsewhere", provider="anthropic", model_name="claude-x")

        for name, value in (("section", "chat"), ("provider", "openai"), ("model", "gpt-4o")):
            assert [line["calls"] for line in report(ada, **{name: value})["results"]] == [1]
        assert report(ada, model="gpt-4")["results"] == []

    def test_it_takes_two_statements(self, auditor: User):
        users = [make_user(f"user{n}") for n in range(5)]
        for user in users:
            save_log(user=user)
        client = client_of(User.objects.create_superuser("root"))
        wanted: Any = MARCH | {"user": "all", "group_by": "user,model,day", "limit": 2}

        with CaptureQueriesContext(
            connection,
        ) as queries:
            page = client.get(REPORT, wanted)
        with CaptureQueriesContext(connection) as more:
            client.get(page.json()["next"])

        assert (len(queries), len(more)) == (2, 2)


class TestPeriod:
    @pytest.fixture(autouse=True)
    def _calls(self, ada: User) -> None:
        for moment in ("13T23:59:59", "14T00:00:00", "14T12:00:00", "14T23:59:59", "15T00:00:00"):
            save_log(user=ada, created_at=dt.datetime.fromisoformat(f"2026-03-{moment}+00:00"))

    @pytest.mark.parametrize(
        ("query", "calls"),
        [
            ("start=2026-03-14&end=2026-03-14", 3),
            ("start=2026-03-13&end=2026-03-14", 4),
            ("start=2026-03-14T00:00:00Z&end=2026-03-15T00:00:00Z", 3),
            ("start=2026-03-14T00:00Z&end=2026-03-14T12:00:00Z", 1),
            ("start=2026-03-14T00:00Z&end=2026-03-14T12:00:00.000001Z", 2),
            ("start=2026-03-14T01:00:00%2B01:00&end=2026-03-15T01:00:00%2B01:00", 3),
            ("start=2026-03-14T01:00:00+01:00&end=2026-03-15T01:00:00+01:00", 3),
            ("start=2026-03-13T19:00:00-05:00&end=2026-03-14T19:00:00-05:00", 3),
            ("start=2026-03-14T12:00Z&end=2026-03-14", 2),
            ("start=2026-03-14&end=2026-03-14T12:00Z", 1),
            ("start=2026-03-14T00:00Z&end=2026-03-14T00:00Z", 0),
        ],
    )
    @pytest.mark.parametrize("path", [REPORT, LOGS])
    def test_days_include_both_ends_and_moments_only_the_first(
        self, ada: User, path: str, query: str, calls: int
    ):
        response = raw(ada, path, query)

        assert response.status_code == 200, response.content
        rows = response.json()["results"]
        assert sum(row.get("calls", 1) for row in rows) == calls


@override_settings(AI_USAGE_DAY_TIMEZONE="America/New_York")
def test_days_are_those_of_the_setting(ada: User):
    # In New York the 13th lasts until 04:00 UTC of the 14th.
    save_log(user=ada, created_at=dt.datetime(2026, 3, 14, 3, 59, tzinfo=dt.UTC))
    save_log(user=ada, created_at=dt.datetime(2026, 3, 14, 4, 0, tzinfo=dt.UTC))

    answer = report(ada, start="2026-03-13", end="2026-03-13", group_by="day,hour")

    assert answer["timezone"] == "America/New_York"
    (line,) = answer["results"]
    assert (line["day"], line["hour"]) == ("2026-03-13", "2026-03-14T03:00:00Z")


@pytest.mark.parametrize(("query", "wrong"), WRONG)
def test_wrong_parameter_is_named(ada: User, query: str, wrong: str):
    response = raw(ada, REPORT, query)

    assert (response.status_code, list(response.json())) == (400, [wrong]), response.content
    assert response["Content-Type"] == "application/json"


def test_error_says_what_to_write(ada: User):
    (message,) = raw(ada, REPORT, "start=2026-03-01T00:00:00").json()["start"]

    assert "Z" in message
    assert "%2B" in message


class TestWhose:
    @pytest.fixture(autouse=True)
    def _calls(self, ada: User, bob: User, auditor: User) -> None:
        for user, number in ((ada, 1), (bob, 2), (auditor, 3), (None, 4)):
            for _ in range(number):
                save_log(user=user)

    def calls(self, by: User, **parameters: Any) -> dict[Any, int]:
        lines = report(by, group_by="user", **parameters)["results"]
        return {line["username"]: line["calls"] for line in lines}

    def test_they_are_ones_own_unless_asked_for(self, ada: User, auditor: User):
        assert self.calls(ada) == {"ada": 1}
        assert self.calls(ada, user=ada.pk) == {"ada": 1}
        assert self.calls(auditor) == {"auditor": 3}
        assert self.calls(User.objects.create_superuser("root")) == {}

    def test_permission_shows_those_of_others(self, ada: User, bob: User, auditor: User):
        assert self.calls(auditor, user="all") == {"ada": 1, "bob": 2, "auditor": 3, None: 4}
        assert self.calls(auditor, user=bob.pk) == {"bob": 2}

    def test_others_are_refused_without_it(self, ada: User, bob: User):
        for user in ("all", bob.pk, 0, 10**30, "x"):
            response = get(ada, REPORT, user=user)
            assert (response.status_code, list(response.json())) == (403, ["detail"])

    def test_unknown_user_is_an_error(self, auditor: User):
        for user in ("0", "9" * 30, "x", "ALL", "-1", "\u0663", "1.5"):
            response = get(auditor, REPORT, user=user)
            assert (response.status_code, list(response.json())) == (400, ["user"]), user

    def test_unattributed_calls_come_last(self, auditor: User):
        *_, last = report(auditor, user="all", group_by="user")["results"]

        assert (last["user"], last["username"], last["email"], last["calls"]) == (None,) * 3 + (4,)

    def test_cursor_is_that_of_its_user(self, ada: User, auditor: User):
        other = make_user("other")
        other.user_permissions.set(auditor.user_permissions.all())
        cursor = cursor_of(report(auditor, user="all", group_by="user", limit=1))

        assert get(other, REPORT, cursor=cursor).status_code == 400
        assert get(ada, REPORT, cursor=cursor).status_code == 400

    def test_cursor_needs_the_permission_again(self, auditor: User):
        cursor = cursor_of(report(auditor, user="all", group_by="user", limit=1))
        auditor.user_permissions.clear()

        response = get(User.objects.get(pk=auditor.pk), REPORT, cursor=cursor)

        assert response.status_code == 403


class TestPages:
    BY = "user,model,section,provider,day,hour"

    @pytest.fixture
    def many(self, ada: User, bob: User) -> User:
        AIUsageLog.objects.bulk_create(
            make_log(
                user=(ada, bob, None)[number % 3],
                model_name=("a&b=c", "é", "", "\u2028")[number % 4],
                section=("chat", "other")[number % 2],
                created_at=NOON + number * dt.timedelta(hours=1),
            )
            for number in range(40)
        )
        return User.objects.create_superuser("root")

    @pytest.mark.parametrize("by", [BY, "user", "hour,user", "model,user", "day", "provider"])
    def test_pages_together_are_the_whole(self, many: User, by: str):
        (whole,) = pages(many, user="all", group_by=by)

        parts = pages(many, user="all", group_by=by, limit=3)

        assert [line for page in parts for line in page["results"]] == whole["results"]
        assert all(len(page["results"]) == 3 for page in parts[:-1])
        assert sum(line["calls"] for line in whole["results"]) == 40

    def test_new_calls_repeat_no_line_and_hide_none(self, many: User, ada: User):
        (whole,) = pages(many, user="all", group_by="user,day,model")
        keys = [(x["user"], x["day"], x["model"]) for x in whole["results"]]
        found = [report(many, user="all", group_by="user,day,model", limit=2)]
        while link := found[-1]["next"]:
            for day in (-1, 0, 1, 2):
                save_log(user=ada, model_name=f"new-{len(found)}", created_at=NOON + day * DAY)
                save_log(user=ada, model_name="é", created_at=NOON + day * DAY)
            found.append(client_of(many).get(link).json())

        seen = Counter((x["user"], x["day"], x["model"]) for p in found for x in p["results"])
        assert set(seen.values()) == {1}
        assert set(keys) <= set(seen)

    def test_deleted_calls_move_no_page(self, many: User):
        first = report(many, user="all", group_by="hour", limit=10)
        AIUsageLog.objects.filter(created_at__lte=NOON + dt.timedelta(hours=9)).delete()

        second = client_of(many).get(first["next"]).json()

        assert second["results"][0]["hour"] == "2026-03-14T22:00:00Z"

    def test_next_day_does_not_change_the_period(self, ada: User):
        for days in range(3):
            save_log(user=ada, created_at=NOON - days * DAY)
        with freeze_time(NOON):
            first = get(ada, REPORT, limit=1).json()
        with freeze_time(NOON + DAY):
            second = client_of(ada).get(first["next"]).json()
            cursor = get(ada, REPORT, cursor=cursor_of(first)).json()

        assert (second["start"], second["end"]) == (first["start"], first["end"])
        assert cursor["results"][0]["day"] == "2026-03-13"

    def test_cursor_is_enough(self, many: User):
        first = report(many, user="all", group_by="user,model", section="chat", limit=2)

        assert (
            get(many, REPORT, cursor=cursor_of(first), limit=2).json()["results"]
            == client_of(many).get(first["next"]).json()["results"]
        )

    @pytest.mark.parametrize(
        "change",
        [
            {"group_by": "model,user"},
            {"start": "2026-03-02"},
            {"end": "2026-03-30"},
            {"user": "1"},
            {"section": "other"},
            {"model": "é"},
            {"provider": "openai"},
        ],
    )
    def test_cursor_of_another_query_is_refused(self, many: User, change: dict[str, str]):
        query = MARCH | {"user": "all", "group_by": "user,model"}
        cursor = cursor_of(get(many, REPORT, **query, limit=1).json())

        response = get(many, REPORT, **query | change, cursor=cursor)

        assert (response.status_code, set(response.json())) == (400, set(change))

    def test_forged_cursors_are_refused(self, many: User, ada: User, settings):
        cursor = cursor_of(report(many, user="all", group_by="user", limit=1))
        of_logs = cursor_of(get(many, LOGS, user="all", cursor="*", limit=1).json())
        forged = [cursor[:-1], cursor + "A", cursor.replace(":", ""), cursor.swapcase(), of_logs]

        for text in forged:
            assert get(many, REPORT, cursor=text).status_code == 400, text
        settings.SECRET_KEY = "another"
        assert get(many, REPORT, cursor=cursor).status_code == 400

    def test_first_page_is_asked_for_by_a_star(self, many: User):
        assert report(many, user="all", cursor="*") == report(many, user="all")

    def test_header_links_the_next_page(self, many: User):
        response = get(many, REPORT, **MARCH, user="all", limit=1)

        assert response["Link"] == f'<{response.json()["next"]}>; rel="next"'


class TestCSV:
    def rows(self, response: Any) -> list[dict[str, str]]:
        assert response.status_code == 200, response.content
        assert response["Content-Type"] == "text/csv; charset=utf-8"
        return list(csv.DictReader(io.StringIO(response.content.decode())))

    def test_report_has_the_lines_of_json(self, ada: User, auditor: User):
        save_log(user=ada, cost=Decimal("1.25"))
        save_log(user=None, cost=None)
        parameters = MARCH | {"user": "all", "group_by": "user,day"}

        rows = self.rows(get(auditor, REPORT, **parameters, format="csv"))
        by_header = client_of(auditor).get(REPORT, parameters, HTTP_ACCEPT="text/csv")

        assert self.rows(by_header) == rows
        lines = get(auditor, REPORT, **parameters).json()["results"]
        assert rows == [
            {name: "" if value is None else str(value) for name, value in line.items()}
            for line in lines
        ]
        assert list(rows[0])[:4] == ["user", "username", "email", "day"]
        assert [row["cost"] for row in rows] == ["1.25000000", ""]

    def test_page_without_lines_has_its_header(self, ada: User):
        response = get(ada, REPORT, group_by="user,model", format="csv")

        (line,) = response.content.decode().splitlines()
        assert line.startswith("user,username,email,model,calls,failures,prompt_tokens,")

    def test_next_page_is_in_the_header(self, ada: User):
        for days in range(3):
            save_log(user=ada, created_at=NOON - days * DAY)
        found: list[dict[str, str]] = []
        response = client_of(ada).get(REPORT, MARCH | {"limit": 2}, HTTP_ACCEPT="text/csv")
        found += self.rows(response)
        link = response["Link"].partition(">")[0].removeprefix("<")
        response = client_of(ada).get(link, HTTP_ACCEPT="text/csv")
        found += self.rows(response)

        assert "Link" not in response
        assert [row["day"] for row in found] == ["2026-03-12", "2026-03-13", "2026-03-14"]

    def test_texts_are_no_formulas(self, ada: User):
        save_log(
            user=ada,
            model_name="=1+1",
            provider=" @x",
            error_message='=HYPERLINK("http://x")\r\n"',
            metadata={"a": 1},
        )

        (line,) = self.rows(get(ada, REPORT, **MARCH, group_by="model,provider", format="csv"))
        (row,) = self.rows(get(ada, LOGS, format="csv"))

        assert (line["model"], line["provider"]) == ("'=1+1", "' @x")
        assert (row["model_name"], row["metadata"]) == ("'=1+1", '{"a": 1}')
        assert row["error_message"] == '\'=HYPERLINK("http://x")\r\n"'

    def test_calls_have_the_fields_of_json(self, ada: User):
        save_log(user=ada)

        (row,) = self.rows(get(ada, LOGS, format="csv"))

        assert list(row) == list(get(ada, LOGS).json()["results"][0])
        assert row["success"] == "True"

    @pytest.mark.parametrize("path", [REPORT, LOGS])
    def test_errors_stay_readable(self, ada: User, path: str):
        wrong = client_of(ada).get(path, {"start": "x"}, HTTP_ACCEPT="text/csv")
        refused = client_of(None).get(path, HTTP_ACCEPT="text/csv")

        for response, status, name in ((wrong, 400, "start"), (refused, 401, "detail")):
            assert response.status_code == status
            assert response["Content-Type"] == "application/json"
            assert list(response.json()) == [name]

    @pytest.mark.parametrize("path", [REPORT, LOGS])
    def test_options_are_json(self, ada: User, path: str):
        for response in (
            client_of(ada).options(path, HTTP_ACCEPT="text/csv"),
            client_of(ada).options(f"{path}?format=csv"),
        ):
            assert (response.status_code, response["Content-Type"]) == (200, "application/json")

    def test_other_formats_are_refused(self, ada: User):
        assert client_of(ada).get(REPORT, HTTP_ACCEPT="application/pdf").status_code == 406
        assert get(ada, REPORT, format="xlsx").status_code == 404
