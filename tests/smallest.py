"""The smallest sites there are: no admin, no sessions, no templates, not even URLs."""

from __future__ import annotations

from pathlib import Path

from tests.children import ROOT

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
#: By what they have beside the smallest settings.
SITES = {"nothing more": "", "templates": TEMPLATES, "browsable API": BROWSABLE_API}


def make_smallest_site(directory: Path, database_url: str, settings: str = "") -> dict[str, str]:
    """The environment of processes of the site, which is in `directory`."""
    (directory / "smallest_settings.py").write_text(SETTINGS + settings)
    (directory / "smallest_urls.py").write_text(URLS)
    return {
        "DJANGO_SETTINGS_MODULE": "smallest_settings",
        "DATABASE_URL": database_url,
        "PYTHONPATH": f"{directory}:{ROOT}",
        "PYTHONWARNINGS": "error",
    }
