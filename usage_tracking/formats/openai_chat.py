"""OpenAI chat completions and completions, and the many compatible gateways.

https://platform.openai.com/docs/api-reference/chat/object
https://platform.openai.com/docs/api-reference/chat-streaming/streaming (usage comes in one last
chunk, and only if `stream_options.include_usage` was sent)
Groq streams: `x_groq.usage` https://console.groq.com/docs/api-reference
OpenRouter reports the cost in USD: https://openrouter.ai/docs/use-cases/usage-accounting
watsonx names the model in `model_id`: https://cloud.ibm.com/apidocs/watsonx-ai#text-chat
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ..events import Usage
from .reader import Reader, added, cost, count, error_text, items, mapping, text


class ChatReader(Reader):
    """Reads OpenAI chat completions and completions."""

    operation = "chat"

    def body(self, data: dict[str, Any]) -> None:
        """Take a whole answer."""
        if isinstance(data.get("choices"), list):
            self.recognised = True
        self.model = text(data.get("model")) or text(data.get("model_id")) or self.model
        self.response_id = text(data.get("id")) or self.response_id
        self.service_tier = text(data.get("service_tier")) or self.service_tier
        self.error = _error(data) or self.error
        usage = (
            data.get("usage")
            or mapping(data.get("x_groq")).get("usage")
            # Moonshot: https://platform.moonshot.ai/docs/api/chat
            or next((choice.get("usage") for choice in items(data.get("choices"))), None)
        )
        if isinstance(usage, dict) and (found := chat_usage(usage)).known:
            self.usage, self.complete = found, True


def _error(data: dict[str, Any]) -> str:
    for place in _places_of_errors(data):
        if (place.get("error") or place.get("errors")) and (message := error_text(place)):
            return message
    # MiniMax: https://platform.minimax.io/docs/api-reference/errorcode
    status = mapping(data.get("base_resp"))
    return (
        f"{code}: {text(status.get('status_msg'))}"
        if (code := count(status.get("status_code")))
        else ""
    )


def _places_of_errors(data: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the objects in which an answer with the status 200 may report an error."""
    yield data
    yield mapping(data.get("x_groq"))
    for item in items(data.get("choices")) + items(data.get("prompt_filter_results")):
        yield item  # OpenRouter: https://openrouter.ai/docs/api-reference/errors
        # Azure, whose filter may fail: https://learn.microsoft.com/azure/ai-services/openai/
        # concepts/content-filter
        yield mapping(item.get("content_filter_results") or item.get("content_filter_result"))


def chat_usage(usage: dict[str, Any]) -> Usage:
    """Return the usage in a `usage` object of OpenAI chat or of a compatible provider."""
    details = mapping(usage.get("prompt_tokens_details"))
    output = mapping(usage.get("completion_tokens_details"))
    cached = next(
        (
            found
            for found in (
                count(details.get("cached_tokens")),
                # DeepSeek: https://api-docs.deepseek.com/guides/kv_cache
                count(usage.get("prompt_cache_hit_tokens")),
                count(usage.get("cached_tokens")),  # Moonshot
                count(usage.get("cached_prompt_text_tokens")),  # xAI's SDK
            )
            if found is not None
        ),
        None,
    )
    reasoning = count(output.get("reasoning_tokens"))
    if reasoning is None:
        reasoning = count(usage.get("reasoning_tokens"))  # xAI's SDK, Perplexity
    found = Usage(
        prompt_tokens=count(usage.get("prompt_tokens")),
        completion_tokens=count(usage.get("completion_tokens")),
        cached_tokens=cached,
        cache_write_tokens=count(details.get("cache_write_tokens")),
        reasoning_tokens=reasoning,
        cost=cost(usage),
    )
    everything = added(found.prompt_tokens, found.completion_tokens, found.reasoning_tokens)
    if found.reasoning_tokens and count(usage.get("total_tokens")) == everything:
        # xAI counts reasoning outside the completion: https://docs.x.ai/docs/models
        return replace(
            found, completion_tokens=added(found.completion_tokens, found.reasoning_tokens)
        )
    return found
