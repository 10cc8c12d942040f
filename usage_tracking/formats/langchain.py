"""LangChain's `AIMessage`, which the site may pass to `record`.

https://reference.langchain.com/python/langchain_core/messages/ai/ (`usage_metadata` counts the same
for all providers; `response_metadata` is the provider's own, and has the rest of what is billed)
https://docs.langchain.com/oss/python/integrations/chat/openai (the tools that OpenAI ran are in the
content or in `tool_outputs`)
"""

from __future__ import annotations

from typing import Any

from ..usage import Usage
from .anthropic import MessagesReader
from .gemini import GenerateContentReader
from .openai_chat import chat_usage, price_facts_of
from .openai_responses import has_images, tool_calls
from .reader import Reader, cost, first, items, mapping, text, total


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
        self.service_tier = text(response.get("service_tier"))
        own, more = mapping(response.get("token_usage")), mapping(data.get("additional_kwargs"))
        # Perplexity's are beside the usage.
        self.price_facts |= price_facts_of(response) | price_facts_of(own)
        if more.get("executed_tools"):  # Groq
            self.price_facts["tool"] = "built_in"
        if "input_tokens" in mapping(response.get("usage")):
            self._adopt_claude(response["usage"])
            return
        tools = self._tools(data, response, more)
        found = _message_usage(usage, response, tools)
        self.use(found if found.known else chat_usage(own))

    def _adopt_claude(self, usage: dict[str, Any]) -> None:
        """Take the usage that Anthropic itself reported."""
        claude = MessagesReader()
        claude.body({"model": self.model, "usage": usage})
        self.service_tier = self.service_tier or claude.service_tier
        self.price_facts |= claude.price_facts
        if claude.usage is not None:
            self.use(claude.usage)

    def _tools(
        self, data: dict[str, Any], response: dict[str, Any], more: dict[str, Any]
    ) -> dict[str, Any]:
        """Return how often the provider ran its tools, by unit."""
        calls = [*items(data.get("content")), *items(more.get("tool_outputs"))]
        if has_images(calls):
            self.price_facts["tool"] = "image_generation"
        counts = {unit: n for unit, n in tool_calls({}, {}, calls).items() if n}
        if queries := response.get("num_search_queries"):  # Perplexity
            counts["web_searches"] = queries
        if grounding := mapping(response.get("grounding_metadata")):
            gemini = GenerateContentReader()
            candidates = [{"groundingMetadata": grounding}]
            gemini.body({"candidates": candidates, "modelVersion": self.model, "usageMetadata": {}})
            self.price_facts |= gemini.price_facts
            if gemini.usage is not None:
                counts |= gemini.usage.details
        return counts


def _message_usage(usage: dict[str, Any], response: dict[str, Any], tools: dict[str, Any]) -> Usage:
    """Return the usage in `usage_metadata`, with what only the provider's own usage has."""
    read = mapping(usage.get("input_token_details"))
    written = mapping(usage.get("output_token_details"))
    five, hour = read.get("ephemeral_5m_input_tokens"), read.get("ephemeral_1h_input_tokens")
    searches = mapping(mapping(response.get("usage")).get("server_tool_use"))
    faults: dict[str, str] = {}
    counts = {
        "input_tokens": usage.get("input_tokens"),
        "output_tokens": usage.get("output_tokens"),
        "cache_read_tokens": _of_any_tier(read, "cache_read"),
        # Anthropic's cache writes are counted by their lifetime or as a whole, never both.
        "cache_write_tokens": first(read.get("cache_creation"), total(five, hour)),
        "cache_write_5m_tokens": five,
        "cache_write_1h_tokens": hour,
        "output_reasoning_tokens": _of_any_tier(written, "reasoning"),
        "web_searches": searches.get("web_search_requests"),
        **tools,
    }
    for name in ("text", "audio", "image", "video"):
        counts[f"input_{name}_tokens"] = read.get(name)
        counts[f"output_{name}_tokens"] = written.get(name)
    price = cost(mapping(response.get("token_usage")), faults)
    return Usage.of(counts, cost=price, faults=faults)


def _of_any_tier(details: dict[str, Any], name: str) -> object:
    """Return a count, whose name LangChain prefixes with the service tier if it is not standard."""
    return first(*(details.get(f"{tier}{name}") for tier in ("", "flex_", "priority_")))
