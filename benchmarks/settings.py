"""Settings of a minimal site, with DATABASE_URL and the directory SITE_DIRECTORY."""

from __future__ import annotations

import os
from pathlib import Path

import environ

BASE_DIR = Path(os.environ.get("SITE_DIRECTORY", "."))
SECRET_KEY = "benchmarks"
USE_TZ = True
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes"]
if not os.environ.get("WITHOUT_US"):
    INSTALLED_APPS.append("usage_tracking")
DATABASES = {
    "default": environ.Env().db("DATABASE_URL", default=f"sqlite:///{BASE_DIR}/db.sqlite3")
}
ROOT_URLCONF = "usage_tracking.api.urls"
ALLOWED_HOSTS = ["*"]
AI_USAGE_GATEWAYS = {f"{os.environ.get('STUB', 'localhost')}/openai": "openai"}
