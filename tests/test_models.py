"""The two models. Saves and deletes of rows keep the daily rows correct."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import uuid4

import django
import pytest
from asgiref.sync import async_to_sync
from django.db import DataError, IntegrityError, connection, transaction
from django.db.models import F
from django.db.models.functions import Now
from django.test import override_settings
from django.utils import timezone
from freezegun import freeze_time

from tests.support.builders import NOON, make_event, make_log, make_user, rolled_back, save_log
from tests.support.ledger import Day, assert_in_step, read_days
from tests.support.threads import run_in_threads
from usage_tracking.delivery.writer import store
from usage_tracking.models import AIUsageLog, AIUsageTracking, new_id, today

pytestmark = pytest.mark.django_db

TODAY = NOON.date()
DAY = dt.timedelta(days=1)
CHANGES: list[dict[str, Any]] = [
    {"prompt_tokens": 1},
    {"prompt_tokens": None},
    {"completion_tokens": None},
    {"response_time_ms": 1},
    {"success": False},
    {"cost": Decimal("0.25")},
    {"cost": None},
    {"created_at": NOON - DAY},
    {"created_at": NOON + 400 * DAY, "success": False, "cost": Decimal(3)},
    {"user": None},
    {"section": "other"},
]
#: Time zones, times, and the days of these times in the zone.
DAYS = [
    ("UTC", "2026-03-14T23:59:59.999999+00:00", dt.date(2026, 3, 14)),
    ("UTC", "2026-03-15T00:00:00+00:00", dt.date(2026, 3, 15)),
    ("Europe/Berlin", "2026-03-14T23:00:00+00:00", dt.date(2026, 3, 15)),
    # Berlin enters summer time on 29 March 2026. This day has 23 hours.
    ("Europe/Berlin", "2026-03-28T22:59:59+00:00", dt.date(2026, 3, 28)),
    ("Europe/Berlin", "2026-03-28T23:00:00+00:00", dt.date(2026, 3, 29)),
    ("Europe/Berlin", "2026-03-29T21:59:59+00:00", dt.date(2026, 3, 29)),
    ("Europe/Berlin", "2026-03-29T22:00:00+00:00", dt.date(2026, 3, 30)),
    # Berlin leaves summer time on 25 October 2026. This day has 25 hours.
    ("Europe/Berlin", "2026-10-24T22:00:00+00:00", dt.date(2026, 10, 25)),
    ("Europe/Berlin", "2026-10-25T22:59:59+00:00", dt.date(2026, 10, 25)),
    ("Europe/Berlin", "2026-10-25T23:00:00+00:00", dt.date(2026, 10, 26)),
    ("Pacific/Kiritimati", "2026-03-14T10:00:00+00:00", dt.date(2026, 3, 15)),
    ("America/Los_Angeles", "2026-03-15T06:59:59+00:00", dt.date(2026, 3, 14)),
]


class TestCreate:
    def test_created_log_is_counted(self):
        user = make_user()

        AIUsageLog.objects.create(
            user=user,
            section="chat",
            prompt_tokens=150,
            completion_tokens=80,
            response_time_ms=900,
            cost=Decimal("0.0125"),
            created_at=NOON,
        )

        assert read_days() == {
            (user.pk, TODAY): Day(1, 150, 80, 230, 900, 1, 0, Decimal("0.012500"))
        }
        assert_in_step()

    def test_second_row_of_the_day_adds_to_the_daily_row(self):
        user = make_user()

        save_log(user=user)
        save_log(user=user, success=False, prompt_tokens=1, completion_tokens=2)

        assert read_days() == {(user.pk, TODAY): Day(2, 151, 82, 233, 1800, 1, 1)}
        assert AIUsageTracking.objects.count() == 1
        assert_in_step()

    def test_unknown_tokens_and_cost_stay_unknown_and_count_as_a_call(self):
        user = make_user()

        log = save_log(user=user, prompt_tokens=None, completion_tokens=None, cost=None)

        log.refresh_from_db()
        assert (log.prompt_tokens, log.completion_tokens, log.total_tokens, log.cost) == (
            None,
            None,
            None,
            None,
        )
        assert read_days() == {(user.pk, TODAY): Day(1, 0, 0, 0, 900, 1, 0)}
        assert_in_step()

    def test_total_is_the_sum_of_known_counts(self):
        totals = {
            (150, 80): 230,
            (150, None): 150,
            (None, 80): 80,
            (0, 0): 0,
            (None, None): None,
        }
        for prompt, completion in totals:
            save_log(prompt_tokens=prompt, completion_tokens=completion)

        found = AIUsageLog.objects.values_list("prompt_tokens", "completion_tokens", "total_tokens")
        assert {(prompt, completion): total for prompt, completion, total in found} == totals

    def test_log_without_user_has_no_daily_row(self):
        save_log(user=None)

        assert not AIUsageTracking.objects.exists()
        assert_in_step()

    def test_largest_plausible_numbers_are_counted(self):
        user = make_user()
        huge = 10**12

        save_log(user=user, prompt_tokens=huge, completion_tokens=huge, response_time_ms=huge)
        save_log(user=user, prompt_tokens=huge, completion_tokens=huge, response_time_ms=huge)

        assert AIUsageTracking.objects.get().total_tokens == 4 * huge
        assert_in_step()

    def test_id_is_a_uuid_of_version_7(self):
        log = save_log()

        assert log.pk.version == 7

    def test_ids_sort_by_time(self):
        with freeze_time("2026-03-14 12:00:00") as clock:
            ids = []
            for _ in range(20):
                ids.append(new_id())
                clock.tick(0.001)

        assert ids == sorted(ids)

    def test_given_id_is_kept(self):
        wanted = uuid4()

        save_log(id=wanted)

        assert AIUsageLog.objects.get().pk == wanted

    def test_same_id_twice_is_refused_and_not_counted(self):
        user = make_user()
        log = save_log(user=user)

        with pytest.raises(IntegrityError), transaction.atomic():
            make_log(id=log.pk, user=user).save(force_insert=True)

        assert AIUsageTracking.objects.get().total_requests == 1
        assert_in_step()

    def test_acreated_log_is_counted(self):
        user = make_user()

        async_to_sync(AIUsageLog.objects.all().acreate)(user=user, section="chat", prompt_tokens=5)

        row = AIUsageTracking.objects.get()
        assert (row.total_requests, row.total_prompt_tokens) == (1, 5)
        assert_in_step()

    def test_related_manager_counts(self):
        user = make_user()

        user.ai_usage_logs.create(section="chat", prompt_tokens=5, created_at=NOON)

        assert user.ai_usage_tracking.get().total_prompt_tokens == 5
        assert_in_step()

    def test_get_or_create_counts_once(self):
        user = make_user()

        for _ in range(2):
            AIUsageLog.objects.get_or_create(
                user=user, section="chat", defaults={"prompt_tokens": 5, "created_at": NOON}
            )

        assert AIUsageTracking.objects.get().total_requests == 1
        assert_in_step()

    def test_update_or_create_counts_the_change(self):
        user = make_user()

        for tokens in (5, 7):
            AIUsageLog.objects.update_or_create(
                user=user,
                section="chat",
                defaults={"prompt_tokens": tokens},
                create_defaults={"prompt_tokens": tokens, "created_at": NOON},
            )

        assert AIUsageTracking.objects.get().total_prompt_tokens == 7
        assert_in_step()

    def test_time_as_text_is_accepted(self):
        user = make_user()

        log = save_log(user=user, created_at="2026-03-14T23:30:00-02:00")

        log.refresh_from_db()
        assert (log.created_at.hour, log.day) == (1, TODAY + DAY)
        assert_in_step()

    def test_database_time_expression_is_accepted(self):
        user = make_user()

        log = make_log(user=user, created_at=Now())
        log.save()

        log.refresh_from_db()
        assert log.day == log.created_at.date()
        assert_in_step()


class TestSave:
    def test_changed_row_updates_its_daily_row(self, subtests):
        user = make_user()
        save_log(user=user, cost=Decimal("0.5"))
        pk = save_log(user=user, cost=Decimal("0.75")).pk

        for change in CHANGES:
            with subtests.test(str(change)), rolled_back():
                log = AIUsageLog.objects.get(pk=pk)
                for name, value in change.items():
                    setattr(log, name, value)
                log.save()

                assert_in_step()

    def test_unattributed_row_is_counted_once_it_has_a_user(self):
        user = make_user()
        log = save_log()

        log.user = user
        log.save()

        assert read_days() == {(user.pk, TODAY): Day(1, 150, 80, 230, 900, 1, 0)}

    def test_log_moved_to_another_user_is_counted_there(self):
        ada, bob = make_user("ada"), make_user("bob")
        log = save_log(user=ada)

        log.user = bob
        log.save()

        assert list(read_days()) == [(bob.pk, TODAY)]
        assert_in_step()

    def test_only_named_fields_are_counted(self):
        user = make_user()
        log = save_log(user=user)

        log.prompt_tokens, log.success = 1000, False
        log.save(update_fields=["success"])

        assert read_days() == {(user.pk, TODAY): Day(1, 150, 80, 230, 900, 0, 1)}
        assert_in_step()

    def test_named_created_at_changes_the_day(self):
        user = make_user()
        log = save_log(user=user)

        log.created_at = NOON + DAY
        log.save(update_fields=["created_at"])

        log.refresh_from_db()
        assert log.day == TODAY + DAY
        assert list(read_days()) == [(user.pk, TODAY + DAY)]
        assert_in_step()

    def test_unnamed_created_at_is_not_saved(self):
        user = make_user()
        log = save_log(user=user)

        log.created_at = NOON + DAY
        log.save(update_fields=["section"])

        log.refresh_from_db()
        assert (log.created_at, log.day) == (NOON, TODAY)
        assert_in_step()

    def test_no_named_field_changes_nothing(self):
        user = make_user()
        log = save_log(user=user)

        log.success = False
        log.save(update_fields=[])

        assert read_days()[user.pk, TODAY].failed == 0
        assert_in_step()

    def test_expression_is_counted(self):
        user = make_user()
        log = save_log(user=user)

        log.prompt_tokens = F("prompt_tokens") + 50
        log.save()

        assert read_days()[user.pk, TODAY].prompt_tokens == 200
        assert_in_step()

    def test_expression_for_created_at_changes_the_day(self):
        user = make_user()
        log = save_log(user=user)

        log.created_at = F("created_at") + DAY
        log.save()

        log.refresh_from_db()
        assert (log.created_at, log.day) == (NOON + DAY, TODAY + DAY)
        assert_in_step()

    def test_stale_instance_is_counted_by_its_database_values(self):
        user = make_user()
        log = save_log(user=user)
        stale = AIUsageLog.objects.get()

        log.prompt_tokens = 1000
        log.save()
        stale.section = "other"
        stale.save()

        assert read_days()[user.pk, TODAY].prompt_tokens == 150
        assert_in_step()

    @pytest.mark.parametrize("fields", [("section",), ("created_at", "success")])
    def test_deferred_instance_is_counted(self, fields):
        user = make_user()
        save_log(user=user)

        log = AIUsageLog.objects.only(*fields).get()
        log.success = False
        log.save()

        assert read_days() == {(user.pk, TODAY): Day(1, 150, 80, 230, 900, 0, 1)}
        assert_in_step()

    def test_saving_twice_counts_once(self):
        user = make_user()
        log = save_log(user=user)

        log.save()
        log.save()

        assert read_days()[user.pk, TODAY].requests == 1
        assert_in_step()

    def test_rollback_of_the_callers_transaction_undoes_both(self):
        user = make_user()
        log = save_log(user=user)

        with rolled_back():
            save_log(user=user)
            log.prompt_tokens = 1
            log.save()

        assert read_days() == {(user.pk, TODAY): Day(1, 150, 80, 230, 900, 1, 0)}
        assert_in_step()

    @pytest.mark.postgres  # SQLite converts to floating-point numbers instead of refusing
    @pytest.mark.django_db(transaction=True)
    def test_failing_increment_rolls_back_the_row(self):
        user = make_user()
        save_log(user=user, prompt_tokens=2**63 - 1000, completion_tokens=0)

        with pytest.raises(DataError):
            save_log(user=user, prompt_tokens=2000, completion_tokens=0)

        assert AIUsageLog.objects.count() == 1
        assert_in_step()

    def test_asaved_log_is_counted(self):
        user = make_user()
        log = save_log(user=user)

        log.prompt_tokens = 6
        async_to_sync(log.asave)()

        assert read_days()[user.pk, TODAY].prompt_tokens == 6
        assert_in_step()


class TestDelete:
    def test_deleted_row_is_subtracted(self):
        user = make_user()
        save_log(user=user)
        log = save_log(user=user, cost=Decimal("0.5"), success=False)

        log.delete()

        assert read_days() == {(user.pk, TODAY): Day(1, 150, 80, 230, 900, 1, 0)}
        assert_in_step()

    def test_delete_returns_what_was_deleted(self):
        log = save_log(user=make_user())

        assert log.delete() == (1, {"usage_tracking.AIUsageLog": 1})

    def test_delete_of_a_changed_instance_subtracts_database_values(self):
        user = make_user()
        log = save_log(user=user)

        log.prompt_tokens = 1_000_000
        log.user = None
        log.delete()

        assert read_days() == {}
        assert_in_step()

    def test_adeleted_row_is_subtracted(self):
        log = save_log(user=make_user())

        async_to_sync(log.adelete)()

        assert read_days() == {}
        assert_in_step()

    def test_deleted_user_leaves_rows_without_user_and_no_daily_row(self):
        user, other = make_user(), make_user("bob")
        save_log(user=user)
        save_log(user=other)

        user.delete()

        assert AIUsageLog.objects.filter(user=None).count() == 1
        assert list(read_days()) == [(other.pk, TODAY)]
        assert_in_step()

    def test_deleted_users_leave_rows_without_user_and_no_daily_row(self):
        users = [make_user(name) for name in ("ada", "bob", "cem")]
        for user in users:
            save_log(user=user)
            save_log(user=user, created_at=NOON - DAY)

        type(user).objects.filter(pk__in=[user.pk for user in users[:2]]).delete()

        assert AIUsageLog.objects.filter(user=None).count() == 4
        assert {key[0] for key in read_days()} == {users[2].pk}
        assert_in_step()

    def test_daily_row_is_found_through_its_user_until_deletion(self):
        user = make_user()
        save_log(user=user)

        assert user.ai_usage_tracking.count() == 1
        user.delete()
        assert not AIUsageTracking.objects.exists()


class TestLogUsage:
    @freeze_time("2026-03-14 12:00:00")
    def test_log_usage_creates_one_row_and_counts_it(self):
        user = make_user()

        log = AIUsageLog.log_usage(
            user,
            "rag_pipeline",
            150,
            80,
            900,
            False,
            "gpt-4o",
            "timed out",
            {"conversation": 7},
        )

        log = AIUsageLog.objects.get(pk=log.pk)
        assert log.user == user
        assert (log.section, log.model_name) == ("rag_pipeline", "gpt-4o")
        assert (log.prompt_tokens, log.completion_tokens, log.total_tokens) == (150, 80, 230)
        assert (log.response_time_ms, log.success) == (900, False)
        assert (log.error_message, log.metadata) == ("timed out", {"conversation": 7})
        assert (log.usage_source, log.day) == ("manual", TODAY)
        assert read_days() == {(user.pk, TODAY): Day(1, 150, 80, 230, 900, 0, 1)}
        assert_in_step()

    @pytest.mark.parametrize("count", [10**9 + 1, 10**30, -1, 1.5, "150"])
    def test_log_usage_leaves_out_what_cannot_be_true(self, count):
        log = AIUsageLog.log_usage(make_user(), "chat", count, 80, metadata={"a": 1})

        log.refresh_from_db()
        assert (log.prompt_tokens, log.completion_tokens, log.total_tokens) == (None, 80, 80)
        assert list(log.metadata["clamped"]) == ["prompt_tokens"]
        assert_in_step()

    def test_log_usage_has_defaults(self):
        log = AIUsageLog.log_usage(make_user(), "chat")

        log.refresh_from_db()
        assert (log.prompt_tokens, log.completion_tokens, log.response_time_ms) == (0, 0, 0)
        assert (log.success, log.model_name, log.error_message, log.metadata) == (
            True,
            "",
            None,
            {},
        )

    def test_log_usage_keeps_no_secret_and_fits_the_columns(self):
        log = AIUsageLog.log_usage(
            None,
            "s" * 60,
            model_name="m" * 200,
            error_message="Incorrect API key provided: sk-abcdefghijklmnop \0",
            metadata={"password": "hunter22"},
        )

        log.refresh_from_db()
        assert (len(log.section), len(log.model_name)) == (50, 100)
        assert log.error_message == "Incorrect API key provided: [redacted] �"
        assert log.metadata == {"password": "[redacted]"}

    def test_log_usage_is_part_of_the_callers_transaction(self):
        user = make_user()

        with rolled_back():
            AIUsageLog.log_usage(user, "chat", 1, 1)

        assert not AIUsageLog.objects.exists()
        assert_in_step()


class TestSections:
    def test_display_is_the_label(self):
        assert make_log(section="knowledge_qa").get_section_display() == "Knowledge Base Q&A"

    def test_display_of_an_unknown_section_is_its_code(self):
        assert make_log(section="retired").get_section_display() == "retired"

    def test_choices_mirror_the_defaults(self):
        assert AIUsageLog.SECTION_CHOICES == [
            ("chat", "Customer Chat"),
            ("prompt_generation", "Prompt Generation"),
            ("marketing_workflow", "Marketing Workflow"),
            ("knowledge_qa", "Knowledge Base Q&A"),
            ("product_recommendation", "Product Recommendation"),
            ("rag_pipeline", "RAG Pipeline"),
            ("web_knowledge", "Web Knowledge Processing"),
            ("session_memory", "Session Memory Summary"),
            ("intent_detection", "Intent Detection"),
            ("embedding_generation", "Embedding Generation"),
            ("other", "Other"),
        ]

    @override_settings(AI_USAGE_SECTIONS={"support": "Support"})
    def test_choices_mirror_the_setting(self):
        assert AIUsageLog.SECTION_CHOICES == [("support", "Support")]
        assert make_log().SECTION_CHOICES == [("support", "Support")]
        assert make_log(section="support").get_section_display() == "Support"

    @pytest.mark.skipif(
        django.VERSION < (5, 0, 2),
        reason="Django reads generated fields of rows that are not saved yet",
    )
    def test_unknown_section_can_be_saved_and_validated(self):
        log = make_log(section="retired")
        log.set_day()

        log.full_clean()
        log.save()

        assert AIUsageLog.objects.get().section == "retired"


class TestDay:
    def test_day_is_in_the_configured_time_zone(self, settings, subtests):
        user = make_user()

        for zone, when, day in DAYS:
            settings.AI_USAGE_DAY_TIMEZONE = zone
            with subtests.test(zone, when=when), rolled_back():
                log = save_log(user=user, created_at=dt.datetime.fromisoformat(when))

                assert log.day == day
                assert AIUsageTracking.objects.get().date == day
                assert_in_step(zone)

    @override_settings(TIME_ZONE="Asia/Tokyo")
    def test_day_is_in_the_time_zone_of_the_site_by_default(self):
        log = save_log(created_at=dt.datetime(2026, 3, 14, 15, 0, tzinfo=dt.UTC))

        assert log.day == dt.date(2026, 3, 15)

    def test_activated_zone_has_no_effect(self):
        with timezone.override("Pacific/Kiritimati"):
            log = save_log()

        assert log.day == TODAY

    @freeze_time("2026-03-14 23:30:00")
    def test_today_is_in_the_configured_time_zone(self, settings):
        assert today() == dt.date(2026, 3, 14)
        settings.AI_USAGE_DAY_TIMEZONE = "Europe/Berlin"
        assert today() == dt.date(2026, 3, 15)


class TestTracking:
    def test_average_is_time_divided_by_calls(self):
        user = make_user()
        save_log(user=user, response_time_ms=100)
        save_log(user=user, response_time_ms=201)

        assert AIUsageTracking.objects.get().average_response_time_ms == 150.5

    def test_average_of_no_calls_is_zero(self):
        row = AIUsageTracking.objects.create(user=make_user(), date=TODAY)

        row.refresh_from_db()
        assert row.average_response_time_ms == 0.0

    def test_average_can_be_filtered_and_sorted_by(self):
        save_log(user=make_user("slow"), response_time_ms=5000)
        save_log(user=make_user("fast"), response_time_ms=10)

        rows = AIUsageTracking.objects.order_by("average_response_time_ms")

        assert [row.user.username for row in rows] == ["fast", "slow"]
        assert rows.filter(average_response_time_ms__gt=1000).count() == 1

    def test_update_stats_adds_a_call_and_refreshes(self):
        user = make_user()
        row = AIUsageTracking.objects.create(user=user, date=TODAY)

        row.update_stats(150, 80, 900)
        row.update_stats(prompt_tokens=1, completion_tokens=2, response_time_ms=100, success=False)

        assert read_days() == {(user.pk, TODAY): Day(2, 151, 82, 233, 1000, 1, 1)}
        assert (row.total_requests, row.total_tokens) == (2, 233)
        assert row.average_response_time_ms == 500.0

    def test_update_stats_of_a_stale_row_loses_no_call(self):
        user = make_user()
        AIUsageTracking.objects.create(user=user, date=TODAY)
        one, other = AIUsageTracking.objects.get(), AIUsageTracking.objects.get()

        one.update_stats(1)
        other.update_stats(2)

        assert other.total_prompt_tokens == 3
        assert other.total_requests == 2

    @pytest.mark.django_db(transaction=True)
    def test_concurrent_update_stats_lose_no_call(self):
        row = AIUsageTracking.objects.create(user=make_user(), date=TODAY)

        def count() -> None:
            mine = AIUsageTracking.objects.get(pk=row.pk)
            for _ in range(10):
                mine.update_stats(1, 2, 3)

        run_in_threads(*[count] * 4)

        row.refresh_from_db()
        assert (row.total_requests, row.total_tokens) == (40, 120)

    @freeze_time("2026-03-14 12:00:00")
    def test_update_stats_of_an_unsaved_row_creates_it(self):
        user = make_user()
        row = AIUsageTracking(user=user)

        row.update_stats(5)

        assert AIUsageTracking.objects.get() == row
        assert (row.date, row.total_prompt_tokens) == (TODAY, 5)

    def test_update_stats_changes_updated_at(self):
        with freeze_time("2026-03-14 12:00:00"):
            row = AIUsageTracking.objects.create(user=make_user(), date=TODAY)
        with freeze_time("2026-03-14 13:00:00"):
            row.update_stats(5)

        assert row.created_at == NOON
        assert row.updated_at == NOON + dt.timedelta(hours=1)

    def test_second_row_of_a_day_is_refused(self):
        user = make_user()
        AIUsageTracking.objects.create(user=user, date=TODAY)

        with pytest.raises(IntegrityError), transaction.atomic():
            AIUsageTracking.objects.create(user=user, date=TODAY)


class TestText:
    def test_log_names_section_model_and_time(self):
        assert str(make_log()) == "Customer Chat · gpt-4o · 2026-03-14 12:00:00"

    def test_row_of_an_unknown_model_is_named_unknown(self):
        assert str(make_log(model_name="")) == "Customer Chat · ? · 2026-03-14 12:00:00"

    def test_day_names_user_and_date(self):
        row = AIUsageTracking(user=make_user("ada"), date=TODAY)

        assert str(row) == "ada · 2026-03-14"


class TestSchema:
    def test_tables_have_the_documented_names(self):
        assert AIUsageLog._meta.db_table == "ai_usage_log"
        assert AIUsageTracking._meta.db_table == "ai_usage_tracking"

    def test_log_is_sorted_by_time_newest_first(self):
        old, new = save_log(created_at=NOON - DAY), save_log()

        assert list(AIUsageLog.objects.all()) == [new, old]

    def test_row_table_has_four_indexes_and_the_primary_key(self):
        with connection.cursor() as cursor:
            found = connection.introspection.get_constraints(cursor, AIUsageLog._meta.db_table)

        assert {
            name: index["columns"]
            for name, index in found.items()
            if index["index"] and not index["primary_key"] and not index["unique"]
        } == {
            "ai_usage_log_user": ["user_id", "created_at"],
            "ai_usage_log_created": ["created_at"],
            "ai_usage_log_day": ["day", "section"],
            "ai_usage_log_unattributed": ["day"],
        }

    @pytest.mark.postgres
    def test_row_takes_at_most_300_bytes(self):
        user = make_user()
        event = make_event(
            user=user,
            cached_tokens=100,
            reasoning_tokens=20,
            metadata={"response_id": "chatcmpl-9aBcDeFgHiJkLmNoPqRsTuVwXyZ12"},
        )
        store([event], using="default")

        assert AIUsageLog.objects.get().cost
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_column_size(l.*) FROM ai_usage_log AS l")
            (size,) = cursor.fetchone()
        assert size <= 300, size


@pytest.mark.sqlite
@pytest.mark.django_db(transaction=True)
class TestDeferredTransactions:
    """SQLite's default: data read before the first write must not change until the write."""

    @pytest.fixture(autouse=True)
    def _deferred(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        connection.close()
        monkeypatch.delitem(connection.settings_dict["OPTIONS"], "transaction_mode", raising=False)
        yield
        connection.close()

    @pytest.mark.slow
    @pytest.mark.parametrize(
        "write",
        [
            lambda log: save_log(user=log.user),
            lambda log: AIUsageLog.objects.filter(pk=log.pk).update(prompt_tokens=7),
            lambda log: log.delete(),
            lambda log: AIUsageLog.objects.filter(pk=log.pk).delete(),
        ],
        ids=["create", "update", "delete", "queryset delete"],
    )
    def test_writers_wait_for_each_other(self, write):
        user = make_user()
        logs = [save_log(user=user) for _ in range(60)]

        def work(logs: list[AIUsageLog]) -> None:
            for log in logs:
                write(log)

        run_in_threads(*(partial(work, logs[n::3]) for n in range(3)))

        assert_in_step()
