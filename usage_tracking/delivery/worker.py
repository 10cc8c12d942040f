"""The delivery thread: a daemon thread that decides when to deliver.

The thread delivers on its own connection. It wakes when a request, a task or an outermost block has
ended, every few seconds, and when the process exits.
"""

from __future__ import annotations

import contextvars
import sys
import threading
import time
from contextlib import suppress
from typing import Any

from django.db import close_old_connections as renew_connections
from django.db import connections

from .. import conf, outbox, places, pricing, recorder
from ..attribution import scope
from ..attribution.users import on_event_loop
from ..log import logger, one_line
from ..outbox import limits
from ..redaction import clean_error
from . import deliverer, sqlite
from .batches import remedy
from .deliverer import Deliverer, has_work
from .wakeups import Waiter, Wakeups

#: Seconds after which an event is delivered even if nothing woke the thread.
TIMER = 8.0
#: Seconds between two deliveries for which no caller waits.
PAUSE = 0.2
#: Seconds until the next try of a delivery that gave way while callers wait.
AGAIN = 0.05
#: Seconds without work after which the thread closes its connections.
IDLE = 30.0
#: Seconds between two searches for events of dead processes; with TIMER, at most a minute.
ORPHANS_EVERY = 50.0
#: Seconds that the exit of the process waits for the last delivery.
EXIT = 2.0


class Worker:
    """The thread of this process that delivers. It starts with the first AI call."""

    def __init__(self, events: Deliverer) -> None:
        self._deliverer = events
        self.callers = sqlite.Callers()
        # Reentrant: a garbage collection inside may finish an abandoned stream, which puts.
        self._start_lock = threading.RLock()
        self._thread: threading.Thread | None = None
        self._wakeups = Wakeups()
        self._failures = 0
        self._not_before = 0.0
        self._has_warned = False
        self._gave_way = False
        self._next_orphans = 0.0
        self._is_stopping = False

    def start(self) -> None:
        """Start the thread unless it runs."""
        if self._thread is not None and self._thread.is_alive():
            return
        if sys.is_finalizing():
            return  # a thread would never start; another process delivers the event
        with self._start_lock:
            if self._thread is not None and (self._thread.ident is None or self._thread.is_alive()):
                return
            thread = threading.Thread(target=self._run, name="ai_usage_delivery", daemon=True)
            self._thread = thread
            try:
                # In an empty context: it must not inherit the scope of the first caller.
                contextvars.Context().run(thread.start)
            except RuntimeError as error:
                # The interpreter shuts down, or the machine has no thread left. Another process
                # delivers the events in the outbox.
                self._thread = None
                logger.warning("[TRACK_WARNING] No thread for delivery: %s", error)

    def nudge(self) -> None:
        """Wake the thread if it runs. Safe in a finalizer."""
        if self._thread is not None:
            self._wakeups.add(None)

    def wake(self, waiter: Waiter | None) -> Waiter | bool:
        """Wake the thread if there is work.

        Return `waiter` if it will be set when the thread has delivered; otherwise True if there was
        no work, else False.
        """
        if not has_work() and not self._finds_orphans():
            return True
        self.start()
        if waiter is not None and not self._is_worth_waiting(waiter):
            waiter = None
        self._wakeups.add(waiter)
        return waiter or False

    def stop(self) -> None:
        """Deliver for up to two seconds when the process exits."""
        recorder.catch_up()  # which may start the thread
        thread = self._thread
        if thread is None or not thread.is_alive():
            return
        self._is_stopping = True
        self._wakeups.add(threading.Event())
        # Not for the event: the thread of an earlier stop may end without another look at it.
        thread.join(EXIT)

    def _is_worth_waiting(self, waiter: Waiter) -> bool:
        if self._failures or self._thread is None:
            return False
        if isinstance(waiter, threading.Event) and on_event_loop():
            return False  # waiting would block the loop
        own = connections[places.own()]
        in_transaction = own.connection is not None and (own.in_atomic_block or not own.autocommit)
        if own.vendor == "sqlite" and in_transaction:
            return False  # SQLite has one writer, which is the caller until its transaction ends
        return bool(conf.wait()) or not (sqlite.is_deferred(own) and self.callers.may_fail())

    def _finds_orphans(self) -> bool:
        """Return whether dead processes left events, in a process that makes no AI call itself.

        It searches once a minute, and starts no thread until there is something to do.
        """
        now = time.monotonic()
        if now < self._next_orphans or (self._thread is not None and self._thread.is_alive()):
            return False
        found = outbox.get().has_orphans()
        self._next_orphans = 0.0 if found else now + ORPHANS_EVERY
        return found

    def _run(self) -> None:
        # Import nothing, here or below: the site's SDKs look for HTTP libraries in `sys.modules`,
        # and would find one that this thread has only half imported.
        try:
            pricing.warm_up()
        except Exception as error:  # noqa: BLE001 -- delivery works without prices
            logger.warning("[TRACK_WARNING] No prices: %s", error)
        try:
            _leave_pools()
        except Exception as error:  # noqa: BLE001 -- the first delivery reports it
            logger.debug("connections of delivery: %s", error)
        last = idle_since = time.monotonic()
        waiting: list[Waiter] = []
        while True:
            waiting += self._wakeups.wait(last, *((0.0, AGAIN) if waiting else (PAUSE, TIMER)))
            try:
                if not self._cycle():
                    if time.monotonic() - idle_since > IDLE:
                        connections.close_all()
                        idle_since = time.monotonic()
                else:
                    idle_since = time.monotonic()
            except BaseException as error:  # noqa: BLE001 -- the thread must live
                with suppress(Exception):  # the site's log handler may fail
                    self._back_off(error)
            last = time.monotonic()
            if self._gave_way and not self._is_stopping:
                continue  # the waiters wait for another transaction
            for waiter in waiting:
                waiter.set()
            # A caller that came while another was served is served too: no caller may wait for a
            # thread that has ended.
            if self._is_stopping and waiting and self._wakeups.are_none():
                connections.close_all()
                return
            waiting = []

    def _cycle(self) -> bool:
        """Deliver once; return whether there was anything to do."""
        self._gave_way = False
        now = time.monotonic()
        recorder.catch_up()
        if outbox.inline() or (now < self._not_before and not self._is_stopping):
            return False
        if now >= self._next_orphans:
            self._adopt_orphans(now)
        if not has_work():
            return False
        renew_connections()
        try:
            is_done = self._deliverer.deliver(turn=self._turn())
        finally:
            renew_connections()
        if not is_done:
            self._gave_way = True
            return False
        if self._failures:
            logger.info("[TRACK_DELIVERY] Delivery works again after %d tries", self._failures)
        self._failures, self._not_before, self._has_warned = 0, 0.0, False
        return True

    def _adopt_orphans(self, now: float) -> None:
        if outbox.get().adopt_orphans() < limits.ADOPTED:
            self._next_orphans = now + ORPHANS_EVERY
        else:  # there may be more
            self._next_orphans = now
            self._wakeups.add(None)

    def _turn(self) -> sqlite.Turn | None:
        connection = connections[places.own()]
        if not sqlite.is_deferred(connection):
            return None
        sqlite.give_way(connection)
        return sqlite.Turn(scope.gate, lambda: self.callers.may_fail() and not self._is_stopping)

    def _back_off(self, error: BaseException) -> None:
        self._failures += 1
        pause = deliverer.delay(self._failures)
        self._not_before = time.monotonic() + pause
        if self._failures >= deliverer.first_reported(error):
            logger.warning(
                "[TRACK_WARNING] Delivery failed (%s: %s%s), next try in %.1f s; events wait",
                type(error).__name__,
                one_line(clean_error(str(error).strip().partition("\n")[0])),
                f"; {fix}" if (fix := remedy(error)) else "",
                pause,
                exc_info=not self._has_warned,
            )
            self._has_warned = True
        for connection in connections.all(initialized_only=True):
            # A broken connection is noticed only when it is used: begin with a new one.
            try:
                connection.close()
            except Exception as closing:  # noqa: BLE001
                logger.debug("closing after a failure failed too: %s", closing)


def _leave_pools() -> None:
    """Give this thread connections outside of Django's pools, which a fork would share.

    With AI_USAGE_WAIT, a connection stays open, because callers would wait for a new one. It is
    tested before each use: the process may have been frozen meanwhile.
    """
    waits = bool(conf.wait())
    lasting: dict[str, Any] = {"CONN_MAX_AGE": None}
    if waits:
        lasting["CONN_HEALTH_CHECKS"] = True
    for alias, settings in connections.settings.items():
        options = settings.get("OPTIONS") or {}
        is_ours = alias in (places.own(), places.own_users())
        if options.get("pool") or (waits and is_ours and connections[alias].vendor == "postgresql"):
            kind = type(connections[alias])
            options = {name: value for name, value in options.items() if name != "pool"}
            connections[alias] = kind(settings | {"OPTIONS": options, **lasting}, alias)
