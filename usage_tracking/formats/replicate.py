"""Replicate predictions.

https://replicate.com/docs/reference/http#predictions.get (language models report tokens in
`metrics`, others only seconds; clients poll a prediction that has not finished while the request
waited)
"""

from __future__ import annotations

from typing import Any

from ..usage import Usage
from .reader import Job, Reader, error_text, mapping, moment, seconds, text

_FAILED = frozenset({"failed", "canceled", "aborted"})


class ReplicateReader(Reader):
    """Reads Replicate predictions."""

    operation = "generate_content"
    dates_jobs = True

    def body(self, data: dict[str, Any]) -> None:
        """Take a whole answer."""
        metrics, status = mapping(data.get("metrics")), text(data.get("status"))
        self.recognised = bool(status) and "get" in mapping(data.get("urls")) and "version" in data
        self.model = text(data.get("model"))
        self.response_id = text(data.get("id"))
        self.error = error_text(data)
        if status in _FAILED and not self.error:
            self.error = status
        if self.recognised:
            ended = status == "succeeded" or status in _FAILED
            self.job = Job(self.response_id, ended, moment(data.get("created_at")))
        counts = {
            "input_tokens": metrics.get("input_token_count"),
            "output_tokens": metrics.get("output_token_count"),
        }
        self.use(Usage.of(counts))
        if self.recognised and (spent := seconds(metrics.get("predict_time"))) is not None:
            self.facts["predict_seconds"] = spent
