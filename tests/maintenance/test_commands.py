"""`rebuild_ai_usage`, `prune_ai_usage` and what all maintenance commands share."""

from __future__ import annotations

import json
from decimal import Decimal
from io import StringIO
from itertools import product
from typing import Any

import pytest
from django.core.management import call_command
from django.db import DatabaseError
from freezegun import freeze_time

from tests.support.builders import NOON, make_log, make_user, save_log
from tests.support.commands import run_command
from tests.test_daily import DAY, TODAY, insert_without_orm
from usage_tracking import daily
from usage_tracking.delivery import Delivery
from usage_tracking.maintenance import daily_rows, legacy_import, prune
from usage_tracking.models import AIUsageLog, AIUsageTracking

pytestmark = pytest.mark.django_db

FIELDS = (
    "total_requests +1, total_prompt_tokens +150, total_completion_tokens +80, total_tokens +230, "
    "total_response_time_ms +900, successful_requests +1"
)


@pytest.fixture(autouse=True)
def _today() -> Any:
    with freeze_time(NOON):
        yield


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


class TestRebuild:
    def test_nothing_to_rebuild(self):
        assert run_command("rebuild_ai_usage") == (0, "0 daily rows rebuilt\n", "")
        save_log(user=make_user())
        assert run_command("rebuild_ai_usage") == (0, "0 daily rows rebuilt\n", "")
        assert run_command("rebuild_ai_usage", "--dry-run") == (
            0,
            "0 daily rows do not match AIUsageLog\n",
            "",
        )

    def test_dry_run_lists_the_differences_and_changes_nothing(self):
        user = make_user()
        insert_without_orm(make_log(user=user))

        for _ in range(2):
            assert run_command("rebuild_ai_usage", "--dry-run") == (
                1,
                f"2026-03-14  ada ({user.pk}): {FIELDS}\n1 daily rows do not match AIUsageLog\n",
                "1 daily rows do not match AIUsageLog; to rebuild them, "
                "run `rebuild_ai_usage` without --dry-run\n",
            )

    def test_differences_are_rebuilt_and_listed(self):
        user = make_user()
        insert_without_orm(make_log(user=user))

        assert run_command("rebuild_ai_usage") == (
            0,
            f"2026-03-14  ada ({user.pk}): {FIELDS}\n1 daily rows rebuilt\n",
            "",
        )
        assert daily.drift() == {}

    def test_days_can_be_chosen(self):
        user = make_user()
        for age in range(4):
            insert_without_orm(make_log(user=user, created_at=NOON - age * DAY))

        run_command("rebuild_ai_usage", "--from", "2026-03-12", "--to", "2026-03-13")

        assert {day for _, day in daily.drift()} == {TODAY, TODAY - 3 * DAY}

        run_command("rebuild_ai_usage", "2026-03")

        assert daily.drift() == {}

    def test_json_has_stable_keys(self):
        user = make_user()
        insert_without_orm(make_log(user=user, cost=Decimal("0.5")))

        report = json.loads(run_command("rebuild_ai_usage", "--dry-run", "--json", verbosity=0).out)

        cost = report["differences"][0].pop("total_cost")
        assert Decimal(cost) == Decimal("0.5")
        assert report == {
            "from": "2026-03-14",
            "to": "2026-03-14",
            "dry_run": True,
            "differences": [
                {
                    "user": str(user.pk),
                    "username": "ada",
                    "day": "2026-03-14",
                    "total_requests": 1,
                    "total_prompt_tokens": 150,
                    "total_completion_tokens": 80,
                    "total_tokens": 230,
                    "total_response_time_ms": 900,
                    "successful_requests": 1,
                    "failed_requests": 0,
                }
            ],
        }

    def test_pruned_days_are_refused(self):
        save_log(user=make_user(), created_at=NOON - 40 * DAY)
        run_command("prune_ai_usage", "--keep-days", "30")

        assert run_command("rebuild_ai_usage", "--from", "2026-02-02") == (
            2,
            "",
            "The rows up to 2026-02-02 were pruned, so only their daily rows hold the totals. "
            "Start with 2026-02-03.\n",
        )
        assert run_command("rebuild_ai_usage", "--from", "2026-02-03").code == 0
        assert run_command("rebuild_ai_usage").code == 0
        assert AIUsageTracking.objects.get().total_requests == 1

    def test_invalid_arguments_are_refused(self, subtests):
        for arguments, code, error in (
            ("--from 14.3.2026", 1, "'14.3.2026' is not a valid date (YYYY-MM-DD)"),
            ("--from 2026-03-14 --to 2026-03-13", 2, "is before --from"),
            ("--database nowhere", 2, "There is no database 'nowhere'."),
        ):
            with subtests.test(arguments):
                ended = run_command("rebuild_ai_usage", *arguments.split())

                assert ended.code == code
                assert error in ended.err


class TestPrune:
    @pytest.fixture
    def user(self) -> Any:
        user = make_user()
        for age in range(5):
            save_log(user=user, created_at=NOON - age * DAY)
            save_log(user=None, created_at=NOON - age * DAY, cost=Decimal("1.25"))
        return user

    def test_old_rows_are_removed_and_the_totals_printed(self, user):
        assert run_command("prune_ai_usage", "--keep-days", "2") == (
            0,
            "2 rows of days before 2026-03-12 removed\n"
            "2 calls without a user (460 tokens, $2.50) are kept: no daily row counts them\n",
            "",
        )
        assert AIUsageTracking.objects.count() == 5
        assert AIUsageLog.objects.filter(user=user).count() == 3
        assert AIUsageLog.objects.filter(user=None).count() == 5

    def test_unattributed_rows_are_removed_on_request(self, user):
        assert run_command("prune_ai_usage", "--keep-days", "2", "--unattributed").out == (
            "4 rows of days before 2026-03-12 removed\n"
            "2 calls without a user (460 tokens, $2.50) among them "
            "are lost from the global totals\n"
        )
        assert AIUsageLog.objects.filter(user=None).count() == 3

    @pytest.mark.parametrize(
        ("arguments", "first", "second"),
        [
            ([], "2 rows", "are kept: no daily row counts them"),
            (["--unattributed"], "4 rows", "among them would be lost from the global totals"),
        ],
    )
    def test_dry_run_removes_nothing(self, user, arguments, first, second):
        ended = run_command("prune_ai_usage", "--keep-days", "2", "--dry-run", *arguments)

        assert ended == (
            0,
            f"{first} of days before 2026-03-12 would be removed\n"
            f"2 calls without a user (460 tokens, $2.50) {second}\n",
            "",
        )
        assert AIUsageLog.objects.count() == 10
        assert daily.horizon() is None

    def test_daily_rows_that_do_not_match_are_rebuilt_first(self, user):
        insert_without_orm(make_log(user=user, created_at=NOON - 4 * DAY))

        out = run_command("prune_ai_usage", "--keep-days", "3").out

        assert out.splitlines()[1] == "1 daily rows did not match and were rebuilt first"
        assert AIUsageTracking.objects.get(date=TODAY - 4 * DAY).total_requests == 2

    def test_interrupted_run_reports_its_work_and_the_next_run_continues(
        self, user, monkeypatch: pytest.MonkeyPatch
    ):
        real = prune._prune_batch
        calls = iter([real, real])

        def interrupted(*arguments: Any) -> Any:
            try:
                return next(calls)(*arguments)
            except StopIteration:
                raise KeyboardInterrupt from None

        with monkeypatch.context() as patch:
            patch.setattr(prune, "_prune_batch", interrupted)
            ended = run_command("prune_ai_usage", "--keep-days", "1")

        assert ended.code == 130
        assert ended.out.startswith("1 rows of days before 2026-03-13 removed\n")
        assert ended.err == "Stopped. Completed batches stay removed; run it again.\n"
        assert daily.drift() == {}
        assert run_command("prune_ai_usage", "--keep-days", "1").out.startswith("2 rows ")

    def test_days_to_keep_must_be_a_whole_number(self, subtests):
        for number in ("-1", "1.5", "many", "999999999", "²"):
            with subtests.test(number):
                ended = run_command("prune_ai_usage", f"--keep-days={number}")

                assert ended.code == 1
                assert "must be a whole number from 0 to 100000, not" in ended.err


class TestAll:
    def test_v_0_prints_nothing(self, subtests):
        for name, *arguments in (
            ("rebuild_ai_usage",),
            ("prune_ai_usage", "--keep-days", "1"),
            ("flush_ai_usage",),
        ):
            with subtests.test(name):
                assert run_command(name, *arguments, verbosity=0) == (0, "", "")

    def test_ctrl_c_and_an_unavailable_database_give_no_traceback(
        self, monkeypatch: pytest.MonkeyPatch, subtests: pytest.Subtests
    ):
        at: dict[tuple[str, ...], tuple[Any, str]] = {
            ("rebuild_ai_usage",): (daily_rows, "span"),
            ("prune_ai_usage", "--keep-days", "1"): (prune, "prunable"),
            ("import_ai_usage", "--from", "old"): (legacy_import, "inspect"),
            ("flush_ai_usage",): (Delivery, "deliver"),
        }
        errors = ((KeyboardInterrupt(), 130), (DatabaseError("gone\nDETAIL"), 2))
        for command, (error, code) in product(at, errors):

            def fail(*_: Any, error: BaseException = error, **__: Any) -> Any:
                raise error

            with subtests.test(" ".join(command), error=error), monkeypatch.context() as patch:
                patch.setattr(*at[command], fail)
                ended = run_command(*command)
                assert (ended.code, ended.out) == (code, "")
                assert ended.err.startswith("Stopped. ") == (code == 130)

    def test_ctrl_c_with_a_failing_rollback_is_an_interrupt(
        self, monkeypatch: pytest.MonkeyPatch, subtests: pytest.Subtests
    ):
        def fail(*_: Any, **__: Any) -> Any:
            try:
                raise KeyboardInterrupt
            finally:
                raise DatabaseError("the connection is lost")

        monkeypatch.setattr(prune, "prunable", fail)
        monkeypatch.setattr(Delivery, "deliver", fail)

        for command, outcome in (
            (("prune_ai_usage", "--keep-days", "1"), "Nothing was removed."),
            (("flush_ai_usage",), "Undelivered calls stay in the outbox."),
        ):
            with subtests.test(" ".join(command)):
                assert run_command(*command) == (130, "", f"Stopped. {outcome}\n")

    def test_bar_is_drawn_on_a_terminal_only(self):
        user = make_user()
        for age in range(40):
            save_log(user=user, created_at=NOON - age * DAY)
        terminal, pipe = Terminal(), StringIO()

        call_command("rebuild_ai_usage", stdout=StringIO(), stderr=terminal)
        call_command("rebuild_ai_usage", stdout=StringIO(), stderr=pipe)
        silent = Terminal()
        call_command("rebuild_ai_usage", stdout=StringIO(), stderr=silent, verbosity=0)

        assert terminal.getvalue() == (
            "\r#######################.......  78% 31/40"
            "\r############################## 100% 40/40\r\x1b[K"
        )
        assert (pipe.getvalue(), silent.getvalue()) == ("", "")
