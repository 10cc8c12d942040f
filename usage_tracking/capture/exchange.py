"""One AI call from its request to the end of its answer, whichever transport carries it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from .. import conf, outbox, recorder
from ..attribution.resolve import attribution
from ..attribution.scope import Attempt
from ..errors import contain, contained
from ..events import UNKNOWN, Usage, UsageEvent, named_uuid7, utc_now, uuid7
from ..formats import READERS
from ..formats.reader import Reader, error_text, text
from ..formats.streams import JSONArray, Splitter, is_binary, splitter_for
from ..redaction import clean_name, clean_text
from ..system.test_runs import running_test
from .encodings import Decode, UndecodableError, decoder
from .endpoints import Endpoint, recognise
from .include_usage import Hiding, Question, question

#: Of a larger body only the end is kept; there the providers put the usage.
MAX_BODY = 8 * 1024 * 1024
_TAIL = 64 * 1024
#: Bytes of a body that are looked at together.
_PIECE = 1024 * 1024
#: A larger request is searched for its model, not parsed.
_SMALL = 16 * 1024

#: Characters of a name that the provider or the request gave.
_NAME = 100

#: What ends a reader, not the answer: its task was cancelled, for the visitor has gone.
LEFT = (asyncio.CancelledError, GeneratorExit, KeyboardInterrupt, SystemExit)

#: Where the self-test wants the events of its own calls, which are nobody's spending.
proof: ContextVar[list[UsageEvent] | None] = ContextVar("ai_usage_proof", default=None)
#: Whether the call is the self-test's and counts all the same, though no table knows its host.
counts: ContextVar[bool] = ContextVar("ai_usage_counts", default=False)

_MODEL = re.compile(rb'(?<!\\)"model"\s*:\s*"([^"\\]{1,200})"')


def begin(
    transport: str,
    method: str,
    host: str,
    port: int | None,
    path: str,
    body: bytes | Mapping[str, Any] | None,
) -> Exchange | None:
    """The exchange that a request opens, None if it is no AI call or shall not be recorded.

    `path` may have a query; `body` is the request's body if it is in memory, or what it will be
    made of.
    """
    path = path.partition("?")[0]
    endpoint = recognise(method, host, port, path)
    if endpoint is None or not conf.enabled():
        return None
    is_ours = proof.get() is not None or counts.get()
    if endpoint.provider == UNKNOWN and not conf.unknown_hosts() and not is_ours:
        return None
    wanted = conf.capture()
    if wanted is False or (wanted is not True and transport not in wanted):
        return None
    exchange = Exchange(endpoint, body)
    exchange.question = question(endpoint, f"{host}:{port}", body)
    return exchange


class Exchange:
    """Collects what is said of one call and records it once, at whichever end comes first.

    The transport calls `answered` with the head of the response, then either `whole` with the
    decoded body or `chunk` for each piece as it came from the network, then `end`; or `failed`
    if there is no response. None of them raises.

    `question` is what else to ask of the provider, for transports that can; `is_sending` tells
    whether the transport has yet to come back with a response. `headers` are those of the request;
    they are read once the call has ended.
    """

    headers: Any = None
    question: Question | None = None
    is_sending = False

    def __init__(self, endpoint: Endpoint, body: bytes | Mapping[str, Any] | None) -> None:
        # The only reading of the wall clock; durations come from the monotonic one.
        self._created_at = utc_now()
        self._started = time.perf_counter()
        self._left = 0.0
        self._pid = os.getpid()
        self._endpoint = endpoint
        self._request_body = body
        self._proof = proof.get()
        self._attribution = attribution()
        self._reader: Reader = READERS[endpoint.format]()
        self._status = 0
        self._streamed = False
        self._splitter: Splitter | None = None
        self._content_encoding = ""
        self._decode: Decode | None = None
        self._is_decoded = False
        self._pieces: list[bytes] = []
        self._waiting = 0
        self._kept = bytearray()
        self._cut = False
        self._length = 0
        self._ignored = False
        self._problem = ""
        #: What comes of the body cannot be decoded, or is not worth it: see `encodings`.
        self._undecodable = False
        self._said_all = False
        self._done = False

    @contained
    def answered(self, status: int, headers: Mapping[str, str]) -> None:
        """Takes the head of the response; `headers` finds names in whatever case."""
        outbox.expect()
        self._status = status
        if self.question is not None:
            self.question.answered(status)
        content_type = headers.get("content-type", "").lower()
        self._splitter = splitter_for(content_type)
        self._streamed = self._splitter is not None
        if status < 400:
            self._reader.head(headers)
        self._ignored = is_binary(content_type)
        self._content_encoding = headers.get("content-encoding", "")
        if self._content_encoding and not self._is_decoded:
            try:
                self._decode = decoder(self._content_encoding)
            except UndecodableError as error:
                self._leave(error)

    @contained
    def hiding(self) -> Hiding | None:
        """Asked after `answered`: what the site's reader has to be spared, None if nothing."""
        if self.question is None or not self._streamed or not self.question.is_answered():
            return None
        # A decoder of its own: each takes every piece once.
        if self._is_decoded:
            return Hiding()
        return Hiding(decoder(self._content_encoding, is_bounded=False))

    @contained
    def whole(self, content: bytes) -> None:
        """Takes the complete body, decoded, and ends the exchange."""
        self.is_decoded()
        self.chunk(content)
        self.end()

    def is_decoded(self) -> None:
        """Says that the pieces of the body come as the library has decoded them."""
        if not self._is_decoded:
            self._is_decoded = True
            self._decode, self._problem, self._undecodable = None, "", False

    def chunk(self, data: bytes) -> None:
        """Takes the next piece of the body, as it came from the network unless `is_decoded`.

        It is only laid by: the application waits for its tokens, we can read in larger pieces.
        """
        try:  # not @contained, which would cost a stream as much again for each of its pieces
            self._pieces.append(data)
            self._waiting += len(data)
            if self._waiting > _TAIL:
                self._digest()
        except Exception as error:  # noqa: BLE001 -- see errors.contained
            contain(error, "Exchange.chunk")

    @contained
    def end(self, error: BaseException | None = None, *, abandoned: bool = False) -> None:
        """Ends a body taken by `chunk`: regularly, by `error`, or left before its end."""
        if self._done:
            return
        if isinstance(error, LEFT):
            error, abandoned = None, True
        self._digest()
        if self._undecodable:
            pass
        elif self._splitter is not None:
            self._finish_stream(self._splitter, whole=error is None and not abandoned)
        elif self._kept:
            self._read_body(bytes(self._kept))
        # Many clients stop at the provider's last event without waiting for the end of the body.
        said_all = self._said_all or self._reader.complete
        ended = error is None and (not abandoned or said_all) and not self._undecodable
        self._record(ended=ended, error=error)

    def abandon(self) -> None:
        """Ends, a little later, a body that was freed before its end; for finalizers."""
        if not self._done:
            self._left = time.perf_counter()
            recorder.later(partial(self.end, abandoned=True))

    @contained
    def failed(self, error: BaseException) -> None:
        """Ends an exchange that got no response."""
        self._record(ended=False, error=error)

    def _digest(self) -> None:
        """Reads the pieces that were laid by."""
        data = b"".join(self._pieces)
        self._length += len(data)
        self._pieces.clear()
        self._waiting = 0
        if self._problem or self._ignored or self._done:
            return
        try:
            for piece in _cut(data) if self._decode is None else self._decode(data):
                self._take(piece)
        except UndecodableError as error:
            self._leave(error)

    def _leave(self, error: UndecodableError) -> None:
        """Give up a body for good, and what there is of it."""
        self._problem, self._undecodable = str(error), True
        self._decode = None
        self._kept.clear()

    def _take(self, data: bytes) -> None:
        if self._splitter is None and not self._kept and self._is_array(data):
            self._streamed = True
            self._splitter = JSONArray()
        if self._splitter is not None:
            for event in self._splitter.feed(data, self._wants):
                self._feed(event)
            return
        self._kept += data
        if len(self._kept) > MAX_BODY:
            del self._kept[:-_TAIL]
            self._cut = True

    def _is_array(self, data: bytes) -> bool:
        return self._endpoint.format.startswith("gemini") and data.lstrip()[:1] == b"["

    def _wants(self, events: bytes) -> bool:
        return b"[DONE]" in events or self._reader.wants(events)

    def _feed(self, event: bytes) -> None:
        if event == b"[DONE]":
            self._said_all = True
            return
        try:
            self._reader.feed(event)
        except (ValueError, RecursionError):
            self._problem = "unreadable event in the stream"

    def _finish_stream(self, splitter: Splitter, *, whole: bool) -> None:
        if whole:  # else what is left is the half of an event
            for event in splitter.end():
                self._feed(event)
        try:
            self._reader.end()
        except (ValueError, RecursionError):
            self._problem = "unreadable event in the stream"

    def _read_body(self, content: bytes) -> None:
        data: Any = None
        if self._cut or (len(content) > _TAIL and self._endpoint.operation == "embeddings"):
            data = _read_tail(content[-_TAIL:], self._reader.usage_key)
        if data is None:
            try:
                data = json.loads(content)
            except (ValueError, RecursionError):
                self._problem = "unreadable answer"
                return
        if self._status >= 400 or not isinstance(data, dict):
            self._reader.error = error_text(data)
        else:
            self._reader.body(data)

    def _record(self, *, ended: bool, error: BaseException | None = None) -> None:
        if self._done:
            return
        self._done = True
        if self._pid != os.getpid():
            return  # a fork that inherited an open stream; its parent records it
        if self._attribution.unit.test is not running_test():
            return  # left behind by a test of the site's that has ended
        elapsed = (self._left or time.perf_counter()) - self._started
        reader, endpoint, seen = self._reader, self._endpoint, self._attribution
        if endpoint.unknown_host and not reader.recognised:
            return  # a path alone is never enough
        if endpoint.polls and (reader.background_since is None or not reader.ended):
            return  # nothing was made in the background, or it is still being made
        body = self._request_body
        requested = self._requested_model()
        response_id = clean_name(reader.response_id)
        usage, facts = self._usage(ended=ended, error=error)
        if error is not None:
            message = f"{type(error).__name__}: {error}".removesuffix(": ")
        elif self._status >= 400:
            message = f"HTTP {self._status}" + (f" {reader.error}" if reader.error else "")
        else:
            message = reader.error
        if response_id:
            facts["response_id"] = clean_text(response_id, _NAME)
        if requested and reader.model and requested != reader.model:
            facts["requested_model"] = clean_text(requested, _NAME)
        if reader.service_tier and reader.service_tier not in {"default", "standard"}:
            facts["service_tier"] = clean_text(reader.service_tier, _NAME)
        if endpoint.unknown_host:
            facts["host"] = clean_text(endpoint.unknown_host, _NAME)
        event_id, created_at = uuid7(self._created_at), self._created_at
        if reader.background_since is not None and response_id:
            # Who polls for the answer may be another process: both must come to the same id.
            begun = datetime.fromtimestamp(reader.background_since, UTC)
            event_id = named_uuid7(begun, f"{endpoint.provider} {response_id}")
            created_at = begun if endpoint.polls else created_at
        owner = seen.owner
        event = UsageEvent.create(
            id=event_id,
            created_at=created_at,
            user_id=owner.id if owner else None,
            username=owner.username if owner else "",
            section=seen.section,
            provider=endpoint.provider,
            model_name=reader.model or requested,
            operation=endpoint.operation,
            usage=usage,
            response_time_ms=round(elapsed * 1000),
            success=not message,
            error_message=message,
            metadata=seen.metadata,
            facts=facts,
            unit=seen.unit.id if seen.unit.open else "",
            completes=endpoint.polls,
            revision=int(endpoint.polls),
            database=seen.place.database,
            schema=seen.place.schema,
        )
        if self._proof is not None:
            self._proof.append(event)
        elif endpoint.polls:
            recorder.complete(event, seen, response_id)
        else:
            seen = replace(seen, attempt=self._attempt(body, requested))
            recorder.record(event, seen, response_id)

    @contained
    def _attempt(self, body: Any, requested: str) -> Attempt | None:
        if self.headers is None:
            return None
        number = _text(self.headers.get("x-stainless-retry-count"))
        key = next(filter(None, (_text(self.headers.get(name)) for name in _KEYS)), "")
        # Of an unknown host not every attempt is recorded: there a count proves nothing.
        is_counted = number.isdecimal() and not self._endpoint.unknown_host
        loop = asyncio._get_running_loop()
        task = None if loop is None else asyncio.current_task(loop)
        return Attempt(
            int(number) if is_counted else None,
            key,
            (threading.get_ident(), id(task)),
            (self._endpoint, requested, hash(body) if isinstance(body, bytes) else None),
        )

    def _usage(self, *, ended: bool, error: BaseException | None) -> tuple[Usage, dict[str, Any]]:
        """The usage that counts, and what must be said about one that does not."""
        reader = self._reader
        found, facts = reader.usage, dict(reader.facts)
        if found is not None and (reader.complete or (ended and reader.final_at_end)):
            return found, facts
        if found is not None:
            # Running counts of a stream that was cut: shown, never taken for the truth.
            facts["partial"] = {
                "prompt_tokens": found.prompt_tokens,
                "completion_tokens": found.completion_tokens,
            }
        if error is None and self._status < 400 and not reader.error:
            if self._problem:
                facts["unknown"] = self._problem
            elif not reader.ended:
                facts["unknown"] = "made in the background; its end was not seen yet"
            elif not ended:
                facts["unknown"] = "stream abandoned" if self._length else "body never read"
            elif self._streamed and self._endpoint.format == "openai.chat":
                facts["unknown"] = "no usage in the stream (stream_options.include_usage not sent)"
            else:
                facts["unknown"] = "no usage in the answer"
        return Usage(), facts

    def _requested_model(self) -> str:
        body, self._request_body = self._request_body, None
        model: Any = None
        if isinstance(body, Mapping):
            model = body.get("model")
        elif body and len(body) <= _SMALL:
            with suppress(ValueError, AttributeError, RecursionError):
                model = json.loads(body).get("model")
        elif body and (match := _MODEL.search(body[-4096:]) or _MODEL.search(body[:4096])):
            model = match[1].decode("utf-8", "replace")
        return text(model) or self._endpoint.model


def _cut(data: bytes) -> Iterator[bytes]:
    """Yield `data`, which may be a whole body, in pieces of which a splitter can hold the lines."""
    if len(data) <= _PIECE:
        yield data
        return
    for at in range(0, len(data), _PIECE):
        yield data[at : at + _PIECE]


#: Headers that are the same in all attempts of one call: of Stainless' SDKs and of botocore.
_KEYS = ("idempotency-key", "amz-sdk-invocation-id")


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value or "")


def _read_tail(tail: bytes, key: bytes) -> dict[str, Any] | None:
    """The last members of a huge answer: its usage, and the model if it stands there.

    A full parse of a megabyte of embeddings would cost the request milliseconds. None if the
    usage is not there in a shape that can be trusted.
    """
    at = tail.rfind(key)
    if at <= 0 or tail[at - 1 : at] == b"\\":
        return None
    try:
        start = tail.index(b"{", at)
        usage, _ = json.JSONDecoder().raw_decode(tail[start:].decode("utf-8", "replace"))
    except ValueError:
        return None
    if tail[at + len(key) : start].strip() != b":" or not all(
        isinstance(value, (int, float, dict, list, str, type(None))) for value in usage.values()
    ):
        return None
    # What else the readers go by to recognise their format stood in the part that is gone.
    shape: dict[str, Any] = {"choices": [], "data": []}
    shape |= {"object": "response", "type": "message", "role": "assistant"}
    data = {key.strip(b'"').decode(): usage, **shape}
    if models := _MODEL.findall(tail):
        data["model"] = models[-1].decode("utf-8", "replace")
    return data
