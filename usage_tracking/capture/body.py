"""The body of one response: from the bytes on the network to what the answer says.

`Body` collects the bytes and decodes them; `Answer` reads what is decoded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import contain
from ..formats import READERS
from ..formats.reader import Reader, error_text
from ..formats.streams import JSONArray, Splitter, is_binary, splitter_for
from .encodings import Decode, UndecodableError, decoder
from .endpoints import Target

#: Bytes of a body that are kept. Of a larger one only the tail is kept, where providers put the
#: usage.
MAX_BODY = 8 * 1024 * 1024
_TAIL = 64 * 1024
#: Bytes at the beginning of a larger one that are kept too: some providers put the usage there.
_HEAD = 4 * 1024
#: Bytes of a body that are split at a time.
_PIECE = 1024 * 1024

#: The member of a request or an answer that names its model, in bytes that are not parsed.
MODEL = re.compile(rb'(?<!\\)"model"\s*:\s*"([^"\\]{1,200})"')
_TIER = re.compile(rb'(?<!\\)"service_tier"\s*:\s*"([^"\\]{1,50})"')


class Body:
    """Collects the body of one response piece by piece, decodes it and passes it to `answer`."""

    __slots__ = (
        *("_content_encoding", "_decode", "_is_decoded", "_is_ignored", "_pieces", "_waiting"),
        *("answer", "is_undecodable", "length"),
    )

    def __init__(self, endpoint: Target) -> None:
        self.answer = Answer(endpoint)
        #: Bytes seen so far.
        self.length = 0
        #: The body cannot be decoded, or exceeds a limit of `encodings`.
        self.is_undecodable = False
        self._content_encoding = ""
        self._decode: Decode | None = None
        self._is_decoded = False
        self._pieces: list[bytes] = []
        self._waiting = 0
        #: Nothing that follows is read.
        self._is_ignored = False

    def head(self, status: int, headers: Mapping[str, str]) -> None:
        """Take the head of the response; `headers` ignores the case of names."""
        content_type = headers.get("content-type", "").lower()
        self.answer.head(status, content_type, headers)
        self._is_ignored = is_binary(content_type)
        self._content_encoding = headers.get("content-encoding", "")
        if self._content_encoding and not self._is_decoded:
            try:
                self._decode = decoder(self._content_encoding)
            except UndecodableError as error:
                self._give_up(error)

    def set_decoded(self) -> None:
        """Expect the pieces as the HTTP library has decoded them."""
        if not self._is_decoded:
            self._is_decoded = True
            self._decode, self.answer.problem, self.is_undecodable = None, "", False

    def unbounded_decoder(self) -> Decode | None:
        """Return a second decoder without limits, None if the pieces come decoded."""
        return None if self._is_decoded else decoder(self._content_encoding, is_bounded=False)

    def chunk(self, data: bytes) -> None:
        """Take the next piece of the body, as it came from the network unless `set_decoded`.

        The piece is only stored: the application waits for its tokens, and larger pieces are
        cheaper to read.
        """
        try:  # not @contained, which would double the cost of each piece of a stream
            self._pieces.append(data)
            self._waiting += len(data)
            if self._waiting > _TAIL:
                self._digest()
        except Exception as error:  # noqa: BLE001 -- see errors.contained
            contain(error, "Body.chunk")

    def finish(self, *, is_whole: bool) -> None:
        """Read what is left; `is_whole` is False if the body was cut or abandoned."""
        self._digest()
        if not self.is_undecodable:
            self.answer.finish(is_whole=is_whole)
        self._is_ignored = True

    def _digest(self) -> None:
        """Decode the stored pieces and pass them to the answer."""
        data = b"".join(self._pieces)
        self.length += len(data)
        self._pieces.clear()
        self._waiting = 0
        if self._is_ignored or self.answer.problem:
            return
        try:
            for piece in _cut(data) if self._decode is None else self._decode(data):
                self.answer.take(piece)
        except UndecodableError as error:
            self._give_up(error)

    def _give_up(self, error: UndecodableError) -> None:
        """Read no more of the body, and forget what was kept of it."""
        self.answer.discard(str(error))
        self.is_undecodable = True
        self._decode = None


class Answer:
    """Reads a decoded body, whole or as a stream of events, with the reader of its wire format."""

    __slots__ = (
        *("_endpoint", "_has_more_to_bill", "_head", "_is_cut", "_kept", "_splitter"),
        *("is_done", "problem", "reader", "status"),
    )

    def __init__(self, endpoint: Target) -> None:
        self.reader: Reader = READERS[endpoint.format]()
        #: The HTTP status, 0 before the head of the response has come.
        self.status = 0
        #: Why the body cannot be read, "" if it can.
        self.problem = ""
        #: The stream sent `[DONE]`, its last event.
        self.is_done = False
        self._endpoint = endpoint
        self._splitter: Splitter | None = None
        self._kept = bytearray()
        self._head = b""
        self._is_cut = False
        #: What was dropped names something that is billed beside the usage.
        self._has_more_to_bill = False

    @property
    def is_stream(self) -> bool:
        """Whether the body is a stream of events."""
        return self._splitter is not None

    def head(self, status: int, content_type: str, headers: Mapping[str, str]) -> None:
        """Take the head of the response."""
        self.status = status
        self._splitter = splitter_for(content_type)
        if status < 400:
            self.reader.head(headers)

    def take(self, data: bytes) -> None:
        """Take the next decoded piece of the body."""
        if self._splitter is None and not self._kept and self._is_array(data):
            self._splitter = JSONArray()
        if self._splitter is not None:
            for event in self._splitter.feed(data, self._wants):
                self._feed(event)
            return
        self._kept += data
        if len(self._kept) > MAX_BODY:
            self._drop()

    def finish(self, *, is_whole: bool) -> None:
        """Read what is left at the end of the body."""
        if self._splitter is not None:
            self._finish_stream(self._splitter, is_whole=is_whole)
        elif self._kept:
            self._read_body(bytes(self._kept))

    def discard(self, problem: str) -> None:
        """Forget the body because of `problem`."""
        self.problem = problem
        self._kept.clear()

    def _drop(self) -> None:
        """Keep only the beginning and the end of what has come."""
        kept = self._kept
        self._head = self._head or bytes(kept[:_HEAD])
        if not self._has_more_to_bill:
            self._has_more_to_bill = any(mark in kept for mark in self.reader.beside_usage)
        del kept[:-_TAIL]
        self._is_cut = True

    def _is_array(self, data: bytes) -> bool:
        return self._endpoint.format.startswith("gemini") and data.lstrip()[:1] == b"["

    def _wants(self, events: bytes) -> bool:
        return b"[DONE]" in events or self.reader.wants(events)

    def _feed(self, event: bytes) -> None:
        if event == b"[DONE]":
            self.is_done = True
            return
        try:
            self.reader.feed(event)
        except (ValueError, RecursionError):
            self.problem = "unreadable event in the stream"

    def _finish_stream(self, splitter: Splitter, *, is_whole: bool) -> None:
        if is_whole:  # otherwise the rest is an incomplete event
            for event in splitter.end():
                self._feed(event)
        try:
            self.reader.end()
        except (ValueError, RecursionError):
            self.problem = "unreadable event in the stream"

    def _read_body(self, content: bytes) -> None:
        data: Any = None
        if self._is_cut or (len(content) > _TAIL and self._endpoint.operation == "embeddings"):
            tail, key = content[-_TAIL:], self.reader.usage_key
            data = _read_usage(tail, tail.rfind(key), key)
            if data is None and self._endpoint.operation == "embeddings":
                # Jina: https://api.jina.ai/redoc (nothing but numbers comes after it)
                data = _read_usage(self._head, self._head.find(key), key)
        if data is None:
            try:
                data = json.loads(content)
            except (ValueError, RecursionError):
                self.problem = "unreadable answer"
                return
        if self.status >= 400 or not isinstance(data, dict):
            self.reader.error = error_text(data)
        else:
            self.reader.body(data)
            if self._has_more_to_bill:
                self.reader.price_facts["answer"] = "too_long"


def _cut(data: bytes) -> Iterator[bytes]:
    """Yield `data`, which may be a whole body, in pieces whose lines fit into memory."""
    if len(data) <= _PIECE:
        yield data
        return
    for at in range(0, len(data), _PIECE):
        yield data[at : at + _PIECE]


def _read_usage(part: bytes, at: int, key: bytes) -> dict[str, Any] | None:
    """Read the usage in the part of a huge answer that was kept; the model and the tier too.

    Parsing a megabyte of embeddings would cost the request milliseconds.

    Args:
        part: The part.
        at: Where the usage is named in it.
        key: The name of the usage, with its quotation marks.

    Returns:
        An answer with these members; None if the usage is not there in a shape to be trusted.
    """
    if at <= 0 or part[at - 1 : at] == b"\\":
        return None
    try:
        start = part.index(b"{", at)
        usage, _ = json.JSONDecoder().raw_decode(part[start:].decode("utf-8", "replace"))
    except ValueError:
        return None
    if part[at + len(key) : start].strip() != b":" or not all(
        isinstance(value, (int, float, dict, list, str, type(None))) for value in usage.values()
    ):
        return None
    # The other members by which readers recognise their format were in the part that was dropped.
    shape: dict[str, Any] = {"choices": [], "data": []}
    shape |= {"object": "response", "type": "message", "role": "assistant"}
    data = {key.strip(b'"').decode(): usage, **shape}
    for name, pattern in (("model", MODEL), ("service_tier", _TIER)):
        if found := pattern.findall(part):
            data[name] = found[-1].decode("utf-8", "replace")
    return data
