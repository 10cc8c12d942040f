"""Wake-ups of the delivery thread, and callers that wait for it."""

from __future__ import annotations

import asyncio
import queue
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Protocol


class Waiter(Protocol):
    """A caller that waits for the end of a delivery."""

    def set(self) -> None:
        """End the wait: the delivery has ended. Called in the delivery thread."""


class LoopWaiter:
    """A waiter on the event loop that runs in this thread."""

    __slots__ = ("_loop", "ended")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = self._loop.create_future()

    def set(self) -> None:
        """See `Waiter.set`."""
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)


class Wakeups:
    """The wake-ups of a thread, some with a caller that waits."""

    __slots__ = ("_queue",)

    def __init__(self) -> None:
        # Reentrant, unlike an Event: a garbage collection may put an event while a put wakes the
        # thread.
        self._queue: queue.SimpleQueue[Waiter | None] = queue.SimpleQueue()

    def add(self, waiter: Waiter | None) -> None:
        """Wake the thread, with or without a caller that waits. Safe in a finalizer."""
        self._queue.put(waiter)

    def are_none(self) -> bool:
        """Return whether the thread has seen every wake-up."""
        return self._queue.empty()

    def wait(self, last: float, pause: float, timer: float) -> list[Waiter]:
        """Block until the next wake-up, or until `timer` seconds after `last`.

        Return the callers that wait. If none waits, wake-ups are collected until `pause` seconds
        after `last`.
        """
        deadline = last + timer
        while True:
            try:
                waiter = self._queue.get(timeout=max(deadline - time.monotonic(), 0.001))
            except queue.Empty:
                return []
            if waiter is not None:
                return [waiter, *self._others()]
            now = time.monotonic()
            deadline = min(deadline, max(last + pause, now))
            if now >= deadline:
                return []

    def _others(self) -> Iterator[Waiter]:
        with suppress(queue.Empty):
            while True:
                waiter = self._queue.get_nowait()
                if waiter is not None:
                    yield waiter
