"""The segments that this process holds."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

from ..system import files
from . import limits, segments
from .segments import Segment


class HeldSegments:
    """The current segment, to which events are appended, and those that wait for delivery.

    The current segment joins the waiting ones when it is full or when delivery reaches it. While
    the database is away, it grows instead, and no further file is opened.
    """

    __slots__ = ("_directory", "_lock", "current", "waiting")

    def __init__(self, directory: Path, lock: threading.RLock) -> None:
        self._directory = directory
        self._lock = lock
        self.current: Segment | None = None
        self.waiting: list[Segment] = []

    def append(self, line: bytes) -> None:
        """Append a line to the current segment, or to a new one. The caller holds the lock.

        Raises:
            OSError: The line could not be written; see `discard_rest`.
        """
        if self.current is not None and self.current.size >= limits.SEGMENT:
            self.detach()
        if self.current is None:
            segments.make_directory(self._directory)
            self.current = Segment.create(self._directory)
        self.current.append(line)

    def discard_rest(self) -> None:
        """Cut off a partly written line."""
        if self.current is not None and not self.current.truncate():
            self.detach()

    def adopt(self, segment: Segment) -> None:
        """Add the segment of a dead process to the waiting ones."""
        with self._lock:
            self.waiting.append(segment)

    def detach(self) -> Segment | None:
        """Add the current segment to the waiting ones, unless too many wait."""
        current = self.current
        if current is None or len(self.waiting) >= limits.ADOPTED:
            return None
        # A garbage collection meanwhile may put an event, and so detach the segment too.
        if current not in self.waiting:
            self.waiting.append(current)
        if self.current is current:
            self.current = None
        return current

    def each(self) -> Iterator[Segment]:
        """Return the segments of this moment, the current one last and detached only then.

        Events that are put meanwhile may fill it, so that it waits and another one is current.
        """
        with self._lock:
            return self._each(list(self.waiting), self.current)

    def _each(self, waiting: list[Segment], current: Segment | None) -> Iterator[Segment]:
        yield from waiting
        with self._lock:
            rest = [one for one in self.waiting if one is current]
            if (detached := self.detach()) is not None:
                rest.append(detached)
        yield from rest

    def release(self, segment: Segment) -> bool:
        """Remove a segment from the waiting ones; return False if `close` has done so."""
        with self._lock:
            if segment not in self.waiting:
                return False
            self.waiting.remove(segment)
            return True

    def all(self) -> list[Segment]:
        """Return every segment."""
        return [*self.waiting] if self.current is None else [*self.waiting, self.current]

    def are_delivered(self) -> bool:
        """Return whether no segment has an undelivered event."""
        current = self.current
        return not self.waiting and (current is None or current.size <= current.offset)

    def close(self) -> None:
        """Close the files."""
        for segment in self.all():
            files.close(segment.fd)
        self.waiting, self.current = [], None
