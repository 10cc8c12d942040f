"""A real server and real WebSockets: every call of a connection belongs to its user."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from django.contrib.auth.models import User
from django.test import Client

from tests.hosts import test_hosts as hosts
from tests.processes import conftest as processes
from tests.scenarios.servers import Server
from tests.support.comparison import attributed, rows
from tests.support.waiting import PATIENCE, wait_until

pytest.importorskip("channels")  # an optional dependency

from websockets.sync.client import ClientConnection, connect

stub, site, env = processes.stub, processes.site, hosts.env
pytestmark = [pytest.mark.costly, pytest.mark.server, pytest.mark.process]

SECTIONS = {"async": "chat", "sync": "knowledge_qa", "plain": "rag_pipeline"}


def cookie_of(name: str) -> str:
    client = Client()
    client.force_login(User.objects.create_user(name))
    return f"sessionid={client.cookies['sessionid'].value}"


def test_open_connections_are_recorded_per_message(env: hosts.Site, transactional_db: None) -> None:
    cookies = {"ada": cookie_of("ada"), "grace": cookie_of("grace"), None: ""}
    expected = sorted(((name, SECTIONS[page]) for page in SECTIONS for name in cookies), key=str)

    def found() -> list[tuple[str | None, str]]:
        return sorted((attributed(row) for row in rows()), key=str)

    with Server("uvicorn", env, asgi="tests.hosts.sockets:application") as server:

        def open_socket(page: str, cookie: str) -> ClientConnection:
            return connect(
                f"{server.url.replace('http', 'ws', 1)}/{page}/",
                additional_headers={"Cookie": cookie} if cookie else None,
                open_timeout=PATIENCE,
            )

        with ExitStack() as stack:
            sockets = [
                stack.enter_context(open_socket(page, cookie))
                for page in SECTIONS
                for cookie in cookies.values()
            ]
            for times in (1, 2):
                for socket in sockets:
                    socket.send("Hello")
                for socket in sockets:
                    assert str(socket.recv(PATIENCE)).startswith("chatcmpl-"), server.log()
                wait_until(
                    lambda times=times: found() == sorted(expected * times, key=str),
                    awaited=f"{times} rows of each connection while all are open",
                    seen=lambda: f"{found()}\n{server.log()}",
                )
