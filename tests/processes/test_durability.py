"""Nothing is lost and nothing doubled, whatever dies: real processes, really killed."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User

from project.stub import StubProvider
from tests.databases import LocalPostgres
from tests.processes.conftest import Start, environment
from usage_tracking import daily
from usage_tracking.models import AIUsageLog, AIUsageTracking

WORKER = "tests.processes.worker"


def test_killed_in_the_middle_of_calls_loses_and_doubles_nothing(
    start: Start, stub: StubProvider, user: User
) -> None:
    chance = random.Random(20261123)  # the moments of death differ, run after run they do not
    acknowledged: list[str] = []
    for _ in range(5):
        worker = start(WORKER, user.pk, 100_000)
        lines = read_lines(worker, 5 + chance.randrange(60))
        time.sleep(chance.random() / 100)
        worker.send_signal(signal.SIGKILL)
        rest = worker.communicate()[0].splitlines(keepends=True)
        acknowledged += [line.split()[0] for line in lines + rest if line.endswith("\n")]

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
    worker.kill()
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
        _, errors = worker.communicate(timeout=120)
        assert worker.returncode == 0, errors
        assert "deadlock" not in errors
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
    output, errors = worker.communicate(timeout=60)
    assert worker.returncode == 0, errors
    assert "locked" not in errors
    assert output.endswith("done\n")
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
        manage(start, "migrate", "--verbosity", 0, env=env)
        manage(start, "shell", "-v", 0, "-c", CREATE_USER, env=env)
        worker = start(WORKER, 1, 400, "--pause", 0.01, env=env)
        lines = read_lines(worker, 50)
        server.stop()
        lines += read_lines(worker, 200)
        server.start()
        output, errors = worker.communicate(timeout=60)
        assert worker.returncode == 0, errors
        lines += output.splitlines()
        assert lines.pop().strip() == "done"
        assert "[TRACK_WARNING] Delivery failed" in errors
        manage(start, "flush_ai_usage", env=env)
        counted = manage(start, "shell", "-v", 0, "-c", COUNT, env=env).split()
    finally:
        server.remove()
    assert len(lines) == len(stub.journal) == 400
    assert counted == ["400", "400", "400"]
    # The call to the stub and at most 50 ms of ours; generous, for the machine may be busy.
    waits = sorted(int(line.split()[1]) for line in lines)
    assert waits[len(waits) // 2] < 100


CREATE_USER = "from django.contrib.auth.models import User; User.objects.create(username='worker')"
COUNT = (
    "from usage_tracking.models import *; logs = AIUsageLog.objects; "
    "print(logs.count(), logs.values('metadata__response_id').distinct().count(), "
    "AIUsageTracking.objects.get().total_requests)"
)


def read_lines(worker: subprocess.Popen[str], count: int) -> list[str]:
    """The next lines of a worker, without its "ready"."""
    assert worker.stdout is not None
    lines: list[str] = []
    while len(lines) < count:
        line = worker.stdout.readline()
        if not line:
            raise AssertionError(f"the worker died: {worker.communicate()[1]}")
        if line != "ready\n":
            lines.append(line)
    return lines


def manage(start: Start, *arguments: object, **options: Any) -> str:
    process = start("django", *arguments, **options)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    return output


def flush(start: Start) -> str:
    return manage(start, "flush_ai_usage")


def response_ids() -> list[str]:
    return list(AIUsageLog.objects.values_list("metadata__response_id", flat=True))


def assert_in_step(user: User, *, calls: int) -> None:
    assert daily.drift() == {}
    rows = AIUsageTracking.objects.filter(user=user)
    assert sum(row.total_requests for row in rows) == calls
    assert not AIUsageLog.objects.exclude(user=user).exists()
