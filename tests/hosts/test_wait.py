"""`AI_USAGE_WAIT`: when a response ends, its calls are in the database.

The platform can then remove the process and its disk without a loss.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from textwrap import dedent

import httpx
import pytest
from django.contrib.auth.models import User
from django.db import connection

from tests.hosts.test_hosts import cookie, env, locked, site, stub, visit
from tests.processes.conftest import Start, start
from tests.scenarios.servers import Server
from tests.support.comparison import attributed, rows
from tests.support.threads import blocks_another
from tests.support.waiting import PATIENCE, wait_until
from usage_tracking.models import AIUsageLog

__all__ = ["cookie", "env", "site", "start", "stub"]  # fixtures
pytestmark = [pytest.mark.costly, pytest.mark.server, pytest.mark.process]

#: Seconds, longer than any machine needs, so that no test depends on its speed.
LONG = {"SITE_WAIT": "60"}
sync_and_async = pytest.mark.parametrize(
    ("kind", "page"), [("gunicorn gthread", "plain"), ("uvicorn", "plain_async")]
)
PAGES = [
    ("gunicorn gthread", "plain"),
    ("gunicorn gthread", "who"),
    ("gunicorn gthread", "stream"),
    ("gunicorn sync", "plain"),
    ("uvicorn", "plain"),
    ("uvicorn", "plain_async"),
    ("uvicorn", "stream_async"),
    ("uvicorn", "loop"),
]


@pytest.mark.parametrize(("kind", "page"), PAGES)
def test_row_is_saved_when_the_response_has_ended(
    env: dict[str, str], cookie: str, kind: str, page: str
) -> None:
    with Server(kind, env | LONG) as server:
        for number in range(1, 6):
            headers = visit(server, page, cookie)[1]

            assert [attributed(row)[0] for row in rows()] == ["ada"] * number
        assert headers["Vary"] == ("Cookie" if page == "who" else None)
        assert headers["Set-Cookie"] is None


def test_row_is_saved_when_an_asgi_application_has_responded(env: dict[str, str]) -> None:
    User.objects.create(username="ada")
    with Server("uvicorn", env | LONG, asgi="tests.hosts.api:application") as server:
        for number in range(1, 6):
            httpx.get(server.url, timeout=PATIENCE).raise_for_status()

            assert [attributed(row)[0] for row in rows()] == ["ada"] * number


@sync_and_async
@pytest.mark.parametrize(
    "more",
    [
        pytest.param({}, id="immediate"),
        pytest.param({"DEFERRED": "yes"}, id="deferred", marks=pytest.mark.sqlite),
    ],
)
def test_each_of_many_users_finds_a_row(
    env: dict[str, str], cookie: str, kind: str, page: str, more: dict[str, str]
) -> None:
    """`DEFERRED` is Django's default for SQLite, where delivery gives way to open requests."""
    with Server(kind, env | LONG | more) as server:

        def look(_: int) -> int:
            answer = visit(server, page, cookie)[0]
            with closing(connection):
                return AIUsageLog.objects.filter(metadata__response_id=answer).count()

        with ThreadPoolExecutor(4) as executor:
            assert list(executor.map(look, range(40))) == [1] * 40


@pytest.mark.postgres
@sync_and_async
def test_page_without_a_call_does_not_wait_for_other_calls(
    env: dict[str, str], cookie: str, kind: str, page: str
) -> None:
    with Server(kind, env | LONG) as server, ThreadPoolExecutor(1) as executor:
        visit(server, page, cookie)
        with locked("ai_usage_log"):
            waits = executor.submit(visit, server, page, cookie)
            wait_until(blocks_another, awaited="a delivery that is locked out", seen=server.log)
            for _ in range(10):
                assert httpx.get(f"{server.url}/nowhere/", timeout=PATIENCE).status_code == 404
            assert not waits.done()

        assert waits.result(PATIENCE)[0].startswith("chatcmpl-")
        assert len(rows()) == 2


@pytest.mark.postgres
@sync_and_async
def test_response_does_not_wait_longer_and_the_row_follows(
    env: dict[str, str], cookie: str, kind: str, page: str
) -> None:
    with Server(kind, env | {"SITE_WAIT": "0.01"}) as server:
        with locked("ai_usage_log"):
            for _ in range(4):
                assert visit(server, page, cookie)[0].startswith("chatcmpl-")
        wait_until(lambda: len(rows()) == 4, awaited="the rows", seen=server.log)

        assert {attributed(row)[0] for row in rows()} == {"ada"}


BLOCKS = {
    "block": """
        with ai_usage(section="chat", user="ada"):
            ask()
    """,
    "block on a loop": """
        async def main():
            async with ai_usage(section="chat", user="ada"):
                await aask()
            await sync_to_async(tell)()

        asyncio.run(main())
    """,
    "generator": """
        @ai_usage(section="chat", user="ada")
        def parts():
            yield ask().id

        list(parts())
    """,
}


@pytest.mark.parametrize("block", BLOCKS)
def test_row_is_saved_when_a_block_ends(env: dict[str, str], start: Start, block: str) -> None:
    User.objects.create(username="ada")
    program = f"""
import asyncio
from asgiref.sync import sync_to_async
from tests.views import aask, ask
from usage_tracking import ai_usage, outbox
from usage_tracking.models import AIUsageLog

outbox.WAIT = 0.0  # the wait of each block

def tell():
    print(*AIUsageLog.objects.values_list("user__username", "section"))

{dedent(BLOCKS[block])}
tell()
"""
    printed = start("django", "shell", "-v", 0, "-c", program, env=env | LONG).end()

    assert printed.split("\n")[0] == "('ada', 'chat')"
