"""Vertex `:predict`: embeddings, images, and the old text models.

https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/text-embeddings-api (each
prediction counts its own tokens)
https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/imagen-api (reports no counts)
"""

from __future__ import annotations

from typing import Any

from ..usage import Usage
from .gemini import counts_of
from .reader import Reader, error_text, items, mapping, total


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
        counts = counts_of({**usage, "totalTokenCount": None})
        counts["input_tokens"] = total(
            counts["input_tokens"],
            *(one.get("token_count") for one in statistics),
            mapping(spent.get("inputTokenCount")).get("totalTokens"),
        )
        counts["output_tokens"] = total(
            counts["output_tokens"], mapping(spent.get("outputTokenCount")).get("totalTokens")
        )
        self.use(Usage.of(counts))
        if self.usage is None and images:
            self.facts["images"] = images
