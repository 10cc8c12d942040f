"""Amend recorded calls: each change stores a new revision of the event."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import conf, outbox
from ..attribution.scope import Call
from ..attribution.users import CallUser
from ..events import UsageEvent

#: Called with each event and each new revision; see `testing`.
listeners: list[Callable[[UsageEvent], None]] = []


def put(event: UsageEvent, *, is_written: bool = False) -> None:
    """Store an event in the outbox, unless it is already written to the database."""
    if not conf.enabled():
        return
    for see in tuple(listeners):
        see(event)
    if not is_written:
        outbox.put(event)


def amend(call: Call, **changes: Any) -> None:
    """Change the event of a call and store the new revision."""
    before = call.event
    call.event = before.amended(**changes)
    if call.scope is not None:
        for observer in call.scope.observers():
            observer.amended(before, call.event)
    put(call.event)


def attribute(call: Call, user: CallUser | None) -> None:
    """Set the resolved user of a call; None if it has no user."""
    call.pending = None
    if user is not None and call.event.user_id is None:
        amend(call, user_id=user.id, username=user.username)
