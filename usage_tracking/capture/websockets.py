"""websockets, which the SDKs of OpenAI and Google use.

All ways to open a connection end in the `handshake` of a client connection; all ways to read a
message in `recv` or `recv_streaming`. Connections of servers are other classes, and not hooked.
https://websockets.readthedocs.io/en/stable/reference/sync/client.html
https://websockets.readthedocs.io/en/stable/reference/asyncio/client.html
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from functools import partial
from types import ModuleType
from typing import Any

from ..errors import contained
from ..system.patching import is_patched, patch, unpatch
from .sessions import Session, frame_of
from .sockets import KEY, error_of, open_session

#: The names of the connection's class, today and in `websockets.legacy`.
_CLASSES = ("ClientConnection", "WebSocketClientProtocol")
_NAMES = ("handshake", "send", "recv", "recv_streaming", "close")
#: Characters of a message that are kept of one that is read frame by frame.
_MAX_MESSAGE = 8 * 1024 * 1024


def hook(module: ModuleType, _transport: str) -> None:
    """Hook the client of websockets that a module has."""
    owner = _class(module)
    makers = _ASYNC if inspect.iscoroutinefunction(owner.recv) else _SYNC
    for name in _names(owner):
        patch(owner, name, makers[name])


def unhook(module: ModuleType) -> None:
    """Remove the hooks."""
    owner = _class(module)
    for name in _names(owner):
        unpatch(owner, name)


def is_hooked(module: ModuleType) -> bool:
    """Return whether every hook is in place."""
    owner = _class(module)
    return all(is_patched(owner, name) for name in _names(owner))


def _class(module: ModuleType) -> Any:
    return next(vars(module)[name] for name in _CLASSES if name in vars(module))


def _names(owner: type) -> list[str]:
    # The legacy client has no `recv_streaming`.
    return [name for name in _NAMES if name != "recv_streaming" or hasattr(owner, name)]


@contained
def _opened(connection: Any, args: tuple[Any, ...], options: dict[str, Any]) -> None:
    uri = _uri(connection, args, options)
    session = open_session(
        "websockets", uri.host, uri.port, uri.path, uri.query, partial(_header, connection)
    )
    if session is not None:
        setattr(connection, KEY, session)


def _uri(connection: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    protocol: Any = getattr(connection, "protocol", None)
    if hasattr(protocol, "uri"):
        return protocol.uri
    return options["wsuri"] if "wsuri" in options else args[0]  # the legacy client


def _header(connection: Any, name: str) -> str:
    request = getattr(connection, "request", None)  # not of the legacy client
    headers: Any = connection.request_headers if request is None else request.headers
    return ",".join(headers.get_all(name))


@contained
def _failed(connection: Any, error: Exception) -> None:
    """End the session if `error` says that the connection is closed."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if "ConnectionClosed" in kinds:
        session = connection.__dict__[KEY]
        session.closed(None if "ConnectionClosedOK" in kinds else error)


@contained
def _closed(connection: Any, code: int | None) -> None:
    """End the session of a connection; `code` is that with which it was closed before."""
    connection.__dict__[KEY].closed(error_of(code))


class _Pieces:
    """The frames of one message; a message that is too long is not read."""

    def __init__(self) -> None:
        self._kept: list[Any] = []
        self._size = 0

    def add(self, piece: Any) -> None:
        self._size += len(piece)
        if self._size > _MAX_MESSAGE:
            self._kept.clear()
        else:
            self._kept.append(piece)

    @contained
    def passed_to(self, session: Session) -> None:
        session.received(frame_of(self._kept))


# One hook per method, for threads and for asyncio (or trio). A connection to another server passes
# through with one look-up.


def _handshake(original: Any) -> Any:
    def handshake(self: Any, *args: Any, **options: Any) -> Any:
        result = original(self, *args, **options)
        _opened(self, args, options)
        return result

    return handshake


def _send(original: Any) -> Any:
    def send(self: Any, message: Any, *args: Any, **options: Any) -> Any:
        session = self.__dict__.get(KEY)
        if session is None:
            return original(self, message, *args, **options)
        turn = session.sends(message)
        try:
            return original(self, message, *args, **options)
        except Exception as error:
            session.unsent(turn)
            _failed(self, error)
            raise

    return send


def _recv(original: Any) -> Any:
    def recv(self: Any, *args: Any, **options: Any) -> Any:
        session = self.__dict__.get(KEY)
        if session is None:
            return original(self, *args, **options)
        try:
            message = original(self, *args, **options)
        except Exception as error:
            _failed(self, error)
            raise
        session.received(message)
        return message

    return recv


def _recv_streaming(original: Any) -> Any:
    def frames(self: Any, session: Any, parts: Generator[Any]) -> Iterator[Any]:
        pieces = _Pieces()
        try:
            for part in parts:
                pieces.add(part)
                yield part
        except Exception as error:
            _failed(self, error)
            raise
        finally:
            parts.close()
        pieces.passed_to(session)

    def recv_streaming(self: Any, *args: Any, **options: Any) -> Any:
        session = self.__dict__.get(KEY)
        parts = original(self, *args, **options)
        return parts if session is None else frames(self, session, parts)

    return recv_streaming


def _close(original: Any) -> Any:
    def close(self: Any, *args: Any, **options: Any) -> Any:
        if KEY not in self.__dict__:
            return original(self, *args, **options)
        code = self.close_code
        try:
            return original(self, *args, **options)
        finally:
            _closed(self, code)

    return close


def _ahandshake(original: Any) -> Any:
    async def handshake(self: Any, *args: Any, **options: Any) -> Any:
        result = await original(self, *args, **options)
        _opened(self, args, options)
        return result

    return handshake


def _asend(original: Any) -> Any:
    async def send(self: Any, message: Any, *args: Any, **options: Any) -> Any:
        session = self.__dict__.get(KEY)
        if session is None:
            return await original(self, message, *args, **options)
        turn = session.sends(message)
        try:
            return await original(self, message, *args, **options)
        except Exception as error:
            session.unsent(turn)
            _failed(self, error)
            raise

    return send


def _arecv(original: Any) -> Any:
    async def recv(self: Any, *args: Any, **options: Any) -> Any:
        session = self.__dict__.get(KEY)
        if session is None:
            return await original(self, *args, **options)
        try:
            message = await original(self, *args, **options)
        except Exception as error:
            _failed(self, error)
            raise
        session.received(message)
        return message

    return recv


def _arecv_streaming(original: Any) -> Any:
    async def frames(self: Any, session: Any, parts: AsyncGenerator[Any]) -> AsyncIterator[Any]:
        pieces = _Pieces()
        try:
            async for part in parts:
                pieces.add(part)
                yield part
        except Exception as error:
            _failed(self, error)
            raise
        finally:
            await parts.aclose()
        pieces.passed_to(session)

    def recv_streaming(self: Any, *args: Any, **options: Any) -> Any:
        session = self.__dict__.get(KEY)
        parts = original(self, *args, **options)
        return parts if session is None else frames(self, session, parts)

    return recv_streaming


def _aclose(original: Any) -> Any:
    async def close(self: Any, *args: Any, **options: Any) -> Any:
        if KEY not in self.__dict__:
            return await original(self, *args, **options)
        code = self.close_code
        try:
            return await original(self, *args, **options)
        finally:
            _closed(self, code)

    return close


_SYNC = dict(zip(_NAMES, (_handshake, _send, _recv, _recv_streaming, _close), strict=True))
_ASYNC = dict(zip(_NAMES, (_ahandshake, _asend, _arecv, _arecv_streaming, _aclose), strict=True))
