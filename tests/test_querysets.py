"""Bulk writes of any queryset update the daily rows."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.db import IntegrityError, NotSupportedError, transaction
from django.db.models import Case, Count, F, OuterRef, Subquery, Value, When
from django.db.models.functions import Now

from tests.support.builders import NOON, make_log, make_user, rolled_back, save_log
from tests.support.ledger import Day, assert_in_step, read_days
from usage_tracking.days import day_of
from usage_tracking.models import AIUsageLog, AIUsageTracking

pytestmark = pytest.mark.django_db

TODAY = NOON.date()
DAY = dt.timedelta(days=1)
CHANGES: list[dict[str, Any]] = [
    {"prompt_tokens": 1},
    {"prompt_tokens": None, "completion_tokens": None},
    {"completion_tokens": F("completion_tokens") * 2},
    {"prompt_tokens": F("completion_tokens"), "completion_tokens": F("prompt_tokens")},
    {"response_time_ms": 1},
    {"success": False},
    {"success": Case(When(prompt_tokens__gt=100, then=False), default=True)},
    {"cost": Decimal("0.25")},
    {"cost": None},
    {"cost": F("cost") + Value(Decimal("0.125"))},
    {"created_at": NOON + 3 * DAY},
    {"created_at": F("created_at") - DAY},
    {"created_at": F("created_at") + dt.timedelta(hours=13), "success": False},
    {"user": None},
    {"user_id": None},
    {"section": "other"},
    {"section": "other", "prompt_tokens": F("prompt_tokens") + 1},
]
SHAPES: dict[str, Callable[[Any], Any]] = {
    "order_by": lambda logs: logs.order_by("created_at"),
    "reverse": lambda logs: logs.reverse(),
    "select_related": lambda logs: logs.select_related("user"),
    "only": lambda logs: logs.only("section"),
    "defer": lambda logs: logs.defer("metadata"),
    "values": lambda logs: logs.values("section"),
    "values_list": lambda logs: logs.values_list("section", flat=True),
    "select_for_update": lambda logs: logs.select_for_update(),
    "prefetch_related": lambda logs: logs.prefetch_related("user"),
    "or": lambda logs: logs | logs.filter(success=True),
}


class TestBulkCreate:
    def test_created_logs_are_counted(self):
        ada, bob = make_user("ada"), make_user("bob")

        AIUsageLog.objects.bulk_create(
            [
                make_log(user=ada, cost=Decimal("0.5")),
                make_log(user=ada, success=False, prompt_tokens=None),
                make_log(user=ada, created_at=NOON - DAY),
                make_log(user=bob),
                make_log(user=None),
            ]
        )

        assert read_days() == {
            (ada.pk, TODAY): Day(2, 150, 160, 310, 1800, 1, 1, Decimal("0.500000")),
            (ada.pk, TODAY - DAY): Day(1, 150, 80, 230, 900, 1, 0),
            (bob.pk, TODAY): Day(1, 150, 80, 230, 900, 1, 0),
        }
        assert_in_step()

    def test_created_rows_add_to_existing_daily_rows(self):
        user = make_user()
        save_log(user=user)

        AIUsageLog.objects.bulk_create([make_log(user=user)])

        assert read_days()[user.pk, TODAY].requests == 2
        assert_in_step()

    def test_nothing_to_create_changes_nothing(self):
        assert AIUsageLog.objects.bulk_create([]) == []
        assert not AIUsageTracking.objects.exists()

    def test_generator_and_batches_are_accepted(self):
        user = make_user()

        created = AIUsageLog.objects.bulk_create((make_log(user=user) for _ in range(7)), 3)

        assert len(created) == 7
        assert read_days()[user.pk, TODAY].requests == 7
        assert_in_step()

    @pytest.mark.slow
    def test_more_logs_than_one_chunk_are_counted(self):
        user = make_user()

        AIUsageLog.objects.bulk_create([make_log(user=user) for _ in range(2300)])

        assert read_days()[user.pk, TODAY].requests == 2300
        assert_in_step()

    def test_created_instances_know_their_day(self):
        (log,) = AIUsageLog.objects.bulk_create([make_log()])

        assert log.day == TODAY

    def test_conflict_option_is_rejected_with_an_alternative(self, subtests):
        user = make_user()
        options: list[dict[str, Any]] = [
            {"ignore_conflicts": True},
            {"update_conflicts": True, "unique_fields": ["id"], "update_fields": ["section"]},
        ]

        for option in options:
            with subtests.test(str(option)):
                with pytest.raises(NotSupportedError) as refused:
                    AIUsageLog.objects.bulk_create([make_log(user=user)], **option)

                assert str(refused.value) == (
                    "AIUsageLog.objects.bulk_create() does not take ignore_conflicts or "
                    "update_conflicts: the daily totals could not be kept in step. Filter out the "
                    "ids that exist first."
                )
                assert not AIUsageLog.objects.exists()
                assert_in_step()

    def test_existing_id_rolls_back_all_rows(self):
        user = make_user()
        log = save_log(user=user)

        with pytest.raises(IntegrityError), transaction.atomic():
            AIUsageLog.objects.bulk_create([make_log(user=user), make_log(user=user, id=log.pk)])

        assert read_days()[user.pk, TODAY].requests == 1
        assert_in_step()

    def test_rollback_of_the_callers_transaction_undoes_both(self):
        user = make_user()

        with rolled_back():
            AIUsageLog.objects.bulk_create([make_log(user=user)])

        assert not AIUsageLog.objects.exists()
        assert_in_step()

    def test_related_manager_counts(self):
        user = make_user()

        user.ai_usage_logs.bulk_create([make_log(user=user), make_log(user=user)])

        assert read_days()[user.pk, TODAY].requests == 2
        assert_in_step()

    def test_abulk_created_logs_are_counted(self):
        user = make_user()

        async_to_sync(AIUsageLog.objects.all().abulk_create)([make_log(user=user)])

        assert read_days()[user.pk, TODAY].requests == 1
        assert_in_step()

    def test_database_time_expression_is_accepted(self):
        user = make_user()

        AIUsageLog.objects.bulk_create([make_log(user=user, created_at=Now())])

        log = AIUsageLog.objects.get()
        assert log.day == log.created_at.date()
        assert_in_step()


class TestUpdate:
    def test_changed_logs_move_their_days_along(self, subtests):
        ada, bob = make_user("ada"), make_user("bob")
        save_log(user=ada, cost=Decimal("0.5"))
        save_log(user=ada, cost=None, success=False, prompt_tokens=7)
        save_log(user=ada, created_at=NOON - DAY, completion_tokens=None)
        save_log(user=bob, cost=Decimal("0.125"))
        save_log(user=None)

        for changes in CHANGES:
            with subtests.test(str(changes)), rolled_back():
                assert AIUsageLog.objects.update(**changes) == 5

                assert_in_step()

    def test_logs_given_to_another_user_are_counted_there(self, subtests):
        ada, bob = make_user("ada"), make_user("bob")
        save_log(user=ada)
        save_log(user=None)
        save_log(user=bob)

        for changes in ({"user": bob}, {"user_id": bob.pk}):
            with subtests.test(str(changes)), rolled_back():
                AIUsageLog.objects.update(**changes)

                counted = {key: day.requests for key, day in read_days().items()}
                assert counted == {(bob.pk, TODAY): 3}
                assert_in_step()

    def test_user_by_expression_is_counted(self):
        ada, bob = make_user("ada"), make_user("bob")
        save_log(user=ada)
        named = User.objects.filter(username="bob").values("pk")

        AIUsageLog.objects.update(user=Subquery(named))

        assert list(read_days()) == [(bob.pk, TODAY)]
        assert_in_step()

    def test_changed_time_updates_day_and_daily_row(self):
        user = make_user()
        save_log(user=user)
        save_log(user=user, created_at=NOON - DAY)

        AIUsageLog.objects.update(created_at=F("created_at") - 10 * DAY)

        assert sorted(AIUsageLog.objects.values_list("day", flat=True)) == [
            TODAY - 11 * DAY,
            TODAY - 10 * DAY,
        ]
        assert_in_step()

    def test_time_changed_within_its_day_keeps_the_day(self):
        user = make_user()
        save_log(user=user)

        AIUsageLog.objects.update(created_at=NOON + dt.timedelta(hours=1))

        assert AIUsageLog.objects.get().day == TODAY
        assert_in_step()

    def test_changed_time_uses_the_configured_time_zone(self, settings):
        settings.AI_USAGE_DAY_TIMEZONE = "Asia/Tokyo"
        user = make_user()
        save_log(user=user)

        AIUsageLog.objects.update(created_at=NOON + dt.timedelta(hours=3))

        assert AIUsageLog.objects.get().day == TODAY + DAY
        assert_in_step("Asia/Tokyo")

    def test_only_the_chosen_logs_are_changed(self):
        user = make_user()
        save_log(user=user)
        save_log(user=user, section="other")

        assert AIUsageLog.objects.filter(section="other").update(success=False) == 1

        assert read_days()[user.pk, TODAY].failed == 1
        assert_in_step()

    def test_condition_that_the_update_changes_is_evaluated_first(self):
        user = make_user()
        save_log(user=user)

        assert AIUsageLog.objects.filter(success=True).update(success=False) == 1

        assert read_days()[user.pk, TODAY].failed == 1
        assert_in_step()

    def test_condition_on_the_user_is_accepted(self):
        ada, bob = make_user("ada"), make_user("bob")
        save_log(user=ada)
        save_log(user=bob)

        assert AIUsageLog.objects.filter(user__username="bob").update(success=False) == 1

        assert {key[0]: day.failed for key, day in read_days().items()} == {ada.pk: 0, bob.pk: 1}
        assert_in_step()

    def test_condition_on_a_missing_user_is_accepted(self):
        user = make_user()
        save_log(user=user)
        save_log(user=None)
        logs = AIUsageLog.objects.exclude(user__username="ada")

        assert logs.update(user=user, prompt_tokens=1) == 1

        assert read_days()[user.pk, TODAY].prompt_tokens == 151
        assert_in_step()

    def test_distinct_queryset_is_accepted(self):
        user = make_user()
        save_log(user=user)

        assert AIUsageLog.objects.filter(user=user).distinct().update(success=False) == 1

        assert_in_step()

    def test_queryset_with_an_aggregate_is_accepted(self):
        ada, bob = make_user("ada"), make_user("bob")
        save_log(user=ada)
        save_log(user=ada)
        save_log(user=bob)
        busy = AIUsageLog.objects.annotate(n=Count("user__ai_usage_logs")).filter(n__gt=1)

        assert busy.update(success=False) == 2

        assert {key[0]: day.failed for key, day in read_days().items()} == {ada.pk: 2, bob.pk: 0}
        assert_in_step()

    def test_annotation_can_be_written(self):
        user = make_user()
        save_log(user=user)
        more = AIUsageLog.objects.annotate(more=F("prompt_tokens") + 1)

        assert more.update(prompt_tokens=F("more")) == 1

        assert read_days()[user.pk, TODAY].prompt_tokens == 151
        assert_in_step()

    def test_subquery_over_the_logs_can_be_written(self):
        user = make_user()
        save_log(user=user)
        save_log(user=user, prompt_tokens=1000)
        largest = AIUsageLog.objects.filter(user=OuterRef("user")).order_by("-prompt_tokens")

        AIUsageLog.objects.update(prompt_tokens=Subquery(largest.values("prompt_tokens")[:1]))

        assert read_days()[user.pk, TODAY].prompt_tokens == 2000
        assert_in_step()

    def test_queryset_of_any_shape_is_accepted(self, subtests):
        user = make_user()
        save_log(user=user)

        for name, shape in SHAPES.items():
            with subtests.test(name), rolled_back():
                assert shape(AIUsageLog.objects.filter(user=user)).update(prompt_tokens=1) == 1

                assert read_days()[user.pk, TODAY].prompt_tokens == 1
                assert_in_step()

    def test_empty_queryset_changes_nothing(self):
        save_log(user=make_user())

        assert AIUsageLog.objects.none().update(success=False) == 0
        assert AIUsageLog.objects.filter(section="no such").update(success=False) == 0

        assert_in_step()

    def test_slice_and_union_are_rejected(self, subtests):
        save_log(user=make_user())
        logs = AIUsageLog.objects.filter(success=True)
        no_slice = "Cannot update a query once a slice has been taken"

        # A counted field and another field, which are written in different ways.
        for changes in ({"success": False}, {"section": "other"}):
            with subtests.test("slice", **changes), pytest.raises(TypeError, match=no_slice):
                logs[:1].update(**changes)
            with subtests.test("union", **changes), pytest.raises(NotSupportedError):
                logs.union(logs).update(**changes)
            assert_in_step()

    def test_update_clears_the_result_cache(self):
        save_log(user=make_user())
        logs = AIUsageLog.objects.all()
        assert [log.success for log in logs] == [True]

        logs.update(success=False)

        assert [log.success for log in logs] == [False]

    @pytest.mark.slow
    def test_more_logs_than_one_chunk_are_counted(self):
        user = make_user()
        AIUsageLog.objects.bulk_create([make_log(user=user) for _ in range(2300)])

        assert AIUsageLog.objects.update(prompt_tokens=1, created_at=NOON - DAY) == 2300

        assert read_days() == {
            (user.pk, TODAY - DAY): Day(2300, 2300, 2300 * 80, 2300 * 81, 2300 * 900, 2300, 0)
        }
        assert_in_step()

    def test_failing_update_changes_nothing(self):
        user = make_user()
        save_log(user=user)

        with pytest.raises(IntegrityError), transaction.atomic():
            AIUsageLog.objects.update(success=None)

        assert_in_step()

    def test_rollback_of_the_callers_transaction_undoes_both(self):
        user = make_user()
        save_log(user=user)

        with rolled_back():
            AIUsageLog.objects.update(prompt_tokens=1, created_at=NOON - DAY)

        assert read_days() == {(user.pk, TODAY): Day(1, 150, 80, 230, 900, 1, 0)}
        assert_in_step()

    def test_aupdated_logs_are_counted(self):
        user = make_user()
        save_log(user=user)

        assert async_to_sync(AIUsageLog.objects.all().aupdate)(prompt_tokens=1) == 1

        assert read_days()[user.pk, TODAY].prompt_tokens == 1
        assert_in_step()

    def test_uncounted_fields_need_one_statement(self, django_assert_num_queries):
        save_log(user=make_user())

        with django_assert_num_queries(1):
            AIUsageLog.objects.update(section="other", metadata={"a": 1})


class TestBulkUpdate:
    def test_changed_logs_move_their_days_along(self):
        ada, bob = make_user("ada"), make_user("bob")
        logs = [save_log(user=ada), save_log(user=ada), save_log(user=None)]
        logs[0].prompt_tokens, logs[0].success = 1, False
        logs[1].user, logs[1].created_at = bob, NOON - 2 * DAY
        logs[2].user, logs[2].cost = bob, Decimal("0.5")

        changed = AIUsageLog.objects.bulk_update(
            logs, ["prompt_tokens", "success", "user", "created_at", "cost"]
        )

        assert changed == 3
        assert read_days() == {
            (ada.pk, TODAY): Day(1, 1, 80, 81, 900, 0, 1),
            (bob.pk, TODAY - 2 * DAY): Day(1, 150, 80, 230, 900, 1, 0),
            (bob.pk, TODAY): Day(1, 150, 80, 230, 900, 1, 0, Decimal("0.500000")),
        }
        assert_in_step()

    def test_batches_are_counted(self):
        user = make_user()
        logs = [save_log(user=user) for _ in range(5)]
        for log in logs:
            log.prompt_tokens = 1

        AIUsageLog.objects.bulk_update(logs, ["prompt_tokens"], batch_size=2)

        assert read_days()[user.pk, TODAY].prompt_tokens == 5
        assert_in_step()

    def test_expressions_are_counted(self):
        user = make_user()
        log = save_log(user=user)
        log.prompt_tokens = F("prompt_tokens") + 1

        AIUsageLog.objects.bulk_update([log], ["prompt_tokens"])

        assert read_days()[user.pk, TODAY].prompt_tokens == 151
        assert_in_step()

    def test_abulk_updated_logs_are_counted(self):
        user = make_user()
        log = save_log(user=user)
        log.success = False

        async_to_sync(AIUsageLog.objects.all().abulk_update)([log], ["success"])

        assert read_days()[user.pk, TODAY].failed == 1
        assert_in_step()


class TestDelete:
    def test_deleted_logs_are_taken_off(self):
        ada, bob = make_user("ada"), make_user("bob")
        save_log(user=ada)
        save_log(user=ada, section="other", cost=Decimal("0.5"))
        save_log(user=bob, section="other", success=False)
        save_log(user=None, section="other")

        deleted, _ = AIUsageLog.objects.filter(section="other").delete()

        assert deleted == 3
        assert read_days() == {(ada.pk, TODAY): Day(1, 150, 80, 230, 900, 1, 0)}
        assert_in_step()

    def test_deletion_of_all_rows_leaves_no_daily_row(self):
        user = make_user()
        for _ in range(3):
            save_log(user=user, cost=Decimal("0.1"))

        AIUsageLog.objects.all().delete()

        assert read_days() == {}
        assert_in_step()

    def test_rollback_of_the_callers_transaction_undoes_both(self):
        user = make_user()
        save_log(user=user)

        with rolled_back():
            AIUsageLog.objects.all().delete()

        assert read_days()[user.pk, TODAY].requests == 1
        assert_in_step()

    def test_adeleted_logs_are_taken_off(self):
        save_log(user=make_user())

        async_to_sync(AIUsageLog.objects.all().adelete)()

        assert read_days() == {}
        assert_in_step()


class TestRelatedManager:
    def test_added_logs_are_counted(self):
        ada, bob = make_user("ada"), make_user("bob")
        logs = [save_log(user=None), save_log(user=bob)]

        ada.ai_usage_logs.add(*logs)

        assert {key: day.requests for key, day in read_days().items()} == {(ada.pk, TODAY): 2}
        assert_in_step()

    def test_removed_and_cleared_logs_are_taken_off(self):
        user = make_user()
        logs = [save_log(user=user) for _ in range(3)]

        user.ai_usage_logs.remove(logs[0])
        assert read_days()[user.pk, TODAY].requests == 2
        user.ai_usage_logs.clear()

        assert read_days() == {}
        assert AIUsageLog.objects.filter(user=None).count() == 3
        assert_in_step()

    def test_updated_logs_are_counted(self):
        user = make_user()
        save_log(user=user)

        user.ai_usage_logs.update(success=False)

        assert read_days()[user.pk, TODAY].failed == 1
        assert_in_step()


def test_expression_as_created_at_sets_the_day():
    """The database evaluates the expression to the middle of the next day."""
    user = make_user()
    logs = [
        AIUsageLog(user=user, section="chat", created_at=Now() + dt.timedelta(days=days))
        for days in (-2, 0)
    ]

    AIUsageLog.objects.bulk_create(logs)

    for log in AIUsageLog.objects.all():
        assert log.day == day_of(log.created_at)
    assert AIUsageTracking.objects.count() == 2
    assert_in_step()
