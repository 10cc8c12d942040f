"""The log over HTTP: list the user's own calls, and record calls."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import override_settings
from freezegun import freeze_time

from tests.api.conftest import LOGS, client_of, get, post
from tests.support.builders import NOON, make_log, save_log
from usage_tracking import daily
from usage_tracking.models import AIUsageLog, AIUsageTracking
from usage_tracking.pricing import data

pytestmark = pytest.mark.django_db

DAY = dt.timedelta(days=1)
FIELDS = {
    "id",
    "user",
    "user_username",
    "user_email",
    "section",
    "section_display",
    "provider",
    "model_name",
    "operation",
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "cached_tokens",
    "reasoning_tokens",
    "usage_details",
    "usage_source",
    "cost",
    "response_time_ms",
    "success",
    "error_message",
    "metadata",
    "day",
    "created_at",
}

FILTERS: list[tuple[dict[str, str], set[str]]] = [
    ({"section": "chat"}, {"old", "failed"}),
    ({"section": "elsewhere"}, {"new"}),
    ({"model": "gpt-4o"}, {"old", "failed"}),
    ({"model": "gpt-4"}, set()),
    ({"success": "true"}, {"old", "new"}),
    ({"success": "False"}, {"failed"}),
    ({"start_date": "2026-03-14"}, {"failed", "new"}),
    ({"end_date": "2026-03-14"}, {"old", "failed"}),
    ({"start_date": "2026-03-14", "end_date": "2026-03-14"}, {"failed"}),
    ({"start_date": "2026-03-15", "end_date": "2026-03-13"}, set()),
    ({"start_date": "0001-01-01", "end_date": "9999-12-31"}, {"old", "failed", "new"}),
    ({"section": "chat", "success": "true", "model": "gpt-4o"}, {"old"}),
]
#: Parameters, and the name of the invalid one.
WRONG_PARAMETERS: list[tuple[dict[str, Any], str]] = [
    ({"sections": "chat"}, "sections"),
    ({"section": "chatbot"}, "section"),
    ({"section": "x" * 51}, "section"),
    ({"section": ""}, "section"),
    ({"section": "chat\x00"}, "section"),
    ({"section": ["chat", "other"]}, "section"),
    ({"model": "\x00"}, "model"),
    ({"model": "x" * 101}, "model"),
    ({"success": "maybe"}, "success"),
    ({"success": "1"}, "success"),
    ({"start_date": "yesterday"}, "start_date"),
    ({"start_date": "2026-02-30"}, "start_date"),
    ({"end_date": "2026-03-14T12:00:00Z"}, "end_date"),
    ({"end_date": "10000-01-01"}, "end_date"),
    ({"end_date": "2026-03-14\x00"}, "end_date"),
    ({"limit": "0"}, "limit"),
    ({"limit": "501"}, "limit"),
    ({"limit": "-1"}, "limit"),
    ({"limit": "ten"}, "limit"),
    ({"limit": "1_0"}, "limit"),
    ({"limit": "٣"}, "limit"),
    ({"limit": "9" * 5000}, "limit"),
    ({"offset": "-1"}, "offset"),
    ({"offset": "9" * 30}, "offset"),
    ({"offset": "1.5"}, "offset"),
    ({"user": "1"}, "user"),
    ({"user_id__gt": "0"}, "user_id__gt"),
]
#: Changes to a valid body, and the field that they make invalid.
WRONG_FIELDS: list[tuple[dict[str, Any], str]] = [
    ({"section": None}, "section"),
    ({"section": ""}, "section"),
    ({"section": "chatbot"}, "section"),
    ({"section": ["chat"]}, "section"),
    ({"section": "\ud800"}, "section"),
    ({"section": "x" * 10000}, "section"),
    ({"prompt_tokens": -1}, "prompt_tokens"),
    ({"prompt_tokens": "150"}, "prompt_tokens"),
    ({"prompt_tokens": 1.5}, "prompt_tokens"),
    ({"prompt_tokens": True}, "prompt_tokens"),
    ({"prompt_tokens": None}, "prompt_tokens"),
    ({"prompt_tokens": 10**12 + 1}, "prompt_tokens"),
    ({"completion_tokens": 10**400}, "completion_tokens"),
    ({"completion_tokens": 1e300}, "completion_tokens"),
    ({"response_time_ms": 2**63}, "response_time_ms"),
    ({"success": "yes"}, "success"),
    ({"success": 1}, "success"),
    ({"success": None}, "success"),
    ({"model_name": "x" * 101}, "model_name"),
    ({"model_name": "a\x00b"}, "model_name"),
    ({"model_name": "\ud800"}, "model_name"),
    ({"model_name": 7}, "model_name"),
    ({"error_message": "a\x00b"}, "error_message"),
    ({"error_message": {"message": "no"}}, "error_message"),
    ({"metadata": "text"}, "metadata"),
    ({"metadata": [1]}, "metadata"),
]


def ids(response) -> list[str]:
    assert response.status_code == 200, response.data
    return [row["id"] for row in response.json()["results"]]


class TestList:
    def test_row_has_all_fields(self, ada: User):
        log = save_log(user=ada, cost=Decimal("0.00123"), metadata={"order": 7}, provider="openai")

        answer = get(ada, LOGS).json()

        assert {name: answer[name] for name in ("count", "next", "previous")} == {
            "count": 1,
            "next": None,
            "previous": None,
        }
        (row,) = answer["results"]
        assert set(row) == FIELDS
        assert row == row | {
            "id": str(log.pk),
            "user": ada.pk,
            "user_username": "ada",
            "user_email": "ada@example.com",
            "section": "chat",
            "section_display": "Customer Chat",
            "prompt_tokens": 150,
            "completion_tokens": 80,
            "total_tokens": 230,
            "cost": "0.0012300000",
            "response_time_ms": 900,
            "success": True,
            "model_name": "gpt-4o",
            "error_message": None,
            "metadata": {"order": 7},
            "day": "2026-03-14",
            "created_at": "2026-03-14T12:00:00Z",
        }

    def test_unknown_values_are_null(self, ada: User):
        save_log(user=ada, prompt_tokens=None, completion_tokens=None, cost=None)

        (row,) = get(ada, LOGS).json()["results"]

        assert {row[name] for name in ("prompt_tokens", "total_tokens", "cost")} == {None}

    def test_newest_come_first(self, ada: User):
        logs = [save_log(user=ada, created_at=NOON + n * DAY) for n in (1, 3, 2)]

        assert ids(get(ada, LOGS)) == [str(logs[n].pk) for n in (1, 2, 0)]

    def test_filters_narrow(self, ada: User, subtests: pytest.Subtests):
        names = {
            str(save_log(user=ada, created_at=NOON - DAY).pk): "old",
            str(save_log(user=ada, success=False).pk): "failed",
            str(
                save_log(
                    user=ada, section="elsewhere", model_name="gpt-4o-mini", created_at=NOON + DAY
                ).pk
            ): "new",
        }

        for parameters, wanted in FILTERS:
            with subtests.test(str(parameters)):
                assert {names[pk] for pk in ids(get(ada, LOGS, **parameters))} == wanted

    @override_settings(AI_USAGE_DAY_TIMEZONE="America/New_York")
    def test_days_are_those_of_the_setting(self, ada: User):
        # In New York the 13th lasts until 04:00 UTC of the 14th.
        late = save_log(user=ada, created_at=dt.datetime(2026, 3, 14, 3, 59, tzinfo=dt.UTC))
        save_log(user=ada, created_at=dt.datetime(2026, 3, 14, 4, 0, tzinfo=dt.UTC))

        assert ids(get(ada, LOGS, end_date="2026-03-13")) == [str(late.pk)]

    def test_wrong_parameter_is_named(self, ada: User, subtests: pytest.Subtests):
        for parameters, wrong in WRONG_PARAMETERS:
            with subtests.test(f"{parameters}"[:100]):
                response = get(ada, LOGS, **parameters)

                assert (response.status_code, list(response.json())) == (400, [wrong])

    def test_all_unknown_parameters_are_named_at_once(self, ada: User):
        assert set(get(ada, LOGS, day="1", limits="3").json()) == {"day", "limits"}

    def test_section_of_another_users_calls_is_as_unknown_as_any(self, ada: User, bob: User):
        save_log(user=bob, section="secret")

        assert get(ada, LOGS, section="secret").json() == get(ada, LOGS, section="secre").json()

    def test_fifty_come_at_a_time(self, ada: User):
        AIUsageLog.objects.bulk_create(make_log(user=ada) for _ in range(51))

        assert len(ids(get(ada, LOGS))) == 50
        assert len(ids(get(ada, LOGS, limit=500))) == 51

    def test_next_and_previous_keep_every_filter(self, ada: User):
        for number in range(5):
            save_log(user=ada, created_at=NOON + number * DAY, model_name="a b&c=d")
        filters = {
            "section": "chat",
            "model": "a b&c=d",
            "success": "true",
            "start_date": "2026-03-01",
            "end_date": "2026-03-31",
        }

        pages = [get(ada, LOGS, limit=2, **filters).json()]
        while link := pages[-1]["next"]:
            parameters = {name: value for name, (value,) in parse_qs(urlsplit(link).query).items()}
            assert parameters == parameters | filters
            pages.append(client_of(ada).get(link).json())

        assert len({row["id"] for page in pages for row in page["results"]}) == 5
        assert [page["count"] for page in pages] == [5, 5, 5]
        back = client_of(ada).get(pages[-1]["previous"]).json()
        assert back["results"] == pages[-2]["results"]

    def test_it_takes_two_statements(self, ada: User, django_assert_num_queries):
        AIUsageLog.objects.bulk_create(make_log(user=ada) for _ in range(20))

        with django_assert_num_queries(2):
            get(ada, LOGS)


class TestNewNames:
    """`start`, `end`, `provider` and `user`, beside the old names."""

    def test_filters_narrow(self, ada: User):
        old = save_log(user=ada, provider="anthropic", created_at=NOON - DAY)
        new = save_log(user=ada)

        assert ids(get(ada, LOGS, start="2026-03-14")) == [str(new.pk)]
        assert ids(get(ada, LOGS, end="2026-03-13")) == [str(old.pk)]
        assert ids(get(ada, LOGS, start="2026-03-13T12:00:01Z")) == [str(new.pk)]
        assert ids(get(ada, LOGS, end="2026-03-14T12:00:00Z")) == [str(old.pk)]
        assert ids(get(ada, LOGS, provider="anthropic")) == [str(old.pk)]

    @pytest.mark.parametrize(
        ("parameters", "wrong"),
        [
            ({"start": "yesterday"}, "start"),
            ({"start": "2026-03-14T12:00:00"}, "start"),
            ({"end": "2026-02-30"}, "end"),
            ({"end": "2026-02-28T25:00Z"}, "end"),
            ({"end": "2026-03-14\x00"}, "end"),
            ({"start": "2026-03-02", "end": "2026-03-01"}, "end"),
            ({"start": "2026-03-02", "end": "2026-03-01T23:59Z"}, "end"),
            ({"start": "2026-03-02T00:00Z", "end": "2026-03-01"}, "end"),
            ({"start": "2026-03-02", "start_date": "2026-03-02"}, "start"),
            ({"end": "2026-03-02", "end_date": "2026-03-01"}, "end"),
            ({"provider": "x" * 51}, "provider"),
            ({"provider": ""}, "provider"),
        ],
    )
    def test_wrong_parameter_is_named(self, ada: User, parameters: dict[str, str], wrong: str):
        response = get(ada, LOGS, **parameters)

        assert (response.status_code, list(response.json())) == (400, [wrong])

    def test_permission_shows_the_calls_of_others(self, ada: User, bob: User, auditor: User):
        logs = {user: str(save_log(user=user).pk) for user in (ada, bob, None)}

        assert ids(get(auditor, LOGS)) == []
        assert ids(get(auditor, LOGS, user=bob.pk)) == [logs[bob]]
        assert set(ids(get(auditor, LOGS, user="all"))) == set(logs.values())
        assert get(auditor, LOGS, user="0").json() == {
            "user": ["Unknown user: give a primary key."]
        }

    def test_parameter_is_unknown_without_the_permission(self, ada: User, bob: User):
        for user in (ada.pk, bob.pk, "all"):
            assert get(ada, LOGS, user=user).json() == {"user": ["Unknown parameter."]}


class TestCursor:
    @pytest.fixture
    def many(self, ada: User) -> list[str]:
        """Calls, newest first; several were made at the same time."""
        logs = [save_log(user=ada, created_at=NOON + (n // 3) * DAY) for n in range(10)]
        return [str(log.pk) for log in sorted(logs, key=lambda x: (x.created_at, x.pk))][::-1]

    def pages(self, by: User, **parameters: Any) -> list[list[str]]:
        response = get(by, LOGS, cursor="*", **parameters)
        found = [ids(response)]
        while link := response.json()["next"]:
            response = client_of(by).get(link)
            found.append(ids(response))
        return found

    def test_pages_together_are_the_whole(self, ada: User, many: list[str]):
        for limit in (1, 2, 3, 10, 11):
            found = self.pages(ada, limit=limit)

            assert [pk for page in found for pk in page] == many
            assert {len(page) for page in found[:-1]} <= {limit}

    def test_page_has_no_count(self, ada: User, many: list[str], django_assert_num_queries):
        with django_assert_num_queries(1):
            answer = get(ada, LOGS, cursor="*", limit=2).json()

        assert list(answer) == ["next", "results"]

    def test_new_calls_repeat_none(self, ada: User, many: list[str]):
        first = get(ada, LOGS, cursor="*", limit=5).json()
        for number in range(4):
            save_log(user=ada, created_at=NOON + number * DAY)

        second = ids(client_of(ada).get(first["next"]))

        seen = [row["id"] for row in first["results"]] + second
        assert len(set(seen)) == len(seen) == 10

    def test_filters_are_kept(self, ada: User, many: list[str]):
        save_log(user=ada, section="other")
        first = get(ada, LOGS, cursor="*", limit=6, section="chat").json()
        (cursor,) = parse_qs(urlsplit(first["next"]).query)["cursor"]

        assert len(ids(get(ada, LOGS, cursor=cursor, limit=6))) == 4
        response = get(ada, LOGS, cursor=cursor, section="other")
        assert (response.status_code, list(response.json())) == (400, ["section"])

    @pytest.mark.parametrize("cursor", ["x", "a:b", "**", "\x00", "x" * 3000])
    def test_hostile_cursors_are_refused(self, ada: User, cursor: str):
        response = get(ada, LOGS, cursor=cursor)

        assert (response.status_code, list(response.json())) == (400, ["cursor"])

    def test_offset_is_refused_beside_it(self, ada: User):
        assert list(get(ada, LOGS, cursor="*", offset=1).json()) == ["cursor"]
        assert list(get(ada, LOGS, cursor="*", offset="x").json()) == ["offset"]
        assert get(ada, LOGS, cursor="*", offset=0).status_code == 200

    def test_cursor_of_all_calls_needs_the_permission_again(self, auditor: User, many: list[str]):
        link = get(auditor, LOGS, cursor="*", user="all", limit=1).json()["next"]
        assert len(ids(client_of(auditor).get(link))) == 1
        (cursor,) = parse_qs(urlsplit(link).query)["cursor"]
        auditor.user_permissions.clear()
        auditor = User.objects.get(pk=auditor.pk)

        assert get(auditor, LOGS, cursor=cursor).status_code == 403

    def test_csv_links_the_next_page(self, ada: User, many: list[str]):
        response = get(ada, LOGS, cursor="*", limit=7, format="csv")
        link = response["Link"].partition(">")[0].removeprefix("<")

        assert len(response.content.splitlines()) == 8
        assert len(client_of(ada).get(link).content.splitlines()) == 4


class TestOne:
    def test_own_row_is_shown(self, ada: User):
        log = save_log(user=ada)

        response = get(ada, f"{LOGS}{log.pk}/")

        assert (response.status_code, set(response.json())) == (200, FIELDS)
        assert response.json()["id"] == str(log.pk)

    def test_missing_row_is_not_found(self, ada: User, subtests: pytest.Subtests):
        nobodys = "00000000-0000-7000-8000-000000000007"
        for pk in (nobodys, "7", "x" * 300, "%00", "%F0%9F%92%A9"):
            with subtests.test(pk):
                response = get(ada, f"{LOGS}{pk}/")

                assert (response.status_code, list(response.json())) == (404, ["detail"])

    def test_parameters_are_refused(self, ada: User):
        assert get(ada, f"{LOGS}{save_log(user=ada).pk}/", limit=1).status_code == 400


class TestRecord:
    @pytest.mark.parametrize("atomic_requests", [False, True])
    @pytest.mark.django_db(transaction=True)
    def test_row_and_daily_row_are_there(self, ada: User, settings, atomic_requests: bool):
        connection.settings_dict["ATOMIC_REQUESTS"] = atomic_requests
        try:
            with freeze_time(NOON):
                response = post(
                    ada,
                    section="rag_pipeline",
                    prompt_tokens=150,
                    completion_tokens=80,
                    response_time_ms=1200,
                    success=False,
                    model_name="gpt-4o",
                    error_message="timed out",
                    metadata={"order": 7},
                )
        finally:
            connection.settings_dict["ATOMIC_REQUESTS"] = False

        assert response.status_code == 201
        assert set(response.json()) == FIELDS
        log = AIUsageLog.objects.get()
        assert response.json() == get(ada, f"{LOGS}{log.pk}/").json()
        assert (log.user, log.section, log.total_tokens, log.response_time_ms) == (
            ada,
            "rag_pipeline",
            230,
            1200,
        )
        assert (log.success, log.error_message, log.usage_source) == (False, "timed out", "manual")
        assert log.metadata == {"order": 7, "cost_source": data.load().version}
        day = AIUsageTracking.objects.get()
        assert (day.user, day.date, day.total_requests, day.total_tokens) == (
            ada,
            NOON.date(),
            1,
            230,
        )
        assert day.failed_requests == 1
        assert daily.drift() == {}

    def test_section_is_enough(self, ada: User):
        row = post(ada, section="chat").json()

        assert row == row | {
            "prompt_tokens": 0,
            "completion_tokens": 0,
            "response_time_ms": 0,
            "success": True,
            "model_name": "",
            "error_message": None,
            "metadata": {},
        }

    def test_user_and_id_that_are_sent_are_ignored(self, ada: User, bob: User):
        other = save_log(user=bob)
        row = post(
            ada,
            section="chat",
            user=bob.pk,
            user_id=bob.pk,
            id=str(other.pk),
            created_at="2020-01-01T00:00:00Z",
            cost="-5",
        ).json()

        assert (row["user"], row["user_username"]) == (ada.pk, "ada")
        assert row["id"] != str(other.pk)
        assert not row["created_at"].startswith("2020")
        assert row["cost"] is None
        assert AIUsageLog.objects.filter(user=ada).count() == 1

    def test_wrong_field_is_named_and_nothing_recorded(self, ada: User, subtests: pytest.Subtests):
        for changes, wrong in WRONG_FIELDS:
            with subtests.test(f"{changes}"[:100]):
                response = client_of(ada).post(
                    LOGS, json.dumps({"section": "chat"} | changes), content_type="application/json"
                )

                assert (response.status_code, list(response.json())) == (400, [wrong])
                assert not AIUsageLog.objects.exists()
                assert not AIUsageTracking.objects.exists()

    def test_body_that_is_not_an_object_is_refused(self, ada: User, subtests: pytest.Subtests):
        for body in ("", "{", "[]", "null", '"text"', "[" * 100_000, '{"section": NaN}', "\xff"):
            with subtests.test(body[:20]):
                response = client_of(ada).post(
                    LOGS, body.encode("latin-1"), content_type="application/json"
                )

                assert response.status_code == 400
                assert not AIUsageLog.objects.exists()

    def test_other_content_is_refused(self, ada: User):
        assert client_of(ada).post(LOGS, {"section": "chat"}).status_code == 415

    def test_body_that_is_too_large_is_refused(self, ada: User, settings):
        settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000

        assert post(ada, section="chat", error_message="x" * 1000).status_code == 413
        assert post(ada, section="chat", error_message="x" * 100).status_code == 201

    def test_parameters_are_refused(self, ada: User):
        response = client_of(ada).post(f"{LOGS}?section=chat", {"section": "chat"}, format="json")

        assert (response.status_code, list(response.json())) == (400, ["section"])

    def test_errors_and_metadata_are_redacted_and_cut(self, ada: User):
        key = "sk-proj-" + "a1B2" * 12
        row = post(
            ada,
            section="chat",
            error_message=f"bad key {key} " + "x" * 5000,
            metadata={"api_key": key, "text": "y" * 50_000},
        ).json()

        assert key not in json.dumps(row)
        assert len(row["error_message"]) <= 500
        assert len(json.dumps(row["metadata"])) <= 4200

    def test_numbers_that_json_cannot_express_become_text(self, ada: User):
        response = client_of(ada).post(
            LOGS,
            '{"section": "chat", "metadata": {"inf": 1e999, "big": 1' + "0" * 400 + "}}",
            content_type="application/json",
        )

        assert response.status_code == 201
        assert response.json()["metadata"]["inf"] == "inf"

    def test_disabled_tracking_is_reported(self, ada: User, settings):
        settings.AI_USAGE_ENABLED = False

        assert post(ada, section="chat").status_code == 503
        assert not AIUsageLog.objects.exists()

    def test_rate_is_limited_by_user(self, ada: User, bob: User, settings):
        settings.REST_FRAMEWORK = settings.REST_FRAMEWORK | {
            "DEFAULT_THROTTLE_RATES": {"ai_usage_record": "2/min"}
        }

        assert [post(ada, section="chat").status_code for _ in range(3)] == [201, 201, 429]
        assert post(bob, section="chat").status_code == 201
        assert get(ada, LOGS).status_code == 200

    def test_limit_of_the_rate_can_be_lifted(self, ada: User, settings):
        settings.REST_FRAMEWORK = settings.REST_FRAMEWORK | {
            "DEFAULT_THROTTLE_RATES": {"ai_usage_record": None}
        }

        assert post(ada, section="chat").status_code == 201


@pytest.mark.parametrize(
    ("column", "stored"),
    [
        ("usage_details", '{"input_audio_tokens": 1e400}'),
        ("usage_details", "[]"),
        ("metadata", '{"a": [{"b": -1e400}]}'),
        ("metadata", '"x"'),
    ],
)
def test_json_that_a_site_wrote_itself_is_readable(ada, column, stored):
    """1e400 is infinite in Python, and JSON has no such number."""
    save_log(user=ada)
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE ai_usage_log SET {column} = %s", [stored])

    assert get(ada, LOGS).status_code == 200


@pytest.mark.parametrize("extra", [{"usage_details": {"web_searches": 2}}, {"cost": 5}])
def test_cost_and_further_units_of_a_client_are_ignored(ada, extra):
    assert post(ada, section="chat", prompt_tokens=1, **extra).status_code == 201

    log = AIUsageLog.objects.get()
    assert (log.usage_details, log.cost) == (None, None)
