"""From a finished call to the outbox: one event, and whatever is learned about it later."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast
from uuid import UUID

from asgiref.sync import sync_to_async
from django.db import Error as DatabaseError
from django.http.response import HttpResponseBase

from . import conf, outbox
from .attribution.scope import Attempt, Attribution, Call, Scope, Unit, attribution
from .attribution.users import Owner, on_event_loop, owner_of, resolve_at, resolve_here
from .errors import contain, contained
from .events import ENDING, MANUAL, UNKNOWN, Usage, UsageEvent, utc_now, uuid7
from .log import logger, one_line, shown_user
from .places import NOWHERE, Place, here
from .redaction import clean_metadata, clean_name
from .system import files

#: How long a call made outside every open unit waits for a manual record to join it, in seconds.
JOINABLE = 60.0
#: How many calls wait for their user to be resolved, and for how many seconds.
UNRESOLVED = 10_000
UNRESOLVED_SECONDS = 600.0
#: Seconds after which a request is taken for finished though its response was never closed.
IN_USE = 60.0

#: Are told of each event, and of what is learned about it later: see `testing`.
listeners: list[Callable[[UsageEvent], None]] = []

#: Sections that were looked at, to be warned of once.
_seen_sections: set[str] = set()


def record(
    event: UsageEvent, attributed: Attribution, response_id: str = "", *, is_written: bool = False
) -> Call:
    """Takes `event` in: remembers it in its unit of work and puts it into the outbox.

    One that `is_written` to the database already needs no outbox.
    """
    catch_up()
    warn_of_unknown_section(event)
    call = Call(event, attributed, _id(response_id))
    attributed.unit.remember(call)
    if attributed.scope is not None:
        for observer in attributed.scope.observers():
            observer.called(event)
    # A thread's call may take longer than the request. Asked before delivery can have the event,
    # and again after: in between the unit may have ended.
    if not attributed.unit.open:
        _await_users(attributed.unit)
    _put(event, is_written=is_written)
    if not attributed.unit.open:
        _await_users(attributed.unit)
    return call


def complete(end: UsageEvent, attributed: Attribution, response_id: str) -> None:
    """Takes in how a call ended that may have begun elsewhere: in another request or process."""
    for call in attributed.unit.calls:
        if call.event.id == end.id:
            changes = {name: getattr(end, name) for name in ENDING}
            _amend(call, metadata=end.completing(call.event.metadata), **changes)
            return
    record(end, attributed, response_id)


def record_manually(
    *,
    usage: Usage,
    section: str = "",
    owner: Owner | None = None,
    model_name: str = "",
    provider: str = "",
    operation: str = "",
    response_id: str = "",
    response_time_ms: Any = 0,
    success: bool = True,
    error_message: str = "",
    facts: dict[str, Any] | None = None,
    metadata: object = None,
    home: Place | None = None,
    write: Callable[[UsageEvent], None] | None = None,
    keep: bool = True,
) -> UsageEvent:
    """Takes in what the site itself says of a call.

    If the hook saw that call, its event is amended, else a new one is made; returns it.
    `section` and `owner` default to the scope in force, and so does `home`, the place of an owner.

    `write` writes an event to the database at once. What it raises is raised here; then the outbox
    takes the event if it is to `keep` it, else it is as if nothing had been said. A call that the
    hook saw is in the outbox with all that is known of it in any case, so that what the outbox has
    of it from before never comes last.
    """
    attributed = attribution()
    if owner is not None:
        place = attributed.place if home is None else home
        if not place.has_users:
            owner = None  # the same key would be another person there
        attributed = replace(attributed, owner=owner, pending=None, place=place)
    now = utc_now()
    said = UsageEvent.create(
        id=uuid7(now),
        created_at=now,
        section=section,
        provider=provider,
        model_name=model_name,
        operation=operation,
        usage=usage,
        source=MANUAL,
        response_time_ms=response_time_ms,
        success=success,
        error_message=error_message,
        facts=facts,
        metadata=metadata,
        database=attributed.place.database,
        schema=attributed.place.schema,
    )
    unit = attributed.unit.id if attributed.unit.open else ""
    call = _joinable(attributed, said, _id(response_id))
    if call is not None:
        if owner is not None:
            call.pending = None
        _amend(call, **_joined(call.event, said, owner), unit=unit)
        event = call.event
        _attribute_attempts_before(call, attributed.unit, section, owner)
    else:
        owner = attributed.owner
        event = replace(
            said,
            section=said.section or attributed.section,
            user_id=owner.id if owner else None,
            username=owner.username if owner else "",
            metadata=clean_metadata({**attributed.metadata, **said.metadata}),
            unit=unit,
        )
        warn_of_unknown_section(event)
    refusal: Exception | None = None
    if write is not None:
        try:
            write(event)
        except Exception as error:
            if not keep:
                raise
            refusal = error
    if call is None:
        is_written = write is not None and refusal is None
        call = record(event, attributed, response_id, is_written=is_written)
    call.joined = True
    if refusal is not None:
        raise refusal
    return event


@contained
def finish(unit: Unit, response: HttpResponseBase | None = None) -> None:
    """End a unit of work. Delivery resolves the users of its calls that nobody has loaded.

    The request stays the site's until its `response` is closed: middleware around ours may still
    look at the session. Cheap enough for a finalizer: no query, no lock, no file.
    """
    try:
        if response is not None and unit.pending and not outbox.inline() and not conf.wait():
            unit.in_use = True
            cast(Any, response)._resource_closers.append(_Release(unit))
        _await_users(unit)
    finally:
        unit.end()
    _await_users(unit)  # those of another thread that came in between


def has_routed(unit: Unit) -> bool:
    """Whether only a router in the thread or task of `unit` finds the user of a call."""
    return any(call.scope is not None and call.scope.home.is_routed for call in unit.pending)


@contained
def resolve_routed(unit: Unit) -> None:
    """Resolve the pending users whose database only a router in this thread finds.

    To be called before `finish`, where a query is allowed.
    """
    if not has_routed(unit) or on_event_loop():
        return
    for call in list(unit.pending):
        pending, scope = call.pending, call.scope
        if pending is None or scope is None or not scope.home.is_routed:
            continue
        if here(unit.request) == scope.home:
            unit.pending.remove(call)
            _attribute(call, resolve_here(pending))


async def aresolve_routed(unit: Unit) -> None:
    if has_routed(unit):
        await sync_to_async(resolve_routed)(unit)


class _Release:
    """Lets go of a request when its response is closed, or freed unclosed (a 304 in its place)."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit

    def __call__(self) -> None:
        self._unit.in_use = False

    __del__ = __call__


def _await_users(unit: Unit) -> None:
    while unit.pending:
        call = unit.pending.pop()
        if call.pending is not None:
            _unresolved[call.event.id] = call
    while len(_unresolved) > UNRESOLVED:
        _unresolved.pop(next(iter(_unresolved)), None)


def is_unresolved(event: UsageEvent) -> bool:
    """Whether the user of `event` is yet to be resolved by `resolve_users`."""
    return event.id in _unresolved


def has_work() -> bool:
    """Whether `resolve_users` or `catch_up` has something to do."""
    return bool(_unresolved) or not _postponed.empty()


def has_unresolved() -> bool:
    return bool(_unresolved)


def resolve_users() -> None:
    """Resolve the pending users of ended units by the connections of this thread; for delivery.

    A database that fails is asked again next time, until the call is ten minutes old.
    """
    now = time.monotonic()
    failing: set[Place] = set()
    for call in list(_unresolved.values()):
        pending, scope = call.pending, call.scope
        if scope is not None and scope.unit.in_use and now - scope.unit.ended < IN_USE:
            continue
        owner = None
        home = NOWHERE if scope is None else scope.home
        if home in failing:
            continue
        if pending is not None:
            try:
                owner = owner_of(resolve_at(home, pending))
            except DatabaseError as error:
                if now - call.at < UNRESOLVED_SECONDS:
                    logger.debug("the user of a call cannot be read yet: %s", error)
                    failing.add(home)
                    continue
                contain(error, "recorder.resolve_users")
            except Exception as error:  # noqa: BLE001 -- the site's own authentication
                contain(error, "recorder.resolve_users")
        _unresolved.pop(call.event.id, None)
        _attribute(call, owner)


def later(action: Callable[[], object]) -> None:
    """Remember what a finalizer has to do; `catch_up` does it.

    A finalizer may run in the middle of anything, a statement of the database driver included.
    """
    _postponed.put(action)
    outbox.nudge()


@contained
def catch_up() -> None:
    """Do what finalizers have left."""
    while True:
        try:
            action = _postponed.get_nowait()
        except queue.Empty:
            return
        action()


#: Calls by event id whose unit has ended and whose user is to be resolved.
_unresolved: dict[UUID, Call] = {}
# Reentrant, unlike a deque behind a lock: a finalizer may run inside `catch_up`.
_postponed: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()


def _after_fork() -> None:
    # The parent goes on with them.
    _unresolved.clear()


files.after_fork(_after_fork)


def warn_of_unknown_section(event: UsageEvent) -> None:
    """Says once per section that AI_USAGE_SECTIONS lacks it; the call counts all the same."""
    section = event.section
    if section in _seen_sections:
        return
    if len(_seen_sections) < 1000:
        _seen_sections.add(section)
    if section in conf.sections():
        return
    logger.warning(
        "[TRACK_WARNING] Invalid section '%s' for user %s",
        one_line(section),
        shown_user(event.user_id, event.username),
        extra={"section": section},
    )


def _attribute(call: Call, owner: Owner | None) -> None:
    call.pending = None
    if owner is not None and call.event.user_id is None:
        _amend(call, user_id=owner.id, username=owner.username)


def _amend(call: Call, **changes: Any) -> None:
    before = call.event
    call.event = before.amended(**changes)
    if call.scope is not None:
        for observer in call.scope.observers():
            observer.amended(before, call.event)
    _put(call.event)


def _put(event: UsageEvent, *, is_written: bool = False) -> None:
    if not conf.enabled():
        return
    for see in tuple(listeners):
        see(event)
    if not is_written:
        outbox.put(event)


def _id(value: str) -> str:
    """Return the id of a response as it is kept and compared."""
    return clean_name(value) if value else ""


def _joinable(attributed: Attribution, said: UsageEvent, response_id: str) -> Call | None:
    """The newest call of the unit that `said` speaks of, if the hook saw it."""
    unit, block = attributed.unit, attributed.scope
    oldest = 0.0 if unit.open else time.monotonic() - JOINABLE
    for call in reversed(unit.calls):
        if call.joined or call.at < oldest or _place(call.event) != _place(said):
            continue
        if _is_about(said, call, response_id, in_block=_is_inside(call.scope, block)):
            return call
    return None


def _place(event: UsageEvent) -> tuple[str, str]:
    return event.database, event.schema


def _attribute_attempts_before(call: Call, unit: Unit, section: str, owner: Owner | None) -> None:
    """Give the failed attempts of a call that was told of to the same user and section.

    These are the ones that its SDK has repeated inside of a single call, and says so. What a loop
    of the site repeats is left alone: the same request may come from the next user of a thread.
    """
    if owner is None and not section:
        return
    calls = list(unit.calls)
    later = call
    for earlier in reversed(calls[: calls.index(call)]):
        if later.attempt is None:
            return
        if earlier.attempt is None or earlier.attempt.worker != later.attempt.worker:
            continue
        if not _is_repeated(earlier, earlier.attempt, later, later.attempt):
            return
        earlier.joined = True
        changes: dict[str, Any] = {"section": section or earlier.event.section}
        if owner is not None:
            earlier.pending = None
            changes |= {"user_id": owner.id, "username": owner.username}
        _amend(earlier, **changes)
        later = earlier


def _is_repeated(failed: Call, attempt: Attempt, call: Call, again: Attempt) -> bool:
    if failed.joined or failed.event.success or call.at - failed.at > JOINABLE:
        return False
    if (attempt.key, attempt.asked) != (again.key, again.asked):
        return False
    if _place(failed.event) != _place(call.event):
        return False
    if again.number is None or attempt.number is None:
        return again.number is attempt.number and bool(again.key)
    return again.number == attempt.number + 1


def _is_inside(scope: Scope | None, block: Scope | None) -> bool:
    while scope is not None and scope is not block:
        scope = scope.parent
    return scope is block or block is None


def _is_about(said: UsageEvent, call: Call, response_id: str, *, in_block: bool) -> bool:
    if response_id and call.response_id:
        return response_id == call.response_id
    seen = call.event
    # 0/0 is what a hand-written tracker passes when it knows nothing.
    tells = bool(said.prompt_tokens or said.completion_tokens)
    if seen.usage.known and tells:
        return _agree(said.prompt_tokens, seen.prompt_tokens) and _agree(
            said.completion_tokens, seen.completion_tokens
        )
    if not in_block or (tells and said.success and not seen.success):
        return False  # the call of another block, or the failed attempt before the one told of
    return _may_be(said.provider, _known(seen.provider)) and _may_be(
        said.model_name, seen.model_name
    )


def _agree(said: int | None, seen: int | None) -> bool:
    return said is None or said == (seen or 0)


def _known(provider: str) -> str:
    return "" if provider == UNKNOWN else provider


def _may_be(said: str, seen: str) -> bool:
    """Whether two names may mean the same: one is unknown, or a dated variant of the other."""
    return not said or not seen or said in seen or seen in said


def _joined(seen: UsageEvent, said: UsageEvent, owner: Owner | None) -> dict[str, Any]:
    """What `said` changes in `seen`: the wire is believed, what only the site knows is added."""
    changes: dict[str, Any] = {
        "section": said.section or seen.section,
        "provider": _known(seen.provider) or said.provider or seen.provider,
        "model_name": seen.model_name or said.model_name,
        "operation": seen.operation or said.operation,
        "response_time_ms": seen.response_time_ms or said.response_time_ms,
        "success": seen.success and said.success,
        "error_message": seen.error_message or said.error_message,
        "metadata": clean_metadata({**seen.metadata, **said.metadata}),
    }
    if owner is not None:
        changes |= {"user_id": owner.id, "username": owner.username}
    if not seen.usage.known and (said.prompt_tokens or said.completion_tokens):
        changes |= {
            "prompt_tokens": said.prompt_tokens,
            "completion_tokens": said.completion_tokens,
            "cached_tokens": said.cached_tokens,
            "cache_write_tokens": said.cache_write_tokens,
            "reasoning_tokens": said.reasoning_tokens,
            "cost": said.cost,
            "usage_source": MANUAL,
        }
    return changes
