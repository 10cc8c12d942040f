"""The durable local store between a finished AI call and the database.

Each process appends the events of its calls to a segment of its own, and takes over the segments
of processes that died. Delivery reads the segments that wait, one after the other, and takes the
current one only when they are stored: while the database is away the current one grows, and no
further file is opened. Events that have to wait for something are written once more, into a segment
of their own, and kept in memory as well, so that waiting costs no further write.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from .. import places
from ..events import UsageEvent
from ..log import logger, one_line
from ..redaction import clean_error
from ..system import files
from ..system.interruptions import from_outside
from . import dead_letters, limits, segments
from .dead_letters import DeadLetter
from .segments import Belongs, Segment

_COMPLAIN_EVERY = 60.0
#: Lines of events that are no longer deferred which their segment may hold.
_SLACK = 100


class Others(NamedTuple):
    """Segments that are not for this process to deliver."""

    #: Held by other living processes.
    living: int = 0
    #: Of other databases, whose processes may be dead: a site with their settings delivers them.
    elsewhere: int = 0
    #: Of other system users, see `segments.denied`.
    denied: int = 0


class _Deferred(NamedTuple):
    """An event that waits for something, and where its line is."""

    event: UsageEvent
    offset: int
    length: int


class _Line(NamedTuple):
    event: UsageEvent
    data: bytes
    accepted: bool


#: Two lines with the same key tell the same.
_Key = tuple[UUID, int, bool]


def _key(event: UsageEvent) -> _Key:
    return event.id, event.revision, event.completes


def _line(event: UsageEvent) -> bytes:
    return event.to_json().encode() + b"\n"


class Outbox:
    """The events of this process that the database does not have yet.

    `directory` None keeps them in memory only, as does a directory that cannot be written; then
    an ERROR line says so. Nothing here raises into the caller of `put`.
    """

    def __init__(self, directory: Path | None) -> None:
        self.directory = directory
        self.dropped = 0
        self.unreadable = 0
        self._reset()

    def _reset(self) -> None:
        # Reentrant: a garbage collection inside `put` may finish an abandoned stream, which puts.
        self._lock = threading.RLock()
        self._pid = os.getpid()
        #: Lines to be written into the current segment.
        self._queue: deque[_Line] = deque()
        self._is_writing = False
        self._current: Segment | None = None
        self._waiting: list[Segment] = []
        #: Events that wait for something, by `_key`, and the segment that holds them.
        self._deferred: dict[_Key, _Deferred] = {}
        self._deferred_again: set[_Key] = set()
        self._deferred_in: Segment | None = None
        #: Lines in that segment.
        self._deferred_lines = 0
        self._deferred_is_broken = False
        #: What is left for a later look for orphans, and when each such file was begun.
        self._left_in: Segment | None = None
        self._left: dict[Path, float] = {}
        #: Delivered files that could not be removed.
        self._leftover: set[Path] = set()
        self._memory: deque[UsageEvent] = deque()
        #: Written in transactions that may be rolled back; each with whether that has ended.
        self._doubtful: list[tuple[Callable[[], bool], UsageEvent]] = []
        #: By event id: the lowest revision that is not left out.
        self._revisions: dict[UUID, int] = {}
        self._unchecked = limits.UNCHECKED
        self._full = False
        self._checked_at = 0.0
        self._complained_at = -_COMPLAIN_EVERY

    def put(self, event: UsageEvent, *, accepted: bool = False) -> None:
        """Takes `event` over. Returns when a death of this process can no longer lose it.

        One that was `accepted` before and is put back is never refused for want of room.
        """
        if self.directory is None:
            self._remember(event)
            return
        line = _Line(event, _line(event), accepted)
        if self._pid != os.getpid():
            self.after_fork()  # uWSGI forks without Python's knowledge
        self._queue.append(line)
        with self._lock:
            self._write_queued()

    def batches(self, limit: int, hold: Callable[[UsageEvent], bool]) -> Iterator[list[UsageEvent]]:
        """Yields what waits, at most `limit` events at a time, of each id the latest.

        An event is left out once it has been amended: if it came first, its row would be written
        without its user, and changed by a second statement.

        To ask for the next batch says that the last one is stored. If the consumer fails instead,
        everything from that batch on stays for the next call. Events that `hold` picks are
        deferred. One thread at a time.
        """
        try:
            yield from self._batches(limit, hold)
        finally:
            with self._lock:
                if self._left_in is not None:
                    files.close(self._left_in.fd)
                    self._left_in = None

    def _batches(
        self, limit: int, hold: Callable[[UsageEvent], bool]
    ) -> Iterator[list[UsageEvent]]:
        with self._lock:
            self._write_queued()
            self._put_back_doubtful()
            if self._current is not None and not self._current.is_linked():
                self._detach()  # someone removed the file: no process would find what follows
            waiting = list(self._waiting)
            in_memory = len(self._memory)
        yield from self._deferred_batches(limit, hold)
        for segment in chain(waiting, self._detached()):
            while True:
                try:
                    lines, end = segment.read(limit)
                except OSError as error:
                    self._complain(f"cannot read {segment.path}: {error}")
                    if self._no_longer_waits(segment):
                        files.close(segment.fd)  # an orphan now, to be tried again
                    break
                if not lines:
                    if self._no_longer_waits(segment):
                        self._remove(segment)
                    break
                held, ready = self._sort(self._parse(lines), hold)
                if ready:
                    yield ready
                self.defer(held)
                segment.offset = end
        while in_memory > 0:
            events = list(islice(self._memory, min(limit, in_memory)))
            if not events:
                break
            held, ready = self._sort(events, hold)
            if ready:
                yield ready
            with self._lock:
                for event in events:
                    # Unless a full memory has dropped it meanwhile.
                    if self._memory and self._memory[0].id == event.id:
                        self._memory.popleft()
                self._memory.extend(held)
            in_memory -= len(events)

    def _deferred_batches(
        self, limit: int, hold: Callable[[UsageEvent], bool]
    ) -> Iterator[list[UsageEvent]]:
        with self._lock:
            if self._deferred_in is not None and not self._deferred_in.is_linked():
                self._deferred_is_broken = True  # no process would find it
                self._trim_deferred()
            for key, (event, *_) in list(self._deferred.items()):
                if self._is_overtaken(event):
                    self._deferred.pop(key)
            deferred = list(map(self._as_written, self._deferred.values()))
        _, ready = self._sort(deferred, hold)
        for start in range(0, len(ready), limit):
            batch = ready[start : start + limit]
            self._deferred_again.clear()
            yield batch
            with self._lock:
                for event in batch:
                    key = _key(event)
                    if key not in self._deferred_again:
                        self._deferred.pop(key, None)
        with self._lock:
            self._trim_deferred()

    def defer(self, events: Iterable[UsageEvent]) -> None:
        """Keeps events of the batch that was yielded last until `hold` lets them go."""
        for event in events:
            if self.directory is None or len(self._deferred) >= limits.MEMORY_CAPACITY:
                self.put(event, accepted=True)
                continue
            with self._lock:
                self._deferred_again.add(_key(event))
                if _key(event) in self._deferred:
                    continue
                if deferred := self._defer(event, self.directory):
                    self._deferred[_key(event)] = deferred
                    continue
            self.put(event, accepted=True)

    def _defer(self, event: UsageEvent, directory: Path) -> _Deferred | None:
        """Write a deferred event; None if that fails."""
        line = _line(event)
        try:
            if self._deferred_in is None:
                self._deferred_in, self._deferred_lines = Segment.create(directory), 0
            offset = self._deferred_in.size
            self._deferred_in.append(line)
            self._deferred_lines += 1
        except OSError:
            if self._deferred_in is not None and not self._deferred_in.mend():
                self._deferred_is_broken = True
            return None
        return _Deferred(event, offset, len(line))

    def _as_written(self, deferred: _Deferred) -> UsageEvent:
        """The event as its line has it: another process may have taken the user off."""
        if self._deferred_in is not None and not self._deferred_is_broken:
            with suppress(OSError, ValueError, RecursionError):
                line = files.read_at(self._deferred_in.fd, deferred.length, deferred.offset)
                written = UsageEvent.from_json(line)
                if _key(written) == _key(deferred.event):
                    return written
        return deferred.event

    def _trim_deferred(self) -> None:
        """Remove the segment of what is deferred if it is empty; write it anew if it can shrink."""
        segment, directory = self._deferred_in, self.directory
        if segment is None or directory is None:
            return
        is_slack = self._deferred_lines > 2 * len(self._deferred) + _SLACK
        if self._deferred and not is_slack and not self._deferred_is_broken:
            return
        events = list(map(self._as_written, self._deferred.values()))
        before = self._deferred_in, self._deferred_lines
        self._deferred_in = None
        written: dict[_Key, _Deferred] = {}
        for event in events:
            if (deferred := self._defer(event, directory)) is None:
                # Another time: what waits is in the segment of before, or in memory.
                self._drop_deferred()
                self._deferred_in, self._deferred_lines = before
                return
            written[_key(event)] = deferred
        self._deferred, self._deferred_is_broken = written, False
        self._remove(segment)

    def _drop_deferred(self) -> None:
        if self._deferred_in is not None:
            self._remove(self._deferred_in)

    def _remove(self, segment: Segment) -> None:
        if not segment.remove():
            self._leftover.add(segment.path)

    def leave(self, events: Iterable[UsageEvent]) -> None:
        """Leaves events of the batch that was yielded last to a later look for orphans.

        They take no memory until then, and other events do not wait for them.
        """
        for event in events:
            with self._lock:
                if self.directory is not None and self._leave(event, self.directory):
                    continue
            self.put(event, accepted=True)

    def _leave(self, event: UsageEvent, directory: Path) -> bool:
        try:
            if self._left_in is not None and self._left_in.size >= limits.SEGMENT:
                files.close(self._left_in.fd)
                self._left_in = None
            if self._left_in is None:
                self._left_in = Segment.create(directory)
                self._left[self._left_in.path] = time.monotonic()
            self._left_in.append(_line(event))
        except OSError:
            if self._left_in is not None:
                self._left_in.mend()
            return False
        return True

    def adopt_orphans(self) -> int:
        """Take over segments whose owners are dead; return how many.

        Each is an open file until it is delivered, so no more than `limits.ADOPTED` wait.
        """
        if self.directory is None:
            return 0
        self._leftover = {path for path in self._leftover if not files.remove(path)}
        headers, passed_over = segments.headers(), self._passed_over()
        adopted = 0
        for path in self.segments():
            if len(self._waiting) >= limits.ADOPTED:
                break  # each is an open file of the host's process until it is delivered
            if path in passed_over:
                continue
            if segment := Segment.adopt(path, headers):
                with self._lock:
                    self._waiting.append(segment)
                adopted += 1
        with suppress(OSError):
            segments.sweep(self.directory)
        return adopted

    def elsewhere(self) -> list[Path]:
        """The files of other databases whose processes are dead."""
        headers = segments.headers()
        return [path for path in self.segments() if segments.is_foreign_orphan(path, headers)]

    def has_orphans(self) -> bool:
        """Whether a dead process left a segment of our database."""
        headers, passed_over = segments.headers(), self._passed_over()
        return any(
            segments.is_orphan(path, headers) for path in self.segments() if path not in passed_over
        )

    def _passed_over(self) -> set[Path]:
        """Files that are not to be taken over (yet)."""
        oldest = time.monotonic() - limits.SET_ASIDE_FOR
        self._left = {path: since for path, since in self._left.items() if since > oldest}
        return self._leftover | set(self._left)

    def other_segments(self) -> Others:
        """How many segments other living processes hold, and how many are of other databases."""
        if self.directory is None:
            return Others()
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

    def _open(self) -> list[Segment]:
        """The segments that this process holds."""
        single = (self._current, self._deferred_in, self._left_in)
        return [*self._waiting, *(segment for segment in single if segment is not None)]

    def segments(self) -> list[Path]:
        """The files that wait on disk, those of other processes included.

        None of them while the directory cannot be read, as when the host has no descriptor left.
        """
        if self.directory is None:
            return []
        try:
            return segments.paths(self.directory)
        except OSError as error:
            self._complain(f"cannot read {self.directory}: {error}")
            return []

    def is_empty(self) -> bool:
        """Whether nothing of this process waits; cheap enough to ask after every request."""
        current = self._current
        return (
            not self._waiting
            and not self._deferred
            and not self._memory
            and not self._queue
            and (current is None or current.size <= current.offset)
            and not any(has_ended() for has_ended, _ in self._doubtful)
        )

    def size(self) -> int:
        """Bytes that wait on disk for the database of this site, those of other processes included.

        Dead letters do not wait.
        """
        headers = segments.headers()
        total = 0
        for path in self.segments():
            # Delivered by its owner in this very moment, or not ours to read.
            with suppress(OSError), path.open("rb") as file:
                if file.readline(segments.MAX_HEADER) in headers:
                    total += os.fstat(file.fileno()).st_size
        return total

    def doubt(self, events: Iterable[UsageEvent], has_ended: Callable[[], bool]) -> None:
        """Keeps what was written in a transaction; it waits again when `has_ended` says so."""
        with self._lock:
            self._doubtful += [(has_ended, event) for event in events]

    def clear(self) -> None:
        """Forgets what is in memory."""
        with self._lock:
            self._memory.clear()
            self._doubtful.clear()

    def close(self) -> None:
        """Lets go of the files; what is in them becomes an orphan that anybody may deliver."""
        with self._lock:
            for segment in self._open():
                files.close(segment.fd)
            self._waiting, self._current = [], None
            self._deferred_in, self._left_in = None, None
            self._deferred.clear()

    def bury(self, event: UsageEvent, reason: str) -> None:
        """Puts an event that the database refuses aside, so that it never blocks the others."""
        reason = clean_error(reason)  # PostgreSQL repeats the whole row
        logger.error(
            "[TRACK_ERROR] The database refuses event %s: %s; see `flush_ai_usage --retry-dead`",
            event.id,
            one_line(reason),
            extra={"event_id": str(event.id), "reason": reason},
        )
        if self.directory is None:
            return
        try:
            if not dead_letters.add(self.directory, event, reason, capacity=limits.CAPACITY):
                self._drop(f"{dead_letters.FILE} is full ({limits.CAPACITY} bytes)")
        except OSError as error:
            self._complain(f"cannot write {dead_letters.FILE}: {error}; the event waits")
            self.leave([event])

    def dead_letters(self) -> list[DeadLetter]:
        """The events that the database refused, with its reasons."""
        if self.directory is None:
            return []
        letters, unreadable = dead_letters.read(self.directory)
        self.unreadable += unreadable
        return letters

    def retry_dead_letters(self) -> int:
        """Puts refused events back among those that wait; says how many. Raises OSError."""
        if self.directory is None:
            return 0
        put = partial(self.put, accepted=True)
        retried, unreadable = dead_letters.take(self.directory, put)
        self.unreadable += unreadable
        return retried

    def forget(self, belongs: Belongs) -> int:
        """Takes the user off what waits and off the dead letters; says how many lines had one.

        `belongs` is given the user id and the username of an event. Files of other databases, where
        the same key is another person's, are left alone. Raises OSError.
        """
        forgotten = 0

        def without_user(event: UsageEvent) -> UsageEvent:
            nonlocal forgotten
            if not belongs(event.user_id or "", event.username):
                return event
            if not places.shares_users(event.database, event.schema):
                return event
            forgotten += 1
            return replace(event, user_id=None, username="")

        with self._lock:
            self._memory = deque(map(without_user, self._memory))
            self._doubtful = [(ended, without_user(event)) for ended, event in self._doubtful]
            in_memory = forgotten
            self._deferred = {
                key: deferred._replace(event=without_user(deferred.event))
                for key, deferred in self._deferred.items()
            }
            forgotten = in_memory  # their lines are counted
        if self.directory is None:
            return forgotten
        headers = segments.headers()
        paths = segments.paths(self.directory)
        return (
            forgotten
            + sum(segments.forget(path, headers, belongs) for path in paths)
            + dead_letters.forget(self.directory, belongs)
        )

    def after_fork(self) -> None:
        """In the child: what was open belongs to the parent, whose own descriptors keep the lock.

        Closed here all the same, or the lock would outlive a parent that dies.
        """
        self._lock = threading.RLock()
        self.close()
        self._reset()

    def _put_back_doubtful(self) -> None:
        doubtful, self._doubtful = self._doubtful, []
        for has_ended, event in doubtful:
            if has_ended():
                self.put(event)
            else:
                self._doubtful.append((has_ended, event))

    def _write_queued(self) -> None:
        # A garbage collection during a put may put another event. The outer one writes both, or
        # they would be written at the same offset.
        if self._is_writing or self.directory is None:
            return
        self._is_writing = True
        try:
            while self._queue:
                self._write(self._queue[0], self.directory)
                self._queue.popleft()
        finally:
            self._is_writing = False

    def _write(self, line: _Line, directory: Path) -> None:
        try:
            if not line.accepted and not self._has_room(len(line.data)):
                self._drop(f"the outbox is full ({limits.CAPACITY} bytes)")
                return
            if self._current is not None and self._current.size >= limits.SEGMENT:
                self._detach()
            if self._current is None:
                segments.make_directory(directory)
                self._current = Segment.create(directory)
            self._current.append(line.data)
            self._remember_revision(line.event)
        except Exception as error:  # a disk, a router: the event must not go
            if self._current is not None and not self._current.mend():
                self._detach()
            if from_outside(error):
                raise  # the line stays in the queue
            self._complain(f"cannot write to {directory}: {error}; kept in memory")
            self._remember(line.event)

    def _detach(self) -> Segment | None:
        """Move the current segment to those that wait, unless they are too many."""
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
        """Take the segment off those that wait; False if `close` has done so."""
        with self._lock:
            if segment not in self._waiting:
                return False
            self._waiting.remove(segment)
            return True

    def _has_room(self, length: int) -> bool:
        self._unchecked += length
        # Once full, look again every second; until then after every megabyte of our own.
        if self._unchecked > limits.UNCHECKED or (
            self._full and time.monotonic() - self._checked_at > 1.0
        ):
            self._full = self.size() + length > limits.CAPACITY
            self._unchecked = 0
            self._checked_at = time.monotonic()
        return not self._full

    def _remember(self, event: UsageEvent) -> None:
        with self._lock:
            if len(self._memory) >= limits.MEMORY_CAPACITY:
                self._memory.popleft()
                self._drop(f"more than {limits.MEMORY_CAPACITY} events in memory")
            self._memory.append(event)
            self._remember_revision(event)

    def _drop(self, reason: str) -> None:
        self.dropped += 1
        self._complain(f"{reason}; {self.dropped} events dropped so far")

    def _complain(self, text: str) -> None:
        now = time.monotonic()
        if now - self._complained_at >= _COMPLAIN_EVERY:
            self._complained_at = now
            logger.error(
                "[TRACK_ERROR] Outbox: %s", one_line(text), extra={"dropped": self.dropped}
            )

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

    def _sort(
        self, events: list[UsageEvent], hold: Callable[[UsageEvent], bool]
    ) -> tuple[list[UsageEvent], list[UsageEvent]]:
        """Split `events` by `hold`, without those of which a later revision is known."""
        held: list[UsageEvent] = []
        ready: list[UsageEvent] = []
        for event in events:
            if not self._is_overtaken(event):
                self._remember_revision(event)
                (held if hold(event) else ready).append(event)
        return held, ready

    def overtake(self, event: UsageEvent) -> None:
        """Leave out this revision of `event`, and all before it: the caller has written it."""
        if event.revision:
            self._remember_revision(event, event.revision + 1)

    def _is_overtaken(self, event: UsageEvent) -> bool:
        return not event.completes and event.revision < self._revisions.get(event.id, 0)

    def _remember_revision(self, event: UsageEvent, revision: int | None = None) -> None:
        """Leave out the revisions of `event` below its own, or below `revision`, from now on."""
        if not event.revision or event.completes:
            return
        with self._lock:
            known = self._revisions.get(event.id, 0)
            self._revisions[event.id] = max(known, revision or event.revision)
            while len(self._revisions) > limits.REVISIONS:
                self._revisions.pop(next(iter(self._revisions)))
