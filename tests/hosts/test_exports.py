"""Exports from real servers: a client can tell a file that is whole from one that is not."""

from __future__ import annotations

import csv
import http.client
import io
import socket

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client

from tests.processes import conftest as processes
from tests.scenarios.servers import Server
from tests.support.builders import make_log
from tests.support.waiting import PATIENCE
from usage_tracking.models import AIUsageLog

stub, site = processes.stub, processes.site
pytestmark = [pytest.mark.costly, pytest.mark.server, pytest.mark.process]

ROWS = 1_000
KINDS = ("gunicorn sync", "gunicorn gthread", "uvicorn")


@pytest.fixture
def env(site: dict[str, str]) -> dict[str, str]:
    return site | {"DJANGO_SETTINGS_MODULE": "tests.hosts.export_settings"}


@pytest.fixture
def cookie(transactional_db: None) -> str:
    # More than the buffers of two sockets hold.
    AIUsageLog.objects.bulk_create(
        [make_log(success=False, error_message="x" * 12_000) for _ in range(ROWS)]
    )
    client = Client()
    client.force_login(User.objects.create_superuser("ada"))
    return client.cookies["sessionid"].value


def request(
    server: Server, cookie: str, version: str = "1.1", **headers: str
) -> http.client.HTTPResponse:
    """Request a CSV export, and return the response with its body unread."""
    host, port = server.url.removeprefix("http://").split(":")
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
    client.settimeout(PATIENCE)
    client.connect((host, int(port)))
    lines = {"Host": f"{host}:{port}", "Cookie": f"sessionid={cookie}", **headers}
    text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    path = "/admin/usage_tracking/aiusagelog/export/csv/"
    client.sendall(f"GET {path} HTTP/{version}\r\n{text}\r\n".encode())
    response = http.client.HTTPResponse(client)
    client.close()  # the response has a file of it
    response.begin()
    return response


@pytest.mark.parametrize("kind", KINDS)
def test_client_can_tell_whether_the_file_is_whole(
    env: dict[str, str], cookie: str, kind: str
) -> None:
    with Server(kind, env) as server:
        with request(server, cookie) as whole:
            rows = list(csv.DictReader(io.StringIO(whole.read().decode("utf-8-sig"))))
        if connection.vendor == "postgresql":
            with request(server, cookie, Break="database") as failed:
                assert failed.status == 500
                assert "Content-Disposition" not in failed.headers
        # A proxy that speaks HTTP/1.0 sees no chunks, whose end would say that this is all.
        cut = [request(server, cookie, version) for version in ("1.0", "1.1")]
        for response in cut:
            assert response.status == 200
            assert response.headers["Content-Length"] == whole.headers["Content-Length"]
            response.read(1)

        server.kill()

        for response in cut:
            with pytest.raises((http.client.IncompleteRead, ConnectionError)), response:
                response.read()
    assert len(rows) == ROWS


def test_export_whose_worker_ends_has_no_answer(env: dict[str, str], cookie: str) -> None:
    with (
        Server("gunicorn sync", env) as server,
        pytest.raises((http.client.BadStatusLine, ConnectionError)),
    ):
        request(server, cookie, Break="worker")
