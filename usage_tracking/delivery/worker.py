"""Moves events from the outbox into the database.

One daemon thread per process delivers over a connection of its own, woken by moments: a request,
a task or an outermost scope has ended, some seconds have passed, the process exits. With
`AI_USAGE_OUTBOX = None` there is no thread, and the same moments deliver on the caller's
connection. In a site's own tests whoever reads the usage tables delivers: see `reads`.
"""

from __future__ import annotations

import asyncio
import contextvars
import queue
import random
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Protocol
from uuid import UUID
from weakref import ref

from django.db import OperationalError, connections, transaction
from django.db import close_old_connections as renew_connections

from .. import conf, outbox, places, pricing, recorder
from ..attribution import scope
from ..attribution.scope import open_units
from ..attribution.users import on_event_loop
from ..errors import contained
from ..events import UsageEvent, utc_now
from ..log import logger, one_line
from ..outbox import limits
from ..redaction import clean_error
from ..related_users import LOCK_TIMEOUT
from ..system.interruptions import from_outside
from . import reads
from .batches import Batch, concerns_all, is_contention
from .writer import PATIENCE

BATCH = 500
#: Seconds after which an event is delivered though no moment came.
TIMER = 8.0
#: Seconds between two deliveries that nobody waits for.
PAUSE = 0.2
#: Seconds between two tries of a delivery that has given way while callers wait.
AGAIN = 0.05
#: Seconds for which an event waits for its unit of work to end.
HOLD = 30.0
IDLE = 30.0
#: Seconds between two looks for what dead processes left: with TIMER a minute at most.
ORPHANS_EVERY = 50.0
EXIT = 2.0
LONGEST_BACK_OFF = 30.0
#: The number of failures in a row from which contention for a lock is worth a warning.
CONTENDED = 3
#: In a test: seconds for which one who reads waits for another thread that delivers.
OTHER_READER = 5.0
#: Seconds between two tries of an event whose user is not there yet, or is locked.
RETRY_MISSING_USER = 5.0


#: The database and the schema of an event.
_At = tuple[str, str]
OWN: _At = ("", "")


class Elsewhere(Exception):
    """The place of an event is not there, or not there any more."""


class Away(Exception):
    """The place of an event failed a moment ago."""


class Waiter(Protocol):
    """A caller that waits for the end of a delivery."""

    def set(self) -> None:
        """The delivery has ended. Called in the thread of delivery."""


class _Future:
    """A waiter on the event loop that runs in this thread."""

    __slots__ = ("_loop", "ended")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = self._loop.create_future()

    def set(self) -> None:
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)


def _by_place(events: Iterable[UsageEvent]) -> dict[_At, list[UsageEvent]]:
    found: dict[_At, list[UsageEvent]] = {}
    for event in events:
        found.setdefault((event.database, event.schema), []).append(event)
    return found


@dataclass(slots=True)
class Delivered:
    """What one delivery did."""

    #: Rows written.
    written: int = 0
    #: Events set aside because the database refuses them.
    buried: int = 0
    #: Events whose user is not in the database yet, or is locked.
    put_off: int = 0
    #: Events of tenants whose database or schema is away.
    left: int = 0
    #: Segments taken over from dead processes.
    adopted: int = 0


class Delivery:
    """The deliverer of this process."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._one_at_a_time = threading.Lock()
        # Reentrant: a garbage collection inside may finish an abandoned stream, which puts.
        self._start_lock = threading.RLock()
        self._thread: threading.Thread | None = None
        # Reentrant, unlike an Event: a garbage collection may put while a put wakes the thread.
        self._moments: queue.SimpleQueue[Waiter | None] = queue.SimpleQueue()
        self._failures = 0
        self._not_before = 0.0
        self._warned = False
        self._gave_way = False
        self._put_off: dict[UUID, float] = {}
        self._next_orphans = 0.0
        self._has_tenants = False
        #: By place: how often it has failed in a row, and until when it is not asked.
        self._away: dict[_At, tuple[int, float]] = {}
        #: The transaction of the TestCase class that was set up last.
        self._test_class: object | None = None
        self._stopping = False
        #: Connections whose threads have put events: on SQLite we wait for their transactions.
        #: A copy for each that is new, for a set that grows cannot be walked by another thread.
        self._callers: frozenset[ref[Any]] = frozenset()

    def alias(self) -> str:
        """The database of calls that belong to no tenant."""
        return places.own()

    def expect(self) -> None:
        """Starts the thread while the answer of the provider is read."""
        if not outbox.inline():
            self._start()

    @contained
    def arrived(self, database: str) -> None:
        if outbox.inline():
            if outbox.in_test():
                reads.watch()
            if not open_units and self._delivers_at_moments():
                self.deliver_inline()
            return
        self._start()
        connection = connections[places.alias_of(database) or self.alias()]
        if connection.vendor == "sqlite" and (caller := ref(connection)) not in self._callers:
            with self._start_lock:
                self._callers = frozenset((*filter(_is_alive, self._callers), caller))

    def wake(self) -> None:
        """Wakes the thread if there is one. Safe in a finalizer."""
        if self._thread is not None:
            self._moments.put(None)

    def moment(self, *, wait: float = 0.0) -> bool:
        """Wake the thread; return whether it has tried to deliver within `wait` seconds."""
        done = self._wake_for(threading.Event() if wait else None)
        return done.wait(wait) if isinstance(done, threading.Event) else bool(done)

    async def amoment(self, *, wait: float) -> bool:
        """The same on an event loop, which goes on meanwhile."""
        done = self._wake_for(_Future())
        if not isinstance(done, _Future):
            return bool(done)
        await asyncio.wait((done.ended,), timeout=wait)
        return done.ended.done()

    @contained
    def _wake_for(self, waiter: Waiter | None) -> Waiter | bool:
        """Return `waiter`, which is told when the thread has delivered; else whether it has."""
        if outbox.inline():
            if self._delivers_at_moments():
                self.deliver_inline()
            return True
        if not self._has_work() and not self._finds_orphans():
            return True
        self._start()
        if waiter is not None and not self._is_worth_waiting(waiter):
            waiter = None
        self._moments.put(waiter)
        return waiter or False

    def _is_worth_waiting(self, waiter: Waiter) -> bool:
        if self._failures or self._thread is None:
            return False
        if isinstance(waiter, threading.Event) and on_event_loop():
            return False  # it would stop
        own = connections[self.alias()]
        in_transaction = own.connection is not None and (own.in_atomic_block or not own.autocommit)
        if own.vendor == "sqlite" and in_transaction:
            return False  # one writer, which is the caller itself until that ends
        return bool(conf.wait()) or not self._must_wait_for_callers()

    def enters_test_class(self) -> bool:
        entered = reads.test_class(connections[self.alias()])
        if entered is None or entered is self._test_class:
            return False
        self._test_class = entered
        return True

    def _delivers_at_moments(self) -> bool:
        """Inline: not in a test, but while its class is set up, whose rows each of its tests sees.

        A test begins with a transaction within that of its class, and what it writes is gone after.
        """
        return not outbox.in_test() or reads.test_class(connections[self.alias()]) is not None

    @staticmethod
    def _has_work() -> bool:
        return recorder.has_work() or not outbox.get().is_empty()

    @contained
    def before_read(self) -> None:
        """In a test: a statement that names the usage tables is about to run."""
        self.deliver_inline(wait=OTHER_READER)

    def deliver_inline(self, *, wait: float = 0.0) -> None:
        """Delivers on the caller's connection; on an event loop the next moment does it.

        Waits up to `wait` seconds for another thread that is delivering.
        """
        if on_event_loop():
            return
        recorder.catch_up()
        box = outbox.get()
        connection = connections[self.alias()]
        of_users = connections[places.users_of(self.alias())]
        ours = {connection, of_users}
        if not self._has_work() or any(one.needs_rollback for one in ours):
            return
        if of_users is not connection and reads.in_transaction(of_users):
            return  # its end decides which users there are, and would not undo our rows
        delivered: list[UsageEvent] = []
        with ExitStack() as stack:
            if outbox.in_test():
                for one in ours:
                    stack.enter_context(reads.hidden(one))
            self._deliver(keep=delivered, wait=wait)
        for (database, _), events in _by_place(delivered).items():
            at = connections[places.alias_of(database) or self.alias()]
            if reads.in_transaction(at):
                # Written inside the caller's own transaction, so that it can be seen at once. If
                # that is rolled back, what delivers next writes the rows again.
                box.doubt(events, _loss(at))

    def deliver(self) -> Delivered:
        """Delivers now, on this thread's connection, orphans included. For commands.

        Raises what the database raises; what was not delivered stays in the outbox.
        """
        result = Delivered()
        while True:
            adopted, before = outbox.get().adopt_orphans(), replace(result)
            self._deliver_past_others(result)
            # Nothing changes if all that waits belongs to tenants whose database is away.
            is_over = not adopted or result == before
            result.adopted += adopted
            if is_over:
                return result

    def _deliver_past_others(self, result: Delivered) -> None:
        """Deliver what waits; try again after contention, as the thread does."""
        for tries in range(1, CONTENDED):
            try:
                self._deliver(result)
            except OperationalError as error:
                if not is_contention(error):
                    raise
                time.sleep(_delay(tries))
            else:
                return
        self._deliver(result)

    def stop(self) -> None:
        """Delivers what can be delivered in two seconds, at the exit of the process."""
        recorder.catch_up()  # which may start the thread
        thread = self._thread
        if thread is None or not thread.is_alive():
            return
        self._stopping = True
        done = threading.Event()
        self._moments.put(done)
        done.wait(EXIT)

    def after_fork(self) -> None:
        """In the child: the thread did not come along."""
        self._reset()

    def _start(self) -> None:
        if self._thread is not None and self._thread.is_alive():
            return
        if sys.is_finalizing():
            return  # a thread would never come up; the event is for another process
        with self._start_lock:
            if self._thread is not None and (self._thread.ident is None or self._thread.is_alive()):
                return
            thread = threading.Thread(target=self._run, name="ai_usage_delivery", daemon=True)
            self._thread = thread
            try:
                # In an empty context: it must not inherit the scope of whoever came first.
                contextvars.Context().run(thread.start)
            except RuntimeError as error:
                # The interpreter shuts down, or the machine has no thread left. The events lie in
                # the outbox, for another process.
                self._thread = None
                logger.warning("[TRACK_WARNING] No thread for delivery: %s", error)

    def _finds_orphans(self) -> bool:
        """Whether dead processes left events, asked of a process that makes no AI call itself.

        Looked at once a minute; it costs no thread until there is something to do.
        """
        now = time.monotonic()
        if now < self._next_orphans or (self._thread is not None and self._thread.is_alive()):
            return False
        found = outbox.get().has_orphans()
        self._next_orphans = 0.0 if found else now + ORPHANS_EVERY
        return found

    def _run(self) -> None:
        # Imports nothing, here or below: SDKs of the site look into `sys.modules` for HTTP
        # libraries, and would find half of what another thread is importing.
        try:
            pricing.warm_up()
        except Exception as error:  # noqa: BLE001 -- prices may fail, delivery may not
            logger.warning("[TRACK_WARNING] No prices: %s", error)
        try:
            self._leave_pools()
        except Exception as error:  # noqa: BLE001 -- the first delivery says it better
            logger.debug("connections of delivery: %s", error)
        last = idle_since = time.monotonic()
        waiting: list[Waiter] = []
        while True:
            waiting += self._wait_for_moment(last, *((0.0, AGAIN) if waiting else (PAUSE, TIMER)))
            try:
                if not self._deliver_in_thread():
                    if time.monotonic() - idle_since > IDLE:
                        connections.close_all()
                        idle_since = time.monotonic()
                else:
                    idle_since = time.monotonic()
            except BaseException as error:  # noqa: BLE001 -- the thread must live
                with suppress(Exception):  # a log handler of the site's may fail
                    self._back_off(error)
            last = time.monotonic()
            if self._gave_way and not self._stopping:
                continue  # those who wait do so for somebody else's transaction
            for waiter in waiting:
                waiter.set()
            # One that came while another was served is served too: nobody may wait for a thread
            # that has gone.
            if self._stopping and waiting and self._moments.empty():
                connections.close_all()
                return
            waiting = []

    def _leave_pools(self) -> None:
        """Give this thread connections outside of Django's pools, which a fork would share.

        With AI_USAGE_WAIT a connection lasts, because callers wait while one is made. It is tested
        before each use: the process may have been frozen meanwhile.
        """
        waits = bool(conf.wait())
        lasting: dict[str, Any] = {"CONN_MAX_AGE": None}
        if waits:
            lasting["CONN_HEALTH_CHECKS"] = True
        for alias, settings in connections.settings.items():
            options = settings.get("OPTIONS") or {}
            is_ours = alias in (places.own(), places.own_users())
            if options.get("pool") or (
                waits and is_ours and connections[alias].vendor == "postgresql"
            ):
                kind = type(connections[alias])
                options = {name: value for name, value in options.items() if name != "pool"}
                connections[alias] = kind(settings | {"OPTIONS": options, **lasting}, alias)

    def _wait_for_moment(self, last: float, pause: float, timer: float) -> list[Waiter]:
        """Block until the next moment, or for `timer` seconds; return the callers that wait.

        Unless one waits, the moments of a busy site gather for `pause` seconds.
        """
        deadline = last + timer
        while True:
            try:
                waiter = self._moments.get(timeout=max(deadline - time.monotonic(), 0.001))
            except queue.Empty:
                return []
            if waiter is not None:
                return [waiter, *self._others_waiting()]
            now = time.monotonic()
            deadline = min(deadline, max(last + pause, now))
            if now >= deadline:
                return []

    def _others_waiting(self) -> Iterator[Waiter]:
        with suppress(queue.Empty):
            while True:
                waiter = self._moments.get_nowait()
                if waiter is not None:
                    yield waiter

    def _deliver_in_thread(self) -> bool:
        """One cycle; says whether there was anything to do."""
        self._gave_way = False
        box = outbox.get()
        now = time.monotonic()
        recorder.catch_up()
        if outbox.inline() or (now < self._not_before and not self._stopping):
            return False
        if now >= self._next_orphans:
            full = box.adopt_orphans() >= limits.ADOPTED
            self._next_orphans = now + ORPHANS_EVERY
            if full:  # there may be more
                self._next_orphans = now
                self._moments.put(None)
        if not self._has_work():
            return False
        renew_connections()
        try:
            gate = scope.gate if self._is_deferred_sqlite() else None
            if gate is not None:
                self._give_way()
            finished = self._deliver(gate=gate)
        finally:
            renew_connections()
        if not finished:
            self._gave_way = True
            return False
        if self._failures:
            logger.info("[TRACK_DELIVERY] Delivery works again after %d tries", self._failures)
        self._failures, self._not_before, self._warned = 0, 0.0, False
        return True

    def _must_wait_for_callers(self) -> bool:
        """Whether a second writer could now make the site's own fail with "database is locked"."""
        if not self._is_deferred_sqlite():
            return False
        # One that is open for long (server-sent events, a bot) must not stop the others for good.
        now = time.monotonic()
        return any(now - unit.began < HOLD for unit in list(open_units.values())) or any(
            caller.in_atomic_block for at in self._callers if (caller := at()) is not None
        )

    def _is_deferred_sqlite(self) -> bool:
        """Whether a transaction fails if somebody writes between its first read and first write.

        So it is with SQLite's default; with `transaction_mode: IMMEDIATE` one waits for the other.
        """
        connection = connections[self.alias()]
        if connection.vendor != "sqlite":
            return False
        mode = connection.settings_dict.get("OPTIONS", {}).get("transaction_mode") or ""
        return mode.upper() not in {"IMMEDIATE", "EXCLUSIVE"}

    def _give_way(self) -> None:
        """Shortens how long our SQLite connection waits for a lock: units wait for us meanwhile."""
        with connections[self.alias()].cursor() as cursor:
            cursor.execute(f"PRAGMA busy_timeout = {outbox.WAIT * 1000:.0f}")

    def _back_off(self, error: BaseException) -> None:
        self._failures += 1
        delay = _delay(self._failures)
        self._not_before = time.monotonic() + delay
        if self._failures >= _first_reported(error):
            logger.warning(
                "[TRACK_WARNING] Delivery failed (%s: %s), next try in %.1f s; events wait",
                type(error).__name__,
                one_line(clean_error(str(error).strip().partition("\n")[0])),
                delay,
                exc_info=not self._warned,
            )
            self._warned = True
        for connection in connections.all(initialized_only=True):
            # A broken connection is only noticed when it is used: begin with a new one.
            try:
                connection.close()
            except Exception as closing:  # noqa: BLE001
                logger.debug("closing after a failure failed too: %s", closing)

    def _deliver(
        self,
        result: Delivered | None = None,
        *,
        keep: list[UsageEvent] | None = None,
        wait: float = 0.0,
        gate: threading.Lock | None = None,
    ) -> bool:
        """Delivers what waits; False if it gave way to somebody.

        `gate` is held for each batch, and asked for anew for the next.
        """
        result = result or Delivered()
        box = outbox.get()
        using = self.alias()
        inline = keep is not None
        # Inline another thread may be delivering, or this one, interrupted by a garbage collection.
        # To wait could be for ever: its rows may wait for our own transaction.
        if not self._one_at_a_time.acquire(timeout=wait if inline else -1):
            return False
        try:
            with reads.unwatched(connections[using]):
                self._resolve_users(places.users_of(using), patient=not inline)
            for batch in box.batches(BATCH, self._hold):
                if not self._store_batch(batch, result, gate):
                    return False
                if keep is not None:
                    keep.extend(batch)
            return True
        finally:
            self._one_at_a_time.release()

    def _resolve_users(self, using: str, *, patient: bool) -> None:
        """Resolves the users of calls; a table that somebody has locked holds nobody up."""
        if not recorder.has_unresolved():
            return
        if not patient or connections[using].vendor != "postgresql":
            recorder.resolve_users()
            return
        with transaction.atomic(using=using):
            with connections[using].cursor() as cursor:
                cursor.execute("SELECT set_config('lock_timeout', %s, true)", [LOCK_TIMEOUT])
            recorder.resolve_users()

    def _hold(self, event: UsageEvent) -> bool:
        """Whether more may still be learned of an event, or it was put off just now."""
        # Before the pending users: a unit hands these over, and only then is it closed.
        if event.unit and event.unit in open_units and not self._reads_from_outside(event.unit):
            age = (utc_now() - event.created_at).total_seconds() - event.response_time_ms / 1000
            if age < HOLD:
                return True
        if recorder.is_unresolved(event):
            return True
        tried = self._put_off.get(event.id)
        return tried is not None and time.monotonic() - tried < RETRY_MISSING_USER

    def _reads_from_outside(self, unit: str) -> bool:
        """In a test: whether the reader is not in that unit itself, whose end it cannot await."""
        current = scope.current()
        return outbox.in_test() and (current is None or current.unit.id != unit)

    def _store_batch(
        self, batch: list[UsageEvent], result: Delivered, gate: threading.Lock | None
    ) -> bool:
        """Store each event at its place; False if that has to wait for callers.

        Raises what a database raises that is the site's only one, or refuses every event. The place
        of a tenant that fails holds up no other.
        """
        done: list[tuple[list[UsageEvent], Batch]] = []
        failed: list[tuple[_At, list[UsageEvent], Exception]] = []
        by_place = _by_place(batch)
        self._has_tenants = self._has_tenants or any(place != OWN for place in by_place)
        for place, events in by_place.items():
            try:
                with gate or nullcontext():
                    if gate and self._must_wait_for_callers() and not self._stopping:
                        return False
                    done.append((events, self._store_at(place, events)))
            except Exception as error:
                is_of_site = not place[0] and concerns_all(error)
                may_leave = self._has_tenants or places.may_have_tenants()
                if from_outside(error) or is_of_site or not may_leave:
                    raise
                failed.append((place, events, error))
        # Only now, for what was raised until here is tried again with the whole batch.
        for events, stored in done:
            self._settle(events, stored, result)
        for place, events, reason in failed:
            self._leave(place, events, reason, result)
        return True

    def _store_at(self, place: _At, events: list[UsageEvent]) -> Batch:
        database, schema = place
        using = places.alias_of(database)
        if using is None:
            raise Elsewhere(f"The database {database} is not in DATABASES.")
        if time.monotonic() < self._away.get(place, (0, 0.0))[1]:
            raise Away
        connection = connections[using]
        if not outbox.inline():
            for alias in {using, places.users_of(using)}:
                _commit_as_usual(connections[alias])
        batch = Batch(using, patience=timedelta.min if outbox.inline() else PATIENCE)
        with reads.unwatched(connection), places.active(using, schema):
            if places.has_schemas(using) and not places.has_tables(using, schema):
                raise Elsewhere(f"The schema {schema or 'public'!r} has no usage tables.")
            batch.store(events)
        self._away.pop(place, None)
        return batch

    def _settle(self, events: list[UsageEvent], batch: Batch, result: Delivered) -> None:
        for event, reason in batch.refused:
            self._remember_put_off([event], ())
            outbox.get().bury(event, reason)
        result.written += batch.written
        result.buried += len(batch.refused)
        result.put_off += len(batch.put_off)
        self._remember_put_off(events, batch.put_off)
        # Before the batch is taken for done.
        outbox.get().defer(batch.put_off)

    def _leave(
        self, place: _At, events: list[UsageEvent], error: Exception, result: Delivered
    ) -> None:
        """Leave a tenant's events to a later try; dead-letter those that are without a place."""
        box = outbox.get()
        if isinstance(error, Elsewhere):
            for event in events:
                if utc_now() - event.created_at > PATIENCE:
                    result.buried += 1
                    box.bury(event, str(error))
                else:
                    result.left += 1
                    box.leave([event])
            return
        result.left += len(events)
        box.leave(events)
        if isinstance(error, Away):
            return
        failures = self._away.get(place, (0, 0.0))[0] + 1
        delay = _delay(failures)
        self._away[place] = failures, time.monotonic() + delay
        if failures >= _first_reported(error):
            logger.warning(
                "[TRACK_WARNING] Delivery to %s failed (%s), next try in %.1f s; its events wait",
                one_line(" ".join(filter(None, place)) or self.alias()),
                one_line(clean_error(f"{type(error).__name__}: {error}".partition("\n")[0])),
                delay,
            )
        if not outbox.inline():
            with suppress(Exception):  # the next try begins with a new connection
                connections[places.alias_of(place[0]) or self.alias()].close()

    def _remember_put_off(self, batch: Iterable[UsageEvent], put_off: Iterable[UsageEvent]) -> None:
        if self._put_off:
            for event in batch:
                self._put_off.pop(event.id, None)
        now = time.monotonic()
        for event in put_off:
            self._put_off[event.id] = now


def _delay(failures: int) -> float:
    """Seconds until the next try after so many failures in a row."""
    delay: float = min(LONGEST_BACK_OFF, 0.25 * 2 ** min(failures, 10))
    return delay * random.uniform(0.5, 1.0)  # noqa: S311 -- jitter, no secret


def _first_reported(error: BaseException) -> int:
    """Return which failure in a row is worth a warning; contention mostly ends by itself."""
    return CONTENDED if is_contention(error) else 1


def _is_alive(reference: ref[Any]) -> bool:
    return reference() is not None


def _commit_as_usual(connection: Any) -> None:
    """Has a connection commit what delivery writes, on a site with `AUTOCOMMIT = False`."""
    if connection.settings_dict["AUTOCOMMIT"] or connection.in_atomic_block:
        return
    if not connection.get_autocommit():
        connection.commit()  # of what was read before
        connection.set_autocommit(True)


def _loss(connection: Any) -> Callable[[], bool]:
    """Says, when asked later, whether the rows may be lost that were written in a transaction.

    On a site nobody tells how its block has ended: they are written again, and ids absorb it.
    """
    if not connection.atomic_blocks:
        return lambda: reads.autocommits(connection)
    if outbox.in_test():
        return reads.uncommitted(connection)
    block = connection.atomic_blocks[-1]
    return lambda: block not in connection.atomic_blocks
