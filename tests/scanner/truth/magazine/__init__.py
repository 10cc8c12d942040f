"""An app of the site: views that call services, with the idioms of real code."""

from __future__ import annotations

from usage_tracking import ai_usage as tracked

__all__ = ["tracked"]
