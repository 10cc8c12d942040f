"""xAI's own batches: requests are added to a batch, and the batch says what all of them cost.

https://docs.x.ai/developers/advanced-api-usage/batch-api (`cost_breakdown.total_cost_usd_ticks`;
10^10 ticks are one dollar)
"""

from __future__ import annotations

from typing import Any

from ...usage import Usage
from ..reader import cost, count, mapping, moment, text
from .reader import BatchReader
from .rows import Batch


class XAIBatchReader(BatchReader):
    """Reads xAI's batches."""

    def take(self, data: dict[str, Any]) -> None:
        """Take an answer that may name a batch."""
        batch_id, state = text(data.get("batch_id")), mapping(data.get("state"))
        if not batch_id or "num_requests" not in state:
            return
        numbers = {name: count(number) or 0 for name, number in state.items()}
        # More requests may follow, and end it again.
        self.ended = numbers["num_requests"] > 0 and numbers.get("num_pending") == 0
        self.batch = Batch(batch_id, moment(data.get("create_time")))
        if not self.ended:
            return
        canceled = numbers.get("num_cancelled", 0)
        self.batch = self.batch._replace(
            completed=numbers.get("num_success", 0),
            failed=numbers.get("num_error", 0) + canceled,
            error=f"batch canceled: {canceled} of {numbers['num_requests']} requests"
            if canceled
            else "",
        )
        ticks = mapping(data.get("cost_breakdown")).get("total_cost_usd_ticks")
        faults: dict[str, str] = {}
        self.use(Usage.of({}, cost=cost({"cost_in_usd_ticks": ticks}, faults), faults=faults))
