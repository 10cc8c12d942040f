"""How delivery gives way to the site's own transactions on SQLite.

SQLite has one writer. With its default, deferred transactions, a transaction of the site fails with
"database is locked" if delivery writes between its first read and its first write. With
`transaction_mode: IMMEDIATE` one waits for the other, and nothing here is needed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple
from weakref import ref

from .. import outbox
from ..attribution.scope import open_units

#: Seconds for which an event waits for its unit of work to end, and delivery for open units.
DEFERRED_FOR = 30.0


class Turn(NamedTuple):
    """When delivery may write."""

    #: Held for each batch; a unit of work that begins waits for it.
    gate: threading.Lock
    #: Whether a caller could fail by a write now.
    must_wait: Callable[[], bool]


class Callers:
    """The connections whose threads have put events: delivery waits for their transactions."""

    def __init__(self) -> None:
        # Reentrant: a garbage collection inside may finish an abandoned stream, which puts.
        self._lock = threading.RLock()
        #: A copy for each that is new, for a set that grows cannot be walked by another thread.
        self._connections: frozenset[ref[Any]] = frozenset()

    def add(self, connection: Any) -> None:
        """Remember the connection of a thread that has put an event."""
        if (caller := ref(connection)) not in self._connections:
            with self._lock:
                known = (one for one in self._connections if one() is not None)
                self._connections = frozenset((*known, caller))

    def may_fail(self) -> bool:
        """Return whether a second writer could now fail a transaction of the site."""
        # One that is open for long (server-sent events, a bot) must not stop the others for good.
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
    """Shorten how long a connection of ours waits for a lock: units of work wait meanwhile."""
    with connection.cursor() as cursor:
        cursor.execute(f"PRAGMA busy_timeout = {outbox.WAIT * 1000:.0f}")
