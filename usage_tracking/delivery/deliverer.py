"""Take batches from the outbox, and store each event at its place."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterable
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import OperationalError, connections, transaction

from .. import outbox, places, recorder
from ..attribution import scope
from ..attribution.scope import open_units
from ..events import UsageEvent, utc_now
from ..log import logger, one_line
from ..recorder import pending_users
from ..redaction import clean_error
from ..related_users import LOCK_TIMEOUT
from ..system.interruptions import from_outside
from . import reads, sqlite
from .batches import Batch, concerns_all, is_contention
from .sqlite import Turn
from .writer import PATIENCE

#: Events in one batch.
BATCH = 500
#: Seconds between two tries of an event whose user is not in the database yet, or is locked.
RETRY_MISSING_USER = 5.0
#: Maximum number of seconds between two tries after a failed delivery.
LONGEST_BACK_OFF = 30.0
#: Number of failures in a row from which contention for a lock is logged as a warning.
CONTENDED = 3

#: The place of an event: its database and its schema.
_At = tuple[str, str]
_OWN: _At = ("", "")


class PlaceNotFoundError(Exception):
    """The place of an event does not exist, or no longer exists."""


class PlaceAwayError(Exception):
    """The place of an event failed recently, and its back-off is not over."""


@dataclass(slots=True)
class Delivered:
    """The result of one delivery, in numbers of events."""

    #: Rows written.
    written: int = 0
    #: Dead-lettered because the database refuses them.
    dead_lettered: int = 0
    #: Deferred because their user is not in the database yet, or is locked.
    deferred: int = 0
    #: Set aside because the database or schema of their tenant is away.
    set_aside: int = 0
    #: Segments taken over from dead processes.
    adopted: int = 0


class Deliverer:
    """Delivers the events of the outbox, in the thread that calls it, one delivery at a time."""

    def __init__(self) -> None:
        self._one_at_a_time = threading.Lock()
        #: By id of an event that waits for its user: when it was last tried.
        self._tried: dict[UUID, float] = {}
        self._has_tenants = False
        #: By place: the number of failures in a row, and the time until which it is not tried.
        self._away: dict[_At, tuple[int, float]] = {}

    def deliver(
        self,
        result: Delivered | None = None,
        *,
        stored: list[UsageEvent] | None = None,
        wait: float = 0.0,
        turn: Turn | None = None,
    ) -> bool:
        """Deliver the undelivered events; return False if this delivery gave way to another writer.

        Args:
            result: The numbers of this delivery are added to it.
            stored: Receives the stored events. If it is given, the delivery is inline: it runs on
                the connection of a caller.
            wait: Seconds that an inline delivery waits for another one that is running.
            turn: When the delivery may write, on SQLite.

        Raises:
            Exception: The database refuses every event; the events stay in the outbox.
        """
        result = result or Delivered()
        using = places.own()
        is_inline = stored is not None
        # If this delivery is inline, another thread may be delivering, or this thread, interrupted
        # by a garbage collection. Waiting could last forever: those rows may wait for our own
        # transaction.
        if not self._one_at_a_time.acquire(timeout=wait if is_inline else -1):
            return False
        try:
            with reads.unwatched(connections[using]):
                _resolve_users(places.users_of(using), patient=not is_inline)
            for batch in outbox.get().batches(BATCH, self._defers):
                if not self._store_batch(batch, result, turn):
                    return False
                if stored is not None:
                    stored.extend(batch)
            return True
        finally:
            self._one_at_a_time.release()

    def deliver_all(self) -> Delivered:
        """Deliver on this thread's connection, including orphans. For commands.

        Raises:
            Exception: Any error of the database; undelivered events stay in the outbox.
        """
        result = Delivered()
        while True:
            adopted, before = outbox.get().adopt_orphans(), replace(result)
            self._deliver_past_others(result)
            # Nothing changes if the remaining events belong to tenants whose database is away.
            is_over = not adopted or result == before
            result.adopted += adopted
            if is_over:
                return result

    def _deliver_past_others(self, result: Delivered) -> None:
        """Deliver; retry after contention, as the thread does."""
        for tries in range(1, CONTENDED):
            try:
                self.deliver(result)
            except OperationalError as error:
                if not is_contention(error):
                    raise
                time.sleep(delay(tries))
            else:
                return
        self.deliver(result)

    def _defers(self, event: UsageEvent) -> bool:
        """Return whether an event may still be amended, or was deferred just now."""
        # Check the unit before the pending users: it queues these before it is closed.
        if event.unit and event.unit in open_units and not _reads_from_outside(event.unit):
            age = (utc_now() - event.created_at).total_seconds() - event.response_time_ms / 1000
            if age < sqlite.DEFERRED_FOR:
                return True
        if pending_users.is_unresolved(event):
            return True
        tried = self._tried.get(event.id)
        return tried is not None and time.monotonic() - tried < RETRY_MISSING_USER

    def _store_batch(self, batch: list[UsageEvent], result: Delivered, turn: Turn | None) -> bool:
        """Store each event at its place; return False if callers must go first.

        It raises an error of the site's own database that concerns every event. A tenant's place
        that fails does not stop the others.
        """
        done: list[tuple[list[UsageEvent], Batch]] = []
        failed: list[tuple[_At, list[UsageEvent], Exception]] = []
        by_place = split_by_place(batch)
        self._has_tenants = self._has_tenants or any(place != _OWN for place in by_place)
        for place, events in by_place.items():
            try:
                with turn.gate if turn else nullcontext():
                    if turn and turn.must_wait():
                        return False
                    done.append((events, self._store_at(place, events)))
            except Exception as error:
                is_of_site = not place[0] and concerns_all(error)
                may_set_aside = self._has_tenants or places.may_have_tenants()
                if from_outside(error) or is_of_site or not may_set_aside:
                    raise
                failed.append((place, events, error))
        # Only now, because an error raised before makes the whole batch be tried again.
        for events, stored in done:
            self._finish(events, stored, result)
        for place, events, reason in failed:
            self._set_aside(place, events, reason, result)
        return True

    def _store_at(self, place: _At, events: list[UsageEvent]) -> Batch:
        database, schema = place
        using = places.alias_of(database)
        if using is None:
            raise PlaceNotFoundError(f"The database {database} is not in DATABASES.")
        if time.monotonic() < self._away.get(place, (0, 0.0))[1]:
            raise PlaceAwayError
        connection = connections[using]
        if not outbox.inline():
            for alias in {using, places.users_of(using)}:
                _autocommit(connections[alias])
        batch = Batch(using, patience=timedelta.min if outbox.inline() else PATIENCE)
        with reads.unwatched(connection), places.active(using, schema):
            if places.has_schemas(using) and not places.has_tables(using, schema):
                raise PlaceNotFoundError(f"The schema {schema or 'public'!r} has no usage tables.")
            batch.store(events)
        self._away.pop(place, None)
        return batch

    def _finish(self, events: list[UsageEvent], batch: Batch, result: Delivered) -> None:
        """Defer and dead-letter events that were not stored, before the batch counts as stored."""
        for event, reason in batch.refused:
            self._remember_tries([event], ())
            outbox.get().dead_letter(event, reason)
        result.written += batch.written
        result.dead_lettered += len(batch.refused)
        result.deferred += len(batch.deferred)
        self._remember_tries(events, batch.deferred)
        outbox.get().defer(batch.deferred)

    def _remember_tries(self, batch: Iterable[UsageEvent], deferred: Iterable[UsageEvent]) -> None:
        if self._tried:
            for event in batch:
                self._tried.pop(event.id, None)
        now = time.monotonic()
        for event in deferred:
            self._tried[event.id] = now

    def _set_aside(
        self, place: _At, events: list[UsageEvent], error: Exception, result: Delivered
    ) -> None:
        """Set a tenant's events aside for a later try; dead-letter those without a place."""
        box = outbox.get()
        if isinstance(error, PlaceNotFoundError):
            for event in events:
                if utc_now() - event.created_at > PATIENCE:
                    result.dead_lettered += 1
                    box.dead_letter(event, str(error))
                else:
                    result.set_aside += 1
                    box.set_aside([event])
            return
        result.set_aside += len(events)
        box.set_aside(events)
        if not isinstance(error, PlaceAwayError):
            self._back_off(place, error)

    def _back_off(self, place: _At, error: Exception) -> None:
        failures = self._away.get(place, (0, 0.0))[0] + 1
        pause = delay(failures)
        self._away[place] = failures, time.monotonic() + pause
        if failures >= first_reported(error):
            logger.warning(
                "[TRACK_WARNING] Delivery to %s failed (%s), next try in %.1f s; its events wait",
                one_line(" ".join(filter(None, place)) or places.own()),
                one_line(clean_error(f"{type(error).__name__}: {error}".partition("\n")[0])),
                pause,
            )
        if not outbox.inline():
            with suppress(Exception):  # the next try opens a new connection
                connections[places.alias_of(place[0]) or places.own()].close()


def has_work() -> bool:
    """Return whether this process has undelivered events, or users to resolve."""
    return recorder.has_work() or not outbox.get().is_empty()


def delay(failures: int) -> float:
    """Return the seconds until the next try after this number of failures in a row."""
    seconds: float = min(LONGEST_BACK_OFF, 0.25 * 2 ** min(failures, 10))
    return seconds * random.uniform(0.5, 1.0)  # noqa: S311 -- jitter, no secret


def first_reported(error: BaseException) -> int:
    """Return which failure in a row is the first to log; contention mostly ends by itself."""
    return CONTENDED if is_contention(error) else 1


def split_by_place(events: Iterable[UsageEvent]) -> dict[_At, list[UsageEvent]]:
    """Return the events by place."""
    found: dict[_At, list[UsageEvent]] = {}
    for event in events:
        found.setdefault((event.database, event.schema), []).append(event)
    return found


def _resolve_users(using: str, *, patient: bool) -> None:
    """Resolve pending users; on our own connection, wait at most LOCK_TIMEOUT for a lock."""
    if not pending_users.exist():
        return
    if not patient or connections[using].vendor != "postgresql":
        pending_users.resolve()
        return
    with transaction.atomic(using=using):
        with connections[using].cursor() as cursor:
            cursor.execute("SELECT set_config('lock_timeout', %s, true)", [LOCK_TIMEOUT])
        pending_users.resolve()


def _reads_from_outside(unit: str) -> bool:
    """Return, in a test, whether the reader is outside that unit and cannot wait for its end."""
    current = scope.current()
    return outbox.in_test() and (current is None or current.unit.id != unit)


def _autocommit(connection: Any) -> None:
    """Make a connection commit what delivery writes, on a site with `AUTOCOMMIT = False`."""
    if connection.settings_dict["AUTOCOMMIT"] or connection.in_atomic_block:
        return
    if not connection.get_autocommit():
        connection.commit()  # ends the transaction of earlier reads
        connection.set_autocommit(True)
