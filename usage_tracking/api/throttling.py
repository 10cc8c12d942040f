"""How often a user may record."""

from __future__ import annotations

from typing import Any

from rest_framework.settings import api_settings
from rest_framework.throttling import UserRateThrottle


class RecordThrottle(UserRateThrottle):
    """600 a minute, or what the site's DEFAULT_THROTTLE_RATES say for "ai_usage_record".

    None there lifts the limit.
    """

    scope = "ai_usage_record"

    def get_rate(self) -> str | None:
        rates: dict[str, Any] = {self.scope: "600/min", **api_settings.DEFAULT_THROTTLE_RATES}
        rate: str | None = rates[self.scope]
        return rate
