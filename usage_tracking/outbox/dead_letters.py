"""Dead letters: refused events, in a file that all processes of a site append to."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from .. import places
from ..events import UsageEvent, utc_now
from ..redaction import REDACTED
from ..system import files
from .segments import Belongs, databases, line_without_user, make_directory

FILE = "dead.jsonl"


class DeadLetter(NamedTuple):
    """An event that the database has refused."""

    event: dict[str, Any]
    #: The database's message, redacted.
    reason: str


def add(directory: Path, event: UsageEvent, reason: str, *, capacity: int) -> bool:
    """Append an event; return False if the file has more than `capacity` bytes already.

    Raises:
        OSError: The file cannot be written.
    """
    letter = {
        "at": utc_now().isoformat(),
        "database": places.identity(places.own()),
        "reason": reason,
        "event": json.loads(event.to_json()),
    }
    make_directory(directory)
    with _locked(directory / FILE) as fd:
        size = os.fstat(fd).st_size
        if size > capacity:
            return False
        try:
            files.write_at(fd, json.dumps(letter).encode() + b"\n", size)
        except OSError:
            # The written part would make the next letter unreadable.
            with suppress(OSError):
                os.ftruncate(fd, size)
            raise
        return True


def read(directory: Path) -> tuple[list[DeadLetter], int]:
    """Return the dead letters of this process's database, and the number of unreadable lines."""
    try:
        fd = files.open_file(directory / FILE, os.O_RDONLY)
    except OSError:
        return [], 0
    try:
        if files.distrust_file(fd, directory):
            return [], 0
        content = files.read_all(fd)
    except OSError:
        return [], 0
    finally:
        files.close(fd)
    own = databases()
    letters: list[DeadLetter] = []
    unreadable = 0
    for line in content.splitlines():
        try:
            letter = json.loads(line)
            if letter["database"] in own:
                letters.append(DeadLetter(letter["event"], letter["reason"]))
        except (ValueError, KeyError, TypeError):
            unreadable += 1
    return letters, unreadable


def take(directory: Path, put: Callable[[UsageEvent], None]) -> tuple[int, int]:
    """Pass the events to `put` and remove them; return the numbers of events and unreadable lines.

    Raises:
        OSError: The file cannot be read or written.
    """
    if not (directory / FILE).is_file():
        return 0, 0
    own = databases()
    kept: list[bytes] = []
    taken = unreadable = 0
    with _locked(directory / FILE) as fd:
        if reason := files.distrust_file(fd, directory):
            raise PermissionError(f"{directory / FILE} is not read: {reason}")
        for line in files.read_all(fd).splitlines():
            try:
                letter = json.loads(line)
                if letter["database"] in own:
                    put(UsageEvent.from_json(json.dumps(letter["event"])))
                    taken += 1
                    continue
            except (ValueError, KeyError, TypeError):
                unreadable += 1
            kept.append(line + b"\n")
        # Rewritten after the events are safe: a crash in between repeats them, which their ids
        # make harmless.
        _rewrite(directory / FILE, fd, kept)
    return taken, unreadable


def forget(directory: Path, belongs: Belongs) -> int:
    """Remove a user from the events; return the number of changed events.

    Raises:
        OSError: The file cannot be read or written.
    """
    if not (directory / FILE).is_file():
        return 0
    own = databases()
    kept: list[bytes] = []
    forgotten = 0
    with _locked(directory / FILE) as fd:
        for line in files.read_all(fd).splitlines():
            try:
                letter = json.loads(line)
                event, username = letter["event"], letter["event"].get("username") or ""
                if letter["database"] in own and (
                    anonymous := line_without_user(json.dumps(event).encode(), belongs)
                ):
                    # From the second line on, the database's message repeats the row.
                    reason = letter["reason"].partition("\n")[0]
                    reason = reason.replace(username, REDACTED) if username else reason
                    letter |= {"event": json.loads(anonymous), "reason": reason}
                    line = json.dumps(letter).encode()
                    forgotten += 1
            except (ValueError, KeyError, TypeError, AttributeError):
                pass  # torn or tampered with; `read` counts it
            kept.append(line + b"\n")
        if forgotten:
            _rewrite(directory / FILE, fd, kept)
    return forgotten


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    """Open a file that several processes append to, and hold its lock.

    Raises:
        OSError: The file cannot be opened or locked.
    """
    while True:
        fd = files.open_file(path, os.O_RDWR | os.O_CREAT)
        try:
            files.lock(fd, wait=True)
            # Before we got the lock, another process may have replaced the file.
            if _is_at(path, fd):
                yield fd
                return
        finally:
            files.close(fd)


def _is_at(path: Path, fd: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(fd))
    except FileNotFoundError:
        return False


def _hand_over(old: int, new: int) -> None:
    """Give a file the owner of another, so that a command run by root leaves it to the site."""
    if hasattr(os, "fchown"):
        status = os.fstat(old)
        os.fchmod(new, status.st_mode & 0o777)
        with suppress(OSError):  # only the superuser may
            os.fchown(new, status.st_uid, status.st_gid)


def _rewrite(path: Path, fd: int, lines: list[bytes]) -> None:
    """Replace the content of the locked file at `path`; a crash leaves the old or the new content.

    Raises:
        OSError: The file cannot be written.
    """
    content = b"".join(lines)
    if files.PINS_OPEN_FILES:  # an open file cannot be replaced
        files.write_at(fd, content, 0)
        os.ftruncate(fd, len(content))
        return
    new = path.with_suffix(".rewrite")
    beside = files.open_file(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        files.write_at(beside, content, 0)
        _hand_over(fd, beside)
        os.fsync(beside)
    except OSError:
        files.remove(new)
        raise
    finally:
        files.close(beside)
    new.replace(path)
