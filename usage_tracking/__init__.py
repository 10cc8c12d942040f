"""Knows, completely and exactly, what a Django site spends on AI."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .attribution.propagation import propagate
    from .attribution.resolve import ai_section
    from .blocks import ai_usage
    from .tracker import AIUsageTracker, log_ai_usage, track_ai_usage, track_ai_usage_safe

__all__ = [
    "AIUsageTracker",
    "ai_section",
    "ai_usage",
    "log_ai_usage",
    "propagate",
    "track_ai_usage",
    "track_ai_usage_safe",
]

# Imported when first used: this package is imported while Django loads its apps, before models.
_HOMES = {
    "ai_usage": "blocks",
    "ai_section": "attribution.resolve",
    "propagate": "attribution.propagation",
    "AIUsageTracker": "tracker",
    "log_ai_usage": "tracker",
    "track_ai_usage": "tracker",
    "track_ai_usage_safe": "tracker",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
