"""Settings of a site with transactions, sessions, the API and the stub provider."""

from __future__ import annotations

import os

from tests.processes.settings import *
from tests.processes.settings import BASE_DIR, DATABASES

ROOT_URLCONF = "benchmarks.web_urls"
OPENAI_URL = f"http://{os.environ['STUB']}/openai/v1"
DATABASES["default"]["ATOMIC_REQUESTS"] = True
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # As the documentation recommends.
    DATABASES["default"]["OPTIONS"] = {
        "timeout": 20,
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
    }
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {
        "file": {"class": "logging.FileHandler", "filename": BASE_DIR / "site.log", "delay": True}
    },
    "loggers": {
        "ai_usage_tracker": {"handlers": ["file"], "level": "WARNING", "propagate": False},
        "django.request": {"handlers": ["file"], "level": "ERROR", "propagate": False},
    },
}
