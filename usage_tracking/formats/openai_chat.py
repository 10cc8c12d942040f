"""OpenAI chat completions and completions, and the many compatible gateways.

https://platform.openai.com/docs/api-reference/chat/object
https://platform.openai.com/docs/api-reference/chat-streaming/streaming (usage comes in one last
chunk, and only if `stream_options.include_usage` was sent)
Azure's streams name the model only after the first chunk:
https://learn.microsoft.com/azure/ai-services/openai/concepts/content-streaming
Groq streams: `x_groq.usage` https://console.groq.com/docs/api-reference
OpenRouter reports the cost in USD: https://openrouter.ai/docs/use-cases/usage-accounting
LiteLLM's proxy counts cache writes under several names, once each, inside the prompt:
https://docs.litellm.ai/docs/completion/prompt_caching
Mistral counts audio in seconds: https://docs.mistral.ai/capabilities/audio
Perplexity counts reasoning and citations beside the completion, and bills both:
https://docs.perplexity.ai/getting-started/pricing
watsonx names the model in `model_id`: https://cloud.ibm.com/apidocs/watsonx-ai#text-chat
vLLM, Perplexity and xAI may count what they have sent so far in each chunk:
https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html (`continuous_usage_stats`)
Groq bills the tools that it runs, each with a price of its own:
https://console.groq.com/docs/tool-use/built-in-tools
Gemini leaves its thoughts out of the completion, and includes them in the total:
https://ai.google.dev/gemini-api/docs/openai
xAI answers a deferred request with its id, and a poll for it with the chat completion, once:
https://docs.x.ai/developers/advanced-api-usage/deferred-chat-completions
Vertex names the traffic type in `extra_properties.google`:
https://docs.cloud.google.com/vertex-ai/generative-ai/docs/migrate/openai/overview
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..usage import Usage
from .gemini import tier
from .reader import (
    Job,
    Reader,
    added,
    cost,
    count,
    error_text,
    first,
    input_units,
    items,
    mapping,
    output_units,
    text,
    total,
)

#: Events of a stream that are parsed although they name neither the model nor usage.
_MAX_NAMELESS = 20
#: The bytes that name the tools that Groq has run.
_TOOLS = b'"executed_tools"'
#: The path that asks for the answer to a deferred request ends with this and its id.
_DEFERRED = "/deferred-completion/"


class ChatReader(Reader):
    """Reads OpenAI chat completions and completions."""

    operation = "chat"

    beside_usage = (_TOOLS,)

    def __init__(self) -> None:
        super().__init__()
        self._nameless = 0
        #: The choices that have begun, in a stream that counts what it has sent so far.
        self._open: set[int] = set()

    def asked(self, path: str, body: bytes | Mapping[str, Any] | None) -> None:
        """Take the request, whose path names the deferred request that it asks for."""
        if _DEFERRED in path and self.recognised:
            self.job = Job(path.rpartition(_DEFERRED)[2].rstrip("/"), ended=True)

    def wants(self, data: bytes) -> bool:
        """Return whether the events may have something to read."""
        return (
            (not self.model and self._nameless < _MAX_NAMELESS)
            or bool(self._open)
            or super().wants(data)
            or _TOOLS in data
        )

    def event(self, data: dict[str, Any]) -> None:
        """Take one parsed stream event."""
        if self._open or _usage_of(data):
            self._follow(items(data.get("choices")), data.get("usage"))
            self.final_at_end = not self._open
        self._read(data, is_last=not self._open)
        if not self.model:
            self._nameless += 1

    def done(self) -> None:
        """Take the last event of a stream."""
        self.final_at_end = True

    def long_event(self, data: dict[str, Any]) -> None:
        """Take what could be read of an event that was too long."""
        self._read(data, is_last=False)

    def _follow(self, choices: list[dict[str, Any]], usage: object) -> None:
        """Take the choices of a chunk: which ones have begun, and which have ended."""
        # A chunk before the first word counts the prompt alone.
        is_empty = not count(mapping(usage).get("completion_tokens"))
        for choice in choices:
            index = count(choice.get("index")) or 0
            if choice.get("finish_reason"):
                self._open.discard(index)
            elif is_empty or _has_words(choice):
                self._open.add(index)

    def body(self, data: dict[str, Any]) -> None:
        """Take a whole answer."""
        if data.keys() == {"request_id"} and (request_id := text(data["request_id"])):
            self.recognised = True
            self.response_id = request_id
            self.job = Job(request_id, ended=False)
        self._read(data, is_last=True)

    def _read(self, data: dict[str, Any], *, is_last: bool) -> None:
        if isinstance(data.get("choices"), list):
            self.recognised = True
        self.model = text(data.get("model")) or text(data.get("model_id")) or self.model
        self.response_id = text(data.get("id")) or self.response_id
        self.service_tier = text(data.get("service_tier")) or self.service_tier
        self.error = _error(data) or self.error
        usage = _usage_of(data)
        if _has_run_tools(data):
            self.price_facts["tool"] = "built_in"
        if isinstance(usage, dict):
            self.use(chat_usage(usage, self.model), complete=is_last)
            self.price_facts |= price_facts_of(usage)
            if extra := mapping(usage.get("extra_properties")):
                vertex = {"trafficType": mapping(extra.get("google")).get("traffic_type")}
                self.service_tier = tier(vertex) or self.service_tier


def _usage_of(data: dict[str, Any]) -> Any:
    return (
        data.get("usage")
        or mapping(data.get("x_groq")).get("usage")
        # Moonshot: https://platform.moonshot.ai/docs/api/chat
        or next((choice.get("usage") for choice in items(data.get("choices"))), None)
    )


def _has_words(choice: dict[str, Any]) -> bool:
    """Return whether a choice of a chunk has anything of the answer."""
    delta = mapping(choice.get("delta"))
    return bool(choice.get("text")) or any(value for name, value in delta.items() if name != "role")


def _has_run_tools(data: dict[str, Any]) -> bool:
    return any(
        mapping(choice.get("message") or choice.get("delta")).get("executed_tools")
        for choice in items(data.get("choices"))
    )


def _error(data: dict[str, Any]) -> str:
    for place in _places_of_errors(data):
        if (place.get("error") or place.get("errors")) and (message := error_text(place)):
            return message
    if data.get("object") == "error":  # vLLM, Mistral
        return error_text(data)
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


def chat_usage(usage: dict[str, Any], model: str = "") -> Usage:
    """Return the usage in a `usage` object of OpenAI chat or of a compatible provider.

    Args:
        usage: The object.
        model: The model that answered, "" if it is unknown.
    """
    faults: dict[str, str] = {}
    details = mapping(usage.get("prompt_tokens_details"))
    output = mapping(usage.get("completion_tokens_details"))
    prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
    # At the top at xAI's SDK, Perplexity and Databricks.
    reasoning = first(output.get("reasoning_tokens"), usage.get("reasoning_tokens"))
    counts = {
        "input_tokens": prompt,
        "output_tokens": completion,
        **input_units(details),
        **output_units(output),
        "cache_read_tokens": _cached(usage, details),
        "cache_write_tokens": _written(usage, details),
        "output_reasoning_tokens": reasoning,
    }
    if not usage.keys() <= _USUAL or "web_search_requests" in details:
        counts |= _unusual(usage, details)
    if "cache_creation_token_details" in details:
        counts |= _lifetimes(details["cache_creation_token_details"])
    billed: dict[str, Any] = {}
    everything = added(count(prompt), count(completion), count(reasoning))
    if not _PERPLEXITY.isdisjoint(usage):
        billed["output_tokens"] = total(completion, reasoning, usage.get("citation_tokens"))
    elif count(reasoning) and count(usage.get("total_tokens")) == everything:
        # xAI counts reasoning outside the completion: https://docs.x.ai/docs/models
        counts["output_tokens"] = total(completion, reasoning)
    elif not reasoning and "gemini" in model:
        thoughts = (count(usage.get("total_tokens")) or 0) - (everything or 0)
        if thoughts > 0 and count(prompt) is not None and count(completion) is not None:
            counts["output_tokens"] = total(completion, thoughts)
            counts["output_reasoning_tokens"] = thoughts
    return Usage.of(counts, billed=billed, cost=cost(usage, faults), faults=faults)


#: Members that only Perplexity's usage has.
_PERPLEXITY = frozenset({"citation_tokens", "num_search_queries"})


def _cached(usage: dict[str, Any], details: dict[str, Any]) -> object:
    return first(
        details.get("cached_tokens"),
        # DeepSeek: https://api-docs.deepseek.com/guides/kv_cache
        usage.get("prompt_cache_hit_tokens"),
        usage.get("cached_tokens"),  # Moonshot
        usage.get("cached_prompt_text_tokens"),  # xAI's SDK
        usage.get("cache_read_input_tokens"),  # LiteLLM, Databricks
    )


def _written(usage: dict[str, Any], details: dict[str, Any]) -> object:
    return first(
        details.get("cache_write_tokens"),
        details.get("cache_creation_tokens"),
        details.get("cache_creation_input_tokens"),
        usage.get("cache_creation_input_tokens"),
    )


def _lifetimes(written: object) -> dict[str, Any]:
    """Return cache writes by their lifetime, as Anthropic counts them."""
    tokens = mapping(written)
    return {
        "cache_write_5m_tokens": tokens.get("ephemeral_5m_input_tokens"),
        "cache_write_1h_tokens": tokens.get("ephemeral_1h_input_tokens"),
    }


#: Members of the usage of most answers.
_USUAL = frozenset(
    {
        *("prompt_tokens", "completion_tokens", "total_tokens"),
        *("prompt_tokens_details", "completion_tokens_details"),
    }
)


def _unusual(usage: dict[str, Any], details: dict[str, Any]) -> dict[str, Any]:
    """Return the units that only some providers count."""
    # `or None`: nothing that is empty is a number of seconds.
    seconds = usage.get("prompt_audio_seconds") or None
    counts = {
        "output_citation_tokens": usage.get("citation_tokens"),
        "audio_seconds": seconds,
        "input_audio_seconds": seconds,
        "web_searches": first(
            usage.get("num_search_queries"),  # Perplexity
            # LiteLLM: https://docs.litellm.ai/docs/completion/web_search
            mapping(usage.get("server_tool_use")).get("web_search_requests"),
            details.get("web_search_requests"),
        ),
        # xAI's SDK
        "input_text_tokens": usage.get("prompt_text_tokens"),
        "input_image_tokens": usage.get("prompt_image_tokens"),
        **_lifetimes(usage.get("cache_creation")),
    }
    if "server_side_tool_usage_details" in usage:
        counts |= xai_tools(usage)
    return {unit: value for unit, value in counts.items() if value is not None and value != 0}


def xai_tools(usage: dict[str, Any]) -> dict[str, Any]:
    """Return how often xAI ran each of its tools: https://docs.x.ai/docs/guides/tools/overview."""
    calls = mapping(usage.get("server_side_tool_usage_details"))
    return {
        "web_searches": calls.get("web_search_calls"),
        "social_searches": calls.get("x_search_calls"),
        "code_executions": calls.get("code_interpreter_calls"),
        "storage_searches": total(
            calls.get("file_search_calls"), calls.get("document_search_calls")
        ),
    }


def price_facts_of(usage: dict[str, Any]) -> dict[str, str]:
    """Return what the price depends on, as far as no unit of a `usage` object says it."""
    facts: dict[str, str] = {}
    if size := text(usage.get("search_context_size")):  # Perplexity
        facts["search_context_size"] = size
    if count(usage.get("num_sources_used")):
        # xAI, each source costs: https://docs.x.ai/docs/guides/live-search
        facts["search_type"] = "live"
    if count(usage.get("connector_tokens")):
        # Tokens of Mistral's own tools, without a published price.
        facts["tool"] = "connector"
    return facts
