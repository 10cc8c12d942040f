"""Store a batch of events, and find those that the database refuses.

Most database errors concern all events: the database is away or full, or a table is missing. They
are raised, and the batch stays in the outbox. Other errors concern one event: a constraint, a
trigger or a policy refuses it. The batch is halved down to that event, so that it never blocks the
others.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

from django.db import (
    DatabaseError,
    DataError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    connections,
)

from ..events import UsageEvent
from ..system.interruptions import from_outside
from . import log_lines, reads
from .writer import store

#: SQLSTATE classes of errors in the values of a row, of exceptions of a trigger, and of the check
#: of a view. https://www.postgresql.org/docs/current/errcodes-appendix.html
_OF_THE_EVENT = ("22", "23", "44", "P0")
#: SQLSTATE classes of errors of the connection, the state of the transaction, the login, the
#: catalog, a rollback, resources, objects in use, an operator's intervention, the system, a
#: configuration file, and of internal errors.
_OF_ALL_EVENTS = ("08", "25", "28", "3D", "3F", "40", "53", "55", "57", "58", "F0", "XX")
_QUERY_CANCELED = "57014"
_INSUFFICIENT_PRIVILEGE = "42501"
#: Errors of SQLite that do not concern one statement. https://www.sqlite.org/rescode.html
_SQLITE_OF_ALL = frozenset({5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 17, 23, 26})
#: A failed serialization, a deadlock, a lock timeout; a locked database or table.
_CONTENTION = ("40001", "40P01", "55P03")
_SQLITE_BUSY = (5, 6)
#: An undefined column or table: the code is newer than the tables.
_OF_SCHEMA = ("42703", "42P01")
_SQLITE_OF_SCHEMA = ("no such column", "has no column named", "no such table")
#: Number of events whose failure, before any is stored, is taken for a fault of the database.
_SUSPECTS = 3


@dataclass(slots=True)
class Batch:
    """A batch to store in one database, and what happened to its events."""

    using: str
    #: See `writer.store`.
    patience: timedelta
    written: int = 0
    #: Events that wait for their user.
    deferred: list[UsageEvent] = field(default_factory=list)
    #: Events that the database refuses, each with the reason.
    refused: list[tuple[UsageEvent, str]] = field(default_factory=list)
    _stored: int = 0
    _suspects: list[tuple[UsageEvent, Exception]] = field(default_factory=list)

    def store(self, events: list[UsageEvent]) -> None:
        """Store the events.

        Raises:
            Exception: Any error of the database that concerns all events. The next try stores some
                events again, which changes nothing.
        """
        self._store(events)
        if self._suspects and not self._stored:
            raise self._suspects[0][1]
        # Others are stored by now, so a fault of the database may have ended meanwhile.
        suspects, self._suspects = self._suspects, []
        for event, _ in suspects:
            self._store([event], again=True)
        self.refused += [(event, _reason(error)) for event, error in self._suspects]

    def _store(self, events: list[UsageEvent], *, again: bool = False) -> None:
        log_lines.storing(events)
        try:
            stored = store(events, using=self.using, patience=self.patience)
        except Exception as error:
            if from_outside(error) or concerns_all(error):
                raise
            if len(events) > 1:
                middle = len(events) // 2
                halves = [events[:middle], events[middle:]]
                if not _concerns_event(error):
                    # In random order, so that not the same few fail first each time.
                    random.shuffle(halves)
                for half in halves:
                    self._store(half)
            elif not again:
                # The user may have been deleted between our statements.
                self._store(events, again=True)
            elif _concerns_event(error):
                self.refused.append((events[0], _reason(error)))
            else:
                self._suspects.append((events[0], error))
                if len(self._suspects) >= _SUSPECTS and not self._stored:
                    raise
            return
        self._stored += len(events)
        self.written += len(stored.rows)
        self.deferred += stored.deferred
        reads.when_committed(connections[self.using], partial(log_lines.committed, stored))


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _concerns_event(error: Exception) -> bool:
    if isinstance(error, DataError | IntegrityError):
        return True
    state = _sqlstate(error)
    if state == _INSUFFICIENT_PRIVILEGE:
        return "row-level security" in str(error)
    return state.startswith(_OF_THE_EVENT)


def concerns_all(error: Exception) -> bool:
    """Return whether every event would fail with this error."""
    if isinstance(error, InterfaceError):
        return True
    if not isinstance(error, DatabaseError) or _concerns_event(error):
        return False
    code = getattr(error.__cause__, "sqlite_errorcode", None)
    if code is not None:
        return (code & 0xFF) in _SQLITE_OF_ALL
    state = _sqlstate(error)
    # Without a state, no server has answered.
    return not state or (state.startswith(_OF_ALL_EVENTS) and state != _QUERY_CANCELED)


def is_contention(error: BaseException) -> bool:
    """Return whether another transaction held a lock, as happens with several writers."""
    if not isinstance(error, OperationalError):
        return False
    code = getattr(error.__cause__, "sqlite_errorcode", None)
    return _sqlstate(error) in _CONTENTION or (code is not None and (code & 0xFF) in _SQLITE_BUSY)


def remedy(error: BaseException) -> str:
    """Return how to end an error that concerns every event, "" if only the site can know that."""
    reason = str(error)
    is_schema = _sqlstate(error) in _OF_SCHEMA or any(text in reason for text in _SQLITE_OF_SCHEMA)
    return 'run "manage.py migrate usage_tracking"' if is_schema else ""


def _sqlstate(error: BaseException) -> str:
    cause = error.__cause__
    return getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None) or ""
