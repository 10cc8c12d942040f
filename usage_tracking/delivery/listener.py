"""The interface of delivery for the rest of the package."""

from __future__ import annotations

import asyncio
import threading

from django.db import connections

from .. import outbox, places
from ..attribution.scope import open_units
from ..errors import contained
from . import inline, reads
from .deliverer import Delivered, Deliverer
from .wakeups import LoopWaiter, Waiter
from .worker import Worker

#: Seconds that a test that reads waits for another thread that delivers.
OTHER_READER = 5.0


class Delivery:
    """The delivery of this process: by its thread, or inline on the caller's connection.

    It is inline with `AI_USAGE_OUTBOX = None`, where each wake-up delivers. It is also inline in a
    site's own tests, where reading the usage tables delivers: see `reads`.
    """

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._deliverer = Deliverer()
        self._worker = Worker(self._deliverer)
        #: The transaction of the TestCase class that was last set up.
        self._test_class: object | None = None

    def expect(self) -> None:
        """Start the thread while the provider's answer is read."""
        if not outbox.inline():
            self._worker.start()

    @contained
    def arrived(self, database: str) -> None:
        """See `outbox.Listener.arrived`."""
        if outbox.inline():
            if outbox.in_test():
                reads.watch()
            if not open_units and _delivers_at_wakeups():
                inline.deliver(self._deliverer)
            return
        self._worker.start()
        connection = connections[places.alias_of(database) or places.own()]
        if connection.vendor == "sqlite":
            self._worker.callers.add(connection)

    def nudge(self) -> None:
        """See `outbox.Listener.nudge`."""
        self._worker.nudge()

    def wake(self, *, wait: float = 0.0) -> bool:
        """Wake the thread; return whether it has tried to deliver within `wait` seconds."""
        done = self._wake(threading.Event() if wait else None)
        return done.wait(wait) if isinstance(done, threading.Event) else bool(done)

    async def awake(self, *, wait: float) -> bool:
        """Do the same as `wake` without blocking the event loop."""
        done = self._wake(LoopWaiter())
        if not isinstance(done, LoopWaiter):
            return bool(done)
        await asyncio.wait((done.ended,), timeout=wait)
        return done.ended.done()

    @contained
    def _wake(self, waiter: Waiter | None) -> Waiter | bool:
        if outbox.inline():
            if _delivers_at_wakeups():
                inline.deliver(self._deliverer)
            return True
        return self._worker.wake(waiter)

    def enters_test_class(self) -> bool:
        """See `outbox.Listener.enters_test_class`."""
        entered = reads.test_class(connections[places.own()])
        if entered is None or entered is self._test_class:
            return False
        self._test_class = entered
        return True

    @contained
    def before_read(self) -> None:
        """Deliver in a test before a statement that names the usage tables."""
        inline.deliver(self._deliverer, wait=OTHER_READER)

    def deliver(self) -> Delivered:
        """Deliver now on this thread's connection, including orphans. For commands.

        Raises:
            Exception: Any error of the database; undelivered events stay in the outbox.
        """
        return self._deliverer.deliver_all()

    def stop(self) -> None:
        """Deliver for up to two seconds when the process exits."""
        self._worker.stop()

    def after_fork(self) -> None:
        """Start again in the child of a fork, which has no thread."""
        self._reset()


def _delivers_at_wakeups() -> bool:
    """Return whether an inline wake-up delivers.

    In a test, it delivers only while the test's class is set up, so that each of its tests sees
    those rows. A test runs in a transaction inside that of its class, and its rows are removed at
    its end.
    """
    return not outbox.in_test() or reads.test_class(connections[places.own()]) is not None
