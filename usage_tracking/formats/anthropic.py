"""Anthropic messages.

https://docs.anthropic.com/en/api/messages (`usage`: input_tokens exclude cache reads and writes)
https://docs.anthropic.com/en/docs/build-with-claude/streaming (`message_start` carries the input
and a placeholder for the output; the usage of `message_delta` is cumulative)
"""

from __future__ import annotations

from typing import Any

from ..events import Usage
from .reader import Reader, added, count, error_text, mapping, text


class MessagesReader(Reader):
    """Reads Anthropic messages."""

    operation = "chat"

    # The output count of `message_start` is a placeholder: final only after a `message_delta`.
    final_at_end = False

    def __init__(self) -> None:
        super().__init__()
        self._usage: dict[str, Any] = {}

    def event(self, data: dict[str, Any]) -> None:
        """Take one parsed stream event."""
        kind = data.get("type")
        if kind == "message_start":
            self._message(mapping(data.get("message")))
        elif kind == "message_delta":
            self._merge(data.get("usage"))
            if mapping(data.get("delta")).get("stop_reason"):
                self.complete = self.usage is not None
        else:
            self.error = error_text(data) or self.error

    def body(self, data: dict[str, Any]) -> None:
        """Take a whole answer."""
        self._message(data)
        self.error = error_text(data)
        self.complete = self.usage is not None

    def _message(self, message: dict[str, Any]) -> None:
        if message.get("type") == "message" and message.get("role") == "assistant":
            self.recognised = True
        self.model = text(message.get("model")) or self.model
        self.response_id = text(message.get("id")) or self.response_id
        self._merge(message.get("usage"))

    def _merge(self, usage: object) -> None:
        self._usage |= {k: v for k, v in mapping(usage).items() if v is not None}
        self.service_tier = text(self._usage.get("service_tier")) or self.service_tier
        read = count(self._usage.get("cache_read_input_tokens"))
        write = count(self._usage.get("cache_creation_input_tokens"))
        plain = count(self._usage.get("input_tokens"))
        output = mapping(self._usage.get("output_tokens_details"))
        found = Usage(
            prompt_tokens=None if plain is None else added(plain, read, write),
            completion_tokens=count(self._usage.get("output_tokens")),
            cached_tokens=read,
            cache_write_tokens=write,
            reasoning_tokens=count(output.get("thinking_tokens")),
        )
        if found.known:
            self.usage = found
