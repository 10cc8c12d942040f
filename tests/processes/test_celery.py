"""Celery tasks in real workers: attribution, and no loss of calls when a worker dies."""

from __future__ import annotations

import itertools
import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from django.contrib.auth.models import User

from project.stub import StubProvider
from tests.processes import celery_app
from tests.processes.celery_app import (
    app,
    ask,
    ask_again,
    ask_on,
    fail,
    pass_on,
    report,
    tell_rows,
)
from tests.processes.conftest import Child, Start
from tests.processes.test_durability import assert_in_step, flush
from tests.support.waiting import finish, wait_until
from usage_tracking import ai_usage
from usage_tracking.models import AIUsageLog

pytestmark = [pytest.mark.postgres, pytest.mark.one_driver, pytest.mark.costly]

Work = Callable[..., Child]


class Recorded(NamedTuple):
    user: str | None
    section: str
    task: str | None


@pytest.fixture(autouse=True)
def _broker(tmp_path: Path) -> Iterator[None]:
    celery_app.use_directory(tmp_path)
    yield
    # Producers cache the directories of the previous test.
    app.pool.force_close_all()
    app.amqp.__dict__.pop("_producer_pool", None)


@pytest.fixture
def work(start: Start) -> Work:
    def work(*arguments: object) -> Child:
        app_name = "tests.processes.celery_app"
        quiet = ("--loglevel", "WARNING")
        return start("celery", "--app", app_name, "worker", "--concurrency", 2, *quiet, *arguments)

    return work


def stop(worker: Child) -> str:
    """Shut the worker down warmly, as a deployment does, and return its log."""
    worker.send_signal(signal.SIGTERM)
    finish(worker)
    return worker.log()


def wait_for_rows(worker: Child, count: int) -> None:
    wait_until(
        lambda: AIUsageLog.objects.count() >= count or worker.poll() is not None,
        awaited=f"{count} rows",
        seen=lambda: f"{AIUsageLog.objects.count()} rows, and of the worker {worker.log()}",
    )
    assert AIUsageLog.objects.count() == count, worker.log()


def recorded_calls(stub: StubProvider) -> dict[str, Recorded]:
    """Return the recorded attribution of each call, by its prompt."""
    asked = {served.response_id: served.prompt for served in stub.journal}
    rows = AIUsageLog.objects.select_related("user")
    return {
        asked[row.metadata["response_id"]]: Recorded(
            row.user.get_username() if row.user else None,
            row.section,
            row.metadata.get("celery_task"),
        )
        for row in rows
    }


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_task_belongs_to_the_user_who_sent_it(
    work: Work, stub: StubProvider, user: User, pool: str
) -> None:
    with ai_usage(section="rag_pipeline", user=user, metadata={"order": 7}):
        ask.delay("ask")
        ask_again.delay("again")
        pass_on.delay("pass")
        (ask.si("first") | ask.si("second")).delay()
        fail.delay("fail")
    ask.delay("nobody")
    worker = work("--pool", pool)
    wait_for_rows(worker, 10)
    stop(worker)

    ours = ("worker", "rag_pipeline")
    assert recorded_calls(stub) == {
        "ask": (*ours, "site.tasks.ask"),
        "again 0": (*ours, "site.tasks.ask_again"),
        "again 1": (*ours, "site.tasks.ask_again"),
        "again 2": (*ours, "site.tasks.ask_again"),
        "pass": (*ours, "site.tasks.pass_on"),
        "pass passed on": (*ours, "site.tasks.ask"),
        "first": (*ours, "site.tasks.ask"),
        "second": (*ours, "site.tasks.ask"),
        "fail": (*ours, "site.tasks.fail"),
        "nobody": (None, "other", "site.tasks.ask"),
    }
    orders = AIUsageLog.objects.filter(user=user).values_list("metadata__order", flat=True)
    assert set(orders) == {7}


def test_tasks_of_two_users_in_one_worker_are_not_confused(
    work: Work, stub: StubProvider, user: User
) -> None:
    users = [user, User.objects.create(username="other")]
    worker = work("--pool", "threads")
    for number, owner in enumerate(itertools.islice(itertools.cycle(users), 40)):
        with ai_usage(section=("chat", "knowledge_qa")[number % 2], user=owner):
            ask.delay(f"{owner.username} {number}")
    wait_for_rows(worker, 40)
    stop(worker)

    for asked, row in recorded_calls(stub).items():
        name, count = asked.split()
        assert row == (name, ("chat", "knowledge_qa")[int(count) % 2], "site.tasks.ask")


def test_section_of_a_task_that_was_sent_without_one(
    work: Work, site: dict[str, str], stub: StubProvider, user: User
) -> None:
    site["SECTION_MAP"] = json.dumps({"site": "embedding_generation", "site.tasks": "rag_pipeline"})
    ask.delay("nobody's")
    report.delay("nobody's report")
    with ai_usage(user=user):
        ask.delay("somebody's")
    with ai_usage(section="chat"):
        ask.delay("a section's")
    worker = work("--pool", "solo")
    wait_for_rows(worker, 4)
    stop(worker)

    assert {asked: row[:2] for asked, row in recorded_calls(stub).items()} == {
        "nobody's": (None, "rag_pipeline"),
        "nobody's report": (None, "embedding_generation"),
        "somebody's": ("worker", "rag_pipeline"),
        "a section's": (None, "chat"),
    }


@pytest.mark.parametrize("embedded", [False, True])
def test_task_sent_by_beat_is_marked(
    work: Work, start: Start, stub: StubProvider, embedded: bool
) -> None:
    with ai_usage(section="chat"):
        ask.delay("by hand")
    if embedded:
        workers = [work("--beat")]
    else:
        beat = ("--loglevel", "WARNING", "--pidfile=")
        workers = [start("celery", "--app", "tests.processes.celery_app", "beat", *beat), work()]

    def sections() -> dict[bool | None, str]:
        return dict(AIUsageLog.objects.values_list("metadata__celery_beat", "section"))

    wait_until(
        lambda: len(sections()) == 2 or any(one.poll() is not None for one in workers),
        awaited="a call of the beat's and one of ours",
        seen=lambda: (sections(), [one.log() for one in workers]),
    )
    errors = [stop(worker) for worker in workers]

    assert sections() == {True: "other", None: "chat"}, errors


def test_exiting_children_deliver_their_calls(
    work: Work, start: Start, site: dict[str, str], stub: StubProvider, user: User
) -> None:
    site["ORPHANS_EVERY"] = "3600"  # no other process delivers the calls for them
    with ai_usage(section="chat", user=user):
        for number in range(6):
            ask.delay(f"{number}")
    worker = work("--pool", "prefork", "--max-tasks-per-child", 1)
    wait_for_rows(worker, 6)
    errors = stop(worker)

    assert "TRACK" not in errors
    assert flush(start).startswith("0 calls delivered")
    assert_in_step(user, calls=6)


def test_killed_worker_loses_no_call(
    work: Work, start: Start, stub: StubProvider, user: User
) -> None:
    with ai_usage(section="chat", user=user):
        for number in range(4):
            ask_on.delay(number, 4)
    worker = work("--pool", "prefork")
    wait_until(
        lambda: len(stub.journal) >= 20 or worker.poll() is not None,
        awaited="20 calls",
        seen=lambda: f"{len(stub.journal)} calls, and of the worker {worker.log()}",
    )
    assert worker.poll() is None, worker.log()
    worker.kill_at_once()

    flush(start)

    served = len(stub.journal)
    recorded = AIUsageLog.objects.count()
    # Each child may lose one call between the provider's answer and the outbox.
    assert served - 2 <= recorded <= served
    assert_in_step(user, calls=recorded)


def test_row_is_saved_before_the_next_task_with_a_wait(
    start: Start, site: dict[str, str], stub: StubProvider, user: User
) -> None:
    with ai_usage(section="chat", user=user):
        ask.delay("first")
        tell_rows.delay()
    app_name, quiet = "tests.processes.celery_app", ("--loglevel", "WARNING")
    arguments = ("--app", app_name, "worker", "--pool", "solo", *quiet)
    worker = start("celery", *arguments, env=site | {"SITE_WAIT": "60"})
    wait_until(
        lambda: len(stub.journal) >= 2 or worker.poll() is not None,
        awaited="2 calls",
        seen=worker.log,
    )
    stop(worker)

    assert [served.prompt for served in stub.journal] == ["first", "rows: 1"]
