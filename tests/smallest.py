"""The smallest sites: no admin, sessions, templates or URLs."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from textwrap import dedent

from tests.support.children import ROOT
from tests.support.waiting import run

SETTINGS = """
import environ
from pathlib import Path

BASE_DIR = Path(__file__).parent
SECRET_KEY = "smallest"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "usage_tracking"]
MIDDLEWARE = ["usage_tracking.middleware.AIUsageMiddleware"]
DATABASES = {"default": environ.Env().db("DATABASE_URL")}
"""
TEMPLATES = """
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
"""
BROWSABLE_API = (
    TEMPLATES
    + """
INSTALLED_APPS += ["rest_framework", "django_filters"]
ROOT_URLCONF = "smallest_urls"
"""
)
URLS = """
from django.urls import include, path

urlpatterns = [
    path("api/v1/ai/", include("usage_tracking.api.urls")),
    path("usage/", include("usage_tracking.urls")),
]
"""
#: Makes a call to the inserted base URL and prints its user.
CALL = """
import django
django.setup()
import requests
from django.contrib.auth.models import User
from usage_tracking import ai_usage
from usage_tracking.delivery import delivery
from usage_tracking.models import AIUsageLog, AIUsageTracking

ada = User.objects.get_or_create(username="ada")[0]
with ai_usage(section="chat", user=ada):
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}
    requests.post("%s/chat/completions", json=body, timeout=180).raise_for_status()
delivery.deliver()
print(AIUsageLog.objects.get().user, AIUsageTracking.objects.get().total_requests)
"""
#: Additional settings, by name.
SITES = {"nothing more": "", "templates": TEMPLATES, "browsable API": BROWSABLE_API}


def make_smallest_site(directory: Path, database_url: str, settings: str = "") -> dict[str, str]:
    """Return the environment for processes of the site in `directory`."""
    (directory / "smallest_settings.py").write_text(SETTINGS + settings)
    (directory / "smallest_urls.py").write_text(URLS)
    return {
        "DJANGO_SETTINGS_MODULE": "smallest_settings",
        "DATABASE_URL": database_url,
        "PYTHONPATH": f"{directory}:{ROOT}",
        "PYTHONWARNINGS": "error",
    }


def python(code: str, env: dict[str, str], directory: Path) -> str:
    """Run `code` in a process of the site and return its output."""
    ended = run([sys.executable, "-c", dedent(code)], cwd=directory, env=os.environ | env)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout
