"""Measure waits between the site's transactions and delivery, and SQLite's "database is locked".

python -m benchmarks.locks
"""

from __future__ import annotations

import fcntl
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

from benchmarks.callers import FORK, call, ready
from benchmarks.site import web_site
from benchmarks.table import FULL, Row, print_rows, scaled

if TYPE_CHECKING:
    from django.contrib.auth.models import User

AT_ONCE = 4


def measure(part: float = FULL) -> Iterator[Row]:
    """Yield the rows of this benchmark."""
    with web_site() as alice:
        from django.db import connection

        if connection.vendor == "sqlite":
            yield from locked(scaled(100, part, 3))
        yield held_transaction(alice, seconds=max(0.2, min(1, 10 * part)))


def held_transaction(alice: User, seconds: float) -> Row:
    """Measure requests while another caller keeps a transaction with recorded calls open."""
    from django.db import connection, transaction
    from django.test import Client

    from usage_tracking import track_ai_usage

    entered, over = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            call(alice)
            track_ai_usage(alice, "chat", 150, 80)
            entered.set()
            over.wait()
        connection.close()

    # Log in before: on SQLite, a login would wait for the transaction even without this app.
    client = Client()
    client.force_login(alice)
    visits(client, 0)
    without = visits(client, seconds)
    with ThreadPoolExecutor(1) as executor:
        holder = executor.submit(hold)
        try:
            entered.wait(10)
            held = visits(client, seconds)
        finally:
            over.set()
        holder.result()
    median, slowest = (pick(held) - pick(without) for pick in (middle, max))
    return Row(
        "a caller keeps a transaction open for 1 s: added wait for requests of the same user",
        "< 50 ms",
        f"median {median:+.1f} ms, slowest {slowest:+.1f} ms "
        f"({len(held)} requests, median {middle(held):.1f} ms)",
        met=max(median, slowest) < 50,
    )


def visits(client: Any, seconds: float) -> list[float]:
    """Make requests with a call for some seconds, and return the ms of each."""
    times: list[float] = []
    until = time.monotonic() + seconds
    while time.monotonic() < until or not times:
        started = time.perf_counter()
        client.get("/free/")
        times.append((time.perf_counter() - started) * 1000)
    return times


def middle(times: list[float]) -> float:
    """Return the median."""
    return sorted(times)[len(times) // 2]


def locked(requests: int) -> Iterator[Row]:
    """Count "database is locked" in views that read, call and write in one transaction.

    In the default mode, the views take turns. Otherwise the site's own writers would lock each
    other, also without this app. A process does not know the transactions of other processes. So
    the row with several processes is not a promise, and the docs recommend IMMEDIATE for them.
    """
    for what, mode, come, promised in (
        ("IMMEDIATE, 4 processes at once", "IMMEDIATE", in_processes, True),
        ("default mode, 4 processes in turns", None, in_processes, False),
        ("default mode, 4 threads in turns", None, in_threads, True),
    ):
        with transaction_mode(mode), tempfile.NamedTemporaryFile() as turns:
            errors = come(requests, None if mode else turns.name)
        yield Row(
            f'read, AI call, write in atomic(): "database is locked" ({what})',
            "0",
            f"{errors} of {AT_ONCE * requests}",
            met=not errors,
            invariant=promised,
        )


@contextmanager
def transaction_mode(mode: str | None) -> Iterator[None]:
    """Set SQLite's transaction mode."""
    from django.db import connection

    connection.close()
    options = connection.settings_dict["OPTIONS"]
    before = options["transaction_mode"]
    options["transaction_mode"] = mode
    yield
    connection.close()
    options["transaction_mode"] = before


def in_processes(requests: int, turns: str | None) -> int:
    """Run the requests in processes, and return the number of errors."""
    ready()
    with FORK.Pool(AT_ONCE) as pool:
        return sum(pool.map(partial(request_repeatedly, turns), [requests] * AT_ONCE, chunksize=1))


def in_threads(requests: int, turns: str | None) -> int:
    """Run the requests in threads, and return the number of errors."""
    with ThreadPoolExecutor(AT_ONCE) as executor:
        return sum(executor.map(partial(request_repeatedly, turns), [requests] * AT_ONCE))


def request_repeatedly(turns: str | None, requests: int) -> int:
    """Return how many requests fail because the database is locked."""
    from django.db import OperationalError, connection
    from django.test import Client

    client, locked = Client(), 0
    for number in range(requests):
        with open(turns, "w") if turns else nullcontext() as turn:
            if turn:
                fcntl.flock(turn, fcntl.LOCK_EX)
            try:
                client.get(f"/read_call_write/?n={number}")
            except OperationalError as error:
                if "locked" not in str(error):
                    raise
                locked += 1
    connection.close()
    return locked


if __name__ == "__main__":
    print_rows(measure())
