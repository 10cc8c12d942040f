"""websocket-client, whose package is `websocket`: `create_connection` and `WebSocketApp`.

All ways to read a message end in `recv_data_frame`, all ways to send one in `send`.
https://websocket-client.readthedocs.io/en/latest/core.html
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from ..errors import contained
from ..system.patching import is_patched, patch, unpatch
from .sockets import KEY, error_of, open_session

# https://www.rfc-editor.org/rfc/rfc6455#section-5.2
_TEXT, _BINARY, _CLOSE = 1, 2, 8


def hook(module: ModuleType, _transport: str) -> None:
    """Hook websocket-client."""
    for name, make in _HOOKS.items():
        patch(module.WebSocket, name, make)


def unhook(module: ModuleType) -> None:
    """Remove the hooks."""
    for name in _HOOKS:
        unpatch(module.WebSocket, name)


def is_hooked(module: ModuleType) -> bool:
    """Return whether every hook is in place."""
    return all(is_patched(module.WebSocket, name) for name in _HOOKS)


@contained
def _opened(socket: Any, url: str, options: dict[str, Any]) -> None:
    parts = urlsplit(url)
    session = open_session(
        "websocket_client",
        parts.hostname or "",
        parts.port,
        parts.path,
        parts.query,
        partial(_header, options),
    )
    socket.__dict__[KEY] = session  # of the latest connection: the object can be used again


def _header(options: dict[str, Any], name: str) -> str:
    if name == "sec-websocket-protocol":
        return ",".join(options.get("subprotocols") or ())
    given = options.get("header") or ()
    lines = given.items() if isinstance(given, Mapping) else (one.split(":", 1) for one in given)
    return ",".join(value for found, value in lines if found.strip().lower() == name)


@contained
def _received(socket: Any, opcode: int, frame: Any) -> None:
    session, data = socket.__dict__[KEY], frame.data
    if opcode == _CLOSE:
        session.closed(error_of(int.from_bytes(data[:2], "big")))
    elif opcode in {_TEXT, _BINARY}:
        session.received(data if isinstance(data, str) else bytes(data))


@contained
def _failed(socket: Any, error: Exception) -> None:
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if kinds & {"WebSocketConnectionClosedException", "ConnectionError"}:
        socket.__dict__[KEY].closed(error)


def _connect(original: Any) -> Any:
    def connect(self: Any, url: str, **options: Any) -> Any:
        result = original(self, url, **options)
        _opened(self, url, options)
        return result

    return connect


def _send(original: Any) -> Any:
    def send(self: Any, payload: Any, opcode: int = _TEXT) -> Any:
        session = self.__dict__.get(KEY)
        if session is None or opcode not in {_TEXT, _BINARY}:
            return original(self, payload, opcode)
        turn = session.sends(payload)
        try:
            return original(self, payload, opcode)
        except Exception as error:
            session.unsent(turn)
            _failed(self, error)
            raise

    return send


def _receive(original: Any) -> Any:
    def recv_data_frame(self: Any, *args: Any, **options: Any) -> Any:
        if self.__dict__.get(KEY) is None:
            return original(self, *args, **options)
        try:
            opcode, frame = original(self, *args, **options)
        except Exception as error:
            _failed(self, error)
            raise
        _received(self, opcode, frame)
        return opcode, frame

    return recv_data_frame


def _end(original: Any) -> Any:
    def end(self: Any, *args: Any, **options: Any) -> Any:
        try:
            return original(self, *args, **options)
        finally:
            if session := self.__dict__.get(KEY):
                session.closed()

    return end


_HOOKS = {
    "connect": _connect,
    "send": _send,
    "recv_data_frame": _receive,
    "close": _end,
    "shutdown": _end,
}
