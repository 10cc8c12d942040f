"""Vertex `:predict`: embeddings, images, and the old text models.

https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/text-embeddings-api (each
prediction counts its own tokens)
https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/imagen-api (reports no counts)
"""

from __future__ import annotations

from typing import Any

from ..events import Usage
from .reader import Reader, added, count, error_text, items, mapping


class PredictReader(Reader):
    """Reads Vertex predictions."""

    operation = "embeddings"

    usage_key = b'"usageMetadata"'

    def body(self, data: dict[str, Any]) -> None:
        """Take a whole answer."""
        predictions = items(data.get("predictions"))
        statistics = [
            mapping(vectors.get("statistics"))
            for prediction in predictions
            if (vectors := mapping(prediction.get("embeddings")))
        ]
        images = sum("bytesBase64Encoded" in prediction for prediction in predictions)
        usage = mapping(data.get("usageMetadata"))
        spent = mapping(mapping(data.get("metadata")).get("tokenMetadata"))
        self.recognised = bool(predictions) and bool(statistics or images or usage or spent)
        self.error = error_text(data)
        found = Usage(
            prompt_tokens=added(
                *(count(one.get("token_count")) for one in statistics),
                count(usage.get("promptTokenCount")),
                count(mapping(spent.get("inputTokenCount")).get("totalTokens")),
            ),
            completion_tokens=added(
                count(usage.get("candidatesTokenCount")),
                count(mapping(spent.get("outputTokenCount")).get("totalTokens")),
            ),
        )
        if found.known:
            self.usage, self.complete = found, True
        elif images:
            self.facts["images"] = images
