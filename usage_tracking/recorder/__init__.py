"""Record finished calls: put one event per call into the outbox, and amend it later."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from .. import conf
from ..attribution.resolve import attribution
from ..attribution.scope import Attempt, Attribution, Call
from ..attribution.users import CallUser
from ..events import UsageEvent
from ..log import logger, one_line, shown_user
from ..places import Place
from ..redaction import clean_metadata, clean_name
from . import finalizers, joining, pending_users
from .amending import amend, listeners, put
from .finalizers import catch_up, later

__all__ = ["catch_up", "later", "listeners"]

#: Sections that were checked; each causes at most one warning.
_seen_sections: set[str] = set()


def record(
    event: UsageEvent,
    attributed: Attribution,
    response_id: str = "",
    attempt: Attempt | None = None,
    *,
    is_written: bool = False,
) -> Call:
    """Remember an event in its unit of work and put it into the outbox.

    Args:
        event: The event of a finished call.
        attributed: The attribution of the call.
        response_id: The id that the provider gave the response, "" if it is unknown.
        attempt: What identifies a captured call as a repetition of an earlier one.
        is_written: Whether the event is already written to the database.
    """
    catch_up()
    warn_of_unknown_section(event)
    call = Call(event, attributed, _id(response_id), attempt)
    attributed.unit.remember(call)
    if attributed.scope is not None:
        for observer in attributed.scope.observers():
            observer.called(event)
    # A thread's call may outlast the request. Checked before delivery can see the event, and again
    # afterwards, because the unit may end in between.
    if not attributed.unit.open:
        pending_users.await_users(attributed.unit)
    put(event, is_written=is_written)
    if not attributed.unit.open:
        pending_users.await_users(attributed.unit)
    return call


def complete(end: UsageEvent, attributed: Attribution, response_id: str) -> None:
    """Complete a call that another event started, possibly in another request or process."""
    for call in attributed.unit.calls:
        if call.event.id == end.id:
            if end.detail >= call.event.detail:
                amend(call, **end.ending(call.event.metadata))
            return
    record(end, attributed, response_id)


def record_manually(
    reported: UsageEvent,
    *,
    response_id: str = "",
    user: CallUser | None = None,
    home: Place | None = None,
    write: Callable[[UsageEvent], None] | None = None,
    keep: bool = True,
) -> UsageEvent:
    """Record a call that the site itself reports.

    If the call was captured, amend its event. Otherwise record the reported event as a new call.

    Args:
        reported: An event made by `UsageEvent.manual`. If it has no section, it gets that of the
            current scope.
        response_id: The id that the provider gave the response, "" if it is unknown.
        user: The user of the call, by default that of the current scope.
        home: The place of `user`, by default that of the current scope.
        write: Writes an event to the database at once. The event of a captured call goes to the
            outbox as well, with everything known about it, so that an earlier revision in the
            outbox never wins.
        keep: Whether to put the event into the outbox if `write` raises. If False, nothing is
            recorded then.

    Returns:
        The event of the call.

    Raises:
        Exception: Any error of `write`.
    """
    attributed = attribution()
    if user is not None:
        place = attributed.place if home is None else home
        if not place.has_users:
            user = None  # there the same key belongs to another user
        attributed = replace(attributed, user=user, pending=None, place=place)
    reported = replace(reported, database=attributed.place.database, schema=attributed.place.schema)
    unit = attributed.unit.id if attributed.unit.open else ""
    call = joining.find(attributed, reported, _id(response_id))
    if call is not None:
        if user is not None:
            call.pending = None
        amend(call, **joining.changes(call.event, reported, user), unit=unit)
        event = call.event
        _join_failed_attempts(call, attributed, reported.section, user)
    else:
        event = _of_scope(reported, attributed, unit)
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


def _of_scope(reported: UsageEvent, attributed: Attribution, unit: str) -> UsageEvent:
    """Return a reported event completed from the current scope."""
    user = attributed.user
    return replace(
        reported,
        section=reported.section or attributed.section,
        user_id=user.id if user else None,
        username=user.username if user else "",
        metadata=clean_metadata({**attributed.metadata, **reported.metadata}),
        unit=unit,
    )


def _join_failed_attempts(
    call: Call, attributed: Attribution, section: str, user: CallUser | None
) -> None:
    """Set the user and section of a reported call on its failed attempts too."""
    if user is None and not section:
        return
    for attempt in joining.failed_attempts(call, attributed.unit):
        attempt.joined = True
        changes: dict[str, Any] = {"section": section or attempt.event.section}
        if user is not None:
            attempt.pending = None
            changes |= {"user_id": user.id, "username": user.username}
        amend(attempt, **changes)


def has_work() -> bool:
    """Return whether a pending user or a finalizer's action waits."""
    return pending_users.exist() or finalizers.have_work()


def warn_of_unknown_section(event: UsageEvent) -> None:
    """Warn once about a section that is not in AI_USAGE_SECTIONS; the call is still recorded."""
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


def _id(value: str) -> str:
    """Return the id of a response as it is stored and compared."""
    return clean_name(value) if value else ""
