"""Files of events: each is written by one process, which holds a lock on it while it lives.

The kernel drops the lock when the process dies, however it dies, and then any process of the site
takes the file over. Lines are written without fsync: they survive `kill -9`, not a power cut.
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
#: How many new files in a row other processes may lock first.
_TRIES = 5
#: Bytes of a header at most.
MAX_HEADER = 4096

#: Says of a user id and a username whether they are those of a person to forget.
Belongs = Callable[[str, str], bool]


def header() -> bytes:
    """The first line of files whose events belong to the site of this process.

    It names the site's own database. The events of its tenants name theirs.
    """
    return _line(2, places.identity(places.own()))


def headers() -> frozenset[bytes]:
    """`header`, and what older releases have written in its place."""
    return frozenset(_line(version, name) for name, version in databases().items())


def databases() -> dict[str, int]:
    """The names of the site's own database, each with the version of the outbox that has it."""
    settings = connections.settings[places.own()]
    old = json.dumps([str(settings.get(key, "")) for key in ("ENGINE", "HOST", "PORT", "NAME")])
    return {old: 1, places.identity(places.own()): 2}


def _line(version: int, database: str) -> bytes:
    return json.dumps({"outbox": version, "database": database}).encode() + b"\n"


def read_header(fd: int) -> bytes:
    """Return the first line of a file. Raises OSError."""
    line, end, _ = files.read_at(fd, MAX_HEADER, 0).partition(b"\n")
    return line + end


def database_of(header: bytes) -> str:
    """Return the name of the database in a header, "" if it has none."""
    try:
        return str(json.loads(header)["database"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""


def paths(directory: Path) -> list[Path]:
    """The files of events, of whichever process and database, the oldest first.

    Raises OSError if the directory is there and cannot be read, and PermissionError if another user
    of this machine may have written into it.
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
    """Return the line that stands for an event in a segment."""
    return event.to_json().encode() + b"\n"


class Segment:
    """A locked file of events and how far it has been delivered."""

    __slots__ = ("_start", "fd", "offset", "path", "size")

    def __init__(self, fd: int, path: Path, *, start: int, size: int) -> None:
        self.fd, self.path, self.size = fd, path, size
        #: Bytes of the header.
        self._start = self.offset = start

    @classmethod
    def create(cls, directory: Path) -> Self:
        """A new segment, locked before it can be seen under the name that others look for.

        Windows cannot rename an open file. There another process may lock the file first: it finds
        no event and removes it, and this process tries another name. Raises OSError.
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
        """The segment at `path` if its owner is dead and it begins with one of `headers`."""
        if not files.CAN_LOCK:
            return None  # nothing tells that its owner is dead
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
        """Raises OSError if the disk did not take the whole line; the next one overwrites it."""
        files.write_at(self.fd, line, self.size)
        self.size += len(line)

    def truncate(self) -> bool:
        """Cut off what a failed `append` left; False if the file can no longer be changed."""
        try:
            os.ftruncate(self.fd, self.size)
        except OSError:
            return False
        return True

    def is_linked(self) -> bool:
        """Whether the file still has its name, so that others find it after our death."""
        try:
            return os.fstat(self.fd).st_nlink > 0
        except OSError:
            return False

    def read(self, limit: int) -> tuple[list[bytes], int]:
        """At most `limit` lines after what was delivered, and the offset behind them.

        A last line without an end, torn by the death of its writer, counts as a line. Raises
        OSError.
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
        """Close and remove a file that is delivered; False if it could not be removed.

        Only its header is left then: an orphan without events.
        """
        # Unlinked before it is unlocked: nobody must find it free and still there.
        if not files.PINS_OPEN_FILES and files.remove(self.path):
            files.close(self.fd)
            return True
        with suppress(OSError):
            os.ftruncate(self.fd, self._start)
        files.close(self.fd)
        return files.remove(self.path)


def is_orphan(path: Path, headers: Container[bytes]) -> bool:
    """Whether the owner of the file is dead, and it begins with one of `headers`."""
    try:
        fd = files.open_file(path, os.O_RDONLY)
    except OSError:
        return False  # delivered in this very moment
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
    """Whether the owner of the file is dead, and it begins with none of `headers`."""
    try:
        fd = files.open_file(path, os.O_RDONLY)
    except OSError:
        return False  # delivered in this very moment
    try:
        return read_header(fd) not in headers and is_free(fd)
    except OSError:
        return False
    finally:
        files.close(fd)


def denied(path: Path) -> str:
    """Say why this process does not read a file of the outbox, "" if it does."""
    try:
        fd = files.open_file(path, os.O_RDWR)
    except FileNotFoundError:
        return ""  # delivered in this very moment
    except OSError as error:
        return error.strerror or str(error)
    try:
        return files.distrust_file(fd, path.parent)
    except OSError as error:
        return error.strerror or str(error)
    finally:
        files.close(fd)


def is_free(fd: int) -> bool:
    """Whether no living process owns the file."""
    if not files.CAN_LOCK:
        return False
    try:
        # Shared, and let go with the file: who wants to take it over waits for nothing.
        files.lock(fd, shared=True)
    except OSError:
        return False
    return True


def take_over(path: Path, directory: Path) -> int:
    """Make the events of any file those of this site's database; return how many lines there were.

    For a file of a site whose settings have named its database in another way. Raises OSError if it
    cannot be read, ValueError if it is not such a file or its owner lives.
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
    # Both have the events until now; their ids make twice once.
    files.remove(path)
    return len(lines)


def sweep(directory: Path) -> None:
    """Removes what a process left that died while it created a segment; it held no event.

    Raises OSError if the directory cannot be read.
    """
    for path in _files(directory, _NEW):
        try:
            if time.time() - path.stat().st_mtime > 60:
                path.unlink()
        except OSError:
            continue


def forget(path: Path, headers: Iterable[bytes], belongs: Belongs) -> int:
    """Takes users off the events of a file that begins with one of `headers`; says of how many.

    Overwrites the lines in their places: its owner may live and goes by their offsets. Raises
    OSError.
    """
    try:
        fd = files.open_file(path, os.O_RDWR)
    except FileNotFoundError:  # delivered in this very moment
        return 0
    try:
        content = files.read_all(fd)
        if not content.startswith(tuple(headers)):
            return 0
        forgotten, offset = 0, 0
        for line in content.splitlines(keepends=True):
            if anonymous := line_without_user(line, belongs):
                # One write a line, in the page cache at once: a reader sees the one or the other.
                files.write_at(fd, anonymous.ljust(len(line.rstrip(b"\n"))), offset)
                forgotten += 1
            offset += len(line)
        return forgotten
    finally:
        files.close(fd)


def line_without_user(line: bytes, belongs: Belongs) -> bytes | None:
    """The line of an event without its user, never longer; None if it is not that user's."""
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
    """Makes the directory of the outbox, for the site's own user only."""
    if not directory.is_dir():
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        (directory / ".gitignore").write_text("*\n")
