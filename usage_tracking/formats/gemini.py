"""Gemini and Vertex generateContent.

https://ai.google.dev/api/generate-content#UsageMetadata (every event of a stream carries running
totals; the last is right. `candidatesTokenCount` excludes thoughts, `promptTokenCount` excludes
tool use)
https://ai.google.dev/api/live#usagemetadata (Live names it `responseTokenCount`; it
uses a websocket, which is not captured)
"""

from __future__ import annotations

import json
from typing import Any

from ..events import Usage
from .reader import Reader, added, count, error_text, mapping, text


class GenerateContentReader(Reader):
    """Reads Gemini generateContent."""

    operation = "generate_content"

    usage_key = b'"usageMetadata"'

    def __init__(self) -> None:
        super().__init__()
        self._last = b""

    def feed(self, data: bytes) -> None:
        """Take the data of one stream event."""
        # Every event has totals, but only the last ones count: keep the event, parse it at the end.
        if self.usage_key in data:
            self._last = data
        if self._asks_shape or b'"error"' in data:
            super().feed(data)

    def end(self) -> None:
        """Finish a stream."""
        if self._last and isinstance(data := json.loads(self._last), dict):
            self.body(data)

    def body(self, data: dict[str, Any]) -> None:
        """Take a whole answer."""
        usage = data.get("usageMetadata")
        candidates = data.get("candidates")
        if isinstance(candidates, list) or (
            # Embeddings and predictions have their own readers.
            isinstance(usage, dict) and data.keys().isdisjoint(_OTHERS)
        ):
            self.recognised = True
        self.model = text(data.get("modelVersion")) or self.model
        self.response_id = text(data.get("responseId")) or self.response_id
        self.error = error_text(data) or self.error
        if isinstance(usage, dict):
            prompt = added(
                count(usage.get("promptTokenCount")), count(usage.get("toolUsePromptTokenCount"))
            )
            thoughts = count(usage.get("thoughtsTokenCount"))
            words = count(usage.get("candidatesTokenCount"))
            if words is None:
                words = count(usage.get("responseTokenCount"))
            completion = added(words, thoughts)
            total = count(usage.get("totalTokenCount"))
            if completion is None and total is not None and prompt is not None:
                # proto3 omits zeros: a blocked prompt has a total and no candidates.
                completion = max(total - prompt, 0)
            found = Usage(
                prompt_tokens=prompt,
                completion_tokens=completion,
                cached_tokens=count(usage.get("cachedContentTokenCount")),
                reasoning_tokens=thoughts,
            )
            if found.known:
                self.usage = found
        finished = isinstance(candidates, list) and any(
            mapping(candidate).get("finishReason") for candidate in candidates
        )
        if finished or mapping(data.get("promptFeedback")).get("blockReason"):
            self.complete = self.usage is not None


_OTHERS = {"embedding", "embeddings", "predictions"}
