"""What the body of an answer is: plain JSON or one of the kinds of streams.

Gateways send streams as `text/plain` or `application/json`, an error as `text/event-stream`, and
either without a `Content-Type`: the first bytes decide.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import Enum, auto
from functools import lru_cache
from types import EllipsisType

from .excerpts import Dropped, Excerpt
from .streams import (
    MAX_EVENT,
    EventStream,
    JSONArray,
    Lines,
    ServerSentEvents,
    Splitter,
    everything,
)


class Kind(Enum):
    """What the body of an answer is."""

    SSE = auto()
    LINES = auto()
    FRAMES = auto()
    ARRAY = auto()
    #: One JSON object, or the first of several lines; or nothing that is known.
    VALUE = auto()
    #: Audio, an image, a video or a file, which report no usage.
    BINARY = auto()


_KINDS = {
    "text/event-stream": Kind.SSE,
    "application/vnd.amazon.eventstream": Kind.FRAMES,
    **dict.fromkeys(
        (
            "application/x-ndjson",  # Ollama
            "application/ndjson",
            "application/stream+json",  # Cohere v1
            "application/jsonl",
            "application/x-jsonlines",
        ),
        Kind.LINES,
    ),
}
_SPLITTERS: dict[Kind, Callable[[Sequence[bytes]], Splitter]] = {
    Kind.SSE: ServerSentEvents,
    Kind.LINES: Lines,
    Kind.FRAMES: EventStream,
    Kind.ARRAY: JSONArray,
}


#: A body that begins so is a stream of events, whatever its `Content-Type` says.
_FIELD = re.compile(rb"(?:data|event|id|retry)[:\r\n]|:")
_FIELDS = (b"data:", b"event:", b"id:", b"retry:")
#: White space and the bytes of a byte order mark.
_BLANK = b" \t\r\n\xef\xbb\xbf"
_PRELUDE = EventStream.prelude


@lru_cache(maxsize=64)
def kind_of(content_type: str) -> Kind | None:
    """Return the kind that a `Content-Type` names, None if it does not name one of them."""
    essence = essence_of(content_type)
    if essence.startswith(("audio/", "image/", "video/")):
        return Kind.BINARY
    return _KINDS.get(essence)


def is_file(content_type: str) -> bool:
    """Return whether a `Content-Type` says only that the body consists of bytes."""
    return essence_of(content_type).endswith("/octet-stream")


def essence_of(content_type: str) -> str:
    """Return a `Content-Type` without its parameters, in lower case."""
    return content_type.partition(";")[0].strip().lower()


def sniffed(start: bytes, *, is_end: bool = False) -> Kind | EllipsisType | None:
    """Return what a body is by its first bytes.

    Args:
        start: The first bytes, without white space and a byte order mark before them.
        is_end: Whether the body has no more.

    Returns:
        The kind; None if the bytes do not show it; `...` if more of them are needed.
    """
    first = start[:1]
    if first == b"{":
        return Kind.VALUE
    if first == b"[":
        return Kind.ARRAY
    if first == b"\0":  # the length of a frame, which is below 16 MB
        if len(start) < _PRELUDE.size:
            return None if is_end else ...
        crc: int = _PRELUDE.unpack_from(start)[2]
        return Kind.FRAMES if zlib.crc32(start[:8]) == crc else None
    if _FIELD.match(start):
        return Kind.SSE
    is_short = any(field.startswith(start) for field in _FIELDS)
    return ... if is_short and not is_end else None


class Incoming:
    """Splits a body into its events, or keeps it as one value if it is not a stream.

    Attributes:
        value: The body that is not a stream, or what is kept of it.
    """

    def __init__(
        self,
        content_type: str,
        *,
        has_arrays: bool = False,
        marks: Sequence[bytes] = (),
        splitter: Splitter | None = None,
        dropped: Dropped | None = None,
    ) -> None:
        """Expect a body.

        Args:
            content_type: What the response says that the body is.
            has_arrays: Whether the provider sends a stream as one JSON array.
            marks: What to look for in what is dropped, see `Reader.beside_usage`.
            splitter: What splits the body, whatever the response says that it is.
            dropped: Takes what is dropped of a value that is too long.
        """
        self.value = Excerpt(marks, MAX_EVENT, dropped)
        self._named = kind_of(content_type)
        self._content_type = content_type
        self._has_arrays = has_arrays
        self._marks = marks
        #: What the body is; None until its first bytes have shown it.
        self._kind = Kind.BINARY if self._named is Kind.BINARY else None
        self._start = b""
        self._splitter = splitter
        if splitter is not None:
            self._kind = Kind.LINES
        #: The value has a line, which ended; None if its lines do not matter.
        self._is_line_over: bool | None = False

    @property
    def is_stream(self) -> bool:
        """Whether the body is a stream of events; before it came, whether it says that it is."""
        return self._splitter is not None or (self._kind is None and self._named in _SPLITTERS)

    @property
    def may_be_stream(self) -> bool:
        """Whether the body may turn out to be a stream of events."""
        return self.is_stream or self._kind is None

    def feed(self, data: bytes, wanted: Callable[[bytes], bool] = everything) -> Iterable[bytes]:
        """Take the next piece of the body, and return the wanted events that end in it."""
        if self._kind is None:
            data = self._sniff(data)
        if self._splitter is not None:
            return self._splitter.feed(data, wanted)
        return self._keep(data, wanted) if data and self._kind is Kind.VALUE else ()

    def end(self) -> Iterator[bytes]:
        """Yield what the end of the body completes."""
        if self._kind is None and self._start:
            self._decide(sniffed(self._start, is_end=True))
            start, self._start = self._start, b""
            yield from self.feed(start)
        if self._splitter is None and self._named is Kind.LINES and self.value.content:
            self._splitter = Lines(self._marks, self.value)  # of one line
        if self._splitter is not None:
            yield from self._splitter.end()

    def _sniff(self, data: bytes) -> bytes:
        """Find out what the body is; return what has come of it, b"" while that is unknown."""
        if not self._start and data[:1] == b"{":  # most answers
            self._kind = Kind.VALUE
            return data
        start = (self._start + data).lstrip(_BLANK)
        kind = sniffed(start)
        if kind is ...:
            self._start = start
            return b""
        self._start = b""
        self._decide(kind)
        return start

    def _decide(self, found: Kind | EllipsisType | None) -> None:
        if found is Kind.ARRAY and not self._has_arrays:
            found = Kind.VALUE
        if not isinstance(found, Kind):
            found = self._named or (Kind.BINARY if is_file(self._content_type) else Kind.VALUE)
        self._kind = found
        if found in _SPLITTERS:
            self._splitter = _SPLITTERS[found](self._marks)

    def _keep(self, data: bytes, wanted: Callable[[bytes], bool]) -> Iterable[bytes]:
        """Keep a piece of what may be the whole body, until a second object on a line of its own.

        No JSON has a `{` behind a `}`.
        """
        if self._is_line_over is None:
            self.value.add(data)
            return ()
        if b"\r" in data:
            data = data.replace(b"\r", b"\n")
        if not self._is_line_over:
            line, newline, data = data.partition(b"\n")
            self.value.add(line)
            if not newline:
                return ()
            self._is_line_over = self.value.content[-_LONGEST_END:].rstrip().endswith(b"}") or None
        rest = data.lstrip()
        if self._is_line_over and rest.startswith(b"{"):
            first, self.value = self.value, Excerpt(self._marks, MAX_EVENT)
            self._splitter = Lines(self._marks, first)
            return self._splitter.feed(b"\n" + rest, wanted)
        if self._is_line_over is None or rest:
            self._is_line_over = None
            self.value.add(b"\n" + data)
        return ()


#: Bytes at the end of a line that may be white space.
_LONGEST_END = 64
