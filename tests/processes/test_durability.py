"""No call is lost or duplicated when real processes are killed."""

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


def test_processes_killed_during_calls_lose_and_duplicate_no_call(
    start: Start, stub: StubProvider, user: User
) -> None:
    chance = random.Random(20261123)  # different kill times, the same in each run
    acknowledged: list[str] = []
    for _ in range(5):
        worker = start(WORKER, user.pk, 100_000)
        lines = read_lines(worker, 5 + chance.randrange(60))
        time.sleep(chance.random() / 100)  # at any point of a call
        rest = worker.kill_at_once().splitlines(keepends=True)
        acknowledged += [line.strip() for line in lines + rest if line.endswith("\n")]

    output = flush(start)

    recorded = response_ids()
    assert len(recorded) == len(set(recorded))
    assert set(acknowledged) <= set(recorded) <= {served.response_id for served in stub.journal}
    # Each killed process may lose one call between the provider's answer and the outbox.
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
def test_eight_processes_of_one_user_lose_no_call(
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
        # A transaction that begins before a block or request cannot be detected.
        pytest.param("inside", "deferred", marks=pytest.mark.sqlite),
    ],
)
def test_delivery_never_locks_a_site_in_transactions(
    start: Start, site: dict[str, str], stub: StubProvider, user: User, transaction: str, mode: str
) -> None:
    """`transaction` is outside or inside the `ai_usage` block. `mode` is SQLite's mode."""
    if mode == "deferred":
        site["DEFERRED"] = "yes"
    worker = start(WORKER, user.pk, 150, "--atomic", transaction)
    assert worker.end().endswith("done\n")
    assert "locked" not in worker.log()
    flush(start)
    assert sorted(response_ids()) == sorted(served.response_id for served in stub.journal)
    assert_in_step(user, calls=150)


@pytest.mark.postgres
def test_database_outage_loses_no_call_and_affects_no_caller(
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
        # A process that waits for the database here would never continue.
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
    """Return the next lines of a worker, without its "ready"."""
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
    """Let the worker make another call and return the response id."""
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
