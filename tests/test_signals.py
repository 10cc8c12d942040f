"""Signal handlers: the daily rows follow whatever else a site does around its saves."""

from __future__ import annotations

import datetime as dt
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import IntegrityError, OperationalError, connection, transaction
from django.db.models.signals import ModelSignal, post_delete, post_save, pre_save

from tests.builders import NOON, make_event, make_log, make_user, rolled_back, save_log
from tests.children import run_python
from tests.ledger import Day, assert_in_step, read_days
from tests.threads import blocks_another, run_in_threads
from tests.waiting import join, wait_until
from usage_tracking import signals
from usage_tracking.models import AIUsageLog, AIUsageTracking
from usage_tracking.querysets import AIUsageLogQuerySet
from usage_tracking.storage import store

pytestmark = pytest.mark.django_db

TODAY = NOON.date()
DAY = dt.timedelta(days=1)

Connect = Callable[[ModelSignal, Callable[..., None]], None]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Connects a receiver of the site's until the test ends."""
    connected: list[tuple[ModelSignal, Callable[..., None]]] = []

    def connect(signal: ModelSignal, receiver: Callable[..., None]) -> None:
        signal.connect(receiver, sender=AIUsageLog, weak=False)
        connected.append((signal, receiver))

    yield connect
    for signal, receiver in connected:
        signal.disconnect(receiver, sender=AIUsageLog)


class TestOtherReceivers:
    def test_receiver_that_changes_the_log_before_it_is_saved_is_heeded(self, connect):
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
    def test_receiver_that_saves_the_log_again_counts_it_once(self, connect, again):
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

    def test_receiver_that_updates_the_log_by_queryset_counts_it_once(self, connect):
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

    def test_receiver_that_deletes_the_log_leaves_nothing_counted(self, connect):
        user = make_user()
        connect(post_save, lambda instance, **_: AIUsageLog.objects.filter(pk=instance.pk).delete())

        save_log(user=user)

        assert read_days() == {}
        assert_in_step()

    def test_receiver_that_sees_the_log_deleted_finds_the_day_in_step(self, connect):
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

    def test_failing_receiver_takes_both_back(self, connect):
        user = make_user()

        def fail(**_: Any) -> None:
            raise ZeroDivisionError

        connect(post_save, fail)

        with pytest.raises(ZeroDivisionError):
            save_log(user=user)

        assert not AIUsageLog.objects.exists()
        assert_in_step()


class TestFailures:
    def test_log_that_could_not_be_saved_is_counted_once_it_can(self):
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

    def test_delete_that_was_rolled_back_can_be_repeated(self):
        log = save_log(user=make_user())
        pk = log.pk

        with rolled_back():
            log.delete()
        log.pk = pk
        log.delete()

        assert read_days() == {}
        assert_in_step()

    def test_deleting_what_is_gone_takes_nothing_off(self):
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

        signals.connect()
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
    def test_writers_at_the_same_time_lose_nothing(self):
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

    def test_logs_handed_over_in_both_directions_never_deadlock(self):
        ada, bob = make_user("ada"), make_user("bob")
        for user in (ada, bob):
            for number in range(40):
                save_log(user=user, section=str(number))

        def hand_over(giver: User, taker: User) -> None:
            for number in range(40):
                AIUsageLog.objects.filter(user=giver, section=str(number)).update(user=taker)

        run_in_threads(lambda: hand_over(ada, bob), lambda: hand_over(bob, ada))

        assert_in_step()

    def test_changes_of_one_log_at_the_same_time_count_as_it_ends(self):
        log = save_log(user=make_user())

        def change(tokens: int) -> None:
            for number in range(10):
                mine = AIUsageLog.objects.get(pk=log.pk)
                mine.prompt_tokens = tokens * number
                mine.save()

        run_in_threads(*(lambda tokens=tokens: change(tokens) for tokens in (1, 10, 100)))

        assert AIUsageTracking.objects.get().total_requests == 1
        assert_in_step()

    @pytest.mark.postgres  # on SQLite the second one does not begin before the first has ended
    def test_logs_deleted_in_both_directions_never_deadlock(self, monkeypatch):
        """Each of two deletes takes the days of both users; neither goes ahead of the other."""
        ada, bob = make_user("ada"), make_user("bob")
        sections = {"one": (ada, bob), "two": (bob, ada)}
        for section, users in sections.items():
            for minute, user in enumerate(users):
                save_log(user=user, section=section, created_at=NOON + dt.timedelta(minutes=minute))
        for user in (ada, bob):
            save_log(user=user)
        subtract = signals.daily.add
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

        monkeypatch.setattr(signals.daily, "add", in_step)
        run_in_threads(
            *(
                lambda section=section: AIUsageLog.objects.filter(section=section).delete()
                for section in sections
            )
        )

        assert AIUsageLog.objects.count() == 2
        assert_in_step()

    @pytest.mark.postgres  # the statements of another connection come between on this one only
    def test_delivery_never_comes_between_the_statements_that_delete_a_user(self, monkeypatch):
        user = make_user()
        save_log(user=user)
        event = make_event(user=user, created_at=NOON + dt.timedelta(days=1))
        outcomes: list[Any] = []
        update = AIUsageLogQuerySet.update

        def deliver() -> None:
            try:
                outcomes.append(store([event], using="default"))
            except OperationalError as error:
                outcomes.append(error)
            finally:
                connection.close()

        def interrupted(self: Any, **changes: Any) -> int:
            monkeypatch.undo()
            updated = update(self, **changes)
            thread = threading.Thread(target=deliver, daemon=True)
            thread.start()
            join(thread)
            return updated

        # The daily rows have gone, the logs have lost their user, he himself is still there.
        monkeypatch.setattr(AIUsageLogQuerySet, "update", interrupted)
        user.delete()

        assert "lock timeout" in str(outcomes)  # it gave way
        store([event], using="default")
        assert [log.user for log in AIUsageLog.objects.all()] == [None, None]
        assert_in_step()


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
