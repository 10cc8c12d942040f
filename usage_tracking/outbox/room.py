"""Whether the directory of the outbox has room."""

from __future__ import annotations

import time
from collections.abc import Callable

from . import limits


class Room:
    """Track whether the directory has room, without reading its size before each line."""

    __slots__ = ("_checked_at", "_is_full", "_size", "_unchecked")

    def __init__(self, size: Callable[[], int]) -> None:
        self._size = size
        self._unchecked = limits.UNCHECKED
        self._is_full = False
        self._checked_at = 0.0

    def has(self, length: int) -> bool:
        """Return whether there is room for `length` bytes, and count them as written."""
        self._unchecked += length
        # Once full, check every second; until then after every megabyte that this process wrote.
        if self._unchecked > limits.UNCHECKED or (
            self._is_full and time.monotonic() - self._checked_at > 1.0
        ):
            self._is_full = self._size() + length > limits.CAPACITY
            self._unchecked = 0
            self._checked_at = time.monotonic()
        return not self._is_full
