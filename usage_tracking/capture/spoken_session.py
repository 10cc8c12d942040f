"""Websockets that are one call: OpenAI's Live and Realtime translations, and Mistral's audio.

https://developers.openai.com/api/reference/resources/live/server-events (`usage` has the seconds of
the session so far, which are never added up; `response.event` has the events of a response that the
session delegates to another model, which is billed beside it)
https://developers.openai.com/api/docs/guides/realtime-translation (reports no usage)
https://docs.mistral.ai/capabilities/audio_transcription (`transcription.done` has the usage of what
was heard, `speech.audio.done` that of what was said)

A session is one call, of whoever began it.
"""

from __future__ import annotations

import re
from typing import Any

from ..errors import contained
from ..formats.reader import error_text, mapping, text
from .endpoints import Target
from .sessions import Asked, Frame, Session, Turn, beginning, outline, parsed

_START = re.compile(
    r'"type"\s*:\s*"(session\.start|session\.input_audio_buffer\.append|input_(?:audio|text)\.append)"'
)
#: What begins a session of Mistral → what the model does.
_OPERATIONS = {"input_audio.append": "transcription", "input_text.append": "speech"}
_RECEIVED = re.compile(
    r'"type"\s*:\s*"(?:session\.(?:created|started|closed|usage\.updated)|error'
    r"|transcription\.done|speech\.audio\.done"
    r'|response\.(?:created|completed|failed|incomplete|output_item\.done))"'
)
#: The key of the session itself; its responses have their ids.
_SESSION = ""


class SpokenSession(Session):
    """Follows a socket that is one call."""

    def __init__(self, target: Target, model: str = "") -> None:
        super().__init__(target._replace(operation="chat"), model)

    @contained
    def sent(self, frame: Frame) -> Turn | None:
        """Take a message that the site is about to send; return the session if it begins it."""
        self._input = Asked()
        if self._asked or _SESSION in self._begun:
            return None
        match = _START.search(beginning(frame)) or _START.search(beginning(frame[-256:]))
        if match is None:
            return None
        session = mapping(parsed(frame).get("session"))
        self.requested_model = text(session.get("model")) or self.requested_model
        operation = _OPERATIONS.get(match[1], self.target.operation)
        return self._ask(Turn(self._input, self.target._replace(operation=operation)))

    @contained
    def received(self, frame: Frame) -> None:
        """Take a message that the site has received."""
        shown = outline(frame)
        if _RECEIVED.search(shown) is None:
            return
        event = parsed(frame)
        kind, inner = text(event.get("type")), mapping(event.get("event"))
        if kind == "response.event":
            self._delegated(text(inner.get("type")), inner)
        elif kind.startswith("session."):
            self.recognised = True
            self.model = text(mapping(event.get("session")).get("model")) or self.model
            self._goes_on(kind, event)
        elif kind.endswith(".done"):
            self._done(event)
        elif kind == "error" and self._asked:
            turn = self._asked.pop(0)
            turn.reader.error = error_text(event) or "error"
            self._finish(turn)

    def _done(self, event: dict[str, Any]) -> None:
        """End a session of Mistral; another may follow on the same socket."""
        turn = self._asked.pop(0) if self._asked else self._begun.pop(_SESSION, None)
        if turn is not None:
            turn.reader.event(event)
            self._finish(turn)

    def _goes_on(self, kind: str, event: dict[str, Any]) -> None:
        if self._asked:
            self._begin(_SESSION, self._asked.pop(0))
        turn = self._begun.get(_SESSION) or self._cut.get(_SESSION)
        if turn is None:
            return
        if kind == "session.closed":
            self._begun.pop(_SESSION, None)
            turn.reader.event({"usage": event.get("usage")})
            self._finish(turn)
        elif kind == "session.usage.updated":
            # What is known if the socket ends before the session does.
            turn.reader.facts["audio_seconds"] = mapping(event.get("usage")).get("seconds")

    def _delegated(self, kind: str, event: dict[str, Any]) -> None:
        """Take an event of a response that the session delegates to another model."""
        key = text(mapping(event.get("response")).get("id"))
        if kind == "response.created":
            self._begin(key, self._response())
        elif kind == "response.output_item.done":
            running = [turn for other, turn in self._begun.items() if other != _SESSION]
            if len(running) == 1:
                running[0].reader.event(event)
        elif key:
            turn = self._begun.pop(key, None) or self._cut.pop(key, None) or self._response()
            turn.reader.event(event)
            self._finish(turn)

    def _response(self) -> Turn:
        target = self.target._replace(format="openai.responses", operation="chat")
        return Turn(self._input or Asked(), target)
