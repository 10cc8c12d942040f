"""Give way to the site's own transactions on SQLite.

SQLite has one writer. With its default, deferred transactions, a transaction of the site fails with
"database is locked" if delivery writes between its first read and its first write. With
`transaction_mode: IMMEDIATE`, one waits for the other, and nothing here is needed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple
from weakref import ref

from .. import outbox
from ..attribution.scope import open_units

#: Seconds that an event waits for the end of its unit of work, and delivery for open units.
DEFERRED_FOR = 30.0


class Turn(NamedTuple):
    """When delivery may write."""

    #: Held while a batch is written; a unit of work that begins waits for it.
    gate: threading.Lock
    #: Returns whether a write now could fail a caller's transaction.
    must_wait: Callable[[], bool]


class Callers:
    """The connections whose threads have put events: delivery waits for their transactions."""

    def __init__(self) -> None:
        # Reentrant: a garbage collection inside may finish an abandoned stream, which puts.
        self._lock = threading.RLock()
        #: Copied for each new one, because another thread cannot iterate over a set that grows.
        self._connections: frozenset[ref[Any]] = frozenset()

    def add(self, connection: Any) -> None:
        """Remember the connection of a thread that has put an event."""
        if (caller := ref(connection)) not in self._connections:
            with self._lock:
                known = (one for one in self._connections if one() is not None)
                self._connections = frozenset((*known, caller))

    def may_fail(self) -> bool:
        """Return whether a second writer could now fail a transaction of the site."""
        # A unit that stays open (server-sent events, a bot) must not stop delivery for good.
        now = time.monotonic()
        return any(now - unit.began < DEFERRED_FOR for unit in list(open_units.values())) or any(
            caller.in_atomic_block for at in self._connections if (caller := at()) is not None
        )


def is_deferred(connection: Any) -> bool:
    """Return whether a connection is to an SQLite database with deferred transactions."""
    if connection.vendor != "sqlite":
        return False
    mode = connection.settings_dict.get("OPTIONS", {}).get("transaction_mode") or ""
    return mode.upper() not in {"IMMEDIATE", "EXCLUSIVE"}


def give_way(connection: Any) -> None:
    """Shorten the time that our connection waits for a lock, because units of work wait too."""
    with connection.cursor() as cursor:
        cursor.execute(f"PRAGMA busy_timeout = {outbox.WAIT * 1000:.0f}")
