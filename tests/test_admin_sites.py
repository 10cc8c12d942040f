"""The admin and the own page on sites with other settings."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent, indent

import pytest

from tests.support.children import ROOT, run_python

URLS = """
from django.contrib import admin
from django.urls import include, path
urlpatterns = [path("admin/", admin.site.urls), path("usage/", include("usage_tracking.urls"))]
"""
#: Opens each page as a superuser with a call, and prints a line if all pages show it.
VISIT = """
from django.test import Client
from usage_tracking.models import AIUsageLog, AIUsageTracking, today
client = Client()
client.force_login(ada)
log, day = AIUsageLog.objects.get(), AIUsageTracking.objects.get()
logs, days = "/admin/usage_tracking/aiusagelog/", "/admin/usage_tracking/aiusagetracking/"
for page in (
    logs,
    f"{logs}?user={ada.pk}",
    f"{logs}?start_date={today()}&end_date={today()}",
    f"{logs}?q=ada@",
    f"{logs}{log.pk}/change/",
    f"{logs}dashboard/",
    "/admin/usage_tracking/aiusagedashboard/",
    f"/admin/usage_tracking/aiusagedashboard/?user={ada.pk}&start_date={today()}",
    f"/admin/usage_tracking/aiusagedashboard/?user=ada@example.com&all=users",
    days,
    f"{days}?q=ada@",
    f"{days}{day.pk}/change/",
):
    answer = client.get(page)
    assert (answer.status_code, "ada@example.com" in answer.content.decode()) == (200, True), page
assert client.get(f"{logs}?user=no-key").status_code == 302
hours = f"{logs}dashboard/?start_date={today()}&end_date={today()}&stack=model"
assert sum(bool(x.parts) for x in client.get(hours).context["report"].columns) == 1
for name in ("csv", "xlsx", "json"):
    content = b"".join(client.get(f"{logs}export/{name}/").streaming_content)
    assert name == "xlsx" or b"ada@example.com" in content
assert "Customer Chat" in client.get("/usage/").content.decode()
print("all seen")
"""


@pytest.mark.one_driver
def test_custom_user_with_a_uuid_key(tmp_path: Path, empty_database_url: str):
    (tmp_path / "site_urls.py").write_text(URLS)
    printed = run_python(
        tmp_path,
        dedent("""
        from django.contrib.auth import get_user_model
        from django.core.management import call_command
        from django.test.utils import setup_test_environment
        setup_test_environment()
        call_command("migrate", verbosity=0)
        from usage_tracking import track_ai_usage
        User = get_user_model()
        User.is_staff = User.is_superuser = True
        User.has_perm = User.has_module_perms = lambda *args: True
        ada = User.objects.create(email="ada@example.com")
        track_ai_usage(ada, "chat", 1, 2)
        """)
        + VISIT,
        settings="""
        AUTH_USER_MODEL = "customuser.User"
        INSTALLED_APPS = [
            "django.contrib.admin",
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.messages",
            "django.contrib.sessions",
            "django.contrib.staticfiles",
            "tests.customuser",
            "usage_tracking",
        ]
        ROOT_URLCONF = "site_urls"
        """,
        DATABASE_URL=empty_database_url,
    )

    assert printed == "all seen\n"


@pytest.mark.one_driver
def test_site_without_time_zones(tmp_path: Path, database_url: str):
    """The local day is ahead of the setting's day in one zone, and behind it in the other."""
    printed = run_python(
        tmp_path,
        dedent("""
        from django.contrib.auth.models import User
        from django.test import override_settings
        from django.test.utils import setup_test_environment
        from usage_tracking import track_ai_usage
        setup_test_environment()

        def visit():
            ada = User.objects.create_superuser("ada@example.com")
            track_ai_usage(ada, "chat", 1, 2)
        """)
        + indent(VISIT, "    ")
        + dedent("""
            AIUsageLog.objects.all().delete()
            ada.delete()

        visit()
        with override_settings(TIME_ZONE="America/Los_Angeles"):
            visit()
        """),
        settings="""
        USE_TZ = False
        TIME_ZONE = "Pacific/Auckland"
        AI_USAGE_DAY_TIMEZONE = "Asia/Tokyo"
        """,
        DATABASE_URL=database_url,
    )

    assert printed == "all seen\nall seen\n"


@pytest.mark.one_driver
def test_custom_columns_as_documented(tmp_path: Path, database_url: str):
    documented = (ROOT / "docs" / "admin.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", documented, re.DOTALL | re.MULTILINE)
    (example,) = [block for block in blocks if "TeamResource" in block]
    printed = run_python(
        tmp_path,
        example
        + dedent("""
        from django.contrib.auth.models import User
        from django.test import Client
        from django.test.utils import setup_test_environment
        setup_test_environment()
        AIUsageLog.objects.create(section="chat", metadata={"team": "blue"})
        client = Client()
        client.force_login(User.objects.create_superuser("root"))
        answer = client.get("/admin/usage_tracking/aiusagelog/export/csv/")
        titles, row = b"".join(answer.streaming_content).decode("utf-8-sig").splitlines()
        print(dict(zip(titles.split(","), row.split(",")))["team"])
        """),
        DATABASE_URL=database_url,
    )

    assert printed == "blue\n"
