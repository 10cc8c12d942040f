"""The durable local store between a finished AI call and the database.

Each process appends the events of its calls to a segment of its own, and takes over the segments
of processes that died. Delivery reads the waiting segments one after the other, and takes the
current one only when they are stored: while the database is away the current one grows, and no
further file is opened.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from ..events import UsageEvent
from ..log import logger
from ..system import files
from ..system.interruptions import from_outside
from . import dead_letters, limits, segments
from .dead_letters import DeadLetter
from .deferred import Deferred
from .memory import MemoryOutbox, Others
from .orphans import Orphans
from .segments import Belongs, Segment, line_of


class _Line(NamedTuple):
    event: UsageEvent
    data: bytes
    accepted: bool


class Outbox(MemoryOutbox):
    """The events of this process that the database does not have yet, in a directory.

    A directory that cannot be written logs an ERROR and keeps new events in memory.
    """

    directory: Path

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        super().__init__()

    def _reset(self) -> None:
        super()._reset()
        self._pid = os.getpid()
        #: Lines to be written into the current segment.
        self._queue: deque[_Line] = deque()
        self._is_writing = False
        self._current: Segment | None = None
        self._waiting: list[Segment] = []
        self._orphans = Orphans(self.directory)
        self._deferred = Deferred(self.directory, self._orphans.remove)
        self._room = _Room(self.size)

    def put(self, event: UsageEvent, *, accepted: bool = False) -> None:
        """Take `event` over; return when the death of this process can no longer lose it."""
        line = _Line(event, line_of(event), accepted)
        if self._pid != os.getpid():
            self.after_fork()  # uWSGI forks without Python's knowledge
        self._queue.append(line)
        with self._lock:
            self._write_queued()

    def batches(
        self, limit: int, defers: Callable[[UsageEvent], bool]
    ) -> Iterator[list[UsageEvent]]:
        """See `MemoryOutbox.batches`."""
        try:
            yield from self._batches(limit, defers)
        finally:
            with self._lock:
                self._orphans.release()

    def _batches(
        self, limit: int, defers: Callable[[UsageEvent], bool]
    ) -> Iterator[list[UsageEvent]]:
        with self._lock:
            self._write_queued()
            self._put_back_uncommitted()
            if self._current is not None and not self._current.is_linked():
                self._detach()  # someone removed the file: no process would find what follows
            waiting = list(self._waiting)
            in_memory = len(self._memory)
        yield from self._deferred_batches(limit, defers)
        for segment in chain(waiting, self._detached()):
            yield from self._batches_of(segment, limit, defers)
        yield from self._batches_in_memory(limit, defers, in_memory)

    def _batches_of(
        self, segment: Segment, limit: int, defers: Callable[[UsageEvent], bool]
    ) -> Iterator[list[UsageEvent]]:
        while True:
            try:
                lines, end = segment.read(limit)
            except OSError as error:
                self._complain(f"cannot read {segment.path}: {error}")
                if self._no_longer_waits(segment):
                    files.close(segment.fd)  # an orphan now, to be tried again
                return
            if not lines:
                if self._no_longer_waits(segment):
                    self._orphans.remove(segment)
                return
            deferred, ready = self._split(self._parse(lines), defers)
            if ready:
                yield ready
            self.defer(deferred)
            segment.offset = end

    def _deferred_batches(
        self, limit: int, defers: Callable[[UsageEvent], bool]
    ) -> Iterator[list[UsageEvent]]:
        with self._lock:
            events = self._deferred.events(self._revisions.is_superseded)
        _, ready = self._split(events, defers)
        for start in range(0, len(ready), limit):
            batch = ready[start : start + limit]
            self._deferred.begin()
            yield batch
            with self._lock:
                self._deferred.finish(batch)
        with self._lock:
            self._deferred.trim()

    def _parse(self, lines: list[bytes]) -> list[UsageEvent]:
        newest: dict[tuple[UUID, bool], UsageEvent] = {}
        for line in lines:
            try:
                event = UsageEvent.from_json(line)
            except (ValueError, RecursionError):
                self.unreadable += 1
                logger.warning(
                    "[TRACK_WARNING] Outbox: skipped an unreadable line of %d bytes", len(line)
                )
                continue
            key = event.id, event.completes
            seen = newest.get(key)
            if seen is None or seen.revision <= event.revision:
                newest[key] = event
        return list(newest.values())

    def defer(self, events: Iterable[UsageEvent]) -> None:
        """See `MemoryOutbox.defer`."""
        for event in events:
            with self._lock:
                if self._deferred.add(event):
                    continue
            self.put(event, accepted=True)

    def set_aside(self, events: Iterable[UsageEvent]) -> None:
        """See `MemoryOutbox.set_aside`."""
        for event in events:
            with self._lock:
                if self._orphans.set_aside(event):
                    continue
            self.put(event, accepted=True)

    def adopt_orphans(self) -> int:
        """See `MemoryOutbox.adopt_orphans`.

        Each is an open file until it is delivered, so no more than `limits.ADOPTED` wait.
        """
        self._orphans.retry_removals()
        headers = segments.headers()
        adopted = 0
        for path in self._orphans.find(self.segments()):
            if len(self._waiting) >= limits.ADOPTED:
                break
            if segment := Segment.adopt(path, headers):
                with self._lock:
                    self._waiting.append(segment)
                adopted += 1
        with suppress(OSError):
            segments.sweep(self.directory)
        return adopted

    def has_orphans(self) -> bool:
        """See `MemoryOutbox.has_orphans`."""
        return self._orphans.exist(self.segments())

    def elsewhere(self) -> list[Path]:
        """See `MemoryOutbox.elsewhere`."""
        headers = segments.headers()
        return [path for path in self.segments() if segments.is_foreign_orphan(path, headers)]

    def other_segments(self) -> Others:
        """See `MemoryOutbox.other_segments`."""
        with self._lock:
            ours = {segment.path for segment in self._open()}
        headers = segments.headers()
        living = elsewhere = denied = 0
        for path in self.segments():
            if path in ours:
                continue
            if segments.denied(path):
                denied += 1
                continue
            with suppress(FileNotFoundError), path.open("rb") as file:
                if file.readline(segments.MAX_HEADER) in headers:
                    living += 1
                else:
                    elsewhere += 1
        return Others(living, elsewhere, denied)

    def segments(self) -> list[Path]:
        """See `MemoryOutbox.segments`.

        Return none while the directory cannot be read, as when the process has no descriptor left.
        """
        try:
            return segments.paths(self.directory)
        except OSError as error:
            self._complain(f"cannot read {self.directory}: {error}")
            return []

    def is_empty(self) -> bool:
        """See `MemoryOutbox.is_empty`."""
        current = self._current
        return (
            not self._waiting
            and not self._deferred
            and not self._queue
            and (current is None or current.size <= current.offset)
            and super().is_empty()
        )

    def size(self) -> int:
        """See `MemoryOutbox.size`."""
        headers = segments.headers()
        total = 0
        for path in self.segments():
            # Delivered by its owner in this very moment, or not ours to read.
            with suppress(OSError), path.open("rb") as file:
                if file.readline(segments.MAX_HEADER) in headers:
                    total += os.fstat(file.fileno()).st_size
        return total

    def _dead_letter(self, event: UsageEvent, reason: str) -> None:
        super()._dead_letter(event, reason)
        try:
            if not dead_letters.add(self.directory, event, reason, capacity=limits.CAPACITY):
                self._drop(f"{dead_letters.FILE} is full ({limits.CAPACITY} bytes)")
        except OSError as error:
            self._complain(f"cannot write {dead_letters.FILE}: {error}; the event waits")
            self.set_aside([event])

    def dead_letters(self) -> list[DeadLetter]:
        """See `MemoryOutbox.dead_letters`."""
        letters, unreadable = dead_letters.read(self.directory)
        self.unreadable += unreadable
        return letters

    def retry_dead_letters(self) -> int:
        """See `MemoryOutbox.retry_dead_letters`."""
        put = partial(self.put, accepted=True)
        retried, unreadable = dead_letters.take(self.directory, put)
        self.unreadable += unreadable
        return retried

    def forget(self, belongs: Belongs) -> int:
        """See `MemoryOutbox.forget`."""
        forgotten = super().forget(belongs)
        with self._lock:  # the lines of deferred events are counted with their file
            self._deferred.forget(belongs)
        headers = segments.headers()
        paths = segments.paths(self.directory)
        return (
            forgotten
            + sum(segments.forget(path, headers, belongs) for path in paths)
            + dead_letters.forget(self.directory, belongs)
        )

    def close(self) -> None:
        """See `MemoryOutbox.close`.

        In the child of a fork the descriptors are closed too, or the lock on a file would outlive
        a parent that dies.
        """
        with self._lock:
            for segment in self._open():
                files.close(segment.fd)
            self._waiting, self._current = [], None
            self._orphans.segment = None
            self._deferred.clear()

    def _open(self) -> list[Segment]:
        """Return the segments that this process holds."""
        single = (self._current, self._deferred.segment, self._orphans.segment)
        return [*self._waiting, *(segment for segment in single if segment is not None)]

    def _write_queued(self) -> None:
        # A garbage collection during a put may put another event. The outer one writes both, or
        # they would be written at the same offset.
        if self._is_writing:
            return
        self._is_writing = True
        try:
            while self._queue:
                self._write(self._queue[0])
                self._queue.popleft()
        finally:
            self._is_writing = False

    def _write(self, line: _Line) -> None:
        try:
            if not line.accepted and not self._room.has(len(line.data)):
                self._drop(f"the outbox is full ({limits.CAPACITY} bytes)")
                return
            if self._current is not None and self._current.size >= limits.SEGMENT:
                self._detach()
            if self._current is None:
                segments.make_directory(self.directory)
                self._current = Segment.create(self.directory)
            self._current.append(line.data)
            self._revisions.remember(line.event)
        except Exception as error:  # a disk, a router: the event must not go
            if self._current is not None and not self._current.truncate():
                self._detach()
            if from_outside(error):
                raise  # the line stays in the queue
            self._complain(f"cannot write to {self.directory}: {error}; kept in memory")
            self._keep_in_memory(line.event)

    def _detach(self) -> Segment | None:
        """Move the current segment to the waiting ones, unless they are too many."""
        current = self._current
        if current is None or len(self._waiting) >= limits.ADOPTED:
            return None
        # A garbage collection meanwhile may put an event, and so detach it too.
        if current not in self._waiting:
            self._waiting.append(current)
        if self._current is current:
            self._current = None
        return current

    def _detached(self) -> Iterator[Segment]:
        with self._lock:
            segment = self._detach()
        if segment is not None:
            yield segment

    def _no_longer_waits(self, segment: Segment) -> bool:
        """Remove a segment from the waiting ones; return False if `close` has done so."""
        with self._lock:
            if segment not in self._waiting:
                return False
            self._waiting.remove(segment)
            return True


class _Room:
    """Whether the directory has room, without a look at it before each line."""

    __slots__ = ("_checked_at", "_is_full", "_size", "_unchecked")

    def __init__(self, size: Callable[[], int]) -> None:
        self._size = size
        self._unchecked = limits.UNCHECKED
        self._is_full = False
        self._checked_at = 0.0

    def has(self, length: int) -> bool:
        """Return whether there is room for `length` bytes, which are then taken for written."""
        self._unchecked += length
        # Once full, look again every second; until then after every megabyte of our own.
        if self._unchecked > limits.UNCHECKED or (
            self._is_full and time.monotonic() - self._checked_at > 1.0
        ):
            self._is_full = self._size() + length > limits.CAPACITY
            self._unchecked = 0
            self._checked_at = time.monotonic()
        return not self._is_full
