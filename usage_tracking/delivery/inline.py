"""Delivery on the caller's own connection, without a thread or a file."""

from __future__ import annotations

from contextlib import ExitStack

from django.db import connections

from .. import outbox, places, recorder
from ..attribution.users import on_event_loop
from ..events import UsageEvent
from . import reads
from .deliverer import Deliverer, has_work, split_by_place


def deliver(deliverer: Deliverer, *, wait: float = 0.0) -> None:
    """Deliver on the caller's connection; on an event loop, leave it to the next wake-up.

    Wait up to `wait` seconds for another thread that is delivering.
    """
    if on_event_loop():
        return
    recorder.catch_up()
    box = outbox.get()
    connection = connections[places.own()]
    of_users = connections[places.users_of(places.own())]
    ours = {connection, of_users}
    if not has_work() or any(one.needs_rollback for one in ours):
        return
    if of_users is not connection and reads.in_transaction(of_users):
        return  # its end decides which users exist, and would not undo our rows
    stored: list[UsageEvent] = []
    with ExitStack() as stack:
        if outbox.in_test():
            for one in ours:
                stack.enter_context(reads.hidden(one))
        deliverer.deliver(stored=stored, wait=wait)
    for (database, _), events in split_by_place(stored).items():
        at = connections[places.alias_of(database) or places.own()]
        if reads.in_transaction(at):
            # Written inside the caller's own transaction, so that the rows are visible at once. If
            # it is rolled back, the next delivery writes them again.
            box.keep_uncommitted(events, reads.loss(at))
