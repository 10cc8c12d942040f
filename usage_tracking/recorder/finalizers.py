"""Work that finalizers leave.

A finalizer may run in the middle of anything, a statement of the database driver included.
"""

from __future__ import annotations

import queue
from collections.abc import Callable

from .. import outbox
from ..errors import contained

# Reentrant, unlike a deque behind a lock: a finalizer may run inside `catch_up`.
_actions: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()


def later(action: Callable[[], object]) -> None:
    """Remember what a finalizer has to do; `catch_up` does it."""
    _actions.put(action)
    outbox.nudge()


@contained
def catch_up() -> None:
    """Do what finalizers have left."""
    while True:
        try:
            action = _actions.get_nowait()
        except queue.Empty:
            return
        action()


def have_work() -> bool:
    """Return whether a finalizer has left something."""
    return not _actions.empty()
