"""`AI_USAGE_STREAM_USAGE = "request"`: ask OpenAI chat streams for the usage they omit.

A request that sets `include_usage` itself is not changed. The extra chunk, which has no choices, is
hidden from the caller, and a server that rejects the field is not asked again.
https://platform.openai.com/docs/api-reference/chat/create (`stream_options.include_usage`)
"""

from __future__ import annotations

import json
import re
from typing import Any

from .. import conf
from ..errors import contain, contained
from .encodings import Decode
from .endpoints import Target

#: Status codes with which servers reject an unknown field.
REJECTIONS = frozenset({400, 422})

_END = re.compile(rb"\n\r?\n|\r\r")
#: Bytes of the longest event that may be the extra one, which holds only counts.
_LONGEST = 64 * 1024
_NO_CHOICES = re.compile(rb'"choices"\s{0,9}:\s{0,9}\[\s{0,9}\]')

#: `host:port` of servers that rejected the field.
_rejecting: set[str] = set()


class Question:
    """The question for usage in one request.

    Attributes:
        body: The request's body with the field.
        request: What the transport sends instead of the caller's request; the transport sets it.
    """

    def __init__(self, authority: str, body: bytes) -> None:
        self._authority = authority
        self.body = body
        self.request: Any = None
        self._rejected = False

    @contained
    def is_rejected(self, response: Any) -> bool:
        """Return whether the server rejected the question, so that the original must be sent."""
        self._rejected = response.status_code in REJECTIONS
        return self._rejected

    def answered(self, status: int) -> None:
        """Take the status that the caller sees."""
        if self._rejected and status < 400 and len(_rejecting) < 1000:
            _rejecting.add(self._authority)

    def is_answered(self) -> bool:
        """Return whether the server accepted the question."""
        return not self._rejected


@contained
def question(endpoint: Target, host: str, port: int | None, body: object) -> Question | None:
    """Return the question to add to a request to `endpoint`; None if there is none."""
    if (
        conf.stream_usage() != "request"
        or endpoint.format not in {"openai.chat", "invocations"}
        or (authority := f"{host}:{port}") in _rejecting
        or not isinstance(body, bytes)
        or b'"stream"' not in body
    ):
        return None
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(data, dict) or data.get("stream") is not True:
        return None
    options = data.get("stream_options") or {}
    if not isinstance(options, dict) or "include_usage" in options:
        return None
    data["stream_options"] = {**options, "include_usage": True}
    return Question(authority, json.dumps(data, separators=(",", ":")).encode())


class Hiding:
    """Passes on a stream of events without the chunk that its reader did not ask for.

    It passes on whole events, decoded by `decode` if given; an event too long to be the extra one
    is passed on as it comes. It never raises.
    """

    def __init__(self, decode: Decode | None = None) -> None:
        self._decode = decode
        #: The start of an incomplete event; of a long one, its last bytes.
        self._rest = b""
        self._is_long = False

    def feed(self, data: bytes) -> bytes:
        """Return what the reader gets for the next piece of the body; b"" if nothing yet."""
        before, is_long = self._rest, self._is_long
        try:
            if self._decode is not None:
                data = b"".join(self._decode(data))
            return self._shown(data)
        except Exception as error:  # noqa: BLE001 -- see errors.contained
            self._rest, self._is_long = b"", False
            contain(error, "Hiding.feed")
            return data if is_long else before + data

    def end(self) -> bytes:
        """Return what the reader gets at the end of the body."""
        rest, self._rest = self._rest, b""
        return b"" if self._is_long else rest

    def _shown(self, data: bytes) -> bytes:
        # Search only the new bytes, and those before them in which an end may begin. The rest is
        # copied with each piece, but is always short.
        seen = max(len(self._rest) - 3, 0)
        pending, shown, start = self._rest + data, b"", 0
        if self._is_long:
            match = _END.search(pending)
            if match is None:
                self._rest = pending[-3:]
                return data
            start = seen = match.end()
            shown = pending[len(self._rest) : start]
        found = ((pending.rfind(mark, seen), len(mark)) for mark in (b"\n\n", b"\n\r\n", b"\r\r"))
        end = max((at + length for at, length in found if at >= 0), default=start)
        shown += _without_extra(pending[start:end])
        rest = pending[end:]
        is_long = len(rest) > _LONGEST
        if is_long:
            shown, rest = shown + rest, rest[-3:]
        self._rest, self._is_long = rest, is_long
        return shown


def _without_extra(data: bytes) -> bytes:
    """Return `data`, which is whole events, without the extra one."""
    shown, start = [], 0
    for match in _END.finditer(data):
        event, start = data[start : match.end()], match.end()
        if not _is_extra(event):
            shown.append(event)
    return b"".join(shown)


def _is_extra(event: bytes) -> bool:
    if b'"usage"' not in event or not _NO_CHOICES.search(event):
        return False
    lines = event.splitlines()
    try:
        chunk = json.loads(b"\n".join(line[5:] for line in lines if line.startswith(b"data:")))
    except (ValueError, RecursionError):
        return False
    return (
        isinstance(chunk, dict)
        and chunk.get("choices") == []
        and isinstance(chunk.get("usage"), dict)
    )
