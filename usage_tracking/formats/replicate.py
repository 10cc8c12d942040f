"""Replicate predictions that finish while the request waits.

https://replicate.com/docs/topics/predictions (language models report tokens in `metrics`,
others only seconds; clients poll an unfinished prediction by GET, which is not captured)
"""

from __future__ import annotations

from typing import Any

from ..usage import Usage
from .reader import Reader, error_text, mapping, seconds, text


class ReplicateReader(Reader):
    """Reads Replicate predictions."""

    operation = "generate_content"

    def body(self, data: dict[str, Any]) -> None:
        """Take a whole answer."""
        metrics, status = mapping(data.get("metrics")), text(data.get("status"))
        self.recognised = bool(status) and "get" in mapping(data.get("urls")) and "version" in data
        self.model = text(data.get("model"))
        self.response_id = text(data.get("id"))
        self.error = error_text(data)
        if status in {"failed", "canceled", "aborted"} and not self.error:
            self.error = status
        counts = {
            "input_tokens": metrics.get("input_token_count"),
            "output_tokens": metrics.get("output_token_count"),
        }
        self.use(Usage.of(counts))
        if self.recognised and (spent := seconds(metrics.get("predict_time"))) is not None:
            self.facts["predict_seconds"] = spent
