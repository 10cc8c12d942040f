"""HTTP server of the stub: sockets, chunks, compression, broken connections."""

from __future__ import annotations

import gzip
import json
import re
import socket
import sys
import threading
import zlib
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from project.stub.billing.bill import Bill
from project.stub.billing.keys import KeyRing
from project.stub.endpoints import PROVIDERS, make_endpoints
from project.stub.exchange import Part, Reply, Served
from project.stub.journal import Entry, Journal
from project.stub.orders import BadOrderError, Orders
from project.stub.replies import error_reply, orders_of, reply_to
from project.stub.requests import UnreadableError, object_of, read_body
from project.stub.wire import BadRequestError, Endpoint

_FRAGMENT_SIZES = (1, 2, 7, 3, 1, 5)


class StubProvider:
    """Run the stub on 127.0.0.1, in threads of this process.

    with StubProvider() as stub:
        client = OpenAI(base_url=stub.openai_url, api_key="anything")
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        pace: float = 0.0,
        keep: int | None = None,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        """Configure the stub; `start()` or `with` starts it.

        Args:
            host: Address to listen on.
            port: Port; 0 takes any free port.
            pace: Seconds between stream events.
            keep: Number of requests in the journal; None keeps all.
            clock: Returns the time of the journal, in UTC; by default the time.
        """
        self._address = (host, port)
        self._pace = pace
        self._journal = Journal(keep, clock)
        self._keys = KeyRing()
        #: The admin APIs, and what tests do to them.
        self.bill = Bill(self._journal, self._keys)
        self._server: _Server | None = None
        self._bound: tuple[str, int] | None = None

    def start(self) -> Self:
        """Start the server in a thread."""
        if self._server is None:
            self._server = _Server(self._address, self._journal, self._pace, self.bill, self._keys)
            host, port = self._server.server_address[:2]
            self._bound = (str(host), int(port))
            thread = threading.Thread(
                target=self._server.serve_forever,
                kwargs={"poll_interval": 0.02},
                name="stub-provider",
                daemon=True,
            )
            thread.start()
        return self

    def stop(self) -> None:
        """Stop the server, and close its connections."""
        if self._server is not None:
            self._server.shutdown()
            self._server.hang_up()
            self._server.server_close()
            self._server = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def host_port(self) -> str:
        """Host and port, also after `stop()`, for tests of an unreachable provider."""
        if self._bound is None:
            raise RuntimeError("The stub provider has not been started.")
        return f"{self._bound[0]}:{self._bound[1]}"

    @property
    def url(self) -> str:
        return f"http://{self.host_port}"

    @property
    def openai_url(self) -> str:
        return f"{self.url}/openai/v1"

    @property
    def anthropic_url(self) -> str:
        return f"{self.url}/anthropic"

    @property
    def google_url(self) -> str:
        return f"{self.url}/google"

    @property
    def openrouter_url(self) -> str:
        return f"{self.url}/openrouter/api/v1"

    @property
    def gateways(self) -> dict[str, str]:
        """Value of `AI_USAGE_GATEWAYS` for a site that uses this stub."""
        return {f"{self.host_port}/{prefix}": name for prefix, name in PROVIDERS.items()}

    @property
    def journal(self) -> list[Served]:
        """Served requests, oldest first."""
        return self._journal.served()

    def clear(self) -> None:
        """Clear the journal."""
        self._journal.clear()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256  # tests open many connections at once

    def __init__(
        self,
        address: tuple[str, int],
        journal: Journal,
        pace: float,
        bill: Bill,
        keys: KeyRing,
    ) -> None:
        self.journal, self.bill, self.keys = journal, bill, keys
        self.pace = pace
        self.ended = threading.Event()
        self.endpoints = make_endpoints()
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        # HTTPServer would resolve the name of this machine, which can take seconds.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """Close kept-alive connections; otherwise a stopped stub would still answer."""
        self.ended.set()
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            _drop(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that disconnected, and print other errors."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        path = address.path
        if answer := self.server.bill.answer(path, address.query, self.headers):
            self._send_body(answer.status, answer.body, answer.headers)
        elif path == "/journal":
            self._send_json(200, [_as_json(served) for served in self.server.journal.served()])
        elif path == "/":
            self._send_json(200, {"status": "ok", "journal": "/journal"})
        elif not self._serve(b""):
            self._send_json(404, {"error": {"message": f"The stub has no page at {path}"}})

    def do_DELETE(self) -> None:
        path = urlsplit(self.path).path
        if path == "/journal":
            self.server.journal.clear()
            self._send_json(200, [])
        else:
            self._send_json(404, {"error": {"message": f"The stub cannot delete {path}"}})

    def do_POST(self) -> None:
        try:
            body = read_body(self.headers, self.rfile)
        except UnreadableError as problem:
            self.close_connection = True
            self._send_json(problem.status, {"error": {"message": str(problem)}})
            return
        if not self._serve(body):
            path = urlsplit(self.path).path
            self._send_json(404, {"error": {"message": f"The stub has no API at {path}"}})

    def _serve(self, body: bytes) -> bool:
        """Answer as the provider of this path; return False if no provider has it."""
        address = urlsplit(self.path)
        found = _find(self.server.endpoints, self.command, address.path)
        if found is None:
            return False
        endpoint, match = found
        key = self.server.keys.sender(endpoint.provider, self.headers)
        entry = self.server.journal.open(address.path, endpoint.provider, endpoint.operation, key)
        try:
            given = object_of(body, self.headers.get("Content-Type", ""))
            question = endpoint.read(given, match, parse_qs(address.query))
            entry.asked(question)
            asked = self.server.journal.times_asked(address.path, question.prompt)
            orders = orders_of(endpoint, question, asked)
            reply = reply_to(endpoint, question, orders)
        except BadRequestError as problem:
            orders, reply = Orders(), error_reply(endpoint, problem.status, str(problem))
        except BadOrderError as problem:
            orders, reply = Orders(), error_reply(endpoint, 400, str(problem))
        entry.answering(reply)
        try:
            self._answer(entry, reply, orders)
        except OSError:
            # The client disconnected; the journal has what was sent.
            entry.completed(completed=False)
            self.close_connection = True
        return True

    def version_string(self) -> str:
        return "StubProvider"

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing, because the journal is the log."""

    def _answer(self, entry: Entry, reply: Reply, orders: Orders) -> None:
        if orders.delay:
            self.server.ended.wait(orders.delay)
            if self._client_disconnected():
                self.close_connection = True
                return
        if reply.streamed or orders.fragments:
            self._send_chunked(entry, reply, orders)
        else:
            self._send_plain(entry, reply, orders)

    def _send_plain(self, entry: Entry, reply: Reply, orders: Orders) -> None:
        (part,) = reply.parts
        wire = gzip.compress(part.data, mtime=0) if orders.gzip else part.data
        self._send_head(reply, orders, {"Content-Length": str(len(wire))})
        if orders.cut is None:
            entry.writing(wire, part)
            entry.completed(completed=True)
            self.wfile.write(wire)
            return
        half = wire[: len(wire) // 2] if orders.cut else b""
        entry.writing(half, Part(half))
        self.wfile.write(half)
        self._cut_off()

    def _send_chunked(self, entry: Entry, reply: Reply, orders: Orders) -> None:
        self._send_head(reply, orders, {"Transfer-Encoding": "chunked"})
        pace = self.server.pace if orders.pace is None else orders.pace
        compressor = zlib.compressobj(wbits=31) if orders.gzip else None
        for number, (part, last) in enumerate(_with_last(reply.parts)):
            if number == orders.cut:
                break
            if number and pace:
                self.server.ended.wait(pace)
            if self._client_disconnected():
                self.close_connection = True
                return
            wire = _compressed(compressor, part.data, last=last) if compressor else part.data
            entry.writing(wire, part)
            # Noted before the bytes are sent: see `Entry`. `cut` applies at the end too.
            whole = last and orders.cut is None
            entry.completed(completed=whole)
            self._write_chunks(wire, fragments=orders.fragments, end=whole)
        if orders.cut is not None:
            self._cut_off()

    def _write_chunks(self, wire: bytes, *, fragments: bool, end: bool) -> None:
        pieces = [_chunk(piece) for piece in (_fragments(wire) if fragments else (wire,))]
        if end:
            # Sent with the last bytes, because many clients disconnect after reading those.
            pieces[-1] += b"0\r\n\r\n"
        try:
            for piece in pieces:
                self.wfile.write(piece)
        except OSError:
            # They do not wait for the checksum of a compressed stream either.
            if not (end and fragments):
                raise
            self.close_connection = True

    def _send_head(self, reply: Reply, orders: Orders, framing: dict[str, str]) -> None:
        self.send_response(reply.status)
        if reply.content_type:
            self.send_header("Content-Type", reply.content_type)
        if reply.streamed:
            self.send_header("Cache-Control", "no-cache")
        if orders.gzip:
            self.send_header("Content-Encoding", "gzip")
        for name, value in {**reply.headers, **framing}.items():
            self.send_header(name, value)
        self.end_headers()

    def _send_json(self, status: int, value: object) -> None:
        self._send_body(status, json.dumps(value).encode(), {})

    def _send_body(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        framing = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        for name, header in {**headers, **framing}.items():
            self.send_header(name, header)
        self.end_headers()
        self.wfile.write(body)

    def _cut_off(self) -> None:
        self.close_connection = True
        _drop(self.connection)

    def _client_disconnected(self) -> bool:
        try:
            return not self.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False


def _find(
    endpoints: Iterable[Endpoint], method: str, path: str
) -> tuple[Endpoint, re.Match[str]] | None:
    for endpoint in endpoints:
        if endpoint.method == method and (match := endpoint.pattern.fullmatch(path)):
            return endpoint, match
    return None


def _with_last(parts: Iterable[Part]) -> Iterator[tuple[Part, bool]]:
    """Yield each part, and whether it is the last."""
    previous: Part | None = None
    for part in parts:
        if previous:
            yield previous, False
        previous = part
    if previous:
        yield previous, True


def _compressed(compressor: zlib._Compress, data: bytes, *, last: bool) -> bytes:
    # Flushed after every event, as a provider's proxy does, so that the client does not wait.
    flush = zlib.Z_FINISH if last else zlib.Z_SYNC_FLUSH
    return compressor.compress(data) + compressor.flush(flush)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _fragments(wire: bytes) -> Iterator[bytes]:
    at = turn = 0
    while at < len(wire):
        size = _FRAGMENT_SIZES[turn % len(_FRAGMENT_SIZES)]
        yield wire[at : at + size]
        at, turn = at + size, turn + 1


def _drop(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # already closed


def _as_json(served: Served) -> dict[str, Any]:
    body, moment = b64encode(served.body).decode(), served.served_at
    return {**asdict(served), "body": body, "served_at": moment and moment.isoformat()}
