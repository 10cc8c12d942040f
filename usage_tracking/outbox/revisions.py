"""Which revisions of an amended event are superseded."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from uuid import UUID

from ..events import UsageEvent
from . import limits


class Revisions:
    """The lowest revision of each amended event that is still to be delivered.

    An earlier revision is left out, so that delivery does not first write a row without its user
    and then change it with a second statement. The caller holds the lock of the outbox.
    """

    __slots__ = ("_lowest",)

    def __init__(self) -> None:
        self._lowest: dict[UUID, int] = {}

    def remember(self, event: UsageEvent, lowest: int | None = None) -> None:
        """Leave out revisions of `event` below its own, or below `lowest`, from now on."""
        if not event.revision or event.completes:
            return
        known = self._lowest.get(event.id, 0)
        self._lowest[event.id] = max(known, lowest or event.revision)
        while len(self._lowest) > limits.REVISIONS:
            self._lowest.pop(next(iter(self._lowest)))

    def is_superseded(self, event: UsageEvent) -> bool:
        """Return whether a later revision of `event` is known."""
        return not event.completes and event.revision < self._lowest.get(event.id, 0)

    def split(
        self, events: Iterable[UsageEvent], defers: Callable[[UsageEvent], bool]
    ) -> tuple[list[UsageEvent], list[UsageEvent]]:
        """Return the events for which `defers` is True, and the others; drop superseded ones."""
        deferred: list[UsageEvent] = []
        ready: list[UsageEvent] = []
        for event in events:
            if not self.is_superseded(event):
                self.remember(event)
                (deferred if defers(event) else ready).append(event)
        return deferred, ready
