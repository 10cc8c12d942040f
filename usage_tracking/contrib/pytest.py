"""A pytest plugin with the fixture `ai_usage_calls` for the tests of a site.

pytest loads the plugin by its entry point in every run, with or without Django, so this module
imports nothing of Django before the fixture is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ..events import UsageEvent


@pytest.fixture
def ai_usage_calls() -> Iterator[list[UsageEvent]]:
    """Yield the list of AI calls that the test has made so far; see `usage_tracking.testing`."""
    from ..testing import captured_ai_usage

    with captured_ai_usage() as calls:
        yield calls
