"""OpenAI's websockets, whose messages are events with a `type`: Realtime and Responses.

https://developers.openai.com/api/reference/resources/realtime/client-events
https://developers.openai.com/api/reference/resources/realtime/server-events
https://developers.openai.com/api/reference/resources/responses/websocket-events (the events of a
stream; `stream_id` names the lane of a response where the site named one)
https://docs.x.ai/developers/advanced-api-usage/websocket-mode
https://learn.microsoft.com/azure/ai-foundry/openai/realtime-audio-reference

Realtime: responses to speech are created without being asked for (`turn_detection`). A
transcription of the input is made by a model of its own and billed beside the responses.
"""

from __future__ import annotations

import re
from typing import Any

from ..errors import contained
from ..formats.reader import error_text, mapping, text
from .endpoints import Target
from .sessions import Asked, Frame, Session, Turn, beginning, outline, parsed

_CREATE, _UPDATE = "response.create", "session.update"
_TRANSCRIPTION = "conversation.item.input_audio_transcription"
#: The first `type` of a message of a stream. More than half of all messages are deltas, which are
#: not read.
_KIND = re.compile(r'"type"\s*:\s*"([\w.]+)"')
#: The events of the client that cause a response, or say how it is made.
_SENT = re.compile(
    r'"type"\s*:\s*"(response\.(?:create|steer)|(?:transcription_)?session\.update'
    r'|input_audio_buffer\.(?:append|commit)|conversation\.item\.create)"'
)
#: The events of the server that are read.
_RECEIVED = re.compile(
    r'"type"\s*:\s*"(?:response\.(?:created|done|completed|failed|incomplete|cancelled)'
    r"|response\.output_item\.done|error|(?:transcription_)?session\.(?:created|updated)"
    r'|input_audio_buffer\.committed|conversation\.item\.input_audio_transcription\.\w+)"'
)
_ENDS = frozenset(
    f"response.{end}" for end in ("done", "completed", "failed", "incomplete", "cancelled")
)
#: What the provider bills beside the usage, see `ResponsesReader`.
_ITEMS = re.compile(r'"(?:web_search|x_search|file_search|code_interpreter|image_generation)_call"')
#: Beginnings of codes and parameters of errors about other events than `response.create`.
_ABOUT_OTHERS = (
    *("session", "input_audio", "output_audio", "conversation_item", "item", "audio"),
    *("event_id", "type", "response_cancel"),
)
#: A longer request is searched, not parsed.
_SMALL = 64 * 1024


class _Asking(Turn):
    """A response that an event asked for, with what tells it from others."""

    __slots__ = ("event_id", "lane", "metadata")

    def __init__(self, asked: Asked, target: Target, event: dict[str, Any]) -> None:
        response = mapping(event.get("response"))
        super().__init__(asked, target, text(event.get("model")) or text(response.get("model")))
        self.event_id = text(event.get("event_id"))
        self.lane = text(event.get("stream_id"))
        self.metadata = mapping(response.get("metadata") or event.get("metadata"))


class EventsSession(Session):
    """Follows a socket whose messages are OpenAI's events."""

    def __init__(self, target: Target, model: str = "") -> None:
        super().__init__(target, model)
        #: The site has sent speech, which the provider answers without being asked to.
        self._is_spoken = False
        #: The model that transcribes the input, "" if none does.
        self._transcriber = ""

    @contained
    def sent(self, frame: Frame) -> Turn | None:
        """Take a message that the site is about to send; return the response that it asks for."""
        match = _SENT.search(beginning(frame)) or _SENT.search(outline(frame))
        if match is None:
            return None
        kind = match[1]
        if kind.endswith(_UPDATE):
            self._configure(mapping(parsed(frame).get("session")), is_answer=False)
            return None
        asked = Asked()
        is_spoken = kind.startswith("input_audio")
        self._is_spoken = self._is_spoken or is_spoken
        if is_spoken or not self._is_spoken:
            self._input = asked
        if kind != _CREATE:
            return None
        return self._ask(_Asking(asked, self.target, _request(frame)))

    @contained
    def received(self, frame: Frame) -> None:
        """Take a message that the site has received."""
        match = _KIND.search(beginning(frame)) or _KIND.search(beginning(frame[-256:]))
        if match is not None and match[1].endswith(".delta"):
            return
        shown = outline(frame)
        if _RECEIVED.search(shown) is None:
            return
        if '"response.output_item.done"' in shown and _ITEMS.search(shown) is None:
            return
        event = parsed(frame)
        self._take(text(event.get("type")), event)

    def _take(self, kind: str, event: dict[str, Any]) -> None:
        response = mapping(event.get("response"))
        if kind == "response.created":
            self._begin(text(response.get("id")), self._asked_for(response, event))
        elif kind in _ENDS:
            self._ended(response, event)
        elif kind == "response.output_item.done":
            self._item(event)
        elif kind == "error":
            self._failed(event)
        elif kind.startswith(_TRANSCRIPTION):
            self._transcribed(kind.removeprefix(_TRANSCRIPTION), event)
        elif kind == "input_audio_buffer.committed":
            self._committed(text(event.get("item_id")))
        elif "session." in kind:
            self.recognised = True
            self._configure(mapping(event.get("session")), is_answer=True)

    def _configure(self, session: dict[str, Any], *, is_answer: bool) -> None:
        """Take the models of a session, as the site asked for them or as the provider answers."""
        audio_input = mapping(mapping(session.get("audio")).get("input"))
        for place in (session, audio_input):
            for name in ("input_audio_transcription", "transcription"):
                if name in place:
                    self._transcriber = text(mapping(place[name]).get("model"))
        if model := text(session.get("model")):
            if is_answer:
                self.model = model
            else:
                self.requested_model = self.requested_model or model

    def _asked_for(self, response: dict[str, Any], event: dict[str, Any]) -> Turn:
        """Remove and return the response that was asked for and that `event` begins or ends.

        Without one, it answers what was said: then it belongs to whoever sent the latest input.
        """
        asked = self._asked or self._lost
        waiting = [turn for turn in asked if isinstance(turn, _Asking)]
        lane, metadata = text(event.get("stream_id")), mapping(response.get("metadata"))
        in_lane = [turn for turn in waiting if turn.lane == lane] or waiting
        # Of responses that are made at the same time, the documentation tells the metadata apart.
        same = [turn for turn in in_lane if turn.metadata == metadata]
        if not same and (metadata or not self._is_spoken):
            same = in_lane
        if not same:
            return Turn(self._input or Asked(), self.target)
        asked.remove(same[0])
        same[0].reader.error = ""
        return same[0]

    def _ended(self, response: dict[str, Any], event: dict[str, Any]) -> None:
        key = text(response.get("id"))
        turn = self._begun.pop(key, None) or self._cut.pop(key, None)
        if turn is None:
            turn = self._asked_for(response, event)
        if self.target.format == "openai.responses":
            turn.reader.event(event)
        else:
            turn.reader.body(response)
        self._finish(turn)

    def _item(self, event: dict[str, Any]) -> None:
        """Count a call of a tool; some servers leave the items out of the whole response."""
        if (turn := self._in_lane(text(event.get("stream_id")))) is not None:
            turn.reader.event(event)

    def _in_lane(self, lane: str) -> Turn | None:
        """Return the response that runs in a lane, None if several may be meant."""
        turns = [turn for turn in self._begun.values() if getattr(turn, "lane", "") == lane]
        return turns[0] if len(turns) == 1 else None

    def _failed(self, event: dict[str, Any]) -> None:
        """End the response that an error answers, if it answers one."""
        error = mapping(event.get("error"))
        turn = self._blamed(error, event)
        if turn is None:
            return
        if turn in self._asked:
            self._asked.remove(turn)
            if not self._is_spoken and not text(error.get("event_id")):
                self._lost = [turn]  # the error may be about another event
        else:
            self._begun = {key: other for key, other in self._begun.items() if other is not turn}
        turn.reader.error = error_text(event) or "error"
        self._finish(turn)

    def _blamed(self, error: dict[str, Any], event: dict[str, Any]) -> Turn | None:
        waiting = [turn for turn in self._asked if isinstance(turn, _Asking)]
        if event_id := text(error.get("event_id")):
            return next((turn for turn in waiting if turn.event_id == event_id), None)
        lane = text(event.get("stream_id"))
        if turn := next((turn for turn in waiting if turn.lane == lane), None):
            about = (text(error.get("code")), text(error.get("param")))
            return None if any(word.startswith(_ABOUT_OTHERS) for word in about) else turn
        # In Realtime, a response that has begun ends with `response.done`.
        return self._in_lane(lane) if self.target.format == "openai.responses" else None

    def _committed(self, item: str) -> None:
        """Wait for the transcription of an item, if there will be one."""
        if self._transcriber and item:
            self._begin(item, self._transcription())

    def _transcription(self) -> Turn:
        target = self.target._replace(format="openai.audio", operation="transcription")
        return Turn(self._input or Asked(), target, self._transcriber)

    def _transcribed(self, step: str, event: dict[str, Any]) -> None:
        if step not in {".completed", ".failed"}:
            return
        item = text(event.get("item_id"))
        turn = self._begun.pop(item, None) or self._cut.pop(item, None) or self._transcription()
        turn.reader.model = turn.requested_model
        turn.reader.event(event)
        self._finish(turn)


def _request(frame: Frame) -> dict[str, Any]:
    """Return what a request says about the response that it asks for."""
    if len(frame) <= _SMALL:
        return parsed(frame)
    shown = outline(frame)
    return {name: match[1] for name in _MEMBERS if (match := _MEMBERS[name].search(shown))}


_MEMBERS = {
    name: re.compile(rf'"{name}"\s*:\s*"([^"\\]{{1,200}})"')
    for name in ("model", "stream_id", "event_id")
}
