"""Waiting for Ctrl-C or SIGTERM."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable


class EndSignal:
    """Handle Ctrl-C and SIGTERM in this process, starting when an instance is created.

    The handlers stay installed, so that a second signal does not interrupt the shutdown. They set a
    flag, not a `threading.Event`, because the lock of an Event hangs a handler that interrupts
    another one.
    """

    def __init__(self) -> None:
        self._received = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._receive)

    def wait(self, is_needed: Callable[[], bool] = lambda: True) -> None:
        """Return when a signal arrives, or shortly after `is_needed` returns False."""
        while not self._received and is_needed():
            time.sleep(0.2)

    def _receive(self, *_: object) -> None:
        self._received = True
