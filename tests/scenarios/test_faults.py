"""Faults under load: lost calls, duplicate calls, and effects on users.

Each test adds a line to the table that the run prints.
"""

from __future__ import annotations

import ctypes
import os
import random
import resource
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx
import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test import Client

from project.stub import StubProvider
from tests.databases import LocalPostgres
from tests.processes.conftest import Start
from tests.processes.test_durability import flush, manage, response_ids
from tests.scenarios import clock
from tests.scenarios.conftest import Outcome, environment
from tests.scenarios.servers import Server
from tests.scenarios.visits import Load
from tests.support.threads import blocks_another
from tests.support.waiting import PATIENCE, wait_until
from usage_tracking import daily
from usage_tracking.models import AIUsageLog, AIUsageTracking

Note = Callable[..., Outcome]
#: Lifetime of a pod and its disk, and the longest wait of its responses, in seconds.
POD_DEATHS = int(os.environ.get("POD_DEATHS", "3"))
POD_WAIT = os.environ.get("POD_WAIT", f"{PATIENCE:.0f}")


@pytest.fixture
def note(stub: StubProvider, outcomes: list[Outcome]) -> Note:
    """Add the line of a fault, from the provider's journal, the visits and the tables."""

    def note(fault: str, load: Load, recorded: list[str] | None = None) -> Outcome:
        if recorded is None:
            recorded = response_ids()
        served = {one.response_id for one in stub.journal}
        answered = [one.text for one in load.visited if one.status == 200]
        outcome = Outcome(
            fault=fault,
            served=len(served),
            acknowledged=len(answered),
            found=len(set(recorded)),
            doubled=len(recorded) - len(set(recorded)),
            client_errors=len(load.visited) - len(answered),
            waits_ms=load.waits_ms(),
        )
        outcomes.append(outcome)
        assert set(recorded) <= served
        assert outcome.doubled == 0
        return outcome

    return note


def wait_for_rows(server: Server, count: int) -> None:
    wait_until(
        lambda: AIUsageLog.objects.count() >= count,
        awaited=f"{count} rows",
        seen=lambda: f"{AIUsageLog.objects.count()} rows:\n{server.log()}",
    )


def assert_no_call_lost(outcome: Outcome) -> None:
    assert (outcome.client_errors, outcome.found) == (0, outcome.served)


def test_workers_are_killed(site: dict[str, str], start: Start, note: Note) -> None:
    chance = random.Random(20261125)
    with Server("gunicorn sync", site) as server:
        with Load(server) as load:
            load.warm_up()
            for _ in range(10):
                load.wait_for(chance.randrange(10, 40))
                with suppress(ProcessLookupError):
                    os.kill(chance.choice(server.workers()), signal.SIGKILL)
        server.stop()
    flush(start)

    outcome = note("a worker killed with SIGKILL, 10 times", load)
    assert outcome.found >= outcome.acknowledged
    # Each killed worker may lose one call between the provider's answer and the outbox.
    assert outcome.served - outcome.found <= 10
    assert daily.drift() == {}


def test_graceful_reload(site: dict[str, str], start: Start, note: Note) -> None:
    with Server("gunicorn gthread", site) as server:
        with Load(server) as load:
            load.warm_up()
            for _ in range(3):
                server.reload()
                load.wait_for(60)
        server.stop()
    flushed = flush(start)

    assert_no_call_lost(note("graceful reload, 3 times", load))
    assert flushed.startswith("0 calls delivered")


def test_orphans_are_delivered_by_a_running_worker(site: dict[str, str], note: Note) -> None:
    """Without a flush, the next search for orphans finds the calls of a killed worker."""
    site["ORPHANS_EVERY"] = "1"  # by default a minute
    with Server("gunicorn sync", site) as server:
        with Load(server, at_once=2) as load:
            load.warm_up()
            for worker in server.workers():
                os.kill(worker, signal.SIGKILL)
            load.wait_for(20)
        acknowledged = sum(one.status == 200 for one in load.visited)
        wait_for_rows(server, acknowledged)
        server.stop()

    outcome = note("all workers killed, nobody flushes", load)
    assert outcome.found >= outcome.acknowledged


@contextmanager
def _locked_tables() -> Iterator[None]:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("LOCK TABLE ai_usage_log, ai_usage_tracking IN ACCESS EXCLUSIVE MODE")
        yield


@pytest.mark.postgres
def test_orphans_are_delivered_by_the_next_server(site: dict[str, str], note: Note) -> None:
    """This needs neither an AI call nor a flush."""
    with Server("gunicorn sync", site) as server, Load(server) as load:
        load.warm_up()
        with _locked_tables():
            load.wait_for(20)  # a few of them were written before
            server.kill()
    written = AIUsageLog.objects.count()
    acknowledged = sum(one.status == 200 for one in load.visited)
    with Server("gunicorn sync", site) as server:
        assert httpx.get(f"{server.url}/nowhere/", timeout=PATIENCE).status_code == 404
        wait_for_rows(server, acknowledged)
        server.stop()

    outcome = note("the server killed, the next one serves pages only", load)
    assert outcome.found - written >= 10
    assert outcome.found >= outcome.acknowledged


@pytest.mark.postgres
def test_database_is_unavailable(
    tmp_path: Path, start: Start, stub: StubProvider, note: Note
) -> None:
    database = LocalPostgres()
    try:
        env = environment(tmp_path, database.url, stub)
        manage(start, "migrate", "--skip-checks", "-v", 0, env=env)
        with Server("gunicorn gthread", env) as server:
            with Load(server) as load:
                load.warm_up()
                database.stop()
                server.wait_for_log("Delivery failed", times=6)
                load.wait_for(100)
                database.start()
                load.wait_for(20)
            server.stop()
        manage(start, "flush_ai_usage", env=env)
        recorded = manage(start, "shell", "-v", 0, "-c", PRINT_IDS, env=env).split()
    finally:
        database.remove()

    assert_no_call_lost(note("PostgreSQL away for 100 visits", load, recorded))


PRINT_IDS = (
    "from usage_tracking.models import AIUsageLog; "
    "print(*AIUsageLog.objects.values_list('metadata__response_id', flat=True))"
)


@pytest.mark.postgres
def test_tables_are_locked(site: dict[str, str], start: Start, note: Note) -> None:
    with Server("gunicorn gthread", site) as server:
        with Load(server) as load:
            load.warm_up()
            with _locked_tables():
                wait_until(blocks_another, awaited="a delivery that is locked out", seen=server.log)
                load.wait_for(100)
            load.wait_for(20)
        server.stop()
    flush(start)

    assert_no_call_lost(note("both tables locked for 100 visits", load))


@pytest.mark.parametrize(
    ("name", "view"), [("gunicorn gthread", "slow_stream"), ("uvicorn", "slow_astream")]
)
def test_users_disconnect_during_a_stream(
    name: str, view: str, site: dict[str, str], stub: StubProvider, outcomes: list[Outcome]
) -> None:
    with Server(name, site) as server:
        for number in range(10):
            # Longer than any user stays, so that all of them disconnect during the stream.
            params = {"q": f"[stub pace=0.02 words=50000] visit {number}"}
            url = f"{server.url}/{view}/"
            with httpx.stream("GET", url, params=params, timeout=PATIENCE) as answer:
                next(answer.iter_raw())
        wait_for_rows(server, 10)
        server.stop()

    fault = f"visitors of {name} gone in mid-stream"
    found = response_ids()
    outcomes.append(Outcome(fault, 10, 0, len(set(found)), len(found) - len(set(found)), 0))
    assert sorted(found) == sorted(one.response_id for one in stub.journal)
    # The cost of such a stream is unknown, not 0.
    assert set(AIUsageLog.objects.values_list("usage_source", flat=True)) == {"unknown"}


def test_midnight_passes(site: dict[str, str], tmp_path: Path, start: Start, note: Note) -> None:
    """A call counts on the day on which it started, in its row and in the daily row."""
    user = User.objects.create(username="ada")
    client = Client()
    client.force_login(user)
    zone = ZoneInfo("Asia/Tokyo")
    site["DAY_TIMEZONE"] = zone.key
    site["CLOCK"] = str(tmp_path / "clock")
    now = datetime.now(UTC)
    evening = now.astimezone(zone).replace(hour=22, minute=0) - now
    clock.put_forward(tmp_path / "clock", evening)
    with Server("gunicorn gthread", site) as server:
        with Load(server, view="sync", session=str(client.session.session_key)) as load:
            load.warm_up()
            clock.put_forward(tmp_path / "clock", evening + timedelta(hours=2))
            load.wait_for(20)
        server.stop()
    flush(start)

    assert_no_call_lost(note("midnight passes", load))
    days = [log.created_at.astimezone(zone).date() for log in AIUsageLog.objects.all()]
    assert [log.day for log in AIUsageLog.objects.all()] == days
    assert len(set(days)) == 2
    counted = AIUsageTracking.objects.filter(user=user).values_list("date", "total_requests")
    assert dict(counted) == Counter(days)


@pytest.mark.postgres
def test_pods_die_with_their_disks(
    site: dict[str, str], tmp_path: Path, outcomes: list[Outcome], stub: StubProvider
) -> None:
    """`AI_USAGE_WAIT` without a volume: each answered call is in the database."""
    chance = random.Random(20261126)
    site["SITE_WAIT"] = POD_WAIT
    answered: list[str] = []
    visits = 0
    for _ in range(POD_DEATHS):
        with Server("gunicorn gthread", site) as server:
            with Load(server) as load:
                load.warm_up()
                load.wait_for(chance.randrange(10, 30))
                server.kill()
            shutil.rmtree(tmp_path / ".ai_usage_outbox")
        answered += [one.text for one in load.visited if one.status == 200]
        visits += len(load.visited)
    found = response_ids()

    fault = f"a pod and its disk gone, {POD_DEATHS} times"
    doubled = len(found) - len(set(found))
    outcomes.append(
        Outcome(
            fault,
            len(stub.journal),
            len(answered),
            len(set(found)),
            doubled,
            visits - len(answered),
        )
    )
    assert set(answered) <= set(found)
    assert doubled == 0
    assert daily.drift() == {}


def _files_stay_small() -> None:
    """Limit the file size. As on a full disk, writes are truncated and then fail."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (512, resource.RLIM_INFINITY))


def _root_is_refused_too() -> None:
    """Apply directory modes to root as to other users, see capabilities(7)."""
    drop, overriding = 24, 1  # PR_CAPBSET_DROP, CAP_DAC_OVERRIDE
    ctypes.CDLL(None).prctl(drop, overriding, 0, 0, 0)


def _nothing() -> None:
    pass


@pytest.mark.parametrize(
    ("fault", "prepare"),
    [
        ("outbox is not a directory", _nothing),
        ("outbox is read-only", _root_is_refused_too),
        ("disk is full", _files_stay_small),
    ],
)
def test_outbox_cannot_be_written(
    fault: str, prepare: Callable[[], None], site: dict[str, str], tmp_path: Path, note: Note
) -> None:
    if fault == "outbox is not a directory":
        (tmp_path / "file").touch()
        site["OUTBOX"] = str(tmp_path / "file" / "outbox")
    elif fault == "outbox is read-only":
        (tmp_path / ".ai_usage_outbox").mkdir(mode=0o500)
    elif fault == "disk is full":
        # Python would leave truncated modules in __pycache__ for later processes.
        site["PYTHONDONTWRITEBYTECODE"] = "yes"

    with Server("gunicorn gthread", site, prepare) as server:
        with Load(server) as load:
            load.warm_up()
            load.wait_for(100)
        server.stop()
        log = server.log()

    assert_no_call_lost(note(fault, load))
    assert "kept in memory" in log


@pytest.mark.parametrize("fault", ["deleted", "overwritten with noise"])
def test_files_of_the_outbox_are_damaged(
    fault: str,
    site: dict[str, str],
    tmp_path: Path,
    start: Start,
    note: Note,
) -> None:
    chance = random.Random(20261125)
    damaged = 0
    with Server("gunicorn sync", site) as server:
        with Load(server) as load:
            load.warm_up()
            for _ in range(10):
                load.wait_for(10)
                for path in (tmp_path / ".ai_usage_outbox").glob("*.jsonl"):
                    with suppress(FileNotFoundError):
                        if fault == "deleted":
                            path.unlink()
                        else:
                            with path.open("r+b") as file:
                                file.seek(chance.randrange(path.stat().st_size + 1))
                                file.write(chance.randbytes(200))
                        damaged += 1
        server.stop()
    flush(start)

    outcome = note(f"files of the outbox {fault}, {damaged} times", load)
    # Only the calls in these files may be lost. Users notice nothing, and the next
    # call is recorded.
    assert outcome.client_errors == 0
    assert outcome.found >= outcome.served - damaged * 10
    assert daily.drift() == {}
