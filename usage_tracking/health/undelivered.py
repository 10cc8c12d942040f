"""Test the outbox: which calls are in it, and which cannot be delivered."""

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
from .writing import writing


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of the outbox at one time."""

    #: None if events are kept in memory only.
    directory: Path | None
    #: Events on disk, including those of living processes.
    events: int = 0
    #: When the call of the oldest event began.
    oldest: datetime | None = None
    #: Files of dead processes, and the events in them.
    orphans: int = 0
    orphaned: int = 0
    #: Seconds since the last write to the orphan that has waited longest.
    idle: float = 0.0
    #: Events that the database refused, and the reason for the first of them.
    dead_letters: int = 0
    reason: str = ""
    #: Events that this process dropped because the outbox was full.
    dropped: int = 0
    #: Why the directory cannot be read.
    unreadable: str = ""
    #: Files of other databases, with the name of the database.
    foreign: tuple[tuple[str, str], ...] = ()
    #: Files that this system user does not read, with the reason.
    denied: tuple[tuple[str, str], ...] = ()


def snapshot() -> Snapshot:
    """Look at the outbox without changing it.

    Call this before anything is delivered: delivery takes over the files of dead processes.
    """
    if outbox.inline() or not conf.enabled():
        return Snapshot(None)
    box = outbox.get()
    if box.directory is None:
        return Snapshot(None, dropped=box.dropped)
    try:
        paths = segments.paths(box.directory)
    except OSError as error:
        return Snapshot(box.directory, dropped=box.dropped, unreadable=str(error))
    headers = segments.headers()
    denied = {path: reason for path in paths if (reason := segments.denied(path))}
    ours = [found for path in paths if (found := _read(path, headers))]
    orphans = [file for file in ours if file.is_orphan]
    letters = box.dead_letters()
    return Snapshot(
        box.directory,
        events=sum(file.events for file in ours),
        oldest=min((file.oldest for file in ours if file.oldest), default=None),
        orphans=len(orphans),
        orphaned=sum(file.events for file in orphans),
        idle=max((file.idle for file in orphans), default=0.0),
        dead_letters=len(letters),
        reason=letters[0].reason if letters else "",
        dropped=box.dropped,
        foreign=tuple(
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
    #: Seconds since the last write.
    idle: float


def _read(path: Path, headers: Container[bytes]) -> _File | None:
    """Return None for a file that belongs to another database."""
    try:
        fd = files.open_file(path, os.O_RDONLY)
    except OSError:
        return None  # delivered in the meantime
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
        return None  # missing or damaged


def examine(before: Snapshot, limits: Thresholds, checks: list[Finding]) -> Result:
    """Test what `snapshot` found; `checks` are the findings of the system checks on the outbox."""
    return Result("Checking the outbox", (*checks, *_examine(before, limits)))


def _examine(before: Snapshot, limits: Thresholds) -> Iterator[Finding]:
    if not conf.enabled():
        yield note("outbox_unused", "Not used: AI_USAGE_ENABLED is False")
        return
    if outbox.inline():
        yield note("outbox_inline", "Not used: rows are written on the caller's connection")
        return
    if before.unreadable:
        yield problem(
            "outbox_unreadable",
            f"The outbox {before.directory} cannot be read: {before.unreadable}",
            f"As root: chown -R USER {before.directory}; chmod 700 {before.directory}, where "
            "USER is the system user of the site",
        )
        return
    if before.directory is not None:
        yield writing(before.directory)
    if before.directory is not None and before.directory.is_dir():
        yield locks(before.directory)
    yield _backlog(before, limits)
    if before.orphaned:
        yield _orphans(before)
    yield from _stuck(before)


def _backlog(before: Snapshot, limits: Thresholds) -> Finding:
    since = f", the oldest for {_shown(utc_now() - before.oldest)}" if before.oldest else ""
    if before.events > limits.max_backlog:
        text = f"{before.events} calls wait for the database, more than {limits.max_backlog}"
        return problem("backlog", text + since, FLUSH)
    return ok("backlog", f"{before.events} calls wait for the database{since}")


def _orphans(before: Snapshot) -> Finding:
    text = f"{before.orphaned} calls waited in {before.orphans} files of dead processes"
    if before.idle <= ORPHANS_EVERY + TIMER:
        return note("orphans_young", f"{text}; living processes look for them once a minute")
    idle = _shown(timedelta(seconds=before.idle))
    return problem("orphans", f"{text} for {idle}: no living process delivered them", FLUSH)


def _stuck(before: Snapshot) -> Iterator[Finding]:
    """Yield what no process delivers without help."""
    if before.dead_letters:
        text = f"The database refused {before.dead_letters} calls. First reason: {before.reason}"
        yield problem("dead_letters", text, f"{FLUSH} --retry-dead")
    for name, database in before.foreign:
        text = f"The file {name} of a dead process has calls of another database, {database}"
        fix = f"{FLUSH} --adopt {name}, if it is this database under another name"
        yield warning("outbox_elsewhere", text, fix)
    for name, reason in before.denied:
        yield problem(
            "outbox_denied",
            f"The file {name} is not read: {reason}",
            f"Run as the owner of the file: {FLUSH}; or chown and chmod 600 the file",
        )
    if before.dropped:
        text = f"{before.dropped} calls were dropped because the outbox was full"
        yield problem("dropped", text, FLUSH)


def _shown(age: timedelta) -> str:
    return str(timedelta(seconds=max(round(age.total_seconds()), 0)))
