"""Record calls by hand: the explicit API, a drop-in replacement for hand-written trackers."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from functools import partial
from types import TracebackType
from typing import Any, Self

from django.db import DatabaseError, connections, transaction
from django.utils import timezone

from . import conf, daily, outbox, places, recorder
from .attribution.resolve import attribution
from .attribution.users import CallUser, call_user_of, on_event_loop
from .blocks import ai_usage
from .days import day_of
from .delivery import direct, log_lines, reads, row_values
from .errors import contain
from .events import MAX_DURATION, UsageEvent
from .log import logger, shown_user
from .models import AIUsageLog, AIUsageTracking, today
from .pricing import quote
from .redaction import clean_text
from .related_users import with_users
from .system import forks
from .usage import MAX_COUNT, Usage

Tracked = tuple[AIUsageLog, AIUsageTracking]


def track_ai_usage(
    user: Any,
    section: str,
    prompt_tokens: int = 0,
    completion_tokens: int = 0,
    response_time_ms: int = 0,
    success: bool = True,  # noqa: FBT001, FBT002 -- the signature hand-written trackers have
    model_name: str = "",
    error_message: str | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Tracked:
    """Record one AI call explicitly; if the call was captured, add to what is known.

    Outside a transaction, both rows are saved on the caller's connection when the function returns.
    It writes nothing inside a transaction (of the database of the usage tables or of the users), on
    an event loop, or in a forked process that still has its parent's connection. It then returns
    unsaved previews, with the id that the row will have, and the call is recorded even if the
    transaction is rolled back. With `AI_USAGE_ENABLED = False` nothing is recorded.

    If the user was deleted meanwhile, the row is saved without a user, and the daily row is a
    preview.

    Args:
        user: A saved, authenticated user.
        section: A code of `AI_USAGE_SECTIONS`; an unknown one is recorded with a warning.
        prompt_tokens: The number of input tokens.
        completion_tokens: The number of output tokens.
        response_time_ms: The duration of the call in milliseconds.
        success: Whether the call succeeded.
        model_name: The name of the model.
        error_message: The error of a failed call; secrets are redacted.
        metadata: Stored with the call; secrets are redacted.

    Returns:
        The row and the daily row.

    Raises:
        ValueError: The user is missing, the section is empty, or a number is negative or not
            whole. Nothing is recorded then.
        django.db.Error: The database refuses the call. Nothing is recorded then.
    """
    return _track(
        user,
        section,
        prompt_tokens,
        completion_tokens,
        response_time_ms,
        success,
        model_name,
        error_message,
        metadata,
    )


def track_ai_usage_safe(*args: Any, **kwargs: Any) -> Tracked | tuple[None, None]:
    """Do the same as `track_ai_usage`, but log errors instead of raising them.

    A call that the database refuses stays in the outbox until it can be delivered.

    Returns:
        The row and the daily row, or `(None, None)` after an error.
    """
    try:
        return _track(*args, **kwargs, keep=True)
    except ValueError as error:
        # The error is already logged.
        logger.debug("not tracked: %s", error)
    except Exception as error:  # noqa: BLE001 -- "safe" means that it never raises
        contain(error, "track_ai_usage_safe")
    return None, None


log_ai_usage = track_ai_usage_safe


def track_in_transaction(user: Any, section: str, **values: Any) -> Tracked:
    """Do the same as `track_ai_usage`, but write the rows in the caller's open transaction.

    A rollback of the transaction removes them, like the caller's other rows.
    """
    return _track(user, section, **values, within=True)


def _track(
    user: Any,
    section: str,
    prompt_tokens: int = 0,
    completion_tokens: int = 0,
    response_time_ms: int = 0,
    success: bool = True,  # noqa: FBT001, FBT002 -- see `track_ai_usage`
    model_name: str = "",
    error_message: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    *,
    keep: bool = False,
    within: bool = False,
) -> Tracked:
    """Record a call; see `track_ai_usage`.

    With `keep`, a call that the database refuses stays in the outbox. With `within`, the rows are
    written inside an open transaction of the caller too.
    """
    call_user = _valid_user(user)
    section = _valid_section(section, call_user)
    prompt_tokens = _valid_count("prompt_tokens", prompt_tokens)
    completion_tokens = _valid_count("completion_tokens", completion_tokens)
    response_time_ms = _valid_count("response_time_ms", response_time_ms, MAX_DURATION)
    log_lines.started(
        shown_user(call_user.id, call_user.username),
        section,
        prompt_tokens,
        completion_tokens,
        success=bool(success),
    )
    attributed = attribution()
    scope = attributed.scope
    request = None if scope is None else scope.unit.request
    home: places.Place | None = places.here(request, user=user)
    if home == places.NOWHERE and scope is not None and scope.thread != threading.get_ident():
        home = None  # a pool thread belongs to no tenant, but its request may
    place = attributed.place if home is None else home
    using = places.alias_of(place.database) or places.own()
    with places.active(using, place.tenant):
        writes = conf.enabled() and not on_event_loop() and (within or _is_free(using))
        # Read before the call is recorded, because inline delivery may add it to the row at once.
        before = _day_so_far(user, using) if not writes else daily.Sums()
        event = recorder.record_manually(
            UsageEvent.manual(
                usage=Usage(prompt_tokens=prompt_tokens, completion_tokens=completion_tokens),
                section=section,
                model_name=model_name or "",
                response_time_ms=response_time_ms,
                success=bool(success),
                error_message=error_message or "",
                metadata=metadata,
            ),
            user=call_user,
            home=home,
            write=partial(direct.write, using=using) if writes else None,
            keep=keep,
        )
        if not writes:
            return _preview(event, user, before)
        if outbox.inline():
            outbox.wake()  # for calls deferred until the end of a transaction
        log, day = _saved(event, using)
        if log is None or day is None:
            preview = _preview(event, user, before)
            return log or preview[0], day or preview[1]
        return log, day


class AIUsageTracker:
    """Record a block as one AI call, even if no call was captured in it.

    It never raises errors of its own::

        with AIUsageTracker(user, "chat", "gpt-4o") as tracker:
            answer = own_model(prompt)
            tracker.set_tokens(prompt_tokens=150, completion_tokens=80)

    An exception that leaves the block marks the call as failed and propagates.

    Args:
        user: A saved, authenticated user.
        section: A code of `AI_USAGE_SECTIONS`.
        model_name: The name of the model.
    """

    def __init__(self, user: Any, section: str, model_name: str = "") -> None:
        self.user = user
        self.section = section
        self.model_name = model_name
        self.prompt_tokens = 0
        self.completion_tokens = 0
        self.success = True
        self.error_message: str | None = None
        self.metadata: dict[str, Any] = {}

    def set_tokens(self, prompt_tokens: int = 0, completion_tokens: int = 0) -> None:
        """Set the numbers of input and output tokens."""
        self.prompt_tokens = prompt_tokens
        self.completion_tokens = completion_tokens

    def set_metadata(self, metadata: Mapping[str, Any] | None = None, **more: Any) -> None:
        """Add to the metadata of the call."""
        self.metadata.update(metadata if isinstance(metadata, Mapping) else {}, **more)

    def mark_success(self) -> None:
        """Record the call as successful."""
        self.success, self.error_message = True, None

    def mark_failure(self, error_message: str | None = None) -> None:
        """Record the call as failed."""
        self.success, self.error_message = False, error_message

    def __enter__(self) -> Self:
        self._started = time.perf_counter()
        self._block = ai_usage(self.section, user=self.user)
        self._seen = self._block.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            self.mark_failure(f"{type(error).__name__}: {error}")
        has_report = (
            self.prompt_tokens or self.completion_tokens or self.metadata or not self.success
        )
        if has_report or not self._seen.calls:
            track_ai_usage_safe(
                self.user,
                self.section,
                self.prompt_tokens,
                self.completion_tokens,
                round((time.perf_counter() - self._started) * 1000),
                self.success,
                self.model_name,
                self.error_message,
                self.metadata,
            )
        self._block.__exit__(kind, error, traceback)


def _valid_user(user: Any) -> CallUser:
    call_user = None if user is None else call_user_of(user)
    if call_user is None:
        logger.error("[TRACK_ERROR] User is None - cannot track usage")
        raise ValueError(f"user must be a saved, authenticated user, not {_shown(user)}")
    return call_user


def _shown(user: Any) -> str:
    return "None" if user is None else f"of type {type(user).__name__}"


def _valid_section(section: Any, call_user: CallUser) -> str:
    if not isinstance(section, str) or not section.strip():
        name = shown_user(call_user.id, call_user.username)
        logger.error("[TRACK_ERROR] Section is empty for user %s", name)
        raise ValueError("section must be a non-empty string")
    return clean_text(section.strip(), 50)


def _valid_count(name: str, value: Any, maximum: int = MAX_COUNT) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        _refuse(f"{name} must be a whole number, not {type(value).__name__}")
    if value < 0:
        _refuse(f"{name} must not be negative")
    if value > maximum:
        remedy = "left out" if maximum == MAX_COUNT else "clamped"
        logger.warning("[TRACK_WARNING] %s is above %d and was %s", name, maximum, remedy)
    return int(value)


def _refuse(reason: str) -> None:
    logger.error("[TRACK_ERROR] %s - cannot track usage", reason)
    raise ValueError(reason)


def _is_free(using: str) -> bool:
    """Return whether the caller has no open transaction, so that a new one can commit."""
    return not any(
        reads.in_transaction(connection)
        or connection.needs_rollback
        or forks.is_inherited(connection)
        for connection in {connections[using], connections[places.users_of(using)]}
    )


def _saved(event: UsageEvent, using: str) -> tuple[AIUsageLog | None, AIUsageTracking | None]:
    """Return the rows of an event that was written, None for a row that does not exist."""
    log = day = None
    try:
        log = with_users(AIUsageLog.objects.using(using).filter(pk=event.id)).first()
        if log is not None and log.user is not None:
            day = AIUsageTracking.objects.using(using).filter(user=log.user, date=log.day).first()
    except DatabaseError as error:
        contain(error, "track_ai_usage")
    return log, day


def _preview(event: UsageEvent, user: Any, before: daily.Sums) -> Tracked:
    """Return the rows as they will be; saving the first is safe, because it has the event's id."""
    quoted = quote(event)
    log = AIUsageLog(
        id=event.id, user=user, **row_values.of_event(event, quoted, day_of(event.created_at))
    )
    log.is_preview = True
    log.total_tokens = event.total_tokens
    call = daily.of_event(event, quoted.cost)
    sums = call.plus(before)._asdict()
    row = AIUsageTracking(user=user, date=log.day, updated_at=timezone.now(), **sums)
    row.average_response_time_ms = row.total_response_time_ms / row.total_requests
    return log, row


def _day_so_far(user: Any, using: str) -> daily.Sums:
    connection = connections[using]
    if (
        on_event_loop()
        or connection.needs_rollback
        or forks.is_inherited(connection)
        or not conf.enabled()
    ):
        return daily.Sums()
    try:
        # In a savepoint, so that a failed query does not break the caller's transaction.
        with transaction.atomic(using=connection.alias):
            row = (
                AIUsageTracking.objects.using(connection.alias)
                .filter(user=user, date=today())
                .values_list(*daily.Sums._fields)
                .first()
            )
    except DatabaseError as error:
        contain(error, "track_ai_usage")
        return daily.Sums()
    if row is None:
        return daily.Sums()
    return daily.Sums._make(row)
