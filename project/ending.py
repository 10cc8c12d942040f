from __future__ import annotations

import signal
import time
from collections.abc import Callable
from types import FrameType


class EndSignal:
    """Ctrl-C or SIGTERM, from the moment this is made on.

    Both stay harmless afterwards: a second one does not cut the end short. A flag and not a
    `threading.Event`, whose lock hangs a handler that interrupts another one.
    """

    def __init__(self) -> None:
        self._came = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._note)

    def wait(self, is_needed: Callable[[], bool] = lambda: True) -> None:
        """Returns when the signal has come, or soon after `is_needed` is no longer true."""
        while not self._came and is_needed():
            time.sleep(0.2)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._came = True
