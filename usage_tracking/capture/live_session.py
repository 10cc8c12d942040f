"""Gemini Live, on Google's API and on Vertex.

https://ai.google.dev/api/live (the first message names the model; what the client sends next may
begin a turn of the model, which ends with `turnComplete`)
https://ai.google.dev/gemini-api/docs/live-api/best-practices#pricing-billing (each turn is billed
for all tokens of the session so far; so the counts of a turn are its own)

The counts of a turn may come several times, as running totals. The last ones are right: they are
never added up. They may come after the end of their turn.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import Any

from ..errors import contained
from ..formats.reader import error_text, mapping, text
from .endpoints import Target
from .sessions import Asked, Frame, Session, Turn, beginning, outline, parsed

#: The only member of a message of the client.
_SENT = re.compile(r'\s*\{\s*"(\w+)"')
#: Kinds of messages that may ask for an answer → what in them does: the end of the turn; text, or
#: the end of what is said.
_ASKS = {
    "clientcontent": re.compile(r'"(?:turnComplete|turn_complete)"\s*:\s*true'),
    "realtimeinput": re.compile(r'"(?:activityEnd|activity_end|text)"\s*:'),
}
_RECEIVED = re.compile(
    r'"(usageMetadata|turnComplete|generationComplete|interrupted|groundingMetadata'
    r'|modelTurn|outputTranscription|toolCall|setupComplete|error)"'
)
#: Members that only an answer has.
_CONTENT = frozenset({"modelTurn", "outputTranscription", "toolCall"})
_ENDS = frozenset({"turnComplete", "generationComplete"})
_USAGE = '"usageMetadata"'
#: Characters of a short message.
_SHORT = 256
#: Characters of a message in which its usage is read.
_MAX_USAGE = 16 * 1024
#: The key of the turn that has begun; there is one at a time.
_TURN = "turn"


class _LiveTurn(Turn):
    __slots__ = ("is_over", "usage")

    def __init__(self, asked: Asked, target: Target) -> None:
        super().__init__(asked, target)
        #: The provider makes nothing more for this turn.
        self.is_over = False
        #: The latest totals, as they came; they are parsed once.
        self.usage = ""


class LiveSession(Session):
    """Follows a socket of Gemini Live."""

    def __init__(self, target: Target, model: str = "") -> None:
        super().__init__(target, model)
        #: The turn that ended last, and the latest input before its end.
        self._last: _LiveTurn | None = None
        self._last_input: Asked | None = None

    @contained
    def sent(self, frame: Frame) -> Turn | None:
        """Take a message that the site is about to send; return the turn that it asks for."""
        head = beginning(frame)
        match = _SENT.match(head)
        kind = match[1].replace("_", "").lower() if match else ""
        if kind == "setup":
            self._set_up(frame)
        if kind not in {"clientcontent", "realtimeinput", "toolresponse"}:
            return None
        asked = self._input = Asked()
        if kind == "toolresponse":
            return None  # the model goes on with its turn
        if kind == "realtimeinput" and (self._asked or self._begun):
            return None  # it is heard within the turn
        # Between the beginning and the end of what is heard is audio.
        is_heard = kind == "realtimeinput" and len(frame) > 2 * _SHORT
        shown = f"{head} {beginning(frame[-_SHORT:])}" if is_heard else outline(frame)
        if not _ASKS[kind].search(shown):
            return None
        return self._ask(_LiveTurn(asked, self.target))

    @contained
    def received(self, frame: Frame) -> None:
        """Take a message that the site has received."""
        shown = outline(frame)
        found = set(_RECEIVED.findall(shown))
        if "toolCall" in found:  # its arguments may have any names
            message = parsed(frame)
            found = {*message, *mapping(message.get("serverContent"))}
        turn = self._turn()
        if found <= _CONTENT and (not found or (turn is not None and not turn.is_over)):
            return
        self._take(found, shown, frame)

    def _take(self, found: set[str], shown: str, frame: Frame) -> None:
        self.recognised = self.recognised or "setupComplete" in found
        if "error" in found and (match := _SENT.match(shown)) and match[1] == "error":
            self._failed(frame)
            return
        turn = self._turn()
        if turn is not None and turn.is_over and not found.isdisjoint({"modelTurn", "toolCall"}):
            self._end(turn)  # its end was left out
            turn = None
        if turn is None and found & (_CONTENT if not self._asked else _CONTENT | _ENDS):
            turn = self._next()
        if "usageMetadata" in found:
            turn = self._count(turn, shown[shown.rfind(_USAGE) :][:_MAX_USAGE])
        if turn is None:
            return
        if "groundingMetadata" in found:
            turn.reader.body({"serverContent": parsed(frame).get("serverContent")})
        turn.is_over = turn.is_over or bool(found & {"generationComplete", "interrupted"})
        if "turnComplete" in found and turn is self._turn():
            self._end(turn)

    def _turn(self) -> _LiveTurn | None:
        turn = self._begun.get(_TURN)
        return turn if isinstance(turn, _LiveTurn) else None

    def _next(self) -> _LiveTurn:
        """Begin the turn that was asked for first, else one that answers the latest input."""
        asked = self._asked or self._lost
        turn = asked.pop(0) if asked else None
        if not isinstance(turn, _LiveTurn):
            turn = _LiveTurn(self._input or Asked(), self.target)
        self._begin(_TURN, turn)
        return turn

    def _count(self, turn: _LiveTurn | None, usage: str) -> _LiveTurn:
        """Take the totals of a turn, or of the last one if none has begun; return the turn."""
        last = self._last
        if turn is None and last is not None:
            is_quiet = self._input is self._last_input
            if is_quiet or not last.usage or _prompt(usage) == _prompt(last.usage):
                last.usage = usage
                self._finish(last)
                return last
        turn = turn or self._next()
        turn.usage = usage
        return turn

    def _end(self, turn: _LiveTurn) -> None:
        del self._begun[_TURN]
        self._last, self._last_input = turn, self._input
        self._finish(turn)

    def _failed(self, frame: Frame) -> None:
        turn = self._turn() or (self._next() if self._asked else None)
        if turn is not None:
            turn.reader.error = error_text(parsed(frame)) or "error"
            self._end(turn)

    def _set_up(self, frame: Frame) -> None:
        named = text(mapping(parsed(frame).get("setup")).get("model"))
        self.requested_model = self.model = named.rpartition("/")[2]

    def _finish(self, turn: Turn, *, problem: str = "", error: BaseException | None = None) -> None:
        if isinstance(turn, _LiveTurn) and turn.usage:
            turn.reader.model = self.model
            turn.reader.body({"usageMetadata": _usage(turn.usage)})
        super()._finish(turn, problem=problem, error=error)


def _usage(shown: str) -> dict[str, Any]:
    """Return the usage that a part of a message begins with, {} if it cannot be read."""
    with suppress(ValueError, RecursionError):
        return mapping(json.JSONDecoder().raw_decode(shown, shown.index("{"))[0])
    return {}


def _prompt(shown: str) -> Any:
    """Return the tokens of the prompt, which grow with every turn."""
    return _usage(shown).get("promptTokenCount")
