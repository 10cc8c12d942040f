"""Real servers of a site that nobody imagined: no page waits for us, and no call is misattributed.

Each page is visited by somebody logged in whom the page never looks at.
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
    """Waits until there is a row for the call of each of these."""

    def found() -> list[str | None]:
        return sorted((attributed(row)[0] for row in rows()), key=str)

    wait_until(
        lambda: found() == sorted(users, key=str),
        awaited=f"a row of each of {users}",
        seen=lambda: f"{found()}\n{server.log()}",
    )


@pytest.mark.parametrize("page", ["plain", "loop", "beside"])
def test_visitor_of_an_asgi_site_whom_nobody_looked_at_is_attributed(
    env: Site, cookie: str, stub: StubProvider, page: str
) -> None:
    with Server("uvicorn", env) as server:
        answer, headers = visit(server, page, cookie)

        assert answer.startswith("chatcmpl-")
        assert headers["Vary"] is None, "we looked at the session while the site still used it"
        wait_for_rows(server, "ada")


@pytest.mark.parametrize("pool", [False, True])
@pytest.mark.postgres
def test_child_of_a_view_leaves_the_connections_of_its_parent_alone(
    env: Site, cookie: str, pool: bool
) -> None:
    with Server("gunicorn gthread", env | ({"POOL": "yes"} if pool else {})) as server:
        for _ in range(20):
            assert visit(server, "fork", cookie)[0] == "True 0"

        # What the child could only find out over its parent's connection stays unknown.
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
def test_page_does_not_wait_for_the_table_of_its_visitor(
    env: Site, cookie: str, kind: str, table: str
) -> None:
    with Server(kind, env) as server:
        with locked(table):
            assert visit(server, "plain", cookie)[0].startswith("chatcmpl-")
            assert visit(server, "transaction", cookie)[0] == "written"

        wait_for_rows(server, "ada", "ada")
        assert Group.objects.count() == 2
