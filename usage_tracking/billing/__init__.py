"""What providers say they billed: fetched from their usage and cost APIs, and stored.

Nothing of this runs in requests: `reconcile_ai_usage` fetches, and everything else reads the table.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .billed import COSTS, Billed, BillingError, Fetched

if TYPE_CHECKING:
    from .sources import fetch
    from .store import replace

__all__ = ["COSTS", "Billed", "BillingError", "Fetched", "fetch", "replace"]

# Imported on first use: the system checks import this package, and the start of a site needs
# neither HTTP nor TLS.
_HOMES = {"fetch": "sources", "replace": "store"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
