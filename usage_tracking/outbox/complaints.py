"""Log the problems of the outbox."""

from __future__ import annotations

import time

from ..log import logger, one_line

#: Seconds between two lines, so that a full disk does not fill the log as well.
_EVERY = 60.0


class Complaints:
    """Log problems, at most one a minute, and count dropped events."""

    __slots__ = ("_noted_at", "dropped")

    def __init__(self) -> None:
        self.dropped = 0
        self._noted_at = -_EVERY

    def drop(self, reason: str) -> None:
        """Count an event that is dropped."""
        self.dropped += 1
        self.note(f"{reason}; {self.dropped} events dropped so far")

    def note(self, text: str) -> None:
        """Log an ERROR, unless one was logged less than a minute ago."""
        now = time.monotonic()
        if now - self._noted_at >= _EVERY:
            self._noted_at = now
            logger.error(
                "[TRACK_ERROR] Outbox: %s", one_line(text), extra={"dropped": self.dropped}
            )
