"""Gemini `:embedContent` and `:batchEmbedContents`; only the newer models count tokens.

https://ai.google.dev/api/embeddings
https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/text-embeddings-api
"""

from __future__ import annotations

from typing import Any

from ..usage import Usage
from .gemini import counts_of
from .reader import Reader, error_text, items, mapping, total


class EmbedContentReader(Reader):
    """Reads Gemini embeddings."""

    operation = "embeddings"

    usage_key = b'"usageMetadata"'

    def body(self, data: dict[str, Any]) -> None:
        """Take a whole answer."""
        vectors = [mapping(data.get("embedding")), *items(data.get("embeddings"))]
        usage = mapping(data.get("usageMetadata"))
        # Only the usage of a very long answer is kept.
        self.recognised = any("values" in vector for vector in vectors) or (
            data.get("data") == [] and "promptTokenCount" in usage
        )
        self.error = error_text(data)
        counts = {unit: n for unit, n in counts_of(usage).items() if not unit.startswith("output")}
        if counts["input_tokens"] is None:  # google-genai's own shape of Vertex's `:predict`
            statistics = (mapping(vector.get("statistics")) for vector in vectors)
            counts["input_tokens"] = total(*(each.get("tokenCount") for each in statistics))
        self.use(Usage.of(counts))
