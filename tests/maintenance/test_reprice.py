"""`reprice_ai_usage`: old rows get the prices of today's tables, and their daily rows follow."""

from __future__ import annotations

import datetime as dt
import json
import re
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, transaction
from django.test import override_settings
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from tests.support.builders import NOON, make_event, make_user, save_log
from tests.support.children import ROOT
from tests.support.commands import run_command
from tests.support.ledger import assert_in_step, read_days
from tests.support.threads import run_in_threads
from tests.support.waiting import wait_until
from usage_tracking import daily, providers
from usage_tracking.delivery.writer import store
from usage_tracking.maintenance import prune, reprice
from usage_tracking.maintenance.reprice import REPORTS_COST, Repriced, Selection
from usage_tracking.models import AIUsageLog, AIUsageTracking
from usage_tracking.pricing import data

pytestmark = pytest.mark.django_db

TODAY = NOON.date()
DAY = dt.timedelta(days=1)
#: USD; gpt-4o costs 2.50 and 10 USD per million tokens, and a call has 150 and 80.
RIGHT, WRONG = Decimal("0.001175"), Decimal("0.5")


def old_log(**changes: Any) -> AIUsageLog:
    """Save a row as an older release wrote it: with a cost and without its source."""
    return save_log(**{"usage_source": "reported", "cost": WRONG, **changes})


def run(**options: Any) -> Repriced:
    names = Selection.__dataclass_fields__
    selection = Selection(**{name: options.pop(name) for name in names if name in options})
    return reprice.reprice(selection, using="default", **options)


def costs() -> list[Decimal | None]:
    return list(AIUsageLog.objects.order_by("pk").values_list("cost", flat=True))


def dump() -> list[Any]:
    """Return every value of both tables."""
    tables = (AIUsageLog, AIUsageTracking)
    return [list(model.objects.order_by("pk").values()) for model in tables]


class TestPrice:
    def test_wrong_cost_is_corrected_with_its_daily_row(self):
        user = make_user()
        old_log(user=user, metadata={"conversation": 7})
        old_log(user=user, created_at=NOON + DAY)
        save_log(user=None, usage_source="reported", cost=None)

        result = run()

        assert costs() == [RIGHT] * 3
        assert {day.cost for day in read_days().values()} == {RIGHT}
        assert_in_step()
        assert result.models == {
            ("openai", "gpt-4o"): reprice.Effect(
                rows=3, changed=3, kept=0, unpriced=0, old_cost=2 * WRONG, new_cost=3 * RIGHT
            )
        }
        metadata = AIUsageLog.objects.earliest("pk").metadata
        assert metadata == {"conversation": 7, "cost_source": data.load().version}

    def test_again_changes_nothing(self):
        old_log(user=make_user())
        old_log(model_name="nothing-1", cost=None)
        run()
        before = dump()

        again = run()

        assert dump() == before
        assert (again.totals.rows, again.totals.changed) == (2, 0)

    def test_prices_are_those_of_the_day_of_the_call(self, settings):
        settings.AI_USAGE_PRICES = {
            "own-1": [{"input": 1, "output": 1}, {"from": "2026-03-15", "input": 2, "output": 2}]
        }
        for age in (1, 0):
            old_log(model_name="own-1", created_at=NOON + DAY - age * DAY)

        run()

        assert costs() == [Decimal("0.00023"), Decimal("0.00046")]
        assert AIUsageLog.objects.filter(metadata__cost_source="site").count() == 2

    def test_facts_and_units_of_all_releases_count(self, settings):
        settings.AI_USAGE_PRICES = {
            "own-1": [
                {"input": 1, "output": 1, "cache_write": 10},
                {"when": {"processing": "batch"}, "output": 100},
            ]
        }
        old = {"service_tier": "batch", "cache_write_tokens": 50}
        now = {"price_context": {"processing": "batch"}}
        old_log(model_name="own-1", metadata=old)
        old_log(model_name="own-1", metadata=now, usage_details={"cache_write_tokens": 50})

        run()

        assert costs() == [Decimal("0.0086")] * 2
        metadata = AIUsageLog.objects.earliest("pk").metadata
        assert metadata == {**old, "cost_source": "site"}

    def test_row_that_stays_unpriced_says_why(self):
        old_log(usage_details={"input_pixels": 5}, cost=None)

        result = run()

        assert costs() == [None]
        assert result.totals == reprice.Effect(rows=1, unpriced=1)
        assert AIUsageLog.objects.get().metadata == {
            "unpriced_units": ["input_pixels"],
            "unpriced_reason": "no price for input_pixels",
        }

    def test_reason_disappears_with_the_price(self):
        metadata = {"unpriced_reason": "no price for x", "unpriced_units": ["x"]}
        old_log(cost=None, metadata=metadata)

        run()

        assert AIUsageLog.objects.get().metadata == {"cost_source": data.load().version}

    @pytest.mark.parametrize(
        "changes",
        [
            {"success": False},
            {"prompt_tokens": None, "completion_tokens": None},
        ],
    )
    def test_failed_calls_and_unknown_usage_are_left_alone(self, changes: dict[str, Any]):
        old_log(user=make_user(), **changes)
        before = dump()

        assert run() == Repriced({}, {})
        assert dump() == before

    def test_call_with_further_units_only_is_priced(self, settings):
        settings.AI_USAGE_PRICES = {"own-1": {"input_characters": 2}}
        old_log(
            model_name="own-1",
            prompt_tokens=None,
            completion_tokens=None,
            usage_details={"input_characters": 10},
        )

        run()

        assert AIUsageLog.objects.get().metadata == {"cost_source": "site"}

    @pytest.mark.parametrize("metadata", [[], "text", ["cost_source"]])
    def test_metadata_that_is_no_object_stays(self, metadata: Any):
        old_log(metadata=metadata)

        run()

        assert costs() == [RIGHT]
        assert AIUsageLog.objects.get().metadata == metadata

    def test_differences_below_a_millionth_reach_the_daily_row(self, settings):
        """Each one is too small to be drift; many of them, in batches of their own, are not."""
        user = make_user()
        settings.AI_USAGE_PRICES = {"own-1": {"input": "0.9", "output": 0}}
        for _ in range(20):
            old_log(user=user, model_name="own-1", prompt_tokens=1, cost=Decimal(0))

        run(batch=1)

        assert daily.drift() == {}
        total = AIUsageTracking.objects.get().total_cost
        assert total.quantize(Decimal("1e-9")) == Decimal("0.000018")


KEPT: dict[str, tuple[str, dict[str, Any]]] = {
    "reported by the provider": ("provider", {"metadata": {"cost_source": "provider"}}),
    "named as 0": ("provider", {"metadata": {"cost_source": "provider"}, "cost": Decimal(0)}),
    "removed by the site": ("provider", {"metadata": {"cost_source": "provider"}, "cost": None}),
    "may be the provider's": ("uncertain", {"provider": "openrouter"}),
    "whatever its case": ("uncertain", {"provider": "OpenRouter"}),
    "of an unknown host": ("uncertain", {"provider": "unknown"}),
    "the site's own word": ("uncertain", {"metadata": {"cost_source": "invoice"}}),
    "no word": ("uncertain", {"metadata": {"cost_source": 7}}),
    "unknown model": ("no_price", {"model_name": "nothing-1"}),
    "unknown model, new": (
        "no_price",
        {"model_name": "nothing-1", "metadata": {"cost_source": "genai-prices 0.0.1"}},
    ),
    "unknown tier": ("no_price", {"metadata": {"price_context": {"service_tier": "x"}}}),
    "a unit without a price": ("no_price", {"usage_details": {"input_pixels": 5}}),
    "0 that a site says": (
        "no_price",
        {
            "usage_details": {"input_pixels": 5},
            "cost": Decimal(0),
            "metadata": {"cost_source": "site"},
        },
    ),
    "a cost that was not valid": ("no_price", {"metadata": {"clamped": {"cost": "-1"}}}),
}


class TestKept:
    @pytest.mark.parametrize(("reason", "changes"), KEPT.values(), ids=KEPT)
    def test_row_stays_as_it_is(self, reason: str, changes: dict[str, Any]):
        old_log(user=make_user(), **changes)
        before = dump()

        result = run()

        assert dump() == before
        assert result.kept == {reason: 1}
        assert (result.totals.kept, result.totals.changed) == (1, 0)
        assert result.totals.new_cost == result.totals.old_cost

    @pytest.mark.parametrize(
        "changes",
        [
            {"metadata": {"clamped": {"completion_tokens": "negative"}}},
            {"usage_details": {"input_pixels": 5}, "cost": Decimal(0)},
        ],
        ids=["a count was not valid", "a unit without a price was counted as 0"],
    )
    def test_cost_that_is_provably_wrong_becomes_unknown(self, changes: dict[str, Any]):
        old_log(user=make_user(), **changes)

        result = run()

        assert costs() == [None]
        assert result.kept == {}
        assert (result.totals.changed, result.totals.unpriced) == (1, 1)
        assert AIUsageLog.objects.get().metadata.keys() & {"unpriced_reason", "clamped"}
        assert_in_step()

    @pytest.mark.parametrize(
        "changes",
        [
            {"usage_source": "manual"},
            {"usage_source": "manual", "metadata": {"cost_source": "site"}},
            {"metadata": {"cost_source": "genai-prices 0.0.1"}},
            {"metadata": {"cost_source": None}},
            {"provider": "openrouter", "model_name": "openai/gpt-4o", "cost": None},
            {"metadata": {"clamped": {"response_time_ms": "negative"}}},
        ],
    )
    def test_row_whose_cost_this_app_calculated_is_priced(self, changes: dict[str, Any]):
        old_log(**changes)

        assert run().kept == {}
        assert costs() == [RIGHT]

    def test_names_are_those_that_rows_have(self):
        known = set(providers.HOSTS.values())
        assert REPORTS_COST - known == {"", "unknown", "litellm", "xai"}

    def test_providers_that_may_report_a_cost_are_documented(self):
        text = (ROOT / "docs" / "commands.md").read_text().casefold()
        letters = re.sub(r"[^a-z]", "", text)

        assert [name for name in REPORTS_COST if name.replace("-", "") not in letters] == []


class TestSelection:
    def test_only_unpriced(self):
        user = make_user()
        old_log(user=user)
        old_log(user=user, cost=None)

        assert run(only_unpriced=True).totals.rows == 1

        assert costs() == [WRONG, RIGHT]
        assert_in_step()

    def test_model(self):
        for name in ("gpt-4o", "gpt-4o-mini", "gpt-4o"):
            old_log(model_name=name)

        result = run(model="gpt-4o")

        assert list(result.models) == [("openai", "gpt-4o")]
        assert costs() == [RIGHT, WRONG, RIGHT]

    def test_days(self):
        for age in (3, 2, 1, 0):
            old_log(created_at=NOON - age * DAY)

        run(start=TODAY - 2 * DAY, end=TODAY - DAY)

        assert costs() == [WRONG, RIGHT, RIGHT, WRONG]

    def test_days_are_those_of_the_configured_zone(self, settings):
        settings.AI_USAGE_DAY_TIMEZONE = "Asia/Tokyo"
        for hour in (14, 15):  # 23:00 and midnight in Tokyo
            old_log(created_at=NOON.replace(hour=hour))

        run(end=TODAY)

        assert costs() == [RIGHT, WRONG]


class TestRun:
    def test_dry_run_changes_nothing_and_returns_the_same(self):
        user = make_user()
        old_log(user=user)
        old_log(user=user, cost=None)
        old_log(user=user, model_name="nothing-1", cost=None)
        for _, changes in KEPT.values():
            old_log(user=user, **changes)
        before = dump()

        expected = run(dry_run=True)

        assert dump() == before
        assert run() == expected

    @pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
    def test_interrupted_run_leaves_tables_in_step_and_the_next_continues(self, size: int):
        users = [make_user(name) for name in ("ada", "bob")]
        for number in range(5):
            old_log(user=users[number % 2])

        def stop(rows: int) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run(batch=size, advance=stop)
        assert costs().count(RIGHT) == min(size, 5)
        assert_in_step()

        assert run(batch=size).totals.changed == max(5 - size, 0)
        assert costs() == [RIGHT] * 5
        assert_in_step()

    def test_error_inside_a_batch_changes_nothing_of_it(self, monkeypatch):
        old_log(user=make_user())
        before = dump()

        def fail(*_: Any, **__: Any) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(daily, "add", fail)
            with pytest.raises(KeyboardInterrupt):
                run()

        assert dump() == before
        run()
        assert_in_step()

    def test_days_that_were_pruned_get_the_same_difference(self):
        user = make_user()
        logs = [old_log(user=user) for _ in range(3)]
        next(prune.prune(TODAY + DAY, using="default", batch=1))
        assert AIUsageLog.objects.filter(pk__in=[log.pk for log in logs]).count() == 2

        run()

        row = AIUsageTracking.objects.get()
        assert row.logs_pruned
        assert row.total_requests == 3
        assert row.total_cost.quantize(Decimal("1e-6")) == WRONG + 2 * RIGHT

    def test_daily_row_that_is_missing_is_not_created(self):
        old_log(user=make_user())
        AIUsageTracking.objects.all().delete()

        run()

        assert not AIUsageTracking.objects.exists()

    def test_rows_that_are_inserted_meanwhile_are_left_to_their_writer(self):
        old_log()

        def insert(rows: int) -> None:
            old_log(created_at=NOON + DAY)

        assert run(advance=insert).totals.rows == 1
        assert costs() == [RIGHT, WRONG]

    def test_number_of_statements_per_batch(self, django_assert_max_num_queries):
        user = make_user()
        for _ in range(20):
            old_log(user=user)

        with django_assert_max_num_queries(3 + 2 * 9):
            run(batch=10)

    @pytest.mark.postgres
    @pytest.mark.django_db(transaction=True)
    def test_row_that_another_transaction_changes_is_priced_afterwards(self, monkeypatch):
        """It is not waited for, and it is priced with what the other transaction has written."""
        user = make_user()
        first, second = (old_log(user=user) for _ in range(2))
        monkeypatch.setattr(reprice, "PAUSE", 0)
        monkeypatch.setattr(reprice, "TRIES", 10_000)
        advanced: list[int] = []

        def amend() -> None:
            with transaction.atomic():
                # The daily row changes at the end only: deliveries hold it for a moment.
                logs = AIUsageLog.objects.filter(pk=first.pk)
                list(logs.select_for_update().values_list("pk"))
                wait_until(lambda: sum(advanced) == 1, awaited="the other row")
                logs.update(completion_tokens=180)

        def price() -> None:
            wait_until(_is_locked, awaited="the lock of the other transaction")
            run(advance=advanced.append)

        run_in_threads(amend, price)

        assert sum(advanced) == 2
        assert costs() == [Decimal("0.002175"), RIGHT]
        assert second.pk > first.pk
        assert_in_step()

    @pytest.mark.postgres
    @pytest.mark.django_db(transaction=True)
    def test_row_that_stays_locked_is_reported(self, monkeypatch):
        user = make_user()
        first, _ = (old_log(user=user) for _ in range(2))
        monkeypatch.setattr(reprice, "PAUSE", 0)
        monkeypatch.setattr(reprice, "TRIES", 2)
        ended: list[Any] = []

        def lock() -> None:
            with transaction.atomic():
                list(AIUsageLog.objects.filter(pk=first.pk).select_for_update())
                wait_until(lambda: bool(ended), awaited="the end of the command")

        def price() -> None:
            wait_until(_is_locked, awaited="the lock of the other transaction")
            try:
                ended.append(run_command("reprice_ai_usage"))
            except BaseException as error:
                ended.append(error)
                raise

        run_in_threads(lock, price)

        assert ended == [
            (
                2,
                "",
                "Repricing failed: 1 rows are locked by another transaction. "
                "Completed batches stay repriced; run it again.\n",
            )
        ]
        assert costs() == [WRONG, RIGHT]
        assert_in_step()

    @pytest.mark.postgres
    @pytest.mark.django_db(transaction=True)
    def test_it_gives_way_to_a_transaction_that_waits_for_it(self, monkeypatch):
        """The site holds the daily row and wants the row; the run holds the row."""
        user = make_user()
        log = old_log(user=user)
        monkeypatch.setattr(reprice, "PAUSE", 0)
        monkeypatch.setattr(reprice, "TRIES", 10_000)
        is_at_daily_row: list[bool] = []
        add = daily.add

        def add_later(*args: Any, **options: Any) -> Any:
            is_at_daily_row.append(True)
            return add(*args, **options)

        def change() -> None:
            with transaction.atomic():
                AIUsageTracking.objects.update(updated_at=NOON)
                wait_until(lambda: bool(is_at_daily_row), awaited="the daily row")
                list(AIUsageLog.objects.filter(pk=log.pk).select_for_update())

        def price() -> None:
            wait_until(lambda: _is_locked(AIUsageTracking), awaited="the other transaction")
            with monkeypatch.context() as patch:
                patch.setattr(daily, "add", add_later)
                run()

        run_in_threads(change, price)

        assert costs() == [RIGHT]
        assert_in_step()

    def test_other_errors_of_the_database_are_raised(self, monkeypatch):
        old_log()

        def fail(*_: Any, **__: Any) -> None:
            raise OperationalError("no space left on the device")

        monkeypatch.setattr(reprice, "_write", fail)

        assert run_command("reprice_ai_usage") == (
            2,
            "",
            "Repricing failed: no space left on the device. "
            "Completed batches stay repriced; run it again.\n",
        )


def _is_locked(model: Any = AIUsageLog) -> bool:
    with transaction.atomic():
        rows = model.objects.select_for_update(skip_locked=True)
        return len(rows) < model.objects.count()


class TestCommand:
    @pytest.fixture(autouse=True)
    def _rows(self) -> None:
        user = make_user()
        old_log(user=user)
        old_log(user=user, metadata={"cost_source": "provider"})
        old_log(user=user, provider="", model_name="", cost=None)

    def test_table(self):
        lines = [
            "MODEL            ROWS  CHANGED  KEPT  OLD COST USD  NEW COST USD  STILL UNPRICED",
            "unknown             1        0     0      0.000000      0.000000               1",
            "gpt-4o (openai)     2        1     1      1.000000      0.501175               0",
            "Total               3        1     1      1.000000      0.501175               1",
        ]
        kept = "1 rows keep their cost: 1 reported by the provider"

        would = "\n".join([*lines, "1 of 3 rows would be repriced", kept, ""])
        assert run_command("reprice_ai_usage", "--dry-run") == (0, would, "")
        done = "\n".join([*lines, "1 of 3 rows repriced", kept, ""])
        assert run_command("reprice_ai_usage") == (0, done, "")

    def test_no_rows(self):
        assert run_command("reprice_ai_usage", "--model", "other") == (
            0,
            "0 of 0 rows repriced\n",
            "",
        )

    def test_quiet(self):
        assert run_command("reprice_ai_usage", verbosity=0) == (0, "", "")
        assert RIGHT in costs()

    @pytest.mark.parametrize("dry_run", [True, False])
    def test_json(self, dry_run: bool):
        arguments = ["--json", "--from", "2026-03-01", *(["--dry-run"] if dry_run else [])]

        code, out, err = run_command("reprice_ai_usage", *arguments)

        assert (code, err) == (0, "")
        figures = {"rows": 2, "changed": 1, "kept": 1, "unpriced": 0}
        sums = {"old_cost": "1.0000000000", "new_cost": "0.5011750000"}
        unknown = {"rows": 1, "changed": 0, "kept": 0, "unpriced": 1}
        nothing = {"old_cost": "0", "new_cost": "0"}
        assert json.loads(out) == {
            "from": "2026-03-01",
            "to": None,
            "model": None,
            "only_unpriced": False,
            "dry_run": dry_run,
            "totals": {"rows": 3, "changed": 1, "kept": 1, "unpriced": 1, **sums},
            "kept": {"provider": 1, "uncertain": 0, "no_price": 0},
            "models": [
                {"provider": "", "model_name": "", **unknown, **nothing},
                {"provider": "openai", "model_name": "gpt-4o", **figures, **sums},
            ],
        }

    def test_period_can_be_named(self):
        report = json.loads(run_command("reprice_ai_usage", "2026-02", "--json").out)

        assert (report["from"], report["to"]) == ("2026-02-01", "2026-02-28")

    @pytest.mark.parametrize(
        ("arguments", "code", "message"),
        [
            # The code of call_command; in a shell, it is 2.
            ("--from 14.3.2026", 1, "'14.3.2026' is not a valid date (YYYY-MM-DD)"),
            ("--from 2026-03-02 --to 2026-03-01", 2, "--to 2026-03-01 is before --from 2026-03-02"),
            ("--database other", 2, "There is no database 'other'."),
        ],
    )
    def test_wrong_arguments(self, arguments: str, code: int, message: str):
        before = dump()

        ended = run_command("reprice_ai_usage", *arguments.split())

        assert message in ended.err
        assert (ended.code, ended.out) == (code, "")
        assert dump() == before


class Repricing(RuleBasedStateMachine):
    """Deliveries, amendments, repricings and prunes in any order."""

    MODELS = ("own-1", "own-2", "nothing-1")

    def __init__(self) -> None:
        super().__init__()
        self.prices: dict[str, Any] = {}
        self.events: list[Any] = []
        self.users: list[User] = []

    @initialize()
    def clear(self) -> None:
        AIUsageLog.objects.all().delete()
        AIUsageTracking.objects.all().delete()
        self.users = list(User.objects.order_by("pk"))

    @rule(
        user=st.integers(0, 2),
        model=st.sampled_from(MODELS),
        age=st.integers(0, 2),
        tokens=st.one_of(st.none(), st.integers(0, 1_000)),
        success=st.booleans(),
        cost=st.sampled_from([None, None, Decimal("0.25")]),
        is_old=st.booleans(),
    )
    def deliver(
        self,
        user: int,
        model: str,
        age: int,
        tokens: int | None,
        success: bool,
        cost: Decimal | None,
        is_old: bool,
    ) -> None:
        event = make_event(
            user=self.users[user] if user < 2 else None,
            model_name=model,
            created_at=NOON - age * DAY,
            prompt_tokens=tokens,
            completion_tokens=tokens,
            success=success,
            cost=cost,
        )
        self.events.append(event)
        with _prices(self.prices):
            store([event], using="default")
        if is_old:
            log = AIUsageLog.objects.get(pk=event.id)
            AIUsageLog.objects.filter(pk=log.pk).update(
                metadata={k: v for k, v in log.metadata.items() if k != "cost_source"}
            )

    @rule(
        data=st.data(),
        tokens=st.integers(0, 1_000),
        model=st.sampled_from(MODELS),
        user=st.integers(0, 1),
    )
    def amend(self, data: st.DataObject, tokens: int, model: str, user: int) -> None:
        if not self.events:
            return
        number = data.draw(st.integers(0, len(self.events) - 1))
        owner = self.users[user]
        event = self.events[number].amended(
            completion_tokens=tokens,
            model_name=model,
            user_id=str(owner.pk),
            username=owner.get_username(),
        )
        self.events[number] = event
        with _prices(self.prices):
            store([event], using="default")

    @rule(one=st.integers(0, 9), other=st.one_of(st.none(), st.integers(0, 9)))
    def change_prices(self, one: int, other: int | None) -> None:
        self.prices = {"own-1": {"input": one, "output": 1}}
        if other is not None:
            self.prices["own-2"] = {"input": 1, "output": other}

    @rule(
        batch=st.integers(1, 4),
        stop=st.one_of(st.none(), st.integers(1, 3)),
        only_unpriced=st.booleans(),
        dry_run=st.booleans(),
        model=st.sampled_from([None, "own-1"]),
    )
    def reprice(
        self, batch: int, stop: int | None, only_unpriced: bool, dry_run: bool, model: str | None
    ) -> None:
        before = AIUsageLog.objects.count()
        left = stop

        def advance(_: int) -> None:
            nonlocal left
            if left is not None:
                left -= 1
                if not left:
                    raise KeyboardInterrupt

        with _prices(self.prices):
            try:
                result = run(
                    batch=batch,
                    only_unpriced=only_unpriced,
                    dry_run=dry_run,
                    model=model,
                    advance=advance,
                )
            except KeyboardInterrupt:
                return
            assert AIUsageLog.objects.count() == before
            if not dry_run:
                again = run(only_unpriced=only_unpriced, model=model)
                assert again.totals.changed == 0
                priced = result.totals.rows - result.totals.unpriced
                assert again.totals.rows == result.totals.rows - only_unpriced * priced

    @invariant()
    def daily_rows_are_the_sums_of_the_rows(self) -> None:
        assert_in_step()

    @invariant()
    def costs_of_the_provider_stay(self) -> None:
        rows = AIUsageLog.objects.filter(metadata__cost_source="provider")
        assert {log.cost for log in rows} <= {Decimal("0.25")}


def _prices(prices: dict[str, Any]) -> Any:
    return override_settings(AI_USAGE_PRICES=prices)


@pytest.mark.slow
@pytest.mark.django_db
def test_daily_rows_are_the_sums_whatever_happens():
    for name in ("ada", "bob"):
        make_user(name)
    run_state_machine_as_test(
        Repricing,
        settings=settings(
            max_examples=60,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
