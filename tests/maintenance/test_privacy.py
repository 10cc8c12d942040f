"""`export_ai_usage` and `erase_ai_usage`."""

from __future__ import annotations

import json
import threading
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import transaction
from freezegun import freeze_time

from tests.support.builders import NOON, make_event, make_user, save_log
from tests.support.commands import run_command
from tests.support.sites import tables
from tests.support.threads import blocks_another, run_in_threads
from tests.support.waiting import wait_for, wait_until
from tests.test_daily import DAY
from usage_tracking import daily, outbox, reports
from usage_tracking.days import day_of
from usage_tracking.delivery.writer import store
from usage_tracking.maintenance import privacy
from usage_tracking.models import AIUsageLog, AIUsageTracking
from usage_tracking.system import stdio

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _today() -> Any:
    with freeze_time(NOON):
        yield


@pytest.fixture
def box(tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> outbox.MemoryOutbox:
    settings.AI_USAGE_OUTBOX = tmp_path / "outbox"
    monkeypatch.setattr(outbox, "inline", lambda: False)
    return outbox.get()


def totals() -> list[Any]:
    """All totals of the last days that are not by user."""
    report = reports.period_report(day_of(NOON - 9 * DAY), day_of(NOON))
    lines = [report, *report.by_section, *report.by_model, *report.by_day]
    found = [line.totals if line is report else line.figures for line in lines]
    return [(f.calls, f.failures, f.total_tokens, f.cost, f.response_time_ms) for f in found]


class TerminalInput(StringIO):
    def isatty(self) -> bool:
        return True


class TestExport:
    def test_exports_every_call_and_every_day_of_this_user_only(self):
        ada, bob = make_user("ada"), make_user("bob")
        logs = [save_log(user=ada, created_at=NOON - n * DAY, metadata={"n": n}) for n in (1, 0)]
        save_log(user=bob)
        save_log()

        ended = run_command("export_ai_usage", "--user", "ada")

        assert (ended.code, ended.err) == (0, "")
        rows = [json.loads(line) for line in ended.out.splitlines()]
        assert [(row["model"], row["pk"]) for row in rows[:2]] == [
            ("usage_tracking.aiusagelog", str(log.pk)) for log in logs
        ]
        assert [row["fields"]["metadata"] for row in rows[:2]] == [{"n": 1}, {"n": 0}]
        assert {row["fields"]["user"] for row in rows} == {ada.pk}
        assert [
            (row["model"], row["fields"]["date"], row["fields"]["total_tokens"]) for row in rows[2:]
        ] == [
            ("usage_tracking.aiusagetracking", "2026-03-13", 230),
            ("usage_tracking.aiusagetracking", "2026-03-14", 230),
        ]

    def test_stops_when_the_reader_leaves(self, monkeypatch):
        save_log(user=make_user())
        monkeypatch.setattr(stdio, "is_closed", lambda _: True)

        assert run_command("export_ai_usage", "--user", "ada") == (0, "", "")

    def test_user_without_a_call(self):
        make_user("ada")
        assert run_command("export_ai_usage", "--user", "ada") == (0, "", "")

    def test_unknown_user(self):
        make_user("ada")
        assert run_command("export_ai_usage", "--user", "adda") == (
            2,
            "",
            "There is no user 'adda'. Did you mean 'ada'?\n",
        )


class TestErase:
    @pytest.mark.postgres
    @pytest.mark.django_db(transaction=True)
    def test_concurrent_delivery_causes_no_drift(self):
        """A delivery has an uncommitted call when the daily rows are about to be removed."""
        ada = make_user("ada")
        store([make_event(user=ada)], using="default")
        written, deleting = threading.Event(), threading.Event()

        def deliver() -> None:
            with transaction.atomic():
                store([make_event(user=ada)], using="default")
                written.set()
                wait_until(blocks_another, awaited="an erasure that waits for this delivery")

        def erase() -> None:
            steps = privacy.erase(ada, using="default")
            next(steps)  # the first call
            deleting.set()
            wait_for(written, awaited="the other call")
            list(steps)

        def deliver_then() -> None:
            wait_for(deleting, awaited="the daily rows' turn")
            deliver()

        run_in_threads(erase, deliver_then)

        assert daily.drift() == {}

    def test_calls_are_kept_without_the_user_and_other_totals_stay(self, monkeypatch):
        monkeypatch.setattr(privacy, "BATCH", 2)
        ada, bob = make_user("ada"), make_user("bob")
        for n in range(5):
            changes = {"cost": Decimal("0.25"), "section": ("chat", "other")[n % 2]}
            save_log(
                user=ada,
                created_at=NOON - n * DAY,
                success=n != 3,
                error_message="ada@example.com is over quota",
                metadata={"customer": "ada"},
                **changes,
            )
        save_log(user=bob, metadata={"customer": "bob"})
        before = totals()

        assert run_command("erase_ai_usage", "--user", "ada", "--no-input") == (
            0,
            "5 calls kept without their user, 5 daily rows removed, "
            "0 outbox lines kept without their user\n",
            "",
        )

        assert totals() == before
        assert not AIUsageLog.objects.filter(user=ada).exists()
        assert not AIUsageTracking.objects.filter(user=ada).exists()
        kept = AIUsageLog.objects.filter(user=None).values_list("error_message", "metadata")
        assert set(map(str, kept)) == {"('', {})"}
        assert AIUsageLog.objects.get(user=bob).metadata == {"customer": "bob"}
        assert AIUsageTracking.objects.get().user == bob
        assert daily.drift() == {}

    @pytest.mark.parametrize("answer", ["yes\n", " YES \n"])
    def test_it_asks_first(self, monkeypatch, answer: str):
        ada = make_user("ada")
        save_log(user=ada, cost=Decimal("0.25"))
        monkeypatch.setattr("sys.stdin", TerminalInput(answer))

        ended = run_command("erase_ai_usage", "--user", "ada")

        assert ended.code == 0
        assert ended.out.startswith("1 calls kept without their user, 1 daily rows removed, ")
        assert ended.err == (
            f"This removes the user ada (ID {ada.pk}) from all AI usage in the database "
            "'default':\n"
            "  1 calls (0.250000 USD) are kept without their user, error message and metadata\n"
            "  1 daily rows are removed\n"
            "You cannot undo this.\n"
            "Type 'yes' to continue: "
        )
        assert not AIUsageLog.objects.filter(user=ada).exists()

    @pytest.mark.parametrize("answer", ["no\n", "y\n", "\n", "ada\n", ""])
    def test_any_other_answer_changes_nothing(self, monkeypatch, answer: str):
        save_log(user=make_user("ada"))
        before = tables()
        monkeypatch.setattr("sys.stdin", TerminalInput(answer))

        ended = run_command("erase_ai_usage", "--user", "ada")

        assert (ended.code, ended.out) == (2, "")
        assert ended.err.endswith("Cancelled. Nothing was changed.\n")
        assert tables() == before

    @pytest.mark.parametrize("stdin", [StringIO("yes\n"), None])
    def test_it_refuses_without_a_terminal(self, monkeypatch, stdin: StringIO | None):
        save_log(user=make_user("ada"))
        before = tables()
        monkeypatch.setattr("sys.stdin", stdin)

        assert run_command("erase_ai_usage", "--user", "ada") == (
            2,
            "",
            "There is no terminal to ask for confirmation on: use --no-input. "
            "Nothing was changed.\n",
        )
        assert tables() == before

    @pytest.mark.parametrize(
        ("arguments", "options"),
        [(["--noinput"], {}), (["--no-input"], {}), ([], {"interactive": False})],
    )
    def test_code_and_cron_need_no_answer(self, arguments: list[str], options: dict[str, bool]):
        make_user("ada")

        assert run_command("erase_ai_usage", "--user", "ada", *arguments, **options).code == 0

    def test_control_c_at_the_question_changes_nothing(self, monkeypatch):
        def interrupt() -> str:
            raise KeyboardInterrupt

        save_log(user=make_user("ada"))
        before = tables()
        monkeypatch.setattr("sys.stdin", TerminalInput(""))
        monkeypatch.setattr("builtins.input", interrupt)

        ended = run_command("erase_ai_usage", "--user", "ada")

        assert (ended.code, ended.err.splitlines()[-1]) == (130, "Stopped. Nothing was changed.")
        assert tables() == before

    def test_dry_run_changes_nothing(self):
        ada = make_user("ada")
        save_log(user=ada)
        before = tables()

        assert run_command("erase_ai_usage", "--user", str(ada.pk), "--dry-run") == (
            0,
            "1 calls would be kept without their user, 1 daily rows removed\n",
            "",
        )
        assert tables() == before

    def test_lost_totals_of_pruned_days_are_reported(self):
        ada = make_user("ada")
        save_log(user=ada, created_at=NOON - 5 * DAY, cost=Decimal("1.25"))
        save_log(user=ada)
        call_command("prune_ai_usage", "--keep-days", "2", verbosity=0)
        lost = "1 calls (230 tokens, $1.25) whose rows were pruned"

        dry = run_command("erase_ai_usage", "--user", "ada", "--dry-run")
        ended = run_command("erase_ai_usage", "--user", "ada", "--no-input")

        assert dry.out.endswith(f"{lost} would be lost from the global totals\n")
        assert ended.out.endswith(f"{lost} are lost from the global totals\n")
        assert AIUsageTracking.objects.count() == 0
        assert daily.drift() == {}

    def test_calls_in_the_outbox_are_kept_without_the_user(self, box):
        ada = make_user("ada")
        box.put(make_event(user=ada))

        ended = run_command("erase_ai_usage", "--user", "ada", "--no-input")

        assert ended.out.endswith("1 outbox lines kept without their user\n")
        assert run_command("flush_ai_usage").out == "1 calls delivered\n"
        assert AIUsageLog.objects.get().user is None

    def test_call_that_arrives_in_the_meantime_keeps_its_day(self):
        ada = make_user("ada")
        save_log(user=ada)
        for _ in privacy.erase(ada, using="default"):
            save_log(user=ada, created_at=NOON - DAY)
            break

        assert daily.drift() == {}
        list(privacy.erase(ada, using="default"))
        assert AIUsageTracking.objects.count() == 0

    def test_unknown_user(self):
        assert run_command("erase_ai_usage", "--user", "ada", "--no-input") == (
            2,
            "",
            "There is no user 'ada'. For a deleted user, run: flush_ai_usage --forget\n",
        )

    def test_nothing_to_erase(self):
        make_user("ada")
        assert run_command("erase_ai_usage", "--user", "ada", "--no-input", verbosity=0) == (
            0,
            "",
            "",
        )
        assert run_command("erase_ai_usage", "--user", "ada", "--no-input").out == (
            "0 calls kept without their user, 0 daily rows removed, "
            "0 outbox lines kept without their user\n"
        )
