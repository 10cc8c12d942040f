"""The durable local store between a finished AI call and the database.

Each process appends JSON lines to a segment of its own and holds a `flock` on it: the kernel
drops the lock when the process dies, however it dies, and then any process of the site takes the
segment over. Lines are written without fsync: they survive `kill -9`, not a power cut.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from django.apps import apps
from django.core.signals import setting_changed
from django.db import connections, router

from . import conf
from .errors import contained, logger, one_line
from .events import UsageEvent, utc_now, uuid7
from .redaction import REDACTED, clean_error

CAPACITY = 64 * 1024 * 1024
MEMORY_CAPACITY = 10_000
#: How much may be written before the size of the directory is looked at again.
_UNCHECKED = 1024 * 1024
_COMPLAIN_EVERY = 60.0
DEAD_LETTERS = "dead.jsonl"
#: How many segments of dead processes are held open at a time.
ADOPTED = 16
_SUFFIX, _NEW = ".jsonl", ".new"


class Listener(Protocol):
    """What the outbox tells of its life; delivery registers itself as one."""

    def expect(self) -> None:
        """An AI call has begun: soon an event will come."""

    def arrived(self) -> None:
        """An event was put."""

    def moment(self, *, wait: float = 0.0) -> bool | None:
        """A unit of work has ended; the caller waits up to `wait` seconds to see its rows."""


listener: Listener | None = None


class DeadLetter(NamedTuple):
    event: dict[str, Any]
    reason: str


class Others(NamedTuple):
    """Segments that are not for this process to deliver."""

    #: Held by other living processes.
    living: int = 0
    #: Of other databases, whose processes may be dead: a site with their settings delivers them.
    elsewhere: int = 0


class Segment:
    """A locked file of events and how far it has been delivered."""

    __slots__ = ("fd", "offset", "path", "size")

    def __init__(self, fd: int, path: Path, *, offset: int, size: int) -> None:
        self.fd, self.path, self.offset, self.size = fd, path, offset, size

    @classmethod
    def create(cls, directory: Path, database: str) -> Segment:
        """A new segment, locked before it can be seen under the name that others look for."""
        name = f"{uuid7(utc_now()).hex}-{os.getpid()}"
        new = directory / (name + _NEW)
        fd = os.open(new, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            header = _header(database)
            _write(fd, header)
            path = directory / (name + _SUFFIX)
            new.rename(path)
        except OSError:
            os.close(fd)
            new.unlink(missing_ok=True)
            raise
        return cls(fd, path, offset=len(header), size=len(header))

    @classmethod
    def adopt(cls, path: Path, database: str) -> Segment | None:
        """The segment at `path` if its owner is dead and it belongs to `database`."""
        try:
            fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            status = os.fstat(fd)
            # Between our open and our lock its last owner may have delivered and removed it.
            if status.st_nlink:
                header = os.pread(fd, 4096, 0).partition(b"\n")[0] + b"\n"
                if header == _header(database):
                    return cls(fd, path, offset=len(header), size=status.st_size)
        except OSError:
            pass
        os.close(fd)
        return None

    def append(self, line: bytes) -> None:
        """Raises OSError if the disk did not take the whole line."""
        _write(self.fd, line)
        self.size += len(line)

    def read(self, limit: int) -> tuple[list[bytes], int]:
        """At most `limit` lines after what was delivered, and the offset behind them.

        A last line without an end, torn by the death of its writer, counts as a line.
        """
        lines: list[bytes] = []
        end, rest = self.offset, b""
        while len(lines) < limit:
            block = os.pread(self.fd, 256 * 1024, end + len(rest))
            if not block:
                if rest:
                    lines.append(rest)
                    end += len(rest)
                break
            *whole, rest = (rest + block).split(b"\n")
            for line in islice(whole, limit - len(lines)):
                lines.append(line)
                end += len(line) + 1
        return lines, end

    def remove(self) -> None:
        # Unlinked before it is unlocked: nobody must find it free and still there.
        self.path.unlink(missing_ok=True)
        os.close(self.fd)


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
        self._current: Segment | None = None
        self._waiting: list[Segment] = []
        self._memory: deque[UsageEvent] = deque()
        self._unchecked = _UNCHECKED
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
        line = event.to_json().encode() + b"\n"
        with self._lock:
            try:
                if not accepted and not self._has_room(len(line)):
                    self._drop(f"the outbox is full ({CAPACITY} bytes)")
                    return
                current = self._current or self._begin(self.directory)
                current.append(line)
            except Exception as error:  # noqa: BLE001 -- a disk, a router: the event must not go
                # What was written of the line would spoil the next one: go on in a new segment.
                if self._current is not None:
                    self._waiting.append(self._current)
                    self._current = None
                self._complain(f"cannot write to {self.directory}: {error}; kept in memory")
                self._remember(event)

    def batches(self, limit: int, hold: Callable[[UsageEvent], bool]) -> Iterator[list[UsageEvent]]:
        """Yields what waits, at most `limit` events at a time, of each id the latest.

        To ask for the next batch says that the last one is stored. If the consumer fails instead,
        everything from that batch on stays for the next call. Events that `hold` picks are put
        back. One thread at a time.
        """
        with self._lock:
            if self._current is not None and self._current.size > self._current.offset:
                self._waiting.append(self._current)
                self._current = None
            segments = list(self._waiting)
            in_memory = len(self._memory)
        for segment in segments:
            while True:
                lines, end = segment.read(limit)
                if not lines:
                    break
                held, ready = self._sort(self._parse(lines), hold)
                if ready:
                    yield ready
                segment.offset = end
                for event in held:
                    self.put(event, accepted=True)
            with self._lock:
                self._waiting.remove(segment)
            segment.remove()
        while in_memory > 0:
            events = list(islice(self._memory, min(limit, in_memory)))
            if not events:
                break
            held, ready = self._sort(events, hold)
            if ready:
                yield ready
            with self._lock:
                for _ in events:
                    self._memory.popleft()
                self._memory.extend(held)
            in_memory -= len(events)

    def adopt_orphans(self) -> int:
        """Takes over segments whose owners are dead, at most ADOPTED at a time; says how many."""
        if self.directory is None:
            return 0
        database = _database()
        adopted = 0
        for path in sorted(self.directory.glob("*" + _SUFFIX)):
            if len(self._waiting) >= ADOPTED:
                break  # each is an open file of the host's process until it is delivered
            if path.name == DEAD_LETTERS:
                continue
            if segment := Segment.adopt(path, database):
                with self._lock:
                    self._waiting.append(segment)
                adopted += 1
        self._sweep(self.directory)
        return adopted

    def other_segments(self) -> Others:
        """How many segments other living processes hold, and how many are of other databases."""
        if self.directory is None:
            return Others()
        with self._lock:
            ours = {s.path for s in (*self._waiting, *([self._current] if self._current else []))}
        header = _header(_database())
        counts = {True: 0, False: 0}
        for path in self.directory.glob("*" + _SUFFIX):
            if path in ours or path.name == DEAD_LETTERS:
                continue
            with suppress(FileNotFoundError), path.open("rb") as file:
                counts[file.readline(4096) == header] += 1
        return Others(counts[True], counts[False])

    def foreign_segments(self) -> int:
        """How many segments other living processes hold, or belong to other databases."""
        return sum(self.other_segments())

    def segments(self) -> list[Path]:
        """The files that wait on disk, those of other processes included."""
        if self.directory is None:
            return []
        return [p for p in self.directory.glob("*" + _SUFFIX) if p.name != DEAD_LETTERS]

    def is_empty(self) -> bool:
        """Whether nothing of this process waits; cheap enough to ask after every request."""
        current = self._current
        return (
            not self._waiting
            and not self._memory
            and (current is None or current.size <= current.offset)
        )

    def size(self) -> int:
        """Bytes that wait on disk, those of other processes included; dead letters do not wait."""
        total = 0
        for path in self.segments():
            with suppress(FileNotFoundError):  # delivered by its owner in this very moment
                total += path.stat().st_size
        return total

    def clear(self) -> None:
        """Forgets what is in memory."""
        with self._lock:
            self._memory.clear()

    def close(self) -> None:
        """Lets go of the files; what is in them becomes an orphan that anybody may deliver."""
        with self._lock:
            for segment in (*self._waiting, *([self._current] if self._current else [])):
                os.close(segment.fd)
            self._waiting, self._current = [], None

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
        letter = {
            "at": utc_now().isoformat(),
            "database": _database(),
            "reason": reason,
            "event": json.loads(event.to_json()),
        }
        try:
            _make(self.directory)
            with _Locked(self.directory / DEAD_LETTERS) as fd:
                if os.fstat(fd).st_size > CAPACITY:
                    self._drop(f"{DEAD_LETTERS} is full ({CAPACITY} bytes)")
                    return
                _write(fd, json.dumps(letter).encode() + b"\n")
        except OSError as error:
            self._complain(f"cannot write {DEAD_LETTERS}: {error}")

    def dead_letters(self) -> list[DeadLetter]:
        """The events that the database refused, with its reasons."""
        if self.directory is None:
            return []
        try:
            content = (self.directory / DEAD_LETTERS).read_bytes()
        except OSError:
            return []
        database = _database()
        letters = []
        for line in content.splitlines():
            try:
                letter = json.loads(line)
                if letter["database"] == database:
                    letters.append(DeadLetter(letter["event"], letter["reason"]))
            except (ValueError, KeyError, TypeError):
                self.unreadable += 1
        return letters

    def retry_dead_letters(self) -> int:
        """Puts refused events back among those that wait; says how many."""
        if self.directory is None or not (self.directory / DEAD_LETTERS).is_file():
            return 0
        database = _database()
        kept: list[bytes] = []
        retried = 0
        with _Locked(self.directory / DEAD_LETTERS) as fd:
            for line in _read_all(fd).splitlines():
                try:
                    letter = json.loads(line)
                    if letter["database"] == database:
                        event = UsageEvent.from_json(json.dumps(letter["event"]))
                        self.put(event, accepted=True)
                        retried += 1
                        continue
                except (ValueError, KeyError, TypeError):
                    self.unreadable += 1
                kept.append(line + b"\n")
            # Emptied after the events are safe: a crash in between repeats them, ids absorb it.
            os.ftruncate(fd, 0)
            _write(fd, b"".join(kept))
        return retried

    def forget(self, belongs: Callable[[str, str], bool]) -> int:
        """Takes the user off what waits and off the dead letters; says how many lines had one.

        `belongs` is given the user id and the username of an event. Files of other databases, where
        the same key is another person's, are left alone. Raises OSError.
        """
        with self._lock:
            remembered = [e for e in self._memory if belongs(e.user_id or "", e.username)]
            for event in remembered:
                at = self._memory.index(event)
                self._memory[at] = replace(event, user_id=None, username="")
        if self.directory is None:
            return len(remembered)
        header = _header(_database())
        forgotten = len(remembered)
        for path in self.directory.glob("*" + _SUFFIX):
            if path.name != DEAD_LETTERS:
                forgotten += _forget_in_segment(path, header, belongs)
        if (self.directory / DEAD_LETTERS).is_file():
            with _Locked(self.directory / DEAD_LETTERS) as fd:
                forgotten += _forget_dead_letters(fd, _database(), belongs)
        return forgotten

    def after_fork(self) -> None:
        """In the child: what was open belongs to the parent, whose own descriptors keep the lock.

        Closed here all the same, or the lock would outlive a parent that dies.
        """
        self._lock = threading.RLock()
        self.close()
        self._reset()

    def _begin(self, directory: Path) -> Segment:
        _make(directory)
        created = Segment.create(directory, _database())
        # Meanwhile a garbage collection inside may have put, and begun one, too.
        if self._current is None:
            self._current = created
        else:
            self._waiting.append(created)
        return self._current

    def _has_room(self, length: int) -> bool:
        self._unchecked += length
        # Once full, look again every second; until then after every megabyte of our own.
        if self._unchecked > _UNCHECKED or (
            self._full and time.monotonic() - self._checked_at > 1.0
        ):
            self._full = self.size() + length > CAPACITY
            self._unchecked = 0
            self._checked_at = time.monotonic()
        return not self._full

    def _remember(self, event: UsageEvent) -> None:
        with self._lock:
            if len(self._memory) >= MEMORY_CAPACITY:
                self._memory.popleft()
                self._drop(f"more than {MEMORY_CAPACITY} events in memory")
            self._memory.append(event)

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
        held: list[UsageEvent] = []
        ready: list[UsageEvent] = []
        for event in events:
            (held if hold(event) else ready).append(event)
        return held, ready

    def _sweep(self, directory: Path) -> None:
        """Removes what a process left that died while it created a segment; it held no event."""
        for path in directory.glob("*" + _NEW):
            try:
                if time.time() - path.stat().st_mtime > 60:
                    path.unlink()
            except OSError:
                continue


_outbox: Outbox | None = None
_memory = Outbox(None)
_test: object = None
_creation = threading.RLock()


def get() -> Outbox:
    """The outbox of this process under the settings in force."""
    global _outbox, _test
    if inline():
        test = conf.running_test()
        if test is not _test:
            # What the last test left is not for this one.
            _test = test
            _memory.clear()
        return _memory
    if _outbox is None:
        with _creation:
            if _outbox is None:
                directory = conf.outbox()
                if directory is None:
                    logger.error(
                        "[TRACK_ERROR] Outbox: neither AI_USAGE_OUTBOX nor BASE_DIR is set; "
                        "events are kept in memory and die with the process"
                    )
                _outbox = Outbox(directory)
    return _outbox


def inline() -> bool:
    """Whether events are delivered on the caller's connection, without thread or file.

    So it is in a site's own tests and with `AI_USAGE_OUTBOX = None`.
    """
    return conf.running_test() is not None or conf.inline()


def put(event: UsageEvent) -> None:
    get().put(event)
    if listener is not None:
        listener.arrived()


@contained
def expect() -> None:
    if listener is not None:
        listener.expect()


def moment(*, wait: float = 0.0) -> None:
    if listener is not None:
        listener.moment(wait=wait)


def _after_fork() -> None:
    global _creation
    _creation = threading.RLock()
    _memory.after_fork()
    if _outbox is not None:
        _outbox.after_fork()


def _setting_changed(*, setting: str, **_: object) -> None:
    global _outbox
    if setting in {"AI_USAGE_OUTBOX", "BASE_DIR", "DATABASES"} and _outbox is not None:
        _outbox.close()
        _outbox = None


os.register_at_fork(after_in_child=_after_fork)
setting_changed.connect(_setting_changed)


def _database() -> str:
    """Names the database that events of this process belong to."""
    model = apps.get_model("usage_tracking", "AIUsageLog")
    settings = connections[router.db_for_write(model)].settings_dict
    return json.dumps([str(settings.get(key, "")) for key in ("ENGINE", "HOST", "PORT", "NAME")])


def _forget_in_segment(path: Path, header: bytes, belongs: Callable[[str, str], bool]) -> int:
    """Overwrites the lines in their places: its owner may live and goes by their offsets."""
    try:
        # Without O_APPEND, under which Linux would write at the end wherever it is told to.
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:  # delivered in this very moment
        return 0
    try:
        content = _read_all(fd)
        if not content.startswith(header):
            return 0
        forgotten, offset = 0, 0
        for line in content.splitlines(keepends=True):
            if anonymous := _without_user(line, belongs):
                # One write a line, in the page cache at once: a reader sees the one or the other.
                os.pwrite(fd, anonymous.ljust(len(line.rstrip(b"\n"))), offset)
                forgotten += 1
            offset += len(line)
        return forgotten
    finally:
        os.close(fd)


def _forget_dead_letters(fd: int, database: str, belongs: Callable[[str, str], bool]) -> int:
    kept: list[bytes] = []
    forgotten = 0
    for line in _read_all(fd).splitlines():
        try:
            letter = json.loads(line)
            event, username = letter["event"], letter["event"].get("username") or ""
            if letter["database"] == database and (
                anonymous := _without_user(json.dumps(event).encode(), belongs)
            ):
                # The database's own words repeat the row, from the second line on.
                reason = letter["reason"].partition("\n")[0]
                reason = reason.replace(username, REDACTED) if username else reason
                letter |= {"event": json.loads(anonymous), "reason": reason}
                line = json.dumps(letter).encode()
                forgotten += 1
        except (ValueError, KeyError, TypeError, AttributeError):
            pass  # torn or tampered with; `dead_letters` counts it
        kept.append(line + b"\n")
    if forgotten:
        os.ftruncate(fd, 0)
        _write(fd, b"".join(kept))
    return forgotten


def _without_user(line: bytes, belongs: Callable[[str, str], bool]) -> bytes | None:
    """The line of an event without its user, never longer; None if it is not that user's."""
    try:
        event = json.loads(line)
        user_id, username = event.get("user_id") or "", event.get("username") or ""
    except (ValueError, AttributeError, RecursionError):
        return None
    if not (user_id or username) or not belongs(user_id, username):
        return None
    event.pop("user_id", None)
    event.pop("username", None)
    return json.dumps(event, separators=(",", ":")).encode()


def _make(directory: Path) -> None:
    if not directory.is_dir():
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        (directory / ".gitignore").write_text("*\n")


def _header(database: str) -> bytes:
    return json.dumps({"outbox": 1, "database": database}).encode() + b"\n"


def _write(fd: int, data: bytes) -> None:
    if os.write(fd, data) != len(data):
        raise OSError("short write")


def _read_all(fd: int) -> bytes:
    parts, offset = [], 0
    while block := os.pread(fd, 1024 * 1024, offset):
        parts.append(block)
        offset += len(block)
    return b"".join(parts)


class _Locked:
    """Opens a file that several processes append to, and holds its lock."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> int:
        self._fd = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        return self._fd

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)
