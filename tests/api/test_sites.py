"""The API on sites that are set up differently, each in a process of its own."""

from __future__ import annotations

from pathlib import Path

from tests.children import run_python

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
    """Nor with REST framework and the others among the apps, which only HTML needs."""
    printed = run_python(
        tmp_path,
        """
        from django.contrib.auth import get_user_model
        from django.core.management import call_command
        from rest_framework.test import APIClient

        call_command("migrate", verbosity=0)
        User = get_user_model()
        ada = User.objects.create(email="ada@example.com")
        bob = User.objects.create(email="bob@example.com")
        client = APIClient()
        client.force_authenticate(ada)
        row = client.post("/usage/logs/", {"section": "chat"}, format="json").json()
        print(row["user"] == str(ada.pk), row["user_username"], row["user_email"])
        print(client.get(f"/usage/logs/{row['id']}/").json() == row)
        for path in ("logs/", "logs/stats/", "logs/global/", "stats/", "global/"):
            answer = client.get(f"/usage/{path}")
            print(answer.status_code, answer.json().get("total_requests"))
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
        "0",
        "403",
        "True ada@example.com ada@example.com",
        "True ada@example.com ada@example.com",
    ]


def test_nothing_of_it_is_imported_where_it_is_not_mounted(tmp_path: Path, database_url: str):
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
        from usage_tracking.models import today

        client = APIClient()
        client.force_authenticate(User.objects.create(username="ada"))
        row = client.post("/api/v1/ai/usage/logs/", {"section": "chat"}, format="json").json()
        print(row["day"] == str(today()))
        for path in ("logs/stats", "stats"):
            answer = client.get(f"/api/v1/ai/usage/{path}/", {"days": 1}).json()
            print(answer["total_requests"], answer["date_range"]["end"] == str(today()))
        found = client.get("/api/v1/ai/usage/logs/", {"start_date": today(), "end_date": today()})
        print(found.json()["count"])
        """,
        settings='USE_TZ = False\nTIME_ZONE = "Asia/Tokyo"',
        DATABASE_URL=database_url,
    )

    assert printed.splitlines() == ["True", "1 True", "1 True", "1"]
