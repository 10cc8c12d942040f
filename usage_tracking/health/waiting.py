"""What waits in the outbox, and what got stuck there."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .. import conf, outbox
from .findings import Finding, Result, Thresholds, note, ok, problem
from .trial import FLUSH


@dataclass(frozen=True, slots=True)
class Waiting:
    """The outbox as it was at one moment."""

    #: None where events are in memory only.
    directory: Path | None
    #: Events on disk, those of living processes included.
    events: int = 0
    #: Files whose process is dead, and the events in them.
    orphans: int = 0
    orphaned: int = 0
    #: Events that the database refused.
    dead: int = 0
    #: Of the first of them.
    reason: str = ""
    #: Events that this process dropped because the outbox was full.
    dropped: int = 0


def look() -> Waiting:
    """Looks at the outbox without touching it. Ask before delivery takes over the orphans."""
    if outbox.inline() or not conf.enabled():
        return Waiting(None)
    box = outbox.get()
    if box.directory is None:
        return Waiting(None, dropped=box.dropped)
    events = orphans = orphaned = 0
    header = outbox._header(outbox._database())
    for path in box.directory.glob("*.jsonl"):
        if path.name != outbox.DEAD_LETTERS and (found := _read(path, header)) is not None:
            count, is_orphan = found
            events += count
            orphans += is_orphan
            orphaned += count if is_orphan else 0
    letters = box.dead_letters()
    return Waiting(
        box.directory,
        events,
        orphans,
        orphaned,
        len(letters),
        letters[0].reason if letters else "",
        box.dropped,
    )


def _read(path: Path, header: bytes) -> tuple[int, bool] | None:
    """How many events a file holds, and whether its process is dead.

    None for the file of a site with another database, which is not ours to deliver.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None  # delivered in this very moment
    try:
        if os.pread(fd, len(header), 0) != header:
            return None
        lines = 0
        while block := os.read(fd, 1024 * 1024):
            lines += block.count(b"\n")
        try:
            # Shared, and let go at once: who wants to take the file over waits for nothing.
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return max(lines - 1, 0), True  # the first line is the header
        except OSError:
            return max(lines - 1, 0), False
    finally:
        os.close(fd)


def examine(waiting: Waiting, limits: Thresholds, checks: list[Finding]) -> Result:
    """What `look` found; `checks` is what the system checks say of the outbox."""
    return Result("Checking the outbox", (*checks, *_examine(waiting, limits, sound=not checks)))


def _examine(waiting: Waiting, limits: Thresholds, *, sound: bool) -> Iterator[Finding]:
    if not conf.enabled():
        yield note("outbox_unused", "Not used: AI_USAGE_ENABLED is False")
        return
    if outbox.inline():
        yield note("outbox_inline", "Not used: rows are written on the caller's connection")
        return
    if sound:
        yield ok("outbox", f"The outbox {waiting.directory} can be written")
    if waiting.events > limits.max_backlog:
        text = f"{waiting.events} calls wait for the database, more than {limits.max_backlog}"
        yield problem("backlog", text, FLUSH)
    else:
        yield ok("backlog", f"{waiting.events} calls wait for the database")
    if waiting.orphaned:
        text = (
            f"{waiting.orphaned} calls waited in {waiting.orphans} files of dead processes: "
            "no living process delivered them"
        )
        yield problem("orphans", text, FLUSH)
    if waiting.dead:
        text = f"The database refused {waiting.dead} calls, the first because: {waiting.reason}"
        yield problem("dead_letters", text, f"{FLUSH} --retry-dead")
    if waiting.dropped:
        text = f"{waiting.dropped} calls were dropped because the outbox was full"
        yield problem("dropped", text, FLUSH)
