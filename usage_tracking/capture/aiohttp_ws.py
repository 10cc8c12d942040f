"""The websockets of aiohttp's client; those of its server are another class, and not hooked.

All ways to read a message end in `ClientWebSocketResponse.receive`.
https://docs.aiohttp.org/en/stable/client_reference.html#clientwebsocketresponse
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from ..errors import contained
from ..system.patching import is_patched, patch, unpatch
from .sockets import KEY, error_of, open_session

#: The attribute that tells whether the site waits for a message.
_READING = "_ai_usage_reading"
#: The types of messages that end a socket, as `receive` returns them.
_ENDS = frozenset({"CLOSE", "CLOSING", "CLOSED", "ERROR"})


def hook(module: ModuleType) -> None:
    """Hook the websockets of aiohttp."""
    patch(module.ClientSession, "_ws_connect", _connect)
    for name, make in _HOOKS.items():
        patch(module.ClientWebSocketResponse, name, make)


def unhook(module: ModuleType) -> None:
    """Remove the hooks."""
    unpatch(module.ClientSession, "_ws_connect")
    for name in _HOOKS:
        unpatch(module.ClientWebSocketResponse, name)


def is_hooked(module: ModuleType) -> bool:
    """Return whether every hook is in place."""
    return is_patched(module.ClientSession, "_ws_connect") and all(
        is_patched(module.ClientWebSocketResponse, name) for name in _HOOKS
    )


@contained
def _opened(socket: Any) -> None:
    url = socket._response.url
    session = open_session(
        "aiohttp",
        url.host or "",
        url.explicit_port,
        url.raw_path,
        url.raw_query_string,
        lambda name: socket._response.request_info.headers.get(name),
    )
    if session is not None:
        setattr(socket, KEY, session)


@contained
def _received(socket: Any, message: Any, *, was_ending: bool) -> None:
    session, kind = socket.__dict__[KEY], message.type.name
    if kind not in _ENDS:
        if isinstance(message.data, (str, bytes)):
            session.received(message.data)
    elif isinstance(message.data, BaseException):
        session.closed(message.data)
    elif kind == "CLOSED" and not was_ending:
        session.closed(socket.exception() or ConnectionError("WebSocket closed without a code"))
    else:
        session.closed(error_of(message.data if kind == "CLOSE" else None))


def _connect(original: Any) -> Any:
    async def connect(*args: Any, **options: Any) -> Any:
        socket = await original(*args, **options)
        _opened(socket)
        return socket

    return connect


def _receive(original: Any) -> Any:
    async def receive(self: Any, *args: Any, **options: Any) -> Any:
        if KEY not in self.__dict__:
            return await original(self, *args, **options)
        was_ending = self.closed or getattr(self, "_closing", False)
        self.__dict__[_READING] = True
        try:
            message = await original(self, *args, **options)
        finally:
            self.__dict__[_READING] = False
        _received(self, message, was_ending=was_ending)
        return message

    return receive


def _send(original: Any) -> Any:
    async def send(self: Any, data: Any, *args: Any, **options: Any) -> Any:
        session = self.__dict__.get(KEY)
        if session is None:
            return await original(self, data, *args, **options)
        turn = session.sends(data)
        try:
            return await original(self, data, *args, **options)
        except Exception:
            session.unsent(turn)
            raise

    return send


def _close(original: Any) -> Any:
    async def close(self: Any, *args: Any, **options: Any) -> Any:
        session = self.__dict__.get(KEY)
        # `receive` closes the socket when it has ended, and only its message tells how it did.
        if session is None or self.__dict__.get(_READING):
            return await original(self, *args, **options)
        error = self.exception()
        try:
            return await original(self, *args, **options)
        finally:
            session.closed(error)

    return close


_HOOKS = {"receive": _receive, "send_str": _send, "send_bytes": _send, "close": _close}
