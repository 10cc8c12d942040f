"""Settings of child processes that run as a separate site: no test mode, a real outbox."""

from __future__ import annotations

import json
import os

from tests.settings import *
from tests.support.waiting import PATIENCE

# The default of sites that do not configure transaction modes.
if os.environ.get("DEFERRED"):
    DATABASES["default"]["OPTIONS"].pop("transaction_mode", None)  # noqa: F405

# Benchmarks use these settings too and need production behavior.
if os.environ.get("PATIENT"):
    INSTALLED_APPS += ["tests.processes.patience.PatienceConfig"]  # noqa: F405
    if "timeout" in DATABASES["default"].get("OPTIONS", {}):  # noqa: F405
        DATABASES["default"]["OPTIONS"]["timeout"] = PATIENCE  # noqa: F405

AI_USAGE_GATEWAYS = {
    f"{os.environ['STUB']}/{name}": name for name in ("openai", "anthropic", "google")
}
AI_USAGE_RAISE_ERRORS = False
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(levelname)s %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "loggers": {"ai_usage_tracker": {"handlers": ["stderr"], "level": "WARNING"}},
}
if os.environ.get("SITE_WAIT"):
    AI_USAGE_WAIT = float(os.environ["SITE_WAIT"])
AI_USAGE_SECTION_MAP = json.loads(os.environ.get("SECTION_MAP", "{}"))
