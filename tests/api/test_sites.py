"""The API on sites with other settings, each in its own process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.children import run_python

CUSTOM_USER = """
AUTH_USER_MODEL = "customuser.User"
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "tests.customuser",
    "usage_tracking",
]
MIDDLEWARE = []
ROOT_URLCONF = "usage_tracking.api.urls"
REST_FRAMEWORK = {}
ALLOWED_HOSTS = ["*"]
"""


def test_custom_user_with_another_key_and_no_permissions(tmp_path: Path, empty_database_url: str):
    """Without REST framework and django-filter in INSTALLED_APPS, which only HTML needs."""
    printed = run_python(
        tmp_path,
        """
        from django.contrib.auth import get_user_model
        from django.core.management import call_command
        from rest_framework.test import APIClient
        from usage_tracking.delivery import delivery

        call_command("migrate", verbosity=0)
        User = get_user_model()
        ada = User.objects.create(email="ada@example.com")
        bob = User.objects.create(email="bob@example.com")
        client = APIClient()
        client.force_authenticate(ada)
        row = client.post("/usage/logs/", {"section": "chat"}, format="json").json()
        delivery.deliver()  # SQLite before Django 5.1 delivers later
        print(row["user"] == str(ada.pk), row["user_username"], row["user_email"])
        print(client.get(f"/usage/logs/{row['id']}/").json() == row)
        for path in ("logs/", "logs/stats/", "logs/global/", "stats/", "global/"):
            answer = client.get(f"/usage/{path}")
            print(answer.status_code, answer.json().get("total_requests"))
        (line,) = client.get("/usage/report/", {"group_by": "user"}).json()["results"]
        print(line["user"] == str(ada.pk), line["username"], line["calls"])
        table = client.get("/usage/report/", {"group_by": "user", "format": "csv"})
        print(table.content.decode().splitlines()[1].startswith(f"{ada.pk},ada@example.com,"))
        for user in (ada.pk, bob.pk, "all"):
            print(client.get("/usage/report/", {"user": user}).status_code)
        keyed = {"section": "chat", "user": str(bob.pk), "idempotency_key": "a"}
        print(client.post("/usage/logs/", keyed, format="json").status_code)
        print(client.get("/").json()["report"])
        client.force_authenticate(bob)
        print(client.get("/usage/logs/").json()["count"])
        print(APIClient().get("/usage/logs/").status_code)

        from usage_tracking.reports import daily_rows_report, period_report
        from usage_tracking.models import today
        for report in (period_report, daily_rows_report):
            (line,) = report(today(), today()).top_users
            print(line.user_id == ada.pk, line.username, line.email)
        """,
        settings=CUSTOM_USER,
        DATABASE_URL=empty_database_url,
    )

    assert printed.splitlines() == [
        "True ada@example.com ada@example.com",
        "True",
        "200 None",
        "200 1",
        "403 None",
        "200 1",
        "403 None",
        "True ada@example.com 1",
        "True",
        "200",
        "403",
        "403",
        "403",
        "http://testserver/usage/report/",
        "0",
        "403",
        "True ada@example.com ada@example.com",
        "True ada@example.com ada@example.com",
    ]


def test_nothing_is_imported_unless_it_is_mounted(tmp_path: Path, database_url: str):
    (tmp_path / "site_urls.py").write_text("urlpatterns = []")
    printed = run_python(
        tmp_path,
        """
        import sys
        from django.contrib import admin
        from django.core.management import call_command
        from django.test import Client
        from usage_tracking import reports
        import usage_tracking.admin, usage_tracking.health

        call_command("check")
        Client().get("/nowhere/")
        packages = ("rest_framework", "django_filters", "drf_spectacular", "usage_tracking.api")
        print([name for name in packages if name in sys.modules])
        """,
        settings="""
        INSTALLED_APPS = [
            app for app in INSTALLED_APPS if not app.startswith(("rest_", "django_f", "drf_"))
        ]
        ROOT_URLCONF = "site_urls"
        """,
        DATABASE_URL=database_url,
    )

    assert printed.splitlines()[-1] == "[]"


def test_naive_local_time(tmp_path: Path, database_url: str):
    printed = run_python(
        tmp_path,
        """
        from django.contrib.auth.models import User
        from rest_framework.test import APIClient
        from usage_tracking.delivery import delivery
        from usage_tracking.models import today

        client = APIClient()
        client.force_authenticate(User.objects.create(username="ada"))
        row = client.post("/api/v1/ai/usage/logs/", {"section": "chat"}, format="json").json()
        delivery.deliver()
        print(row["day"] == str(today()))
        for path in ("logs/stats", "stats"):
            answer = client.get(f"/api/v1/ai/usage/{path}/", {"days": 1}).json()
            print(answer["total_requests"], answer["date_range"]["end"] == str(today()))
        found = client.get("/api/v1/ai/usage/logs/", {"start_date": today(), "end_date": today()})
        print(found.json()["count"])

        client.force_authenticate(User.objects.create_superuser("root"))
        path = "/api/v1/ai/usage/logs/"
        call = {"section": "chat", "created_at": "2026-03-14T20:00:00Z", "idempotency_key": "a"}
        for _ in range(2):
            answer = client.post(path, call, format="json")
            print(answer.status_code, answer.json()["day"])
        client.post(path, call | {"idempotency_key": "b"}, format="json")
        hours = {"start": "2026-03-14T20:00:00Z", "end": "2026-03-14T21:00:00Z"}
        report = client.get("/api/v1/ai/usage/report/", hours | {"group_by": "day,hour"}).json()
        print([(line["day"], line["hour"], line["calls"]) for line in report["results"]])
        page = client.get(path, hours | {"cursor": "*", "limit": 1}).json()
        more = client.get(page["next"]).json()
        print(len({row["id"] for row in page["results"] + more["results"]}), more["next"])
        """,
        settings='USE_TZ = False\nTIME_ZONE = "Asia/Tokyo"',
        DATABASE_URL=database_url,
    )

    assert printed.splitlines() == [
        *("True", "1 True", "1 True", "1"),
        "201 2026-03-15",
        "200 2026-03-15",
        "[('2026-03-15', '2026-03-14T20:00:00Z', 2)]",
        "2 None",
    ]


VERSIONED = """
REST_FRAMEWORK = REST_FRAMEWORK | {
    "DEFAULT_VERSIONING_CLASS": "rest_framework.versioning.URLPathVersioning",
}
ROOT_URLCONF = "site_urls"
"""


def test_version_in_the_path(tmp_path: Path, database_url: str):
    (tmp_path / "site_urls.py").write_text(
        "from django.urls import include, path\n"
        "urls = include('usage_tracking.api.urls', namespace='usage')\n"
        "urlpatterns = [path('shop/<version>/ai/', urls)]\n"
    )
    printed = run_python(
        tmp_path,
        """
        from django.contrib.auth.models import User
        from rest_framework.test import APIClient

        client = APIClient()
        client.force_authenticate(User.objects.create_superuser("ada"))
        links = client.get("/shop/v2/ai/").json()
        print(links["report"])
        print({client.get(link).status_code for link in links.values()})
        """,
        settings=VERSIONED,
        DATABASE_URL=database_url,
    )

    assert printed.splitlines() == ["http://testserver/shop/v2/ai/usage/report/", "{200}"]


WITHOUT_DRF_SPECTACULAR = """
import sys

sys.modules["drf_spectacular"] = None
INSTALLED_APPS = [app for app in INSTALLED_APPS if app != "drf_spectacular"]
"""
#: The schema of REST framework's own, which is its default.
OTHER_SCHEMA = """
REST_FRAMEWORK.pop("DEFAULT_SCHEMA_CLASS", None)
INSTALLED_APPS = [app for app in INSTALLED_APPS if app != "drf_spectacular"]
"""


def test_site_without_drf_spectacular(tmp_path: Path, database_url: str):
    printed = run_python(
        tmp_path,
        """
        from django.contrib.auth.models import User
        from django.core.management import call_command
        from rest_framework.test import APIClient
        from usage_tracking.delivery import Delivery, delivery
        from usage_tracking.health import site

        Delivery.patience = lambda self: 60.0  # a busy machine may deliver late
        call_command("check", fail_level="WARNING")
        client = APIClient()
        client.force_authenticate(User.objects.create_superuser("ada"))
        sent = {"section": "chat", "prompt_tokens": 2, "metadata": {"order": 7}}
        row = client.post("/api/v1/ai/usage/logs/", sent, format="json").json()
        delivery.deliver()
        print(row["section_display"], row["metadata"])
        print(client.get(f"/api/v1/ai/usage/logs/{row['id']}/").json() == row)
        filters = {"section": "chat", "model": "gpt-4o", "success": "true"}
        print(client.get("/api/v1/ai/usage/logs/", filters).json()["count"])
        for path in ("logs/stats/", "logs/global/", "stats/", "global/"):
            print(client.get(f"/api/v1/ai/usage/{path}").json()["total_requests"])
        print({finding.code for finding in site.api().findings})
        """,
        settings=WITHOUT_DRF_SPECTACULAR + OTHER_SCHEMA.splitlines()[1],
        DATABASE_URL=database_url,
    )

    assert printed.splitlines()[1:] == [
        "Customer Chat {'order': 7}",
        "True",
        "0",
        *["1"] * 4,
        "{'api'}",
    ]


@pytest.mark.parametrize("hidden", ["", WITHOUT_DRF_SPECTACULAR], ids=["installed", "missing"])
def test_schema_is_that_of_the_site(tmp_path: Path, database_url: str, hidden: str):
    """Whether drf-spectacular is installed for something else or not at all."""
    printed = run_python(
        tmp_path,
        """
        from django.core.management import call_command
        call_command("generateschema", format="openapi-json")
        """,
        settings=hidden + OTHER_SCHEMA,
        DATABASE_URL=database_url,
    )

    paths = json.loads(printed)["paths"]
    assert len(paths) == 9
    listed = paths["/api/v1/ai/usage/logs/"]["get"]["parameters"]
    assert {parameter["name"] for parameter in listed} == {
        *("section", "model", "provider", "success", "start", "end", "user"),
        *("start_date", "end_date", "limit", "offset", "cursor"),
    }
