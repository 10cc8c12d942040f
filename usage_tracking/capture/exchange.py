"""One AI call from its request to the end of its answer, on any transport."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import UUID

from .. import conf, outbox, recorder
from ..attribution.resolve import attribution
from ..attribution.scope import Attempt
from ..errors import contained
from ..events import UNKNOWN, UsageEvent, named_uuid7, utc_now, uuid7
from ..formats.reader import Job, Reader
from ..system.site_tests import running_test
from . import batch_memory
from .body import Body
from .endpoints import Target, recognise
from .include_usage import Hiding, Question, question
from .keys import hint_in
from .outcome import Outcome, outcome, requested_model

#: Errors that end the reader, not the answer: its task was cancelled because the visitor left.
LEFT = (asyncio.CancelledError, GeneratorExit, KeyboardInterrupt, SystemExit)

#: Collects the events of the self-test's trials, which are not recorded.
trial_events: ContextVar[list[UsageEvent] | None] = ContextVar(
    "ai_usage_trial_events", default=None
)
#: Whether the call is the self-test's and is recorded, although its host is unknown.
is_recorded_trial: ContextVar[bool] = ContextVar("ai_usage_is_recorded_trial", default=False)

#: The time in the id of a job's row if not all answers say when it began.
_NO_TIME = datetime.fromtimestamp(0, UTC)

#: Headers that are the same in all attempts of one call: of Stainless's SDKs and of botocore.
_KEYS = ("idempotency-key", "amz-sdk-invocation-id")


def begin(
    transport: str,
    method: str,
    host: str,
    port: int | None,
    path: str,
    body: bytes | Mapping[str, Any] | None,
) -> Exchange | None:
    """Return the exchange that a request opens, None if it is not an AI call to record.

    Args:
        transport: Name of the transport that sends the request.
        method: The HTTP method, in upper case.
        host: The host of the URL.
        port: The port of the URL, None if it names none.
        path: The raw path of the URL; it may have a query.
        body: The request's body if it is in memory, or the mapping it will be made of.
    """
    path = path.partition("?")[0]
    endpoint = recognise(method, host, port, path)
    if endpoint is None or not is_wanted(transport, endpoint):
        return None
    exchange = Exchange(endpoint, path, body)
    if endpoint.polls and not batch_memory.is_of_interest(endpoint, path, exchange.reader):
        return None
    exchange.question = question(endpoint, host, port, body)
    return exchange


def is_wanted(transport: str, endpoint: Target) -> bool:
    """Return whether the settings let the calls of a transport to an endpoint be recorded."""
    wanted = conf.capture()
    if not conf.enabled() or wanted is False or (wanted is not True and transport not in wanted):
        return False
    return endpoint.provider != UNKNOWN or conf.unknown_hosts() or _is_trial()


def _is_trial() -> bool:
    return trial_events.get() is not None or is_recorded_trial.get()


class Exchange:
    """Collects one call and records it once, at the first of its possible ends.

    The transport calls `answered` with the head of the response, then either `whole` with the
    decoded body or `chunk` for each piece as it came from the network, then `end`; or `failed`
    if there is no response. None of them raises.

    Attributes:
        headers: The headers of the request, with `get`; they are read once the call has ended, and
            not kept.
        question: What else to ask of the provider, on transports that can.
        reader: The reader of the answer.
        is_sending: Whether the transport is still waiting for the response.
        chunk: Takes the next piece of the body; see `Body.chunk`.
    """

    headers: Any = None
    question: Question | None = None
    is_sending = False
    # Bound to the body's method: another call for each piece of a stream would be felt.
    chunk: Callable[[bytes], None]

    def __init__(self, endpoint: Target, path: str, body: bytes | Mapping[str, Any] | None) -> None:
        # The only reading of the wall clock; durations come from the monotonic one.
        self._created_at = utc_now()
        self._started = time.perf_counter()
        #: When the body was freed before its end, 0 if it was not.
        self._abandoned_at = 0.0
        self._pid = os.getpid()
        self._endpoint = endpoint
        self._path = path
        self._request_body = body
        self._trial_events = trial_events.get()
        self._attribution = attribution()
        self._body = Body(endpoint)
        self.reader = self._body.answer.reader
        self.chunk = self._body.chunk
        self._is_done = False

    @contained
    def answered(self, status: int, headers: Mapping[str, str]) -> None:
        """Take the head of the response; `headers` ignores the case of names."""
        outbox.expect()
        if self.question is not None:
            self.question.answered(status)
        self._body.head(status, headers)

    @contained
    def hiding(self) -> Hiding | None:
        """Return what hides the extra chunk from the site, None if nothing must be hidden.

        Call it after `answered`.
        """
        is_stream = self._body.answer.may_be_stream
        if self.question is None or not is_stream or not self.question.is_answered():
            return None
        # Each decoder takes every piece once, so this one is not the body's.
        return Hiding(self._body.unbounded_decoder())

    @contained
    def whole(self, content: bytes) -> None:
        """Take the complete body, decoded, and end the exchange."""
        self._body.set_decoded()
        self._body.chunk(content)
        self.end()

    def is_decoded(self) -> None:
        """Expect the pieces of the body as the HTTP library has decoded them."""
        self._body.set_decoded()

    @contained
    def end(self, error: BaseException | None = None, *, abandoned: bool = False) -> None:
        """End a body taken by `chunk`: regularly, by `error`, or abandoned before its end."""
        if self._is_done:
            return
        if isinstance(error, LEFT):
            error, abandoned = None, True
        body = self._body
        body.finish(is_whole=error is None and not abandoned)
        # Many clients stop at the provider's last event without waiting for the end of the body.
        is_complete = body.answer.is_done or self.reader.complete
        is_ended = error is None and (not abandoned or is_complete) and not body.is_undecodable
        self._finish(error, is_ended=is_ended)

    def abandon(self) -> None:
        """End, soon, a body that was freed before its end; for finalizers."""
        if not self._is_done:
            self._abandoned_at = time.perf_counter()
            recorder.later(partial(self.end, abandoned=True))

    @contained
    def failed(self, error: BaseException) -> None:
        """End an exchange that got no response."""
        self._finish(error, is_ended=False)

    def _finish(self, error: BaseException | None, *, is_ended: bool) -> None:
        if self._is_done:
            return
        self._is_done = True
        request_body, self._request_body = self._request_body, None
        headers, self.headers = self.headers, None
        elapsed = (self._abandoned_at or time.perf_counter()) - self._started
        if not self._is_recorded():
            return
        requested = requested_model(self._endpoint, request_body)
        whole = self.reader
        whole.asked(self._path, request_body)
        if whole.polls:
            self._endpoint = self._endpoint._replace(polls=True)
        batch_memory.join(self._endpoint, whole)
        if self._endpoint.polls and not is_ended:
            return  # it may have results of a batch, all of which count or none
        key_hint = "" if headers is None else hint_in(headers.get)
        for reader in whole.parts:
            # A poll counts once the job that it asks for has ended, if there is one.
            if self._endpoint.polls and (reader.job is None or not reader.job.ended):
                continue
            result = outcome(
                self._endpoint,
                requested,
                self._body,
                reader,
                error=error,
                is_ended=is_ended,
                request=self._sent(request_body),
                key_hint=key_hint,
            )
            event = self._event(result, reader, elapsed)
            if self._trial_events is not None:
                self._trial_events.append(event)
            elif self._endpoint.polls:
                recorder.complete(event, self._attribution, result.response_id)
            else:
                attempt = self._attempt(headers, request_body, requested)
                recorder.record(event, self._attribution, result.response_id, attempt)

    def _sent(self, body: bytes | Mapping[str, Any] | None) -> bytes | Mapping[str, Any] | None:
        """Return the body of the request as it was sent: with the question, if it was accepted."""
        question = self.question
        return question.body if question is not None and question.is_answered() else body

    def _is_recorded(self) -> bool:
        if self._pid != os.getpid():
            return False  # a fork inherited an open stream; its parent records it
        if self._attribution.unit.test is not running_test():
            return False  # left behind by a test of the site that has ended
        # A path alone is never enough.
        return not self._endpoint.unknown_host or self.reader.recognised

    def _event(self, result: Outcome, reader: Reader, elapsed: float) -> UsageEvent:
        job, polls = reader.job, self._endpoint.polls
        event_id, created_at = self._identity(job, dated=reader.dates_jobs)
        return result.event(
            event_id,
            created_at,
            elapsed,
            self._endpoint,
            self._attribution,
            begins=not polls and job is not None and not job.ended,
            completes=polls,
        )

    def _identity(self, job: Job | None, *, dated: bool) -> tuple[UUID, datetime]:
        """Return the id of the event and when the call began."""
        if job is None or not job.id:
            return uuid7(self._created_at), self._created_at
        # Another process may poll for the answer: both must derive the same id.
        endpoint = self._endpoint
        name = " ".join(filter(None, (endpoint.known_as, job.id, job.part)))
        event_id = named_uuid7(job.began if dated and job.began else _NO_TIME, name)
        is_dated = endpoint.polls and job.began is not None
        return event_id, job.began if is_dated and job.began else self._created_at

    @contained
    def _attempt(
        self, headers: Any, body: bytes | Mapping[str, Any] | None, requested_model: str
    ) -> Attempt | None:
        if headers is None:
            return None
        number = _text(headers.get("x-stainless-retry-count"))
        key = next(filter(None, (_text(headers.get(name)) for name in _KEYS)), "")
        # On an unknown host not every attempt is recorded, so a count proves nothing.
        is_counted = number.isdecimal() and not self._endpoint.unknown_host
        loop = asyncio._get_running_loop()
        task = None if loop is None else asyncio.current_task(loop)
        return Attempt(
            int(number) if is_counted else None,
            key,
            (threading.get_ident(), id(task)),
            (self._endpoint, requested_model, hash(body) if isinstance(body, bytes) else None),
        )


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value or "")
