"""Signal handlers keep daily rows correct, whatever a site does around its saves."""

from __future__ import annotations

import datetime as dt
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import IntegrityError, OperationalError, connection, transaction
from django.db.models.signals import ModelSignal, post_delete, post_save, pre_save
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from tests.support.builders import (
    NOON,
    make_event,
    make_log,
    make_user,
    rolled_back,
    save_log,
)
from tests.support.children import run_python
from tests.support.ledger import Day, assert_in_step, read_days
from tests.support.threads import blocks_another, run_in_threads
from tests.support.waiting import join, wait_until
from usage_tracking import receivers
from usage_tracking.delivery.writer import store
from usage_tracking.events import UsageEvent
from usage_tracking.models import AIUsageLog, AIUsageTracking

pytestmark = pytest.mark.django_db

TODAY = NOON.date()
DAY = dt.timedelta(days=1)

Connect = Callable[[ModelSignal, Callable[..., None]], None]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Connect a receiver of the site until the test ends."""
    connected: list[tuple[ModelSignal, Callable[..., None]]] = []

    def connect(signal: ModelSignal, receiver: Callable[..., None]) -> None:
        signal.connect(receiver, sender=AIUsageLog, weak=False)
        connected.append((signal, receiver))

    yield connect
    for signal, receiver in connected:
        signal.disconnect(receiver, sender=AIUsageLog)


class TestOtherReceivers:
    def test_change_of_a_pre_save_receiver_is_counted(self, connect):
        user = make_user()
        connect(pre_save, lambda instance, **_: setattr(instance, "prompt_tokens", 7))

        save_log(user=user)

        assert read_days()[user.pk, TODAY].prompt_tokens == 7
        assert_in_step()

    @pytest.mark.parametrize(
        "again",
        [{"section": "other"}, {"prompt_tokens": 7}, {"success": False}, {"user": None}],
        ids=lambda again: next(iter(again)),
    )
    def test_row_saved_again_by_a_receiver_is_counted_once(self, connect, again):
        user = make_user()

        def save_again(instance: AIUsageLog, **_: Any) -> None:
            if instance.metadata.pop("again", None):
                for name, value in again.items():
                    setattr(instance, name, value)
                instance.save()

        connect(post_save, save_again)

        log = save_log(user=user, metadata={"again": True})
        assert_in_step()
        log.metadata["again"] = True
        log.completion_tokens = 1000
        log.user = user
        log.save()

        assert_in_step()

    def test_row_updated_by_a_receiver_is_counted_once(self, connect):
        user = make_user()
        connect(
            post_save,
            lambda instance, **_: AIUsageLog.objects.filter(pk=instance.pk).update(prompt_tokens=7),
        )

        log = save_log(user=user)
        assert_in_step()
        log.save()

        assert read_days()[user.pk, TODAY] == Day(1, 7, 80, 87, 900, 1, 0)
        assert_in_step()

    def test_row_deleted_by_a_receiver_is_not_counted(self, connect):
        user = make_user()
        connect(post_save, lambda instance, **_: AIUsageLog.objects.filter(pk=instance.pk).delete())

        save_log(user=user)

        assert read_days() == {}
        assert_in_step()

    def test_post_delete_receiver_sees_the_updated_daily_row(self, connect):
        user = make_user()
        save_log(user=user)
        log = save_log(user=user)
        seen: list[int] = []
        connect(
            post_delete,
            lambda **_: seen.append(AIUsageTracking.objects.get(user=user).total_requests),
        )

        log.delete()

        assert seen == [1]

    def test_failing_receiver_rolls_back_both_rows(self, connect):
        user = make_user()

        def fail(**_: Any) -> None:
            raise ZeroDivisionError

        connect(post_save, fail)

        with pytest.raises(ZeroDivisionError):
            save_log(user=user)

        assert not AIUsageLog.objects.exists()
        assert_in_step()


class TestFailures:
    def test_row_is_counted_once_it_can_be_saved(self):
        user = make_user()
        log = save_log(user=user)

        log.section = None  # type: ignore[assignment]
        with pytest.raises(IntegrityError), transaction.atomic():
            log.save()
        log.section = "other"
        log.prompt_tokens = 7
        log.save()

        assert read_days()[user.pk, TODAY].prompt_tokens == 7
        assert_in_step()

    def test_rolled_back_delete_can_be_repeated(self):
        log = save_log(user=make_user())
        pk = log.pk

        with rolled_back():
            log.delete()
        log.pk = pk
        log.delete()

        assert read_days() == {}
        assert_in_step()

    def test_delete_of_a_deleted_row_subtracts_nothing(self):
        user = make_user()
        save_log(user=user)
        log = save_log(user=user)
        twin = AIUsageLog.objects.get(pk=log.pk)

        log.delete()
        twin.delete()

        assert read_days()[user.pk, TODAY].requests == 1
        assert_in_step()

    def test_connecting_twice_counts_once(self):
        user = make_user()

        receivers.connect()
        save_log(user=user)

        assert read_days()[user.pk, TODAY].requests == 1


class TestFixtures:
    def test_dumped_and_loaded_tables_are_the_same(self, tmp_path):
        ada, bob = make_user("ada"), make_user("bob")
        save_log(user=ada, cost=Decimal("0.5"), metadata={"conversation": 7})
        save_log(user=ada, success=False, prompt_tokens=None, error_message="timed out")
        save_log(user=bob, created_at=NOON - DAY)
        save_log(user=None)
        days, logs = read_days(), list(AIUsageLog.objects.order_by("pk").values())
        fixture = tmp_path / "usage.json"
        call_command("dumpdata", "auth.user", "usage_tracking", output=str(fixture), verbosity=0)
        AIUsageLog.objects.all().delete()
        User.objects.all().delete()

        call_command("loaddata", str(fixture), verbosity=0)

        assert read_days() == days
        assert list(AIUsageLog.objects.order_by("pk").values()) == logs
        assert_in_step()

    def test_fixture_loaded_twice_counts_once(self, tmp_path):
        save_log(user=make_user())
        days = read_days()
        fixture = tmp_path / "usage.json"
        call_command("dumpdata", "usage_tracking", output=str(fixture), verbosity=0)

        call_command("loaddata", str(fixture), verbosity=0)

        assert read_days() == days
        assert_in_step()

    def test_loaded_log_is_counted_when_it_is_saved_again(self, tmp_path):
        user = make_user()
        save_log(user=user)
        fixture = tmp_path / "usage.json"
        call_command("dumpdata", "usage_tracking", output=str(fixture), verbosity=0)
        call_command("loaddata", str(fixture), verbosity=0)

        log = AIUsageLog.objects.get()
        log.prompt_tokens = 7
        log.save()

        assert read_days()[user.pk, TODAY].prompt_tokens == 7
        assert_in_step()


@pytest.mark.django_db(transaction=True)
class TestConcurrency:
    @pytest.mark.slow
    def test_concurrent_writers_lose_no_call(self):
        users = [make_user(name) for name in ("ada", "bob")]

        def write(chance: random.Random) -> None:
            for _ in range(15):
                logs = AIUsageLog.objects.filter(user=chance.choice(users))
                match chance.randrange(6):
                    case 0 | 1:
                        save_log(user=chance.choice(users))
                    case 2:
                        AIUsageLog.objects.bulk_create([make_log(user=user) for user in users])
                    case 3:
                        logs.update(success=chance.choice([True, False]), prompt_tokens=7)
                    case 4:
                        for log in logs[:1]:
                            log.delete()
                    case 5:
                        logs.update(user=chance.choice(users))

        run_in_threads(*(lambda seed=seed: write(random.Random(seed)) for seed in range(4)))

        assert_in_step()

    @pytest.mark.slow
    def test_changes_of_user_in_both_directions_never_deadlock(self):
        ada, bob = make_user("ada"), make_user("bob")
        for user in (ada, bob):
            for number in range(40):
                save_log(user=user, section=str(number))

        def hand_over(giver: User, taker: User) -> None:
            for number in range(40):
                AIUsageLog.objects.filter(user=giver, section=str(number)).update(user=taker)

        run_in_threads(lambda: hand_over(ada, bob), lambda: hand_over(bob, ada))

        assert_in_step()

    def test_concurrent_changes_of_a_row_count_its_final_state(self):
        log = save_log(user=make_user())

        def change(tokens: int) -> None:
            for number in range(10):
                mine = AIUsageLog.objects.get(pk=log.pk)
                mine.prompt_tokens = tokens * number
                mine.save()

        run_in_threads(*(lambda tokens=tokens: change(tokens) for tokens in (1, 10, 100)))

        assert AIUsageTracking.objects.get().total_requests == 1
        assert_in_step()

    @pytest.mark.postgres  # on SQLite, the second starts only after the first ends
    def test_deletions_in_both_directions_never_deadlock(self, monkeypatch):
        """Each of two deletes locks the daily rows of both users, in the same order."""
        ada, bob = make_user("ada"), make_user("bob")
        sections = {"one": (ada, bob), "two": (bob, ada)}
        for section, users in sections.items():
            for minute, user in enumerate(users):
                save_log(user=user, section=section, created_at=NOON + dt.timedelta(minutes=minute))
        for user in (ada, bob):
            save_log(user=user)
        subtract = receivers.daily.add
        steps: Counter[int] = Counter()

        def in_step(*args: Any, **options: Any) -> Any:
            me = threading.get_ident()
            steps[me] += 1
            wait_until(
                lambda: (len(steps) == 2 and min(steps.values()) >= steps[me]) or blocks_another(),
                awaited="the other one, who has come as far or waits for us",
                seen=lambda: steps,
            )
            return subtract(*args, **options)

        monkeypatch.setattr(receivers.daily, "add", in_step)
        run_in_threads(
            *(
                lambda section=section: AIUsageLog.objects.filter(section=section).delete()
                for section in sections
            )
        )

        assert AIUsageLog.objects.count() == 2
        assert_in_step()


class TestDeletedUsers:
    """Deliveries during the deletion of a user, and concurrent deletions."""

    @staticmethod
    def statements(delete: Callable[[], object]) -> list[str]:
        """Return the statements of a deletion on the usage tables."""
        with CaptureQueriesContext(connection) as queries:
            delete()
        return [
            " ".join(query["sql"].replace('"', "").split()[:3])
            for query in queries.captured_queries
            if "ai_usage" in query["sql"]
        ]

    @pytest.mark.django_db(transaction=True)
    def test_disabled_tracking_leaves_djangos_statements(self, settings):
        plain = ["DELETE FROM ai_usage_tracking", "UPDATE ai_usage_log SET"]
        ada, bob, eve = (make_user(name) for name in ("ada", "bob", "eve"))
        for user in (ada, bob):
            save_log(user=user)

        with override_settings(AI_USAGE_ENABLED=False):
            assert self.statements(ada.delete) == plain
            assert self.statements(eve.delete) == plain
        ours = ["WITH days AS"] if connection.vendor == "postgresql" else []
        assert self.statements(bob.delete) == [*plain, *ours]
        assert_in_step()

    def test_row_deleted_while_disabled_is_subtracted_from_its_day(self, settings):
        user = make_user()
        logs = [save_log(user=user) for _ in range(4)]
        settings.AI_USAGE_ENABLED = False

        logs[0].delete()
        AIUsageLog.objects.filter(pk=logs[1].pk).delete()

        assert read_days()[user.pk, TODAY].requests == 2
        assert_in_step()

    def test_rows_in_another_database_are_not_changed(self, settings):
        class Router:
            def db_for_write(self, model: Any, **hints: Any) -> str | None:
                return "logs" if model is AIUsageLog else None

        user = make_user()
        settings.DATABASE_ROUTERS = [Router()]
        settings.AI_USAGE_RAISE_ERRORS = False  # the database does not exist

        assert not [
            statement for statement in self.statements(user.delete) if statement.startswith("WITH")
        ]

    @pytest.mark.postgres
    @pytest.mark.django_db(transaction=True)
    def test_unrelated_deletions_never_wait_for_each_other(self):
        first, second, third, fourth = (make_user(f"user{number}") for number in range(4))
        for user in (first, second, third, fourth):
            save_log(user=user)

        def delete_between() -> None:
            with transaction.atomic():
                with connection.cursor() as cursor:
                    cursor.execute("SET LOCAL lock_timeout = '1ms'")
                second.delete()
                third.delete()

        with transaction.atomic():
            first.delete()
            run_in_threads(delete_between)
            fourth.delete()

        assert not User.objects.exists()
        assert [log.user for log in AIUsageLog.objects.all()] == [None] * 4

    @pytest.mark.postgres  # only PostgreSQL runs statements of two connections interleaved
    @pytest.mark.django_db(transaction=True)
    @pytest.mark.parametrize(
        "watched", [False, True], ids=["plain", "with a receiver of all models"]
    )
    def test_delivery_between_any_two_statements_never_breaks_the_deletion(self, watched):
        """Neither waits for the other, wherever the delivery runs."""

        def receive(**_: Any) -> None:
            """Make Django load the daily rows before the deletion, as any global receiver does."""

        if watched:
            post_delete.connect(receive)
        try:
            before = 0
            while self.delete_with_delivery(before):
                before += 1
        finally:
            post_delete.disconnect(receive)

        assert before > 5
        assert AIUsageLog.objects.count() == 5 * before + 2  # the last deletion has no delivery
        assert {log.user for log in AIUsageLog.objects.all()} == {None}
        assert_in_step()

    def delete_with_delivery(self, before: int) -> bool:
        """Deliver before the n-th statement of a deletion. Return False if it has fewer."""
        ada, bob = make_user(), make_user("bob")
        save_log(user=ada)
        known = make_event(user=ada)
        store([known], using="default")
        batch = [
            make_event(user=ada),
            make_event(user=ada, created_at=NOON + DAY),
            known.amended(prompt_tokens=7),
            make_event(user=bob),
        ]
        deferred: list[UsageEvent] = []
        statements = 0

        def deliver() -> None:
            stored = store(batch, using="default")
            assert batch[3].id in {row.event.id for row in stored.rows}, "bob's need not wait"
            deferred.extend(stored.deferred)

        def interrupted(execute: Any, *args: Any) -> Any:
            nonlocal statements
            if statements == before:
                run_in_threads(deliver)
            statements += 1
            return execute(*args)

        with connection.execute_wrapper(interrupted):
            ada.delete()

        # The user no longer exists, so the calls are kept without a user.
        assert store(deferred, using="default").deferred == []
        interrupted_once = statements > before
        assert AIUsageLog.objects.get(pk=known.id).prompt_tokens == (7 if interrupted_once else 150)
        bob.delete()
        return interrupted_once

    @pytest.mark.postgres
    @pytest.mark.django_db(transaction=True)
    def test_rolled_back_deletion_keeps_the_user_of_a_call(self):
        user = make_user()
        save_log(user=user)
        event = make_event(user=user)
        deferred: list[UsageEvent] = []

        def deliver() -> None:
            deferred.extend(store([event], using="default").deferred)

        with rolled_back():
            User.objects.filter(pk=user.pk).delete()
            run_in_threads(deliver)
        assert deferred == [event]
        store(deferred, using="default")

        assert [log.user for log in AIUsageLog.objects.all()] == [user, user]
        assert_in_step()

    @pytest.mark.postgres
    @pytest.mark.django_db(transaction=True)
    def test_deletion_during_a_transaction_with_a_row_never_deadlocks(self):
        user = make_user()
        save_log(user=user)

        with transaction.atomic():
            save_log(user=user)
            deletion = threading.Thread(
                target=run_in_threads,
                args=(User.objects.get(pk=user.pk).delete,),
                daemon=True,
            )
            deletion.start()
            wait_until(blocks_another, awaited="the deletion, which waits for the daily row")
        join(deletion)

        assert not User.objects.exists()
        assert [log.user for log in AIUsageLog.objects.all()] == [None, None]
        assert_in_step()

    @pytest.mark.django_db(transaction=True)
    def test_random_deletions_and_deliveries_lose_no_call(self):
        names = [f"user{number}" for number in range(6)]
        for name in names:
            make_user(name)
        made: list[UsageEvent] = []

        def delete(names: list[str], chance: random.Random) -> None:
            for _ in range(10):
                with (
                    rolled_back() if chance.random() < 0.5 else nullcontext(),
                    transaction.atomic(),
                ):
                    chosen = chance.sample(names, 2)
                    if chance.random() < 0.5:
                        User.objects.filter(username__in=chosen).delete()
                    else:
                        User.objects.get(username=chosen[0]).delete()
                    for name in chosen:
                        User.objects.get_or_create(username=name)

        def deliver(chance: random.Random) -> None:
            waiting: list[UsageEvent] = []
            for _ in range(20):
                for user in User.objects.filter(username__in=chance.sample(names, 4)):
                    day = NOON + DAY * chance.randrange(3)
                    waiting += [make_event(user=user, created_at=day) for _ in range(3)]
                made.extend(waiting)
                waiting = self.try_to_store(waiting)
            wait_until(lambda: not self.try_to_store(waiting), awaited="a batch that is stored")

        run_in_threads(
            lambda: delete(names[:3], random.Random(1)),
            lambda: delete(names[3:], random.Random(2)),
            *(lambda seed=seed: deliver(random.Random(seed)) for seed in (3, 4)),
        )

        assert {log.pk for log in AIUsageLog.objects.all()} == {event.id for event in made}
        assert_in_step()

    @staticmethod
    def try_to_store(batch: list[UsageEvent]) -> list[UsageEvent]:
        """Store events as delivery does, and return the events to retry."""
        try:
            return store(batch, using="default").deferred
        except OperationalError:
            return batch


def test_writes_never_touch_a_replica(tmp_path: Path, database_url: str):
    printed = run_python(
        tmp_path,
        """
        from django.contrib.auth.models import User
        from usage_tracking import daily
        from usage_tracking.models import AIUsageLog, AIUsageTracking

        user = User.objects.using("default").create(username="ada")
        logs = AIUsageLog.objects
        log = logs.create(user_id=user.pk, section="chat", prompt_tokens=1)
        log.prompt_tokens = 2
        log.save()
        others = logs.bulk_create(AIUsageLog(user_id=user.pk, section="chat") for _ in range(3))
        others[0].prompt_tokens = 10
        logs.bulk_update(others[:1], ["prompt_tokens"])
        logs.filter(pk=others[1].pk).update(prompt_tokens=100)
        others[2].delete()
        daily.rebuild()
        row = AIUsageTracking.objects.using("default").get()
        print(row.total_requests, row.total_prompt_tokens)
        row.update_stats(1000)
        print(row.total_requests, row.total_prompt_tokens)
        """,
        settings="""
        DATABASES["replica"] = {"ENGINE": "django.db.backends.sqlite3", "NAME": "/nowhere/at/all"}

        class Router:
            def db_for_read(self, model, **hints):
                return "replica"

            def db_for_write(self, model, **hints):
                return "default"

        DATABASE_ROUTERS = [Router()]
        """,
        DATABASE_URL=database_url,
    )

    assert printed == "3 112\n4 1112\n"
