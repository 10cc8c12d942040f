"""The durable local store between a finished AI call and the database.

Each process appends the events of its calls to its own segment, and takes over the segments of dead
processes. Delivery reads the waiting segments one after the other. It takes the current segment
only after their events are stored.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
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
from .held import HeldSegments
from .memory import MemoryOutbox, Others
from .orphans import Orphans
from .room import Room
from .segments import Belongs, Segment, line_of


class _Line(NamedTuple):
    event: UsageEvent
    data: bytes
    accepted: bool


class Outbox(MemoryOutbox):
    """The events of this process that the database does not have yet, in a directory.

    If the directory cannot be written, it logs an ERROR and keeps new events in memory.
    """

    directory: Path

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        super().__init__()

    def _reset(self) -> None:
        super()._reset()
        self._pid = os.getpid()
        #: Lines to write to the current segment.
        self._queue: deque[_Line] = deque()
        self._is_writing = False
        self._held = HeldSegments(self.directory, self._lock)
        self._orphans = Orphans(self.directory)
        self._deferred = Deferred(self.directory, self._orphans.remove)
        self._room = Room(self.size)

    def put(self, event: UsageEvent, *, accepted: bool = False) -> None:
        """Store `event`; on return, the death of this process can no longer lose it."""
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
            if self._held.current is not None and not self._held.current.is_linked():
                self._held.detach()  # the file was removed: no process would find later events
            to_deliver = self._held.each()
            in_memory = len(self._memory)
        yield from self._deferred_batches(limit, defers)
        for segment in to_deliver:
            yield from self._batches_of(segment, limit, defers)
        yield from self._batches_in_memory(limit, defers, in_memory)

    def _batches_of(
        self, segment: Segment, limit: int, defers: Callable[[UsageEvent], bool]
    ) -> Iterator[list[UsageEvent]]:
        while True:
            try:
                lines, end = segment.read(limit)
            except OSError as error:
                self._complaints.note(f"cannot read {segment.path}: {error}")
                if self._held.release(segment):
                    files.close(segment.fd)  # an orphan now; a later search takes it over again
                return
            if not lines:
                if self._held.release(segment):
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

        Each segment is an open file until it is delivered, so at most `limits.ADOPTED` wait.
        """
        self._orphans.retry_removals()
        headers = segments.headers()
        adopted = 0
        for path in self._orphans.find(self.segments()):
            if len(self._held.waiting) >= limits.ADOPTED:
                break
            if segment := Segment.adopt(path, headers):
                self._held.adopt(segment)
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
            apart = (self._deferred.segment, self._orphans.segment)
            ours = {one.path for one in (*self._held.all(), *apart) if one is not None}
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

        The list is empty while the directory cannot be read, for example if the process has no
        descriptor left.
        """
        try:
            return segments.paths(self.directory)
        except OSError as error:
            self._complaints.note(f"cannot read {self.directory}: {error}")
            return []

    def is_empty(self) -> bool:
        """See `MemoryOutbox.is_empty`."""
        return (
            not self._queue
            and self._held.are_delivered()
            and not self._deferred
            and super().is_empty()
        )

    def size(self) -> int:
        """See `MemoryOutbox.size`."""
        headers = segments.headers()
        total = 0
        for path in self.segments():
            # The owner may have just delivered it, or this process may not read it.
            with suppress(OSError), path.open("rb") as file:
                if file.readline(segments.MAX_HEADER) in headers:
                    total += os.fstat(file.fileno()).st_size
        return total

    def _dead_letter(self, event: UsageEvent, reason: str) -> None:
        super()._dead_letter(event, reason)
        try:
            if not dead_letters.add(self.directory, event, reason, capacity=limits.CAPACITY):
                self._complaints.drop(f"{dead_letters.FILE} is full ({limits.CAPACITY} bytes)")
        except OSError as error:
            self._complaints.note(f"cannot write {dead_letters.FILE}: {error}; the event waits")
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

        This closes the descriptors in the child of a fork too. Otherwise the lock on a file would
        outlive a dead parent.
        """
        with self._lock:
            self._held.close()
            self._orphans.release()
            self._deferred.close()

    def _write_queued(self) -> None:
        # A garbage collection during a put may put another event. The outer put writes both;
        # otherwise both would be written at the same offset.
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
                self._complaints.drop(f"the outbox is full ({limits.CAPACITY} bytes)")
                return
            self._held.append(line.data)
            self._revisions.remember(line.event)
        except Exception as error:  # a disk or a router failed: keep the event
            self._held.discard_rest()
            if from_outside(error):
                raise  # the line stays in the queue
            self._complaints.note(f"cannot write to {self.directory}: {error}; kept in memory")
            self._keep_in_memory(line.event)
