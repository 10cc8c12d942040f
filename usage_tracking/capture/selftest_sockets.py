"""Websockets in the self-test: one response through each library that opens them, and its server.

The server needs no library: https://www.rfc-editor.org/rfc/rfc6455. It speaks OpenAI's Realtime:
https://developers.openai.com/api/reference/resources/realtime/server-events
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from functools import partial
from http.server import BaseHTTPRequestHandler
from importlib import import_module
from importlib.util import find_spec
from typing import NamedTuple

from .selftest_answers import MODEL, REALTIME_DONE
from .selftest_sdks import Call

_CREATE = json.dumps({"type": "response.create"})
_TEXT, _CLOSE, _PING, _PONG = 0x1, 0x8, 0x9, 0xA
#: What the RFC appends to the key of a handshake.
_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def is_websocket(handler: BaseHTTPRequestHandler) -> bool:
    """Return whether a request asks for a websocket."""
    return "sec-websocket-key" in handler.headers


def serve_websocket(handler: BaseHTTPRequestHandler) -> None:
    """Accept a websocket, and answer each text message with a response, until it is closed."""
    key = handler.headers["sec-websocket-key"] + _GUID
    accepted = base64.b64encode(hashlib.sha1(key.encode(), usedforsecurity=False).digest())
    handler.wfile.write(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %b\r\n\r\n" % accepted
    )
    while (frame := _read_frame(handler)) is not None:
        opcode, payload = frame
        if opcode == _TEXT:
            _write_frame(handler, _TEXT, json.dumps(REALTIME_DONE).encode())
        elif opcode == _PING:
            _write_frame(handler, _PONG, payload)
        elif opcode == _CLOSE:
            _write_frame(handler, _CLOSE, payload)
            break


def _read_frame(handler: BaseHTTPRequestHandler) -> tuple[int, bytes] | None:
    """Return the opcode and the payload of a client's frame, None at the end of the connection."""
    head = handler.rfile.read(2)
    if len(head) < 2:
        return None
    length = head[1] & 0x7F
    if length == 126:
        (length,) = struct.unpack("!H", handler.rfile.read(2))
    mask = handler.rfile.read(4)
    masked = handler.rfile.read(length)
    return head[0] & 0x0F, bytes(byte ^ mask[n % 4] for n, byte in enumerate(masked))


def _write_frame(handler: BaseHTTPRequestHandler, opcode: int, payload: bytes) -> None:
    length = len(payload)
    size = struct.pack("!B", length) if length < 126 else struct.pack("!BH", 126, length)
    handler.wfile.write(bytes([0x80 | opcode]) + size + payload)


class SocketCall(NamedTuple):
    """One response over a websocket."""

    #: Name of the transport.
    transport: str
    call: Call
    #: The module without which the transport opens no websockets.
    module: str
    #: What tells the mode from that of a call over HTTP.
    kind: str = ""

    @property
    def is_possible(self) -> bool:
        """Whether what the call needs is installed."""
        return find_spec(self.module) is not None


def _address(url: str) -> str:
    return f"{url.replace('http', 'ws', 1)}/v1/realtime?model={MODEL}"


def _websockets(url: str) -> None:
    with import_module("websockets.sync.client").connect(_address(url)) as socket:
        socket.send(_CREATE)
        socket.recv()


async def _awebsockets(url: str) -> None:
    async with import_module("websockets.asyncio.client").connect(_address(url)) as socket:
        await socket.send(_CREATE)
        await socket.recv()


# Loading the authorities takes longer than the call, and it uses no TLS.
_HTTPX_OPTIONS = {"trust_env": False, "verify": False}


def _httpx_ws(url: str) -> None:
    with (
        import_module("httpx").Client(**_HTTPX_OPTIONS) as client,
        import_module("httpx_ws").connect_ws(_address(url), client) as socket,
    ):
        socket.send_text(_CREATE)
        socket.receive_text()


async def _ahttpx_ws(url: str) -> None:
    async with (
        import_module("httpx").AsyncClient(**_HTTPX_OPTIONS) as client,
        import_module("httpx_ws").aconnect_ws(_address(url), client) as socket,
    ):
        await socket.send_text(_CREATE)
        await socket.receive_text()


def _httpx2(url: str) -> None:
    with (
        import_module("httpx2").Client(**_HTTPX_OPTIONS) as client,
        client.websocket(_address(url)) as socket,
    ):
        socket.send_text(_CREATE)
        socket.receive_text()


async def _ahttpx2(url: str) -> None:
    async with (
        import_module("httpx2").AsyncClient(**_HTTPX_OPTIONS) as client,
        client.websocket(_address(url)) as socket,
    ):
        await socket.send_text(_CREATE)
        await socket.receive_text()


async def _aiohttp(url: str) -> None:
    async with (
        import_module("aiohttp").ClientSession() as session,
        session.ws_connect(_address(url)) as socket,
    ):
        await socket.send_str(_CREATE)
        await socket.receive()


def _websocket_client(url: str) -> None:
    socket = import_module("websocket").create_connection(_address(url), http_no_proxy=["*"])
    try:
        socket.send(_CREATE)
        socket.recv()
    finally:
        socket.close()


_HTTPX2 = partial(SocketCall, "httpx2", module="wsproto", kind="websocket")

SOCKET_CALLS = (
    SocketCall("websockets", _websockets, "websockets"),
    SocketCall("websockets", _awebsockets, "websockets"),
    SocketCall("httpx_ws", _httpx_ws, "httpx_ws"),
    SocketCall("httpx_ws", _ahttpx_ws, "httpx_ws"),
    _HTTPX2(_httpx2),
    _HTTPX2(_ahttpx2),
    SocketCall("aiohttp", _aiohttp, "aiohttp", "websocket"),
    SocketCall("websocket_client", _websocket_client, "websocket"),
)
