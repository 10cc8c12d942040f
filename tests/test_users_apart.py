"""Usage tables in a separate database from the users."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import environ
import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.db import OperationalError, connections, models, transaction
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.functional import SimpleLazyObject

from tests.routers import Router, ShortRouter
from tests.support.builders import (
    capture,
    make_event,
    make_log,
    make_superuser,
    make_user,
    rolled_back,
)
from tests.support.commands import run_command
from usage_tracking import outbox, places, related_users, track_ai_usage
from usage_tracking.attribution.resolve import attribution
from usage_tracking.delivery import delivery
from usage_tracking.events import utc_now
from usage_tracking.health import activity, site
from usage_tracking.middleware import AIUsageMiddleware
from usage_tracking.models import AIUsageLog, AIUsageTracking
from usage_tracking.outbox import MemoryOutbox
from usage_tracking.recorder import record
from usage_tracking.reports import daily_rows_report, find_user, period_report

pytestmark = pytest.mark.django_db(transaction=True)


both_routers = pytest.mark.parametrize("router", [Router, ShortRouter], indirect=True)


@pytest.fixture
def router(request: pytest.FixtureRequest) -> Any:
    return getattr(request, "param", Router)()


@pytest.fixture(scope="module")
def urls(new_database_url_of_module: Callable[[], str]) -> dict[type, str]:
    """The database URL of the usage tables for each router."""
    return {kind: new_database_url_of_module() for kind in (Router, ShortRouter)}


@pytest.fixture
def usage_url(urls: dict[type, str], router: Any) -> str:
    return urls[type(router)]


@pytest.fixture(autouse=True)
def apart(
    usage_url: str, settings: Any, monkeypatch: pytest.MonkeyPatch, router: Any
) -> Iterator[None]:
    database = connections.settings["default"] | environ.Env.db_url_config(usage_url)
    database["OPTIONS"] = connections.settings["default"]["OPTIONS"]
    monkeypatch.setitem(connections.settings, "usage", database)
    connections["usage"].connect()  # Django's tests prohibit new connections later
    settings.DATABASE_ROUTERS = [router]
    if "ai_usage_log" not in connections["usage"].introspection.table_names():
        call_command("migrate", database="usage", verbosity=0)
    yield
    for model in (AIUsageLog, AIUsageTracking):
        model._base_manager.all()._raw_delete("usage")
    connections["usage"].close()
    del connections["usage"]


@pytest.fixture
def box(tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> MemoryOutbox:
    settings.AI_USAGE_OUTBOX = tmp_path / "outbox"
    monkeypatch.setattr(outbox, "inline", lambda: False)
    monkeypatch.setattr(delivery._worker, "start", lambda: None)
    return outbox.get()


def now(user: User | None = None, **changes: Any) -> Any:
    return make_event(user=user, **{"created_at": utc_now()} | changes)


def make_calls(*users: User | None) -> None:
    AIUsageLog.objects.bulk_create(make_log(user=user, created_at=timezone.now()) for user in users)


def user_keys() -> list[Any]:
    """Return the sorted user keys, then None for rows without a user."""
    found = AIUsageLog.objects.values_list("user_id", flat=True)
    return sorted(found, key=lambda key: (key is None, key))


def days() -> dict[Any, int]:
    return dict(AIUsageTracking.objects.values_list("user_id", "total_requests"))


def foreign_keys(alias: str) -> list[str]:
    at = connections[alias]
    with at.cursor() as cursor:
        return [
            name
            for table in ("ai_usage_log", "ai_usage_tracking")
            for name, found in at.introspection.get_constraints(cursor, table).items()
            if found["foreign_key"]
        ]


class TestTables:
    @pytest.fixture
    def usage_url(self, new_database_url: Callable[[], str]) -> str:
        """A database whose tables a test can alter."""
        return new_database_url()

    @both_routers
    def test_no_constraint_names_the_other_database(self):
        assert foreign_keys("usage") == []
        assert len(foreign_keys("default")) == 2  # created without a router

    @pytest.mark.parametrize("router", [ShortRouter], indirect=True)
    def test_constraint_created_without_the_router_is_found_and_removed(self, settings, router):
        settings.DATABASE_ROUTERS = []
        call_command("migrate", "usage_tracking", "zero", database="usage", verbosity=0)
        call_command("migrate", database="usage", verbosity=0)
        settings.DATABASE_ROUTERS = [router]
        (found,) = site.models("usage").findings
        assert "ai_usage_log has a foreign key to the users in 'usage'" in found.text

        if connections["usage"].vendor == "postgresql":
            for _ in range(2):
                (found,) = site.models("usage").findings
                with connections["usage"].cursor() as cursor:
                    cursor.execute(found.fix)
        else:
            call_command("migrate", "usage_tracking", "zero", database="usage", verbosity=0)
            call_command("migrate", database="usage", verbosity=0)

        assert site.models("usage").findings[0].code == "models"
        make_calls(make_user())

    def test_migrations_do_not_depend_on_routers(self):
        assert "db_constraint" not in AIUsageLog._meta.get_field("user").deconstruct()[3]
        assert run_command("makemigrations", "--check", "--dry-run").code == 0

    def test_altered_table_gets_no_constraint(self):
        """SQLite recreates the whole table."""
        old = AIUsageLog._meta.get_field("section")
        new: Any = models.CharField(max_length=60)
        new.set_attributes_from_name("section")
        new.model = AIUsageLog
        with connections["usage"].schema_editor() as editor:
            editor.alter_field(AIUsageLog, old, new)

        assert foreign_keys("usage") == []


class TestDelivery:
    @both_routers
    def test_call_belongs_to_its_user(self, box):
        ada, bob = make_user(), make_user("bob")
        for event in (now(ada), now(bob), now(ada), now()):
            box.put(event)

        assert delivery.deliver().written == 4
        assert user_keys() == [ada.pk, ada.pk, bob.pk, None]
        assert days() == {ada.pk: 2, bob.pk: 1}
        assert {log.user for log in AIUsageLog.objects.all()} == {ada, bob, None}

    def test_call_with_a_reused_key_is_deferred_and_then_unattributed(self, box):
        ada = make_user()
        box.put(now(ada, username="somebody else"))
        box.put(now(ada, username="somebody else", created_at=utc_now() - dt.timedelta(hours=1)))

        done = delivery.deliver()

        assert (done.written, done.deferred) == (1, 1)
        assert user_keys() == [None]
        assert days() == {}

    def test_user_without_a_known_username_is_found_by_key(self, box):
        ada = make_user()
        box.put(now(ada, username=""))
        delivery.deliver()

        assert user_keys() == [ada.pk]

    def test_call_is_deferred_until_its_user_exists(self, box, monkeypatch):
        box.put(now(user_id="77", username="late"))
        assert delivery.deliver().deferred == 1

        make_user("late", pk=77)
        monkeypatch.setattr(delivery._deliverer, "_tried", {})
        assert delivery.deliver().written == 1
        assert user_keys() == [77]

    def test_user_in_a_later_amendment_is_kept(self, box):
        ada = make_user()
        event = now()
        box.put(event)
        delivery.deliver()
        box.put(make_event(user=ada, id=event.id, created_at=event.created_at, revision=1))
        delivery.deliver()
        box.put(make_event(user_id="99", id=event.id, created_at=event.created_at, revision=2))
        delivery.deliver()

        assert user_keys() == [ada.pk]
        assert days() == {ada.pk: 1}

    def test_unloaded_user_of_a_page_is_resolved(self, box, monkeypatch):
        ada = make_user()
        request = RequestFactory().get("/")
        request.user = SimpleLazyObject(lambda: User.objects.get(pk=ada.pk))  # type: ignore[assignment]

        def page(_: HttpRequest) -> HttpResponse:
            capture()
            return HttpResponse()

        AIUsageMiddleware(page)(request)
        delivery.deliver()

        assert user_keys() == [ada.pk]

    @pytest.mark.postgres
    def test_delivery_does_not_wait_for_a_locked_daily_row(self, box):
        ada = make_user()
        box.put(now(ada))
        delivery.deliver()
        box.put(now(ada))
        other = connections["usage"].copy()
        other.connect()
        try:
            with other.cursor() as cursor:
                cursor.execute("BEGIN; SELECT * FROM ai_usage_tracking FOR UPDATE")
            assert delivery.deliver().deferred == 1
        finally:
            other.close()

        assert days() == {ada.pk: 1}


class TestDeletion:
    @pytest.fixture
    def ada(self) -> User:
        ada = make_user()
        make_calls(ada, ada, None)
        return ada

    @both_routers
    def test_deleted_user_is_removed_from_rows(self, ada):
        deleted = ada.delete()

        assert deleted == (1, {"auth.User": 1})
        assert user_keys() == [None] * 3
        assert days() == {}

    def test_many_are_deleted_at_once(self, ada):
        make_calls(make_user("bob"))
        User.objects.all().delete()

        assert user_keys() == [None] * 4
        assert days() == {}

    def test_many_users_are_removed_in_one_transaction(self, ada):
        catalogs = "sqlite_master", "pg_class"

        def delete(users: Any) -> tuple[int, int]:
            """Count statements in the usage database and table lookups in the users' database."""
            with (
                CaptureQueriesContext(connections["usage"]) as there,
                CaptureQueriesContext(connections["default"]) as here,
            ):
                users.delete()
            looks = [q for q in here if any(name in q["sql"] for name in catalogs)]
            return len(there), len(looks)

        of_one = delete(ada)
        make_calls(*(make_user(f"user {number}") for number in range(20)))

        assert delete(User.objects.all()) == of_one
        assert user_keys() == [None] * 23

    def test_users_of_a_rolled_back_savepoint_are_kept(self, ada):
        bob, eve = make_user("bob"), make_user("eve")
        make_calls(bob, eve)
        pk = bob.pk
        with transaction.atomic():
            ada.delete()
            with rolled_back():
                bob.delete()
            eve.delete()

        assert user_keys() == [pk, None, None, None, None]
        assert days() == {pk: 1}

    def test_tables_left_in_the_users_database_break_no_deletion(self, ada):
        make_log(user=ada).save(using="default")
        ada.delete()

        assert AIUsageLog.objects.using("default").get().user_id is None
        assert AIUsageTracking.objects.using("default").count() == 0
        assert user_keys() == [None] * 3

    @pytest.mark.postgres
    def test_two_aliases_of_one_database(self, box, monkeypatch):
        """For example, a direct and a pooled connection. The foreign keys exist there."""
        options = connections.settings["default"]["OPTIONS"] | {"options": "-c search_path=public"}
        database = connections.settings["default"] | {"OPTIONS": options}
        monkeypatch.setitem(connections.settings, "usage", database)
        connections["usage"].close()
        del connections["usage"]
        connections["usage"].connect()
        ada, bob = make_user(), make_user("bob")
        for event in (now(ada), now(bob)):
            box.put(event)
        delivery.deliver()

        assert places.users_are_apart()
        assert site.models("usage").findings[0].code == "models"
        assert days() == {ada.pk: 1, bob.pk: 1}
        ada.delete()
        assert user_keys() == [bob.pk, None]
        assert days() == {bob.pk: 1}

    def test_deletion_that_is_rolled_back_changes_nothing(self, ada):
        pk = ada.pk
        with rolled_back():
            ada.delete()

        assert user_keys() == [pk, pk, None]
        assert days() == {pk: 2}

    def test_disabled_tracking_follows_a_deletion_too(self, ada, settings):
        settings.AI_USAGE_ENABLED = False
        ada.delete()

        assert user_keys() == [None] * 3

    def test_deletion_while_a_delivery_writes(self, ada, box, monkeypatch):
        """The delivery finds the user before the deletion and none after it."""
        look_up = related_users.usernames

        def usernames(keys: Any, *, using: str) -> Any:
            found = look_up(keys, using=using)
            User.objects.all().delete()
            return found

        monkeypatch.setattr(related_users, "usernames", usernames)
        box.put(now(ada))
        delivery.deliver()

        assert user_keys() == [None] * 4
        assert days() == {}

    def test_deletion_without_usage_tables_is_corrected_later(self, ada, settings, caplog):
        settings.AI_USAGE_RAISE_ERRORS = False
        bob, key = make_user("bob"), ada.pk
        make_calls(bob)
        rename("ai_usage_log", "away")
        ada.delete()  # raises no error
        rename("away", "ai_usage_log")

        assert "TRACK_EXCEPTION" in caplog.text
        assert diagnosed() == f"1 users in AIUsageLog do not exist in the database 'default': {key}"
        assert diagnosed(repair=True) == "Deleted users removed from AIUsageLog: 1"
        assert user_keys() == [bob.pk, None, None, None]
        assert days() == {bob.pk: 1}
        assert diagnosed() == "All users in AIUsageLog exist in the database 'default'"

    def test_users_missing_in_a_wrong_database_are_not_treated_as_deleted(self, ada):
        User.objects.all()._raw_delete("default")  # type: ignore[attr-defined]

        expected = "No user in AIUsageLog exists in the database 'default' (missing: 1)"
        assert diagnosed(repair=True) == expected
        assert days() == {ada.pk: 2}


class TestExplicit:
    def test_rows_are_written_at_once(self):
        ada = make_user()
        log, day = track_ai_usage(ada, "chat", 150, 80)

        assert (log.user, day.user, day.total_requests) == (ada, ada, 1)
        assert AIUsageLog.objects.get().user == ada

    def test_nothing_is_written_while_the_users_are_in_a_transaction(self, box):
        with rolled_back():
            ada = make_user()
            log, _ = track_ai_usage(ada, "chat", 150, 80)
            assert log.is_preview

        assert user_keys() == []
        assert delivery.deliver().deferred == 1

    def test_rolled_back_signup_leaves_no_call_to_the_next_user(self):
        """The key of a rolled-back signup is reused, without an outbox."""
        with rolled_back():
            ada = make_user()
            record(now(ada), attribution())
            assert user_keys() == []  # although a read delivers in a test

        make_user("eve", pk=ada.pk)
        assert user_keys() == [None]

    def test_committed_row_is_not_rejected_afterwards(self, settings, monkeypatch):
        """Otherwise the caller would write the row again."""
        settings.AI_USAGE_RAISE_ERRORS = False
        ada, look_up, asked = make_user(), related_users.usernames, []

        def usernames(keys: Any, *, using: str) -> Any:
            asked.append(keys)
            if len(asked) == 2:
                raise OperationalError("the users are away")
            return look_up(keys, using=using)

        monkeypatch.setattr(related_users, "usernames", usernames)
        log, day = track_ai_usage(ada, "chat", 150, 80)

        assert (log.is_preview, day.total_requests, len(asked)) == (False, 1, 2)

    def test_row_is_validated_against_existing_users(self):
        log = AIUsageLog.log_usage(make_user(), "chat")
        log.full_clean()
        missing = (log.user_id or 0) + 1
        log.user_id = missing
        with pytest.raises(ValidationError, match=str(missing)):
            log.full_clean()

    def test_site_can_create_and_change_rows(self):
        ada, bob = make_user(), make_user("bob")
        AIUsageLog.log_usage(ada, "chat", 150, 80)
        log = AIUsageLog.objects.create(user=ada, section="chat")
        log.user = bob
        log.save()
        AIUsageTracking.objects.get(user=bob).update_stats(1, 2, 3)

        assert user_keys() == [ada.pk, bob.pk]
        assert days() == {ada.pk: 1, bob.pk: 2}
        assert ada.ai_usage_logs.count() == 1
        with pytest.raises(ValueError, match="must be a"):
            log.user = "bob"


class TestReading:
    @pytest.fixture
    def root(self) -> User:
        ada, root = make_user(email="ada@example.com"), make_superuser()
        make_calls(ada, ada, root, None)
        return root

    def test_admin(self, root, client):
        client.force_login(root)
        log = AIUsageLog.objects.filter(user__isnull=False).exclude(user=root).first()
        assert log is not None
        for page, expected in {
            "aiusagelog/": 2,
            "aiusagelog/?q=ad": 2,
            f"aiusagelog/?user={log.user_id}": 2,
            f"aiusagelog/{log.pk}/change/": 1,
            f"aiusagelog/{log.pk}/delete/": 0,
            "aiusagelog/dashboard/": 1,
            "aiusagelog/export/csv/": 2,
            "aiusagetracking/": 1,
            "aiusagetracking/?q=ad": 1,
            f"aiusagetracking/{AIUsageTracking.objects.get(user=log.user_id).pk}/change/": 1,
        }.items():
            response = client.get(f"/admin/usage_tracking/{page}")
            assert response.status_code == 200, page
            body = b"".join(response).decode() if response.streaming else response.text
            assert body.count(">ada<") + body.count(",ada,") >= expected, page
        deleting = client.post(f"/admin/auth/user/{log.user_id}/delete/", {"post": "yes"})
        assert deleting.status_code == 302
        assert days() == {root.pk: 1}

    def test_row_of_a_deleted_user_shows_the_key(self, root, client):
        key = find_user("ada").pk
        User.objects.filter(pk=key)._raw_delete("default")  # type: ignore[attr-defined]
        client.force_login(root)
        pages = {
            "aiusagelog/": f">{key}<",
            "aiusagetracking/": f">{key}<",
            "aiusagelog/dashboard/": f">{key}<",
            "aiusagelog/export/csv/": f",{key},",
        }
        for page, expected in pages.items():
            response = client.get(f"/admin/usage_tracking/{page}")
            body = b"".join(response).decode() if response.streaming else response.text
            assert expected in body, page
        for page in ("aiusagelog/", "aiusagetracking/"):
            filtered = client.get(f"/admin/usage_tracking/{page}", {"user": str(key)})
            assert {row.user_id for row in filtered.context["cl"].result_list} == {key}, page

    def test_number_of_statements_of_pages_does_not_depend_on_rows(
        self, root, client, django_assert_num_queries
    ):
        client.force_login(root)
        make_calls(*(make_user(f"user {n}") for n in range(20)))
        page = "/admin/usage_tracking/aiusagelog/"
        with django_assert_num_queries(3):  # the session, its user and the users of the rows
            client.get(page)
        with CaptureQueriesContext(connections["usage"]) as of_many:
            client.get(page)
        AIUsageLog.objects.filter(user__isnull=False).exclude(user=root).delete()
        with CaptureQueriesContext(connections["usage"]) as of_few:
            client.get(page)
        assert len(of_many) == len(of_few)

    def test_api(self, root, client):
        client.force_login(root)
        logs = client.get("/api/v1/ai/usage/logs/").json()
        everybody = client.get("/api/v1/ai/usage/logs/global/").json()
        daily_rows = client.get("/api/v1/ai/usage/global/").json()
        made = client.post(
            "/api/v1/ai/usage/logs/",
            {"section": "chat"},
            content_type="application/json",
        )

        assert [row["user_username"] for row in logs["results"]] == ["root"]
        assert [row["user_username"] for row in everybody["recent_logs"]].count("ada") == 2
        assert everybody["top_users"][0]["user__email"] == "ada@example.com"
        assert daily_rows["top_users"][0]["user__username"] == "ada"
        assert (made.status_code, made.json()["user_username"]) == (201, "root")

    def test_api_for_workers_and_billing(self, root, client):
        client.force_login(root)
        ada, path = find_user("ada"), "/api/v1/ai/usage/"
        call = {"section": "chat", "user": ada.pk, "idempotency_key": "a"}
        answers = [
            client.post(f"{path}logs/", sent, content_type="application/json")
            for sent in (call, call, call | {"user": 987654321, "idempotency_key": "b"})
        ]
        lines = client.get(f"{path}report/?user=all&group_by=user").json()["results"]
        logs = client.get(f"{path}logs/?user={ada.pk}&cursor=*").json()["results"]

        assert [answer.status_code for answer in answers] == [201, 200, 400]
        calls = {line["username"]: line["calls"] for line in lines}
        assert set(calls) == {"ada", "root", None}
        assert calls["ada"] == len(logs) == 3

    def test_reports(self, root):
        ada, day = find_user("ada"), timezone.now().date()

        assert [line.username for line in period_report(day, day).top_users] == [
            "ada",
            "root",
            None,
        ]
        assert [line.username for line in daily_rows_report(day, day).top_users] == ["ada", "root"]
        assert period_report(day, day, user=ada).totals.calls == 2

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            (["usage_today", "--user", "ada"], "ada"),
            (["usage_today", "--json"], '"username": "ada"'),
            (["export_ai_usage", "--user", "ada"], "chat"),
            (["flush_ai_usage", "--forget", "ada"], "0 calls delivered"),
            pytest.param(
                ["diagnose_ai_usage", "--user", "ada"],
                "Using user: ada",
                marks=pytest.mark.server,
            ),
        ],
    )
    def test_commands(self, root, arguments, expected):
        told = run_command(*arguments)

        assert expected in told.out, told
        assert told.code in (0, 1), told

    def test_erasing_removes_the_user(self, root):
        assert run_command("erase_ai_usage", "--user", "ada", "--no-input").code == 0
        assert user_keys() == [root.pk, None, None, None]
        assert days() == {root.pk: 1}

    def test_rebuilding_names_the_users(self, root):
        AIUsageTracking.objects.update(total_requests=7)

        assert "ada" in run_command("rebuild_ai_usage").out
        assert days()[root.pk] == 1


def diagnosed(*, repair: bool = False) -> str:
    return activity.drift("usage", repair=repair).findings[-1].text


def rename(table: str, to: str) -> None:
    with connections["usage"].cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME TO {to}")
