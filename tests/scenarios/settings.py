"""A production site with every view in a transaction."""

from __future__ import annotations

import os

from tests.processes.settings import *

ROOT_URLCONF = "tests.scenarios.site"
DATABASES["default"]["ATOMIC_REQUESTS"] = True  # noqa: F405
OPENAI_URL = f"http://{os.environ['STUB']}/openai/v1"
if outbox := os.environ.get("OUTBOX"):
    AI_USAGE_OUTBOX = outbox
if zone := os.environ.get("DAY_TIMEZONE"):
    AI_USAGE_DAY_TIMEZONE = zone
