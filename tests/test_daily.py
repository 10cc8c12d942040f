"""Daily rows are the sums of rows after any ORM write.

`drift` finds the effects of other writes, and `rebuild` corrects them.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.db.models import F, QuerySet
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.support.builders import NOON, make_log, make_user, rolled_back, save_log
from tests.support.ledger import Day, Ledger, assert_in_step, read_days
from tests.support.threads import run_in_threads
from usage_tracking import daily
from usage_tracking.models import AIUsageLog, AIUsageTracking

pytestmark = pytest.mark.django_db

TODAY = NOON.date()
DAY = dt.timedelta(days=1)


def execute(sql: str, *parameters: Any) -> None:
    """Execute SQL without the ORM."""
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)


def insert_without_orm(log: AIUsageLog) -> None:
    """Insert rows but no daily rows, as `COPY`, an import script or another service does."""
    log.set_day()
    AIUsageLog.objects.all()._insert(  # type: ignore[attr-defined]
        [log], fields=_columns(), using="default"
    )


class TestDrift:
    def test_consistent_tables_have_none(self):
        save_log(user=make_user(), cost=Decimal("0.1"))
        save_log(user=None)

        assert daily.drift() == {}

    def test_empty_tables_have_none(self):
        assert daily.drift() == {}

    def test_row_inserted_without_the_orm_is_missing_in_the_daily_row(self):
        user = make_user()
        save_log(user=user)

        insert_without_orm(make_log(user=user, cost=Decimal("0.5"), success=False))

        assert daily.drift() == {
            (user.pk, TODAY): daily.Sums(1, 150, 80, 230, 900, 0, 1, Decimal("0.5"))
        }

    def test_row_deleted_without_the_orm_is_excess_in_the_daily_row(self):
        user = make_user()
        save_log(user=user)
        log = save_log(user=user)

        AIUsageLog.objects.filter(pk=log.pk)._raw_delete("default")

        assert daily.drift() == {
            (user.pk, TODAY): daily.Sums(-1, -150, -80, -230, -900, -1, 0, Decimal(0))
        }

    def test_row_changed_without_the_orm_is_found(self):
        user = make_user()
        save_log(user=user)

        execute("UPDATE ai_usage_log SET prompt_tokens = 1000, success = %s", False)

        assert daily.drift() == {(user.pk, TODAY): daily.Sums(0, 850, 0, 850, 0, -1, 1, Decimal(0))}

    def test_change_of_user_without_the_orm_is_found_for_both_users(self):
        ada, bob = make_user("ada"), make_user("bob")
        save_log(user=ada)

        execute("UPDATE ai_usage_log SET user_id = %s", bob.pk)

        assert {key[0]: sums.total_requests for key, sums in daily.drift().items()} == {
            ada.pk: -1,
            bob.pk: 1,
        }

    def test_deleted_daily_row_is_found(self):
        user = make_user()
        save_log(user=user)

        AIUsageTracking.objects.all().delete()

        assert daily.drift() == {(user.pk, TODAY): daily.Sums(1, 150, 80, 230, 900, 1, 0)}

    def test_daily_row_without_rows_is_found(self):
        ada, bob = make_user("ada"), make_user("bob")
        save_log(user=ada)

        AIUsageTracking.objects.create(user=bob, date=TODAY, total_requests=3)

        assert daily.drift() == {(bob.pk, TODAY): daily.Sums(-3)}

    def test_call_counted_only_by_update_stats_is_found(self):
        save_log(user=make_user())
        row = AIUsageTracking.objects.get()

        row.update_stats(5, 6, 7)

        assert list(daily.drift().values()) == [daily.Sums(-1, -5, -6, -11, -7, -1, 0)]

    def test_drift_makes_one_statement(self, django_assert_num_queries):
        save_log(user=make_user())

        with django_assert_num_queries(1):
            daily.drift(start=TODAY, end=TODAY)

    @pytest.mark.slow
    def test_floating_point_noise_in_costs_is_not_drift(self):
        user = make_user()
        AIUsageLog.objects.bulk_create(
            make_log(user=user, cost=Decimal("0.0000001234") + n * Decimal("0.1"))
            for n in range(500)
        )
        for log in AIUsageLog.objects.all()[:250]:
            log.delete()

        assert daily.drift() == {}

    def test_wrong_cost_is_found(self):
        save_log(user=make_user(), cost=Decimal("0.25"))

        AIUsageTracking.objects.update(total_cost=Decimal("0.24999"))

        ((found),) = daily.drift().values()
        assert found._replace(total_cost=Decimal(0)) == daily.Sums()
        assert found.total_cost == pytest.approx(Decimal("0.00001"))

    def test_pruned_days_are_not_compared(self):
        user = make_user()
        for age in range(4):
            save_log(user=user, created_at=NOON - age * DAY)

        AIUsageLog.objects.filter(day__lt=TODAY - DAY)._raw_delete("default")

        assert daily.drift() == {}
        assert daily.rebuild() == {}
        assert AIUsageTracking.objects.count() == 4

    def test_rows_without_users_define_the_kept_days(self):
        user = make_user()
        save_log(user=user)
        save_log(user=None, created_at=NOON - DAY)

        AIUsageLog.objects.filter(user=user)._raw_delete("default")

        assert list(daily.drift()) == [(user.pk, TODAY)]

    def test_empty_row_table_has_no_drift(self):
        save_log(user=make_user())

        AIUsageLog.objects.all()._raw_delete("default")

        assert daily.drift() == {}

    def test_days_can_be_limited(self, subtests):
        user = make_user()
        for age in range(4):
            save_log(user=user, created_at=NOON - age * DAY)
        AIUsageTracking.objects.update(total_requests=F("total_requests") + 1)
        cases: list[tuple[dict[str, Any], list[int]]] = [
            ({}, [3, 2, 1, 0]),
            ({"start": TODAY - 2 * DAY}, [2, 1, 0]),
            ({"end": TODAY - 2 * DAY}, [3, 2]),
            ({"start": TODAY - 2 * DAY, "end": TODAY - DAY}, [2, 1]),
            ({"start": TODAY, "end": TODAY}, [0]),
            ({"start": TODAY + DAY}, []),
            ({"start": TODAY, "end": TODAY - DAY}, []),
        ]

        for bounds, ages in cases:
            with subtests.test(str(bounds)):
                drift = daily.drift(**bounds)

                assert list(drift) == [(user.pk, TODAY - age * DAY) for age in ages]

    @override_settings(AI_USAGE_DAY_TIMEZONE="Europe/Berlin")
    def test_days_are_in_the_configured_time_zone(self):
        user = make_user()
        # The hour that occurs twice in Berlin, and the midnights around that day.
        for when in (
            "2026-10-24T21:59:59+00:00",
            "2026-10-24T22:00:00+00:00",
            "2026-10-25T00:30:00+00:00",
            "2026-10-25T01:30:00+00:00",
            "2026-10-25T22:59:59+00:00",
            "2026-10-25T23:00:00+00:00",
        ):
            save_log(user=user, created_at=dt.datetime.fromisoformat(when))

        assert {key[1].day: day.requests for key, day in read_days().items()} == {
            24: 1,
            25: 4,
            26: 1,
        }
        assert_in_step("Europe/Berlin")

    def test_changed_zone_causes_no_drift(self, settings):
        user = make_user()
        save_log(user=user, created_at=NOON + dt.timedelta(hours=11))
        log = save_log(user=user, created_at=NOON + dt.timedelta(hours=11))

        settings.AI_USAGE_DAY_TIMEZONE = "Asia/Tokyo"
        log.save()

        assert {key[1] for key in read_days()} == {TODAY, TODAY + DAY}
        assert daily.drift() == {}


class TestRebuild:
    def damage(self) -> User:
        """Cause every kind of damage and return an affected user."""
        ada, bob, cem = (make_user(name) for name in ("ada", "bob", "cem"))
        for age in range(5):
            save_log(user=ada, created_at=NOON - age * DAY, cost=Decimal("0.125"))
            save_log(user=bob, created_at=NOON - age * DAY, success=False)
        insert_without_orm(make_log(user=ada, cost=Decimal("0.5")))
        insert_without_orm(make_log(user=cem))
        AIUsageLog.objects.filter(user=bob, day=TODAY - DAY)._raw_delete("default")
        execute("UPDATE ai_usage_log SET completion_tokens = NULL WHERE day = %s", TODAY - 2 * DAY)
        AIUsageTracking.objects.filter(date=TODAY - 3 * DAY).delete()
        AIUsageTracking.objects.filter(date=TODAY - 4 * DAY).update(total_cost=99)
        return ada

    def test_rebuild_corrects_everything(self):
        self.damage()

        daily.rebuild()

        assert_in_step()

    def test_rebuild_returns_what_drift_found(self):
        self.damage()
        found = daily.drift()

        assert daily.rebuild() == found
        assert len(found) == 9

    def test_second_rebuild_finds_nothing(self):
        self.damage()
        daily.rebuild()

        assert daily.rebuild() == {}

    def test_daily_row_without_calls_is_removed(self):
        user = make_user()
        save_log(user=None)
        AIUsageTracking.objects.create(user=user, date=TODAY, total_requests=3, total_tokens=10)

        daily.rebuild()

        assert not AIUsageTracking.objects.exists()

    def test_days_outside_the_bounds_are_not_changed(self):
        user = self.damage()

        rebuilt = daily.rebuild(start=TODAY - 3 * DAY, end=TODAY - DAY)

        assert {day for _, day in rebuilt} == {TODAY - age * DAY for age in (1, 2, 3)}
        assert {day for _, day in daily.drift()} == {TODAY, TODAY - 4 * DAY}
        assert (user.pk, TODAY) in daily.drift()

    def test_rollback_of_the_callers_transaction_undoes_it(self):
        self.damage()
        found = daily.drift()

        with rolled_back():
            daily.rebuild()

        assert daily.drift() == found

    def test_daily_rows_keep_their_ids(self):
        user = make_user()
        save_log(user=user)
        row = AIUsageTracking.objects.get()
        insert_without_orm(make_log(user=user))

        daily.rebuild()

        assert AIUsageTracking.objects.get() == row

    def test_daily_rows_without_calls_are_removed_together(self):
        for number in range(40):
            save_log(user=make_user(str(number)))
        execute("DELETE FROM ai_usage_log")
        save_log(user=None)

        with CaptureQueriesContext(connection) as queries:
            assert len(daily.rebuild()) == 40

        assert not AIUsageTracking.objects.exists()
        assert sum(query["sql"].startswith("DELETE") for query in queries) == 1

    @pytest.mark.django_db(transaction=True)
    def test_rebuild_during_live_traffic_counts_no_call_twice(self):
        user = make_user()
        for _ in range(20):
            insert_without_orm(make_log(user=user))

        def write() -> None:
            for _ in range(20):
                save_log(user=user)

        def rebuild() -> None:
            for _ in range(5):
                daily.rebuild()

        run_in_threads(write, write, rebuild, rebuild)

        assert AIUsageTracking.objects.get().total_requests == 60
        assert_in_step()


class TestAdd:
    def test_first_call_of_a_day_creates_the_daily_row(self):
        user = make_user()
        call = daily.of_call(1, 2, 3, True, Decimal("0.5"))

        with transaction.atomic():
            totals = daily.add({(user.pk, TODAY): call}, using="default")

        assert totals == {(user.pk, TODAY): daily.Totals(1, 3, True)}

    def test_next_call_adds_to_the_daily_row(self):
        user = make_user()
        call = daily.of_call(1, None, 3, False, None)

        for _ in range(2):
            with transaction.atomic():
                totals = daily.add({(user.pk, TODAY): call}, using="default")

        assert totals == {(user.pk, TODAY): daily.Totals(2, 2, False)}
        assert read_days() == {(user.pk, TODAY): Day(2, 2, 0, 2, 6, 0, 2)}

    def test_nothing_to_add_makes_no_statement(self, django_assert_num_queries):
        user = make_user()

        with django_assert_num_queries(0):
            assert daily.add({}, using="default") == {}
            assert daily.add({(user.pk, TODAY): daily.Sums()}, using="default") == {}

    def test_many_users_need_one_statement(self, django_assert_num_queries):
        call = daily.of_call(1, 2, 3, True, None)
        users = [make_user(f"user{number}") for number in range(30)]

        with django_assert_num_queries(1):
            daily.add({(user.pk, TODAY): call for user in users}, using="default")

        assert AIUsageTracking.objects.count() == 30

    def test_subtraction_never_creates_a_daily_row(self):
        user = make_user()
        less = daily.Sums().minus(daily.of_call(1, 2, 3, True, None))

        with transaction.atomic():
            daily.add({(user.pk, TODAY): less}, using="default")

        assert not AIUsageTracking.objects.exists()


TIMES = [
    NOON,
    NOON - dt.timedelta(hours=12),  # midnight in UTC
    NOON - dt.timedelta(hours=12, microseconds=1),
    NOON + DAY,
    NOON - 40 * DAY,
]
NAMES = ("ada", "bob", "cem")

counts = st.none() | st.integers(0, 5) | st.just(10**9)
changes = st.fixed_dictionaries(
    {},
    optional={
        "user": st.sampled_from(NAMES) | st.none(),
        "section": st.sampled_from(["chat", "other"]),
        "prompt_tokens": counts,
        "completion_tokens": counts,
        "response_time_ms": st.integers(0, 10_000),
        "success": st.booleans(),
        "cost": st.none() | st.decimals(0, 100, places=4),
        "created_at": st.sampled_from(TIMES),
    },
)
some_changes = changes.filter(bool)
picks = st.integers(0, 1000)


@dataclass(frozen=True)
class Expected:
    """The expected state of a row."""

    user: str | None = None
    section: str = "chat"
    prompt_tokens: int | None = 150
    completion_tokens: int | None = 80
    response_time_ms: int = 900
    success: bool = True
    cost: Decimal | None = None
    created_at: dt.datetime = NOON


class Writes(RuleBasedStateMachine):
    """Any sequence of ORM writes, with a model of the expected rows."""

    def __init__(self) -> None:
        super().__init__()
        self.transaction = transaction.atomic()
        self.transaction.__enter__()
        self.users: dict[str, User] = {}
        self.logs: dict[UUID, Expected] = {}

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self.transaction.__exit__(None, None, None)

    @initialize()
    def sign_up(self) -> None:
        self.users = {name: make_user(name) for name in NAMES}

    @rule(values=changes)
    def create(self, values: dict[str, Any]) -> None:
        expected = Expected(**values)
        log = AIUsageLog.objects.create(**self.columns(asdict(expected)))
        self.logs[log.pk] = expected

    @rule(values=st.lists(changes, max_size=5), batch_size=st.none() | st.just(2))
    def bulk_create(self, values: list[dict[str, Any]], batch_size: int | None) -> None:
        expected = [Expected(**value) for value in values]
        created = AIUsageLog.objects.bulk_create(
            [AIUsageLog(**self.columns(asdict(one))) for one in expected], batch_size
        )
        self.logs |= {log.pk: one for log, one in zip(created, expected, strict=True)}

    @rule(values=changes)
    def log_usage(self, values: dict[str, Any]) -> None:
        values = {
            name: value for name, value in values.items() if name not in ("cost", "created_at")
        }
        expected = Expected(**values)
        given = self.columns(asdict(expected))
        del given["cost"], given["created_at"]
        log = AIUsageLog.log_usage(**given)
        self.logs[log.pk] = replace(expected, created_at=log.created_at)

    @precondition(lambda self: self.logs)
    @rule(pick=picks, values=some_changes)
    def save(self, pick: int, values: dict[str, Any]) -> None:
        log = self.pick(pick)
        for name, value in self.columns(values).items():
            setattr(log, name, value)
        log.save()
        self.change([log.pk], values)

    @precondition(lambda self: self.logs)
    @rule(pick=picks, values=some_changes, named=st.data())
    def save_named_fields(self, pick: int, values: dict[str, Any], named: st.DataObject) -> None:
        log = self.pick(pick)
        for name, value in self.columns(values).items():
            setattr(log, name, value)
        names = named.draw(st.sets(st.sampled_from(sorted(values))))
        log.save(update_fields=names)
        self.change([log.pk], {name: values[name] for name in names})

    @precondition(lambda self: self.logs)
    @rule(pick=picks, more=st.integers(1, 100))
    def save_expression(self, pick: int, more: int) -> None:
        log = self.pick(pick)
        log.response_time_ms = F("response_time_ms") + more
        log.save()
        self.change([log.pk], {"response_time_ms": self.logs[log.pk].response_time_ms + more})

    @precondition(lambda self: self.logs)
    @rule(picked=st.sets(picks, max_size=5), values=some_changes)
    def bulk_update(self, picked: set[int], values: dict[str, Any]) -> None:
        pks = {self.pick(number).pk for number in picked}
        logs = list(AIUsageLog.objects.filter(pk__in=pks))
        for log in logs:
            for name, value in self.columns(values).items():
                setattr(log, name, value)
        assert AIUsageLog.objects.bulk_update(logs, list(values)) == len(pks)
        self.change(pks, values)

    @rule(values=some_changes, name=st.sampled_from(NAMES) | st.none(), success=st.booleans())
    def update(self, values: dict[str, Any], name: str | None, success: bool) -> None:
        logs, pks = self.select(name, success)
        assert logs.update(**self.columns(values)) == len(pks)
        self.change(pks, values)

    @rule(name=st.sampled_from(NAMES) | st.none(), success=st.booleans())
    def update_by_expression(self, name: str | None, success: bool) -> None:
        logs, pks = self.select(name, success)
        logs.update(
            prompt_tokens=F("completion_tokens"),
            response_time_ms=F("response_time_ms") * 2,
            created_at=F("created_at") - dt.timedelta(hours=1),
        )
        for pk in pks:
            log = self.logs[pk]
            self.logs[pk] = replace(
                log,
                prompt_tokens=log.completion_tokens,
                response_time_ms=log.response_time_ms * 2,
                created_at=log.created_at - dt.timedelta(hours=1),
            )

    @rule(giver=st.sampled_from(NAMES) | st.none(), taker=st.sampled_from(NAMES) | st.none())
    def hand_over(self, giver: str | None, taker: str | None) -> None:
        AIUsageLog.objects.filter(user=self.user(giver)).update(user=self.user(taker))
        self.change([pk for pk, log in self.logs.items() if log.user == giver], {"user": taker})

    @precondition(lambda self: self.logs)
    @rule(pick=picks, name=st.sampled_from(NAMES))
    def add_to_user(self, pick: int, name: str) -> None:
        log = self.pick(pick)
        self.users[name].ai_usage_logs.add(log)
        self.change([log.pk], {"user": name})

    @rule(name=st.sampled_from(NAMES))
    def clear_user(self, name: str) -> None:
        self.users[name].ai_usage_logs.clear()
        self.change([pk for pk, log in self.logs.items() if log.user == name], {"user": None})

    @rule(tokens=counts)
    def update_or_create(self, tokens: int | None) -> None:
        log, created = AIUsageLog.objects.update_or_create(
            pk=UUID(int=7),
            defaults={"prompt_tokens": tokens},
            create_defaults=self.columns(asdict(Expected(prompt_tokens=tokens, user="ada"))),
        )
        if created:
            self.logs[log.pk] = Expected(user="ada")
        self.change([log.pk], {"prompt_tokens": tokens})

    @precondition(lambda self: self.logs)
    @rule(pick=picks)
    def delete(self, pick: int) -> None:
        log = self.pick(pick)
        pk = log.pk
        log.delete()
        del self.logs[pk]

    @rule(name=st.sampled_from(NAMES) | st.none(), success=st.booleans())
    def delete_queryset(self, name: str | None, success: bool) -> None:
        logs, pks = self.select(name, success)
        logs.delete()
        for pk in pks:
            del self.logs[pk]

    @rule(name=st.sampled_from(NAMES))
    def delete_user(self, name: str) -> None:
        self.users[name].delete()
        self.users[name] = make_user(name)
        self.change([pk for pk, log in self.logs.items() if log.user == name], {"user": None})

    @rule(values=some_changes, name=st.sampled_from(NAMES) | st.none())
    def roll_back(self, values: dict[str, Any], name: str | None) -> None:
        with rolled_back():
            save_log(user=self.user(name))
            AIUsageLog.objects.filter(user=self.user(name)).update(**self.columns(values))
            AIUsageLog.objects.filter(success=True).delete()

    @invariant()
    def logs_are_as_they_should_be(self) -> None:
        found = {
            log.pk: Expected(
                user=log.user.username if log.user else None,
                section=log.section,
                prompt_tokens=log.prompt_tokens,
                completion_tokens=log.completion_tokens,
                response_time_ms=log.response_time_ms,
                success=log.success,
                cost=None if log.cost is None else log.cost.quantize(Decimal("1e-4")),
                created_at=log.created_at,
            )
            for log in AIUsageLog.objects.select_related("user")
        }
        assert found == self.logs

    @invariant()
    def days_are_the_sums_of_the_logs(self) -> None:
        days: Ledger = {}
        for log in self.logs.values():
            if log.user is not None:
                key = self.users[log.user].pk, log.created_at.date()
                days[key] = _plus(days.get(key, Day()), log)
        assert read_days() == days
        assert daily.drift() == {}

    def columns(self, values: dict[str, Any]) -> dict[str, Any]:
        return values | ({"user": self.user(values["user"])} if "user" in values else {})

    def user(self, name: str | None) -> User | None:
        return None if name is None else self.users[name]

    def pick(self, number: int) -> AIUsageLog:
        return AIUsageLog.objects.get(pk=list(self.logs)[number % len(self.logs)])

    def select(self, name: str | None, success: bool) -> tuple[QuerySet[AIUsageLog], list[UUID]]:
        logs = AIUsageLog.objects.filter(user=self.user(name), success=success)
        pks = [pk for pk, log in self.logs.items() if (log.user, log.success) == (name, success)]
        return logs, pks

    def change(self, pks: Any, values: dict[str, Any]) -> None:
        for pk in pks:
            self.logs[pk] = replace(self.logs[pk], **values)


@pytest.mark.slow
def test_any_sequence_of_writes_keeps_daily_rows_correct():
    run_state_machine_as_test(
        Writes,
        settings=settings(
            derandomize=True,
            database=None,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
            max_examples=30,
            stateful_step_count=20,
        ),
    )


def _plus(day: Day, log: Expected) -> Day:
    prompt, completion = log.prompt_tokens or 0, log.completion_tokens or 0
    return Day(
        day.requests + 1,
        day.prompt_tokens + prompt,
        day.completion_tokens + completion,
        day.tokens + prompt + completion,
        day.response_time_ms + log.response_time_ms,
        day.successful + log.success,
        day.failed + (not log.success),
        day.cost + (log.cost or 0),
    )


def _columns() -> list[Any]:
    return [field for field in AIUsageLog._meta.concrete_fields if not field.generated]
