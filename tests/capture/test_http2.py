"""Calls over HTTP/2, several of them at once on one connection."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from types import ModuleType

import h2.config
import h2.connection
import h2.events
import httpx
import httpx2
import pytest
from asgiref.sync import async_to_sync
from django.test import override_settings

from tests.capture.test_transports import ASKED, EVENTS, SSE_TYPE
from tests.support.comparison import only_row, rows
from usage_tracking import ai_usage

pytestmark = pytest.mark.django_db

libraries = pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])


class Server:
    """Answers every request with the same events, over HTTP/2 without TLS ("prior knowledge")."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.settimeout(0.02)
        self._over = threading.Event()
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}/v1/chat/completions"
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def stop(self) -> None:
        # Closed under a thread that is about to accept, its number could be another server's.
        self._over.set()
        self._accepting.join()
        self._listening.close()

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                connection, _ = self._listening.accept()
            except TimeoutError:
                continue
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        http.initiate_connection()
        with connection:
            connection.sendall(http.data_to_send())
            while data := connection.recv(65536):
                for event in http.receive_data(data):
                    if isinstance(event, h2.events.StreamEnded) and event.stream_id:
                        self._answer(http, event.stream_id)
                connection.sendall(http.data_to_send())

    @staticmethod
    def _answer(http: h2.connection.H2Connection, stream_id: int) -> None:
        http.send_headers(stream_id, [(":status", "200"), *SSE_TYPE.items()])
        for start in range(0, len(EVENTS), 50):
            http.send_data(stream_id, EVENTS[start : start + 50])
        http.end_stream(stream_id)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    with override_settings(AI_USAGE_GATEWAYS={server.url.split("/")[2]: "openai"}):
        yield server
    server.stop()


@libraries
def test_stream_is_recorded_and_passed_on(library: ModuleType, server: Server) -> None:
    with (
        library.Client(http1=False, http2=True, timeout=60) as client,
        ai_usage(section="chat"),
        client.stream("POST", server.url, json=ASKED) as response,
    ):
        taken = b"".join(response.iter_raw())

    assert (response.http_version, taken) == ("HTTP/2", EVENTS)
    assert only_row().total_tokens == 80


@libraries
def test_concurrent_calls_on_one_connection_are_distinguished(
    library: ModuleType, server: Server
) -> None:
    async def main() -> None:
        async with library.AsyncClient(http1=False, http2=True, timeout=60) as client:

            async def one(section: str) -> None:
                async with ai_usage(section=section):
                    response = await client.post(server.url, json=ASKED)
                    assert response.content == EVENTS

            await asyncio.gather(*(one(f"section {n}") for n in range(5)))

    async_to_sync(main)()

    assert sorted(row.section for row in rows()) == [f"section {n}" for n in range(5)]
    assert {row.total_tokens for row in rows()} == {80}
