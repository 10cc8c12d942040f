"""A batch of events becomes rows of both tables, exactly once."""

from __future__ import annotations

import datetime as dt
import json
import threading
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext
from freezegun import freeze_time

from tests.support.builders import (
    NOON,
    accept_section,
    make_event,
    make_user,
    own_metadata,
    refuse_section,
    save_log,
)
from tests.support.children import run_python
from tests.support.ledger import Day, assert_in_step, read_days
from tests.support.threads import blocks_another, run_in_threads
from tests.support.waiting import join, wait_until
from usage_tracking import daily, outbox
from usage_tracking.delivery import Delivery, writer
from usage_tracking.delivery.deliverer import Delivered
from usage_tracking.delivery.writer import Stored, store
from usage_tracking.events import UsageEvent, uuid7
from usage_tracking.models import AIUsageLog, AIUsageTracking
from usage_tracking.outbox import MemoryOutbox
from usage_tracking.usage import Usage

pytestmark = pytest.mark.django_db

TODAY = NOON.date()
MINUTE = dt.timedelta(minutes=1)


class TestInsert:
    def test_every_field_of_an_event_reaches_its_column(self):
        user = make_user()
        event = make_event(
            user=user,
            section="rag_pipeline",
            provider="anthropic",
            model_name="claude-sonnet-4-5",
            operation="chat",
            prompt_tokens=1500,
            completion_tokens=800,
            cached_tokens=1000,
            cache_write_tokens=200,
            reasoning_tokens=300,
            usage_details={"web_searches": 3},
            usage_source="reported",
            cost=Decimal("0.0123456789"),
            response_time_ms=950,
            success=False,
            error_message="timed out",
            metadata={"conversation": 7, "tags": ["a", "ä"], "nested": {"deep": None}},
        )

        store([event], using="default")

        log = AIUsageLog.objects.get()
        assert (log.pk, log.user, log.section) == (event.id, user, "rag_pipeline")
        assert (log.provider, log.model_name) == ("anthropic", "claude-sonnet-4-5")
        assert (log.operation, log.usage_source) == ("chat", "reported")
        assert (log.prompt_tokens, log.completion_tokens, log.total_tokens) == (1500, 800, 2300)
        assert (log.cached_tokens, log.reasoning_tokens) == (1000, 300)
        assert log.cost == Decimal("0.0123456789")
        assert (log.response_time_ms, log.success) == (950, False)
        assert log.error_message == "timed out"
        assert own_metadata(log) == {
            "conversation": 7,
            "tags": ["a", "ä"],
            "nested": {"deep": None},
        }
        assert log.usage_details == {"cache_write_tokens": 200, "web_searches": 3}
        assert log.metadata["cost_source"] == "provider"
        assert (log.created_at, log.day) == (NOON, TODAY)
        assert_in_step()

    def test_unknown_values_stay_unknown(self):
        store(
            [
                make_event(
                    prompt_tokens=None,
                    completion_tokens=None,
                    usage_source="unknown",
                    provider="",
                    model_name="",
                )
            ],
            using="default",
        )

        log = AIUsageLog.objects.get()
        assert (log.user, log.prompt_tokens, log.completion_tokens, log.total_tokens) == (
            None,
            None,
            None,
            None,
        )
        assert (log.cost, log.cached_tokens, log.reasoning_tokens) == (None, None, None)
        assert AIUsageLog.objects.filter(usage_details__isnull=True).exists()  # SQL NULL
        assert (log.error_message, log.metadata, log.usage_source) == (None, {}, "unknown")

    def test_unpriced_model_has_no_cost(self):
        store([make_event(model_name="our-own-model", provider="")], using="default")

        assert AIUsageLog.objects.get().cost is None

    def test_cost_is_computed_during_delivery(self, settings):
        settings.AI_USAGE_PRICES = {"our-own-model": {"input": 2, "output": 10}}
        user = make_user()

        store([make_event(user=user, model_name="our-own-model")], using="default")

        assert AIUsageLog.objects.get().cost == Decimal("0.0011")
        assert AIUsageTracking.objects.get().total_cost == Decimal("0.0011")

    def test_keys_of_a_newer_release_are_kept(self):
        event = make_event(extra={"energy_joule": 12})

        store([event], using="default")

        assert own_metadata(AIUsageLog.objects.get()) == {"extra": {"energy_joule": 12}}

    def test_row_equals_one_that_the_orm_writes(self):
        user = make_user()
        saved = save_log(user=user, cost=Decimal("0.5"), metadata={"cost_source": "provider"})
        event = make_event(user=user, cost=Decimal("0.5"), usage_source="manual")

        store([event], using="default")

        with connection.cursor() as cursor:
            cursor.execute("SELECT * FROM ai_usage_log")
            columns = [column[0] for column in cursor.description]
            one, other = (dict(zip(columns, row, strict=True)) for row in cursor.fetchall())
        assert AIUsageLog.objects.filter(pk=saved.pk).exists()
        assert one.pop("id") != other.pop("id")
        # Both databases may store the same JSON with other spaces.
        assert json.loads(one.pop("metadata")) == json.loads(other.pop("metadata"))
        assert one == other

    def test_batch_is_summed_by_user_and_day(self):
        ada, bob = make_user("ada"), make_user("bob")

        stored = store(
            [
                make_event(user=ada),
                make_event(user=ada, success=False, prompt_tokens=None),
                make_event(user=ada, created_at=NOON - 1440 * MINUTE),
                make_event(user=bob, cost=Decimal("0.5")),
                make_event(),
            ],
            using="default",
        )

        assert len(stored.rows) == 5
        assert {key: day.requests for key, day in read_days().items()} == {
            (ada.pk, TODAY): 2,
            (ada.pk, TODAY - dt.timedelta(days=1)): 1,
            (bob.pk, TODAY): 1,
        }
        assert_in_step()

    def test_rows_return_the_written_values(self):
        user = make_user()
        first = store([make_event(user=user, cost=Decimal("0.5"))], using="default")
        second = store([make_event(user=user)], using="default")

        (row,) = first.rows
        assert (row.user_id, row.day, row.cost) == (user.pk, TODAY, Decimal("0.5"))
        assert first.totals == {(user.pk, TODAY): daily.Totals(1, 230, True)}
        assert second.totals == {(user.pk, TODAY): daily.Totals(2, 460, False)}

    def test_empty_batch_changes_nothing(self):
        assert store([], using="default").rows == []

    def test_largest_plausible_numbers_are_stored(self):
        user = make_user()
        huge = 10**12

        store(
            [
                make_event(
                    user=user,
                    prompt_tokens=huge,
                    completion_tokens=huge,
                    response_time_ms=huge,
                    cost=Decimal("999999.9999999999"),
                )
            ],
            using="default",
        )

        log = AIUsageLog.objects.get()
        assert (log.total_tokens, log.response_time_ms) == (2 * huge, huge)
        assert log.cost == pytest.approx(Decimal("999999.9999999999"))
        assert_in_step()

    @pytest.mark.parametrize(
        "text",
        [
            "'; DROP TABLE ai_usage_log; --",
            "%s %(name)s %% {0}",
            'quote " back \\ slash \\u0000',
            "line\nbreak\ttab\r",
            "Grüße 🚀 \u202e \ufeff",
            "nul \0 and surrogate \ud800",
            "null",
            "[1, 2]",
            '{"$.id": 1}',
        ],
    )
    def test_hostile_text_is_stored_in_its_cleaned_form(self, text):
        user = make_user(username=f"ada{text[:10]}".replace("\0", "").replace("\ud800", ""))
        event = UsageEvent.create(
            id=uuid7(NOON),
            created_at=NOON,
            user_id=str(user.pk),
            username=user.username,
            section=text,
            provider=text,
            model_name=text,
            operation=text,
            error_message=text,
            metadata={text: text, "list": [text]},
            usage=Usage(prompt_tokens=1),
        )

        store([event], using="default")

        log = AIUsageLog.objects.get()
        assert log.user == user
        assert (log.section, log.provider, log.model_name) == (
            event.section,
            event.provider,
            event.model_name,
        )
        assert (log.operation, log.error_message) == (event.operation, event.error_message)
        assert log.metadata == event.metadata
        assert_in_step()

    def test_decimals_in_metadata_are_kept_exactly(self):
        metadata = {"big": 2**63 - 1, "small": -(2**62), "float": 0.1, "tiny": 5e-324, "no": False}

        store([make_event(metadata=metadata)], using="default")

        assert own_metadata(AIUsageLog.objects.get()) == metadata


class TestDay:
    @pytest.mark.parametrize(
        ("zone", "created", "day"),
        [
            ("UTC", "2026-03-14T23:59:59.999999+00:00", dt.date(2026, 3, 14)),
            ("Europe/Berlin", "2026-03-14T23:00:00+00:00", dt.date(2026, 3, 15)),
            ("Europe/Berlin", "2026-03-29T21:59:59+00:00", dt.date(2026, 3, 29)),
            ("Europe/Berlin", "2026-10-25T22:59:59+00:00", dt.date(2026, 10, 25)),
            ("America/Los_Angeles", "2026-03-15T06:59:59+00:00", dt.date(2026, 3, 14)),
        ],
    )
    def test_day_is_in_the_configured_time_zone(self, settings, zone, created, day):
        settings.AI_USAGE_DAY_TIMEZONE = zone
        user = make_user()
        created_at = dt.datetime.fromisoformat(created)

        store([make_event(user=user, created_at=created_at)], using="default")

        log = AIUsageLog.objects.get()
        assert (log.created_at, log.day) == (created_at, day)
        assert AIUsageTracking.objects.get().date == day
        assert_in_step(zone)

    def test_event_with_another_utc_offset_is_the_same_time(self):
        tokyo = dt.timezone(dt.timedelta(hours=9))

        store([make_event(created_at=NOON.astimezone(tokyo))], using="default")

        assert AIUsageLog.objects.get().created_at == NOON


class TestOnce:
    def test_same_batch_twice_changes_nothing(self):
        user = make_user()
        batch = [make_event(user=user), make_event(user=user), make_event()]
        store(batch, using="default")
        days = read_days()

        again = store(batch, using="default")

        assert (again.rows, again.totals, again.deferred) == ([], {}, [])
        assert AIUsageLog.objects.count() == 3
        assert read_days() == days
        assert_in_step()

    def test_overlapping_batches_count_each_event_once(self):
        user = make_user()
        events = [make_event(user=user) for _ in range(6)]

        for batch in (events[:4], events[2:], events[::2]):
            store(batch, using="default")

        assert read_days()[user.pk, TODAY].requests == 6
        assert_in_step()

    def test_event_twice_in_one_batch_counts_once(self):
        event = make_event(user=make_user())

        store([event, event], using="default")

        assert AIUsageTracking.objects.get().total_requests == 1
        assert_in_step()

    def test_row_that_the_site_changed_is_not_overwritten(self):
        user = make_user()
        event = make_event(user=user)
        store([event], using="default")
        AIUsageLog.objects.update(section="corrected", prompt_tokens=1)

        store([event], using="default")

        assert AIUsageLog.objects.get().section == "corrected"
        assert_in_step()

    def test_preview_that_the_site_saved_early_counts_once(self):
        user = make_user()
        event = make_event(user=user)
        save_log(id=event.id, user=user)

        store([event], using="default")

        assert AIUsageTracking.objects.get().total_requests == 1
        assert_in_step()

    @pytest.mark.django_db(transaction=True)
    def test_concurrent_deliveries_of_the_same_batch_count_it_once(self):
        users = [make_user(f"user{number}") for number in range(5)]
        batch = [make_event(user=user) for user in users for _ in range(20)]

        run_in_threads(*[lambda: _store_with_retries(batch)] * 4)

        assert AIUsageLog.objects.count() == 100
        assert {day.requests for day in read_days().values()} == {20}
        assert_in_step()


class TestAmend:
    def changed(self, event: UsageEvent) -> UsageEvent:
        return event.amended(
            section="rag_pipeline",
            provider="azure",
            model_name="gpt-4o-mini",
            prompt_tokens=1,
            completion_tokens=2,
            cached_tokens=1,
            reasoning_tokens=1,
            usage_source="manual",
            cost=Decimal("0.25"),
            response_time_ms=3,
            success=False,
            error_message="late news",
            metadata={"late": True},
        )

    def assert_changed(self) -> None:
        log = AIUsageLog.objects.get()
        assert (log.section, log.provider, log.model_name) == (
            "rag_pipeline",
            "azure",
            "gpt-4o-mini",
        )
        assert (log.prompt_tokens, log.completion_tokens) == (1, 2)
        assert (log.cached_tokens, log.reasoning_tokens, log.usage_source) == (1, 1, "manual")
        assert (log.cost, log.response_time_ms, log.success) == (Decimal("0.25"), 3, False)
        assert (log.error_message, own_metadata(log)) == ("late news", {"late": True})
        assert_in_step()

    @pytest.mark.parametrize("turn", [1, -1])
    def test_amendment_in_the_same_batch_wins(self, turn):
        user = make_user()
        event = make_event(user=user)

        store([event, self.changed(event)][::turn], using="default")

        self.assert_changed()
        assert read_days()[user.pk, TODAY] == Day(1, 1, 2, 3, 3, 0, 1, Decimal("0.250000"))

    def test_amendment_of_a_stored_event_changes_the_row(self):
        user = make_user()
        event = make_event(user=user)
        store([event], using="default")

        again = store([self.changed(event)], using="default")

        assert again.rows == []
        self.assert_changed()
        assert read_days()[user.pk, TODAY] == Day(1, 1, 2, 3, 3, 0, 1, Decimal("0.250000"))

    def test_first_line_after_its_amendment_changes_nothing(self):
        event = make_event(user=make_user())
        store([self.changed(event)], using="default")

        store([event], using="default")

        self.assert_changed()

    def test_repeated_amendment_changes_nothing(self):
        event = make_event(user=make_user())
        store([event], using="default")

        for _ in range(2):
            store([self.changed(event)], using="default")

        self.assert_changed()

    def test_amendment_names_the_user_of_a_stored_event(self):
        user = make_user()
        event = make_event()
        store([event], using="default")

        store(
            [event.amended(user_id=str(user.pk), username=user.username)],
            using="default",
        )

        assert AIUsageLog.objects.get().user == user
        assert read_days() == {(user.pk, TODAY): read_days()[user.pk, TODAY]}
        assert_in_step()

    def test_amendment_without_a_user_leaves_the_user(self):
        user = make_user()
        event = make_event(user=user)
        store([event], using="default")

        store([event.amended(user_id=None, username="", section="other")], using="default")

        log = AIUsageLog.objects.get()
        assert (log.user, log.section) == (user, "other")
        assert_in_step()

    def test_amendment_with_a_deleted_user_leaves_the_user(self):
        user = make_user()
        event = make_event(user=user)
        store([event], using="default")

        store([event.amended(user_id=str(user.pk + 999), username="ghost")], using="default")

        assert AIUsageLog.objects.get().user == user
        assert_in_step()


@freeze_time(NOON)
class TestUser:
    def test_event_of_an_unknown_user_is_deferred(self):
        event = make_event(user_id="999999", username="ada")

        stored = store([event], using="default")

        assert (stored.rows, stored.deferred) == ([], [event])
        assert not AIUsageLog.objects.exists()

    def test_amendment_is_deferred_until_its_user_exists(self):
        event = make_event()
        store([event], using="default")
        amended = event.amended(user_id="999", username="grace")

        assert store([amended], using="default").deferred == [amended]
        assert AIUsageLog.objects.get().user is None

        grace = make_user("grace", pk=999)
        assert store([amended], using="default").deferred == []
        assert AIUsageLog.objects.get().user == grace
        assert_in_step()

    def test_event_is_stored_once_its_user_exists(self):
        user = make_user()
        event = make_event(user=user)
        User.objects.all().delete()
        assert store([event], using="default").deferred == [event]

        user.save(force_insert=True)
        stored = store([event], using="default")

        assert (len(stored.rows), stored.deferred) == (1, [])
        assert AIUsageLog.objects.get().user == user
        assert_in_step()

    @pytest.mark.parametrize(
        ("age", "stored"),
        [(0 * MINUTE, False), (9.99 * MINUTE, False), (10.01 * MINUTE, True)],
    )
    def test_event_is_deferred_ten_minutes_for_its_user(self, age, stored):
        event = make_event(user_id="999999", username="ada")

        with freeze_time(NOON + age):
            result = store([event], using="default")

        assert (len(result.rows), len(result.deferred)) == ((1, 0) if stored else (0, 1))
        if stored:
            assert result.rows[0].user_id is None
            assert AIUsageLog.objects.get().user is None
        assert_in_step()

    def test_deferred_event_does_not_block_others(self):
        user = make_user()
        missing = make_event(user_id="999999", username="ghost")

        stored = store([make_event(user=user), missing, make_event()], using="default")

        assert len(stored.rows) == 2
        assert stored.deferred == [missing]
        assert_in_step()

    def test_event_of_a_deleted_user_is_stored_without_a_user(self):
        user = make_user()
        event = make_event(user=user)
        user.delete()

        with freeze_time(NOON + 11 * MINUTE):
            store([event], using="default")

        assert AIUsageLog.objects.get().user is None
        assert_in_step()

    def test_invalid_key_is_not_a_user(self):
        store([make_event(user_id="not a number", username="ada")], using="default")

        assert AIUsageLog.objects.get().user is None

    @pytest.mark.postgres
    @pytest.mark.django_db(transaction=True)
    @pytest.mark.parametrize("age", [0 * MINUTE, 11 * MINUTE], ids=["new", "old"])
    def test_locked_user_defers_only_the_users_own_calls(self, age):
        ada, bob = make_user("ada"), make_user("bob")
        first = make_event()
        store([first], using="default")
        locked = make_event(user=ada)
        named = first.amended(user_id=str(ada.pk), username="ada")
        batch = [locked, make_event(user=bob), make_event(), named]
        results: list[Stored] = []

        with freeze_time(NOON + age):
            with transaction.atomic():
                User.objects.select_for_update().get(pk=ada.pk)
                run_in_threads(lambda: results.append(store(batch, using="default")))
                # Delivery has released its locks, so the site does not wait.
                User.objects.select_for_update(nowait=True).get(pk=bob.pk)
            (result,) = results
            assert {row.event.id for row in result.rows} == {batch[1].id, batch[2].id}
            assert {event.id for event in result.deferred} == {locked.id, named.id}
            store(result.deferred, using="default")

        assert set(AIUsageLog.objects.filter(user=ada).values_list("pk", flat=True)) == {
            locked.id,
            first.id,
        }
        assert_in_step()

    @pytest.mark.postgres
    @pytest.mark.django_db(transaction=True)
    def test_locked_row_or_daily_row_defers_only_its_amendment(self):
        ada, bob = make_user("ada"), make_user("bob")
        events = [make_event(user=ada), make_event(user=bob), make_event(user=bob)]
        store(events, using="default")
        amended = [event.amended(section="other") for event in events]
        results: list[Stored] = []

        with transaction.atomic():
            AIUsageTracking.objects.select_for_update().get(user=ada)
            AIUsageLog.objects.select_for_update().get(pk=events[1].id)
            run_in_threads(lambda: results.append(store(amended, using="default")))
        assert {event.id for event in results[0].deferred} == {event.id for event in events[:2]}
        store(results[0].deferred, using="default")

        assert {log.section for log in AIUsageLog.objects.all()} == {"other"}
        assert_in_step()

    @pytest.mark.postgres
    @pytest.mark.django_db(transaction=True)
    @pytest.mark.parametrize("names", [("ada", "bob"), ("bob", "ada")], ids=" ".join)
    def test_batch_locks_its_daily_rows_in_a_fixed_order(self, names, monkeypatch):
        """Without this order, two deliveries could deadlock."""
        monkeypatch.setattr(writer, "LOCK_TIMEOUT", "1h")
        first, second = make_user("ada"), make_user("bob")
        users = {"ada": first, "bob": second}
        logged = make_event()
        store([logged, make_event(user=first), make_event(user=second)], using="default")
        owner = users[names[0]]
        batch = [
            logged.amended(user_id=str(owner.pk), username=names[0]),
            make_event(user=users[names[1]]),
        ]
        delivering = threading.Thread(
            target=run_in_threads, args=(partial(store, batch, using="default"),)
        )

        with transaction.atomic():
            save_log(user=first)  # as another delivery that has locked the first row
            delivering.start()
            wait_until(blocks_another, awaited="a delivery that waits for the first daily row")
            AIUsageTracking.objects.select_for_update(nowait=True, no_key=True).get(user=second)
        join(delivering)

        assert AIUsageLog.objects.get(pk=logged.id).user == owner
        assert_in_step()

    @pytest.mark.postgres
    @pytest.mark.django_db(transaction=True)
    def test_delivery_lets_the_site_change_its_users(self, monkeypatch):
        user = make_user()
        add = daily.add

        def spend() -> None:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("SET LOCAL lock_timeout = '1ms'")
                User.objects.filter(pk=user.pk).update(first_name="Ada")
                User.objects.select_for_update(no_key=True).get(pk=user.pk)

        def interrupted(*args: Any, **options: Any) -> Any:
            run_in_threads(spend)
            return add(*args, **options)

        monkeypatch.setattr(daily, "add", interrupted)
        store([make_event(user=user)], using="default")

        assert AIUsageLog.objects.get().user == User.objects.get(first_name="Ada")

    @pytest.mark.sqlite
    def test_reused_key_is_not_matched_to_the_new_user(self):
        # SQLite gives the key of a rolled-back signup to the next user.
        user = make_user("ada")
        event = make_event(user_id=str(user.pk), username="rolled-back")

        assert store([event], using="default").deferred == [event]
        with freeze_time(NOON + 11 * MINUTE):
            store([event], using="default")

        assert AIUsageLog.objects.get().user is None
        assert_in_step()

    @pytest.mark.sqlite
    def test_amendment_with_a_reused_key_is_not_matched_to_the_new_user(self):
        user = make_user("ada")
        event = make_event()
        store([event], using="default")

        store([event.amended(user_id=str(user.pk), username="rolled-back")], using="default")

        assert AIUsageLog.objects.get().user is None

    @pytest.mark.parametrize(
        "username", ["", "x" * 254 + "…"], ids=["of a stateless user", "cut off"]
    )
    def test_key_is_sufficient_without_a_username(self, username):
        user = make_user("ada")
        event = make_event()
        store([event], using="default")

        store(
            [
                make_event(user_id=str(user.pk), username=username),
                event.amended(user_id=str(user.pk), username=username),
            ],
            using="default",
        )

        assert [log.user for log in AIUsageLog.objects.all()] == [user, user]
        assert_in_step()

    @pytest.mark.postgres
    def test_renamed_user_is_matched(self):
        user = make_user("ada")
        event = make_event(user_id=str(user.pk), username="ada-before-she-married")

        store([event], using="default")

        assert AIUsageLog.objects.get().user == user

    @pytest.mark.django_db(transaction=True)
    @pytest.mark.parametrize(
        ("field", "name"),
        [
            ("UUIDField(default=uuid4)", "uuid4()"),
            ("IntegerField(null=True)", "None"),
        ],
    )
    def test_username_that_is_not_text_is_matched(
        self, tmp_path: Path, empty_database_url: str, field: str, name: str
    ):
        (tmp_path / "members").mkdir()
        (tmp_path / "members" / "__init__.py").touch()
        (tmp_path / "members" / "models.py").write_text(
            "from uuid import uuid4\n"
            "from django.contrib.auth.models import AbstractBaseUser, BaseUserManager\n"
            "from django.db import models\n"
            "class Member(AbstractBaseUser):\n"
            f"    number = models.{field.replace('(', '(unique=True, ')}\n"
            "    USERNAME_FIELD = 'number'\n"
            "    objects = BaseUserManager()\n"
        )
        printed = run_python(
            tmp_path,
            f"""
            from uuid import uuid4
            from django.contrib.auth import get_user_model
            from django.core.management import call_command
            from usage_tracking import ai_usage
            from usage_tracking.delivery import delivery
            from usage_tracking.models import AIUsageLog

            call_command("migrate", run_syncdb=True, verbosity=0)
            member = get_user_model().objects.create(number={name})
            with ai_usage(section="chat", user=member) as usage:
                usage.record(prompt_tokens=1)
            delivery.deliver()
            print([log.user == member for log in AIUsageLog.objects.all()])
            """,
            settings="""
            AUTH_USER_MODEL = "members.Member"
            INSTALLED_APPS = [
                "django.contrib.auth", "django.contrib.contenttypes", "members", "usage_tracking",
            ]
            MIDDLEWARE = []
            """,
            DATABASE_URL=empty_database_url,
        )

        assert printed == "[True]\n"

    @pytest.mark.django_db(transaction=True)
    def test_custom_user_with_a_uuid_key_works(self, tmp_path: Path, empty_database_url: str):
        printed = run_python(
            tmp_path,
            """
            import datetime as dt, json
            from uuid import UUID
            from django.contrib.auth import get_user_model
            from django.core.management import call_command
            call_command("migrate", verbosity=0)
            from usage_tracking import daily, track_ai_usage
            from usage_tracking.events import UsageEvent, utc_now, uuid7
            from usage_tracking.models import AIUsageLog, AIUsageTracking
            from usage_tracking.delivery.writer import Stored, store

            def event(user):
                return UsageEvent(id=uuid7(utc_now()), created_at=utc_now(), section="chat",
                    user_id=str(user.pk), username=user.get_username(), prompt_tokens=5)

            User = get_user_model()
            ada = User.objects.create(email="ada@example.com")
            ghost = User(email="ghost@example.com")
            stored = store([event(ada), event(ada), event(ghost)], using="default")
            print(len(stored.rows), len(stored.deferred))
            row = AIUsageTracking.objects.get()
            print(row.user == ada, row.total_requests, row.total_tokens)
            log, row = track_ai_usage(ada, "chat", 1, 2)
            print(log.user == ada, log._state.adding, row.total_requests)
            AIUsageTracking.objects.all().delete()
            print([key[0] == ada.pk for key in daily.drift()])
            daily.rebuild()
            print(AIUsageTracking.objects.get().total_tokens, daily.drift())
            ada.delete()
            print(AIUsageLog.objects.filter(user=None).count(), AIUsageTracking.objects.count())
            """,
            settings="""
            AUTH_USER_MODEL = "customuser.User"
            INSTALLED_APPS = [
                "django.contrib.auth",
                "django.contrib.contenttypes",
                "tests.customuser",
                "usage_tracking",
            ]
            MIDDLEWARE = []
            ROOT_URLCONF = "tests.customuser"
            """,
            DATABASE_URL=empty_database_url,
        )

        assert printed.splitlines() == [
            "2 1",
            "True 2 10",
            "True False 3",
            "[True]",
            "13 {}",
            "3 0",
        ]


class TestSiteWithoutTimeZones:
    def test_rows_and_days_are_local(self, tmp_path: Path, database_url: str):
        printed = run_python(
            tmp_path,
            """
            import datetime as dt
            from django.contrib.auth.models import User
            from usage_tracking import daily, track_ai_usage
            from usage_tracking.events import UsageEvent, uuid7
            from usage_tracking.models import AIUsageLog, AIUsageTracking, today
            from usage_tracking.delivery.writer import Stored, store

            noon = dt.datetime(2026, 3, 14, 16, 30, tzinfo=dt.UTC)
            user = User.objects.create(username="ada")
            event = UsageEvent(id=uuid7(noon), created_at=noon, section="chat",
                user_id=str(user.pk), username="ada", prompt_tokens=5)
            store([event], using="default")
            log = AIUsageLog.objects.get()
            print(log.created_at, log.day, AIUsageTracking.objects.get().date)
            log.prompt_tokens = 6
            log.save()
            AIUsageLog.objects.update(created_at=dt.datetime(2026, 3, 14, 23, 59))
            print(*AIUsageLog.objects.values_list("day", "prompt_tokens").get())
            print(AIUsageTracking.objects.get(total_requests=1).date, daily.drift())
            log, row = track_ai_usage(user, "chat", 1, 2)
            print(log.created_at.tzinfo, row.date == today(), row.total_tokens)
            """,
            settings='USE_TZ = False\nTIME_ZONE = "Asia/Tokyo"',
            DATABASE_URL=database_url,
        )

        assert printed.splitlines() == [
            "2026-03-15 01:30:00 2026-03-15 2026-03-15",
            "2026-03-14 6",
            "2026-03-14 {}",
            "None True 3",
        ]


class TestStatements:
    @pytest.mark.django_db(transaction=True)
    @pytest.mark.parametrize("size", [1, 500])
    def test_batch_makes_two_statements_in_one_transaction(self, size):
        users = [make_user(f"user{number}") for number in range(20)]
        batch = [make_event(user=users[number % 20]) for number in range(size)]

        with CaptureQueriesContext(connection) as queries:
            store(batch, using="default")

        statements = [query["sql"].split()[0] for query in queries.captured_queries]
        assert statements == ["BEGIN", "INSERT", "INSERT", "COMMIT"]
        assert AIUsageLog.objects.count() == size

    @pytest.mark.django_db(transaction=True)
    def test_batch_without_users_makes_one_statement(self):
        with CaptureQueriesContext(connection) as queries:
            store([make_event() for _ in range(50)], using="default")

        statements = [query["sql"].split()[0] for query in queries.captured_queries]
        assert statements == ["BEGIN", "INSERT", "COMMIT"]

    @pytest.mark.postgres
    @pytest.mark.django_db(transaction=True)
    def test_delivery_of_a_locked_daily_row_soon_gives_up(self):
        user = make_user()
        store([make_event(user=user)], using="default")
        event = make_event(user=user)

        def give_way() -> None:
            with (
                CaptureQueriesContext(connection) as queries,
                pytest.raises(OperationalError, match="lock timeout"),
            ):
                store([event], using="default")
            statements = "\n".join(query["sql"] for query in queries)
            assert "set_config('lock_timeout', '300ms', true)" in statements

        # The lock is held until the thread ends, so the thread did not wait for it.
        with transaction.atomic():
            save_log(user=user)
            run_in_threads(give_way)

        assert AIUsageLog.objects.count() == 2
        assert_in_step()

    @pytest.mark.postgres
    def test_lock_timeout_of_the_callers_transaction_is_kept(self):
        with connection.cursor() as cursor, transaction.atomic():
            cursor.execute("SHOW lock_timeout")
            before = cursor.fetchone()
            store([make_event()], using="default")
            cursor.execute("SHOW lock_timeout")
            assert cursor.fetchone() == before

    def test_failed_upsert_rolls_back_the_rows(self):
        user = make_user()
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE ai_usage_tracking RENAME TO out_of_the_way")

        with pytest.raises(DatabaseError), transaction.atomic():
            store([make_event(user=user)], using="default")

        assert not AIUsageLog.objects.exists()


class TestRefused:
    """Refused events are dead-lettered and the others are stored."""

    @pytest.fixture
    def box(self, tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> MemoryOutbox:
        settings.AI_USAGE_OUTBOX = tmp_path / "outbox"
        monkeypatch.setattr(outbox, "inline", lambda: False)
        refuse_section("poison")
        return outbox.get()

    @pytest.mark.parametrize("places", [[0], [9], [4], [0, 9], [3, 4, 5], range(10)], ids=str)
    def test_only_refused_events_are_dead_lettered(self, box, places):
        user = make_user()
        events = [
            make_event(user=user, section="poison" if number in places else "chat")
            for number in range(10)
        ]
        for event in events:
            box.put(event)

        delivered = Delivery().deliver()

        assert delivered == Delivered(written=10 - len(places), dead_lettered=len(places))
        letters = box.dead_letters()
        assert {UUID(letter.event["id"]) for letter in letters} == {
            event.id for event in events if event.section == "poison"
        }
        assert all("IntegrityError" in letter.reason for letter in letters)
        assert box.is_empty()
        assert_in_step()

    def test_refused_event_is_logged_with_its_reason(self, box, caplog):
        event = make_event(section="poison")
        box.put(event)

        Delivery().deliver()

        (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
        text = record.getMessage()
        assert text.startswith(f"[TRACK_ERROR] The database refuses event {event.id}: Integrity")
        assert text.endswith("see `flush_ai_usage --retry-dead`")
        assert "\n" not in text

    def test_refused_event_is_stored_once_the_database_accepts_it(self, box):
        user = make_user()
        box.put(make_event(user=user, section="poison"))
        Delivery().deliver()

        accept_section("poison")
        assert box.retry_dead_letters() == 1
        delivered = Delivery().deliver()

        assert delivered == Delivered(written=1)
        assert box.dead_letters() == []
        assert AIUsageLog.objects.get().section == "poison"
        assert_in_step()

    def test_event_that_is_refused_again_is_kept(self, box):
        box.put(make_event(section="poison"))
        Delivery().deliver()

        box.retry_dead_letters()
        assert Delivery().deliver() == Delivered(dead_lettered=1)

        assert len(box.dead_letters()) == 1

    @pytest.mark.postgres
    @pytest.mark.parametrize(
        "changes",
        [
            {"section": "x" * 51},
            {"usage_source": "x" * 11},
            {"error_message": "nul \0"},
            {"metadata": {"nul": "\0"}},
        ],
        ids=lambda changes: next(iter(changes)),
    )
    def test_manipulated_line_is_dead_lettered(self, box, changes):
        box.put(make_event(**changes))
        box.put(make_event())

        assert Delivery().deliver() == Delivered(written=1, dead_lettered=1)

    @pytest.mark.parametrize(
        "line",
        [
            {"cost": "NaN"},
            {"cost": "Infinity"},
            {"cost": "-1"},
            {"cost": "1e999999"},
            {"created_at": "0001-01-01T00:00:00+14:00"},
            {"created_at": "9999-12-31T23:59:59-14:00"},
            {"prompt_tokens": -5},
            {"prompt_tokens": 10**400},
            {"response_time_ms": 10**30},
            {"metadata": {"deep": "\ud800"}},
            {"section": "\ud800"},
            {"user_id": "9" * 400},
        ],
        ids=lambda line: next(f"{name}={str(value)[:30]!a}" for name, value in line.items()),
    )
    def test_manipulated_line_blocks_no_other(self, box, line, tmp_path, settings):
        settings.AI_USAGE_RAISE_ERRORS = False
        event = make_event()
        bad = json.loads(make_event().to_json()) | line
        box.put(event)
        (segment,) = (tmp_path / "outbox").glob("*.jsonl")
        box.close()
        with segment.open("a") as lines:
            lines.write(json.dumps(bad) + "\n")

        with freeze_time(NOON + 11 * MINUTE):  # after the wait for an unknown user
            Delivery().deliver()

        assert box.is_empty()
        logs = list(AIUsageLog.objects.all())
        assert event.id in {log.pk for log in logs}
        for log in logs:
            assert log.cost is None or 0 <= log.cost < 10**6
            assert 0 <= (log.total_tokens or 0) < 10**13
            assert 0 <= log.response_time_ms < 10**13
        assert_in_step()


def _store_with_retries(batch: list[UsageEvent]) -> None:
    """Store events as delivery does, with retries after a lock timeout."""
    errors: list[DatabaseError] = []

    def is_stored() -> bool:
        try:
            store(batch, using="default")
        except DatabaseError as error:
            errors.append(error)
            return False
        return True

    wait_until(is_stored, awaited="a batch that is stored", seen=lambda: errors[-3:])
