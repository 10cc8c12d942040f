"""Events that the database refuses, in a file that all processes of a site append to."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from .events import UsageEvent, utc_now
from .redaction import REDACTED
from .segments import Belongs, database, make_directory, read_all, without_user, write

FILE = "dead.jsonl"


class DeadLetter(NamedTuple):
    event: dict[str, Any]
    #: The database's own words, redacted.
    reason: str


def add(directory: Path, event: UsageEvent, reason: str, *, capacity: int) -> bool:
    """False if the file holds more than `capacity` bytes already. Raises OSError."""
    letter = {
        "at": utc_now().isoformat(),
        "database": database(),
        "reason": reason,
        "event": json.loads(event.to_json()),
    }
    make_directory(directory)
    with _Locked(directory / FILE) as fd:
        if os.fstat(fd).st_size > capacity:
            return False
        write(fd, json.dumps(letter).encode() + b"\n")
        return True


def read(directory: Path) -> tuple[list[DeadLetter], int]:
    """The letters of this process's database, and how many lines cannot be read."""
    try:
        content = (directory / FILE).read_bytes()
    except OSError:
        return [], 0
    own = database()
    letters: list[DeadLetter] = []
    unreadable = 0
    for line in content.splitlines():
        try:
            letter = json.loads(line)
            if letter["database"] == own:
                letters.append(DeadLetter(letter["event"], letter["reason"]))
        except (ValueError, KeyError, TypeError):
            unreadable += 1
    return letters, unreadable


def take(directory: Path, put: Callable[[UsageEvent], None]) -> tuple[int, int]:
    """Hands the events to `put` and removes them; how many, and how many lines cannot be read.

    Raises OSError.
    """
    if not (directory / FILE).is_file():
        return 0, 0
    own = database()
    kept: list[bytes] = []
    taken = unreadable = 0
    with _Locked(directory / FILE) as fd:
        for line in read_all(fd).splitlines():
            try:
                letter = json.loads(line)
                if letter["database"] == own:
                    put(UsageEvent.from_json(json.dumps(letter["event"])))
                    taken += 1
                    continue
            except (ValueError, KeyError, TypeError):
                unreadable += 1
            kept.append(line + b"\n")
        # Emptied after the events are safe: a crash in between repeats them, ids absorb it.
        os.ftruncate(fd, 0)
        write(fd, b"".join(kept))
    return taken, unreadable


def forget(directory: Path, belongs: Belongs) -> int:
    """Takes users off the events; says of how many. Raises OSError."""
    if not (directory / FILE).is_file():
        return 0
    own = database()
    kept: list[bytes] = []
    forgotten = 0
    with _Locked(directory / FILE) as fd:
        for line in read_all(fd).splitlines():
            try:
                letter = json.loads(line)
                event, username = letter["event"], letter["event"].get("username") or ""
                if letter["database"] == own and (
                    anonymous := without_user(json.dumps(event).encode(), belongs)
                ):
                    # The database's own words repeat the row, from the second line on.
                    reason = letter["reason"].partition("\n")[0]
                    reason = reason.replace(username, REDACTED) if username else reason
                    letter |= {"event": json.loads(anonymous), "reason": reason}
                    line = json.dumps(letter).encode()
                    forgotten += 1
            except (ValueError, KeyError, TypeError, AttributeError):
                pass  # torn or tampered with; `read` counts it
            kept.append(line + b"\n")
        if forgotten:
            os.ftruncate(fd, 0)
            write(fd, b"".join(kept))
    return forgotten


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
