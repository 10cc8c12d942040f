"""The body of one response: from the bytes on the network to what the answer says.

`Body` collects the bytes and decodes them; `Answer` reads what is decoded.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import contain
from ..formats import READERS
from ..formats.excerpts import TAIL, Excerpt, LongEvent, read_values
from ..formats.reader import Reader, error_text
from ..formats.sniffing import Incoming, essence_of, is_file, kind_of
from ..formats.streams import MAX_EVENT
from ..redaction import clean_text
from .encodings import Decode, UndecodableError, decoder
from .endpoints import Target

#: Bytes of a body that are kept. Of a larger one only an excerpt is kept.
MAX_BODY = MAX_EVENT
#: Bytes of a body that are split at a time.
_PIECE = 1024 * 1024
#: An event that is not JSON, or that is damaged.
UNREADABLE_EVENT = "unreadable event in the stream"
#: After so many of them, no more events are read.
_MAX_UNREADABLE = 100


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
        self._content_encoding = headers.get("content-encoding", "")
        if self._content_encoding and not self._is_decoded:
            try:
                is_bounded = not self.answer.reader.any_length
                self._decode = decoder(self._content_encoding, is_bounded=is_bounded)
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
            if self._waiting >= TAIL:
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
        if self._is_ignored or self.is_undecodable:
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
        *("_content_type", "_endpoint", "_incoming", "_unreadable"),
        *("has_long_events", "is_done", "problem", "reader", "status"),
    )

    def __init__(self, endpoint: Target) -> None:
        self.reader: Reader = READERS[endpoint.format]()
        #: The HTTP status, 0 before the head of the response has come.
        self.status = 0
        #: Why the body cannot be read, "" if it can.
        self.problem = ""
        #: The stream sent `[DONE]`, its last event.
        self.is_done = False
        #: An event was too long to be kept, and its end has no usage.
        self.has_long_events = False
        self._endpoint = endpoint
        self._content_type = ""
        self._incoming = _NOTHING
        #: The number of unreadable events.
        self._unreadable = 0

    @property
    def is_stream(self) -> bool:
        """Whether the body is a stream of events."""
        return self._incoming.is_stream

    @property
    def may_be_stream(self) -> bool:
        """Whether the body may turn out to be a stream of events."""
        return self.status < 400 and self._incoming.may_be_stream

    def head(self, status: int, content_type: str, headers: Mapping[str, str]) -> None:
        """Take the head of the response."""
        self.status = status
        self._content_type = content_type
        self._incoming = Incoming(
            content_type,
            has_arrays=self._endpoint.format.startswith("gemini"),
            marks=self.reader.beside_usage,
            splitter=self.reader.splitter() if status < 400 else None,
            dropped=self.reader.dropped,
        )
        if status < 400:
            self.reader.head(headers)

    def take(self, data: bytes) -> None:
        """Take the next decoded piece of the body."""
        if self._unreadable > _MAX_UNREADABLE:
            return
        for event in self._incoming.feed(data, self._wants):
            self._feed(event)

    def finish(self, *, is_whole: bool) -> None:
        """Read what is left at the end of the body."""
        incoming, reader = self._incoming, self.reader
        problem = self.problem
        for event in incoming.end():
            if is_whole or not isinstance(event, LongEvent):
                self._feed(event)
        if not is_whole:  # the rest may be a whole event or a part of one
            self.problem = problem
        if incoming.is_stream:
            try:
                reader.end()
            except (ValueError, RecursionError):
                self.problem = UNREADABLE_EVENT
        if incoming.value.content and reader.usage is None and not reader.error:
            self._read_body(incoming.value, is_whole=is_whole)

    def discard(self, problem: str) -> None:
        """Forget the body because of `problem`."""
        self.problem = problem
        self._incoming = _NOTHING

    def _wants(self, events: bytes) -> bool:
        return b"[DONE]" in events or self.reader.wants(events)

    def _feed(self, event: bytes) -> None:
        if event == b"[DONE]":
            self.is_done = True
            self.reader.done()
        elif isinstance(event, LongEvent):
            self._feed_long(event)
        elif event:
            try:
                self.reader.feed(event)
            except (ValueError, RecursionError):
                self._feed_lines(event)

    def _feed_lines(self, event: bytes) -> None:
        """Read the lines of an event that is not JSON: some servers send no blank lines."""
        lines = event.split(b"\n")
        if len(lines) == 1 or self._unreadable > _MAX_UNREADABLE:
            self.problem = UNREADABLE_EVENT
            self._unreadable += 1
            return
        for line in lines:
            self._feed(line)

    def _feed_long(self, event: LongEvent) -> None:
        values = event.values(self.reader.usage_key)
        if values is None:
            self.has_long_events = True
        else:
            self.reader.long_event(values)
        if event.has_marks:
            self.reader.price_facts["answer"] = "too_long"

    def _read_body(self, value: Excerpt, *, is_whole: bool) -> None:
        content = bytes(value.content)
        data: Any = None
        is_embedding = self._endpoint.operation == "embeddings"
        if value.is_cut or (len(content) > TAIL and is_embedding):
            tail, key = content[-TAIL:], self.reader.usage_key
            data = read_values(tail, tail.rfind(key), key, value.head)
            if data is None and is_embedding:
                # Jina: https://api.jina.ai/redoc (nothing but numbers comes after it)
                data = read_values(value.head, value.head.find(key), key)
        if data is None:
            try:
                data = json.loads(content)
            except (ValueError, RecursionError):
                has_read = value.is_cut and self.status < 400 and self._read_cut(value)
                if not has_read and is_whole and not is_file(self._content_type):
                    is_json = value.head.lstrip().startswith((b"{", b"["))
                    self.problem = (
                        "answer too long"
                        if value.is_cut and is_json
                        else _unreadable(self._content_type)
                    )
                return
        if self.status >= 400 or not isinstance(data, dict):
            self.reader.error = error_text(data)
        else:
            self.reader.body(data)
            if value.is_cut and value.has_marks:
                self.reader.price_facts["answer"] = "too_long"

    def _read_cut(self, value: Excerpt) -> bool:
        self.reader.dropped(value.content, len(value.content))
        return self.reader.cut(value.head)


#: Stands for a body that did not come.
_NOTHING = Incoming("audio/none")


def _unreadable(content_type: str) -> str:
    essence = essence_of(content_type)
    if not essence or essence.endswith("json") or kind_of(content_type) is not None:
        return "unreadable answer"
    return clean_text(f"unreadable answer of type {essence}", 100)


def _cut(data: bytes) -> Iterator[bytes]:
    """Yield `data`, which may be a whole body, in pieces whose lines fit into memory."""
    if len(data) <= _PIECE:
        yield data
        return
    for at in range(0, len(data), _PIECE):
        yield data[at : at + _PIECE]
