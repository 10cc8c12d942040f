"""Run code concurrently."""

from __future__ import annotations

import threading
from collections.abc import Callable

from django.db import connection, connections

from tests.support.waiting import PATIENCE, join


def run_in_threads(*functions: Callable[[], object]) -> None:
    """Run functions concurrently, each with its own connection, and raise their first error."""
    errors: list[Exception] = []
    start = threading.Barrier(len(functions))

    def run(function: Callable[[], object]) -> None:
        try:
            start.wait(PATIENCE)
            function()
        except Exception as error:  # noqa: BLE001 -- raised in the test's own thread
            errors.append(error)
        finally:
            connections.close_all()

    # Daemon threads: one that hangs fails its test and must not keep the test run from ending.
    threads = [threading.Thread(target=run, args=(one,), daemon=True) for one in functions]
    for thread in threads:
        thread.start()
    try:
        join(*threads)
    finally:
        # The other threads may hang because they wait for the thread that failed.
        if errors:
            raise errors[0]


def blocks_another() -> bool:
    """Return whether another connection waits for a lock of this thread's (PostgreSQL)."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_locks "
            "WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"
        )
        return bool(cursor.fetchone()[0])
