"""What waits in the outbox, and what got stuck there."""

from __future__ import annotations

import os
import time
from collections.abc import Container, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from .. import conf, outbox
from ..delivery.worker import ORPHANS_EVERY, TIMER
from ..events import UsageEvent, utc_now
from ..outbox import segments
from ..system import files
from .findings import Finding, Result, Thresholds, note, ok, problem, warning
from .locks import locks
from .probe import FLUSH


@dataclass(frozen=True, slots=True)
class Waiting:
    """The outbox as it was at one moment."""

    #: None where events are in memory only.
    directory: Path | None
    #: Events on disk, those of living processes included.
    events: int = 0
    #: When the call of the oldest one began.
    oldest: datetime | None = None
    #: Files whose process is dead, and the events in them.
    orphans: int = 0
    orphaned: int = 0
    #: Seconds for which the longest left of these files has not been written.
    left_for: float = 0.0
    #: Events that the database refused.
    dead: int = 0
    #: Of the first of them.
    reason: str = ""
    #: Events that this process dropped because the outbox was full.
    dropped: int = 0
    #: Why the directory cannot be read.
    unreadable: str = ""
    #: Files of other databases: their names, and those databases.
    elsewhere: tuple[tuple[str, str], ...] = ()
    #: Files that this system user does not read: their names, and why.
    denied: tuple[tuple[str, str], ...] = ()


def look() -> Waiting:
    """Looks at the outbox without touching it. Ask before delivery takes over the orphans."""
    if outbox.inline() or not conf.enabled():
        return Waiting(None)
    box = outbox.get()
    if box.directory is None:
        return Waiting(None, dropped=box.dropped)
    try:
        paths = segments.paths(box.directory)
    except OSError as error:
        return Waiting(box.directory, dropped=box.dropped, unreadable=str(error))
    headers = segments.headers()
    denied = {path: reason for path in paths if (reason := segments.denied(path))}
    ours = [found for path in paths if (found := _read(path, headers))]
    orphans = [file for file in ours if file.is_orphan]
    letters = box.dead_letters()
    return Waiting(
        box.directory,
        events=sum(file.events for file in ours),
        oldest=min((file.oldest for file in ours if file.oldest), default=None),
        orphans=len(orphans),
        orphaned=sum(file.events for file in orphans),
        left_for=max((file.left_for for file in orphans), default=0.0),
        dead=len(letters),
        reason=letters[0].reason if letters else "",
        dropped=box.dropped,
        elsewhere=tuple(
            (path.name, segments.database_in(path))
            for path in paths
            if path not in denied and segments.is_foreign_orphan(path, headers)
        ),
        denied=tuple((path.name, reason) for path, reason in denied.items()),
    )


class _File(NamedTuple):
    events: int
    oldest: datetime | None
    is_orphan: bool
    left_for: float


def _read(path: Path, headers: Container[bytes]) -> _File | None:
    """None for the file of a site with another database, which is not ours to deliver."""
    try:
        fd = files.open_file(path, os.O_RDONLY)
    except OSError:
        return None  # delivered in this very moment
    try:
        header = segments.read_header(fd)
        if header not in headers:
            return None
        first = files.read_at(fd, 64 * 1024, len(header)).partition(b"\n")[0]
        lines = offset = 0
        while block := files.read_at(fd, 1024 * 1024, offset):
            lines += block.count(b"\n")
            offset += len(block)
        return _File(
            max(lines - 1, 0),  # the first line is the header
            _began(first),
            segments.is_free(fd),
            max(time.time() - os.fstat(fd).st_mtime, 0.0),
        )
    finally:
        files.close(fd)


def _began(line: bytes) -> datetime | None:
    try:
        return UsageEvent.from_json(line).created_at
    except (ValueError, RecursionError):
        return None  # none there, or damaged


def examine(waiting: Waiting, limits: Thresholds, checks: list[Finding]) -> Result:
    """What `look` found; `checks` is what the system checks say of the outbox."""
    sound = all(check.code == "check_w010" for check in checks)
    return Result("Checking the outbox", (*checks, *_examine(waiting, limits, sound=sound)))


def _examine(waiting: Waiting, limits: Thresholds, *, sound: bool) -> Iterator[Finding]:
    if not conf.enabled():
        yield note("outbox_unused", "Not used: AI_USAGE_ENABLED is False")
        return
    if outbox.inline():
        yield note("outbox_inline", "Not used: rows are written on the caller's connection")
        return
    if waiting.unreadable:
        yield problem(
            "outbox_unreadable",
            f"The outbox {waiting.directory} cannot be read: {waiting.unreadable}",
            f"As root: chown -R USER {waiting.directory}; chmod 700 {waiting.directory}, where "
            "USER is the system user that the site runs as",
        )
        return
    if sound:
        yield ok("outbox", f"The outbox {waiting.directory} can be written")
    if waiting.directory is not None and waiting.directory.is_dir():
        yield locks(waiting.directory)
    since = f", the oldest for {_told(utc_now() - waiting.oldest)}" if waiting.oldest else ""
    if waiting.events > limits.max_backlog:
        text = f"{waiting.events} calls wait for the database, more than {limits.max_backlog}"
        yield problem("backlog", text + since, FLUSH)
    else:
        yield ok("backlog", f"{waiting.events} calls wait for the database{since}")
    if waiting.orphaned:
        text = f"{waiting.orphaned} calls waited in {waiting.orphans} files of dead processes"
        if waiting.left_for > ORPHANS_EVERY + TIMER:
            left_for = _told(timedelta(seconds=waiting.left_for))
            text += f" for {left_for}: no living process delivered them"
            yield problem("orphans", text, FLUSH)
        else:
            yield note("orphans_young", f"{text}; a living one looks for them once a minute")
    if waiting.dead:
        text = f"The database refused {waiting.dead} calls, the first because: {waiting.reason}"
        yield problem("dead_letters", text, f"{FLUSH} --retry-dead")
    for name, database in waiting.elsewhere:
        text = f"The file {name} of a dead process holds calls of another database, {database}"
        yield warning("outbox_elsewhere", text, f"{FLUSH} --adopt {name}, if it was this one")
    for name, reason in waiting.denied:
        text = f"The file {name} is not read: {reason}"
        yield problem(
            "outbox_denied",
            text,
            f"Run as the owner of the file: {FLUSH}; or chown and chmod 600 it",
        )
    if waiting.dropped:
        text = f"{waiting.dropped} calls were dropped because the outbox was full"
        yield problem("dropped", text, FLUSH)


def _told(age: timedelta) -> str:
    return str(timedelta(seconds=max(round(age.total_seconds()), 0)))
