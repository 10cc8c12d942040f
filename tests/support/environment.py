"""Environment variables that a test run passes to `tests.settings` and to child processes.

This module does not import pytest, because that slows the start of a child process by a quarter.
"""

from __future__ import annotations

import os
import sys

DRIVER_VARIABLE = "USAGE_TRACKING_TEST_DRIVER"
DIRECTORY_VARIABLE = "USAGE_TRACKING_TEST_DIRECTORY"


def choose_driver() -> None:
    """Hide psycopg 3 if the run uses psycopg2, because Django prefers psycopg 3."""
    if os.environ.get(DRIVER_VARIABLE) == "psycopg2":
        sys.modules["psycopg"] = None  # type: ignore[assignment]
