"""Code that runs at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable

from django.db import connections


def run_in_threads(*functions: Callable[[], object]) -> None:
    """Runs them at the same time, each with a connection of its own; raises what they raise."""
    errors: list[Exception] = []
    start = threading.Barrier(len(functions))

    def run(function: Callable[[], object]) -> None:
        try:
            start.wait(10)
            function()
        except Exception as error:  # noqa: BLE001 -- raised in the test's own thread
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
