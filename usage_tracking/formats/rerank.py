"""Rerank, which is much alike at most providers.

https://docs.cohere.com/reference/rerank (billed by the search, not by tokens)
https://docs.voyageai.com/reference/reranker-api and https://api.jina.ai/redoc (`total_tokens`)
"""

from __future__ import annotations

from typing import Any

from ..events import Usage
from .cohere import billed
from .reader import Reader, cost, count, error_text, items, mapping, text


class RerankReader(Reader):
    """Reads rerank answers."""

    operation = "rerank"

    def body(self, data: dict[str, Any]) -> None:
        """Take a whole answer."""
        usage, meta = mapping(data.get("usage")), mapping(data.get("meta"))
        ranked = data["results"] if "results" in data else data.get("data")
        first = items(ranked)[:1]
        self.recognised = any(
            "relevance_score" in one or {"score", "index"} <= one.keys() for one in first
        ) or (ranked == [] and not {"api_version", "billed_units"}.isdisjoint(meta))
        self.model = text(data.get("model"))
        self.response_id = text(data.get("id"))
        self.error = error_text(data)
        prompt = count(usage.get("prompt_tokens"))
        found = Usage(
            prompt_tokens=count(usage.get("total_tokens")) if prompt is None else prompt,
            cost=cost(usage),
        )
        if not found.known:
            found, self.facts = billed(meta)
        if found.known:
            self.usage, self.complete = found, True
