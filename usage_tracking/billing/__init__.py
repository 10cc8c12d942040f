"""What providers say they billed: fetched from their usage and cost APIs, and stored.

Nothing of this runs in requests: `reconcile_ai_usage` fetches, and everything else reads the table.
"""

from __future__ import annotations

from .billed import COSTS, Billed, BillingError, Fetched

__all__ = ["COSTS", "Billed", "BillingError", "Fetched"]
