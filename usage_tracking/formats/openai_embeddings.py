"""OpenAI embeddings and compatible ones.

https://platform.openai.com/docs/api-reference/embeddings/create
Voyage and Jina report only `total_tokens`: https://docs.voyageai.com/reference/embeddings-api
Voyage bills pictures by the pixel: https://docs.voyageai.com/reference/multimodal-embeddings-api
Ollama's old `/api/embeddings` returns one vector and no counts:
https://github.com/ollama/ollama/blob/main/docs/api.md#generate-embedding
"""

from __future__ import annotations

from typing import Any

from ..usage import Usage
from .reader import Reader, cost, error_text, first, input_units, items, mapping, text, total


class EmbeddingsReader(Reader):
    """Reads OpenAI embeddings."""

    operation = "embeddings"

    def body(self, data: dict[str, Any]) -> None:
        """Take a whole answer."""
        usage = data.get("usage")
        self.recognised = _has_vectors(data) or (data.get("data") == [] and _counts_input(usage))
        self.model = text(data.get("model")) or self.model
        self.response_id = text(data.get("id")) or self.response_id
        self.error = error_text(data)
        if isinstance(usage, dict):
            faults: dict[str, str] = {}
            counts = {
                "input_tokens": first(usage.get("prompt_tokens"), usage.get("total_tokens")),
                # Mistral has a 0 here, although embeddings have no completion.
                "output_tokens": usage.get("completion_tokens") or None,
                **input_units(mapping(usage.get("prompt_tokens_details"))),
            }
            pixels = total(usage.get("image_pixels"), usage.get("video_pixels"))
            if pixels is not None:  # Voyage
                counts["input_text_tokens"] = usage.get("text_tokens")
                counts["input_pixels"] = pixels
            self.use(Usage.of(counts, cost=cost(usage, faults), faults=faults))


def _has_vectors(data: dict[str, Any]) -> bool:
    if _is_vector(data.get("embedding")):
        return True
    vectors = items(data.get("data"))
    # Voyage nests the lists of contextualized embeddings; Jina names multi-vectors `embeddings`.
    return bool(vectors) and (
        not {"embedding", "embeddings"}.isdisjoint(vectors[0])
        or any("embedding" in vector for vector in items(vectors[0].get("data"))[:1])
    )


def _is_vector(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(number, (int, float)) for number in value[:1])


def _counts_input(usage: object) -> bool:
    return (
        isinstance(usage, dict)
        and not {"prompt_tokens", "total_tokens"}.isdisjoint(usage)
        and (
            "input_tokens" not in usage  # these are image tokens
        )
    )
