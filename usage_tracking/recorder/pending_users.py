"""Resolve the users of calls that were pending when the calls began.

A request to a provider never waits for a query. After the unit of work, delivery resolves the users
on its own connection. If only a router in the thread of the request can find their database, the
end of the unit resolves them.
"""

from __future__ import annotations

import time
from typing import Any, cast
from uuid import UUID

from asgiref.sync import sync_to_async
from django.db import Error as DatabaseError
from django.http.response import HttpResponseBase

from .. import conf, outbox
from ..attribution.scope import Call, Unit
from ..attribution.users import call_user_of, on_event_loop, resolve_at, resolve_here
from ..errors import contain, contained
from ..events import UsageEvent
from ..log import logger
from ..places import NOWHERE, Place, here
from ..system import files
from .amending import attribute

#: Maximum number of calls with an unresolved user; the oldest become unattributed.
UNRESOLVED = 10_000
#: Seconds for which resolving a user is retried while the database fails.
UNRESOLVED_SECONDS = 600.0
#: Seconds after which a request counts as finished even if its response was never closed.
IN_USE = 60.0

#: Calls by event id whose unit has ended and whose user is not resolved yet.
_unresolved: dict[UUID, Call] = {}


@contained
def end(unit: Unit, response: HttpResponseBase | None = None) -> None:
    """End a unit of work; delivery resolves its pending users.

    The request is not touched until its `response` is closed, because outer middleware may still
    read the session. Safe in a finalizer: no query, no lock, no file.
    """
    try:
        if response is not None and unit.pending and not outbox.inline() and not conf.wait():
            unit.in_use = True
            cast(Any, response)._resource_closers.append(_Release(unit))
        await_users(unit)
    finally:
        unit.end()
    await_users(unit)  # calls that another thread added meanwhile


class _Release:
    """Release a request when its response is closed, or freed unclosed (a 304 replaced it)."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit

    def __call__(self) -> None:
        self._unit.in_use = False

    __del__ = __call__


def await_users(unit: Unit) -> None:
    """Queue the pending users of a unit for `resolve`."""
    while unit.pending:
        call = unit.pending.pop()
        if call.pending is not None:
            _unresolved[call.event.id] = call
    while len(_unresolved) > UNRESOLVED:
        _unresolved.pop(next(iter(_unresolved)), None)


def is_unresolved(event: UsageEvent) -> bool:
    """Return whether the user of `event` is still to be resolved."""
    return event.id in _unresolved


def exist() -> bool:
    """Return whether any pending user is left."""
    return bool(_unresolved)


def resolve() -> None:
    """Resolve the pending users of ended units; delivery calls this in its thread.

    If the database fails, the next run retries, until the call is ten minutes old.
    """
    now = time.monotonic()
    failing: set[Place] = set()
    for call in list(_unresolved.values()):
        pending, scope = call.pending, call.scope
        if scope is not None and scope.unit.in_use and now - scope.unit.ended < IN_USE:
            continue
        user = None
        home = NOWHERE if scope is None else scope.home
        if home in failing:
            continue
        if pending is not None:
            try:
                user = call_user_of(resolve_at(home, pending))
            except DatabaseError as error:
                if now - call.at < UNRESOLVED_SECONDS:
                    logger.debug("the user of a call cannot be read yet: %s", error)
                    failing.add(home)
                    continue
                contain(error, "pending_users.resolve")
            except Exception as error:  # noqa: BLE001 -- the site's own authentication
                contain(error, "pending_users.resolve")
        _unresolved.pop(call.event.id, None)
        attribute(call, user)


def has_routed(unit: Unit) -> bool:
    """Return whether only a router in the thread or task of `unit` can find a pending user."""
    return any(call.scope is not None and call.scope.home.is_routed for call in unit.pending)


@contained
def resolve_routed(unit: Unit) -> None:
    """Resolve the pending users whose database only a router in this thread can find.

    Call it before `end`, where a query is allowed.
    """
    if not has_routed(unit) or on_event_loop():
        return
    for call in list(unit.pending):
        pending, scope = call.pending, call.scope
        if pending is None or scope is None or not scope.home.is_routed:
            continue
        if here(unit.request) == scope.home:
            unit.pending.remove(call)
            attribute(call, resolve_here(pending))


async def aresolve_routed(unit: Unit) -> None:
    """Do the same as `resolve_routed` on an event loop."""
    if has_routed(unit):
        await sync_to_async(resolve_routed)(unit)


def _after_fork() -> None:
    # The parent process resolves them.
    _unresolved.clear()


files.after_fork(_after_fork)
