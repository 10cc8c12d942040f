"""Rerank, which is much alike at most providers.

https://docs.cohere.com/reference/rerank (billed by the search, not by tokens)
https://docs.voyageai.com/reference/reranker-api and https://api.jina.ai/redoc (`total_tokens`)
https://openrouter.ai/docs/api-reference/rerank (`usage.search_units` and the cost)
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_agent-runtime_Rerank.html (no counts)
"""

from __future__ import annotations

from typing import Any

from ..usage import Usage
from .cohere import billed
from .reader import Reader, cost, error_text, first, items, mapping, text


class RerankReader(Reader):
    """Reads rerank answers."""

    operation = "rerank"

    def body(self, data: dict[str, Any]) -> None:
        """Take a whole answer."""
        usage, meta = mapping(data.get("usage")), mapping(data.get("meta"))
        ranked = data["results"] if "results" in data else data.get("data")
        top = items(ranked)[:1]
        self.recognised = any(
            not {"relevance_score", "relevanceScore"}.isdisjoint(one)
            or ({"score", "index"} <= one.keys() and "prediction" not in one)
            for one in top
        ) or (ranked == [] and not {"api_version", "billed_units"}.isdisjoint(meta))
        self.model = text(data.get("model"))
        self.response_id = text(data.get("id"))
        self.error = error_text(data)
        found, self.facts = billed(meta)
        prompt = first(usage.get("prompt_tokens"), usage.get("total_tokens"))
        if prompt is not None or "search_units" in usage or "cost" in usage:
            faults: dict[str, str] = {}
            counts = {"input_tokens": prompt, "rerank_searches": usage.get("search_units")}
            found = Usage.of(found.units | counts, cost=cost(usage, faults), faults=faults)
        self.use(found)
