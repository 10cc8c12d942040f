"""Nothing is lost and nothing doubled, whatever dies: real processes, really killed."""

from __future__ import annotations

import random
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User

from project.stub import StubProvider
from tests.databases import LocalPostgres
from tests.processes.conftest import Child, Start, environment
from tests.support.waiting import awaiting_output, wait_until
from usage_tracking import daily
from usage_tracking.models import AIUsageLog, AIUsageTracking

pytestmark = pytest.mark.costly

WORKER = "tests.processes.worker"


def test_killed_in_the_middle_of_calls_loses_and_doubles_nothing(
    start: Start, stub: StubProvider, user: User
) -> None:
    chance = random.Random(20261123)  # the moments of death differ, run after run they do not
    acknowledged: list[str] = []
    for _ in range(5):
        worker = start(WORKER, user.pk, 100_000)
        lines = read_lines(worker, 5 + chance.randrange(60))
        time.sleep(chance.random() / 100)  # anywhere in a call; nothing depends on where
        rest = worker.kill_at_once().splitlines(keepends=True)
        acknowledged += [line.strip() for line in lines + rest if line.endswith("\n")]

    output = flush(start)

    recorded = response_ids()
    assert len(recorded) == len(set(recorded))
    assert set(acknowledged) <= set(recorded) <= {served.response_id for served in stub.journal}
    # Between the provider's answer and the outbox one call of each killed process may vanish.
    assert len(stub.journal) - len(recorded) <= 5
    assert "calls delivered" in output
    assert_in_step(user, calls=len(recorded))


def test_flush_again_changes_nothing(start: Start, user: User) -> None:
    worker = start(WORKER, user.pk, 100_000)
    read_lines(worker, 10)
    worker.kill_at_once()
    flush(start)
    before = response_ids()
    assert "0 calls delivered" in flush(start)
    assert response_ids() == before


@pytest.mark.postgres
def test_eight_processes_of_one_user_lose_nothing(
    start: Start, stub: StubProvider, user: User
) -> None:
    workers = [start(WORKER, user.pk, 200) for _ in range(8)]
    for worker in workers:
        worker.end()
        assert "deadlock" not in worker.log()
    flush(start)
    assert len(stub.journal) == 1600
    assert sorted(response_ids()) == sorted(served.response_id for served in stub.journal)
    assert_in_step(user, calls=1600)


@pytest.mark.parametrize(
    ("transaction", "mode"),
    [
        ("outside", "immediate"),
        ("inside", "immediate"),
        # Of a transaction that began before any block or request of ours nobody could know.
        pytest.param("inside", "deferred", marks=pytest.mark.sqlite),
    ],
)
def test_a_site_in_transactions_is_never_locked_by_us(
    start: Start, site: dict[str, str], stub: StubProvider, user: User, transaction: str, mode: str
) -> None:
    """`transaction` is around the `ai_usage` block or inside it; `mode` is SQLite's."""
    if mode == "deferred":
        site["DEFERRED"] = "yes"
    worker = start(WORKER, user.pk, 150, "--atomic", transaction)
    assert worker.end().endswith("done\n")
    assert "locked" not in worker.log()
    flush(start)
    assert sorted(response_ids()) == sorted(served.response_id for served in stub.journal)
    assert_in_step(user, calls=150)


@pytest.mark.postgres
def test_database_outage_loses_nothing_and_no_caller_notices(
    start: Start, stub: StubProvider, tmp_path: Path
) -> None:
    server = LocalPostgres()
    try:
        env = environment(tmp_path, server.url, stub)
        manage(start, "migrate", "--skip-checks", "-v", 0, env=env)
        manage(start, "shell", "-v", 0, "-c", CREATE_USER, env=env)
        worker = start(WORKER, 1, 200, "--on-demand", env=env, stdin=subprocess.PIPE)
        ids = [ask_for_call(worker) for _ in range(50)]
        server.stop()
        # Who waited for the database here would wait until we start it: for ever.
        ids += [ask_for_call(worker) for _ in range(100)]
        wait_until(
            lambda: "[TRACK_WARNING] Delivery failed" in worker.log(),
            awaited="a delivery that fails",
            seen=worker.log,
        )
        server.start()
        ids += [ask_for_call(worker) for _ in range(50)]
        assert worker.end() == "done\n"
        manage(start, "flush_ai_usage", env=env)
        counted = manage(start, "shell", "-v", 0, "-c", COUNT, env=env).split()
    finally:
        server.remove()
    assert ids == [served.response_id for served in stub.journal]
    assert counted == ["200", "200", "200"]


CREATE_USER = "from django.contrib.auth.models import User; User.objects.create(username='worker')"
COUNT = (
    "from usage_tracking.models import *; logs = AIUsageLog.objects; "
    "print(logs.count(), logs.values('metadata__response_id').distinct().count(), "
    "AIUsageTracking.objects.get().total_requests)"
)


def read_lines(worker: Child, count: int) -> list[str]:
    """The next lines of a worker, without its "ready"."""
    assert worker.stdout is not None
    lines: list[str] = []
    with awaiting_output(worker):
        while len(lines) < count:
            line = worker.stdout.readline()
            assert line, f"the worker ended after {lines}:\n{worker.log()}"
            if line != "ready\n":
                lines.append(line)
    return lines


def ask_for_call(worker: Child) -> str:
    """The id of the answer to one more call."""
    assert worker.stdin is not None
    worker.stdin.write("\n")
    worker.stdin.flush()
    return read_lines(worker, 1)[0].strip()


def manage(start: Start, *arguments: object, **options: Any) -> str:
    return start("django", *arguments, **options).end()


def flush(start: Start) -> str:
    return manage(start, "flush_ai_usage")


def response_ids() -> list[str]:
    return list(AIUsageLog.objects.values_list("metadata__response_id", flat=True))


def assert_in_step(user: User, *, calls: int) -> None:
    assert daily.drift() == {}
    rows = AIUsageTracking.objects.filter(user=user)
    assert sum(row.total_requests for row in rows) == calls
    assert not AIUsageLog.objects.exclude(user=user).exists()
