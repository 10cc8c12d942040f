"""Sites with tenants: each call is recorded for its tenant only.

The users of all tenants have the same key, so that a misdirected call would find a user.
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
from textwrap import dedent
from typing import Any

import pytest

from project.stub import StubProvider
from tests.processes import conftest as processes
from tests.processes.conftest import environment
from tests.scenarios.servers import GUNICORN, SERVERS, Server
from tests.support.children import ROOT, make_site
from tests.support.sites import manage
from tests.support.waiting import PATIENCE, run, wait_until

stub = processes.stub
pytestmark = [pytest.mark.server, pytest.mark.process, pytest.mark.costly]

SERVERS["gunicorn eight"] = (*GUNICORN, "--workers", "8")

Site = dict[str, str]
TENANTS = ("one", "two")
HOSTS = {"one": "one.localhost", "two": "two.localhost", "nobody": "127.0.0.1"}
USERS = {name: f"user of {name}" for name in HOSTS}


@pytest.fixture
def database_urls(new_database_url: Callable[[], str]) -> list[str]:
    """DATABASE_URL of three databases without tables on the test server."""
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


def run_module(module: str, env: Site) -> Any:
    """Run a module of this folder as a process of the site and return its output."""
    ended = run([sys.executable, "-m", f"tests.tenants.{module}"], env=env, cwd=ROOT)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


@pytest.fixture
def sessions(env: Site) -> dict[str, str]:
    """The session of each tenant's user."""
    found: dict[str, str] = run_module("prepare", env)
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
    found: dict[str, list[Any]] = run_module("usage", env)
    return found


def expected(env: Site, counts: dict[str, int]) -> dict[str, list[Any]]:
    """Return the expected `rows` after these numbers of calls by tenant."""
    if env.get("LAYOUT") == "shared":
        everything = sorted(([USERS[name], name, n] for name, n in counts.items()), key=str)
        return dict.fromkeys(HOSTS, everything)
    return {name: [[USERS[name], name, n]] if (n := counts.get(name)) else [] for name in HOSTS}


@pytest.mark.parametrize(
    ("name", "pages"),
    [("gunicorn gthread", ["plain", "looked", "pool"]), ("uvicorn", ["plain", "loop"])],
)
def test_each_call_is_recorded_for_its_tenant(
    env: Site, sessions: dict[str, str], name: str, pages: list[str]
) -> None:
    with Server(name, env | ({"ASGI": "yes"} if name == "uvicorn" else {})) as server:
        for page in pages:
            for tenant, session in sessions.items():
                visit(server, page, tenant, session)
        wait_until(
            lambda: rows(env) == expected(env, dict.fromkeys(HOSTS, len(pages))),
            awaited="the rows of each tenant",
            seen=lambda: f"{rows(env)}\n{server.log()}",
        )


def test_bill_is_compared_with_the_log_of_one_tenant(env: Site, sessions: dict[str, str]) -> None:
    """The tenants share an account, so the bill is that of all."""
    with Server("gunicorn gthread", env) as server:
        for tenant in ("one", "two", "two"):
            visit(server, "plain", tenant, sessions[tenant])
    flush(env)

    shares = {tenant: reconciled(env, tenant) for tenant in TENANTS}

    if env.get("LAYOUT") == "shared":
        assert shares == {"one": (3, 3), "two": (3, 3)}
    else:
        assert shares == {"one": (3, 1), "two": (3, 2)}


def reconciled(env: Site, tenant: str) -> tuple[int, int]:
    """Return the requests that were billed and captured, as the command of a tenant says."""
    command = ["reconcile_ai_usage", "--json"]
    if "DATABASE_URL_ONE" in env:
        command += ["--database", tenant]
    elif env["LAYOUT"] == "own":
        command = ["tenant_command", *command, f"--schema={tenant}"]
    ended = manage(*command, env=env)
    assert ended.code == 0, ended
    (provider,) = json.loads(ended.out)["providers"]
    requests = provider["totals"]["requests"]
    return requests["billed"], requests["captured"]


@pytest.mark.postgres
def test_killed_processes_lose_and_misdirect_no_call(env: Site, sessions: dict[str, str]) -> None:
    """Eight workers serve both tenants and are killed. Others deliver their calls."""
    visits = [name for name in TENANTS for _ in range(100)]
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
            if number % 25 == 20:
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
        # A worker may be killed after it records a call and before it responds.
        assert (user, section) == (USERS[tenant], tenant)
        assert answered[tenant] <= number <= visits.count(tenant)
        assert answered[tenant] > visits.count(tenant) / 2


@pytest.mark.postgres
def test_sites_with_different_search_paths_do_not_share_calls(
    tmp_path: Path, database_urls: list[str]
) -> None:
    """Two sites share a database and a BASE_DIR, hence an outbox. Both have a user 1."""
    env = {}
    for name in TENANTS:
        (tmp_path / name).mkdir()
        options = f'DATABASES["default"]["OPTIONS"] = {{"options": "-c search_path={name}"}}'
        env[name] = make_site(
            tmp_path / name, f"{options}\nAI_USAGE_OUTBOX = {str(tmp_path / 'outbox')!r}\n"
        ) | {"DATABASE_URL": database_urls[0]}
        python(env[name], MIGRATE.format(name=name))
    for name in TENANTS:
        python(env[name], CALL_AND_DIE.format(name=name))

    flush(env["one"])
    assert python(env["one"], COUNT) == "[('one', 'user of one')]\n"
    assert python(env["two"], COUNT) == "[]\n"
    flush(env["two"])
    assert python(env["one"], COUNT) == "[('one', 'user of one')]\n"
    assert python(env["two"], COUNT) == "[('two', 'user of two')]\n"


def python(env: Site, code: str) -> str:
    prepared = f"import django; django.setup()\n{dedent(code)}"
    ended = run([sys.executable, "-c", prepared], env=env, cwd=ROOT)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


MIGRATE = """
from django.core.management import call_command
from django.db import connection
connection.cursor().execute("CREATE SCHEMA {name}")
call_command("migrate", verbosity=0)
from django.contrib.auth.models import User
User.objects.create(username="user of {name}")
"""
CALL_AND_DIE = """
import os
from django.contrib.auth.models import User
from tests.support.builders import make_event
from usage_tracking import outbox
from usage_tracking.events import utc_now
outbox.get().put(
    make_event(user=User.objects.get(), section="{name}", created_at=utc_now())
)
os._exit(0)
"""
COUNT = """
from usage_tracking.models import AIUsageLog
print(list(AIUsageLog.objects.values_list("section", "user__username")))
"""


def test_unavailable_database_of_a_tenant_delays_no_other_tenant(own_databases: Site) -> None:
    run_module("prepare", own_databases)
    rename = """
    from django.db import connections
    cursor = connections["one"].cursor()
    cursor.execute("ALTER TABLE {} RENAME TO {}")
    """
    python(own_databases, rename.format("ai_usage_log", "away"))
    python(own_databases, CALL_FOR_EACH)

    ended = manage("flush_ai_usage", env=own_databases)

    assert (ended.code, ended.out.partition("\n")[0]) == (1, "1 calls delivered"), ended
    assert (
        "1 calls stay in the outbox: the database or the schema of their tenant is not available"
    ) in ended.err
    python(own_databases, rename.format("away", "ai_usage_log"))
    assert rows(own_databases) == expected(own_databases, {"two": 1})
    flush(own_databases)
    assert rows(own_databases) == expected(own_databases, {"one": 1, "two": 1})


def test_site_whose_own_database_has_no_tables_serves_its_tenants(own_databases: Site) -> None:
    """The site's own database is not migrated, and a landing page makes calls."""
    run_module("prepare", own_databases)
    python(
        own_databases,
        """
        from django.db import connection
        connection.cursor().execute("ALTER TABLE ai_usage_log RENAME TO away")
        """,
    )
    python(own_databases, CALL_FOR_EACH.replace("for name in", "ask()\nfor name in"))

    ended = manage("flush_ai_usage", env=own_databases)

    assert (ended.code, ended.out.partition("\n")[0]) == (1, "2 calls delivered"), ended
    assert "1 calls stay in the outbox" in ended.err


CALL_FOR_EACH = """
import os
from django.contrib.auth.models import User
from tests.tenants.routing import active
from usage_tracking import outbox
from usage_tracking.recorder import record_manually
from usage_tracking.events import UsageEvent
from usage_tracking.usage import Usage
from usage_tracking.attribution.users import call_user_of
from usage_tracking.delivery.worker import Worker
Worker.start = lambda self: None
def ask():
    record_manually(UsageEvent.manual(usage=Usage(prompt_tokens=1), section="nobody"))
for name in ("one", "two"):
    with active(name):
        user = call_user_of(User.objects.get())
        record_manually(UsageEvent.manual(usage=Usage(prompt_tokens=1), section=name), user=user)
os._exit(0)
"""


def test_forgetting_the_user_of_a_tenant_keeps_the_users_of_others(own_databases: Site) -> None:
    run_module("prepare", own_databases)
    python(own_databases, CALL_FOR_EACH)
    python(
        own_databases,
        """
        from django.core.management import call_command
        from tests.tenants.routing import active
        with active("one"):
            call_command(
                "erase_ai_usage", "--user", "user of one", "--no-input", "--database", "one"
            )
        """,
    )

    flush(own_databases)

    found = rows(own_databases)
    assert found["one"] == [[None, "one", 1]]
    assert found["two"] == [[USERS["two"], "two", 1]]
