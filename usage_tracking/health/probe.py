"""Make a test call that passes transport → capture → outbox → delivery → both tables.

The call goes to a server on this machine and is recorded as the site's own calls are. Its row has a
mark, so that the next run can remove what a killed run left.
"""

from __future__ import annotations

import datetime as dt
import json
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NamedTuple

from django.db import router, transaction
from django.utils import timezone

from .. import conf, outbox
from ..attribution.resolve import attribution
from ..blocks import ai_usage
from ..capture import selftest
from ..delivery import delivery
from ..events import UsageEvent
from ..models import AIUsageLog, AIUsageTracking, today
from .findings import Finding, Result, failed, manage, note, ok, problem

#: The key in the metadata of a test call that tells whether to remove or keep its row.
MARK = "diagnose_ai_usage"
_REMOVE, _KEEP = "remove", "keep"
#: How long delivery may take, in seconds.
WAIT = 10.0
#: A younger test call may belong to a run in progress.
_IN_USE = dt.timedelta(minutes=1)

FLUSH = "python manage.py flush_ai_usage"
_NOTHING = note("not_verified", "Nothing to verify")
_SEND, _VERIFY = "Tracking test AI usage", "Verifying data was saved"


class _DailyRowBefore(NamedTuple):
    """The daily row of the test user before the call."""

    day: dt.date
    requests: int
    updated_at: dt.datetime


def _obstacle(user: Any, using: str) -> Finding | None:
    """Return why no test call can be made."""
    if not conf.enabled():
        text = "AI_USAGE_ENABLED is False: no call is recorded"
        return problem("disabled", text, "AI_USAGE_ENABLED = True")
    if not conf.capture():
        text = f"AI_USAGE_CAPTURE is {conf.capture()!r}: no call is captured"
        return problem("capture_off", text, "AI_USAGE_CAPTURE = True")
    if user is None:
        return note("not_sent", "Not sent: there is no user for the test call")
    if using != (alias := router.db_for_write(AIUsageLog)):
        return note("not_sent", f"Not sent: calls are delivered to the database {alias!r}")
    return None


def track(user: Any, using: str, *, keep: bool) -> tuple[Result, Result]:
    """Make the call as `user`, verify its rows and, unless `keep`, remove it again."""
    sent, verified = _track(user, using, keep=keep)
    return Result(_SEND, (sent,)), Result(_VERIFY, verified or (_NOTHING,))


def _track(user: Any, using: str, *, keep: bool) -> tuple[Finding, tuple[Finding, ...]]:
    if finding := _obstacle(user, using):
        return finding, ()
    before = _before(user, using)
    event: UsageEvent | None = None
    try:
        mark = {MARK: _KEEP if keep else _REMOVE}
        with ai_usage(conf.default_section(), user=user, metadata=mark):
            unit = attribution().unit
            try:
                transport = selftest.send()
            except Exception as error:  # noqa: BLE001 -- a library may raise anything
                return _not_made(error), ()
            finally:
                event = next((c.event for c in unit.calls if MARK in c.event.metadata), None)
        if event is None:
            return _not_captured(transport), ()
        log = _wait_for(event, using, WAIT)
        if log is None:
            return _undelivered(event), ()
        return ok("tracked", "Tracking successful!"), tuple(_verify(log, event, using, keep=keep))
    finally:
        with _deferred_interrupt():
            # After an interrupt, the call may not be delivered yet.
            log = None if event is None or keep else _wait_for(event, using, 1.0)
            if log is not None:
                _remove(log, using, before)
            for left in _left_behind(using):
                _remove(left, using, None)


@contextmanager
def _deferred_interrupt() -> Iterator[None]:
    """Defer Ctrl-C to the end of the block, so that a second one cannot prevent the removal."""
    is_main = threading.current_thread() is threading.main_thread()
    # Only the main thread can set handlers. One that C has installed (None) cannot be restored.
    if not is_main or signal.getsignal(signal.SIGINT) is None:
        yield
        return
    pressed: list[tuple[int, FrameType | None]] = []
    handler = signal.signal(signal.SIGINT, lambda *pressing: pressed.append(pressing))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if pressed and callable(handler):
            handler(*pressed[-1])


def _before(user: Any, using: str) -> _DailyRowBefore | None:
    row = AIUsageTracking.objects.using(using).filter(user=user, date=today()).first()
    return _DailyRowBefore(row.date, row.total_requests, row.updated_at) if row else None


def _wait_for(event: UsageEvent, using: str, seconds: float) -> AIUsageLog | None:
    deadline = time.monotonic() + seconds
    while True:
        log = AIUsageLog.objects.using(using).filter(pk=event.id).first()
        if log is not None or time.monotonic() > deadline or _refusal(event):
            return log
        if not delivery.wake(wait=0.05):
            time.sleep(0.05)


def _refusal(event: UsageEvent) -> str:
    letters = outbox.get().dead_letters()
    key = json.loads(event.to_json())["id"]
    return next((letter.reason for letter in letters if letter.event.get("id") == key), "")


def _not_captured(transport: str) -> Finding:
    if not transport:
        return problem(
            "no_transport",
            "No HTTP library of the AI SDKs is installed and hooked",
            'pip install "httpx<1"',
        )
    return problem(
        "not_captured",
        f"The call through {transport} was made but not captured",
        "grep TRACK_EXCEPTION in the log of ai_usage_tracker",
    )


def _not_made(error: Exception) -> Finding:
    text = f"The call to a server on 127.0.0.1 failed: {failed(error)}"
    return problem("not_made", text, "Allow the site to connect to 127.0.0.1.")


def _undelivered(event: UsageEvent) -> Finding:
    if reason := _refusal(event):
        text = f"The call was captured, but the database refused it: {reason}"
        return problem("refused", text, f"{FLUSH} --retry-dead")
    text = f"The call was captured, but not delivered within {WAIT:.0f} s"
    return problem("not_delivered", text, FLUSH)


def _verify(log: AIUsageLog, event: UsageEvent, using: str, *, keep: bool) -> Iterator[Finding]:
    saved = (str(log.user_id), log.section, log.prompt_tokens, log.completion_tokens)
    if saved == (event.user_id, event.section, *selftest.TOKENS):
        yield ok("log", "Latest AIUsageLog found")
    else:
        expected = (event.user_id, event.section, *selftest.TOKENS)
        text = f"The row has {saved!r} instead of {expected!r}"
        yield problem("log_differs", text, FLUSH)
    days = AIUsageTracking.objects.using(using).filter(user=log.user_id, date=log.day)
    if days.filter(total_requests__gt=0).exists():
        yield ok("day", "Today's AIUsageTracking found")
    else:
        text = "Today's AIUsageTracking is missing"
        yield problem("day_missing", text, manage("diagnose_ai_usage --repair", using))
    if keep:
        yield note("kept", f"Kept: AIUsageLog {log.pk}")


def _left_behind(using: str) -> list[AIUsageLog]:
    return list(
        AIUsageLog.objects.using(using).filter(
            model_name=selftest.MODEL,
            created_at__lt=timezone.now() - _IN_USE,
            **{f"metadata__{MARK}": _REMOVE},
        )
    )


def _remove(log: AIUsageLog, using: str, before: _DailyRowBefore | None) -> None:
    """Remove the call from both tables and restore the daily row."""
    with transaction.atomic(using=using):
        log.delete(using=using)
        day = AIUsageTracking.objects.using(using).filter(user=log.user_id, date=log.day)
        if before is None or before.day != log.day:
            day.filter(total_requests=0).delete()
        else:  # matches only if the site made no call in the meantime
            day.filter(total_requests=before.requests).update(updated_at=before.updated_at)
