"""From a finished call to the outbox: one event, and whatever is learned about it later."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from .. import conf
from ..attribution.resolve import attribution
from ..attribution.scope import Attribution, Call
from ..attribution.users import CallUser
from ..events import ENDING, UsageEvent
from ..log import logger, one_line, shown_user
from ..places import Place
from ..redaction import clean_metadata, clean_name
from . import finalizers, joining, pending_users
from .amending import amend, listeners, put
from .finalizers import catch_up, later

__all__ = ["catch_up", "later", "listeners"]

#: Sections that were looked at, each of which is warned of once.
_seen_sections: set[str] = set()


def record(
    event: UsageEvent, attributed: Attribution, response_id: str = "", *, is_written: bool = False
) -> Call:
    """Remember an event in its unit of work and put it into the outbox.

    Args:
        event: The event of a finished call.
        attributed: Whose call it is.
        response_id: The id that the provider gave the response, "" if it is unknown.
        is_written: Whether the event is written to the database already.
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
        pending_users.await_users(attributed.unit)
    put(event, is_written=is_written)
    if not attributed.unit.open:
        pending_users.await_users(attributed.unit)
    return call


def complete(end: UsageEvent, attributed: Attribution, response_id: str) -> None:
    """Complete a call that another event started, possibly in another request or process."""
    for call in attributed.unit.calls:
        if call.event.id == end.id:
            changes = {name: getattr(end, name) for name in ENDING}
            amend(call, metadata=end.completing(call.event.metadata), **changes)
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
    """Record what the site itself reports of a call; return its event.

    If the call was captured, its event is amended, else the reported event is a call of its own.

    Args:
        reported: What the site reports, as `UsageEvent.manual` makes it. Without a section it has
            that of the scope in force.
        response_id: The id that the provider gave the response, "" if it is unknown.
        user: The user of the call, by default that of the scope in force.
        home: The place of `user`, by default that of the scope in force.
        write: Writes an event to the database at once. A captured call is in the outbox in any
            case, with all that is known of it, so that an earlier version never comes last.
        keep: Whether the outbox takes the event if `write` raises. If not, nothing is recorded.

    Raises:
        Exception: What `write` raises.
    """
    attributed = attribution()
    if user is not None:
        place = attributed.place if home is None else home
        if not place.has_users:
            user = None  # the same key would be another person there
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
    """Return a reported event with what the scope in force adds to it."""
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
    """Give the failed attempts of a reported call the same user and section."""
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
    """Return whether a user is to be resolved, or a finalizer has left something."""
    return pending_users.exist() or finalizers.have_work()


def warn_of_unknown_section(event: UsageEvent) -> None:
    """Warn once of a section that AI_USAGE_SECTIONS lacks; the call counts all the same."""
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
    """Return the id of a response as it is kept and compared."""
    return clean_name(value) if value else ""
