"""Gemini interactions.

https://ai.google.dev/api/interactions-api (`usage`: the output excludes thoughts, the input
excludes what tools read; the last event of a stream carries the interaction)
"""

from __future__ import annotations

from typing import Any

from ..events import Usage
from .reader import Reader, added, count, error_text, mapping, text


class InteractionsReader(Reader):
    """Reads Gemini interactions."""

    operation = "generate_content"

    def event(self, data: dict[str, Any]) -> None:
        """Take one parsed stream event."""
        kind = text(data.get("event_type"))
        if kind.startswith("interaction."):
            self.recognised = True
        self.error = error_text(data) or self.error
        if isinstance(interaction := data.get("interaction"), dict):
            self.body(interaction)

    def body(self, data: dict[str, Any]) -> None:
        """Take a whole answer."""
        usage = mapping(data.get("usage"))
        if data.get("object") == "interaction" or "total_input_tokens" in usage:
            self.recognised = True
        self.model = text(data.get("model")) or self.model
        self.response_id = text(data.get("id")) or self.response_id
        self.service_tier = text(data.get("service_tier")) or self.service_tier
        self.error = error_text(data) or self.error
        if data.get("status") == "failed" and not self.error:
            self.error = "failed"
        thoughts = count(usage.get("total_thought_tokens"))
        found = Usage(
            prompt_tokens=added(
                count(usage.get("total_input_tokens")), count(usage.get("total_tool_use_tokens"))
            ),
            completion_tokens=added(count(usage.get("total_output_tokens")), thoughts),
            cached_tokens=count(usage.get("total_cached_tokens")),
            reasoning_tokens=thoughts,
        )
        if found.known:
            self.usage, self.complete = found, True
