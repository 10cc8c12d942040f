"""pydantic-ai's `ModelResponse`, which the site may pass to `record`.

Its usage has the names of genai-prices' units: https://ai.pydantic.dev/api/usage/
"""

from __future__ import annotations

from typing import Any

from ..units import NAMES
from ..usage import Usage
from .reader import Reader, mapping, text


class ModelResponseReader(Reader):
    """Reads pydantic-ai's `ModelResponse`."""

    operation = "chat"

    def body(self, data: dict[str, Any]) -> None:
        """Take a whole answer."""
        self.recognised = data.get("kind") == "response" and "parts" in data
        if not self.recognised:
            return
        self.model = text(data.get("model_name"))
        self.response_id = text(data.get("provider_response_id"))
        usage = mapping(data.get("usage"))
        counts = {unit: usage[unit] for unit in NAMES if usage.get(unit)}
        whole = {unit: usage.get(unit) for unit in ("input_tokens", "output_tokens")}
        self.use(Usage.of(counts | whole if any(whole.values()) else counts))
