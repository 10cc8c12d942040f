"""The local store between a finished AI call and the database.

Capture puts events here, and delivery takes them and listens to what happens. The rest of the
package uses only the functions of this module.
"""

from __future__ import annotations

import threading
from typing import Protocol

from asgiref.sync import sync_to_async
from django.core.signals import setting_changed

from .. import conf
from ..errors import contained
from ..events import UsageEvent
from ..log import logger
from ..system import files
from ..system.site_tests import running_test
from .box import Outbox
from .memory import MemoryOutbox

__all__ = ["MemoryOutbox", "Outbox"]

#: Seconds that the end of an outermost block waits for its rows, so that a script sees them at
#: once. With switching threads it takes at most 50 ms.
WAIT = 0.04


class Listener(Protocol):
    """The functions that the outbox calls; delivery registers itself as the listener."""

    def expect(self) -> None:
        """Prepare for an event: an AI call has begun."""

    def arrived(self, database: str) -> None:
        """Handle that an event of `database` was put."""

    def nudge(self) -> None:
        """Wake delivery for the work of a finalizer; start no thread and take no lock."""

    def wake(self, *, wait: float = 0.0) -> bool | None:
        """Wake delivery after a unit of work; wait up to `wait` seconds for its rows."""

    async def awake(self, *, wait: float) -> bool | None:
        """Do the same as `wake` without blocking the event loop."""

    def enters_test_class(self) -> bool:
        """Return whether a TestCase class has begun since the last call of this method."""


listener: Listener | None = None

_outbox: MemoryOutbox | None = None
_memory = MemoryOutbox()
_test: object = None
_creation = threading.RLock()


def get() -> MemoryOutbox:
    """Return the outbox of this process under the settings in force."""
    global _outbox, _test
    if inline():
        test = running_test()
        enters = test is not None and listener is not None and listener.enters_test_class()
        if test is not _test or enters:
            # This test must not see the events of the previous one.
            _test = test
            _memory.clear()
        return _memory
    if _outbox is None:
        with _creation:
            if _outbox is None:
                _outbox = _create()
    return _outbox


def _create() -> MemoryOutbox:
    directory = conf.outbox()
    if directory is None:
        logger.error(
            "[TRACK_ERROR] Outbox: neither AI_USAGE_OUTBOX nor BASE_DIR is set; "
            "events are kept in memory and die with the process"
        )
        return MemoryOutbox()
    return Outbox(directory)


def inline() -> bool:
    """Return whether events are delivered on the caller's connection, without thread or file.

    This is so with `AI_USAGE_OUTBOX = None` and in a site's own tests. A test delivers when it
    reads the usage tables, and not when a unit of work ends.
    """
    return running_test() is not None or conf.inline()


def in_test() -> bool:
    """Return whether a test of the site is running without an outbox of its own."""
    return inline() and running_test() is not None


def put(event: UsageEvent) -> None:
    """Store an event; return when the death of this process can no longer lose it."""
    get().put(event)
    if listener is not None:
        listener.arrived(event.database)


@contained
def expect() -> None:
    """Prepare delivery for an event: an AI call has begun."""
    if listener is not None:
        listener.expect()


def nudge() -> None:
    """Wake delivery if its thread runs. Safe in a finalizer."""
    if listener is not None:
        listener.nudge()


def wake(*, wait: float = 0.0) -> None:
    """Wake delivery; wait up to `wait` seconds for it.

    Call it with `wait` only where errors are not contained: a time limit of the site may end the
    wait.
    """
    if listener is not None:
        listener.wake(wait=wait)


async def awake(*, wait: float = 0.0) -> None:
    """Wake delivery; wait up to `wait` seconds for it without blocking the event loop."""
    if inline():
        if not get().is_empty():
            await sync_to_async(wake)()
    elif not wait:
        wake()
    elif listener is not None:
        await listener.awake(wait=wait)


def _after_fork() -> None:
    global _creation
    _creation = threading.RLock()
    _memory.after_fork()
    if _outbox is not None:
        _outbox.after_fork()


def _setting_changed(*, setting: str, **_: object) -> None:
    global _outbox
    if setting in {"AI_USAGE_OUTBOX", "BASE_DIR", "DATABASES"}:
        with _creation:  # another thread may be about to create one with the old setting
            if _outbox is not None:
                _outbox.close()
                _outbox = None


files.after_fork(_after_fork)
setting_changed.connect(_setting_changed)
