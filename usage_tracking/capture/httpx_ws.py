"""httpx-ws, and the websockets that httpx2 has itself: the same classes.

All ways to read a message end in `receive`, all ways to send one in `send`.
https://frankie567.github.io/httpx-ws/reference/httpx_ws/
"""

from __future__ import annotations

import inspect
from functools import partial
from types import ModuleType
from typing import Any

from ..errors import contained
from ..system.patching import is_patched, patch, unpatch
from .sessions import Frame
from .sockets import KEY, error_of, open_session

_CLASSES = ("WebSocketSession", "AsyncWebSocketSession")
_NAMES = ("receive", "send", "close")
#: The errors that end a socket. The classes of the two libraries differ.
_ENDS = {"WebSocketDisconnect", "WebSocketNetworkError"}
#: The code of a socket that ended without one: https://www.rfc-editor.org/rfc/rfc6455#section-7.4.1
_LOST = 1006


def hook(module: ModuleType, transport: str) -> None:
    """Hook httpx-ws, or the websockets of httpx2."""
    for name in _CLASSES:
        owner = vars(module)[name]
        patch(owner, "__init__", partial(_init, transport))
        makers = _ASYNC if inspect.iscoroutinefunction(owner.receive) else _SYNC
        for method, make in zip(_NAMES, makers, strict=True):
            patch(owner, method, make)


def unhook(module: ModuleType) -> None:
    """Remove the hooks."""
    for name in _CLASSES:
        for method in ("__init__", *_NAMES):
            unpatch(vars(module)[name], method)


def is_hooked(module: ModuleType) -> bool:
    """Return whether every hook is in place."""
    return all(
        is_patched(vars(module)[name], method)
        for name in _CLASSES
        for method in ("__init__", *_NAMES)
    )


@contained
def _opened(socket: Any, transport: str) -> None:
    if socket.response is None:
        return
    request = socket.response.request
    url = request.url
    path, _, query = url.raw_path.decode("ascii").partition("?")
    header = request.headers.get
    if session := open_session(transport, url.host, url.port, path, query, header):
        setattr(socket, KEY, session)


def _frame(event: Any) -> Frame | None:
    """Return the message of an event; None for pings and what else is not one."""
    data = getattr(event, "data", None)
    if isinstance(data, bytearray):
        return bytes(data)
    return data if isinstance(data, (str, bytes)) else None


@contained
def _received(socket: Any, event: Any) -> None:
    if (frame := _frame(event)) is not None:
        socket.__dict__[KEY].received(frame)


@contained
def _failed(socket: Any, error: Exception) -> None:
    if type(error).__name__ in _ENDS:
        is_regular = error_of(getattr(error, "code", _LOST)) is None
        socket.__dict__[KEY].closed(None if is_regular else error)


@contained
def _closed(socket: Any, code: int = 1000, *_: object, **__: object) -> None:
    # With other codes the library closes a socket that has failed; `receive` will say how.
    if error_of(code) is None and (session := socket.__dict__.get(KEY)) is not None:
        session.closed()


def _init(transport: str, original: Any) -> Any:
    def init(self: Any, *args: Any, **options: Any) -> None:
        original(self, *args, **options)
        _opened(self, transport)

    return init


def _receive(original: Any) -> Any:
    def receive(self: Any, *args: Any, **options: Any) -> Any:
        if KEY not in self.__dict__:
            return original(self, *args, **options)
        try:
            event = original(self, *args, **options)
        except Exception as error:
            _failed(self, error)
            raise
        _received(self, event)
        return event

    return receive


def _send(original: Any) -> Any:
    def send(self: Any, event: Any) -> Any:
        session, frame = self.__dict__.get(KEY), _frame(event)
        if session is None or frame is None:
            return original(self, event)
        turn = session.sent(frame)
        try:
            return original(self, event)
        except Exception as error:
            session.unsent(turn)
            _failed(self, error)
            raise

    return send


def _close(original: Any) -> Any:
    def close(self: Any, *args: Any, **options: Any) -> Any:
        try:
            return original(self, *args, **options)
        finally:
            _closed(self, *args, **options)

    return close


def _areceive(original: Any) -> Any:
    async def receive(self: Any, *args: Any, **options: Any) -> Any:
        if KEY not in self.__dict__:
            return await original(self, *args, **options)
        try:
            event = await original(self, *args, **options)
        except Exception as error:
            _failed(self, error)
            raise
        _received(self, event)
        return event

    return receive


def _asend(original: Any) -> Any:
    async def send(self: Any, event: Any) -> Any:
        session, frame = self.__dict__.get(KEY), _frame(event)
        if session is None or frame is None:
            return await original(self, event)
        turn = session.sent(frame)
        try:
            return await original(self, event)
        except Exception as error:
            session.unsent(turn)
            _failed(self, error)
            raise

    return send


def _aclose(original: Any) -> Any:
    async def close(self: Any, *args: Any, **options: Any) -> Any:
        try:
            return await original(self, *args, **options)
        finally:
            _closed(self, *args, **options)

    return close


_SYNC = (_receive, _send, _close)
_ASYNC = (_areceive, _asend, _aclose)
