"""Only the admin, the API and `contrib` need optional apps of Django or of other packages."""

from __future__ import annotations

from pathlib import Path

import pytest

from project.stub import StubProvider
from tests.smallest import BROWSABLE_API, CALL, SITES, make_smallest_site, python
from tests.support.sites import manage

pytestmark = [pytest.mark.process, pytest.mark.one_database]


@pytest.mark.server
@pytest.mark.parametrize(
    "more",
    [site if not SITES[site] else pytest.param(site, marks=pytest.mark.costly) for site in SITES],
)
def test_smallest_site_migrates_tracks_and_passes_its_checks(
    tmp_path: Path, empty_database_url: str, more: str
):
    env = make_smallest_site(tmp_path, empty_database_url, SITES[more])
    ended = [
        manage(*command.split(), env=env, directory=tmp_path)
        for command in ("migrate -v 0", "check --database default", "makemigrations --check")
    ]
    assert [(code, err) for code, _, err in ended] == [(0, "")] * 3

    with StubProvider() as stub:
        assert python(CALL % stub.openai_url, env, tmp_path) == "ada 1\n"

    diagnosed = manage("diagnose_ai_usage", "--skip-sdks", env=env, directory=tmp_path)
    assert (diagnosed.code, diagnosed.err) == (0, ""), diagnosed.out
    today = manage("usage_today", env=env, directory=tmp_path)
    assert (today.code, today.err) == (0, "")
    assert "ada" in today.out


def test_modules_outside_admin_and_api_import_no_optional_app(
    tmp_path: Path, empty_database_url: str
):
    env = make_smallest_site(tmp_path, empty_database_url)

    printed = python(
        """
        import importlib, sys
        from pathlib import Path
        import django
        django.setup()
        import usage_tracking

        package = Path(usage_tracking.__file__).parent
        for path in package.rglob("*.py"):
            parts = path.relative_to(package).with_suffix("").parts
            # Their names say what they need.
            if parts[0] not in {"admin", "api", "jobs", "contrib"}:
                importlib.import_module(".".join(("usage_tracking", *parts)))
        names = ("admin", "messages", "sessions", "sites", "staticfiles", "humanize")
        for name in [*(f"django.contrib.{name}" for name in names), "rest_framework",
                     "django_filters", "drf_spectacular", "import_export", "celery", "rich",
                     "prometheus_client"]:
            if name in sys.modules:
                print(name)
        import usage_tracking.contrib.import_export
        print("django.contrib.admin" in sys.modules)
        """,
        env,
        tmp_path,
    )

    assert printed == "False\n"


def test_pages_of_a_site_without_an_admin_are_shown(tmp_path: Path, empty_database_url: str):
    env = make_smallest_site(tmp_path, empty_database_url, BROWSABLE_API)

    printed = python(
        """
        import django
        django.setup()
        from django.contrib.auth.models import User
        from django.core.management import call_command
        from django.urls import resolve
        from rest_framework.test import APIRequestFactory, force_authenticate

        call_command("migrate", verbosity=0)
        root = User.objects.create_superuser("root")
        for path in (
            "/api/v1/ai/usage/logs/",
            "/api/v1/ai/usage/logs/stats/",
            "/api/v1/ai/usage/logs/global/",
            "/api/v1/ai/usage/stats/",
            "/api/v1/ai/usage/global/",
            "/usage/",
        ):
            request = APIRequestFactory().get(path, HTTP_ACCEPT="text/html")
            request.user = root
            force_authenticate(request, root)
            match = resolve(path)
            response = match.func(request, *match.args, **match.kwargs)
            if hasattr(response, "render"):
                response.render()
            print(response.status_code, "<html" in response.content.decode())
        """,
        env,
        tmp_path,
    )

    assert printed == "200 True\n" * 6
