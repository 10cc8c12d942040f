"""What is kept of an answer or an event that is too long: its beginning and its end.

Providers put the usage behind what is long, such as a picture in base64; a few put it before.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

#: Bytes of the end that are kept.
TAIL = 64 * 1024
#: Bytes of the beginning that are kept.
HEAD = 4 * 1024


@lru_cache(maxsize=64)
def member(name: str, longest: int = 200) -> re.Pattern[bytes]:
    """Return what finds a member and its text in bytes of JSON that are not parsed.

    In the text of a prompt, a quotation mark has a backslash before it.
    """
    return re.compile(rb'(?<!\\)"%b"\s*:\s*"([^"\\]{1,%d})"' % (name.encode(), longest))


#: The member of a request or an answer that names its model.
MODEL = member("model")
_NAMES = {
    "model": MODEL,
    "modelVersion": member("modelVersion"),
    "responseId": member("responseId"),
    "service_tier": member("service_tier", 50),
}
#: The id of an answer, which is one of its first members.
_ID = member("id")
#: When an answer began that was made in the background, which polls for it must know.
_BACKGROUND = re.compile(rb'(?<!\\)"background"\s*:\s*true')
_SINCE = re.compile(rb'(?<!\\)"created_at"\s*:\s*([0-9]{1,12})')
#: Bytes of the beginning in which an id is that of the answer.
_BEFORE_ITEMS = 200
#: The type of an event, which is its first or its last member but one.
_TYPE = re.compile(rb'(?<!\\)"type"\s*:\s*"([a-z_]{1,50}\.[a-z_.]{1,80})"')
#: A count beside the usage of no object: "eval_count": 7.
_COUNT = rb'(?<!\\)"([a-z_]{0,40}%b)\s*:\s*([0-9]{1,18})(?=\s*[,}])'


#: Takes a part of an answer, of which what stands before a position will not be kept.
Dropped = Callable[[bytes | bytearray, int], None]


class LongEvent(bytes):
    """The end of an event that was too long to be kept."""

    #: Its beginning.
    head = b""
    #: Whether it names anything of what its reader listed in `Reader.beside_usage`.
    has_marks = False

    def values(self, key: bytes) -> dict[str, Any] | None:
        """Return the usage named `key`, with its model, tier and type; None if it is not there."""
        values = read_values(self, self.rfind(key), key, self.head)
        if values is None:
            return None
        types = _TYPE.findall(self.head) or _TYPE.findall(self)
        return values | ({"type": types[0].decode()} if types else {})


class Excerpt:
    """Collects bytes, whole up to a limit; of more, it keeps the beginning and the end.

    Attributes:
        head: The beginning of what was cut, b"" if nothing was.
        content: Everything, or the end of what was cut.
        is_cut: Whether something was dropped.
    """

    def __init__(self, marks: Sequence[bytes], limit: int, dropped: Dropped | None = None) -> None:
        self.head = b""
        self.content = bytearray()
        self.is_cut = False
        self._marks = marks
        self._limit = limit
        self._has_marks = False
        self._dropped = dropped

    @property
    def has_marks(self) -> bool:
        """Whether any of the marks was in what has come."""
        return self._has_marks or any(mark in self.content for mark in self._marks)

    def add(self, data: bytes | bytearray) -> None:
        """Take the next piece."""
        if len(data) > 2 * self._limit:  # not copied as a whole
            for at in range(0, len(data), self._limit):
                self.add(data[at : at + self._limit])
            return
        self.content += data
        if len(self.content) > self._limit:
            self.head = self.head or bytes(self.content[:HEAD])
            self._has_marks = self.has_marks
            end = len(self.content) - min(TAIL, self._limit)
            if self._dropped is not None:
                self._dropped(self.content, end)
            del self.content[:end]
            self.is_cut = True

    def event(self) -> LongEvent:
        """Return the end of an event that was too long."""
        event = LongEvent(self.content[-TAIL:])
        event.head, event.has_marks = self.head or bytes(self.content[:HEAD]), self.has_marks
        return event


def read_values(part: bytes, at: int, key: bytes, head: bytes = b"") -> dict[str, Any] | None:
    """Read the usage in the part of a huge answer that was kept; the model and the tier too.

    Parsing a megabyte of embeddings would cost the request milliseconds.

    Args:
        part: The part.
        at: Where the usage is named in it.
        key: The name of the usage, with its quotation marks; or the end of the names of counts.
        head: The beginning of the answer, if the part is its end.

    Returns:
        An answer with these members; None if the usage is not there in a shape to be trusted.
    """
    if at <= 0 or part[at - 1 : at] == b"\\":
        return None
    usage = _object(part, at, key) if key.startswith(b'"') else _counts(part, key)
    if not usage:
        return None
    # The other members by which readers recognise their format were in the part that was dropped.
    data: dict[str, Any] = {"choices": [], "data": [], "status": "completed"}
    data |= {"object": "response", "type": "message", "role": "assistant", **usage}
    for name, pattern in _NAMES.items():
        # Behind the answer, a tool may have a model of its own.
        if found := pattern.findall(head)[:1] or pattern.findall(part)[-1:]:
            data[name] = found[0].decode("utf-8", "replace")
    if match := _ID.search(head, 0, _BEFORE_ITEMS):
        data["id"] = match[1].decode("utf-8", "replace")
    if _BACKGROUND.search(head) and (since := _SINCE.search(head)):
        data |= {"background": True, "created_at": int(since[1])}
    return data


def _object(part: bytes, at: int, key: bytes) -> dict[str, Any] | None:
    try:
        start = part.index(b"{", at)
        usage, _ = json.JSONDecoder().raw_decode(part[start:].decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    if part[at + len(key) : start].strip() != b":" or not all(
        isinstance(value, (int, float, dict, list, str, type(None))) for value in usage.values()
    ):
        return None
    return {key.strip(b'"').decode(): usage}


def _counts(part: bytes, key: bytes) -> dict[str, Any] | None:
    found = re.findall(_COUNT % re.escape(key), part)
    return {name.decode().rstrip('"'): int(number) for name, number in found}
