"""For the tests of a site: the AI calls that a block makes, without a database.

`docs/testing.md` says how to use it.
"""

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
    """Yields a list that gets each AI call made in the block, as soon as the call has ended.

    It has the calls of all threads and tasks, whether captured or recorded by hand. The attributes
    of a call include `section`, `user_id` (text), `username`, `provider`, `model_name`,
    `prompt_tokens`, `completion_tokens`, `total_tokens`, `cost` (Decimal in USD), `success`,
    `error_message` and `metadata`; None stands for what is unknown. If more is learned about a call
    later, the list gets the new version in the place of the old one.

    Needs no database. With `AI_USAGE_ENABLED = False` the list stays empty.
    """
    calls: list[UsageEvent] = []

    @contained
    def see(event: UsageEvent) -> None:
        position = next((n for n, call in enumerate(calls) if call.id == event.id), None)
        if position is None and event.revision:
            return  # about a call from before the block
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
