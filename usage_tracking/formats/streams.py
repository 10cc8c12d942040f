"""Split the bytes of a stream into events, wherever the network cuts them."""

from __future__ import annotations

import json
import re
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from .excerpts import TAIL, Excerpt, LongEvent

#: Bytes of one event. Of a longer event (such as a whole image), only an excerpt is kept, so that
#: memory stays bounded.
MAX_EVENT = 8 * 1024 * 1024
#: Bytes of events that are offered to `wanted` together.
_STRETCH = 4096
#: The end of an event in most of the ways in which lines end.
_BLANK_LINE = re.compile(rb"\n\r?\n|\r\r")
_BLANK_LINES = re.compile(rb"\n\n\n++")
#: Lines of one event; each takes more memory than it has bytes.
MAX_LINES = 100_000


def everything(_: bytes) -> bool:
    """Want every event."""
    return True


class Splitter(Protocol):
    """Takes the bytes of a stream in pieces of any size and yields its events."""

    def feed(self, chunk: bytes, wanted: Callable[[bytes], bool] = everything) -> Iterator[bytes]:
        """Yield the wanted events that end in `chunk`; a `LongEvent` for each too long to keep."""
        ...

    def end(self) -> Iterator[bytes]:
        """Yield the event that the end of the stream completes, if there is one."""
        ...


def _excerpt(marks: Sequence[bytes]) -> Excerpt:
    return Excerpt(marks, min(4 * TAIL, MAX_EVENT))


def _is_wanted(event: bytes, wanted: Callable[[bytes], bool]) -> bool:
    return isinstance(event, LongEvent) or wanted(event)


class ServerSentEvents:
    """Yields the `data` of each event of a `text/event-stream`.

    https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
    (a line ends with LF, CR or both)
    """

    def __init__(self, marks: Sequence[bytes] = ()) -> None:
        self._marks = marks
        self._rest = bytearray()
        self._data: list[bytes] = []
        self._length = 0
        #: The lines of an event that is too long.
        self._long: Excerpt | None = None
        #: The last byte was a CR, which a LF may follow.
        self._after_cr = False

    def feed(self, chunk: bytes, wanted: Callable[[bytes], bool] = everything) -> Iterator[bytes]:
        """Yield the events that end in `chunk`.

        A run of whole events that is not `wanted` is skipped without splitting it: most events of
        an answer hold its text, which is not read.
        """
        start = 0
        while not (self._rest or self._data or self._long) and (
            blank := _BLANK_LINE.search(chunk, start + _STRETCH)
        ):
            run = chunk[start : blank.end()]
            if wanted(run):
                yield from self._feed(run)
            start = blank.end()
        yield from self._feed(chunk[start:])

    def _with_lf(self, chunk: bytes) -> bytes:
        """Return `chunk` with each end of a line as LF."""
        if self._after_cr and chunk:
            chunk = chunk.removeprefix(b"\n")
            self._after_cr = False
        if b"\r" in chunk:
            self._after_cr = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return chunk

    def _feed(self, chunk: bytes) -> Iterator[bytes]:
        if self._after_cr or b"\r" in chunk:
            chunk = self._with_lf(chunk)
        if self._long is not None:
            end = self._end_of_long(self._long, chunk)
            self._long.add(chunk if end < 0 else chunk[:end])
            if end < 0:
                return
            yield self._take_long(self._long)
            chunk = chunk[end:]
        if b"\n" in chunk:
            if b"\n\n\n" in chunk:
                chunk = _BLANK_LINES.sub(b"\n\n", chunk)  # several mean the same as one
            if self._rest:
                chunk = bytes(self._rest + chunk)
                self._rest.clear()
            *lines, chunk = chunk.split(b"\n")
            for line in lines:
                if line.startswith(b"data:"):
                    self._length += len(line)
                    self._data.append(line[5:].strip())
                elif not line and self._data:
                    yield self._take()
        self._rest += chunk
        if self._length + len(self._rest) > MAX_EVENT or len(self._data) > MAX_LINES:
            self._long = _excerpt(self._marks)
            for line in self._data:
                self._long.add(b"data:" + line + b"\n")
            self._long.add(self._rest)
            self._forget()

    def end(self) -> Iterator[bytes]:
        """Yield the event that has no blank line after it."""
        if self._long is not None:
            yield self._take_long(self._long)
        if self._rest.startswith(b"data:"):
            self._data.append(bytes(self._rest[5:]).strip())
        if self._data:
            yield self._take()

    @staticmethod
    def _end_of_long(long: Excerpt, chunk: bytes) -> int:
        """Return where the event that is too long ends in `chunk`, -1 if it does not."""
        if long.content.endswith(b"\n") and chunk.startswith(b"\n"):
            return 0
        return chunk.find(b"\n\n")

    def _take(self) -> bytes:
        data = self._data
        event = data[0] if len(data) == 1 else b"\n".join(data)
        self._forget()
        return event

    def _take_long(self, long: Excerpt) -> bytes:
        self._long = None
        # No JSON has a newline in a string: what follows one is the name of a field.
        first, *lines = long.content.split(b"\n")
        is_data = (long.head or long.content).startswith(b"data:")
        long.content = first if is_data else bytearray()
        for line in lines:
            if line.startswith(b"data:"):
                long.content += b"\n" + line[5:]
        return long.event()

    def _forget(self) -> None:
        self._data, self._length = [], 0
        self._rest.clear()


class JSONArray:
    """Yields the objects of one JSON array that arrives in pieces (Gemini without `alt=sse`)."""

    _outside = re.compile(rb'["{}]')
    #: The part of a string that has arrived, without the backslash of an incomplete escape.
    _inside = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)

    _one = re.compile(rb'\{[^"{}]*+\}')
    _run = re.compile(rb'(?:[^"{}]++|\{[^"{}]*+\})*+')

    def __init__(self, marks: Sequence[bytes] = ()) -> None:
        self._marks = marks
        self._buffer = bytearray()
        self._at = 0
        self._start = -1
        self._depth = 0
        self._in_string = False
        #: What has come of an object that is too long.
        self._long: Excerpt | None = None

    def feed(self, chunk: bytes, wanted: Callable[[bytes], bool] = everything) -> Iterator[bytes]:
        """Yield the objects that end in `chunk`."""
        buffer = self._buffer
        buffer += chunk
        while True:
            if self._in_string:
                match = self._inside.match(buffer, self._at)
                self._at = match.end() if match else self._at
                if buffer[self._at : self._at + 1] != b'"':
                    break  # the string continues, or an escape is incomplete
                self._in_string = False
                self._at += 1
            if self._depth == 0:
                yield from self._flat(wanted)
            match = self._outside.search(buffer, self._at)
            if match is None:
                self._at = len(buffer)
                break
            self._at = match.end()
            mark = match[0]
            if mark == b'"':
                self._in_string = True
            elif mark == b"{":
                if self._depth == 0:
                    self._start = match.start()
                self._depth += 1
            elif self._depth:
                self._depth -= 1
                if self._depth == 0 and _is_wanted(event := self._take(), wanted):
                    yield event
        if self._start < 0 or self._long is not None or len(buffer) > MAX_EVENT:
            self._drop()

    def _drop(self) -> None:
        """Keep counting braces, and an excerpt of what is between them."""
        if self._start >= 0:
            self._long = self._long or _excerpt(self._marks)
            self._long.add(self._buffer[self._start : self._at])
            self._start = 0
        del self._buffer[: self._at]
        self._at = 0

    def _take(self) -> bytes:
        """Return the object that has ended here."""
        event = bytes(self._buffer[self._start : self._at])
        if self._long is not None:
            self._long.add(event)
            event, self._long = self._long.event(), None
        del self._buffer[: self._at]
        self._at, self._start = 0, -1
        return event

    def _flat(self, wanted: Callable[[bytes], bool]) -> Iterator[bytes]:
        """Skip, at once, objects without strings: they name nothing."""
        match = self._run.match(self._buffer, self._at)
        if match is None or match.end() - self._at < 3:
            return
        self._at = match.end()
        if b"{" in match[0] and wanted(bytes(match[0])):
            for flat in self._one.findall(match[0]):
                if wanted(flat):
                    yield bytes(flat)

    def end(self) -> Iterator[bytes]:
        """Yield nothing: what is left is incomplete."""
        return iter(())


class Lines:
    """Yields the lines of a stream that has one JSON value per line (NDJSON).

    https://github.com/ndjson/ndjson-spec
    """

    def __init__(self, marks: Sequence[bytes] = (), first: Excerpt | None = None) -> None:
        """Begin with what has come of the `first` line, if anything has."""
        self._marks = marks
        self._rest = first or Excerpt(marks, MAX_EVENT)

    def feed(self, chunk: bytes, wanted: Callable[[bytes], bool] = everything) -> Iterator[bytes]:
        """Yield the lines that end in `chunk`."""
        if b"\r" in chunk:
            chunk = chunk.replace(b"\r", b"\n")  # no JSON has one in a string
        *lines, chunk = chunk.split(b"\n")
        for line in lines:
            event = self._take(line) if self._rest.content else line.strip()
            if event and _is_wanted(event, wanted):
                yield event
        self._rest.add(chunk)

    def end(self) -> Iterator[bytes]:
        """Yield the last line if no newline follows it."""
        if line := self._take(b""):
            yield line

    def _take(self, end: bytes) -> bytes:
        """Return the line that `end` completes."""
        rest, self._rest = self._rest, Excerpt(self._marks, MAX_EVENT)
        rest.add(end)
        return rest.event() if rest.is_cut else bytes(rest.content).strip()


class EventStream:
    """Yields the frames of an `application/vnd.amazon.eventstream`, each as one JSON object.

    An event becomes `{type: payload}`, an exception `{"error": {"type": ..., "message": ...}}`.
    A frame has its total length, the length of its headers, a CRC of these two, the headers, the
    payload and a CRC of the whole. Integers are big-endian.
    https://smithy.io/2.0/aws/amazon-eventstream.html
    """

    prelude = struct.Struct(">III")
    _crc = struct.Struct(">I")

    def __init__(self, _marks: Sequence[bytes] = ()) -> None:
        self._buffer = bytearray()
        #: Bytes of a frame that is too long that are still to be skipped.
        self._to_skip = 0
        #: The stream is damaged: the start of the next frame is unknown.
        self._lost = False

    def feed(self, chunk: bytes, wanted: Callable[[bytes], bool] = everything) -> Iterator[bytes]:
        """Yield the frames that end in `chunk`."""
        if self._to_skip:
            skipped = min(self._to_skip, len(chunk))
            self._to_skip -= skipped
            chunk = chunk[skipped:]
        if self._lost:
            return
        self._buffer += chunk
        size = self.prelude.size
        while len(self._buffer) >= size:
            total, headers, crc = self.prelude.unpack_from(self._buffer)
            if zlib.crc32(self._buffer[:8]) != crc or headers + size + 4 > total:
                # The start of the next frame is unknown.
                self._lost = True
                self._buffer.clear()
                yield _UNREADABLE
                return
            if total > MAX_EVENT:
                self._to_skip = max(total - len(self._buffer), 0)
                del self._buffer[:total]
                yield LongEvent()  # its payload is in base64, or a member of no interest
                continue
            if len(self._buffer) < total:
                return
            frame = bytes(self._buffer[:total])
            del self._buffer[:total]
            event = self._event(frame, headers)
            if event is _UNREADABLE or wanted(event):
                yield event

    def end(self) -> Iterator[bytes]:
        """Yield nothing: what is left is incomplete."""
        return iter(())

    def _event(self, frame: bytes, headers: int) -> bytes:
        start = self.prelude.size
        payload = frame[start + headers : -4]
        if zlib.crc32(frame[:-4]) != self._crc.unpack(frame[-4:])[0]:
            return _UNREADABLE
        try:
            names = _frame_headers(frame[start : start + headers])
        except (ValueError, struct.error):
            return _UNREADABLE
        kind = names.get(":event-type")
        if names.get(":message-type", "event") == "event" and kind:
            return b"{%b:%b}" % (json.dumps(kind).encode(), payload.strip() or b"{}")
        try:
            failure: Any = json.loads(payload)
        except (ValueError, RecursionError):
            failure = None
        message = failure.get("message") if isinstance(failure, dict) else None
        error = {
            "type": names.get(":exception-type") or names.get(":error-code") or "error",
            "message": message or names.get(":error-message") or "",
        }
        return json.dumps({"error": error}).encode()


#: Stands for a damaged frame. It is not JSON, so the reader reports it as unreadable.
_UNREADABLE = b"\xff"

#: Type of a header's value → its length; types 6 (bytes) and 7 (string) carry theirs.
_FIXED = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
_BYTES, _STRING = 6, 7


def _frame_headers(data: bytes) -> dict[str, str]:
    """Return the string headers of one frame."""
    headers: dict[str, str] = {}
    at = 0
    while at < len(data):
        end = at + 1 + data[at]
        name, (kind,) = data[at + 1 : end].decode(), struct.unpack_from(">B", data, end)
        at = end + 1
        if kind in {_BYTES, _STRING}:
            (length,) = struct.unpack_from(">H", data, at)
            at += 2
            if kind == _STRING:
                headers[name] = data[at : at + length].decode()
        elif kind in _FIXED:
            length = _FIXED[kind]
        else:
            raise ValueError("unknown type of header")
        at += length
    return headers
