"""Actions that finalizers defer.

A finalizer may run at any point, even inside the database driver, so it must not act itself.
"""

from __future__ import annotations

import queue
from collections.abc import Callable

from .. import outbox
from ..errors import contained

# Reentrant, unlike a deque behind a lock: a finalizer may run inside `catch_up`.
_actions: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()


def later(action: Callable[[], object]) -> None:
    """Defer an action of a finalizer until `catch_up`."""
    _actions.put(action)
    outbox.nudge()


@contained
def catch_up() -> None:
    """Run the actions that finalizers have deferred."""
    while True:
        try:
            action = _actions.get_nowait()
        except queue.Empty:
            return
        action()


def have_work() -> bool:
    """Return whether a finalizer has deferred an action."""
    return not _actions.empty()
