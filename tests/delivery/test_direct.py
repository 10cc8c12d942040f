"""The explicit API outside of tests saves the rows before it returns."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth.models import User
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext

from tests.api.conftest import LOGS, client_of, get, post
from tests.support.builders import (
    accept_section,
    capture,
    make_event,
    make_user,
    refuse_section,
    rolled_back,
)
from tests.support.children import run_python
from tests.support.ledger import assert_in_step
from tests.support.threads import run_in_threads
from usage_tracking import (
    AIUsageTracker,
    ai_usage,
    outbox,
    recorder,
    track_ai_usage,
    track_ai_usage_safe,
)
from usage_tracking.attribution.resolve import attribution
from usage_tracking.delivery import Delivery, delivery, direct
from usage_tracking.delivery.worker import Worker
from usage_tracking.events import UsageEvent
from usage_tracking.models import AIUsageLog, AIUsageTracking
from usage_tracking.outbox import Outbox
from usage_tracking.tracker import Tracked, track_in_transaction

pytestmark = pytest.mark.django_db(transaction=True)

Track = Callable[..., Any]
TOKENS = {"prompt_tokens": 150, "completion_tokens": 80}


@pytest.fixture(autouse=True)
def box(tmp_path: Any, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Outbox]:
    """The outbox of a production site whose delivery thread never runs."""
    settings.AI_USAGE_OUTBOX = tmp_path / "outbox"
    settings.AI_USAGE_RAISE_ERRORS = False
    monkeypatch.setattr(outbox, "inline", lambda: False)
    monkeypatch.setattr(Worker, "start", lambda self: None)
    monkeypatch.setattr("usage_tracking.outbox.WAIT", 0.0)  # no thread would respond
    delivery.after_fork()  # reset its state
    yield outbox.get()
    delivery.after_fork()


def sections() -> list[str]:
    return sorted(AIUsageLog.objects.values_list("section", flat=True))


def is_saved(tracked: Tracked | tuple[None, None]) -> bool:
    log, day = tracked
    assert log is not None
    assert day is not None
    return (log, day) == (
        AIUsageLog.objects.get(pk=log.pk),
        AIUsageTracking.objects.get(user=log.user, date=log.day),
    )


class TestSaved:
    @pytest.mark.parametrize("track", [track_ai_usage, track_ai_usage_safe])
    def test_rows_are_saved_with_one_short_transaction_and_no_file(self, box, track: Track):
        user = make_user()
        track_ai_usage(user, "chat", 1, 2)

        with CaptureQueriesContext(connection) as queries:
            tracked = track(user, "chat", 150, 80)

        assert is_saved(tracked)
        assert tracked[1].total_tokens == 233
        verbs = [query["sql"].split()[0] for query in queries]
        assert verbs == ["BEGIN", "INSERT", "INSERT", "COMMIT", "SELECT", "SELECT"]
        assert (box.is_empty(), box.segments()) == (True, [])
        assert_in_step()

    def test_block_is_saved_when_it_ends(self, box):
        with AIUsageTracker(make_user(), "chat") as tracker:
            tracker.set_tokens(150, 80)

        assert AIUsageTracking.objects.get().total_tokens == 230
        assert box.is_empty()

    def test_lines_follow_the_commit(self, caplog):
        caplog.set_level(logging.DEBUG, logger="ai_usage_tracker")
        user = make_user()
        seen: dict[str, int] = {}

        class CountRows(logging.Handler):
            """Count the rows that other connections see when a line is logged."""

            def emit(self, record: logging.LogRecord) -> None:
                name = record.getMessage().partition("]")[0][1:]
                run_in_threads(lambda: seen.setdefault(name, AIUsageLog.objects.count()))

        handler = CountRows()
        logging.getLogger("ai_usage_tracker").addHandler(handler)
        try:
            track_ai_usage(user, "chat", 150, 80)
        finally:
            logging.getLogger("ai_usage_tracker").removeHandler(handler)

        assert seen == {
            "TRACK_START": 0,
            "TRACK_LOG": 0,
            "TRACK_AGGREGATE": 0,
            "TRACK_LOG_SUCCESS": 1,
            "TRACK_AGGREGATE_NEW": 1,
            "TRACK_AGGREGATE_SUCCESS": 1,
            "TRACK_COMPLETE": 1,
        }

    def test_concurrent_threads_get_their_rows(self):
        user = make_user()
        tracked: list[Any] = []

        def track() -> None:
            for _ in range(5):
                log, day = track_ai_usage(user, "chat", 1, 2)
                tracked.append((log._state.adding, day._state.adding))

        run_in_threads(*[track] * 6)

        assert tracked == [(False, False)] * 30
        assert AIUsageTracking.objects.get().total_requests == 30
        assert_in_step()

    @pytest.mark.sqlite
    def test_rows_are_saved_with_deferred_transactions_of_sqlite_and_an_open_block(
        self, monkeypatch
    ):
        connection.close()
        monkeypatch.delitem(connection.settings_dict["OPTIONS"], "transaction_mode")
        user = make_user()

        with ai_usage("chat", user=user):
            assert is_saved(track_ai_usage(user, "chat", 150, 80))
        connection.close()

    def test_row_of_a_deleted_user_is_saved_without_a_user(self, box):
        user = make_user()
        User.objects.all().delete()

        log, day = track_ai_usage(user, "chat", 150, 80)

        assert (log, log.user) == (AIUsageLog.objects.get(), None)
        assert (day._state.adding, day.total_requests) == (True, 1)
        assert box.is_empty()
        assert not AIUsageTracking.objects.exists()

    @pytest.mark.sqlite
    @pytest.mark.process
    def test_router_decides_where_rows_are_saved(self, tmp_path):
        (tmp_path / "site_router.py").write_text(
            "class Router:\n"
            "    def db_for_read(self, model, **hints):\n"
            "        return 'usage' if model._meta.app_label == 'usage_tracking' else None\n"
            "    db_for_write = db_for_read\n"
            "    def allow_relation(self, *args, **hints):\n"
            "        return True\n"
        )
        printed = run_python(
            tmp_path,
            """
            from django.contrib.auth.models import User
            from django.core.management import call_command
            from django.db import transaction
            from usage_tracking import track_ai_usage
            from usage_tracking.models import AIUsageLog

            for alias in ("default", "usage"):
                call_command("migrate", verbosity=0, database=alias)
            ada = User.objects.create(username="ada")
            log, day = track_ai_usage(ada, "chat", 1, 2)
            print(log._state.db, log._state.adding, day.total_requests)
            # The user may be made in the one, in a transaction that is rolled back.
            for alias in ("default", "usage"):
                with transaction.atomic(using=alias):
                    log, day = track_ai_usage(ada, "chat", 1, 2)
                    print(log._state.adding, day.total_requests)
            print(AIUsageLog.objects.using("usage").filter(user=ada).count())
            print(AIUsageLog.objects.using("default").count())
            """,
            settings=f"""
            DATABASES = {{
                name: {{
                    "ENGINE": "django.db.backends.sqlite3",
                    "NAME": {str(tmp_path)!r} + "/" + name,
                    "OPTIONS": {{"transaction_mode": "IMMEDIATE"}},
                }}
                for name in ("default", "usage")
            }}
            DATABASE_ROUTERS = ["site_router.Router"]
            """,
        )

        assert printed.splitlines() == ["usage False 1", "True 2", "True 2", "1", "0"]


class TestPreviews:
    """In the caller's transaction and on an event loop, the call goes to the outbox."""

    def test_broken_transaction_gives_a_preview(self, box):
        user = make_user()
        with rolled_back():
            with pytest.raises(DatabaseError), transaction.atomic():
                User.objects.create(username=user.username)
            transaction.set_rollback(True)
            log, _ = track_ai_usage(user, "chat", 150, 80)
            assert log._state.adding
            transaction.set_rollback(False)

        delivery.deliver()
        assert AIUsageLog.objects.get() == log

    def test_transaction_without_autocommit_is_the_callers(self, box):
        user = make_user()
        transaction.set_autocommit(False)
        try:
            log, day = track_ai_usage(user, "chat", 150, 80)
            assert (log._state.adding, day.total_requests) == (True, 1)
            transaction.rollback()
        finally:
            transaction.set_autocommit(True)

        assert not AIUsageLog.objects.exists()
        delivery.deliver()
        assert AIUsageLog.objects.get() == log
        assert_in_step()

    @pytest.mark.postgres  # on SQLite, migrations fail on such a site
    @pytest.mark.parametrize("deliver", ["outbox.wake(wait=180)", "call_command('flush_ai_usage')"])
    def test_site_without_autocommit_gets_its_rows(self, tmp_path, database_url, deliver: str):
        printed = run_python(
            tmp_path,
            f"""
            from django.contrib.auth.models import User
            from django.core.management import call_command
            from django.db import transaction
            from usage_tracking import outbox, track_ai_usage
            from usage_tracking.models import AIUsageLog

            ada = User.objects.create(username="ada")
            transaction.commit()
            track_ai_usage(ada, "chat", 150, 80)
            transaction.rollback()
            {deliver}
            transaction.rollback()
            """,
            settings='DATABASES["default"]["AUTOCOMMIT"] = False',
            DATABASE_URL=database_url,
        )

        assert printed in ("", "1 calls delivered\n")
        assert sections() == ["chat"]

    def test_event_loop_gets_a_preview_and_another_thread_gets_rows(self, box):
        user = make_user()

        async def view() -> tuple[Tracked, Tracked]:
            return (
                track_ai_usage(user, "chat", 1, 2),
                await sync_to_async(track_ai_usage)(user, "other", 1, 2),
            )

        preview, saved = async_to_sync(view)()

        assert (preview[0]._state.adding, is_saved(saved)) == (True, True)
        delivery.deliver()
        assert sections() == ["chat", "other"]


@contextmanager
def refused() -> Iterator[Callable[[], None]]:
    """A database that refuses the rows of one section. Yields a function that ends this."""
    refuse_section("poison")
    with ExitStack() as stack:
        stack.callback(accept_section, "poison")
        yield stack.close


@contextmanager
def locked() -> Iterator[Callable[[], None]]:
    """A database with a lock on a row's user. Yields a function that releases it."""
    connection.close()
    other = connection.copy()
    with ExitStack() as stack:
        if connection.vendor == "sqlite":
            options = connection.settings_dict["OPTIONS"]
            stack.callback(options.update, timeout=options["timeout"])
            options["timeout"] = 0.1
            stack.callback(connection.close)
            other.cursor().execute("BEGIN IMMEDIATE")
        else:
            other.set_autocommit(False)
            other.cursor().execute("SELECT * FROM auth_user FOR UPDATE")
        stack.callback(other.close)
        # A rollback takes effect before it returns. The server notices a closed connection later.
        stack.callback(other.rollback)
        yield stack.close


@pytest.mark.parametrize("away", [refused, locked])
class TestRefused:
    """The database refuses this event, or currently every event."""

    @pytest.fixture(autouse=True)
    def _few_tries(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(direct, "TRIES", 2)

    def test_error_reaches_the_caller_and_no_event_is_left(self, box, away):
        user = make_user()

        with ai_usage("chat", user=user) as usage:
            with away(), pytest.raises(DatabaseError):
                track_ai_usage(user, "poison", 150, 80)

            assert (usage.calls, usage.total_tokens) == (0, 0)
            assert sections() == []
            assert box.is_empty()
            track_ai_usage(user, "poison", 150, 80)
            assert usage.calls == 1
        assert AIUsageTracking.objects.get().total_requests == 1
        assert_in_step()

    def test_safe_call_returns_none_and_stays_in_the_outbox(self, box, away, caplog):
        user = make_user()

        with away():
            assert track_ai_usage_safe(user, "poison", 150, 80) == (None, None)
            with AIUsageTracker(user, "poison") as tracker:
                tracker.set_tokens(1, 2)

        errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
        assert [error.partition("]")[0] for error in errors] == ["[TRACK_EXCEPTION"] * 2
        assert sections() == []
        delivery.deliver()
        assert sections() == ["poison", "poison"]
        assert AIUsageTracking.objects.get().total_tokens == 233
        assert_in_step()

    @pytest.mark.parametrize("track", [track_ai_usage, track_ai_usage_safe])
    def test_joined_call_counts_once_after_any_number_of_tries(self, box, away, track: Track):
        user = make_user()

        with ai_usage("chat", user=user):
            captured = capture()
            with away(), suppress(DatabaseError):
                track(user, "poison", 150, 80)
            if track is track_ai_usage:
                assert track(user, "poison", 150, 80)[0].pk == captured.id
        delivery.deliver()

        assert (sections(), box.is_empty()) == (["poison"], True)
        assert_in_step()


@pytest.mark.postgres
def test_lock_that_is_released_in_time_loses_no_call(monkeypatch: pytest.MonkeyPatch):
    """Each try gives way, so that the site's transaction is never the victim of a deadlock."""
    user = make_user()
    store = direct.store
    passed_over: list[UsageEvent] = []

    with locked() as release:

        def store_and_release(*args: Any, **options: Any) -> Any:
            stored = store(*args, **options)
            if stored.deferred:
                passed_over.extend(stored.deferred)
                release()
            return stored

        monkeypatch.setattr(direct, "store", store_and_release)
        assert is_saved(track_ai_usage(user, "chat", 150, 80))

    assert len(passed_over) == 1
    assert AIUsageTracking.objects.get().total_requests == 1


class TestJoining:
    """Events of the call that the outbox delivers later do not change its row."""

    @pytest.mark.parametrize("crash", [False, True])
    def test_earlier_event_does_not_overwrite_the_row(self, box, tmp_path, crash: bool):
        ada, bob = make_user("ada"), make_user("bob")
        with ai_usage("other", user=bob):
            captured = capture(prompt_tokens=None, completion_tokens=None, model_name="")
            end = make_event(id=captured.id, prompt_tokens=150, model_name="", completes=True)
            recorder.complete(end, attribution(), "")
            log, day = track_ai_usage(ada, "chat", 150, 80, model_name="mine")
            assert is_saved((log, day))
            if crash:
                box.close()
        late = Delivery()
        if not crash:
            late = delivery
        late.deliver()

        assert AIUsageLog.objects.get() == log
        after = AIUsageLog.objects.get()
        assert (after.pk, after.user, after.section) == (captured.id, ada, "chat")
        assert (after.prompt_tokens, after.model_name) == (150, "mine")
        assert AIUsageTracking.objects.get().total_requests == 1
        assert outbox.get().is_empty()
        assert_in_step()

    def test_rolled_back_transaction_keeps_the_captured_call(self, box):
        user = make_user()
        with ai_usage("other", user=user):
            captured = capture()
            with rolled_back():
                assert track_in_transaction(user, "chat", **TOKENS)[0].pk == captured.id
        delivery.deliver()

        assert (sections(), box.is_empty()) == (["chat"], True)
        assert_in_step()

    def test_changes_of_the_site_to_its_row_are_kept(self, box):
        user = make_user()
        with ai_usage("other", user=user):
            capture()
            log, _ = track_ai_usage(user, "chat", 150, 80)
            log.section = "rag_pipeline"
            log.save()
        delivery.deliver()

        assert (sections(), box.is_empty()) == (["rag_pipeline"], True)

    def test_later_data_is_added(self, box):
        user = make_user()
        with ai_usage("other", user=user):
            captured = capture()
            track_ai_usage(user, "chat", 150, 80)
            end = make_event(id=captured.id, completion_tokens=100, completes=True)
            recorder.complete(end, attribution(), "")
        delivery.deliver()

        assert AIUsageLog.objects.get().completion_tokens == 100
        assert_in_step()


class TestOverHttp:
    """Status 201 means that the row can be read."""

    @pytest.mark.parametrize("atomic_requests", [False, True])
    def test_created_row_can_be_read(self, box, monkeypatch, atomic_requests: bool):
        monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", atomic_requests)
        ada = make_user()

        response = post(ada, section="chat", prompt_tokens=150, completion_tokens=80)

        assert response.status_code == 201
        assert get(ada, f"{LOGS}{response.json()['id']}/").json() == response.json()
        assert AIUsageTracking.objects.get().total_tokens == 230
        assert box.is_empty()
        assert_in_step()

    def test_row_is_part_of_the_transaction_around_the_request(self, box, caplog):
        caplog.set_level(logging.INFO, logger="ai_usage_tracker")
        ada = make_user()
        with rolled_back():
            post(ada, section="chat")
        assert (sections(), box.is_empty(), caplog.messages) == ([], True, [])

        with transaction.atomic():
            post(ada, section="chat")
            assert caplog.messages == []
        assert sections() == ["chat"]
        assert caplog.messages[-1].startswith("[TRACK_COMPLETE]")

    def test_refused_row_is_not_reported_as_created(self, box, settings):
        settings.AI_USAGE_SECTIONS = ["poison"]
        client = client_of(make_user())
        client.raise_request_exception = False
        with refused():
            response = client.post(LOGS, {"section": "poison"}, format="json")

        assert response.status_code == 500
        assert (sections(), box.is_empty()) == ([], True)
