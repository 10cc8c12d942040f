"""The app imports no HTTP library into a site's process and no module in its own thread.

SDKs search `sys.modules` for optional HTTP libraries. While another thread imports one, they find
a partially initialized module, and the site's first call fails.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.smallest import make_smallest_site
from tests.support.sites import manage
from tests.support.waiting import PATIENCE, run

pytestmark = [pytest.mark.process, pytest.mark.one_driver]

THREAD = "ai_usage_delivery"
FOREIGN = {
    "aiohttp",
    "anyio",
    "botocore",
    "genai_prices",
    "httpcore",
    "httpcore2",
    "httpx",
    "httpx2",
    "pydantic",
    "requests",
    "truststore",
    "urllib3",
}
#: PostgreSQL's driver encodes the host name. The interpreter imports this codec at the first use,
#: and no library searches `sys.modules` for it.
OF_DRIVER = {"encodings.idna", "stringprep"}

# Makes no query, so that the first statement of the process is delivery's.
SITE = f"""
import json, sys, threading

class Imports:
    def find_spec(self, name, path=None, target=None):
        by_thread.setdefault(threading.current_thread().name, []).append(name)

by_thread = {{}}
sys.meta_path.insert(0, Imports())
import django
django.setup()
from usage_tracking import ai_usage, outbox
from usage_tracking.delivery import delivery
from usage_tracking.models import AIUsageLog

delivery.patience = lambda: {PATIENCE}
with ai_usage(section="chat") as usage:
    usage.record(
        model_name="gpt-4o", provider="openai", prompt_tokens=1000, completion_tokens=100
    )
delivery.wake(wait={PATIENCE})
modules = sorted(sys.modules)
rows = [] if "unmigrated" in sys.argv else list(AIUsageLog.objects.values_list("cost", flat=True))
print(json.dumps([by_thread, modules, [str(cost.normalize()) for cost in rows]]))
"""

WITHOUT_US = """
INSTALLED_APPS.remove("usage_tracking")
MIDDLEWARE = []
"""
MODULES = """
import json, sys, django
django.setup()
from django.core.wsgi import get_wsgi_application
from django.db import connection
from django.utils.timezone import get_default_timezone

get_wsgi_application()
get_default_timezone()  # as the first page does that shows a time
connection.ensure_connection()
print(json.dumps(sorted(sys.modules)))
"""


@pytest.fixture
def site(tmp_path: Path, empty_database_url: str) -> dict[str, str]:
    """The environment of a site's processes, with the time zones of the package tzdata."""
    return make_smallest_site(tmp_path, empty_database_url) | {"PYTHONTZPATH": ""}


def first_call(site: dict[str, str], directory: Path, *arguments: str) -> tuple[Any, ...]:
    """Make one call in a process; return imports by thread, modules, costs of rows, and log."""
    ended = run([sys.executable, "-c", SITE, *arguments], cwd=directory, env=os.environ | site)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return (*json.loads(ended.stdout), ended.stderr)


def test_delivery_of_the_first_call_imports_nothing(site: dict[str, str], tmp_path: Path):
    assert manage("migrate", "-v", "0", env=site, directory=tmp_path).code == 0

    by_thread, modules, costs, _ = first_call(site, tmp_path)

    assert costs == ["0.0035"]
    assert set(by_thread.get(THREAD, ())) <= OF_DRIVER
    assert FOREIGN.isdisjoint(modules)


def test_failing_delivery_imports_nothing(site: dict[str, str], tmp_path: Path):
    by_thread, modules, _, log = first_call(site, tmp_path, "unmigrated")

    assert "Delivery failed" in log
    assert set(by_thread.get(THREAD, ())) <= OF_DRIVER
    assert FOREIGN.isdisjoint(modules)


def test_wrapt_is_the_only_imported_third_party_package(
    site: dict[str, str], tmp_path: Path, empty_database_url: str
):
    manage("migrate", "-v", "0", env=site, directory=tmp_path)
    _, with_call, _, _ = first_call(site, tmp_path)
    with_app = modules(site, tmp_path)
    make_smallest_site(tmp_path, empty_database_url, WITHOUT_US)
    without = modules(site, tmp_path)

    assert third_party(with_app) - third_party(without) == {"usage_tracking", "wrapt"}
    assert third_party(with_call) - third_party(without) == {"usage_tracking", "wrapt"}
    assert {"django", "asgiref", "sqlparse"} <= third_party(without)


def modules(site: dict[str, str], directory: Path) -> list[str]:
    ended = run([sys.executable, "-c", MODULES], cwd=directory, env=os.environ | site)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return list(json.loads(ended.stdout))


def third_party(modules: list[str]) -> set[str]:
    """Return the third-party top-level packages of the modules."""
    return {name.partition(".")[0] for name in modules} - sys.stdlib_module_names


# A site with its own authentication. Its pages do not read their user.
VISITED = """
INSTALLED_APPS += ["django.contrib.sessions"]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "usage_tracking.middleware.AIUsageMiddleware",
]
AUTHENTICATION_BACKENDS = ["smallest_backend.Backend"]
ROOT_URLCONF = "smallest_page"
ALLOWED_HOSTS = ["testserver"]
"""
BACKEND = """
import http.cookiejar  # as the HTTP library of a single sign-on does
from django.contrib.auth.backends import ModelBackend

class Backend(ModelBackend):
    pass
"""
PAGE = """
from django.http import HttpResponse
from django.urls import path
from usage_tracking import ai_usage

def page(request):
    with ai_usage(section="chat") as usage:
        usage.record(model_name="gpt-4o", provider="openai", prompt_tokens=1000)
    return HttpResponse("answered")

urlpatterns = [path("", page)]
"""
VISIT = f"""
import json, sys, threading

class Imports:
    def find_spec(self, name, path=None, target=None):
        by_thread.setdefault(threading.current_thread().name, []).append(name)

by_thread = {{}}
sys.meta_path.insert(0, Imports())
from django.core.wsgi import get_wsgi_application
application = get_wsgi_application()
from wsgiref.util import setup_testing_defaults
environ = {{"HTTP_HOST": "testserver", "HTTP_COOKIE": "sessionid=" + sys.argv[1]}}
setup_testing_defaults(environ)
response = application(environ, lambda status, headers: None)
body = b"".join(response)
response.close()
from usage_tracking.delivery import delivery
from usage_tracking.models import AIUsageLog

delivery.wake(wait={PATIENCE})
print(json.dumps([by_thread, AIUsageLog.objects.get().user.username]))
"""
LOG_IN = """
import django
django.setup()
from django.contrib.auth.models import User
from django.test import Client

client = Client()
client.force_login(User.objects.create_user("ada"))
print(client.cookies["sessionid"].value)
"""


def test_delivery_that_resolves_a_user_imports_nothing(tmp_path: Path, empty_database_url: str):
    env = make_smallest_site(tmp_path, empty_database_url, VISITED) | {"PYTHONTZPATH": ""}
    (tmp_path / "smallest_backend.py").write_text(BACKEND)
    (tmp_path / "smallest_page.py").write_text(PAGE)
    assert manage("migrate", "-v", "0", env=env, directory=tmp_path).code == 0

    def python(code: str, *arguments: str) -> str:
        command = [sys.executable, "-c", code, *arguments]
        ended = run(command, cwd=tmp_path, env=os.environ | env)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout.strip()

    by_thread, user = json.loads(python(VISIT, python(LOG_IN)))

    assert user == "ada"
    assert set(by_thread.get(THREAD, ())) <= OF_DRIVER
