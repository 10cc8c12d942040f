"""Orphans: segments that no living process holds, and events that are set aside in such files."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from ..events import UsageEvent
from ..system import files
from . import limits, segments
from .segments import Segment, line_of


class Orphans:
    """Find orphans: segments of the site's database whose processes are dead.

    Events that must wait long are set aside: written to a segment that becomes an orphan, so that
    they take no memory. The caller holds the lock of the outbox.
    """

    __slots__ = ("_aside", "_directory", "_undeletable", "segment")

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        #: The segment to which events are set aside.
        self.segment: Segment | None = None
        #: The files of such events, each with the time at which it was created.
        self._aside: dict[Path, float] = {}
        #: Delivered files that could not be removed.
        self._undeletable: set[Path] = set()

    def remove(self, segment: Segment) -> None:
        """Remove a delivered segment, now or in the next search for orphans."""
        if not segment.remove():
            self._undeletable.add(segment.path)

    def set_aside(self, event: UsageEvent) -> bool:
        """Set an event aside for a later search; return False if it cannot be written."""
        try:
            if self.segment is not None and self.segment.size >= limits.SEGMENT:
                self.release()
            if self.segment is None:
                self.segment = Segment.create(self._directory)
                self._aside[self.segment.path] = time.monotonic()
            self.segment.append(line_of(event))
        except OSError:
            if self.segment is not None:
                self.segment.truncate()
            return False
        return True

    def release(self) -> None:
        """Close the segment of the events that were set aside."""
        if self.segment is not None:
            files.close(self.segment.fd)
            self.segment = None

    def retry_removals(self) -> None:
        """Try again to remove delivered files."""
        self._undeletable = {path for path in self._undeletable if not files.remove(path)}

    def find(self, paths: list[Path]) -> Iterator[Path]:
        """Yield the paths that this process may take over now."""
        oldest = time.monotonic() - limits.SET_ASIDE_FOR
        self._aside = {path: since for path, since in self._aside.items() if since > oldest}
        skipped = self._undeletable | set(self._aside)
        return (path for path in paths if path not in skipped)

    def exist(self, paths: list[Path]) -> bool:
        """Return whether one of the paths is an orphan."""
        headers = segments.headers()
        return any(segments.is_orphan(path, headers) for path in self.find(paths))
