"""LangChain's `AIMessage`, which the site may pass to `record`.

https://reference.langchain.com/python/langchain_core/messages/ai/ (`usage_metadata` counts the same
for all providers; `response_metadata` is the provider's own)
"""

from __future__ import annotations

from typing import Any

from ..events import Usage
from .openai_chat import chat_usage
from .reader import Reader, count, mapping, text


class MessageReader(Reader):
    """Reads LangChain's `AIMessage`."""

    operation = "chat"

    def body(self, data: dict[str, Any]) -> None:
        """Take a whole answer."""
        usage, response = (
            mapping(data.get("usage_metadata")),
            mapping(data.get("response_metadata")),
        )
        self.recognised = text(data.get("type")) in {"ai", "AIMessageChunk"} and bool(
            usage or response
        )
        if not self.recognised:
            return
        self.model = text(response.get("model_name")) or text(response.get("model"))
        name = text(data.get("id"))
        # An id that LangChain generated is not the provider's.
        self.response_id = text(response.get("id")) or (
            "" if name.startswith(("run-", "lc_")) else name
        )
        read = mapping(usage.get("input_token_details"))
        found = Usage(
            prompt_tokens=count(usage.get("input_tokens")),
            completion_tokens=count(usage.get("output_tokens")),
            cached_tokens=count(read.get("cache_read")),
            cache_write_tokens=count(read.get("cache_creation")),
            reasoning_tokens=count(mapping(usage.get("output_token_details")).get("reasoning")),
        )
        if not found.known:
            found = chat_usage(mapping(response.get("token_usage")))
        if found.known:
            self.usage, self.complete = found, True
