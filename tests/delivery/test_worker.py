"""Delivery from the outbox to the database: on reads in a site's tests, else by a thread."""

from __future__ import annotations

import json
import logging
import sys
import threading
import unittest
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.core.signals import request_finished
from django.db import DatabaseError, IntegrityError, OperationalError, connection, transaction
from django.test import TestCase, TransactionTestCase
from django.test.utils import CaptureQueriesContext
from django.utils.functional import SimpleLazyObject
from freezegun import freeze_time
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.builders import (
    NOON,
    accept_section,
    make_event,
    make_user,
    refuse_section,
    rolled_back,
    save_log,
)
from tests.support.children import run_python
from tests.support.commands import run_command
from tests.support.ledger import assert_in_step, read_days
from tests.support.threads import run_in_threads
from tests.support.waiting import PATIENCE, join, wait_for, wait_until
from usage_tracking import ai_usage, outbox, track_ai_usage
from usage_tracking.attribution import scope
from usage_tracking.attribution.scope import Attribution, Call, Unit
from usage_tracking.attribution.users import Pending
from usage_tracking.delivery import (
    Delivery,
    batches,
    deliverer,
    delivery,
    listener,
    sqlite,
    worker,
    writer,
)
from usage_tracking.delivery.deliverer import Delivered, Deliverer
from usage_tracking.delivery.writer import Stored
from usage_tracking.events import UsageEvent, utc_now
from usage_tracking.models import AIUsageLog, AIUsageTracking
from usage_tracking.outbox import MemoryOutbox, Outbox
from usage_tracking.pricing import data, table
from usage_tracking.recorder import pending_users, record_manually
from usage_tracking.usage import Usage

pytestmark = pytest.mark.django_db

THREAD = "ai_usage_delivery"
HOUR = 3600.0


def sections() -> list[str]:
    return sorted(AIUsageLog.objects.values_list("section", flat=True))


def wait_for_rows(*expected: str) -> None:
    """Wait until another thread has written the calls of these sections."""
    wait_until(lambda: sections() == sorted(expected), awaited=f"rows of {expected}", seen=sections)


@pytest.fixture
def box(tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> MemoryOutbox:
    """The outbox of a production site: files, without inline delivery."""
    settings.AI_USAGE_OUTBOX = tmp_path / "outbox"
    monkeypatch.setattr(outbox, "inline", lambda: False)
    return outbox.get()


@pytest.fixture
def site(
    box: MemoryOutbox, transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[MemoryOutbox]:
    """A production site whose thread delivers when it is woken, never by the timer."""
    monkeypatch.setattr(worker, "TIMER", HOUR)
    monkeypatch.setattr(worker, "EXIT", PATIENCE)
    delivery.after_fork()  # reset the state of earlier inline deliveries
    yield box
    end_of_process()
    delivery.after_fork()


def end_of_process() -> None:
    threads = [thread for thread in threading.enumerate() if thread.name == THREAD]
    delivery.stop()
    join(*threads)


@pytest.fixture
def short_intervals(site: MemoryOutbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the intervals to 0.05 s."""
    for name in ("TIMER", "IDLE", "ORPHANS_EVERY"):
        monkeypatch.setattr(worker, name, 0.05)
    monkeypatch.setattr(deliverer, "LONGEST_BACK_OFF", 0.05)


class Cycles:
    """The finished cycles of the thread, each with whether it found work."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.ended: list[bool] = []
        cycle = worker.Worker._cycle

        def note(mine: worker.Worker) -> bool:
            found = cycle(mine)
            self.ended.append(found)
            return found

        patch.setattr(worker.Worker, "_cycle", note)

    def wait_for_two(self) -> None:
        """Wait until a cycle that starts after this call ends."""
        wanted = len(self.ended) + 2
        wait_until(
            lambda: len(self.ended) >= wanted,
            awaited=f"{wanted} cycles of delivery",
            seen=lambda: self.ended,
        )


@pytest.fixture
def cycles(monkeypatch: pytest.MonkeyPatch) -> Cycles:
    return Cycles(monkeypatch)


class TestInline:
    """Delivery in a site's own tests."""

    def test_row_is_saved_after_the_call(self):
        user = make_user()

        track_ai_usage(user, "chat", 150, 80)

        assert AIUsageLog.objects.get().user == user
        assert AIUsageTracking.objects.get().total_tokens == 230
        assert_in_step()

    @pytest.mark.django_db(transaction=True)
    def test_row_is_saved_after_the_call_without_a_transaction_around_the_test(self):
        user = make_user()

        track_ai_usage(user, "chat", 150, 80)

        assert AIUsageLog.objects.get().user == user
        assert_in_step()

    def test_no_thread_is_started_and_no_file_is_written(self, settings, tmp_path):
        settings.AI_USAGE_OUTBOX = tmp_path / "outbox"

        track_ai_usage(make_user(), "chat", 150, 80)

        assert THREAD not in {thread.name for thread in threading.enumerate()}
        assert not (tmp_path / "outbox").exists()

    def test_rows_of_a_block_are_saved_when_it_ends(self):
        with ai_usage("chat", user=make_user()) as usage:
            usage.record(prompt_tokens=1)
            usage.record(prompt_tokens=2)

        assert AIUsageTracking.objects.get().total_requests == 2
        assert_in_step()

    @pytest.mark.parametrize("transaction_around_the_test", [True, False])
    def test_row_is_saved_inside_the_callers_transaction(
        self, request, transaction_around_the_test
    ):
        if not transaction_around_the_test:
            request.getfixturevalue("transactional_db")
        user = make_user()

        with transaction.atomic():
            track_ai_usage(user, "chat", 150, 80)
            assert AIUsageLog.objects.count() == 1

        track_ai_usage(user, "other", 1, 1)
        assert sections() == ["chat", "other"]
        assert_in_step()

    def test_row_of_a_rolled_back_transaction_is_restored_by_the_next_read(self):
        user = make_user()
        with rolled_back():
            track_ai_usage(user, "chat", 150, 80)
            assert AIUsageLog.objects.count() == 1

        assert sections() == ["chat"]
        assert AIUsageTracking.objects.get().total_tokens == 230
        assert_in_step()

    def test_row_of_a_rolled_back_savepoint_is_restored_by_the_next_read(self):
        user = make_user()
        with transaction.atomic():
            with rolled_back():
                track_ai_usage(user, "chat", 150, 80)
                assert sections() == ["chat"]
            track_ai_usage(user, "other", 1, 1)

        assert sections() == ["chat", "other"]
        assert_in_step()

    def test_row_is_restored_after_a_second_rollback(self):
        user = make_user()
        with rolled_back():
            track_ai_usage(user, "chat", 150, 80)
            assert sections() == ["chat"]
        with rolled_back():
            assert sections() == ["chat"]

        assert sections() == ["chat"]
        assert_in_step()

    def test_row_of_a_committed_transaction_is_not_duplicated(self):
        user = make_user()
        with transaction.atomic():
            track_ai_usage(user, "chat", 150, 80)
            assert sections() == ["chat"]

        for _ in range(3):
            assert sections() == ["chat"]

        assert AIUsageTracking.objects.get().total_requests == 1
        assert_in_step()

    def test_flush_after_a_rollback_restores_its_rows(self):
        with rolled_back():
            track_ai_usage(make_user(), "chat", 150, 80)
            assert sections() == ["chat"]
            assert outbox.get().is_empty()
        assert not outbox.get().is_empty()

        assert delivery.deliver().written == 1

        assert sections() == ["chat"]
        assert outbox.get().is_empty()

    def test_user_forgotten_within_a_transaction_is_not_restored(self):
        user = make_user("ada")
        with rolled_back():
            track_ai_usage(user, "chat", 150, 80)
            assert sections() == ["chat"]
            assert outbox.get().forget(lambda user_id, username: username == "ada") == 1

        assert AIUsageLog.objects.get().user is None
        assert_in_step()

    @pytest.mark.parametrize("depth", [1, 2])
    def test_long_transaction_writes_each_call_once(self, depth, monkeypatch):
        user = make_user()
        store = batches.store
        written: list[UUID] = []

        def note(events: list[UsageEvent], **options: Any) -> Stored:
            written.extend(event.id for event in events)
            return store(events, **options)

        monkeypatch.setattr(batches, "store", note)
        with ExitStack() as blocks:
            for _ in range(depth):
                blocks.enter_context(transaction.atomic())
            for _ in range(5):
                log, _ = track_ai_usage(user, "chat", 150, 80)
                assert AIUsageLog.objects.filter(pk=log.pk).exists()
            assert len(written) == len(set(written)) == 5

        assert AIUsageTracking.objects.get().total_requests == 5
        assert_in_step()

    @pytest.mark.django_db(transaction=True)
    @pytest.mark.parametrize("commits", [True, False])
    def test_no_line_reports_a_recorded_call_before_its_commit(self, caplog, commits):
        caplog.set_level(logging.INFO, "ai_usage_tracker")
        user = make_user()
        with transaction.atomic():
            track_ai_usage(user, "chat", 150, 80)
            assert sections() == ["chat"]
            assert "[TRACK_COMPLETE]" not in caplog.text
            transaction.set_rollback(not commits)

        assert ("[TRACK_COMPLETE]" in caplog.text) is commits

    @pytest.mark.django_db(transaction=True)
    @pytest.mark.postgres
    def test_other_threads_do_not_wait_for_an_open_transaction(self):
        ada, bob = make_user("ada"), make_user("bob")
        with transaction.atomic():
            track_ai_usage(ada, "chat", 150, 80)

            assert sections() == ["chat"]
            run_in_threads(lambda: track_ai_usage(bob, "other", 1, 1))

            assert sections() == ["chat", "other"]
        assert sections() == ["chat", "other"]
        assert_in_step()

    def test_row_deleted_after_its_transaction_stays_deleted(self):
        user = make_user()
        with transaction.atomic():
            track_ai_usage(user, "chat", 150, 80)
            assert sections() == ["chat"]

        AIUsageLog.objects.all().delete()

        assert AIUsageLog.objects.count() == 0

    def test_broken_transaction_defers_delivery_without_an_error(self, settings, caplog):
        settings.AI_USAGE_RAISE_ERRORS = False
        user = make_user()
        with rolled_back():
            with pytest.raises(IntegrityError):
                User.objects.create(username=user.username)
            track_ai_usage(user, "chat", 150, 80)

        assert sections() == ["chat"]
        assert [record for record in caplog.records if record.levelname == "ERROR"] == []
        assert_in_step()

    def test_call_of_a_log_handler_is_saved_by_the_next_read(self, caplog):
        caplog.set_level("INFO", logger="ai_usage_tracker")

        class Summarize(logging.Handler):
            """Call a model about each log line during its delivery."""

            def emit(self, record: logging.LogRecord) -> None:
                if "[TRACK_COMPLETE]" in record.getMessage() and "Section: chat" in record.msg % (
                    record.args or ()
                ):
                    outbox.put(make_event(section="other"))

        handler = Summarize()
        logging.getLogger("ai_usage_tracker").addHandler(handler)
        try:
            track_ai_usage(make_user(), "chat", 150, 80)
        finally:
            logging.getLogger("ai_usage_tracker").removeHandler(handler)

        assert sections() == ["chat", "other"]

    def test_call_on_an_event_loop_is_saved_by_the_next_read(self):
        user = make_user()

        async def view() -> None:
            async with ai_usage("chat", user=user) as usage:
                usage.record(prompt_tokens=5)

        async_to_sync(view)()

        assert AIUsageTracking.objects.get().total_prompt_tokens == 5
        assert_in_step()

    def test_tests_of_a_site_do_not_see_each_others_calls(self, transactional_db: None):
        def call_on_a_loop() -> None:
            async def call() -> None:
                record_manually(UsageEvent.manual(usage=Usage(prompt_tokens=1), section="loop"))

            async_to_sync(call)()

        class First(TestCase):
            def test(self) -> None:
                user = make_user()
                with transaction.atomic():
                    track_ai_usage(user, "committed", 1, 1)
                with rolled_back():
                    track_ai_usage(user, "rolled_back", 1, 1)
                with rolled_back():
                    record_manually(
                        UsageEvent.manual(usage=Usage(prompt_tokens=1), section="unattributed")
                    )
                outbox.put(make_event(section="ghost", user_id="999999", username="ghost"))
                call_on_a_loop()

        class Second(TestCase):
            def test(self) -> None:
                track_ai_usage(make_user(), "mine", 1, 1)
                assert sections() == ["mine"]
                assert AIUsageTracking.objects.get().total_requests == 1

        class Third(TransactionTestCase):
            def test(self) -> None:
                First.test(self)  # type: ignore[arg-type]

        class Fourth(TransactionTestCase):
            test = Second.test

        for case in (First, Second, Third, Fourth, First, Fourth, Third, Second):
            result = unittest.TestSuite([case("test")]).run(unittest.TestResult())
            assert [text for _, text in (*result.errors, *result.failures)] == []
            assert result.testsRun == 1
        assert sections() == []

    def test_site_can_enable_inline_delivery(self, tmp_path, database_url):
        printed = run_python(
            tmp_path,
            """
            import threading
            from django.contrib.auth.models import User
            from django.db import transaction
            from usage_tracking import track_ai_usage
            from usage_tracking.models import AIUsageLog, AIUsageTracking

            ada = User.objects.create(username="ada")
            log, day = track_ai_usage(ada, "chat", 1, 2)
            print(AIUsageLog.objects.count(), day.total_requests)
            try:
                with transaction.atomic():
                    track_ai_usage(ada, "chat", 1, 2)
                    raise KeyError
            except KeyError:
                print(AIUsageLog.objects.count())
            track_ai_usage(ada, "chat", 1, 2)
            print(AIUsageLog.objects.count(), AIUsageTracking.objects.get().total_requests)
            print([thread.name for thread in threading.enumerate()])
            """,
            settings="AI_USAGE_OUTBOX = None",
            DATABASE_URL=database_url,
        )

        assert printed.splitlines() == ["1 1", "1", "3 3", "['MainThread']"]


steps = st.recursive(
    st.sampled_from(["call", "read"]),
    lambda inner: st.tuples(
        st.sampled_from(["commit", "roll back", "scope"]), st.lists(inner, max_size=4)
    ),
    max_leaves=12,
)


@pytest.mark.slow
@pytest.mark.parametrize("transaction_around_the_test", [True, False])
def test_any_nesting_of_transactions_loses_and_duplicates_no_call(
    request: pytest.FixtureRequest, *, transaction_around_the_test: bool
) -> None:
    """Inline, each call becomes one row, no matter which transactions commit or roll back."""
    if not transaction_around_the_test:
        request.getfixturevalue("transactional_db")
    user = make_user()
    blocks: dict[str, Callable[[], AbstractContextManager[Any]]] = {
        "commit": lambda: transaction.atomic(),
        "roll back": rolled_back,
        "scope": lambda: ai_usage("chat", user=user),
    }

    def take(step: Any) -> int:
        if step == "read":
            AIUsageLog.objects.count()
            return 0
        if step == "call":
            track_ai_usage(user, "chat", 150, 80)
            return 1
        kind, inner = step
        with blocks[kind]():
            return sum(map(take, inner))

    @settings(derandomize=True, database=None, deadline=None, max_examples=40)
    @given(sequence=st.lists(steps, max_size=6))
    def check(sequence: list[Any]) -> None:
        AIUsageLog.objects.all().delete()
        AIUsageTracking.objects.all().delete()

        calls = sum(map(take, sequence))

        assert AIUsageLog.objects.count() == calls
        assert_in_step()
        assert outbox.get().is_empty()

    check()


class TestDeliver:
    def test_undelivered_calls_are_written(self, box):
        user = make_user()
        for _ in range(3):
            box.put(make_event(user=user))

        assert Delivery().deliver() == Delivered(written=3)

        assert box.is_empty()
        assert len(read_days()) == 1
        assert_in_step()

    def test_several_batches_are_written(self, box, monkeypatch):
        monkeypatch.setattr(deliverer, "BATCH", 4)
        user = make_user()
        for _ in range(11):
            box.put(make_event(user=user))

        assert Delivery().deliver() == Delivered(written=11)

        assert AIUsageTracking.objects.get().total_requests == 11
        assert_in_step()

    def test_empty_outbox_writes_nothing(self, box):
        assert Delivery().deliver() == Delivered()

    def test_orphans_are_written(self, box, tmp_path):
        box.put(make_event())
        box.close()
        again = Outbox(tmp_path / "outbox")
        again.put(make_event())
        again.close()

        assert Delivery().deliver() == Delivered(written=2, adopted=2)

    def test_more_orphans_than_one_adoption_takes_are_written(self, box, tmp_path, monkeypatch):
        monkeypatch.setattr(outbox.limits, "ADOPTED", 2)
        for _ in range(5):
            dead = Outbox(tmp_path / "outbox")
            dead.put(make_event())
            dead.close()

        assert Delivery().deliver() == Delivered(written=5, adopted=5)

    def test_late_older_revision_changes_nothing(self, box):
        event = make_event(user=make_user())
        older = event.amended(section="older")
        mine = Delivery()
        box.put(older.amended(section="newer", prompt_tokens=7))
        mine.deliver()

        box.put(older)
        box.put(event)
        mine.deliver()

        log = AIUsageLog.objects.get()
        assert (log.section, log.prompt_tokens) == ("newer", 7)
        assert box.is_empty()
        assert_in_step()

    def test_older_revision_in_a_later_file_changes_nothing(self, box, tmp_path):
        """For example, a dead process has deferred the older revision."""
        older = make_event(user=make_user()).amended(section="older")
        with freeze_time(NOON) as clock:
            for event in (older.amended(section="newer"), older):
                dead = Outbox(tmp_path / "outbox")
                dead.put(event)
                dead.close()
                clock.tick(1)  # files are read from the oldest to the newest

        assert Delivery().deliver() == Delivered(written=1, adopted=2)

        assert sections() == ["newer"]
        assert_in_step()

    def test_many_amendments_are_written(self, box, monkeypatch):
        monkeypatch.setattr(outbox.limits, "REVISIONS", 3)
        user = make_user()
        events = [make_event(user=user) for _ in range(10)]
        mine = Delivery()
        for turn in ("first", "second"):
            for event in events:
                box.put(event if turn == "first" else event.amended(section="amended"))
            mine.deliver()

        assert len(box._revisions._lowest) == 3, "a process that never restarts runs out of memory"
        assert set(sections()) == {"amended"}
        assert AIUsageTracking.objects.get().total_requests == 10
        assert_in_step()

    def test_database_error_reaches_the_caller_and_loses_no_call(self, box):
        for _ in range(3):
            box.put(make_event())
        rename("ai_usage_log", "out_of_the_way")

        with pytest.raises(DatabaseError), transaction.atomic():
            Delivery().deliver()

        rename("out_of_the_way", "ai_usage_log")
        assert Delivery().deliver() == Delivered(written=3)

    def test_event_of_an_open_unit_is_deferred_until_the_unit_ends(self, box):
        unit = Unit()
        unit.begin()
        with freeze_time(NOON):
            event = make_event(unit=unit.id, created_at=utc_now())
            box.put(event)
            box.put(event.amended(section="later"))

            assert Delivery().deliver() == Delivered()
            unit.end()
            assert Delivery().deliver() == Delivered(written=1)

        assert AIUsageLog.objects.get().section == "later"

    @pytest.mark.django_db(transaction=True)
    @pytest.mark.parametrize("batch", [1, 500])
    @pytest.mark.parametrize("is_deferred", [True, False])
    @pytest.mark.parametrize("has_disk", [True, False])
    def test_row_has_its_user_from_the_start(
        self, box, tmp_path, monkeypatch, caplog, has_disk, is_deferred, batch
    ):
        if not has_disk:
            (tmp_path / "outbox").write_text("a file where the directory would be")
        caplog.set_level(logging.INFO, "ai_usage_tracker")
        monkeypatch.setattr(deliverer, "BATCH", batch)
        ada, unit = make_user("ada"), Unit()
        unit.begin()
        event = make_event(unit=unit.id, created_at=utc_now())
        box.put(event)
        if is_deferred:
            assert Delivery().deliver() == Delivered()
        box.put(event.amended(user_id=str(ada.pk), username="ada"))
        unit.end()

        assert Delivery().deliver() == Delivered(written=1)

        (line,) = [line for line in caplog.messages if "[TRACK_COMPLETE]" in line]
        assert "User: ada" in line
        assert AIUsageLog.objects.get().user == ada
        assert box.is_empty()

    @pytest.mark.parametrize(
        ("module", "name"), [(deliverer, "open_units"), (pending_users, "_unresolved")]
    )
    def test_event_of_a_unit_that_ends_during_the_check_is_deferred(
        self, box, monkeypatch, module, name
    ):
        class EndsAfterCheck(dict[Any, Any]):
            """The unit ends in another thread right after the first check."""

            def __contains__(self, key: object) -> bool:
                found = super().__contains__(key)
                if unit.open:
                    pending_users.end(unit)
                return found

        unit = Unit()
        unit.begin()
        event = make_event(unit=unit.id, created_at=utc_now())
        visitor = Pending(SimpleLazyObject(lambda: make_user("ada")))
        unit.remember(Call(event, Attribution(None, visitor, "chat", {}, unit, None), ""))
        box.put(event)
        monkeypatch.setattr(pending_users, "_unresolved", {})
        monkeypatch.setattr(module, name, EndsAfterCheck(getattr(module, name)))

        events = [event for batch in box.batches(500, Deliverer()._defers) for event in batch]

        unit.end()
        assert not events, "the user is not resolved yet"

    def test_event_of_a_unit_that_never_ends_is_deferred_for_half_a_minute(self, box):
        unit = Unit()
        unit.begin()
        with freeze_time(NOON) as clock:
            box.put(make_event(unit=unit.id, created_at=utc_now(), response_time_ms=5000))
            mine = Delivery()
            clock.tick(34.9)  # a call of 5 s and a wait of 30 s
            assert mine.deliver() == Delivered()
            clock.tick(0.2)
            assert mine.deliver() == Delivered(written=1)
        unit.end()

    def test_event_of_a_unit_of_another_process_is_not_deferred(self, box):
        box.put(make_event(unit="1-1", created_at=utc_now()))

        assert Delivery().deliver() == Delivered(written=1)

    def test_event_without_its_user_is_retried_later(self, box):
        user = make_user()
        with freeze_time(NOON) as clock:
            box.put(make_event(user=user))
            User.objects.all().delete()
            mine = Delivery()

            assert mine.deliver() == Delivered(deferred=1)
            user.save(force_insert=True)
            assert mine.deliver() == Delivered(), "it is retried too early"
            clock.tick(6)
            assert mine.deliver() == Delivered(written=1)

        assert AIUsageLog.objects.get().user == user
        assert_in_step()

    def test_event_whose_user_never_exists_is_stored_without_a_user(self, box):
        with freeze_time(NOON) as clock:
            box.put(make_event(user_id="999999", username="ghost"))
            mine = Delivery()
            written = 0
            for _ in range(70):
                written += mine.deliver().written
                clock.tick(10)

        assert written == 1
        assert AIUsageLog.objects.get().user is None
        assert box.is_empty()

    def test_deferred_event_survives_the_process(self, box, tmp_path):
        box.put(make_event(user_id="999999", username="ghost", created_at=utc_now()))
        assert Delivery().deliver() == Delivered(deferred=1)
        box.close()

        successor = Outbox(tmp_path / "outbox")

        assert successor.adopt_orphans() == 1


class TestThread:
    def test_event_is_written_at_the_end_of_the_request(self, site):
        user = make_user()
        outbox.put(make_event(user=user))

        request_finished.send(sender=None)

        wait_for_rows("chat")
        assert_in_step()

    def test_waiting_caller_sees_its_rows(self, site):
        user = make_user()
        outbox.put(make_event(user=user))

        outbox.wake(wait=PATIENCE)

        assert AIUsageLog.objects.get().user == user

    def test_block_outside_a_request_sees_its_rows(self, site, monkeypatch):
        monkeypatch.setattr("usage_tracking.outbox.WAIT", PATIENCE)

        with ai_usage("chat", user=make_user()) as usage:
            usage.record(prompt_tokens=1)

        assert AIUsageTracking.objects.get().total_requests == 1

    def test_event_without_a_wake_is_written_by_the_timer(self, site, short_intervals):
        outbox.put(make_event())

        wait_for_rows("chat")

    def test_events_are_written_independently_of_the_callers_transaction(self, site):
        user = make_user()
        with rolled_back():
            track_ai_usage(user, "chat", 150, 80)

        outbox.wake(wait=PATIENCE)

        assert sections() == ["chat"]
        assert_in_step()

    def test_orphans_are_written(self, site, tmp_path, short_intervals):
        dead = Outbox(tmp_path / "outbox")
        dead.put(make_event(section="orphan"))
        dead.close()

        outbox.put(make_event(section="mine"))

        wait_for_rows("mine", "orphan")

    def test_orphans_are_written_by_a_process_without_calls(self, site, tmp_path):
        dead = Outbox(tmp_path / "outbox")
        dead.put(make_event(section="orphan"))
        dead.close()

        request_finished.send(sender=None)

        wait_for_rows("orphan")

    def test_process_without_calls_has_no_thread(self, site, tmp_path, monkeypatch):
        monkeypatch.setattr(worker, "ORPHANS_EVERY", 0.0)
        running = Outbox(tmp_path / "outbox")
        running.put(make_event())

        for _ in range(3):
            request_finished.send(sender=None)

        assert THREAD not in {thread.name for thread in threading.enumerate()}
        running.close()

    def test_process_without_calls_looks_for_orphans_once_a_minute(
        self, site, tmp_path, monkeypatch
    ):
        now = 1000.0
        monkeypatch.setattr(worker, "time", SimpleNamespace(monotonic=lambda: now))
        request_finished.send(sender=None)
        dead = Outbox(tmp_path / "outbox")
        dead.put(make_event(section="orphan"))
        dead.close()

        now += worker.ORPHANS_EVERY - 0.1
        request_finished.send(sender=None)
        assert THREAD not in {thread.name for thread in threading.enumerate()}, (
            "orphans were adopted too early"
        )
        now += 0.1
        request_finished.send(sender=None)

        wait_for_rows("orphan")

    @pytest.mark.slow
    def test_more_orphans_than_one_adoption_takes_are_written_soon(
        self, site, tmp_path, monkeypatch
    ):
        monkeypatch.setattr(outbox.limits, "ADOPTED", 2)
        monkeypatch.setattr(worker, "ORPHANS_EVERY", HOUR)
        for _ in range(5):
            dead = Outbox(tmp_path / "outbox")
            dead.put(make_event(section="orphan"))
            dead.close()

        outbox.put(make_event(section="mine"))
        request_finished.send(sender=None)

        # The thread does not wait for the next search for orphans, a minute later.
        wait_for_rows("mine", *["orphan"] * 5)

    def test_thread_starts_with_the_first_call(self, site):
        assert THREAD not in {thread.name for thread in threading.enumerate()}

        outbox.expect()
        outbox.expect()

        assert [thread.name for thread in threading.enumerate()].count(THREAD) == 1

    def test_thread_is_a_daemon(self, site):
        outbox.expect()

        (thread,) = (thread for thread in threading.enumerate() if thread.name == THREAD)
        assert thread.daemon

    def test_exit_writes_undelivered_calls(self, site):
        for _ in range(3):
            outbox.put(make_event())

        delivery.stop()

        assert AIUsageLog.objects.count() == 3

    def test_exit_without_a_call_does_not_wait(self, site):
        delivery.stop()

        assert delivery._worker._wakeups.are_none()

    def test_wake_starts_the_thread_for_undelivered_calls(self, site):
        site.put(make_event())

        request_finished.send(sender=None)

        wait_for_rows("chat")

    def test_site_without_prices_gets_its_rows_without_cost(
        self, site, settings, monkeypatch, tmp_path
    ):
        settings.AI_USAGE_RAISE_ERRORS = False
        monkeypatch.setattr(data, "PATH", tmp_path / "not there")
        data.load.cache_clear()
        table.find.cache_clear()
        outbox.put(make_event())

        outbox.wake(wait=PATIENCE)

        log = AIUsageLog.objects.get()
        assert (log.total_tokens, log.cost) == (230, None)

    def test_exit_during_a_wait_of_a_caller(self, site, monkeypatch):
        monkeypatch.setattr(worker, "EXIT", HOUR)
        busy, free = threading.Event(), threading.Event()

        def store_slowly(*_: object, **__: object) -> Stored:
            busy.set()
            wait_for(free, awaited="the end of the test")
            return Stored()

        monkeypatch.setattr(batches, "store", store_slowly)
        outbox.put(make_event())
        request_finished.send(sender=None)
        wait_for(busy, awaited="the thread that delivers")
        answers: list[bool | None] = []
        caller = threading.Thread(
            target=lambda: answers.append(delivery.wake(wait=HOUR)), daemon=True
        )
        exit = threading.Thread(target=delivery.stop, daemon=True)
        try:
            for number, thread in enumerate((caller, exit), 1):
                thread.start()
                wait_until(
                    lambda number=number: delivery._worker._wakeups._queue.qsize() == number,
                    awaited=f"{number} that wait for the thread",
                    seen=delivery._worker._wakeups._queue.qsize,
                )
        finally:
            free.set()

        join(caller, exit)
        assert answers == [True]

    def test_call_after_the_exit_is_written_by_a_new_thread(self, site):
        outbox.put(make_event())
        end_of_process()

        outbox.put(make_event())
        outbox.wake(wait=PATIENCE)

        assert AIUsageLog.objects.count() == 2

    def test_call_is_kept_if_no_thread_can_start(self, site, monkeypatch, caplog):
        def start(thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", start)
            outbox.put(make_event())
        assert caplog.messages == ["[TRACK_WARNING] No thread for delivery: can't start new thread"]

        outbox.wake(wait=PATIENCE)

        assert AIUsageLog.objects.count() == 1

    def test_wake_without_an_event_starts_no_thread(self, site):
        request_finished.send(sender=None)
        outbox.wake(wait=PATIENCE)

        assert THREAD not in {thread.name for thread in threading.enumerate()}

    def test_many_wakes_write_each_event_once(self, site):
        user = make_user()
        for _ in range(30):
            outbox.put(make_event(user=user))
            request_finished.send(sender=None)

        wait_until(site.is_empty, awaited="an empty outbox", seen=sections)
        outbox.put(make_event(user=user))
        outbox.wake(wait=PATIENCE)

        assert AIUsageTracking.objects.get().total_requests == 31
        assert_in_step()

    def test_unavailable_database_neither_delays_the_caller_nor_loses_a_call(
        self, site, short_intervals, caplog
    ):
        caplog.set_level("INFO", logger="ai_usage_tracker")
        user = make_user()
        rename("ai_usage_log", "out_of_the_way")
        try:
            for _ in range(3):
                outbox.put(make_event(user=user))
            outbox.wake(wait=PATIENCE)
            wait_until(
                lambda: len(warnings(caplog)) >= 3,
                awaited="three deliveries that fail",
                seen=lambda: caplog.messages,
            )
            assert delivery.wake(wait=PATIENCE) is False, "the caller waited"
        finally:
            rename("out_of_the_way", "ai_usage_log")

        wait_for_rows(*["chat"] * 3)
        wait_until(
            lambda: any("works again" in message for message in caplog.messages),
            awaited="the line that says that delivery works again",
            seen=lambda: caplog.messages,
        )
        assert warnings(caplog)[0].startswith("[TRACK_WARNING] Delivery failed (")
        assert warnings(caplog)[0].endswith(" s; events wait")
        assert [bool(record.exc_info) for record in caplog.records if record.levelno == 30][:2] == [
            True,
            False,
        ]
        assert_in_step()

    @pytest.mark.postgres
    def test_held_lock_is_logged_as_a_warning_at_the_third_try(
        self, site, short_intervals, caplog, monkeypatch
    ):
        caplog.set_level("INFO", logger="ai_usage_tracker")
        monkeypatch.setattr(writer, "LOCK_TIMEOUT", "1ms")
        delays = note_delays(monkeypatch)
        user = make_user()
        save_log(user=user, section="first")

        with transaction.atomic():
            save_log(user=user, section="second")
            outbox.put(make_event(user=user))
            wait_until(lambda: warnings(caplog), awaited="a warning of the lock")
        wait_for_rows("chat", "first", "second")

        # The number of tries until the lock is released can vary.
        assert len(delays) - len(warnings(caplog)) == 2
        assert "lock timeout" in warnings(caplog)[0]
        assert next(record for record in caplog.records if record.levelno == 30).exc_info
        assert_in_step()

    @pytest.mark.postgres
    def test_briefly_held_lock_logs_no_warning(self, site, short_intervals, caplog, monkeypatch):
        caplog.set_level("INFO", logger="ai_usage_tracker")
        monkeypatch.setattr(writer, "LOCK_TIMEOUT", "1ms")
        failed, released = pause_after_a_failed_try(monkeypatch)
        user = make_user()
        save_log(user=user, section="first")

        with transaction.atomic():
            save_log(user=user, section="second")
            outbox.put(make_event(user=user))
            wait_for(failed, awaited="a delivery that fails for the lock")
        released.set()
        wait_for_rows("chat", "first", "second")

        assert warnings(caplog) == []
        assert_in_step()

    def test_first_warning_has_the_traceback_after_other_failures(
        self, site, short_intervals, caplog
    ):
        locked = OperationalError("canceling statement due to lock timeout")
        locked.__cause__ = DriverError("55P03")
        mine = Delivery()
        for error in (locked, DatabaseError("no such table"), DatabaseError("no such table")):
            mine._worker._back_off(error)

        logged = [record for record in caplog.records if record.levelno == logging.WARNING]
        assert [bool(record.exc_info) for record in logged] == [True, False]

    @pytest.mark.postgres
    def test_connection_is_closed_when_idle(self, site, short_intervals, monkeypatch):
        # Otherwise Django closes the connection after each delivery.
        monkeypatch.setitem(connection.settings_dict, "CONN_MAX_AGE", None)
        outbox.put(make_event())
        wait_for_rows("chat")

        wait_until(
            lambda: not others_connected(),
            awaited="the end of the thread's connection",
            seen=others_connected,
        )

        outbox.put(make_event())
        wait_for_rows("chat", "chat")

    @pytest.mark.postgres
    def test_broken_connection_is_replaced(self, site, short_intervals):
        outbox.put(make_event())
        outbox.wake(wait=PATIENCE)
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT pg_terminate_backend(pid) {OTHERS}")

        outbox.put(make_event())

        wait_for_rows("chat", "chat")

    def test_caller_makes_no_statements(self, site, django_assert_num_queries):
        event = make_event()

        with django_assert_num_queries(0):
            outbox.put(event)
            outbox.wake(wait=PATIENCE)
            request_finished.send(sender=None)

    def test_tracked_call_inside_a_transaction_writes_nothing_there(self, site):
        user = make_user()
        track_ai_usage(user, "chat", 1, 2)

        with transaction.atomic(), CaptureQueriesContext(connection) as queries:
            log, day = track_ai_usage(user, "chat", 150, 80)

        assert {query["sql"].split()[0] for query in queries} <= {"SELECT", "SAVEPOINT", "RELEASE"}
        assert (log._state.adding, day.total_requests, day.total_tokens) == (True, 2, 233)
        outbox.wake(wait=PATIENCE)
        assert AIUsageTracking.objects.get().total_tokens == 233
        assert_in_step()

    @pytest.mark.sqlite
    class TestDeferredTransactions:
        """SQLite's default. With it, a second writer makes the site's own write fail."""

        @pytest.fixture(autouse=True)
        def _deferred(self, site: MemoryOutbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
            connection.close()
            monkeypatch.delitem(
                connection.settings_dict["OPTIONS"], "transaction_mode", raising=False
            )
            yield
            connection.close()

        def test_callers_transaction_never_fails(self, short_intervals, cycles):
            user = make_user()
            with transaction.atomic():
                User.objects.count()
                track_ai_usage(user, "chat", 150, 80)
                outbox.wake(wait=PATIENCE)
                cycles.wait_for_two()  # the timer fires but does not deliver
                user.first_name = "Ada"
                user.save()

            wait_for_rows("chat")
            assert_in_step()

        def test_request_does_not_wait_for_the_lock_of_another_process(
            self, site, short_intervals, monkeypatch, caplog
        ):
            # Delivery would hold the gate for an hour if it waited for a lock as long as the site.
            connection.close()
            monkeypatch.setitem(connection.settings_dict["OPTIONS"], "timeout", HOUR)
            timeouts: list[Any] = []

            def store(*args: Any, **options: Any) -> Stored:
                with connection.cursor() as cursor:
                    timeouts.append(cursor.execute("PRAGMA busy_timeout").fetchone()[0])
                return worker_store(*args, **options)

            worker_store = batches.store
            monkeypatch.setattr(batches, "store", store)
            User.objects.count()  # opens the connection
            other = connection.get_new_connection(connection.get_connection_params())
            other.execute("BEGIN IMMEDIATE")
            try:
                outbox.put(make_event())
                for failures in (1, 2, 3):
                    outbox.wake()
                    wait_until(
                        lambda failures=failures: len(warnings(caplog)) >= failures,
                        awaited=f"{failures} deliveries that give way",
                        seen=lambda: (timeouts, caplog.messages),
                    )
                    assert scope.gate.acquire(timeout=PATIENCE), "a request waits for the lock"
                    scope.gate.release()
            finally:
                other.rollback()
                other.close()

            assert "locked" in warnings(caplog)[0]
            assert set(timeouts) == {1000 * outbox.WAIT}
            wait_for_rows("chat")

        def test_callers_may_arrive_while_others_are_checked(self, monkeypatch):
            class Caller:
                vendor = "sqlite"
                settings_dict: dict[str, Any] = {}
                in_atomic_block = False

            class Connections:
                latest: deque[Caller] = deque(maxlen=50)

                def __getitem__(self, alias: str) -> Caller:
                    self.latest.append(Caller())
                    return self.latest[-1]

            monkeypatch.setattr(listener, "connections", Connections())
            monkeypatch.setattr(worker.Worker, "start", lambda self: None)
            mine = Delivery()
            ended = threading.Event()
            interval = sys.getswitchinterval()
            sys.setswitchinterval(1e-6)

            def arrive() -> None:
                try:
                    for _ in range(5000):
                        mine.arrived("")
                finally:
                    ended.set()

            def check() -> None:
                while not ended.is_set():
                    mine._worker.callers.may_fail()

            try:
                run_in_threads(arrive, check)
            finally:
                sys.setswitchinterval(interval)

        def test_open_request_never_fails(self, short_intervals, cycles, monkeypatch):
            # Delivery never disturbs an open request, however long the check takes.
            monkeypatch.setattr(sqlite, "DEFERRED_FOR", HOUR)
            unit = Unit()
            unit.begin()
            outbox.put(make_event())
            cycles.wait_for_two()
            assert not AIUsageLog.objects.exists()

            unit.end()

            wait_for_rows("chat")


class TestFlush:
    def test_empty_outbox_is_reported(self, box):
        assert run_command("flush_ai_usage") == (0, "0 calls delivered\n", "")

    def test_undelivered_calls_are_delivered(self, box):
        for _ in range(3):
            box.put(make_event())

        assert run_command("flush_ai_usage") == (0, "3 calls delivered\n", "")
        assert AIUsageLog.objects.count() == 3

    def test_files_of_dead_and_running_processes_are_distinguished(self, box, tmp_path):
        dead, running = Outbox(tmp_path / "outbox"), Outbox(tmp_path / "outbox")
        dead.put(make_event())
        running.put(make_event())
        dead.close()

        assert run_command("flush_ai_usage") == (
            0,
            "1 calls delivered\n"
            "1 files of dead processes taken over\n"
            "1 files belong to living processes, which deliver them\n",
            "",
        )
        running.close()

    def test_call_of_a_user_who_does_not_exist_yet_is_deferred(self, box):
        box.put(make_event(user_id="999999", username="ghost", created_at=utc_now()))

        assert run_command("flush_ai_usage") == (
            0,
            "0 calls delivered\n1 calls wait for their user to be saved or unlocked\n",
            "",
        )

    def test_refused_call_is_reported_and_can_be_retried(self, box, tmp_path):
        box.put(make_event(section="poison"))
        box.put(make_event())
        refuse_section("poison")

        refused = (
            f"1 calls were refused by the database; see the dead letters in {tmp_path / 'outbox'}\n"
        )
        assert run_command("flush_ai_usage") == (1, "1 calls delivered\n", refused)
        assert run_command("flush_ai_usage") == (0, "0 calls delivered\n", "")
        assert run_command("flush_ai_usage", "--retry-dead") == (
            1,
            "1 refused calls retried\n0 calls delivered\n",
            refused,
        )
        accept_section("poison")
        assert run_command("flush_ai_usage", "--retry-dead") == (
            0,
            "1 refused calls retried\n1 calls delivered\n",
            "",
        )
        assert sections() == ["chat", "poison"]

    def test_refused_call_in_memory_is_reported(self, settings):
        settings.AI_USAGE_OUTBOX = None
        refuse_section("poison")
        outbox.get().put(make_event(section="poison"))

        assert run_command("flush_ai_usage") == (
            1,
            "0 calls delivered\n",
            "1 calls were refused by the database; see the dead letters in memory\n",
        )

    def test_unavailable_database_is_an_error_and_keeps_the_calls(self, box):
        box.put(make_event())
        with transaction.atomic():
            rename("ai_usage_log", "out_of_the_way")
            with transaction.atomic():
                code, out, err = run_command("flush_ai_usage")
                transaction.set_rollback(True)
            rename("out_of_the_way", "ai_usage_log")

        assert (code, out) == (2, "")
        assert err == (
            "Database 'default' has no table ai_usage_log: run `manage.py migrate --database "
            "default`. Undelivered calls stay in the outbox.\n"
        )
        assert run_command("flush_ai_usage") == (0, "1 calls delivered\n", "")

    @pytest.mark.postgres
    @pytest.mark.django_db(transaction=True)
    def test_briefly_held_lock_is_not_an_error(self, box, monkeypatch):
        monkeypatch.setattr(writer, "LOCK_TIMEOUT", "1ms")
        failed, released = pause_after_a_failed_try(monkeypatch)
        user = make_user()
        save_log(user=user, section="first")
        box.put(make_event(user=user))
        ended: list[tuple[int, str, str]] = []
        command = threading.Thread(
            target=run_in_threads, args=(lambda: ended.append(run_command("flush_ai_usage")),)
        )

        with transaction.atomic():
            save_log(user=user, section="second")
            command.start()
            wait_for(failed, awaited="a try that fails for the lock")
        released.set()
        join(command)

        assert ended == [(0, "1 calls delivered\n", "")]
        assert_in_step()

    @pytest.mark.postgres
    @pytest.mark.django_db(transaction=True)
    def test_permanently_held_lock_is_an_error_and_keeps_the_calls(self, box, monkeypatch):
        monkeypatch.setattr(writer, "LOCK_TIMEOUT", "1ms")
        delays = note_delays(monkeypatch)
        user = make_user()
        save_log(user=user)
        box.put(make_event(user=user))
        ended: list[tuple[int, str, str]] = []

        with transaction.atomic():
            save_log(user=user)
            run_in_threads(lambda: ended.append(run_command("flush_ai_usage")))

        ((code, out, err),) = ended
        assert (code, out) == (2, "")
        assert "lock timeout" in err
        assert len(delays) == 2
        assert run_command("flush_ai_usage") == (0, "1 calls delivered\n", "")


class DriverError(Exception):
    """A driver's exception with the SQLSTATE that the server reports."""

    def __init__(self, sqlstate: str) -> None:
        self.sqlstate = sqlstate


def note_delays(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Record the number of consecutive failures before each delayed try."""
    delays: list[int] = []

    def delay(failures: int) -> float:
        delays.append(failures)
        return 0.0

    monkeypatch.setattr(deliverer, "delay", delay)
    return delays


def pause_after_a_failed_try(
    monkeypatch: pytest.MonkeyPatch,
) -> tuple[threading.Event, threading.Event]:
    """Make the next try wait for the second event. The first is set when a try has failed."""
    failed, released = threading.Event(), threading.Event()

    def delay(failures: int) -> float:
        failed.set()
        wait_for(released, awaited="the end of the transaction")
        return 0.0

    monkeypatch.setattr(deliverer, "delay", delay)
    return failed, released


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


#: Other connections to the database of this test.
OTHERS = (
    "FROM pg_stat_activity WHERE datname = current_database() "
    "AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
)


def others_connected() -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT pid, state, query {OTHERS}")
        return list(cursor.fetchall())


def rename(table: str, name: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME TO {name}")


#: Values that a damaged disk, another release or an attacker may have written.
_hostile = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**25), 10**25),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["NaN", "1e400", "\x00", "\ud800", "0" * 60, "' OR 1=1 --", "9999-12-31"]),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=3), st.none() | st.text(max_size=3), max_size=3),
)
_fields = st.sampled_from(["user_id", "username", "cost", *json.loads(make_event().to_json())])
_noise = st.one_of(
    st.binary(max_size=200).filter(lambda noise: b"\n" not in noise),
    st.dictionaries(_fields, _hostile, min_size=1, max_size=4).map(
        lambda wrong: json.dumps(json.loads(make_event().to_json()) | wrong).encode()
    ),
    st.integers(1, 200).map(lambda length: make_event().to_json().encode()[:length]),
)


@pytest.mark.costly
def test_hostile_outbox_lines_block_no_valid_event(box, caplog):
    """Each valid event is written and no exception is raised, whatever the other lines are."""

    @settings(derandomize=True, database=None, deadline=None, max_examples=60)
    @given(lines=st.lists(st.none() | _noise, max_size=8))
    def check(lines: list[bytes | None]) -> None:
        AIUsageLog.objects.all().delete()
        AIUsageTracking.objects.all().delete()
        box.put(sound := make_event(section="first"))
        expected = {sound.id}
        with box.segments()[0].open("ab") as file:
            for line in lines:
                event = make_event(section="sound")
                expected |= {event.id} if line is None else set()
                file.write((event.to_json().encode() if line is None else line) + b"\n")
        box.close()  # releases the lock, as if the owner had died

        Delivery().deliver()

        assert expected <= set(AIUsageLog.objects.values_list("pk", flat=True))
        assert_in_step()
        assert box.is_empty()

    check()
