"""In a site's own tests, each read sees the calls, and tests that read none pay nothing."""

from __future__ import annotations

import logging
import unittest
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection, transaction
from django.db.models import Sum
from django.test import SimpleTestCase, TestCase, TransactionTestCase
from django.test.utils import CaptureQueriesContext

from tests.support.builders import (
    capture,
    make_event,
    make_user,
    refuse_section,
    rolled_back,
    save_log,
)
from tests.support.commands import run_command
from tests.support.ledger import assert_in_step
from tests.support.threads import run_in_threads
from usage_tracking import ai_usage, outbox, track_ai_usage
from usage_tracking.attribution.scope import Unit
from usage_tracking.models import AIUsageLog, AIUsageTracking

needs_database = pytest.mark.django_db

#: Django 6.1 renames it.
begin_savepoint = getattr(transaction, "savepoint_create", None) or transaction.savepoint


def sections() -> list[str]:
    return sorted(AIUsageLog.objects.values_list("section", flat=True))


def raw(sql: Any) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()[0][0]


READERS: dict[str, Callable[[], Any]] = {
    "objects": lambda: len(AIUsageLog.objects.all()),
    "aggregate": lambda: AIUsageTracking.objects.aggregate(Sum("total_requests")).popitem()[1],
    "iterator": lambda: len(list(AIUsageLog.objects.iterator())),
    "join from the user": lambda: User.objects.filter(ai_usage_logs__section="chat").count(),
    "prefetch": lambda: len(User.objects.prefetch_related("ai_usage_logs")[0].ai_usage_logs.all()),
    "update": lambda: AIUsageLog.objects.update(section="other"),
    "delete": lambda: AIUsageLog.objects.all().delete()[0],
    "raw SQL": lambda: raw("SELECT count(*) FROM AI_USAGE_LOG"),
}


@needs_database
class TestRead:
    @pytest.mark.parametrize("transaction_around_the_test", [True, False])
    @pytest.mark.parametrize("reader", READERS)
    def test_each_kind_of_read_sees_the_calls(
        self, request, reader: str, transaction_around_the_test: bool
    ):
        if not transaction_around_the_test:
            request.getfixturevalue("transactional_db")
        user = make_user()
        capture(user_id=str(user.pk), username="ada", section="chat")

        assert READERS[reader]() == 1

        assert_in_step()

    @pytest.mark.postgres
    @pytest.mark.parametrize("driver_takes", [bytes, "composed"])
    def test_other_kinds_of_statements_are_recognized(self, driver_takes):
        statement: Any = b"SELECT count(*) FROM ai_usage_log"
        if driver_takes == "composed":
            from django.db.backends.postgresql.psycopg_any import sql

            statement = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier("ai_usage_log"))
        capture(section="chat")

        assert raw(statement) == 1

    def test_command_sees_the_calls(self):
        capture(section="chat")

        assert run_command("flush_ai_usage").out == "1 calls delivered\n"

    def test_statements_of_delivery_are_not_counted(self, django_assert_num_queries):
        seen: list[str] = []

        def note(execute: Any, sql: str, *args: Any) -> Any:
            seen.append(sql)
            return execute(sql, *args)

        for _ in range(2):
            capture(section="chat")
            with connection.execute_wrapper(note), django_assert_num_queries(1):
                assert AIUsageLog.objects.exists()
            assert len(seen) == 1
            seen.clear()
        assert sections() == ["chat", "chat"]

    def test_call_makes_no_query(self, django_assert_num_queries):
        user = make_user()

        with django_assert_num_queries(0), ai_usage("chat", user=user) as usage:
            capture(section="chat")
            usage.record(prompt_tokens=7)
            assert (usage.calls, usage.cost is None) == (2, False)
            outbox.wake()

        assert AIUsageTracking.objects.get().total_requests == 2

    def test_explicit_call_makes_as_many_queries_as_in_production(self):
        """This does not depend on the number of undelivered calls."""
        user = make_user()
        counts = set()
        for _ in range(2):
            with CaptureQueriesContext(connection) as queries:
                track_ai_usage(user, "chat", 1, 2)
            counts.add(len(queries))
            capture(section="chat")

        assert len(counts) == 1

    def test_broken_transaction_is_not_used(self, settings, caplog):
        settings.AI_USAGE_RAISE_ERRORS = False
        capture(section="chat")
        with rolled_back():
            transaction.set_rollback(True)
            with pytest.raises(transaction.TransactionManagementError):
                AIUsageLog.objects.count()
            transaction.set_rollback(False)

        assert (sections(), caplog.messages) == (["chat"], [])

    def test_delivery_error_does_not_affect_the_statement(self, settings, caplog):
        settings.AI_USAGE_RAISE_ERRORS = False
        with rolled_back():
            with connection.cursor() as cursor:
                cursor.execute("ALTER TABLE ai_usage_log RENAME TO out_of_the_way")
            capture(section="chat")

            assert AIUsageTracking.objects.count() == 0

        assert "[TRACK_EXCEPTION]" in caplog.text
        assert sections() == ["chat"]

    @pytest.mark.parametrize("transaction_around_the_test", [True, False])
    def test_calls_that_the_test_deletes_stay_deleted(
        self, request, transaction_around_the_test: bool
    ):
        if not transaction_around_the_test:
            request.getfixturevalue("transactional_db")
        capture(section="waits")
        AIUsageLog.objects.all().delete()
        assert sections() == []

        capture(section="waits")
        with transaction.atomic():
            AIUsageLog.objects.all().delete()
            with rolled_back():
                capture(section="inner")
                assert sections() == ["inner"]
        with rolled_back():
            User.objects.count()
        assert sections() == ["inner"]

    @pytest.mark.parametrize("transaction_around_the_test", [True, False])
    def test_manual_savepoint_loses_no_call(self, request, transaction_around_the_test: bool):
        if not transaction_around_the_test:
            request.getfixturevalue("transactional_db")
        with transaction.atomic():
            savepoint = begin_savepoint()
            capture(section="chat")
            assert sections() == ["chat"]
            transaction.savepoint_rollback(savepoint)
            assert sections() == ["chat"]

    def test_flush_removes_undelivered_calls_too(self, transactional_db: None):
        capture(section="chat")

        call_command("flush", verbosity=0, interactive=False)

        assert sections() == []

    def test_tables_can_be_altered_after_a_call(self):
        """PostgreSQL cannot alter a table after a write in the same transaction."""
        capture(section="chat")

        refuse_section("poison")

        assert sections() == ["chat"]

    def test_calls_of_another_thread_are_seen(self):
        run_in_threads(lambda: outbox.put(make_event()))

        assert sections() == ["chat"]

    def test_open_block_of_another_thread_defers_no_call(self):
        unit = Unit()
        unit.begin()
        try:
            outbox.put(make_event(unit=unit.id))

            assert sections() == ["chat"]
        finally:
            unit.end()

    def test_own_block_defers_its_calls_as_in_production(self):
        with ai_usage("chat"):
            capture(section="chat")
            assert sections() == []

        assert sections() == ["chat"]

    def test_on_commit_callbacks_run_as_in_production(self):
        with TestCase.captureOnCommitCallbacks(execute=True) as callbacks:
            transaction.on_commit(partial(capture, section="chat"))

        assert len(callbacks) == 1
        assert sections() == ["chat"]


class TestWithoutDatabase:
    def test_call_logs_and_raises_nothing(self, settings, caplog):
        settings.AI_USAGE_RAISE_ERRORS = False
        caplog.set_level(logging.INFO, logger="ai_usage_tracker")

        with ai_usage("chat") as usage:
            capture(section="chat")
        outbox.put(make_event())

        assert usage.calls == 1
        assert caplog.messages == []


def run(*cases: type[unittest.TestCase]) -> None:
    """Run the test classes in order, as Django's runner does."""
    tests = [unittest.TestLoader().loadTestsFromTestCase(case) for case in cases]
    result = unittest.TestSuite(tests).run(unittest.TestResult())
    assert [text for _, text in (*result.errors, *result.failures)] == []
    assert result.testsRun >= len(cases)


class LeavesCall(TestCase):
    def test(self) -> None:
        capture(section="left")


class SimpleLeavesCall(SimpleTestCase):
    def test(self) -> None:
        capture(section="left")


class MakesCalls(TestCase):
    """Each test sees only the calls of its class."""

    @classmethod
    def setUpTestData(cls) -> None:
        cls.user = make_user()
        track_ai_usage(cls.user, "tracked", 1, 2)
        outbox.put(make_event(section="loose"))
        with ai_usage("block", user=cls.user):
            capture()
            save_log(section="saved")
        assert sections() == ["block", "loose", "saved", "tracked"]

    def read(self) -> None:
        assert sections() == ["block", "loose", "saved", "tracked"]
        capture(section="left")

    test_first = test_second = read

    def test_without_a_read(self) -> None:
        with self.assertNumQueries(0):
            capture(section="left")


class MakesCallsWithoutReading(MakesCalls):
    @classmethod
    def setUpTestData(cls) -> None:
        for section in ("block", "loose", "saved", "tracked"):
            outbox.put(make_event(section=section))


class Reads(TransactionTestCase):
    def test(self) -> None:
        assert sections() == []
        capture(section="mine")
        assert sections() == ["mine"]
        capture(section="left")


@needs_database
@pytest.mark.parametrize("before", [LeavesCall, SimpleLeavesCall, Reads, MakesCalls])
@pytest.mark.parametrize("after", [MakesCalls, MakesCallsWithoutReading, Reads])
def test_test_classes_see_only_their_own_calls(
    transactional_db: None, before: Any, after: Any
) -> None:
    run(before, after, before)


def test_connections_in_production_are_not_watched(tmp_path: Any, database_url: str) -> None:
    from tests.support.children import run_python

    printed = run_python(
        tmp_path,
        """
        from django.db import connection
        from django.contrib.auth.models import User
        User.objects.count()
        print(connection.execute_wrappers)
        """,
        DATABASE_URL=database_url,
    )

    assert printed == "[]\n"
