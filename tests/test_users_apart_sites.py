"""A site with a separate database for the usage tables, set up as in docs/scaling.md."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from project.stub import ADMIN_KEYS, StubProvider
from tests.routers import GUIDE
from tests.smallest import CALL, make_smallest_site, python
from tests.support.sites import manage

pytestmark = [
    pytest.mark.process,
    pytest.mark.server,
    pytest.mark.costly,
    pytest.mark.one_driver,
]

SETTINGS = """
DATABASES["usage"] = environ.Env().db("USAGE_URL")
DATABASE_ROUTERS = ["usage_router.UsageRouter"]
OPENAI_URL = environ.Env().str("OPENAI_URL", "")
AI_USAGE_GATEWAYS = {OPENAI_URL.partition("//")[2]: "openai"} if OPENAI_URL else {}
AI_USAGE_BILLING = {"openai": {"key": ADMIN_KEY, "base_url": OPENAI_URL}} if OPENAI_URL else {}
""".replace("ADMIN_KEY", repr(ADMIN_KEYS["openai"]))
DELETE = """
import django
django.setup()
from django.contrib.auth.models import User
from usage_tracking.models import AIUsageLog, AIUsageTracking

User.objects.get().delete()
print(AIUsageLog.objects.get().user, AIUsageTracking.objects.count())
"""


@pytest.mark.parametrize(
    ("users", "usage"),
    [
        ("server", "server"),
        pytest.param("server", "file", marks=pytest.mark.postgres),
        pytest.param("file", "server", marks=pytest.mark.postgres),
    ],
)
def test_site_is_set_up_tracks_and_passes_its_checks(
    tmp_path: Path, new_database_url: Callable[[], str], users: str, usage: str
):
    urls = {"server": new_database_url, "file": lambda: f"sqlite:///{tmp_path}/a.sqlite3"}
    (tmp_path / "usage_router.py").write_text(GUIDE)
    env = make_smallest_site(tmp_path, urls[users](), SETTINGS) | {"USAGE_URL": urls[usage]()}
    for command in ("migrate -v 0", "migrate -v 0 --database usage", "check --database usage"):
        ended = manage(*command.split(), env=env, directory=tmp_path)
        assert (ended.code, ended.err) == (0, ""), command

    with StubProvider() as stub:
        env["OPENAI_URL"] = stub.openai_url
        assert python(CALL % stub.openai_url, env, tmp_path) == "ada 1\n"
        reconciled = manage("reconcile_ai_usage", env=env, directory=tmp_path)
    assert (reconciled.code, reconciled.err) == (0, "")
    assert reconciled.out.startswith("OpenAI: the log has 100.0 % of 1 request and 100.0 % of ")
    assert "OpenAI: " in manage("reconcile_ai_usage", "--offline", env=env, directory=tmp_path).out

    diagnosed = manage("diagnose_ai_usage", "--skip-sdks", env=env, directory=tmp_path)
    assert (diagnosed.code, diagnosed.err) == (0, ""), diagnosed.out
    assert "ada" in manage("usage_today", env=env, directory=tmp_path).out
    assert python(DELETE, env, tmp_path) == "None 0\n"
