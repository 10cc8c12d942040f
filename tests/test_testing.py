"""Run the tests of a site that has just installed the app, as its developers do."""

from __future__ import annotations

import os
import sys
import tomllib
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from textwrap import dedent

import pytest

from tests.support.builders import capture, make_event, make_user
from tests.support.children import ROOT
from tests.support.threads import run_in_threads
from tests.support.waiting import run
from usage_tracking import AIUsageTracker, ai_usage, outbox, recorder, track_ai_usage
from usage_tracking.attribution.resolve import attribution
from usage_tracking.testing import captured_ai_usage

SETTINGS = """
import environ
from pathlib import Path

BASE_DIR = Path(__file__).parent
SECRET_KEY = "newcomer"
ROOT_URLCONF = "shop.urls"
STATIC_URL = "static/"
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "usage_tracking",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "usage_tracking.middleware.AIUsageMiddleware",
]
DATABASES = {"default": environ.Env().db("DATABASE_URL")}
LOGGING = {
    "version": 1,
    "handlers": {"file": {"class": "logging.FileHandler", "filename": BASE_DIR / "log"}},
    "loggers": {"ai_usage_tracker": {"handlers": ["file"], "level": "WARNING"}},
}
"""
SITE = """
import httpx2
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.urls import path
from usage_tracking import ai_section

ANSWER = {
    "id": "1",
    "object": "chat.completion",
    "model": "gpt-4o",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello!"}}],
    "usage": {"prompt_tokens": 150, "completion_tokens": 80, "total_tokens": 230},
}


def ask():
    transport = httpx2.MockTransport(lambda request: httpx2.Response(200, json=ANSWER))
    with httpx2.Client(transport=transport) as client:
        return client.post("https://api.openai.com/v1/chat/completions", json={"model": "gpt-4o"})


@ai_section("chat")
def chat(request):
    User.objects.count()
    ask()
    return HttpResponse("Hello!")


urlpatterns = [path("chat/", chat)]
"""
TESTS = """
from decimal import Decimal

import requests
from django.contrib.auth.models import User
from django.test import LiveServerTestCase, SimpleTestCase, TestCase, TransactionTestCase
from usage_tracking.models import AIUsageLog, AIUsageTracking
from usage_tracking.testing import captured_ai_usage

from shop.urls import ask


class SimpleTests(SimpleTestCase):
    def test_call(self):
        self.assertEqual(ask().status_code, 200)

    def test_calls_are_seen(self):
        with captured_ai_usage() as calls:
            ask()
        (call,) = calls
        self.assertEqual((call.section, call.user_id, call.model_name), ("other", None, "gpt-4o"))
        self.assertEqual((call.prompt_tokens, call.completion_tokens), (150, 80))
        self.assertEqual(call.cost, Decimal("0.001175"))


class ViewTests(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.ada = User.objects.create_user("ada")
        ask()

    def test_view_makes_its_own_queries_only(self):
        for _ in range(2):
            with self.assertNumQueries(1):
                self.client.get("/chat/")

    def test_rows_are_there(self):
        self.client.force_login(self.ada)
        self.client.get("/chat/")
        self.assertEqual(AIUsageLog.objects.count(), 2)
        log = AIUsageLog.objects.get(user=self.ada)
        self.assertEqual((log.section, log.total_tokens), ("chat", 230))
        self.assertEqual(AIUsageTracking.objects.get().total_requests, 1)

    async def test_asynchronous_client(self):
        await self.async_client.get("/chat/")
        self.assertEqual(await AIUsageLog.objects.acount(), 2)


class TransactionTests(TransactionTestCase):
    def test_rows_are_there(self):
        self.client.get("/chat/")
        self.assertEqual(AIUsageLog.objects.count(), 1)

    test_again = test_rows_are_there


class LiveTests(LiveServerTestCase):
    def test_rows_are_there(self):
        self.assertEqual(requests.get(f"{self.live_server_url}/chat/").text, "Hello!")
        self.assertEqual(AIUsageLog.objects.get().section, "chat")
"""
PYTEST_TESTS = """
import pytest
from asgiref.sync import sync_to_async
from django.db import connections
from usage_tracking.models import AIUsageLog

from shop.urls import ask


def test_call_without_a_database():
    ask()


def test_fixture_needs_no_database(ai_usage_calls):
    assert ai_usage_calls == []
    ask()
    assert [call.total_tokens for call in ai_usage_calls] == [230]


@pytest.mark.django_db
def test_view_makes_its_own_queries_only(client, django_assert_num_queries, ai_usage_calls):
    with django_assert_num_queries(1):
        client.get("/chat/")
    assert [call.section for call in ai_usage_calls] == ["chat"]


def test_rows_are_there(admin_client, admin_user):
    admin_client.get("/chat/")
    assert AIUsageLog.objects.get().user == admin_user


@pytest.mark.django_db
async def test_asynchronous_client(async_client, transactional_db):
    await async_client.get("/chat/")
    assert await AIUsageLog.objects.acount() == 1
    await sync_to_async(connections.close_all)()  # of the thread that made the queries


@pytest.mark.django_db
def test_live_server(live_server):
    import requests

    requests.get(f"{live_server.url}/chat/")
    assert AIUsageLog.objects.count() == 1
"""


def newcomer(directory: Path, database_url: str, *command: str) -> str:
    """Create a site in `directory`, run the command there and return its output."""
    files = {
        "shop/__init__.py": "",
        "shop/settings.py": SETTINGS,
        "shop/urls.py": SITE,
        "shop/tests.py": TESTS,
        "shop/test_pytest.py": PYTEST_TESTS,
        "pytest.ini": "[pytest]\nDJANGO_SETTINGS_MODULE = shop.settings\nasyncio_mode = auto\n"
        "asyncio_default_fixture_loop_scope = function\n",
    }
    for name, content in files.items():
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_text(dedent(content))
    environment = {
        "DJANGO_SETTINGS_MODULE": "shop.settings",
        "DATABASE_URL": database_url,
        "PYTHONPATH": os.pathsep.join((str(directory), str(ROOT))),
    }
    ended = run([sys.executable, *command], cwd=directory, env=os.environ | environment)
    printed = f"{ended.stdout}{ended.stderr}"
    assert ended.returncode == 0, printed
    assert (directory / "shop" / "log").read_text() == "", "no line of ours"
    return printed


@pytest.mark.server
@pytest.mark.process
@pytest.mark.parametrize("options", [(), ("--parallel=2",), ("--shuffle", "--keepdb")])
def test_newcomer_runs_manage_py_test(
    tmp_path: Path, empty_database_url: str, options: tuple[str, ...]
) -> None:
    printed = newcomer(
        tmp_path, empty_database_url, "-m", "django", "test", "shop", "--noinput", *options
    )

    assert "Ran 8 tests" in printed


@pytest.mark.server
@pytest.mark.process
def test_newcomer_runs_pytest(tmp_path: Path, empty_database_url: str) -> None:
    # An installed package has the plugin through its entry point.
    printed = newcomer(
        tmp_path,
        empty_database_url,
        *("-m", "pytest", "-p", "usage_tracking.contrib.pytest", "-p", "no:cacheprovider"),
        *("-W", "error", "shop/test_pytest.py", "shop/tests.py"),
    )

    assert "14 passed" in printed


def test_package_offers_the_plugin() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (plugin,) = project["entry-points"]["pytest11"].values()

    assert hasattr(import_module(plugin), "ai_usage_calls")


@pytest.mark.process
def test_plugin_costs_a_run_without_django_nothing(tmp_path: Path) -> None:
    (tmp_path / "test_plain.py").write_text(
        "import sys\n"
        "def test_nothing_is_imported():\n"
        "    ours = [name for name in sys.modules if name.startswith('usage_tracking.')]\n"
        "    assert ours == ['usage_tracking.contrib', 'usage_tracking.contrib.pytest']\n"
        "    assert 'django' not in sys.modules\n"
    )
    ended = run(
        [
            *(sys.executable, "-m", "pytest", "-p", "usage_tracking.contrib.pytest"),
            *("-p", "no:django", "-p", "no:schemathesis", "-p", "no:cacheprovider"),
            "test_plain.py",
        ],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )

    assert ended.returncode == 0, ended.stdout + ended.stderr


class TestCaptured:
    def test_calls_are_listed_as_soon_as_they_end(self):
        with captured_ai_usage() as calls:
            assert calls == []
            capture(model_name="gpt-4o", user_id="7", username="ada")
            assert [(call.user_id, call.cost) for call in calls] == [("7", Decimal("0.001175"))]
            run_in_threads(lambda: capture(section="thread", prompt_tokens=None))
        capture()

        assert [(call.section, call.prompt_tokens) for call in calls] == [
            ("other", 150),
            ("thread", None),
        ]

    @pytest.mark.django_db
    def test_later_data_replaces_the_call(self):
        user = make_user()
        with ai_usage("chat"):
            capture(section="before")
            with captured_ai_usage() as calls:
                first = capture(prompt_tokens=None, completion_tokens=None, cost=None)
                capture(section="second", prompt_tokens=1)
                track_ai_usage(user, "rag_pipeline", 150, 80)
                assert [(c.section, c.username, c.total_tokens) for c in calls] == [
                    ("rag_pipeline", "ada", 230),
                    ("second", "", 81),
                ]
                end = make_event(id=first.id, prompt_tokens=1000, completes=True)
                recorder.complete(end, attribution(), "")
                assert (calls[0].total_tokens, calls[0].section) == (1080, "rag_pipeline")

    @pytest.mark.django_db
    def test_manually_recorded_calls_are_listed(self):
        user = make_user()
        with captured_ai_usage() as calls:
            track_ai_usage(user, "chat", 1, 2)
            with AIUsageTracker(user, "other") as tracker:
                tracker.set_tokens(3, 4)
            with ai_usage("rag_pipeline", user=user) as usage:
                usage.record(prompt_tokens=5)

        assert [(call.section, call.total_tokens) for call in calls] == [
            ("chat", 3),
            ("other", 7),
            ("rag_pipeline", 5),
        ]
        assert {call.user_id for call in calls} == {str(user.pk)}

    def test_blocks_nest(self):
        with captured_ai_usage() as outer:
            capture()
            with captured_ai_usage() as inner:
                capture()
        assert (len(outer), len(inner)) == (2, 1)
        assert recorder.listeners == []

    def test_disabled_tracking_lists_nothing(self, settings):
        settings.AI_USAGE_ENABLED = False
        with captured_ai_usage() as calls:
            capture()

        assert calls == []
        assert outbox.get() is not None
