"""Users see only their own calls, whatever the site's defaults are."""

from __future__ import annotations

from itertools import product
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, Group, Permission, User
from freezegun import freeze_time
from rest_framework.authtoken.models import Token
from rest_framework.test import APIClient

from tests.api.conftest import (
    API,
    CLOSED,
    GLOBAL,
    GLOBAL_LOG_STATS,
    LOG_STATS,
    LOGS,
    OWN,
    REPORT,
    client_of,
    get,
    post,
)
from tests.support.builders import NOON, make_user, save_log
from usage_tracking.models import AIUsageLog

pytestmark = pytest.mark.django_db

ALL = (*OWN, *CLOSED, API)


@pytest.fixture
def secret(bob: User) -> AIUsageLog:
    """A call of another user, with values that are easy to find in a response."""
    return save_log(
        user=bob,
        section="bobs_section",
        model_name="bobs-model",
        error_message="bobs error",
        metadata={"bobs": "metadata"},
        prompt_tokens=777_000,
        success=False,
    )


def at_noon(user: Any, path: str, **parameters: Any) -> Any:
    with freeze_time(NOON):
        return get(user, path, **parameters)


class TestOthersRows:
    def test_they_are_nowhere_on_own_pages(
        self, ada: User, secret: AIUsageLog, subtests: pytest.Subtests
    ):
        for path in OWN:
            with subtests.test(path):
                response = at_noon(ada, path)

                assert response.status_code == 200
                text = response.content.decode()
                assert "bob" not in text
                assert "777" not in text
                answer = response.json()
                numbers = {answer.get(name) for name in ("count", "total_requests")} - {None}
                assert answer.get("results", []) == []
                assert numbers in ({0}, set())

    def test_superusers_own_pages_are_their_own_too(
        self, secret: AIUsageLog, subtests: pytest.Subtests
    ):
        root = User.objects.create_superuser("root")

        for path in OWN:
            with subtests.test(path):
                assert "bob" not in at_noon(root, path).content.decode()

    def test_one_of_them_is_not_found(self, ada: User, auditor: User, secret: AIUsageLog):
        for user in (ada, auditor):
            missing = get(user, f"{LOGS}{AIUsageLog(user=user).pk}/")
            response = get(user, f"{LOGS}{secret.pk}/")
            assert (response.status_code, response.content) == (404, missing.content)

    def test_no_parameter_asks_for_them(
        self, ada: User, secret: AIUsageLog, subtests: pytest.Subtests
    ):
        for name, path in product(["user", "user_id", "user__username", "owner"], OWN):
            with subtests.test(path, name=name):
                # The report has this parameter, for those who may see all calls.
                status = 403 if (path, name) == (REPORT, "user") else 400
                assert get(ada, path, **{name: secret.user_id}).status_code == status

    def test_their_sections_are_not_revealed(
        self, ada: User, secret: AIUsageLog, subtests: pytest.Subtests
    ):
        for path in (LOGS, LOG_STATS, REPORT):
            with subtests.test(path):
                there = get(ada, path, section="bobs_section")
                nowhere = get(ada, path, section="nobodys_section")

                assert (there.status_code, there.content) == (400, nowhere.content)

    def test_unattributed_calls_belong_to_no_user(self, ada: User):
        save_log(user=None)

        assert get(ada, LOGS).json()["count"] == 0

    def test_recorded_call_reveals_no_other_users(self, ada: User, secret: AIUsageLog):
        response = post(ada, section="chat", id=str(secret.pk), user=secret.user_id)

        assert (response.status_code, b"bob" in response.content) == (201, False)
        secret.refresh_from_db()
        assert secret.prompt_tokens == 777_000


class TestAnonymous:
    @pytest.mark.slow
    def test_every_page_is_closed(self, secret: AIUsageLog, subtests: pytest.Subtests):
        for path, (user, status) in product(ALL, ((None, 401), (AnonymousUser(), 403))):
            with subtests.test(path, user=user):
                response = at_noon(user, path)
                assert (response.status_code, list(response.json())) == (status, ["detail"])

    def test_one_row_is_closed(self, secret: AIUsageLog):
        assert get(None, f"{LOGS}{secret.pk}/").status_code == 401

    def test_nothing_is_recorded(self, db: None):
        assert post(None, section="chat").status_code == 401
        assert not AIUsageLog.objects.exists()

    def test_options_are_closed(self, db: None):
        found = {path: client_of(None).options(path).status_code for path in ALL}

        assert found == dict.fromkeys(ALL, 401)

    def test_open_site_does_not_open_them(self, db: None, settings):
        settings.REST_FRAMEWORK = {
            "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.AllowAny"],
            "UNAUTHENTICATED_USER": None,
        }

        found = {path: get(None, path).status_code for path in ALL}
        assert {path: code for path, code in found.items() if code not in (401, 403)} == {}

    def test_invalid_token_is_rejected(self, ada: User, bob: User):
        old = Token.objects.create(user=bob).key
        bob.delete()
        own = Token.objects.create(user=ada).key
        tokens = ("", "Bearer", "Bearer x", f"Basic {own}", f"Bearer {old}", f"Token {old}")

        found = {
            token: APIClient(HTTP_AUTHORIZATION=token).get(LOGS).status_code for token in tokens
        }

        assert found == dict.fromkeys(tokens, 401)

    @pytest.mark.parametrize("keyword", ["Bearer", "Token"])
    def test_valid_token_is_accepted(self, ada: User, keyword: str):
        client = APIClient(HTTP_AUTHORIZATION=f"{keyword} {Token.objects.create(user=ada).key}")

        assert client.get(LOGS).status_code == 200

    def test_token_of_an_inactive_user_is_rejected(self, ada: User):
        client = APIClient(HTTP_AUTHORIZATION=f"Bearer {Token.objects.create(user=ada).key}")
        ada.is_active = False
        ada.save()

        assert client.get(LOGS).status_code == 401

    def test_session_needs_its_csrf_token_to_record(self, ada: User):
        client = APIClient(enforce_csrf_checks=True)
        client.force_login(ada)

        assert client.get(LOGS).status_code == 200
        assert client.post(LOGS, {"section": "chat"}, format="json").status_code == 403
        assert not AIUsageLog.objects.exists()


class TestGlobalPages:
    @pytest.mark.parametrize("is_staff", [False, True])
    def test_users_without_the_permission_get_nothing(
        self, secret: AIUsageLog, is_staff: bool, subtests: pytest.Subtests
    ):
        user = make_user("curious", is_staff=is_staff)
        user.user_permissions.set(Permission.objects.exclude(codename="view_aiusagelog"))

        for path in CLOSED:
            with subtests.test(path):
                response = at_noon(user, path)

                assert (response.status_code, list(response.json())) == (403, ["detail"])

    def test_permission_of_a_group_counts(
        self, ada: User, secret: AIUsageLog, subtests: pytest.Subtests
    ):
        group = Group.objects.create(name="auditors")
        group.permissions.add(Permission.objects.get(codename="view_aiusagelog"))
        ada.groups.add(group)

        for path in GLOBAL:
            with subtests.test(path):
                response = at_noon(ada, path)

                assert response.status_code == 200
                assert response.json()["top_users"][0]["user__username"] == "bob"

    def test_latest_calls_of_all_are_shown_to_the_auditor(self, auditor: User, secret: AIUsageLog):
        (row,) = at_noon(auditor, GLOBAL_LOG_STATS).json()["recent_logs"]

        assert (row["user_username"], row["user_email"]) == ("bob", "bob@example.com")


class TestWhoAsks:
    """A site's authentication may set `request.user` to something other than a user."""

    def test_other_account_with_the_key_of_a_user_owns_nothing(self, bob: User, secret: AIUsageLog):
        account = Group(pk=bob.pk, name="an account of another table")
        account.is_authenticated = True

        for path in ALL:
            assert at_noon(account, path).status_code == 403
        assert post(account, section="chat").status_code == 403

    def test_key_without_a_name_owns_nothing(self, bob: User, secret: AIUsageLog):
        key = SimpleNamespace(pk=bob.pk, is_authenticated=True)

        assert at_noon(key, LOGS).status_code == 403

    def test_stateless_token_stands_for_its_user(self, ada: User, secret: AIUsageLog):
        log = save_log(user=ada)
        token: Any = SimpleNamespace(
            pk=str(ada.pk), is_authenticated=True, get_username=lambda: "ada"
        )

        (row,) = get(token, LOGS).json()["results"]
        assert row["id"] == str(log.pk)
        assert post(token, section="chat").json()["user"] == ada.pk
        assert at_noon(token, GLOBAL_LOG_STATS).status_code == 403

    @pytest.mark.slow
    def test_stateless_token_of_an_unknown_user_owns_nothing(
        self, secret: AIUsageLog, subtests: pytest.Subtests
    ):
        for pk in ("0", "none of ours", "-1", "9" * 30):
            with subtests.test(pk):
                token: Any = SimpleNamespace(
                    pk=pk, is_authenticated=True, get_username=lambda: "ada"
                )

                assert {at_noon(token, path).status_code for path in OWN} == {403}


class TestCaches:
    def test_no_cache_keeps_an_answer(self, auditor: User, subtests: pytest.Subtests):
        for path in ALL:
            with subtests.test(path):
                # A billing client's own cache may keep a report, and ask whether it has changed.
                kept = "no-cache" if path == REPORT else "no-store"
                assert {"private", kept} <= {
                    part.strip() for part in get(auditor, path)["Cache-Control"].split(",")
                }

    def test_site_cache_gives_no_user_the_rows_of_another(
        self, ada: User, bob: User, secret: AIUsageLog, settings
    ):
        settings.MIDDLEWARE = [
            "django.middleware.cache.UpdateCacheMiddleware",
            *settings.MIDDLEWARE,
            "django.middleware.cache.FetchFromCacheMiddleware",
        ]
        clients = [
            APIClient(HTTP_AUTHORIZATION=f"Bearer {Token.objects.create(user=user).key}")
            for user in (bob, ada)
        ]

        assert [client.get(LOGS).json()["count"] for client in clients] == [1, 0]
        days = {"start": "2026-03-01", "end": "2026-03-31"}
        reports = [client.get(REPORT, days).json()["results"] for client in clients]
        assert [len(lines) for lines in reports] == [1, 0]
