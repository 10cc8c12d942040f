"""Daily totals keep every recorded call, whatever is pruned and rebuilt."""

from __future__ import annotations

import datetime as dt
from contextlib import suppress
from dataclasses import asdict, replace
from decimal import Decimal
from itertools import islice
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, transaction
from django.db.models import F
from freezegun import freeze_time
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule, run_state_machine_as_test

from tests.support.builders import NOON, make_event, make_log, make_user, save_log
from tests.support.commands import run_command
from tests.support.ledger import Ledger, assert_in_step, read_days
from tests.support.threads import run_in_threads
from tests.test_daily import (
    DAY,
    NAMES,
    TIMES,
    TODAY,
    Day,
    Expected,
    Writes,
    _plus,
    changes,
    insert_without_orm,
)
from usage_tracking import daily
from usage_tracking.delivery.writer import store
from usage_tracking.maintenance import daily_rows, prune
from usage_tracking.models import AIUsageLog, AIUsageTracking

pytestmark = pytest.mark.django_db


def pruned(before: dt.date, **options: Any) -> int:
    return sum(batch.removed for batch in prune.prune(before, using="default", **options))


def deliver(user: User | None, **values: Any) -> None:
    store([make_event(user=user, **values)], using="default")


def deliver_beside_others(user: User, **values: Any) -> None:
    """Retry while another transaction has the lock, as the thread that delivers does.

    `store` gives way after 0.3 s. On a busy machine the other transaction can take longer.
    """
    for _ in range(1_000):
        with suppress(OperationalError):
            return deliver(user, **values)
    raise AssertionError("another transaction kept the lock all the time")


class TestPrune:
    def test_old_rows_are_removed_and_their_daily_rows_stay(self):
        user = make_user()
        for age in range(4):
            save_log(user=user, created_at=NOON - age * DAY)
        before = read_days()

        assert pruned(TODAY - DAY) == 2

        assert sorted(AIUsageLog.objects.values_list("day", flat=True)) == [TODAY - DAY, TODAY]
        assert read_days() == before
        assert daily.drift() == {}
        assert daily.horizon() == TODAY - 2 * DAY

    def test_late_call_of_a_pruned_day_is_added_and_survives_a_rebuild(self):
        ada, bob = make_user("ada"), make_user("bob")
        save_log(user=ada)
        pruned(TODAY + DAY)

        deliver(ada)
        deliver(bob)

        assert {key[0]: day.requests for key, day in read_days().items()} == {ada.pk: 2, bob.pk: 1}
        assert daily.rebuild() == {}
        assert pruned(TODAY + DAY) == 2
        assert {key[0]: day.requests for key, day in read_days().items()} == {ada.pk: 2, bob.pk: 1}

    def test_backdated_row_causes_no_drift_on_pruned_days(self):
        ada, bob = make_user("ada"), make_user("bob")
        save_log(user=ada)
        pruned(TODAY + DAY)

        save_log(user=bob, created_at=NOON - 40 * DAY)
        save_log(user=None, created_at=NOON - 40 * DAY)

        assert daily.drift() == {}

    def test_half_pruned_day_is_no_drift_and_the_next_run_continues(self):
        ada, bob = make_user("ada"), make_user("bob")
        for user in (ada, bob) * 3:
            save_log(user=user)
        before = read_days()

        batches = prune.prune(TODAY + DAY, using="default", batch=2)
        assert sum(batch.removed for batch in islice(batches, 2)) == 4
        batches.close()

        assert daily.rebuild() == {}
        assert pruned(TODAY + DAY) == 2
        assert read_days() == before

    def test_rows_of_raw_sql_are_counted_before_they_are_removed(self):
        user = make_user()
        insert_without_orm(make_log(user=user))

        (batch,) = prune.prune(TODAY + DAY, using="default")

        assert list(batch.rebuilt) == [(user.pk, TODAY)]
        assert read_days()[user.pk, TODAY].requests == 1

    def test_rows_without_user_are_removed_on_request_only(self):
        save_log(user=None)

        assert pruned(TODAY + DAY) == 0
        assert AIUsageLog.objects.count() == 1
        assert pruned(TODAY + DAY, unattributed=True) == 1
        assert AIUsageLog.objects.count() == 0

    def test_days_end_at_midnight_of_the_configured_zone(self, settings):
        settings.AI_USAGE_DAY_TIMEZONE = "Asia/Tokyo"
        user = make_user()
        for hour in (14, 15):  # 23:00 and midnight in Tokyo
            save_log(user=user, created_at=NOON.replace(hour=hour))

        with freeze_time(NOON.replace(hour=16)):
            old = prune.prunable(0, using="default")

        assert old.before == TODAY + DAY
        assert old.days == {TODAY: 1}

    def test_number_of_statements_per_batch(self, django_assert_max_num_queries):
        user = make_user()
        AIUsageLog.objects.bulk_create(make_log(user=user) for _ in range(50))

        with django_assert_max_num_queries(1 + 10 + 8):
            assert pruned(TODAY + DAY) == 50

    @pytest.mark.postgres
    @pytest.mark.django_db(transaction=True)
    def test_nothing_is_lost_beside_late_calls_changes_and_rebuilds(self):
        users = [make_user(name) for name in NAMES]
        for user in users[:2]:
            AIUsageLog.objects.bulk_create(make_log(user=user) for _ in range(150))

        def late() -> None:
            for number in range(40):
                deliver_beside_others(users[number % 3])

        def change() -> None:
            for _ in range(40):
                with transaction.atomic():
                    pk = AIUsageLog.objects.order_by("?").values_list("pk", flat=True).first()
                    AIUsageLog.objects.filter(pk=pk).update(
                        created_at=F("created_at") + DAY, response_time_ms=900
                    )

        def prune_all() -> None:
            for _ in range(4):
                pruned(TODAY + DAY, batch=7)

        def rebuild() -> None:
            for _ in range(15):
                assert daily.rebuild() == {}

        run_in_threads(late, late, change, prune_all, prune_all, rebuild)

        days = read_days()
        assert sum(day.requests for day in days.values()) == 300 + 80
        assert sum(day.response_time_ms for day in days.values()) == 380 * 900
        assert daily.drift() == {}


class TestRebuild:
    @pytest.mark.postgres
    @pytest.mark.django_db(transaction=True)
    def test_command_counts_nothing_twice_beside_live_writers(self):
        users = [make_user(name) for name in NAMES]
        for age in range(40):
            insert_without_orm(make_log(user=users[age % 3], created_at=NOON - age * DAY))

        def deliver_all() -> None:
            for number in range(40):
                deliver_beside_others(users[number % 3], created_at=NOON - number * DAY)

        def save() -> None:
            for number in range(40):
                save_log(user=users[number % 3], created_at=NOON - number * DAY).delete()

        def rebuild() -> None:
            for _ in range(5):
                assert run_command("rebuild_ai_usage").code == 0

        run_in_threads(deliver_all, deliver_all, save, rebuild, rebuild)

        assert sum(day.requests for day in read_days().values()) == 40 + 80
        assert_in_step()

    def test_periods_cover_the_days_once(self):
        found = list(daily_rows.rebuild(TODAY - 70 * DAY, TODAY, using="default"))

        assert [(p.end - p.start).days for p in found] == [30, 30, 8]
        assert (found[0].start, found[-1].end) == (TODAY - 70 * DAY, TODAY)

    def test_every_period_is_rebuilt(self):
        user = make_user()
        for age in (0, 40, 80):
            insert_without_orm(make_log(user=user, created_at=NOON - age * DAY))
        days = daily_rows.span(using="default")

        assert days == (TODAY - 80 * DAY, TODAY)
        assert (
            sum(
                len(p.differences) for p in daily_rows.rebuild(*days, using="default", dry_run=True)
            )
            == 3
        )
        assert AIUsageTracking.objects.count() == 0
        assert sum(len(p.differences) for p in daily_rows.rebuild(*days, using="default")) == 3
        assert daily.drift() == {}

    def test_pruned_days_are_refused(self):
        save_log(user=make_user())
        pruned(TODAY + DAY)

        for bounds in ({"start": TODAY}, {"end": TODAY}, {"start": TODAY - DAY}):
            with pytest.raises(daily_rows.PrunedDaysError, match="Start with 2026-03-15"):
                daily_rows.span(using="default", **bounds)
        assert daily_rows.span(using="default") is None


class Maintenance(Writes):
    """Any sequence of ORM writes, late events, prunes and rebuilds."""

    def __init__(self) -> None:
        super().__init__()
        self.pruned: list[Expected] = []

    @rule(
        before=st.sampled_from([TODAY - 30 * DAY, TODAY, TODAY + DAY, TODAY + 2 * DAY]),
        batch=st.sampled_from([1, 2, 1000]),
        steps=st.none() | st.integers(1, 3),
        unattributed=st.booleans(),
    )
    def prune(self, before: dt.date, batch: int, steps: int | None, unattributed: bool) -> None:
        work = prune.prune(before, using="default", unattributed=unattributed, batch=batch)
        list(islice(work, steps))
        left = set(AIUsageLog.objects.values_list("pk", flat=True))
        gone = [self.logs.pop(pk) for pk in self.logs.keys() - left]
        assert all(log.created_at.date() < before for log in gone)
        assert unattributed or all(log.user for log in gone)
        self.pruned += gone

    @rule(name=st.sampled_from(NAMES) | st.none(), moment=st.sampled_from(TIMES))
    def late_event(self, name: str | None, moment: dt.datetime) -> None:
        event = make_event(user=self.user(name), created_at=moment, cost=Decimal("0.5"))
        store([event], using="default")
        self.logs[event.id] = Expected(user=name, created_at=moment, cost=Decimal("0.5"))

    @rule(values=changes)
    def insert_past_the_orm(self, values: dict[str, Any]) -> None:
        expected = Expected(**values)
        row = {"date": expected.created_at.date(), "user": self.user(expected.user)}
        if AIUsageTracking.objects.filter(**row, logs_pruned=True).exists():
            return  # indistinguishable from a row that was counted
        log = make_log(**self.columns(asdict(expected)))
        insert_without_orm(log)
        self.logs[log.pk] = expected
        daily.rebuild()

    @rule()
    def rebuild(self) -> None:
        assert daily.rebuild() == {}

    @rule(name=st.sampled_from(NAMES))
    def delete_user(self, name: str) -> None:
        super().delete_user(name=name)
        # Deleting a user deletes the daily rows.
        self.pruned = [replace(p, user=None) if p.user == name else p for p in self.pruned]

    @invariant()
    def days_are_the_sums_of_the_logs(self) -> None:
        days: Ledger = {}
        for log in (*self.logs.values(), *self.pruned):
            if log.user is not None:
                key = self.users[log.user].pk, log.created_at.date()
                days[key] = _plus(days.get(key, Day()), log)
        assert read_days() == days
        assert daily.drift() == {}


@pytest.mark.slow
def test_any_sequence_of_writes_and_prunes_keeps_the_totals():
    run_state_machine_as_test(
        Maintenance,
        settings=settings(
            derandomize=True,
            database=None,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
            max_examples=30,
            stateful_step_count=20,
        ),
    )
