"""Settings of a site that uses django-tenants, with a schema per tenant.

LAYOUT=own gives each tenant its own users and usage. With LAYOUT=shared, all tenants share them.
https://django-tenants.readthedocs.io/en/latest/install.html
"""

from __future__ import annotations

import os

from project.stub import ADMIN_KEYS
from tests.processes.settings import *

DATABASES["default"]["ENGINE"] = "django_tenants.postgresql_backend"  # noqa: F405
DATABASE_ROUTERS = ["django_tenants.routers.TenantSyncRouter"]
TENANT_MODEL, TENANT_DOMAIN_MODEL = "customers.Customer", "customers.Domain"
_OF_PEOPLE = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "usage_tracking",
]
SHARED_APPS = ["django_tenants", "tests.tenants.customers", *_OF_PEOPLE]
TENANT_APPS = _OF_PEOPLE if os.environ["LAYOUT"] == "own" else ["django.contrib.contenttypes"]
INSTALLED_APPS = SHARED_APPS
MIDDLEWARE = [
    "django_tenants.middleware.main.TenantMainMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "usage_tracking.middleware.AIUsageMiddleware",
]
ROOT_URLCONF = "tests.tenants.pages"
OPENAI_URL = f"http://{os.environ['STUB']}/openai/v1"
AI_USAGE_SECTIONS = ["one", "two", "nobody"]
AI_USAGE_BILLING = {"openai": {"key": ADMIN_KEYS["openai"], "base_url": OPENAI_URL}}
