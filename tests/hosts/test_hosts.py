"""Real servers of an unusual site: no page waits for delivery and no call is misattributed.

A logged-in user visits each page, and the page does not read this user.
"""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection, transaction
from django.test import Client

from project.stub import StubProvider
from tests.processes import conftest as processes
from tests.scenarios.servers import Server
from tests.support.comparison import attributed, rows
from tests.support.waiting import PATIENCE, wait_until

stub, site = processes.stub, processes.site
pytestmark = [pytest.mark.costly, pytest.mark.server, pytest.mark.process]

Site = dict[str, str]


@pytest.fixture
def env(site: Site) -> Site:
    return site | {"DJANGO_SETTINGS_MODULE": "tests.hosts.settings"}


@pytest.fixture
def cookie(transactional_db: None) -> str:
    client = Client()
    client.force_login(User.objects.create_user("ada"))
    return client.cookies["sessionid"].value


def visit(server: Server, page: str, cookie: str) -> tuple[str, Any]:
    request = urllib.request.Request(f"{server.url}/{page}/")
    request.add_header("Cookie", f"sessionid={cookie}")
    with urllib.request.urlopen(request, timeout=PATIENCE) as response:
        return response.read().decode(), response.headers


def wait_for_rows(server: Server, *users: str | None) -> None:
    """Wait until each of these calls has a row."""

    def found() -> list[str | None]:
        return sorted((attributed(row)[0] for row in rows()), key=str)

    wait_until(
        lambda: found() == sorted(users, key=str),
        awaited=f"a row of each of {users}",
        seen=lambda: f"{found()}\n{server.log()}",
    )


@pytest.mark.parametrize("page", ["plain", "loop", "beside"])
def test_call_of_an_unread_user_on_an_asgi_site_is_attributed(
    env: Site, cookie: str, stub: StubProvider, page: str
) -> None:
    with Server("uvicorn", env) as server:
        answer, headers = visit(server, page, cookie)

        assert answer.startswith("chatcmpl-")
        assert headers["Vary"] is None, "the session was read while the site still used it"
        wait_for_rows(server, "ada")


@pytest.mark.parametrize("pool", [False, True])
@pytest.mark.postgres
def test_child_of_a_view_does_not_use_its_parents_connections(
    env: Site, cookie: str, pool: bool
) -> None:
    with Server("gunicorn gthread", env | ({"POOL": "yes"} if pool else {})) as server:
        for _ in range(20):
            assert visit(server, "fork", cookie)[0] == "True 0"

        # Data that requires the parent's connection stays unknown in the child.
        wait_for_rows(server, *["ada", None, None] * 20)


@contextmanager
def locked(table: str) -> Iterator[None]:
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        yield


@pytest.mark.postgres
@pytest.mark.parametrize("table", ["auth_user", "django_session"])
@pytest.mark.parametrize("kind", ["gunicorn gthread", "uvicorn"])
def test_page_does_not_wait_for_the_table_of_its_user(
    env: Site, cookie: str, kind: str, table: str
) -> None:
    with Server(kind, env) as server:
        with locked(table):
            assert visit(server, "plain", cookie)[0].startswith("chatcmpl-")
            assert visit(server, "transaction", cookie)[0] == "written"

        wait_for_rows(server, "ada", "ada")
        assert Group.objects.count() == 2
