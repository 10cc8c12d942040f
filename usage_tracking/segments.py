"""Files of events: each is written by one process, which holds a `flock` on it while it lives.

The kernel drops the lock when the process dies, however it dies, and then any process of the site
takes the file over. Lines are written without fsync: they survive `kill -9`, not a power cut.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Self

from django.apps import apps
from django.db import connections, router

from .events import utc_now, uuid7

_SUFFIX, _NEW = ".jsonl", ".new"

#: Says of a user id and a username whether they are those of a person to forget.
Belongs = Callable[[str, str], bool]


def database() -> str:
    """Names the database that events of this process belong to."""
    model = apps.get_model("usage_tracking", "AIUsageLog")
    settings = connections[router.db_for_write(model)].settings_dict
    return json.dumps([str(settings.get(key, "")) for key in ("ENGINE", "HOST", "PORT", "NAME")])


def header() -> bytes:
    """The first line of files whose events belong to the database of this process."""
    return json.dumps({"outbox": 1, "database": database()}).encode() + b"\n"


def paths(directory: Path) -> list[Path]:
    """The files of events, of whichever process and database, the oldest first."""
    return sorted(directory.glob(f"*-*{_SUFFIX}"))


class Segment:
    """A locked file of events and how far it has been delivered."""

    __slots__ = ("fd", "offset", "path", "size")

    def __init__(self, fd: int, path: Path, *, offset: int, size: int) -> None:
        self.fd, self.path, self.offset, self.size = fd, path, offset, size

    @classmethod
    def create(cls, directory: Path) -> Self:
        """A new segment, locked before it can be seen under the name that others look for."""
        name = f"{uuid7(utc_now()).hex}-{os.getpid()}"
        new = directory / (name + _NEW)
        fd = os.open(new, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            first = header()
            write(fd, first)
            path = directory / (name + _SUFFIX)
            new.rename(path)
        except OSError:
            os.close(fd)
            new.unlink(missing_ok=True)
            raise
        return cls(fd, path, offset=len(first), size=len(first))

    @classmethod
    def adopt(cls, path: Path, header: bytes) -> Self | None:
        """The segment at `path` if its owner is dead and it begins with `header`."""
        try:
            fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            status = os.fstat(fd)
            # Between our open and our lock its last owner may have delivered and removed it.
            if status.st_nlink and os.pread(fd, len(header), 0) == header:
                return cls(fd, path, offset=len(header), size=status.st_size)
        except OSError:
            pass
        os.close(fd)
        return None

    def append(self, line: bytes) -> None:
        """Raises OSError if the disk did not take the whole line."""
        write(self.fd, line)
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


def is_orphan(path: Path, header: bytes) -> bool:
    """Whether the owner of the file is dead, and it begins with `header`."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False  # delivered in this very moment
    try:
        return os.pread(fd, len(header), 0) == header and is_free(fd)
    finally:
        os.close(fd)


def is_free(fd: int) -> bool:
    """Whether no living process owns the file."""
    try:
        # Shared, and let go with the file: who wants to take it over waits for nothing.
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def sweep(directory: Path) -> None:
    """Removes what a process left that died while it created a segment; it held no event."""
    for path in directory.glob("*" + _NEW):
        try:
            if time.time() - path.stat().st_mtime > 60:
                path.unlink()
        except OSError:
            continue


def forget(path: Path, header: bytes, belongs: Belongs) -> int:
    """Takes users off the events of a file that begins with `header`; says of how many.

    Overwrites the lines in their places: its owner may live and goes by their offsets.
    """
    try:
        # Without O_APPEND, under which Linux would write at the end wherever it is told to.
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:  # delivered in this very moment
        return 0
    try:
        content = read_all(fd)
        if not content.startswith(header):
            return 0
        forgotten, offset = 0, 0
        for line in content.splitlines(keepends=True):
            if anonymous := without_user(line, belongs):
                # One write a line, in the page cache at once: a reader sees the one or the other.
                os.pwrite(fd, anonymous.ljust(len(line.rstrip(b"\n"))), offset)
                forgotten += 1
            offset += len(line)
        return forgotten
    finally:
        os.close(fd)


def without_user(line: bytes, belongs: Belongs) -> bytes | None:
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


def make_directory(directory: Path) -> None:
    """Makes the directory of the outbox, for the site's own user only."""
    if not directory.is_dir():
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        (directory / ".gitignore").write_text("*\n")


def write(fd: int, data: bytes) -> None:
    """Raises OSError if the disk did not take all of it."""
    if os.write(fd, data) != len(data):
        raise OSError("short write")


def read_all(fd: int) -> bytes:
    parts, offset = [], 0
    while block := os.pread(fd, 1024 * 1024, offset):
        parts.append(block)
        offset += len(block)
    return b"".join(parts)
