"""One websocket to a provider: what the site sends and receives becomes one row per response.

A library's hook calls `sends` and `received` with every message that passes, whole and unchanged,
and `closed` when the socket has ended. A subclass knows the messages of one protocol. Nothing here
raises, and nothing is read from the socket that the site does not read itself.

A response belongs to whoever asked for it: a socket may outlive the request that opened it, and
serve several users. What the site sends is therefore attributed when it is sent.
"""

from __future__ import annotations

import atexit
import json
import os
import time
import weakref
from contextlib import suppress
from typing import Any
from uuid import UUID

from .. import outbox, recorder
from ..attribution.resolve import attribution
from ..errors import contained
from ..events import utc_now, uuid7
from ..formats.reader import Reader, mapping
from ..system.site_tests import running_test
from .body import Body
from .endpoints import Target
from .exchange import LEFT, trial_events
from .outcome import outcome

Frame = str | bytes

#: Responses of one socket that are followed at a time. Providers allow far fewer.
MAX_OPEN = 256
#: Characters of a longer message that are searched, at its beginning and at its end. Between them
#: are audio, images and long texts.
_LONG, _HEAD, _TAIL = 64 * 1024, 4 * 1024, 16 * 1024

#: Why the usage of a response is unknown.
CLOSED = "socket closed before the response ended"
CROWDED = "too many responses at a time on one socket"


class Asked:
    """Something that the site sent: when, and on whose behalf."""

    __slots__ = ("attribution", "created_at", "started", "trial_events")

    def __init__(self) -> None:
        self.created_at = utc_now()
        self.started = time.perf_counter()
        self.attribution = attribution()
        self.trial_events = trial_events.get()


class Turn:
    """One response, from the message that asked for it to its end.

    Attributes:
        asked: The message that asked for the response.
        target: What the row says about the endpoint.
        requested_model: The model that was asked for, "" if no message named one.
        body: What the provider said about the response.
        id: The id of the event once it is recorded, else None.
    """

    __slots__ = ("asked", "body", "id", "requested_model", "target")

    def __init__(self, asked: Asked, target: Target, requested_model: str = "") -> None:
        self.asked = asked
        self.target = target
        self.requested_model = requested_model
        self.body = Body(target)
        self.body.answer.head(200, "", {})
        self.id: UUID | None = None

    @property
    def reader(self) -> Reader:
        """The reader of the response."""
        return self.body.answer.reader


class Session:
    """Follows the responses of one socket.

    Args:
        target: The endpoint of the socket.
        model: The model that the URL names, else "".
    """

    def __init__(self, target: Target, model: str = "") -> None:
        self.target = target
        #: The model that the site asked for.
        self.requested_model = model
        #: The model that the provider says it uses.
        self.model = ""
        #: A message of the provider had the shape of the protocol.
        self.recognised = False
        #: What is recorded of the key that opened the socket, "" for nothing.
        self.key_hint = ""
        #: The latest message that the provider may answer without being asked to.
        self._input: Asked | None = None
        #: Responses that are asked for and have not begun, oldest first.
        self._asked: list[Turn] = []
        #: Responses that were recorded as ended and had not begun, if that turns out to be wrong.
        self._lost: list[Turn] = []
        #: Key → response that has begun.
        self._begun: dict[str, Turn] = {}
        #: Key → response that had begun when the socket was closed.
        self._cut: dict[str, Turn] = {}
        self._pid = os.getpid()
        _open.add(self)

    @contained
    def sends(self, message: Any) -> Turn | None:
        """Take what the site is about to send; return the response that it asks for.

        Only the library judges whether `message` is one.
        """
        return self.sent(frame_of(message))

    def sent(self, frame: Frame) -> Turn | None:
        """Take a message that the site is about to send; return the response that it asks for."""
        raise NotImplementedError

    def received(self, frame: Frame) -> None:
        """Take a message that the site has received."""
        raise NotImplementedError

    @contained
    def unsent(self, turn: Turn | None) -> None:
        """Forget a response because the message that asks for it could not be sent."""
        if turn in self._asked:
            self._asked.remove(turn)

    @contained
    def closed(self, error: BaseException | None = None) -> None:
        """End the responses that are still open, because of `error` or because the site left.

        Messages that arrived before may still be read; they correct what is recorded here.
        """
        if isinstance(error, LEFT):
            error = None
        self._lost += self._asked
        while self._asked:
            self._finish(self._asked.pop(0), problem=CLOSED, error=error)
        while self._begun:
            key, turn = self._begun.popitem()
            self._finish(turn, problem=CLOSED, error=error)
            self._cut[key] = turn

    @contained
    def __del__(self) -> None:
        # The socket was freed without being closed, maybe before it had these attributes: a time
        # limit can interrupt `__init__`.
        if getattr(self, "_asked", ()) or getattr(self, "_begun", ()):
            recorder.later(self.closed)

    def _ask(self, turn: Turn) -> Turn:
        """Wait for a response."""
        self._asked.append(turn)
        if len(self._asked) > MAX_OPEN:
            self._finish(self._asked.pop(0), problem=CROWDED)
        outbox.expect()
        return turn

    def _begin(self, key: str, turn: Turn) -> None:
        """Follow a response that has begun; `key` is its id, or where the protocol puts it."""
        self._begun[key] = turn
        if len(self._begun) > MAX_OPEN:
            self._finish(self._begun.pop(next(iter(self._begun))), problem=CROWDED)

    def _finish(self, turn: Turn, *, problem: str = "", error: BaseException | None = None) -> None:
        """Record a response, or correct what was recorded of it.

        Args:
            turn: The response.
            problem: Why its end was not seen, "" if it was.
            error: The error that ended the socket.
        """
        turn.body.answer.problem = problem
        reader, asked = turn.reader, turn.asked
        reader.model = reader.model or self.model
        if not self._is_recorded(turn):
            return
        requested = turn.requested_model or self.requested_model
        result = outcome(
            turn.target,
            requested,
            turn.body,
            reader,
            error=error,
            is_ended=not problem,
            key_hint=self.key_hint,
        )
        attributed, is_again = asked.attribution, turn.id is not None
        turn.id = turn.id or uuid7(asked.created_at)
        elapsed = time.perf_counter() - asked.started
        event = result.event(
            turn.id, asked.created_at, elapsed, turn.target, attributed, completes=is_again
        )
        if asked.trial_events is not None:
            asked.trial_events.append(event)
        elif is_again:
            recorder.complete(event, attributed, result.response_id)
        else:
            recorder.record(event, attributed, result.response_id)

    def _is_recorded(self, turn: Turn) -> bool:
        if self._pid != os.getpid():
            return False  # a fork inherited the socket; its parent records it
        if turn.asked.attribution.unit.test is not running_test():
            return False  # left behind by a test of the site that has ended
        # A path alone is never enough.
        return not self.target.unknown_host or self.recognised or turn.reader.recognised


#: The sessions of this process, for its exit.
_open: weakref.WeakSet[Session] = weakref.WeakSet()


@atexit.register
@contained
def _exit() -> None:
    """End the responses of sockets that are open while the process exits."""
    for session in tuple(_open):
        session.closed()


def frame_of(message: Any) -> Frame:
    """Return a message that a library sends, "" if it is made while it is sent, or invalid."""
    if isinstance(message, (str, bytes)):
        return message
    if isinstance(message, (bytearray, memoryview)):
        return bytes(message)
    if not isinstance(message, (list, tuple)):
        return ""
    if all(isinstance(part, str) for part in message):
        return "".join(message)
    is_binary = all(isinstance(part, (bytes, bytearray, memoryview)) for part in message)
    return b"".join(message) if is_binary else ""


def beginning(frame: Frame, length: int = 256) -> str:
    """Return the beginning of a message as text."""
    head = frame[:length]
    return head if isinstance(head, str) else head.decode("latin-1")


def outline(frame: Frame) -> str:
    """Return a message as text; of a long one, its beginning and its end."""
    if len(frame) > _LONG:
        return f"{beginning(frame, _HEAD)}\n{beginning(frame[-_TAIL:], _TAIL)}"
    return frame if isinstance(frame, str) else frame.decode("utf-8", "replace")


def parsed(frame: Frame) -> dict[str, Any]:
    """Return a message that is a JSON object, {} for any other."""
    with suppress(ValueError, RecursionError):
        return mapping(json.loads(frame))
    return {}
