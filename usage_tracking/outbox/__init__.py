"""The local store between a finished AI call and the database, and who listens to it.

Capture puts events here; delivery takes them. Everything else of the package only knows the
functions of this module.
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
from ..system.test_runs import running_test
from .box import Outbox
from .memory import MemoryOutbox

__all__ = ["MemoryOutbox", "Outbox"]

#: Seconds for which the end of an outermost block waits for its rows, so that a script sees them
#: at once. With the way there and back it takes at most 50 ms.
WAIT = 0.04


class Listener(Protocol):
    """What the outbox calls; delivery registers itself as one."""

    def expect(self) -> None:
        """An AI call has begun: an event will follow soon."""

    def arrived(self, database: str) -> None:
        """An event was put that belongs to `database`."""

    def nudge(self) -> None:
        """A finalizer left work: nothing may be started or locked."""

    def wake(self, *, wait: float = 0.0) -> bool | None:
        """A unit of work has ended; the caller waits up to `wait` seconds to see its rows."""

    async def awake(self, *, wait: float) -> bool | None:
        """The same for a caller on an event loop, which goes on meanwhile."""

    def enters_test_class(self) -> bool:
        """Whether a TestCase class has begun since the last time."""


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
            # Events of the last test are not for this one.
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

    They are with `AI_USAGE_OUTBOX = None`, and in a site's own tests. A test delivers when it reads
    the usage tables, and not when a unit of work ends.
    """
    return running_test() is not None or conf.inline()


def in_test() -> bool:
    """Return whether a test of the site is running that has no outbox of its own."""
    return inline() and running_test() is not None


def put(event: UsageEvent) -> None:
    """Store an event; return when the death of this process can no longer lose it."""
    get().put(event)
    if listener is not None:
        listener.arrived(event.database)


@contained
def expect() -> None:
    """Say that an AI call has begun."""
    if listener is not None:
        listener.expect()


def nudge() -> None:
    """Wake delivery if its thread runs. Safe in a finalizer."""
    if listener is not None:
        listener.nudge()


def wake(*, wait: float = 0.0) -> None:
    """Wake delivery; wait up to `wait` seconds for it.

    Wait only where errors are not contained: a time limit of the site may end the wait.
    """
    if listener is not None:
        listener.wake(wait=wait)


async def awake(*, wait: float = 0.0) -> None:
    """Wake delivery; wait up to `wait` seconds for it, while the event loop goes on."""
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
        with _creation:  # another thread may be about to create one by the setting of before
            if _outbox is not None:
                _outbox.close()
                _outbox = None


files.after_fork(_after_fork)
setting_changed.connect(_setting_changed)
