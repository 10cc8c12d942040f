"""Write a manual record at once, on the caller's own connection."""

from __future__ import annotations

import time
from datetime import timedelta
from functools import partial

from django.db import DatabaseError, IntegrityError, OperationalError, connections

from .. import outbox
from ..events import UsageEvent
from . import log_lines, reads
from .writer import Stored, store

#: Number of tries of a write that another transaction blocks. On PostgreSQL, each try waits 300 ms
#: for a lock and then gives way, so that a deadlock fails our transaction and never the site's.
#: SQLite waits for the `timeout` of the connection.
TRIES = 30
#: Seconds between two tries if the user or the daily row is locked.
LOCK_WAIT = 0.3
#: SQLSTATE: lock not available, deadlock detected, serialization failure.
#: https://www.postgresql.org/docs/current/errcodes-appendix.html
_IN_THE_WAY = frozenset({"55P03", "40P01", "40001"})


def write(event: UsageEvent, *, using: str) -> None:
    """Write both rows of `event` in one transaction, or in the caller's if one is open.

    If the user no longer exists, the row has no user. Waiting would not help, because the caller's
    connection sees every user.

    Raises:
        DatabaseError: Any error of the database; nothing is written then.
    """
    connection = connections[using]
    within = reads.in_transaction(connection)
    log_lines.storing([event])
    with reads.unwatched(connection):
        stored = _store(event, using, tries=1 if within else TRIES)
    # Only after the commit: after a rollback of the caller's transaction, only the outbox has the
    # event.
    reads.when_committed(connection, partial(outbox.get().supersede, event))
    reads.when_committed(connection, partial(log_lines.committed, stored))


def _store(event: UsageEvent, using: str, *, tries: int) -> Stored:
    for left in reversed(range(tries)):
        try:
            stored = store([event], using=using, patience=timedelta.min)
            if not stored.deferred:
                return stored
            if not left:
                raise OperationalError(
                    f"Another transaction has locked the user {event.user_id}, or the user's "
                    "AIUsageTracking row of the day."
                )
            time.sleep(LOCK_WAIT)  # the statement skips locked rows without waiting
        except DatabaseError as error:
            # The user may have been deleted between our statements; the next try sees that.
            is_first = left == tries - 1
            may_pass = isinstance(error, IntegrityError) and is_first
            if not left or not (may_pass or _was_in_the_way(error)):
                raise
    raise AssertionError("there is at least one try")


def _was_in_the_way(error: DatabaseError) -> bool:
    cause = error.__cause__
    code = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
    return code in _IN_THE_WAY
