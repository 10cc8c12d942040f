"""A site with unusual views, whose pages do not read their user."""

from __future__ import annotations

import os

from tests.processes.settings import *

ROOT_URLCONF = "tests.hosts.pages"
OPENAI_URL = f"http://{os.environ['STUB']}/openai/v1"
if os.environ.get("POOL"):
    DATABASES["default"]["OPTIONS"] = {"pool": {"min_size": 1, "max_size": 2}}  # noqa: F405
LOGGING["loggers"] |= {  # type: ignore[operator]  # noqa: F405
    "django.request": {"handlers": ["stderr"], "level": "ERROR"}
}
