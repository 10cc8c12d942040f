"""The rate limit of recording calls."""

from __future__ import annotations

from typing import Any

from rest_framework.settings import api_settings
from rest_framework.throttling import UserRateThrottle


class RecordThrottle(UserRateThrottle):
    """600 requests a minute for each user, of which each may have many calls.

    Set another rate under "ai_usage_record" in DEFAULT_THROTTLE_RATES; None removes the limit.
    """

    scope = "ai_usage_record"

    def get_rate(self) -> str | None:
        """Return the rate of the site's settings, or the default."""
        rates: dict[str, Any] = {self.scope: "600/min", **api_settings.DEFAULT_THROTTLE_RATES}
        rate: str | None = rates[self.scope]
        return rate
