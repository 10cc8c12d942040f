"""Gemini `:embedContent` and `:batchEmbedContents`; only the newer models count tokens.

https://ai.google.dev/api/embeddings
https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/text-embeddings-api
"""

from __future__ import annotations

from typing import Any

from ..events import Usage
from .reader import Reader, added, count, error_text, items, mapping


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
        prompt = count(usage.get("promptTokenCount"))
        if prompt is None:  # google-genai's own shape of Vertex's `:predict`
            counts = (mapping(vector.get("statistics")).get("tokenCount") for vector in vectors)
            prompt = added(*map(count, counts))
        if prompt is not None:
            self.usage, self.complete = Usage(prompt_tokens=prompt), True
