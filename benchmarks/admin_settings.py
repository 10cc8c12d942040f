"""Settings of the minimal benchmark site with the admin."""

from __future__ import annotations

from typing import Any

from benchmarks.settings import *
from benchmarks.settings import INSTALLED_APPS as BARE

ROOT_URLCONF = "benchmarks.admin_urls"
STATIC_URL = "static/"
INSTALLED_APPS = [
    *BARE,
    "django.contrib.admin",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
ALLOWED_HOSTS = ["testserver"]
