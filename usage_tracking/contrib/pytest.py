"""The fixture `ai_usage_calls`, for the tests of a site: a plugin that pytest finds by itself.

Every run of pytest imports this module, also one that is not about Django: so nothing here imports
Django before the fixture is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from usage_tracking.events import UsageEvent


@pytest.fixture
def ai_usage_calls() -> Iterator[list[UsageEvent]]:
    """The AI calls that the test has made so far; see `usage_tracking.testing`."""
    from usage_tracking.testing import captured_ai_usage

    with captured_ai_usage() as calls:
        yield calls
