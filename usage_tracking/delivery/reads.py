"""Deliver in a site's own tests when they read the usage tables.

There, calls stay in memory until a statement names one of the two tables. A test that does not read
them makes no query for them, and needs no database.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connections, transaction
from django.db.backends.signals import connection_created

from .. import outbox, recorder
from ..errors import contained
from ..models import AIUsageLog, AIUsageTracking
from ..system.site_tests import running_test

#: Delivers the undelivered events; registered by delivery.
deliver: Callable[[], None] | None = None

_TABLES = (AIUsageLog._meta.db_table, AIUsageTracking._meta.db_table)
#: The statements by which `flush` empties the log, on PostgreSQL and on SQLite.
_EMPTIES = re.compile(rf'truncate\b.*"{_TABLES[0]}"|delete from "{_TABLES[0]}";', re.DOTALL)  # noqa: S608 -- it is only looked for
_ROLLS_BACK = re.compile(r'ROLLBACK TO SAVEPOINT "s\d+_x(\d+)"')
#: On PostgreSQL these fail if rows of the table were written in the same transaction.
_DEFINES = re.compile(r"\s*(alter|cluster|comment|create|drop|lock|reindex|truncate)\b")


class Watch:
    """An execute wrapper that sees each statement of one connection before it runs.

    https://docs.djangoproject.com/en/stable/topics/db/instrumentation/
    """

    def __init__(self) -> None:
        self.paused = False
        self.uncommitted: list[Uncommitted] = []

    def __call__(self, execute: Any, sql: Any, params: Any, many: Any, context: Any) -> Any:
        """Deliver, or note a rollback, before a statement runs."""
        if self.uncommitted and isinstance(sql, str) and (found := _ROLLS_BACK.match(sql)):
            for written in self.uncommitted:
                written.rolled_back_to(int(found[1]))
        if not self.paused and deliver is not None and _waits():
            # Drivers also take bytes and composed statements, whose repr contains the names.
            text = (sql if isinstance(sql, str) else repr(sql)).lower()
            if _EMPTIES.match(text):
                outbox.get().clear()  # as the statement clears the rows
            elif any(table in text for table in _TABLES) and not _DEFINES.match(text):
                deliver()
        return execute(sql, params, many, context)


class Uncommitted:
    """Track whether rows that were written inside a transaction of the test are lost.

    A TestCase never commits, so callbacks on commit would never run. They would also appear in what
    `captureOnCommitCallbacks` returns to the test.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._savepoints = connection.savepoint_state
        in_testcase = [is_of_test(block) for block in connection.atomic_blocks]
        self._outermost = connection.atomic_blocks[in_testcase.index(False)]
        self._is_lost = False
        self._is_kept = any(in_testcase)  # unless a savepoint is rolled back
        if not self._is_kept:
            transaction.on_commit(self._commit, using=connection.alias)

    def is_lost(self) -> bool:
        """Return whether the transaction, or a savepoint around the rows, was rolled back."""
        return self._is_lost or not (self._is_kept or self.is_open())

    def is_open(self) -> bool:
        """Return whether the transaction is still open."""
        return self._outermost in self._connection.atomic_blocks

    def rolled_back_to(self, savepoint: int) -> None:
        """Note a rollback of the transaction to the savepoint of this number."""
        # Django numbers savepoints: a later one does not contain these rows.
        if savepoint <= self._savepoints:
            self._is_lost = True

    def _commit(self) -> None:
        self._is_kept = True


def connect() -> None:
    """Watch every connection that is opened while Django's test environment is set up."""
    connection_created.connect(_created, dispatch_uid="usage_tracking.delivery.reads")


def watch() -> None:
    """Watch the connections that this thread already has open."""
    for connection in connections.all(initialized_only=True):
        _watch(connection)


@contextmanager
def unwatched(connection: Any) -> Iterator[None]:
    """Deliver nothing for the statements of the block."""
    watches = [one for one in connection.execute_wrappers if isinstance(one, Watch)]
    for one in watches:
        one.paused = True
    try:
        yield
    finally:
        for one in watches:
            one.paused = False


@contextmanager
def hidden(connection: Any) -> Iterator[None]:
    """Hide the statements of the block from the test.

    On a site, they run in another thread, where neither `assertNumQueries` nor the site's own
    execute wrappers see them.
    """
    wrappers, forced = connection.execute_wrappers, connection.force_debug_cursor
    connection.execute_wrappers, connection.force_debug_cursor = [], False
    try:
        yield
    finally:
        connection.execute_wrappers, connection.force_debug_cursor = wrappers, forced


def loss(connection: Any) -> Callable[[], bool]:
    """Return a function that returns later whether rows of an open transaction may be lost.

    On a site, nothing shows how an `atomic` block has ended. The rows are then written again, which
    their ids make harmless.
    """
    if not connection.atomic_blocks:
        return lambda: autocommits(connection)
    if outbox.in_test():
        return uncommitted(connection)
    block = connection.atomic_blocks[-1]
    return lambda: block not in connection.atomic_blocks


def uncommitted(connection: Any) -> Callable[[], bool]:
    """Return a function that returns later whether the rows written just now are lost.

    The connection must have an open transaction of the test.
    """
    written = Uncommitted(connection)
    for one in connection.execute_wrappers:
        if isinstance(one, Watch):
            one.uncommitted = [*(w for w in one.uncommitted if w.is_open()), written]
    return written.is_lost


def test_class(connection: Any) -> object | None:
    """Return the transaction of the TestCase class that is being set up, else None.

    Within a test there is a second transaction, of that test; with pytest-django only that one.
    """
    global _looked_at
    blocks = [block for block in connection.atomic_blocks if is_of_test(block)]
    if len(blocks) != 1:
        return None
    if blocks[0] is not _looked_at[0]:
        _looked_at = blocks[0], _is_of_class(blocks[0])
    return _looked_at[0] if _looked_at[1] else None


_looked_at: tuple[object, bool] = (None, False)


def is_of_test(block: object) -> bool:
    """Return whether a TestCase, and not the code under test, began that transaction."""
    return getattr(block, "_from_testcase", False)


def in_transaction(connection: Any) -> bool:
    """Return whether the caller has an open transaction, apart from that of a TestCase."""
    if connection.atomic_blocks:
        return not all(map(is_of_test, connection.atomic_blocks))
    return not autocommits(connection)


def autocommits(connection: Any) -> bool:
    """Return whether a statement outside `atomic` blocks is committed at once."""
    if connection.connection is None:  # the mode that it will have once it is connected
        return bool(connection.settings_dict["AUTOCOMMIT"])
    return bool(connection.autocommit)


def when_committed(connection: Any, action: Callable[[], object]) -> None:
    """Run `action` when the rows written just now are committed, or never if that is unknown."""
    if not in_transaction(connection):
        action()
    elif connection.in_atomic_block:
        transaction.on_commit(action, using=connection.alias, robust=True)


def _is_of_class(block: object) -> bool:
    classes: list[Any] = [sys.modules["django.test.testcases"].TestCase]
    while classes:
        case = classes.pop()
        if block in vars(case).get("cls_atomics", {}).values():
            return True
        classes += case.__subclasses__()
    return False


def _created(*, connection: Any, **_: object) -> None:
    if running_test() is not None:
        _watch(connection)


def _watch(connection: Any) -> None:
    wrappers = connection.execute_wrappers
    if not any(isinstance(one, Watch) for one in wrappers):
        # First, because `connection.execute_wrapper()` removes the last one again.
        wrappers.insert(0, Watch())


@contained
def _waits() -> bool:
    return outbox.in_test() and (recorder.has_work() or not outbox.get().is_empty())
