"""Sites with tenants: each call goes to the tenant that made it, or nowhere.

The users of all tenants have the same key, so that a call which goes astray finds somebody.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import urllib.request
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from project.stub import StubProvider
from tests.children import ROOT
from tests.processes import conftest as processes
from tests.processes.conftest import environment
from tests.scenarios.servers import GUNICORN, SERVERS, Server
from tests.sites import manage
from tests.waiting import PATIENCE, run, wait_until

stub = processes.stub
pytestmark = [pytest.mark.server, pytest.mark.process]

SERVERS["gunicorn eight"] = (*GUNICORN, "--workers", "8")

Site = dict[str, str]
TENANTS = ("one", "two")
HOSTS = {"one": "one.localhost", "two": "two.localhost", "nobody": "127.0.0.1"}
USERS = {name: f"user of {name}" for name in HOSTS}


@pytest.fixture
def database_urls(new_database_url: Callable[[], str]) -> list[str]:
    """Of three databases without a table, on the server of the run."""
    return [new_database_url() for _ in HOSTS]


@pytest.fixture
def own_schemas(tmp_path: Path, database_urls: list[str], stub: StubProvider) -> Site:
    return environment(tmp_path, database_urls[0], stub) | {
        "DJANGO_SETTINGS_MODULE": "tests.tenants.schemas",
        "LAYOUT": "own",
    }


@pytest.fixture
def shared_schema(own_schemas: Site) -> Site:
    return own_schemas | {"LAYOUT": "shared"}


@pytest.fixture
def own_databases(tmp_path: Path, database_urls: list[str], stub: StubProvider) -> Site:
    first, second, default = database_urls
    return environment(tmp_path, default, stub) | {
        "DJANGO_SETTINGS_MODULE": "tests.tenants.databases",
        "DATABASE_URL_ONE": first,
        "DATABASE_URL_TWO": second,
    }


@pytest.fixture(
    params=[
        pytest.param("own_schemas", marks=pytest.mark.postgres),
        pytest.param("shared_schema", marks=pytest.mark.postgres),
        "own_databases",
    ]
)
def env(request: pytest.FixtureRequest) -> Site:
    if "schema" in request.param:
        pytest.importorskip("django_tenants", reason="it needs Django 5.2")
    given: Site = request.getfixturevalue(request.param)
    return given


def told(module: str, env: Site) -> Any:
    """What a module of this folder prints, as a process of the site."""
    ended = run([sys.executable, "-m", f"tests.tenants.{module}"], env=env, cwd=ROOT)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


@pytest.fixture
def sessions(env: Site) -> dict[str, str]:
    """By tenant, the session of its user."""
    found: dict[str, str] = told("prepare", env)
    return found


def visit(server: Server, page: str, tenant: str, session: str) -> int:
    request = urllib.request.Request(f"{server.url}/{page}/")
    request.add_header("Host", HOSTS[tenant])
    request.add_header("Cookie", f"sessionid={session}")
    with urllib.request.urlopen(request, timeout=PATIENCE) as response:
        return int(response.read())


def flush(env: Site) -> None:
    ended = manage("flush_ai_usage", env=env)
    assert ended.code == 0, ended


def rows(env: Site) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = told("told", env)
    return found


def expected(env: Site, counts: dict[str, int]) -> dict[str, list[Any]]:
    """`rows` after so many calls of each tenant."""
    if env.get("LAYOUT") == "shared":
        everything = sorted(([USERS[name], name, n] for name, n in counts.items()), key=str)
        return dict.fromkeys(HOSTS, everything)
    return {name: [[USERS[name], name, n]] if (n := counts.get(name)) else [] for name in HOSTS}


@pytest.mark.parametrize(
    ("name", "page"),
    [
        ("gunicorn gthread", "plain"),
        ("gunicorn gthread", "looked"),
        ("gunicorn gthread", "pool"),
        ("uvicorn", "plain"),
        ("uvicorn", "loop"),
    ],
)
@pytest.mark.costly
def test_each_call_goes_to_the_tenant_that_made_it(
    env: Site, sessions: dict[str, str], name: str, page: str
) -> None:
    with Server(name, env | ({"ASGI": "yes"} if name == "uvicorn" else {})) as server:
        for tenant, session in sessions.items():
            visit(server, page, tenant, session)
        wait_until(
            lambda: rows(env) == expected(env, dict.fromkeys(HOSTS, 1)),
            awaited="a row of each tenant",
            seen=lambda: f"{rows(env)}\n{server.log()}",
        )


@pytest.mark.costly
def test_no_call_is_lost_or_goes_astray_while_processes_are_killed(
    env: Site, sessions: dict[str, str]
) -> None:
    """Eight workers serve both tenants; they are killed, and others deliver what they left."""
    visits = [name for name in TENANTS for _ in range(200)]
    answered: Counter[str] = Counter()
    served = threading.Semaphore(0)

    def come(tenant: str) -> None:
        try:
            visit(server, "looked", tenant, sessions[tenant])
            answered[tenant] += 1
        except OSError:
            pass  # its worker was killed
        finally:
            served.release()

    with Server("gunicorn eight", env) as server, ThreadPoolExecutor(8) as pool:
        for tenant in visits:
            pool.submit(come, tenant)
        for number in range(len(visits)):
            assert served.acquire(timeout=PATIENCE), server.log()
            if number % 40 == 20:
                with suppress(ProcessLookupError):
                    os.kill(server.workers()[0], signal.SIGKILL)
                flush(env)
    flush(env)

    found = rows(env)
    if env.get("LAYOUT") == "shared":
        found = {name: [row for row in found["one"] if row[1] == name] for name in HOSTS}
    assert found["nobody"] == []
    for tenant in TENANTS:
        ((user, section, number),) = found[tenant]
        # A call may be recorded whose worker was killed before it answered its visitor.
        assert (user, section) == (USERS[tenant], tenant)
        assert answered[tenant] <= number <= visits.count(tenant)
        assert answered[tenant] > visits.count(tenant) / 2
