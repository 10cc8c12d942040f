"""Capture AI calls in a site's tests, without a database. See `docs/testing.md`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from . import recorder
from .errors import contained
from .events import UsageEvent
from .pricing import price


@contextmanager
def captured_ai_usage() -> Iterator[list[UsageEvent]]:
    """Yield a list that receives each AI call made in the block, as soon as the call ends.

    The list has the calls of all threads and tasks, whether captured or recorded manually. The
    attributes of a call include `section`, `user_id` (text), `username`, `provider`, `model_name`,
    `prompt_tokens`, `completion_tokens`, `total_tokens`, `cost` (Decimal in USD), `success`,
    `error_message` and `metadata`; None means unknown. If a later event has more data about a
    call, the new version replaces the old one in the list.

    This needs no database. With `AI_USAGE_ENABLED = False` the list stays empty.
    """
    calls: list[UsageEvent] = []

    @contained
    def see(event: UsageEvent) -> None:
        position = next((n for n, call in enumerate(calls) if call.id == event.id), None)
        if position is None and event.revision:
            return  # an update of a call made before the block
        if position is not None and event.completes:
            event = calls[position].completed(event)
        if event.cost is None:
            event = replace(event, cost=price(event))
        if position is None:
            calls.append(event)
        else:
            calls[position] = event

    recorder.listeners.append(see)
    try:
        yield calls
    finally:
        recorder.listeners.remove(see)
