"""The durable local store between a finished AI call and the database, and who listens to it."""

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

__all__ = ["Outbox"]


#: Seconds for which the end of an outermost block waits for its rows: a script sees them at once.
#: The way there and back included, it is to be 50 ms at most.
WAIT = 0.04


class Listener(Protocol):
    """What the outbox tells of its life; delivery registers itself as one."""

    def expect(self) -> None:
        """An AI call has begun: soon an event will come."""

    def arrived(self, database: str) -> None:
        """An event was put that belongs to `database`."""

    def wake(self) -> None:
        """Something was left to the thread, by a finalizer: nothing may be started or locked."""

    def moment(self, *, wait: float = 0.0) -> bool | None:
        """A unit of work has ended; the caller waits up to `wait` seconds to see its rows."""

    async def amoment(self, *, wait: float) -> bool | None:
        """The same for a caller on an event loop, which goes on meanwhile."""

    def enters_test_class(self) -> bool:
        """Whether a TestCase class has begun since this was asked last."""


listener: Listener | None = None


_outbox: Outbox | None = None
_memory = Outbox(None)
_test: object = None
_creation = threading.RLock()


def get() -> Outbox:
    """The outbox of this process under the settings in force."""
    global _outbox, _test
    if inline():
        test = running_test()
        enters = test is not None and listener is not None and listener.enters_test_class()
        if test is not _test or enters:
            # What the last test left is not for this one.
            _test = test
            _memory.clear()
        return _memory
    if _outbox is None:
        with _creation:
            if _outbox is None:
                directory = conf.outbox()
                if directory is None:
                    logger.error(
                        "[TRACK_ERROR] Outbox: neither AI_USAGE_OUTBOX nor BASE_DIR is set; "
                        "events are kept in memory and die with the process"
                    )
                _outbox = Outbox(directory)
    return _outbox


def inline() -> bool:
    """Whether events are delivered on the caller's connection, without thread or file.

    So it is with `AI_USAGE_OUTBOX = None`, and in a site's own tests: there not at moments, but
    when the usage tables are read.
    """
    return running_test() is not None or conf.inline()


def in_test() -> bool:
    """Whether a test of the site's is running and has not been given an outbox of its own."""
    return inline() and running_test() is not None


def put(event: UsageEvent) -> None:
    get().put(event)
    if listener is not None:
        listener.arrived(event.database)


@contained
def expect() -> None:
    if listener is not None:
        listener.expect()


def wake() -> None:
    if listener is not None:
        listener.wake()


def moment(*, wait: float = 0.0) -> None:
    """Wake delivery; wait up to `wait` seconds for it.

    Wait only where errors are not contained: a time limit of the site's may end the wait.
    """
    if listener is not None:
        listener.moment(wait=wait)


async def amoment(*, wait: float = 0.0) -> None:
    """Wake delivery; wait up to `wait` seconds for it, while the event loop goes on."""
    if inline():
        if not get().is_empty():
            await sync_to_async(moment)()
    elif not wait:
        moment()
    elif listener is not None:
        await listener.amoment(wait=wait)


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
