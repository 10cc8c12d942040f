"""OpenAI Responses.

https://platform.openai.com/docs/api-reference/responses/object
https://platform.openai.com/docs/api-reference/responses-streaming (the events
`response.completed`, `.incomplete` and `.failed` carry the whole response)
https://platform.openai.com/docs/guides/background (a response made in the background is polled)
"""

from __future__ import annotations

from typing import Any

from ..events import Usage
from .reader import Reader, count, error_text, mapping, text


class ResponsesReader(Reader):
    """Reads OpenAI Responses."""

    operation = "chat"

    _ENDED = frozenset({"completed", "incomplete", "failed", "cancelled"})

    def event(self, data: dict[str, Any]) -> None:
        """Take one parsed stream event."""
        kind = text(data.get("type"))
        if isinstance(response := data.get("response"), dict):
            self.body(response)
        elif kind == "error":
            self.error = text(data.get("message")) or error_text(data) or "error"
        elif "error" in data:
            self.error = error_text(data) or self.error

    def body(self, data: dict[str, Any]) -> None:
        """Take a whole answer."""
        if data.get("object") == "response":
            self.recognised = True
        self.model = text(data.get("model")) or self.model
        self.response_id = text(data.get("id")) or self.response_id
        self.service_tier = text(data.get("service_tier")) or self.service_tier
        if data.get("background") is True:
            self.background_since = count(data.get("created_at"))
        self.ended = text(data.get("status")) in self._ENDED
        self.error = error_text(data) or self.error
        if data.get("status") == "failed" and not self.error:
            self.error = "failed"
        if isinstance(usage := data.get("usage"), dict):
            details = mapping(usage.get("input_tokens_details"))
            found = Usage(
                prompt_tokens=count(usage.get("input_tokens")),
                completion_tokens=count(usage.get("output_tokens")),
                cached_tokens=count(details.get("cached_tokens")),
                cache_write_tokens=count(details.get("cache_write_tokens")),
                reasoning_tokens=count(
                    mapping(usage.get("output_tokens_details")).get("reasoning_tokens")
                ),
            )
            if found.known:
                self.usage, self.complete = found, True
