"""Count lost and duplicate calls when processes are killed and when tables are locked.

python -m benchmarks.faults
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from benchmarks.callers import FORK, Holdups, call, found, ready
from benchmarks.site import empty_tables, web_site
from benchmarks.table import FULL, Row, print_rows, scaled

if TYPE_CHECKING:
    from django.contrib.auth.models import User

LOST = "acknowledged calls lost; duplicated; errors for callers"
HELD_UP = "longest time that a caller was held up: in requests; at the end of blocks"
#: Milliseconds.
TARGET = 50


def measure(part: float = FULL) -> Iterator[Row]:
    """Yield the rows of this benchmark."""
    with web_site() as alice:
        yield killed(alice, scaled(300, part, 3))
        empty_tables()
        seconds = max(0.3, 5 * part)
        with callers(alice) as those:
            time.sleep(min(seconds, 2))
            with tables_locked():
                time.sleep(seconds)
            time.sleep(min(seconds, 2))
        yield from results("tables locked for 5 s", those)


def killed(alice: User, times: int) -> Row:
    """Kill child processes with SIGKILL at random times while they make calls."""
    from usage_tracking import daily

    chance = random.Random(20261125)
    acknowledged: set[str] = set()
    ready()
    for _ in range(times):
        reading, writing = os.pipe()
        child = FORK.Process(target=call_and_report, args=(alice, writing))
        child.start()
        os.close(writing)
        with os.fdopen(reading) as output:
            for _ in range(chance.randrange(1, 20)):
                acknowledged.add(output.readline().strip())
            time.sleep(chance.random() / 50)
            child.kill()
            acknowledged.update(line.strip() for line in output)
        child.join()
    rows = found()
    lost, doubled = len(acknowledged - set(rows)), len(rows) - len(set(rows))
    return Row(
        "kill -9 at any time: acknowledged calls lost; duplicated",
        "0; 0",
        f"{lost}; {doubled} of {len(acknowledged):,} ({times} killed)",
        met=not lost and not doubled and daily.drift() == {},
        invariant=True,
    )


def call_and_report(user: object, writing: int) -> None:
    """Make calls forever, and write the id of each answer to a pipe."""
    while True:
        os.write(writing, f"{call(user)}\n".encode())


@contextmanager
def tables_locked() -> Iterator[None]:
    """Lock both tables exclusively; on SQLite, lock the database against writers."""
    from django.db import connection, transaction

    with transaction.atomic():
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute(
                    "LOCK TABLE ai_usage_log, ai_usage_tracking IN ACCESS EXCLUSIVE MODE"
                )
        yield


class Callers:
    """Threads that make requests or use blocks, without using the database themselves."""

    def __init__(self, user: User) -> None:
        self.acknowledged: list[str] = []
        self.errors: list[Exception] = []
        #: "bare": duration of a plain wait of 50 ms at the same time, for comparison.
        self.ms: dict[str, list[float]] = {"requests": [], "blocks": [], "bare": []}
        self._user, self._holdups = user, Holdups()
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._call_repeatedly, args=(kind,))
            for kind in ("requests", "blocks", "blocks")
        ] + [threading.Thread(target=self._wait_repeatedly)]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop the threads and wait for them."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _call_repeatedly(self, kind: str) -> None:
        from django.test import Client

        client: Any = Client()

        def work() -> None:
            if kind == "requests":
                self.acknowledged.append(client.get("/free/").content.decode())
            else:
                self.acknowledged.append(call(self._user))

        work()  # imports and connects
        while True:  # at least once, however short the fault
            try:
                self.ms[kind].append(self._holdups.of(work))
            except Exception as error:  # noqa: BLE001 -- it is counted
                self.errors.append(error)
            if self._over.is_set():
                return

    def _wait_repeatedly(self) -> None:
        event = threading.Event()
        while True:
            started = time.perf_counter()
            event.wait(TARGET / 1000)
            self.ms["bare"].append((time.perf_counter() - started) * 1000)
            if self._over.is_set():
                return


@contextmanager
def callers(user: User) -> Iterator[Callers]:
    """Run callers in the background."""
    those = Callers(user)
    those.start()
    try:
        yield those
    finally:
        those.stop()


def results(fault: str, those: Callers) -> Iterator[Row]:
    """Yield the rows for a fault: what was lost, and how long callers waited."""
    rows = found()
    lost, doubled = len(set(those.acknowledged) - set(rows)), len(rows) - len(set(rows))
    errors, calls = len(those.errors), len(those.acknowledged)
    yield Row(
        f"{fault}: {LOST}",
        "0; 0; 0",
        f"{lost}; {doubled}; {errors} of {calls:,}",
        met=not lost and not doubled and not errors,
        invariant=True,
    )
    requests, blocks, bare = map(sorted, those.ms.values())
    yield Row(
        f"{fault}: {HELD_UP}",
        f"≤ {TARGET} ms",
        f"{requests[-1]:.1f} ms; {blocks[-1]:.1f} ms "
        f"(medians {middle(requests):.2f}, {middle(blocks):.2f}; "
        f"a plain wait of 50 ms: up to {bare[-1]:.1f})",
        met=max(requests[-1], blocks[-1]) <= TARGET,
    )


def middle(ordered: list[float]) -> float:
    """Return the median of sorted numbers."""
    return ordered[len(ordered) // 2]


if __name__ == "__main__":
    print_rows(measure())
