"""Segments: files of events, each written by one process that holds a lock on it while it lives.

The kernel drops the lock when the process dies, however it dies. Then any process of the site takes
the file over. Lines are written without fsync: they survive `kill -9`, not a power cut.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Container, Iterable
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Self

from django.db import connections

from .. import places
from ..events import UsageEvent, utc_now, uuid7
from ..system import files

_SUFFIX, _NEW = ".jsonl", ".new"
#: Number of new files in a row that other processes may lock first.
_TRIES = 5
#: Maximum number of bytes of a header.
MAX_HEADER = 4096

#: Returns whether a user id and a username are those of the person to forget.
Belongs = Callable[[str, str], bool]


def header() -> bytes:
    """Return the first line of the files of this process's site.

    It names the site's own database. An event of a tenant names the tenant's database itself.
    """
    return _line(2, places.identity(places.own()))


def headers() -> frozenset[bytes]:
    """Return `header()`, and the headers that older releases wrote."""
    return frozenset(_line(version, name) for name, version in databases().items())


def databases() -> dict[str, int]:
    """Return the names of the site's own database, each with the outbox version that uses it."""
    settings = connections.settings[places.own()]
    old = json.dumps([str(settings.get(key, "")) for key in ("ENGINE", "HOST", "PORT", "NAME")])
    return {old: 1, places.identity(places.own()): 2}


def _line(version: int, database: str) -> bytes:
    return json.dumps({"outbox": version, "database": database}).encode() + b"\n"


def read_header(fd: int) -> bytes:
    """Return the first line of a file.

    Raises:
        OSError: The file cannot be read.
    """
    line, end, _ = files.read_at(fd, MAX_HEADER, 0).partition(b"\n")
    return line + end


def database_of(header: bytes) -> str:
    """Return the name of the database in a header, "" if it has none."""
    try:
        return str(json.loads(header)["database"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""


def paths(directory: Path) -> list[Path]:
    """Return the files of events of all processes and databases, the oldest first.

    Raises:
        OSError: The directory exists and cannot be read.
        PermissionError: Another user of this machine may have written into it.
    """
    with suppress(FileNotFoundError, NotADirectoryError):
        if reason := files.distrust(directory):
            raise PermissionError(reason)
    return sorted(path for path in _files(directory, _SUFFIX) if "-" in path.name)


def _files(directory: Path, suffix: str) -> list[Path]:
    # `Path.glob` hides some errors, and which ones depends on the version of Python.
    try:
        return [directory / name for name in os.listdir(directory) if name.endswith(suffix)]
    except (FileNotFoundError, NotADirectoryError):
        return []


def line_of(event: UsageEvent) -> bytes:
    """Return the line of an event in a segment."""
    return event.to_json().encode() + b"\n"


class Segment:
    """A locked file of events, and the offset up to which it is delivered."""

    __slots__ = ("_start", "fd", "offset", "path", "size")

    def __init__(self, fd: int, path: Path, *, start: int, size: int) -> None:
        self.fd, self.path, self.size = fd, path, size
        #: Number of bytes of the header.
        self._start = self.offset = start

    @classmethod
    def create(cls, directory: Path) -> Self:
        """Return a new segment, which is locked before other processes see its name.

        Windows cannot rename an open file, so another process may lock the new file first. That
        process finds no event and removes the file, and this process tries another name.

        Raises:
            OSError: The file cannot be created.
        """
        first = header()
        for _ in range(_TRIES):
            name = f"{uuid7(utc_now()).hex}-{os.getpid()}"
            new, path = directory / (name + _NEW), directory / (name + _SUFFIX)
            fd = files.open_file(new, os.O_RDWR | os.O_CREAT | os.O_EXCL)
            try:
                files.lock(fd)
                files.write_at(fd, first, 0)
                if not files.PINS_OPEN_FILES:
                    new.rename(path)
                    return cls(fd, path, start=len(first), size=len(first))
            except BaseException:
                files.close(fd)
                files.remove(new)
                raise
            files.close(fd)
            new.rename(path)
            if segment := cls.adopt(path, {first}):
                return segment
        raise OSError(f"other processes took each of {_TRIES} new files")

    @classmethod
    def adopt(cls, path: Path, headers: Container[bytes]) -> Self | None:
        """Return the segment at `path` if its owner is dead and it begins with one of `headers`."""
        if not files.CAN_LOCK:
            return None  # nothing shows that its owner is dead
        try:
            fd = files.open_file(path, os.O_RDWR)
        except OSError:
            return None
        try:
            files.lock(fd)
            status = os.fstat(fd)
            # Between our open and our lock its last owner may have delivered and removed it.
            if (
                status.st_nlink
                and (header := read_header(fd)) in headers
                and not files.distrust_file(fd, path.parent)
            ):
                return cls(fd, path, start=len(header), size=status.st_size)
        except OSError:
            pass
        files.close(fd)
        return None

    def append(self, line: bytes) -> None:
        """Append a line.

        Raises:
            OSError: The line was not written, or only partly; the next line overwrites it.
        """
        files.write_at(self.fd, line, self.size)
        self.size += len(line)

    def truncate(self) -> bool:
        """Cut off the rest of a failed `append`; return False if the file cannot be changed."""
        try:
            os.ftruncate(self.fd, self.size)
        except OSError:
            return False
        return True

    def is_linked(self) -> bool:
        """Return whether the file still has its name, so that other processes can find it."""
        try:
            return os.fstat(self.fd).st_nlink > 0
        except OSError:
            return False

    def read(self, limit: int) -> tuple[list[bytes], int]:
        """Return at most `limit` undelivered lines, and the offset after them.

        A last line without a line break, left by a writer that died, counts as a line.

        Raises:
            OSError: The file cannot be read.
        """
        lines: list[bytes] = []
        end, rest = self.offset, b""
        while len(lines) < limit:
            block = files.read_at(self.fd, 256 * 1024, end + len(rest))
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

    def remove(self) -> bool:
        """Close and remove a delivered file; return False if it could not be removed.

        In that case only its header is left: an orphan without events.
        """
        # Unlink it before unlocking it, so that no other process takes it over.
        if not files.PINS_OPEN_FILES and files.remove(self.path):
            files.close(self.fd)
            return True
        with suppress(OSError):
            os.ftruncate(self.fd, self._start)
        files.close(self.fd)
        return files.remove(self.path)


def is_orphan(path: Path, headers: Container[bytes]) -> bool:
    """Return whether the owner of the file is dead, and it begins with one of `headers`."""
    try:
        fd = files.open_file(path, os.O_RDONLY)
    except OSError:
        return False  # just delivered
    try:
        return (
            read_header(fd) in headers and is_free(fd) and not files.distrust_file(fd, path.parent)
        )
    except OSError:
        return False
    finally:
        files.close(fd)


def database_in(path: Path) -> str:
    """Return the name of the database in the header of a file, "" if it has none."""
    try:
        with path.open("rb") as file:
            return database_of(file.readline(MAX_HEADER))
    except OSError:
        return ""


def is_foreign_orphan(path: Path, headers: Container[bytes]) -> bool:
    """Return whether the owner of the file is dead, and it begins with none of `headers`."""
    try:
        fd = files.open_file(path, os.O_RDONLY)
    except OSError:
        return False  # just delivered
    try:
        return read_header(fd) not in headers and is_free(fd)
    except OSError:
        return False
    finally:
        files.close(fd)


def denied(path: Path) -> str:
    """Return why this process does not read a file of the outbox, "" if it does."""
    try:
        fd = files.open_file(path, os.O_RDWR)
    except FileNotFoundError:
        return ""  # just delivered
    except OSError as error:
        return error.strerror or str(error)
    try:
        return files.distrust_file(fd, path.parent)
    except OSError as error:
        return error.strerror or str(error)
    finally:
        files.close(fd)


def is_free(fd: int) -> bool:
    """Return whether no living process owns the file."""
    if not files.CAN_LOCK:
        return False
    try:
        # Shared, and released with the file: a process that takes it over does not wait.
        files.lock(fd, shared=True)
    except OSError:
        return False
    return True


def take_over(path: Path, directory: Path) -> int:
    """Copy the events of a file into a segment of this site's database; return the number of lines.

    Use it for files that were written before the settings of the database changed.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is not a file of an outbox, its owner lives, or it is not trusted.
    """
    fd = files.open_file(path, os.O_RDWR)
    try:
        if not is_free(fd):
            raise ValueError("a living process holds it")
        if reason := files.distrust_file(fd, path.parent):
            raise ValueError(reason)
        header = read_header(fd)
        if not database_of(header):
            raise ValueError("it is not a file of an outbox")
        lines = files.read_all(fd)[len(header) :].splitlines()
        make_directory(directory)
        segment = Segment.create(directory)
        try:
            for line in lines:
                segment.append(line + b"\n")
        except BaseException:
            segment.remove()
            raise
        files.close(segment.fd)
    finally:
        files.close(fd)
    # Until here, both files have the events; their ids make that harmless.
    files.remove(path)
    return len(lines)


def sweep(directory: Path) -> None:
    """Remove files of processes that died while creating a segment; they hold no event.

    Raises:
        OSError: The directory cannot be read.
    """
    for path in _files(directory, _NEW):
        try:
            if time.time() - path.stat().st_mtime > 60:
                path.unlink()
        except OSError:
            continue


def forget(path: Path, headers: Iterable[bytes], belongs: Belongs) -> int:
    """Remove a user from the events of a file with one of `headers`; return the number of changes.

    It overwrites each line in place, because a living owner uses the offsets.

    Raises:
        OSError: The file cannot be read or written.
    """
    try:
        fd = files.open_file(path, os.O_RDWR)
    except FileNotFoundError:  # just delivered
        return 0
    try:
        content = files.read_all(fd)
        if not content.startswith(tuple(headers)):
            return 0
        forgotten, offset = 0, 0
        for line in content.splitlines(keepends=True):
            if anonymous := line_without_user(line, belongs):
                # One write per line, at once in the page cache: a reader sees the old or new line.
                files.write_at(fd, anonymous.ljust(len(line.rstrip(b"\n"))), offset)
                forgotten += 1
            offset += len(line)
        return forgotten
    finally:
        files.close(fd)


def line_without_user(line: bytes, belongs: Belongs) -> bytes | None:
    """Return the line of an event without its user, not longer; None if it has another user."""
    try:
        event = json.loads(line)
        user_id, username = event.get("user_id") or "", event.get("username") or ""
        place = str(event.get("database", "")), str(event.get("schema", ""))
    except (ValueError, AttributeError, RecursionError):
        return None
    if not (user_id or username) or not belongs(user_id, username):
        return None
    if not places.shares_users(*place):
        return None  # another tenant's, with the same key
    event.pop("user_id", None)
    event.pop("username", None)
    return json.dumps(event, separators=(",", ":")).encode()


def make_directory(directory: Path) -> None:
    """Create the directory of the outbox, for the site's system user only."""
    if not directory.is_dir():
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        (directory / ".gitignore").write_text("*\n")
