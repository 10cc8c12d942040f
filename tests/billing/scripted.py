"""A server on 127.0.0.1 that answers as a test says, and remembers what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class Asked:
    """One request."""

    path: str
    params: dict[str, list[str]]
    headers: Message | Mapping[str, str]


@dataclass
class Reply:
    """One answer; a body that is not bytes is sent as JSON."""

    body: Any = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    #: Send this many bytes of the body only, and close.
    cut: int | None = None


Script = Callable[[Asked], "Reply | Any"]


class Scripted:
    """What the server answers; `script` may be replaced at any time."""

    def __init__(self, url: str, script: Script) -> None:
        self.url, self.script = url, script
        self.asked: list[Asked] = []

    def paths(self) -> list[str]:
        return [each.path for each in self.asked]


@contextmanager
def serve(script: Script) -> Iterator[Scripted]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    scripted = Scripted(f"http://127.0.0.1:{server.server_address[1]}", script)
    server.scripted = scripted
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield scripted
    finally:
        server.shutdown()
        server.server_close()
        thread.join(30)


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        url = urlsplit(self.path)
        scripted = self.server.scripted
        asked = Asked(url.path, parse_qs(url.query), self.headers)
        scripted.asked.append(asked)
        reply = scripted.script(asked)
        if not isinstance(reply, Reply):
            reply = Reply(reply)
        body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        self.send_response(reply.status)
        for name, value in {"Content-Length": str(len(body)), **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: reply.cut])

    def log_message(self, *args: object) -> None:
        """Keep the output of tests clean."""


def paged(key: str, buckets: list[Any], sizes: list[int]) -> list[dict[str, Any]]:
    """Return `buckets` as pages of these sizes; the rest is in the last one."""
    pages, start = [], 0
    for size in [*sizes, len(buckets)]:
        pages.append(buckets[start : start + size])
        start += size
    return [
        {
            "object": "page",
            "data": data,
            "has_more": number < len(pages),
            "next_page": f"{key}-{number}" if number < len(pages) else None,
        }
        for number, data in enumerate(pages, start=1)
    ]


def page_of(pages: list[dict[str, Any]], asked: Asked) -> dict[str, Any]:
    """Return the page that was asked for."""
    cursor = asked.params.get("page", [""])[0]
    return pages[int(cursor.rpartition("-")[2]) if cursor else 0]
