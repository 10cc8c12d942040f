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
from .endpoints import Endpoint

#: What servers answer to a field that they do not know.
REJECTIONS = frozenset({400, 422})

_EVENT = re.compile(rb".*?\r?\n\r?\n", re.DOTALL)
_NO_CHOICES = re.compile(rb'"choices"\s*:\s*\[\s*\]')

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
def question(endpoint: Endpoint, authority: str, body: object) -> Question | None:
    """What to ask in a request to `endpoint` with this body; None if nothing."""
    if (
        conf.stream_usage() != "request"
        or endpoint.format != "openai.chat"
        or authority in _rejecting
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

    Whole events only, decoded by `decode` if that is given. Never raises.
    """

    def __init__(self, decode: Decode | None = None) -> None:
        self._decode = decode
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        """What the reader gets for the next piece of the body; b"" if nothing yet."""
        before, self._rest = self._rest, b""
        try:
            if self._decode is not None:
                data = b"".join(self._decode(data))
            shown, self._rest = _split(before + data)
            return shown
        except Exception as error:  # noqa: BLE001 -- see errors.contained
            contain(error, "Hiding.feed")
            return before + data

    def end(self) -> bytes:
        """What the reader gets at the end of the body."""
        rest, self._rest = self._rest, b""
        return rest


def _split(data: bytes) -> tuple[bytes, bytes]:
    """The whole events at the beginning of `data` without the extra one, and the rest."""
    end, shown = 0, []
    for event in _EVENT.finditer(data):
        end = event.end()
        if not _is_extra(event[0]):
            shown.append(event[0])
    return b"".join(shown), data[end:]


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
