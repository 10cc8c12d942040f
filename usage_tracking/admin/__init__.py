"""The admin of calls and daily rows."""

from __future__ import annotations

from .daily_rows import AIUsageTrackingAdmin
from .dashboard_entry import AIUsageDashboardAdmin
from .logs import AIUsageLogAdmin

__all__ = ["AIUsageDashboardAdmin", "AIUsageLogAdmin", "AIUsageTrackingAdmin"]
