"""Turn the response objects of SDKs (pydantic, protobuf, plain objects) into JSON-like dicts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ..system.interruptions import by_signal

#: Levels of an answer that are read; all counts are within them.
_DEPTH = 6
#: Results of one answer that are read; a vector may have thousands of numbers.
_RESULTS = 4096

#: Attributes to read from an object that cannot list its members.
_NAMES = (
    *("id", "object", "type", "role", "model", "status", "usage", "error", "event_type"),
    *("usage_metadata", "response_metadata", "model_version", "response_id", "response"),
    *("meta", "generation_id", "finish_reason", "delta", "text"),
    *("done", "created_at", "message", "total_duration"),
    *("prompt_eval_count", "prompt_eval_cached_count", "eval_count", "service_tier"),
    *("choices", "output", "tools", "tool_usage", "results", "data", "svg_usage"),
    *("duration", "segments", "usage_info", "pages", "document_annotation"),
)
_COUNTS = (
    *("id", "object", "model", "status", "usage"),  # of a response in an event
    *("prompt_tokens", "completion_tokens", "total_tokens", "reasoning_tokens", "cached_tokens"),
    *("input_tokens", "output_tokens", "cached_prompt_text_tokens"),
    *("prompt_text_tokens", "prompt_image_tokens", "prompt_cache_hit_tokens"),
    *("cost", "cost_in_usd_ticks", "estimated_cost", "total_cost", "is_byok", "cost_details"),
    *("upstream_inference_cost", "num_sources_used", "server_side_tool_usage_details"),
    *("prompt_tokens_details", "completion_tokens_details"),
    *("input_tokens_details", "output_tokens_details"),
    *("input_token_details", "output_token_details", "cached_tokens_details"),
    *("text_tokens", "audio_tokens", "image_tokens", "video_tokens"),
    *("cached_text_tokens", "cached_audio_tokens", "cached_image_tokens"),
    *("cache_creation_tokens", "cache_creation_token_details", "cache_write_tokens_details"),
    *("cache_read_input_tokens", "cache_creation_input_tokens", "ttl_12h_tokens"),
    *("ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens"),
    *("server_tool_use", "web_search_requests", "num_search_queries", "citation_tokens"),
    *("search_context_size", "connector_tokens", "prompt_audio_seconds"),
    *("type", "action", "name", "tools", "output", "service_tier", "tool_usage"),
    *("image_gen", "web_search", "num_requests", "tool_calls_details", "search_web", "invocation"),
    *("web_search_calls", "x_search_calls", "code_interpreter_calls"),
    *("file_search_calls", "document_search_calls"),
    *("seconds", "billable_audio_seconds", "input_text_messages"),
    *("pages_processed", "pages_processed_annotation", "images", "image_annotation"),
    *("prompt_token_count", "candidates_token_count", "response_token_count", "total_token_count"),
    *("thoughts_token_count", "cached_content_token_count", "tool_use_prompt_token_count"),
    *("total_input_tokens", "total_output_tokens", "total_thought_tokens"),
    *("total_cached_tokens", "total_tool_use_tokens"),
    *("billed_units", "tokens", "search_units", "api_version", "relevance_score", "index"),
    *("b64_json", "url", "embedding"),
    *("cache_read", "cache_creation", "cache_write_tokens", "reasoning", "thinking_tokens"),
    *("text", "audio", "image", "video"),  # LangChain's names of modalities
    # Anthropic
    *("iterations", "speed", "inference_geo"),
    # Gemini
    *("candidates_tokens_details", "response_tokens_details"),
    *("cache_tokens_details", "tool_use_prompt_tokens_details", "modality", "token_count"),
    *("input_tokens_by_modality", "output_tokens_by_modality", "cached_tokens_by_modality"),
    *("tool_use_tokens_by_modality", "grounding_tool_count", "traffic_type"),
)


def as_dict(response: Any) -> dict[str, Any]:
    """Return an answer as a dict with the names of the wire; {} if it is not an answer.

    Raises:
        Exception: What the object's own code raises, if there is no other way to read it.
    """
    data = _members(response, _NAMES)
    if data is None:
        return {}
    data = {name: _plain(value, _DEPTH) for name, value in data.items() if isinstance(name, str)}
    usage = data.get("usage_metadata")
    if isinstance(usage, dict) and any(name.endswith("_token_count") for name in usage):
        # Gemini over gRPC: snake_case.
        data = {_camel(name): value for name, value in data.items()}
        data["usageMetadata"] = {_camel(name): value for name, value in usage.items()}
    return data


def _plain(value: Any, depth: int) -> Any:
    if value is None or isinstance(value, (str, bytes, int, float)) or depth == 0:
        return value
    if isinstance(value, (list, tuple)):
        if value and isinstance(value[0], (str, bytes, int, float)):
            return value  # a vector
        return [_plain(item, depth - 1) for item in value[:_RESULTS]]
    members = _members(value, _COUNTS)
    if members is None:
        return value
    return {name: _plain(item, depth - 1) for name, item in members.items()}


def _members(thing: Any, names: Sequence[str]) -> Mapping[Any, Any] | None:
    """Return the members of `thing`; for an unknown kind of object, its attributes in `names`."""
    if thing is None or isinstance(thing, (str, bytes, int, float, type)):
        return None
    if isinstance(thing, Mapping):
        return thing
    failure: Exception | None = None
    for way in ("model_dump", "to_dict"):
        if hasattr(type(thing), way):
            try:
                members = _WAYS[way](thing)
            except Exception as error:  # code of an SDK; there are other ways
                if by_signal(error):
                    raise
                failure = error
                continue
            if isinstance(members, Mapping):
                return members
    if is_mock(thing):
        return None
    if dataclasses.is_dataclass(thing):
        names = [field.name for field in dataclasses.fields(thing)]
    found = dict(_attributes(thing, names))
    if failure is not None and not found:
        raise failure
    return found


_WAYS: dict[str, Callable[[Any], Any]] = {
    # Pydantic: google-genai's fields are snake_case in Python and camelCase on the wire.
    "model_dump": lambda thing: thing.model_dump(mode="json", by_alias=True, exclude_none=True),
    # Proto-plus messages, whose method is on the metaclass, and older SDKs.
    "to_dict": lambda thing: type(thing).to_dict(thing),
}


def _attributes(thing: Any, names: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Yield the attributes of protobuf messages and of objects of a site's own client."""
    for name in names:
        if (value := _attempt(getattr, thing, name)) is not None:
            yield name, value


def _attempt(way: Callable[..., Any], *arguments: Any) -> Any:
    """Return the result of code of an SDK or a site; None if it fails in any way."""
    try:
        return way(*arguments)
    except Exception as error:  # an unreadable answer counts as empty
        if by_signal(error):
            raise
        return None


def attribute(thing: Any, name: str) -> Any:
    """Return an attribute of an object of an SDK; None if it has none or its code fails."""
    return _attempt(getattr, thing, name)


def is_mock(thing: Any) -> bool:
    """Return whether `thing` is a mock or a proxy, which has every attribute, at every depth."""
    return attribute(thing, "no_answer_has_this") is not None


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)
