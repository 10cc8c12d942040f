"""The outbox without a disk."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from .. import places
from ..events import UsageEvent
from ..log import logger, one_line
from ..redaction import clean_error
from . import limits
from .complaints import Complaints
from .dead_letters import DeadLetter
from .revisions import Revisions
from .segments import Belongs


class Others(NamedTuple):
    """The number of segments that this process does not deliver."""

    #: Held by other living processes.
    living: int = 0
    #: Of other databases: a site with their settings delivers them, even if their processes died.
    elsewhere: int = 0
    #: Of other system users, see `segments.denied`.
    denied: int = 0


class MemoryOutbox:
    """The events of this process that the database does not have yet, in memory only.

    They die with the process. No method raises into the caller of `put`.
    """

    #: The directory of the files, None without a disk.
    directory: Path | None = None

    def __init__(self) -> None:
        self._complaints = Complaints()
        #: The number of lines that were skipped because they are not events.
        self.unreadable = 0
        self._reset()

    def _reset(self) -> None:
        # Reentrant: a garbage collection inside `put` may finish an abandoned stream, which puts.
        self._lock = threading.RLock()
        self._memory: deque[UsageEvent] = deque()
        #: Events written in open transactions; each function returns whether its event is lost.
        self._uncommitted: list[tuple[Callable[[], bool], UsageEvent]] = []
        self._revisions = Revisions()

    @property
    def dropped(self) -> int:
        """The number of events that were dropped because the outbox was full."""
        return self._complaints.dropped

    def put(self, event: UsageEvent, *, accepted: bool = False) -> None:  # noqa: ARG002 -- of a disk
        """Store `event`.

        Args:
            event: The event.
            accepted: Whether the outbox has accepted it before. Such an event is stored even if
                the outbox is full.
        """
        self._keep_in_memory(event)

    def batches(
        self, limit: int, defers: Callable[[UsageEvent], bool]
    ) -> Iterator[list[UsageEvent]]:
        """Yield the undelivered events in batches of at most `limit`, without superseded revisions.

        Requesting the next batch confirms that the last one is stored. If the consumer fails
        instead, that batch and all later events stay for the next call. Events for which `defers`
        returns True are deferred. Only one thread at a time may use it.
        """
        with self._lock:
            self._put_back_uncommitted()
            number = len(self._memory)
        yield from self._batches_in_memory(limit, defers, number)

    def _batches_in_memory(
        self, limit: int, defers: Callable[[UsageEvent], bool], number: int
    ) -> Iterator[list[UsageEvent]]:
        while number > 0:
            events = list(islice(self._memory, min(limit, number)))
            if not events:
                break
            deferred, ready = self._split(events, defers)
            if ready:
                yield ready
            with self._lock:
                for event in events:
                    # The event may have been dropped meanwhile because the memory was full.
                    if self._memory and self._memory[0].id == event.id:
                        self._memory.popleft()
                self._memory.extend(deferred)
            number -= len(events)

    def _split(
        self, events: Iterable[UsageEvent], defers: Callable[[UsageEvent], bool]
    ) -> tuple[list[UsageEvent], list[UsageEvent]]:
        with self._lock:
            return self._revisions.split(events, defers)

    def defer(self, events: Iterable[UsageEvent]) -> None:
        """Keep events of the batch that was yielded last until `defers` returns False for them."""
        for event in events:
            self.put(event, accepted=True)

    def set_aside(self, events: Iterable[UsageEvent]) -> None:
        """Keep events of the batch that was yielded last for a later search for orphans.

        With a disk, they take no memory until then, and other events do not wait for them.
        """
        for event in events:
            self.put(event, accepted=True)

    def supersede(self, event: UsageEvent) -> None:
        """Leave out this revision of `event` and earlier ones: the caller has written it."""
        if event.revision:
            with self._lock:
                self._revisions.remember(event, event.revision + 1)

    def keep_uncommitted(self, events: Iterable[UsageEvent], is_lost: Callable[[], bool]) -> None:
        """Keep events that were written in an open transaction.

        They become undelivered again when `is_lost` returns True.
        """
        with self._lock:
            self._uncommitted += [(is_lost, event) for event in events]

    def _put_back_uncommitted(self) -> None:
        uncommitted, self._uncommitted = self._uncommitted, []
        for is_lost, event in uncommitted:
            if is_lost():
                self.put(event)
            else:
                self._uncommitted.append((is_lost, event))

    def is_empty(self) -> bool:
        """Return whether this process has no undelivered event; cheap enough for each request."""
        return not self._memory and not any(is_lost() for is_lost, _ in self._uncommitted)

    def size(self) -> int:
        """Return the bytes on disk that wait for the site's database, written by any process.

        Dead letters do not count.
        """
        return 0

    def segments(self) -> list[Path]:
        """Return the files of undelivered events, including those of other processes."""
        return []

    def adopt_orphans(self) -> int:
        """Take over segments of dead processes; return their number."""
        return 0

    def has_orphans(self) -> bool:
        """Return whether a dead process left a segment of the site's database."""
        return False

    def elsewhere(self) -> list[Path]:
        """Return the files of other databases whose processes are dead."""
        return []

    def other_segments(self) -> Others:
        """Return how many segments this process does not deliver."""
        return Others()

    def dead_letter(self, event: UsageEvent, reason: str) -> None:
        """Move aside an event that the database refuses, so that it never blocks the others."""
        self._dead_letter(event, clean_error(reason))  # PostgreSQL repeats the whole row

    def _dead_letter(self, event: UsageEvent, reason: str) -> None:
        logger.error(
            "[TRACK_ERROR] The database refuses event %s: %s; see `flush_ai_usage --retry-dead`",
            event.id,
            one_line(reason),
            extra={"event_id": str(event.id), "reason": reason},
        )

    def dead_letters(self) -> list[DeadLetter]:
        """Return the events that the database refused, with the reasons."""
        return []

    def retry_dead_letters(self) -> int:
        """Make dead letters undelivered events again; return their number.

        Raises:
            OSError: The file cannot be read or written.
        """
        return 0

    def forget(self, belongs: Belongs) -> int:
        """Remove a user from undelivered events and dead letters; return the number of changes.

        Files of other databases are not changed, because the same key is another person there.

        Args:
            belongs: Takes the user id and the username of an event, and returns whether they are
                the user's.

        Raises:
            OSError: A file cannot be read or written.
        """
        forgotten = 0

        def anonymous(event: UsageEvent) -> UsageEvent:
            nonlocal forgotten
            found = without_user(event, belongs)
            forgotten += found is not event
            return found

        with self._lock:
            self._memory = deque(map(anonymous, self._memory))
            self._uncommitted = [
                (is_lost, anonymous(event)) for is_lost, event in self._uncommitted
            ]
        return forgotten

    def clear(self) -> None:
        """Drop the events in memory."""
        with self._lock:
            self._memory.clear()
            self._uncommitted.clear()

    def close(self) -> None:
        """Close the files; any process may deliver them from now on."""

    def after_fork(self) -> None:
        """Start empty in the child of a fork: the events belong to the parent."""
        self._lock = threading.RLock()
        self.close()
        self._reset()

    def _keep_in_memory(self, event: UsageEvent) -> None:
        with self._lock:
            if len(self._memory) >= limits.MEMORY_CAPACITY:
                self._memory.popleft()
                self._complaints.drop(f"more than {limits.MEMORY_CAPACITY} events in memory")
            self._memory.append(event)
            self._revisions.remember(event)


def without_user(event: UsageEvent, belongs: Belongs) -> UsageEvent:
    """Return `event` without its user if that is the person of `belongs`, else `event` itself."""
    if not belongs(event.user_id or "", event.username):
        return event
    if not places.shares_users(event.database, event.schema):
        return event  # another tenant's user with the same key
    return replace(event, user_id=None, username="")
