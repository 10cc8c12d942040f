"""Settings of a site with a database per tenant, chosen by a thread-based router."""

from __future__ import annotations

import os

from project.stub import ADMIN_KEYS
from tests.processes.settings import *

TENANTS = ("one", "two")
for _name in TENANTS:
    DATABASES[_name] = env.db(f"DATABASE_URL_{_name.upper()}") | {  # noqa: F405
        "OPTIONS": DATABASES["default"].get("OPTIONS", {})  # noqa: F405
    }
DATABASE_ROUTERS = ["tests.tenants.routing.Router"]
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "usage_tracking",
]
MIDDLEWARE = [
    "tests.tenants.routing.TenantMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "usage_tracking.middleware.AIUsageMiddleware",
]
ROOT_URLCONF = "tests.tenants.pages"
OPENAI_URL = f"http://{os.environ['STUB']}/openai/v1"
AI_USAGE_SECTIONS = ["one", "two", "nobody"]
AI_USAGE_BILLING = {"openai": {"key": ADMIN_KEYS["openai"], "base_url": OPENAI_URL}}
