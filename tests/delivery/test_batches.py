"""Errors in a batch: an error of one event blocks no other, and an error of all loses none."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError, connection

from tests.support.builders import make_event
from usage_tracking import outbox
from usage_tracking.delivery import batches, delivery
from usage_tracking.delivery.deliverer import Deliverer
from usage_tracking.delivery.writer import Stored, store
from usage_tracking.events import utc_now
from usage_tracking.models import AIUsageLog
from usage_tracking.outbox import MemoryOutbox

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def box(tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> MemoryOutbox:
    settings.AI_USAGE_OUTBOX = tmp_path / "outbox"
    monkeypatch.setattr(outbox, "inline", lambda: False)
    return outbox.get()


def execute(*statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


@contextmanager
def trigger(body: str) -> Iterator[None]:
    """Run `body` before each insert of a row of the section "poison"."""
    execute(
        f"CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$BEGIN IF NEW.section = 'poison' THEN {body}; END IF; RETURN NEW; END$$",
        "CREATE TRIGGER refuse BEFORE INSERT ON ai_usage_log "
        "FOR EACH ROW EXECUTE FUNCTION refuse()",
    )
    try:
        yield
    finally:
        execute("DROP TRIGGER refuse ON ai_usage_log", "DROP FUNCTION refuse")


@contextmanager
def policy() -> Iterator[None]:
    """Apply row-level security to the table owner. It does not apply to superusers."""
    execute(
        "CREATE ROLE tenant_of_a_test",
        "GRANT ALL ON ALL TABLES IN SCHEMA public TO tenant_of_a_test",
        "ALTER TABLE ai_usage_log ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY refuse ON ai_usage_log USING (true) WITH CHECK (section <> 'poison')",
        "SET ROLE tenant_of_a_test",
    )
    try:
        yield
    finally:
        execute(
            "RESET ROLE",
            "DROP POLICY refuse ON ai_usage_log",
            "ALTER TABLE ai_usage_log DISABLE ROW LEVEL SECURITY",
            "DROP OWNED BY tenant_of_a_test",
            "DROP ROLE tenant_of_a_test",
        )


@contextmanager
def statement_timeout() -> Iterator[None]:
    execute("SET statement_timeout = '1s'")
    try:
        with trigger("PERFORM pg_sleep(3600)"):
            yield
    finally:
        execute("RESET statement_timeout")


FAULTS = {
    "RAISE in a trigger": lambda: trigger("RAISE EXCEPTION 'no poison'"),
    "RAISE with a state of its own": lambda: trigger("RAISE 'no' USING ERRCODE = 'ZZ001'"),
    "a trigger that needs a table": lambda: trigger("INSERT INTO gone VALUES (1)"),
    "row-level security": policy,
    "statement_timeout": statement_timeout,
}


@pytest.mark.postgres
@pytest.mark.parametrize("fault", FAULTS)
def test_refused_event_is_dead_lettered_and_blocks_no_other(box, fault):
    for number in range(5):
        box.put(make_event(section="poison" if number == 2 else "chat"))

    with FAULTS[fault]():
        done = delivery.deliver()

    assert (done.written, done.dead_lettered) == (4, 1)
    assert AIUsageLog.objects.count() == 4
    (letter,) = box.dead_letters()
    assert letter.event["section"] == "poison"
    assert box.is_empty()


@pytest.mark.postgres
@pytest.mark.parametrize("fault", ["RAISE in a trigger", "row-level security"])
def test_single_refused_event_is_dead_lettered(box, fault):
    box.put(make_event(section="poison"))

    with FAULTS[fault]():
        assert delivery.deliver().dead_lettered == 1

    assert box.is_empty()


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("harm", "undo"),
    [
        ("ALTER TABLE ai_usage_log RENAME TO away", "ALTER TABLE away RENAME TO ai_usage_log"),
        (
            "ALTER TABLE ai_usage_log RENAME section TO s",
            "ALTER TABLE ai_usage_log RENAME s TO section",
        ),
        ("SET default_transaction_read_only = on", "SET default_transaction_read_only = off"),
    ],
)
def test_database_fault_loses_no_event(box, harm, undo):
    events = [make_event(created_at=utc_now()) for _ in range(40)]
    for event in events:
        box.put(event)

    execute(harm)
    try:
        for _ in range(3):
            with pytest.raises(DatabaseError):
                delivery.deliver()
    finally:
        execute(undo)

    assert box.dead_letters() == []
    assert delivery.deliver().written == 40


def test_internal_error_of_one_event_blocks_no_other(box, monkeypatch):
    poison = make_event()

    def picky(events: Any, **options: Any) -> Stored:
        if poison in list(events):
            raise OverflowError("Python int too large to convert to SQLite INTEGER")
        return store(events, **options)

    monkeypatch.setattr(batches, "store", picky)
    for event in (make_event(), poison, make_event()):
        box.put(event)

    assert (delivery.deliver().written, AIUsageLog.objects.count()) == (2, 2)
    (letter,) = box.dead_letters()
    assert letter.reason == "OverflowError: Python int too large to convert to SQLite INTEGER"


@pytest.mark.parametrize("failures", range(1, 10))
def test_fault_that_ends_during_single_retries_dead_letters_no_event(box, monkeypatch, failures):
    left = failures

    def store_later(events: Any, **options: Any) -> Stored:
        nonlocal left
        if left:
            left -= 1
            cause = sqlite3.OperationalError("no such table: ai_usage_log")
            cause.sqlite_errorcode = sqlite3.SQLITE_ERROR
            raise DatabaseError from cause
        return store(events, **options)

    monkeypatch.setattr(batches, "store", store_later)
    for _ in range(3):
        box.put(make_event())

    while left:
        with suppress(DatabaseError):
            delivery.deliver()
    delivery.deliver()

    assert box.dead_letters() == []
    assert AIUsageLog.objects.count() == 3


def test_few_statements_detect_that_every_event_fails(box, monkeypatch):
    tried = []

    def refuse(events: Any, **options: Any) -> Stored:
        tried.append(len(list(events)))
        raise RuntimeError("a bug that no event is to blame for")

    monkeypatch.setattr(batches, "store", refuse)
    for _ in range(500):
        box.put(make_event())

    with pytest.raises(RuntimeError):
        delivery.deliver()

    assert len(tried) < 40
    assert box.dead_letters() == []
    monkeypatch.undo()
    assert sum(map(len, box.batches(500, lambda event: False))) == 500


@pytest.mark.sqlite
def test_lock_of_another_process_is_contention(tmp_path, monkeypatch):
    path = connection.settings_dict["NAME"]
    with closing(sqlite3.connect(path, uri=True)) as other:
        execute("PRAGMA busy_timeout = 0")
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseError) as caught:
            store([make_event()], using="default")
        other.rollback()

    assert batches.is_contention(caught.value)


def test_missing_table_is_not_contention():
    with pytest.raises(DatabaseError) as caught:
        execute("SELECT * FROM gone")

    assert not batches.is_contention(caught.value)


def test_code_before_its_migration_loses_no_call(box, caplog):
    """A rolling deploy may start the new release before `migrate`: its calls wait."""
    event = make_event(usage_details={"web_searches": 2})
    box.put(event)
    execute("ALTER TABLE ai_usage_log RENAME COLUMN usage_details TO not_yet")
    try:
        with pytest.raises(DatabaseError) as raised:
            Deliverer().deliver()
    finally:
        execute("ALTER TABLE ai_usage_log RENAME COLUMN not_yet TO usage_details")

    assert batches.remedy(raised.value) == 'run "manage.py migrate usage_tracking"'
    assert not box.is_empty()
    Deliverer().deliver()
    assert AIUsageLog.objects.get().usage_details == {"web_searches": 2}


def test_row_of_the_release_before_has_no_further_units(box):
    """The release before inserts without the new column while this one has migrated."""
    log = AIUsageLog.objects.create(section="chat", metadata={"cache_write_tokens": 5})
    execute("UPDATE ai_usage_log SET usage_details = NULL")
    box.put(make_event(id=log.pk, revision=1, cache_write_tokens=7))

    Deliverer().deliver()

    assert AIUsageLog.objects.get().usage_details == {"cache_write_tokens": 7}


@pytest.mark.parametrize("metadata", ["[]", '"x"', "7", "null"])
def test_end_of_a_call_is_stored_over_metadata_that_is_no_object(box, metadata):
    log = AIUsageLog.objects.create(section="chat")
    execute(f"UPDATE ai_usage_log SET metadata = '{metadata}'")
    box.put(make_event(id=log.pk, revision=1, completes=True, metadata={"partial": True}))

    Deliverer().deliver()

    row = AIUsageLog.objects.get()
    assert (row.prompt_tokens, row.metadata["partial"]) == (150, True)
