"""watsonx text generation, embeddings and rerank.

https://cloud.ibm.com/apidocs/watsonx-ai#text-generation (each result counts its own tokens)
https://cloud.ibm.com/apidocs/watsonx-ai#text-generation-stream (running counts; the
input may be in one event only)
https://cloud.ibm.com/apidocs/watsonx-ai#text-embeddings (one `input_token_count` for all)
"""

from __future__ import annotations

from typing import Any

from ..usage import Usage
from .reader import Reader, count, error_text, items, text, total


class WatsonxReader(Reader):
    """Reads watsonx text generation, embeddings and rerank."""

    operation = "text_completion"

    usage_key = b'_token_count"'
    final_at_end = False

    def wants(self, data: bytes) -> bool:
        """Return whether the events may have something to read."""
        return super().wants(data) or b'"errors"' in data

    def event(self, data: dict[str, Any]) -> None:
        """Take one parsed stream event."""
        reasons = self._read(data) - {""}
        if reasons and "not_finished" not in reasons:
            self.complete = self.usage is not None

    def body(self, data: dict[str, Any]) -> None:
        """Take a whole answer."""
        self._read(data)
        self.complete = self.usage is not None

    def _read(self, data: dict[str, Any]) -> set[str]:
        """Take the counts of an answer or an event; return the reasons why its results ended."""
        results = items(data.get("results"))
        if text(data.get("model_id")) and results:
            self.recognised = True
        self.model = text(data.get("model_id")) or self.model
        self.response_id = text(data.get("id")) or self.response_id
        self.error = error_text(data) or self.error
        reasons = {text(result.get("stop_reason")).lower() for result in results}
        if "error" in reasons and not self.error:
            self.error = "stop_reason: error"
        before = self.usage or Usage()
        counts = {
            "input_tokens": _larger(
                before.prompt_tokens,
                total(
                    data.get("input_token_count"),
                    *(result.get("input_token_count") for result in results),
                ),
            ),
            "output_tokens": _larger(
                before.completion_tokens,
                total(*(result.get("generated_token_count") for result in results)),
            ),
        }
        self.use(Usage.of(counts, faults=before.faults), complete=self.complete)
        return reasons


def _larger(before: int | None, now: object) -> object:
    """Return the larger count; `now` if it is not a count, so that it is named."""
    number = count(now)
    if number is None:
        return before if now is None else now
    return number if before is None else max(before, number)
