"""`import_ai_usage`: what it imports, what it skips, and that a second run adds nothing."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.db import DataError, OperationalError, connection

from tests.support.builders import NOON, make_user, own_metadata
from tests.support.commands import run_command
from tests.support.ledger import assert_in_step
from usage_tracking.delivery.writer import store
from usage_tracking.maintenance import legacy_import, prune
from usage_tracking.models import AIUsageLog, AIUsageTracking

pytestmark = pytest.mark.django_db

COLUMNS = {
    "id": "integer PRIMARY KEY",
    "user_id": "integer",
    "section": "varchar(50)",
    "prompt_tokens": "bigint",
    "completion_tokens": "bigint",
    "total_tokens": "bigint",
    "response_time_ms": "real",
    "success": "boolean",
    "model_name": "varchar(100)",
    "error_message": "text",
    "metadata": "text",
    "created_at": "varchar(40)",
}


def execute(sql: str, *parameters: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)


@pytest.fixture(autouse=True)
def _old_tables() -> None:
    columns = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
    execute(f"CREATE TABLE old_log ({columns})")
    execute(
        "CREATE TABLE old_day (user_id integer, date date, total_requests integer,"
        " total_tokens integer, total_cost numeric)"
    )


def insert(**changes: Any) -> None:
    row = {
        "id": 1,
        "user_id": User.objects.get_or_create(username="old")[0].pk,
        "section": "chat",
        "prompt_tokens": 150,
        "completion_tokens": 80,
        "total_tokens": 230,
        "response_time_ms": 900.4,
        "success": True,
        "model_name": "",
        "error_message": None,
        "metadata": None,
        "created_at": NOON.isoformat(),
    } | changes
    execute(
        f"INSERT INTO old_log ({', '.join(row)}) VALUES ({', '.join(['%s'] * len(row))})",
        *row.values(),
    )


def run(*arguments: str) -> tuple[int, str, str]:
    return run_command("import_ai_usage", "--from", "old_log", *arguments)


def test_row_is_imported_with_all_fields():
    user = make_user()
    insert(
        user_id=user.pk,
        success=False,
        error_message="failed with key sk-abcdefghijklmnop",
        metadata='{"conversation": 7, "password": "x"}',
        model_name="gpt-4o",
    )

    assert run() == (0, "1 rows read, 1 imported, 0 exist already\n", "")

    log = AIUsageLog.objects.get()
    assert (log.user, log.section, log.total_tokens) == (user, "chat", 230)
    assert (log.response_time_ms, log.success, log.created_at) == (900, False, NOON)
    assert log.error_message == "failed with key [redacted]"
    assert own_metadata(log) == {"conversation": 7, "password": "[redacted]"}
    assert (log.usage_source, log.model_name) == ("manual", "gpt-4o")
    assert log.id.version == 7
    assert_in_step()


def test_second_run_adds_only_new_rows():
    insert()
    run()
    insert(id=2)

    assert run() == (0, "2 rows read, 1 imported, 1 exist already\n", "")
    assert AIUsageLog.objects.count() == 2


def test_same_key_of_another_table_is_another_call():
    insert()
    run()
    execute("CREATE TABLE older_log AS SELECT * FROM old_log")

    assert run_command("import_ai_usage", "--from", "older_log").out.startswith("1 rows read, 1 i")
    assert AIUsageLog.objects.count() == 2


def test_dry_run_writes_nothing():
    insert(user_id=make_user().pk)

    assert run("--dry-run") == (0, "1 rows read, 1 would be imported, 0 exist already\n", "")
    assert AIUsageLog.objects.count() == AIUsageTracking.objects.count() == 0


def test_row_of_a_deleted_user_is_kept_without_user():
    insert(user_id=987654)

    assert run().out == (
        "1 rows read, 1 imported, 0 exist already\n"
        "1 rows are kept without user: their user is deleted or unknown\n"
    )
    assert AIUsageLog.objects.get().user is None


def test_bad_rows_are_skipped_and_listed_with_the_reason():
    ancient = "1066-10-14T00:00:00Z"
    bad: list[tuple[dict[str, Any], str]] = [
        ({"prompt_tokens": -5}, "prompt_tokens must be from 0 to 1000000000, not -5"),
        (
            {"completion_tokens": 10**13},
            "completion_tokens must be from 0 to 1000000000, not 10000000000000",
        ),
        ({"response_time_ms": -1.0}, "response_time_ms must be from 0 to 1000000000000, not -1.0"),
        ({"success": None}, "success must be a boolean, not None"),
        ({"created_at": None}, "created_at must be a date and time, not None"),
        ({"created_at": "yesterday"}, "created_at must be a date and time, not 'yesterday'"),
        ({"created_at": "2026-02-30T00:00:00Z"}, "day is out of range for month"),
        ({"created_at": ancient}, f"created_at must be between 1971 and 9998, not '{ancient}'"),
    ]
    insert()
    for number, (changes, _) in enumerate(bad, 2):
        insert(id=number, **changes)

    code, out, err = run()

    assert (code, err) == (1, "8 rows skipped, 0 daily totals differ\n")
    first, title, *lines = out.splitlines()
    assert (first, title) == ("9 rows read, 1 imported, 0 exist already", "8 bad rows skipped:")
    assert len(lines) == len(bad)
    assert [
        (line, reason)
        for number, (line, (_, reason)) in enumerate(zip(lines, bad, strict=True), 2)
        if not line.startswith(f"  {number}: {reason}")
    ] == []
    assert AIUsageLog.objects.count() == 1


def test_rows_with_uuids_for_keys_are_read_in_pages(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(legacy_import, "BATCH", 3)
    kind = "uuid" if connection.vendor == "postgresql" else "char(32)"
    execute(
        f"CREATE TABLE keyed (id {kind} PRIMARY KEY, prompt_tokens integer,"
        " completion_tokens integer, created_at varchar(40))"
    )
    for _ in range(7):
        execute("INSERT INTO keyed VALUES (%s, 1, 2, %s)", uuid4().hex, NOON.isoformat())

    for result in ("7 rows read, 7 imported, 0 exist", "7 rows read, 0 imported, 7 exist"):
        assert run_command("import_ai_usage", "--from", "keyed").out.startswith(result)


def test_only_the_row_that_the_database_refuses_is_skipped(monkeypatch: pytest.MonkeyPatch):
    def picky(events: Any, **options: Any) -> Any:
        events = list(events)
        if any(event.prompt_tokens == 13 for event in events):
            raise DataError("unlucky")
        return store(events, **options)

    monkeypatch.setattr(legacy_import, "store", picky)
    for number in range(1, 8):
        insert(id=number, prompt_tokens=10 + number, total_tokens=90 + number)

    assert run().out == (
        "7 rows read, 6 imported, 0 exist already\n1 bad rows skipped:\n  3: unlucky\n"
    )


def test_waits_for_a_lock(monkeypatch: pytest.MonkeyPatch):
    failures = iter([OperationalError("lock timeout")] * 2)

    def busy(*args: Any, **options: Any) -> Any:
        for error in failures:
            raise error
        return store(*args, **options)

    monkeypatch.setattr(legacy_import, "store", busy)
    monkeypatch.setattr("time.sleep", lambda _: None)
    insert()

    assert run()[0] == 0


def test_many_bad_rows_are_all_listed_with_v_2():
    for number in range(30):
        insert(id=number, prompt_tokens=-1)

    assert run()[1].splitlines()[-1] == "  and 10 more; list them with -v 2"
    assert run_command("import_ai_usage", "--from", "old_log", verbosity=2).out.count("-1") == 30


def test_metadata_of_any_kind_is_kept():
    kept: dict[str, dict[str, Any]] = {
        "": {},
        "{}": {},
        "not json": {"metadata": "not json"},
        "[1, 2]": {"metadata": [1, 2]},
        '{"a": {"token": "x"}}': {"a": {"token": "[redacted]"}},
    }
    for number, text in enumerate(kept):
        insert(id=number, prompt_tokens=number, metadata=text)

    run()

    found = AIUsageLog.objects.order_by("prompt_tokens").values_list("metadata", flat=True)
    assert dict(zip(kept, found, strict=True)) == kept


@pytest.mark.parametrize(
    ("stored", "details", "clamped"),
    [
        ('{"web_searches": 2}', {"web_searches": 2}, None),
        (
            '{"web_searches": -2, "input_audio_tokens": 5}',
            {"input_audio_tokens": 5},
            "web_searches",
        ),
        ("[1]", None, "usage_details"),
        ("text", None, "usage_details"),
        ("[" * 100_000, None, "usage_details"),
        ("", None, None),
        (None, None, None),
    ],
)
def test_further_units_are_imported(stored, details, clamped):
    execute("ALTER TABLE old_log ADD COLUMN usage_details text")
    insert(model_name="gpt-4o", usage_details=stored, total_tokens=None)

    assert run()[0] == 0

    log = AIUsageLog.objects.get()
    assert log.usage_details == details
    assert list(log.metadata.get("clamped", {})) == ([clamped] if clamped else [])
    assert clamped is None or log.cost is None
    assert_in_step()


@pytest.mark.postgres
def test_columns_of_type_json_and_timestamp_are_read():
    execute("CREATE TABLE typed AS SELECT id, prompt_tokens, completion_tokens FROM old_log")
    execute("ALTER TABLE typed ADD metadata json, ADD created_at timestamptz")
    execute("INSERT INTO typed VALUES (1, 2, 3, %s, %s)", json.dumps({"a": 1}), NOON)

    assert run_command("import_ai_usage", "--from", "typed").code == 0

    log = AIUsageLog.objects.get()
    assert (log.metadata, log.created_at, log.section) == ({"a": 1}, NOON, "other")


def test_naive_datetime_is_read_as_the_site_stores_it(settings):
    insert(created_at="2026-03-14 12:00:00")

    run()

    assert AIUsageLog.objects.get().created_at == NOON


def test_unknown_tokens_stay_unknown():
    insert(prompt_tokens=None, completion_tokens=None, total_tokens=None)

    run()

    log = AIUsageLog.objects.get()
    assert (log.prompt_tokens, log.total_tokens, log.usage_source) == (None, None, "unknown")


def test_other_total_is_reported():
    insert(total_tokens=1)

    assert "1 rows have a total that is not prompt + completion; that sum is stored\n" in run()[1]


def test_columns_can_have_other_names():
    execute("CREATE TABLE costs (nr integer, at varchar(40), i integer, o integer, usd numeric)")
    execute("INSERT INTO costs VALUES (1, %s, 3, 4, 0.5)", NOON.isoformat())

    ended = run_command(
        "import_ai_usage",
        *[
            "--from",
            "costs",
            "--map",
            "nr=id",
            "at=created_at",
            "i=prompt_tokens",
            "--map",
            "o=completion_tokens",
        ],
        "--map",
        "usd=cost",
    )

    assert ended == (
        0,
        "1 rows read, 1 imported, 0 exist already\n"
        "1 rows are kept without user: their user is deleted or unknown\n",
        "",
    )
    log = AIUsageLog.objects.get()
    assert (log.prompt_tokens, log.completion_tokens, log.cost) == (3, 4, Decimal("0.5"))


def test_unusable_table_is_refused(subtests: pytest.Subtests):
    for arguments, error in (
        ("nowhere", "There is no table nowhere in the database 'default'"),
        (
            "ai_usage_log",
            "--from must be the old table, not ai_usage_log, which is a table of usage_",
        ),
        ("old_log --map x=cost", "old_log has no column x. It has: id, "),
        ("old_log --map section=mood", "There is no field mood. Choose from: id, "),
        ("old_log --map section", "Error: argument --map: must be OLD=NEW, not 'section'"),
        ("old_day", "old_day has no column id, created_at, prompt_tokens, completion"),
        ("old_log --daily nowhere", "There is no table nowhere"),
        ("old_log --daily old_log", "old_log has no column date"),
    ):
        with subtests.test(arguments):
            code, out, err = run_command("import_ai_usage", "--from", *arguments.split())

            assert err.startswith(error)
            assert (out, code) == ("", 1 if err.startswith("Error") else 2)


class TestDaily:
    def test_matching_totals_are_reported(self):
        user = make_user()
        insert(user_id=user.pk)
        execute("INSERT INTO old_day VALUES (%s, '2026-03-14', 1, 230, 0)", user.pk)

        for arguments in (["--dry-run"], [], []):
            code, out, _ = run("--daily", "old_day", *arguments)
            assert (code, out.splitlines()[-1]) == (0, "all daily totals match old_day")

    @pytest.mark.parametrize("arguments", [["--dry-run"], []])
    def test_differences_are_listed(self, arguments):
        user = make_user()
        insert(user_id=user.pk)
        execute("INSERT INTO old_day VALUES (%s, '2026-03-14', 2, 230, 0)", user.pk)
        execute("INSERT INTO old_day VALUES (%s, '2026-03-13', 1, 5, 0)", user.pk)

        code, out, err = run("--daily", "old_day", *arguments)

        assert out.splitlines()[1:] == [
            "2 daily totals differ from old_day:",
            f"  2026-03-14  ada ({user.pk}): total_requests 2 there, 1 here",
            f"  2026-03-13  ada ({user.pk}): total_requests 1 there, 0 here, "
            "total_tokens 5 there, 0 here",
        ]
        assert (code, err) == (1, "0 rows skipped, 2 daily totals differ\n")


def test_rows_of_pruned_days_are_skipped():
    user = make_user()
    insert(user_id=user.pk)
    run()
    list(prune.prune(NOON.date() + dt.timedelta(days=1), using="default"))

    assert run()[1] == (
        "1 rows read, 0 imported, 0 exist already\n"
        "1 rows skipped: the rows of their days were pruned, the daily rows include them\n"
    )
    assert AIUsageTracking.objects.get().total_requests == 1


def test_many_rows_are_read_in_pages(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(legacy_import, "BATCH", 3)
    for number in range(-2, 8):
        insert(id=number)

    assert run()[1].startswith("10 rows read, 10 imported")
