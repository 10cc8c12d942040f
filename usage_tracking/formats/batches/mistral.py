"""Mistral's batch jobs.

https://docs.mistral.ai/api/endpoint/batch (the results are in the file of `output_file`, or in
`outputs` if the poll asks for them)
"""

from __future__ import annotations

from typing import Any

from ..reader import count, items, moment, text
from .openai import add_result
from .reader import BatchReader
from .rows import Batch, Sums

_ENDED = frozenset({"SUCCESS", "FAILED", "TIMEOUT_EXCEEDED", "CANCELLED"})


class MistralBatchReader(BatchReader):
    """Reads Mistral's batch jobs."""

    def take(self, data: dict[str, Any]) -> None:
        """Take an answer that may name a batch."""
        batch_id, status = text(data.get("id")), text(data.get("status"))
        if not batch_id or not status or "total_requests" not in data:
            return
        self.ended = status in _ENDED
        began, model = moment(data.get("created_at")), text(data.get("model"))
        self.batch = Batch(batch_id, began, model=model)
        if not self.ended:
            return
        completed = count(data.get("succeeded_requests"))
        whole = count(data.get("total_requests"))
        said = next(filter(None, (text(e.get("message")) for e in items(data.get("errors")))), "")
        error = "" if status == "SUCCESS" else f"batch {status.lower()}"
        if error:
            error += f": {said or f'{completed} of {whole} requests completed'}"
        self.batch = self.batch._replace(
            completed=completed, failed=count(data.get("failed_requests")), error=error
        )
        self.files = tuple(filter(None, (text(data.get("output_file")),)))
        if outputs := items(data.get("outputs")):
            self.sums = Sums(model)
            for result in outputs:
                add_result(self.sums, result)
