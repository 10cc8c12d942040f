"""Trusted workers record calls of all users, one or many, each once."""

from __future__ import annotations

import datetime as dt
import re
import threading
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection, connections
from django.db.models import CharField
from freezegun import freeze_time
from rest_framework.serializers import ValidationError

from tests.api.conftest import LOGS, client_of, get
from tests.support.builders import NOON, make_user
from usage_tracking import daily
from usage_tracking.api.fields import user_key
from usage_tracking.models import AIUsageLog, AIUsageTracking

pytestmark = pytest.mark.django_db

CALL: dict[str, Any] = {
    "section": "chat",
    "provider": "openai",
    "model": "gpt-4o",
    "prompt_tokens": 150,
    "completion_tokens": 80,
    "cached_tokens": 50,
    "reasoning_tokens": 30,
    "cost": "0.1234567891",
    "created_at": "2026-03-13T23:30:00+02:00",
    "response_time_ms": 900,
    "metadata": {"order": 7},
}
#: Changes to a valid call, and the field that they make invalid.
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"user": 0}, "user"),
    ({"user": "x"}, "user"),
    ({"user": True}, "user"),
    ({"user": [1]}, "user"),
    ({"user": 10**30}, "user"),
    ({"user": "1_0"}, "user"),
    ({"provider": "x" * 51}, "provider"),
    ({"provider": None}, "provider"),
    ({"model_name": "gpt-4"}, "model"),
    ({"cost": "-0.01"}, "cost"),
    ({"cost": -1}, "cost"),
    ({"cost": "1000000"}, "cost"),
    ({"cost": 1e300}, "cost"),
    ({"cost": "0.12345678901"}, "cost"),
    ({"cost": "1e3"}, "cost"),
    ({"cost": "NaN"}, "cost"),
    ({"cost": "free"}, "cost"),
    ({"cost": ""}, "cost"),
    ({"cost": " "}, "cost"),
    ({"cost": True}, "cost"),
    ({"cost": {}}, "cost"),
    ({"created_at": "2026-03-13"}, "created_at"),
    ({"created_at": "2026-03-13T23:30:00"}, "created_at"),
    ({"created_at": "1999-12-31T23:59:59Z"}, "created_at"),
    ({"created_at": "2026-03-14T12:05:01Z"}, "created_at"),
    ({"created_at": "9998-01-01T00:00:00Z"}, "created_at"),
    ({"created_at": 1773489600}, "created_at"),
    ({"created_at": None}, "created_at"),
    ({"cached_tokens": 151}, "cached_tokens"),
    ({"reasoning_tokens": 81}, "reasoning_tokens"),
    ({"cache_write_tokens": -1}, "cache_write_tokens"),
    ({"prompt_tokens": "150"}, "prompt_tokens"),
    ({"section": "nowhere"}, "section"),
    ({"idempotency_key": ""}, "idempotency_key"),
    ({"idempotency_key": "x" * 256}, "idempotency_key"),
    ({"idempotency_key": 7}, "idempotency_key"),
    ({"idempotency_key": "a\x00"}, "idempotency_key"),
]


def send(by: Any, body: Any, **headers: Any) -> Any:
    with freeze_time(NOON):
        return client_of(by).post(LOGS, body, format="json", **headers)


class TestOne:
    @pytest.mark.parametrize("atomic_requests", [False, True])
    @pytest.mark.django_db(transaction=True)
    def test_row_has_what_was_sent(self, worker: User, ada: User, atomic_requests: bool):
        connection.settings_dict["ATOMIC_REQUESTS"] = atomic_requests
        try:
            response = send(worker, CALL | {"user": ada.pk, "idempotency_key": "a"})
        finally:
            connection.settings_dict["ATOMIC_REQUESTS"] = False

        assert response.status_code == 201, response.content
        log = AIUsageLog.objects.get()
        row = response.json()
        assert row == row | {
            "id": str(log.pk),
            "user": ada.pk,
            "user_username": "ada",
            "provider": "openai",
            "model_name": "gpt-4o",
            "cached_tokens": 50,
            "reasoning_tokens": 30,
            "cost": "0.1234567891",
            "created_at": "2026-03-13T21:30:00Z",
            "day": "2026-03-13",
            "usage_source": "manual",
            "metadata": {"order": 7, "cost_source": "provider"},
        }
        assert log.user == ada
        day = AIUsageTracking.objects.get()
        assert (day.user, day.date, day.total_requests) == (ada, dt.date(2026, 3, 13), 1)
        assert daily.drift() == {}
        assert get(ada, f"{LOGS}{log.pk}/").json() == row

    def test_what_is_left_out_has_its_default(self, worker: User):
        row = send(worker, {"section": "chat", "idempotency_key": "a"}).json()

        assert row == row | {
            "user": worker.pk,
            "provider": "",
            "model_name": "",
            "prompt_tokens": None,
            "total_tokens": None,
            "cost": None,
            "created_at": "2026-03-14T12:00:00Z",
            "usage_source": "unknown",
        }

    def test_cost_is_computed_if_it_is_left_out(self, worker: User):
        call = {"section": "chat", "provider": "openai", "model": "gpt-4o", "prompt_tokens": 10}

        row = send(worker, call).json()

        assert Decimal(row["cost"]) > 0
        assert row["metadata"]["cost_source"].startswith("genai-prices")

    def test_numbers_are_costs_too(self, worker: User):
        for cost, stored in ((0, "0.0000000000"), (0.25, "0.2500000000"), (3, "3.0000000000")):
            assert send(worker, CALL | {"cost": cost}).json()["cost"] == stored

    def test_call_may_have_no_user(self, worker: User):
        assert send(worker, CALL | {"user": None}).json()["user"] is None

    @pytest.mark.parametrize(("changes", "wrong"), WRONG)
    def test_wrong_field_is_named(self, worker: User, changes: dict[str, Any], wrong: str):
        response = send(worker, CALL | changes)

        assert (response.status_code, list(response.json())) == (400, [wrong]), response.content
        assert not AIUsageLog.objects.exists()
        assert not AIUsageTracking.objects.exists()

    @pytest.mark.parametrize("moment", ["2026-03-13", "2026-03-13T12:00:00", "13.3.2026", 7])
    def test_hint_about_the_time_can_be_pasted(self, worker: User, moment: Any):
        (hint,) = send(worker, CALL | {"created_at": moment}).json()["created_at"]

        (pasted,) = re.findall(r"such as (\S+)\.", hint)
        assert "a day" not in hint
        with freeze_time("2026-12-01"):
            call = CALL | {"created_at": pasted}
            assert client_of(worker).post(LOGS, call, format="json").status_code == 201

    @pytest.mark.parametrize("key", ["a\x00", "\ud800", "x" * 21])
    def test_key_that_no_database_stores_is_wrong(self, key: str, monkeypatch: pytest.MonkeyPatch):
        """On sites whose users have texts as keys."""
        monkeypatch.setattr(User._meta, "pk", CharField(max_length=20))

        assert user_key("ada") == "ada"
        with pytest.raises(ValidationError):
            user_key(key)

    def test_clock_may_be_a_little_ahead(self, worker: User):
        call = CALL | {"created_at": "2026-03-14T12:04:59Z"}

        assert send(worker, call).status_code == 201

    def test_secrets_are_redacted(self, worker: User):
        key = "sk-proj-" + "a1B2" * 12
        call = CALL | {"error_message": f"bad key {key}", "metadata": {"api_key": key}}

        for _ in range(2):  # the second is a repetition of the first
            response = send(worker, call | {"idempotency_key": "a"})
            assert key not in response.content.decode()
        assert response.status_code == 200

    def test_disabled_tracking_is_reported(self, worker: User, settings):
        settings.AI_USAGE_ENABLED = False

        assert send(worker, CALL).status_code == 503
        assert send(worker, [CALL]).status_code == 503


class TestPermission:
    """Without it, a request with a key or a list is refused, and not recorded as one's own."""

    @pytest.mark.parametrize(
        "body",
        [
            CALL | {"idempotency_key": "a"},
            [CALL],
            {"calls": [CALL]},
            {"calls": []},
        ],
    )
    def test_others_are_refused(self, ada: User, auditor: User, body: Any):
        for user in (ada, auditor):
            response = send(user, body)

            assert response.status_code == 403
            assert "usage_tracking.add_aiusagelog" in response.json()["detail"]
        assert not AIUsageLog.objects.exists()

    def test_header_is_refused_too(self, ada: User):
        assert send(ada, {"section": "chat"}, HTTP_IDEMPOTENCY_KEY="a").status_code == 403

    def test_permission_to_record_shows_no_calls(self, worker: User, ada: User):
        send(worker, CALL | {"user": ada.pk})

        assert get(worker, LOGS).json()["count"] == 0
        assert get(worker, LOGS, user=ada.pk).status_code == 400


class TestIdempotency:
    def test_same_key_writes_no_second_row(self, worker: User, ada: User):
        call = CALL | {"user": ada.pk, "idempotency_key": "a"}

        first, second = send(worker, call), send(worker, call)

        assert (first.status_code, second.status_code) == (201, 200)
        assert second.json() == first.json()
        assert AIUsageLog.objects.count() == 1
        assert AIUsageTracking.objects.get().total_requests == 1

    def test_header_is_the_same_as_the_field(self, worker: User):
        answers = [
            send(worker, CALL, HTTP_IDEMPOTENCY_KEY='"a"'),
            send(worker, CALL, HTTP_IDEMPOTENCY_KEY="a"),
            send(worker, CALL | {"idempotency_key": "a"}),
            send(worker, CALL | {"idempotency_key": "a"}, HTTP_IDEMPOTENCY_KEY="a"),
        ]

        assert [answer.status_code for answer in answers] == [201, 200, 200, 200]
        assert AIUsageLog.objects.count() == 1

    def test_two_different_keys_are_refused(self, worker: User):
        call = CALL | {"idempotency_key": "b"}

        assert list(send(worker, call, HTTP_IDEMPOTENCY_KEY="a").json()) == ["idempotency_key"]
        assert send(worker, [CALL], HTTP_IDEMPOTENCY_KEY="a").status_code == 400

    @pytest.mark.parametrize(
        "change",
        [
            {"prompt_tokens": 151},
            {"cost": "0.1234567"},
            {"created_at": "2026-03-13T23:30:01+02:00"},
            {"metadata": {"order": 8}},
            {"section": "other"},
            {"provider": "azure"},
            {"success": False},
            {"error_message": "no"},
            {"user": None},
        ],
    )
    def test_same_key_of_another_call_is_refused(self, worker: User, change: dict[str, Any]):
        call = CALL | {"idempotency_key": "a"}
        send(worker, call)

        response = send(worker, call | change)

        assert (response.status_code, list(response.json())) == (422, ["idempotency_key"])
        assert next(iter(change)) in str(response.json())
        assert AIUsageLog.objects.count() == 1

    def test_time_that_is_left_out_is_not_compared(self, worker: User):
        call = {"section": "chat", "idempotency_key": "a"}
        first = send(worker, call).json()
        with freeze_time(NOON + dt.timedelta(days=1)):
            second = client_of(worker).post(LOGS, call, format="json")

        assert (second.status_code, second.json()) == (200, first)

    @pytest.mark.parametrize("value", [1e30, -1.5e300, 0.1, 1e-7, 2**70, "\x00", [{}, None]])
    def test_retry_is_known_whatever_the_metadata_has(self, worker: User, value: Any):
        call = CALL | {"metadata": {"value": value}, "idempotency_key": "a"}

        assert [send(worker, call).status_code for _ in range(2)] == [201, 200]

    def test_large_numbers_of_metadata_are_compared_exactly(self, worker: User):
        calls = [
            CALL | {"metadata": {"order": 2**60 + n}, "idempotency_key": "a"} for n in range(2)
        ]

        assert [send(worker, call).status_code for call in calls] == [201, 422]

    def test_keys_that_differ_in_spaces_are_different(self, worker: User):
        calls = [CALL | {"idempotency_key": key} for key in ("a", "a ", " a", " ")]

        assert send(worker, calls).json()["created"] == 4

    def test_retry_after_the_user_was_deleted_is_known(self, worker: User, ada: User):
        call = CALL | {"user": ada.pk, "idempotency_key": "a"}
        send(worker, call)
        AIUsageLog.objects.update(user=None)

        assert send(worker, call).status_code == 200

    def test_keys_are_those_of_the_client(self, worker: User):
        other = make_user("other")
        other.user_permissions.set(worker.user_permissions.all())

        answers = [
            send(by, CALL | {"idempotency_key": "a", "user": None}) for by in (worker, other)
        ]

        assert [answer.status_code for answer in answers] == [201, 201]
        assert AIUsageLog.objects.count() == 2

    @pytest.mark.django_db(transaction=True)
    def test_concurrent_requests_write_one_row(self, ada: User):
        worker = make_user("worker")
        worker.user_permissions.add(Permission.objects.get(codename="add_aiusagelog"))
        worker = User.objects.get(pk=worker.pk)
        calls = [CALL | {"user": ada.pk, "idempotency_key": f"{n}"} for n in range(20)]
        start = threading.Barrier(4)
        statuses: list[tuple[int, int]] = []

        def run(some: list[Any]) -> None:
            start.wait()
            try:
                answer = client_of(worker).post(LOGS, some, format="json")
                statuses.append((answer.status_code, answer.json()["created"]))
            finally:
                connections.close_all()

        threads = [
            threading.Thread(target=run, args=[calls if n % 2 else calls[::-1]]) for n in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert sorted(statuses) == [(200, 0), (200, 0), (200, 0), (201, 20)]
        assert AIUsageLog.objects.count() == 20
        assert AIUsageTracking.objects.get().total_requests == 20


class TestMany:
    @pytest.mark.parametrize("wrap", [lambda calls: calls, lambda calls: {"calls": calls}])
    def test_rows_come_back_in_their_order(self, worker: User, ada: User, bob: User, wrap: Any):
        calls = [
            CALL | {"user": user, "prompt_tokens": 100 + number, "idempotency_key": f"{number}"}
            for number, user in enumerate((ada.pk, bob.pk, None, ada.pk))
        ]

        first, second = send(worker, wrap(calls[:3])), send(worker, wrap(calls))

        assert (first.status_code, second.status_code) == (201, 201)
        answer = second.json()
        assert (answer["created"], answer["repeated"]) == (1, 3)
        rows = answer["results"]
        assert [row["prompt_tokens"] for row in rows] == [100, 101, 102, 103]
        assert [row["user_username"] for row in rows] == ["ada", "bob", None, "ada"]
        assert AIUsageLog.objects.count() == 4
        assert daily.drift() == {}
        assert send(worker, wrap(calls)).status_code == 200

    def test_one_wrong_call_stops_all(self, worker: User, ada: User):
        calls = [CALL, CALL | {"cost": "x"}, CALL, 7, CALL | {"prompt_tokens": -1}]

        response = send(worker, calls)

        assert response.status_code == 400
        assert {index: list(error) for index, error in response.json()["calls"].items()} == {
            "1": ["cost"],
            "3": ["non_field_errors"],
            "4": ["prompt_tokens"],
        }
        assert not AIUsageLog.objects.exists()

    def test_unknown_users_are_named_by_index(self, worker: User, ada: User):
        calls = [CALL | {"user": key} for key in (ada.pk, 987654321, None)]

        response = send(worker, calls)

        assert (response.status_code, list(response.json()["calls"])) == (400, ["1"])
        assert not AIUsageLog.objects.exists()

    def test_reused_key_stops_all(self, worker: User):
        send(worker, CALL | {"idempotency_key": "a"})
        calls = [CALL, CALL | {"idempotency_key": "a", "section": "other"}]

        response = send(worker, calls)

        assert (response.status_code, list(response.json()["calls"])) == (422, ["1"])
        assert AIUsageLog.objects.count() == 1

    def test_key_that_occurs_twice_is_refused(self, worker: User):
        response = send(worker, [CALL | {"idempotency_key": "a"}] * 2)

        assert (response.status_code, list(response.json()["calls"])) == (400, ["1"])

    def test_a_thousand_are_the_most(self, worker: User):
        wrong: list[Any] = [[], "x", None, {}, [{}] * 1001]
        for calls in wrong:
            response = send(worker, {"calls": calls})
            assert (response.status_code, list(response.json())) == (400, ["calls"])

    def test_a_thousand_take_few_statements(self, worker: User, django_assert_max_num_queries):
        users = [make_user(f"user{number}") for number in range(20)]
        calls = [
            {"section": "chat", "user": users[n % 20].pk, "idempotency_key": f"{n}"}
            for n in range(1000)
        ]

        with django_assert_max_num_queries(16):
            response = send(worker, calls)

        assert response.json()["created"] == 1000
        assert AIUsageLog.objects.count() == 1000
