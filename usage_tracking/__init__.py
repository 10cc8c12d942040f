"""Record every AI call your Django site makes: user, feature, tokens, cost."""

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

# Imported on first use, because Django imports this package before models can be loaded.
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
