"""Batches whose results go to the storage of the site, where no answer says what they used.

https://docs.cloud.google.com/vertex-ai/generative-ai/docs/reference/rest/v1/projects.locations.batchPredictionJobs
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_GetModelInvocationJob.html (the answer
to a submission has nothing but the ARN of the job)
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ..reader import Reader, error_text, mapping, moment, text
from .gemini import number
from .reader import BatchReader
from .rows import Batch


class StoredBatchReader(BatchReader):
    """Reads a batch whose results no answer has."""

    #: Where the results are.
    storage = ""

    @property
    def parts(self) -> Sequence[Reader]:
        """The row of the batch."""
        parts = super().parts
        for part in parts:
            part.no_usage = f"batch ended; its results are in {self.storage}"
        return parts


class VertexBatchReader(StoredBatchReader):
    """Reads batch prediction jobs of Vertex AI."""

    storage = "Cloud Storage or BigQuery"

    def take(self, data: dict[str, Any]) -> None:
        """Take an answer that may name a batch."""
        name, state = text(data.get("name")), text(data.get("state")).removeprefix("JOB_STATE_")
        _, kind, batch_id = name.partition("/batchPredictionJobs/")
        if not kind or not state:
            return
        self.ended = state in _VERTEX_ENDED
        began, model = moment(data.get("createTime")), text(data.get("model"))
        self.batch = Batch(batch_id, began, model=model.rpartition("/")[2])
        if self.ended:
            stats = mapping(data.get("completionStats"))
            error = "" if state.endswith("SUCCEEDED") else f"batch {state.lower()}"
            said = error_text(data)
            self.batch = self.batch._replace(
                completed=number(stats.get("successfulCount")),
                failed=number(stats.get("failedCount")),
                error=f"{error}: {said}" if error and said else error,
            )


class BedrockBatchReader(StoredBatchReader):
    """Reads model invocation jobs of Bedrock."""

    storage = "S3"

    def asked(self, path: str, body: bytes | Mapping[str, Any] | None) -> None:
        """Take the request: a submission names the model, and its answer does not."""
        if path.rstrip("/").endswith("/model-invocation-job") and isinstance(body, bytes):
            try:
                self.requested = (text(mapping(json.loads(body)).get("modelId")),)
            except (ValueError, RecursionError):
                self.requested = ()

    def take(self, data: dict[str, Any]) -> None:
        """Take an answer that may name a batch."""
        _, kind, batch_id = text(data.get("jobArn")).partition(":model-invocation-job/")
        if not kind:
            return
        status = text(data.get("status"))
        self.ended = status in _BEDROCK_ENDED
        began, model = moment(data.get("submitTime")), text(data.get("modelId"))
        error = ""
        if self.ended and status != "Completed":
            said = text(data.get("message"))
            error = f"batch {status.lower()}" + (f": {said}" if said else "")
        self.batch = Batch(batch_id, began, error=error, model=model)


_VERTEX_ENDED = frozenset({"SUCCEEDED", "PARTIALLY_SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED"})
_BEDROCK_ENDED = frozenset({"Completed", "PartiallyCompleted", "Failed", "Stopped", "Expired"})
