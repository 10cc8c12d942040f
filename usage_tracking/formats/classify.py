"""Classification by a model.

https://docs.cohere.com/reference/classify (billed by the classification)
https://api.jina.ai/redoc (`usage.total_tokens`)
"""

from __future__ import annotations

from typing import Any

from ..usage import Usage
from .cohere import billed
from .reader import Reader, cost, error_text, first, items, mapping, text


class ClassifyReader(Reader):
    """Reads classifications of Cohere and Jina."""

    operation = "classification"

    def body(self, data: dict[str, Any]) -> None:
        """Take a whole answer."""
        usage, meta = mapping(data.get("usage")), mapping(data.get("meta"))
        found = items(data.get("classifications")) or items(data.get("data"))
        self.recognised = any("prediction" in one for one in found[:1]) and bool(usage or meta)
        self.model = text(data.get("model"))
        self.response_id = text(data.get("id"))
        self.error = error_text(data)
        if not self.recognised:
            return
        counted, self.facts = billed(meta)
        tokens = first(usage.get("prompt_tokens"), usage.get("total_tokens"))
        if tokens is not None:
            faults: dict[str, str] = {}
            counted = Usage.of({"input_tokens": tokens}, cost=cost(usage, faults), faults=faults)
        self.use(counted)
