"""What a test run tells `tests.settings`, and so the child processes that use these settings.

This module does not import pytest: such a process would take a quarter longer to start.
"""

from __future__ import annotations

import os
import sys

DRIVER_VARIABLE = "USAGE_TRACKING_TEST_DRIVER"
DIRECTORY_VARIABLE = "USAGE_TRACKING_TEST_DIRECTORY"


def choose_driver() -> None:
    """Hide psycopg 3 when psycopg2 is asked for: Django prefers psycopg 3 where it is installed."""
    if os.environ.get(DRIVER_VARIABLE) == "psycopg2":
        sys.modules["psycopg"] = None  # type: ignore[assignment]
