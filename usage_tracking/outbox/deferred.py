"""Events that wait for something, such as their user or the end of their unit of work."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from ..events import UsageEvent
from ..system import files
from . import limits
from .memory import without_user
from .segments import Belongs, Segment, line_of

#: Number of lines of no longer deferred events that the segment may hold.
_SLACK = 100

#: Two lines with the same key have the same content.
_Key = tuple[UUID, int, bool]


class _Line(NamedTuple):
    """A deferred event, and where its line is."""

    event: UsageEvent
    offset: int
    length: int


def _key(event: UsageEvent) -> _Key:
    return event.id, event.revision, event.completes


class Deferred:
    """Deferred events: in memory, and written once to a segment of their own.

    So a deferred event costs no further write, and survives the process. The caller holds the lock
    of the outbox.
    """

    __slots__ = ("_again", "_directory", "_is_broken", "_lines", "_number", "_remove", "segment")

    def __init__(self, directory: Path, remove: Callable[[Segment], None]) -> None:
        self._directory = directory
        self._remove = remove
        self.segment: Segment | None = None
        #: Number of lines in the segment.
        self._number = 0
        self._lines: dict[_Key, _Line] = {}
        #: Events of the current batch that were deferred again.
        self._again: set[_Key] = set()
        self._is_broken = False

    def __bool__(self) -> bool:
        return bool(self._lines)

    def add(self, event: UsageEvent) -> bool:
        """Defer an event of the current batch; return False if there is no room for it."""
        if len(self._lines) >= limits.MEMORY_CAPACITY:
            return False
        key = _key(event)
        self._again.add(key)
        if key not in self._lines:
            line = self._write(event)
            if line is None:
                return False
            self._lines[key] = line
        return True

    def events(self, is_superseded: Callable[[UsageEvent], bool]) -> list[UsageEvent]:
        """Return the deferred events, without superseded ones, which are dropped."""
        if self.segment is not None and not self.segment.is_linked():
            self._is_broken = True  # the file was removed: no process would find it
            self.trim()
        for key, (event, *_) in list(self._lines.items()):
            if is_superseded(event):
                self._lines.pop(key)
        return list(map(self._as_written, self._lines.values()))

    def close(self) -> None:
        """Close the segment; the process that takes it over delivers its events."""
        if self.segment is not None:
            files.close(self.segment.fd)
        self.segment = None
        self._lines.clear()

    def begin(self) -> None:
        """Begin a batch of deferred events."""
        self._again.clear()

    def finish(self, batch: Iterable[UsageEvent]) -> None:
        """Drop the events of a stored batch, unless they were deferred again."""
        for event in batch:
            key = _key(event)
            if key not in self._again:
                self._lines.pop(key, None)

    def trim(self) -> None:
        """Remove the segment if it is empty; rewrite it if it can shrink or is broken."""
        segment = self.segment
        if segment is None:
            return
        is_slack = self._number > 2 * len(self._lines) + _SLACK
        if self._lines and not is_slack and not self._is_broken:
            return
        events = list(map(self._as_written, self._lines.values()))
        before = self.segment, self._number
        self.segment = None
        written: dict[_Key, _Line] = {}
        for event in events:
            if (line := self._write(event)) is None:
                # Try again later: the events are in the old segment, or in memory.
                self._drop_segment()
                self.segment, self._number = before
                return
            written[_key(event)] = line
        self._lines, self._is_broken = written, False
        self._remove(segment)

    def _drop_segment(self) -> None:
        if self.segment is not None:
            self._remove(self.segment)

    def forget(self, belongs: Belongs) -> None:
        """Remove a user from the events in memory; their lines are in the segment."""
        self._lines = {
            key: line._replace(event=without_user(line.event, belongs))
            for key, line in self._lines.items()
        }

    def _write(self, event: UsageEvent) -> _Line | None:
        """Write a line; return None if that fails."""
        data = line_of(event)
        try:
            if self.segment is None:
                self.segment, self._number = Segment.create(self._directory), 0
            offset = self.segment.size
            self.segment.append(data)
            self._number += 1
        except OSError:
            if self.segment is not None and not self.segment.truncate():
                self._is_broken = True
            return None
        return _Line(event, offset, len(data))

    def _as_written(self, line: _Line) -> UsageEvent:
        """Return the event from the file, where another process may have removed the user."""
        if self.segment is not None and not self._is_broken:
            with suppress(OSError, ValueError, RecursionError):
                data = files.read_at(self.segment.fd, line.length, line.offset)
                written = UsageEvent.from_json(data)
                if _key(written) == _key(line.event):
                    return written
        return line.event
