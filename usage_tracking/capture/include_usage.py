"""`AI_USAGE_STREAM_USAGE = "request"`: asks OpenAI chat streams for the usage they leave out.

Only where the caller said nothing about it himself. The chunk that comes in addition (it has no
choices) is hidden from him again, and a server that rejects the field is not asked again.
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

#: What servers answer to a field that they do not know.
REJECTIONS = frozenset({400, 422})

_END = re.compile(rb"\n\r?\n")
#: Bytes of an event that may be the extra one, which holds some counts.
_LONGEST = 64 * 1024
_NO_CHOICES = re.compile(rb'"choices"\s{0,9}:\s{0,9}\[\s{0,9}\]')

#: `host:port` of servers that rejected the field.
_rejecting: set[str] = set()


class Question:
    """The usage that is asked for in one request.

    `body` is the request's body with the field. `request` is what the transport sends in place of
    the caller's own request; it makes it.
    """

    def __init__(self, authority: str, body: bytes) -> None:
        self._authority = authority
        self.body = body
        self.request: Any = None
        self._rejected = False

    @contained
    def is_rejected(self, response: Any) -> bool:
        """Whether the caller's own request has to be sent after all."""
        self._rejected = response.status_code in REJECTIONS
        return self._rejected

    def answered(self, status: int) -> None:
        """Takes the status that the caller sees."""
        if self._rejected and status < 400 and len(_rejecting) < 1000:
            _rejecting.add(self._authority)

    def is_answered(self) -> bool:
        return not self._rejected


@contained
def question(endpoint: Target, host: str, port: int | None, body: object) -> Question | None:
    """What to ask in a request to `endpoint` with this body; None if nothing."""
    if (
        conf.stream_usage() != "request"
        or endpoint.format != "openai.chat"
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
    """Passes a stream of events on without the chunk that its reader has not asked for.

    Whole events only, decoded by `decode` if that is given, unless one is longer than any that is
    left out: that one is passed on as it comes. Never raises.
    """

    def __init__(self, decode: Decode | None = None) -> None:
        self._decode = decode
        #: The beginning of an event whose end has not come; the last bytes of a longer one.
        self._rest = b""
        self._is_long = False

    def feed(self, data: bytes) -> bytes:
        """What the reader gets for the next piece of the body; b"" if nothing yet."""
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
        """What the reader gets at the end of the body."""
        rest, self._rest = self._rest, b""
        return b"" if self._is_long else rest

    def _shown(self, data: bytes) -> bytes:
        # Only what is new is searched, and the bytes before it in which an end may begin. These
        # are copied with each piece, but are never many.
        seen = max(len(self._rest) - 3, 0)
        held, shown, start = self._rest + data, b"", 0
        if self._is_long:
            match = _END.search(held)
            if match is None:
                self._rest = held[-3:]
                return data
            start = seen = match.end()
            shown = held[len(self._rest) : start]
        found = ((held.rfind(mark, seen), len(mark)) for mark in (b"\n\n", b"\n\r\n"))
        end = max((at + length for at, length in found if at >= 0), default=start)
        shown += _without_extra(held[start:end])
        rest = held[end:]
        is_long = len(rest) > _LONGEST
        if is_long:
            shown, rest = shown + rest, rest[-3:]
        self._rest, self._is_long = rest, is_long
        return shown


def _without_extra(data: bytes) -> bytes:
    """The whole events of which `data` consists, without the extra one."""
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
