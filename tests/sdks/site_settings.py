"""Settings for a server with the smallest site that has users and makes AI calls."""

from __future__ import annotations

import json
import os

from tests.processes.settings import *

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
LOGGING["loggers"] |= {  # type: ignore[operator]  # noqa: F405
    "django.request": {"handlers": ["stderr"], "level": "ERROR"}
}
ROOT_URLCONF = "tests.sdks.site"
AI_USAGE_GATEWAYS = json.loads(os.environ["GATEWAYS"])
STUB_URL = f"http://{os.environ['STUB']}"
#: The SDK of the pages, and whether their module imports it.
SDK = os.environ["SDK"]
SDK_AT_MODULE_LEVEL = os.environ["SDK_IMPORTED"] == "at module level"
