"""OpenAI Responses.

https://platform.openai.com/docs/api-reference/responses/object
https://platform.openai.com/docs/api-reference/responses-streaming (the events
`response.completed`, `.incomplete` and `.failed` carry the whole response; some gateways leave out
its `output`, whose items came before in `response.output_item.done`)
https://platform.openai.com/docs/api-reference/responses/compact (a call that is billed too)
https://platform.openai.com/docs/guides/background (a response made in the background is polled)

Tools that the provider runs: https://developers.openai.com/api/docs/pricing
- `tool_usage.web_search.num_requests` is the number of billed searches; else each
  `web_search_call` of the type `search` is one, while opening a page is free
- `tool_usage.image_gen` counts the tokens of the image model beside `usage`
- a container of the code interpreter has a price by the session, not by the call
xAI counts its tools in `usage`: https://docs.x.ai/developers/tools/tool-usage-details
Perplexity too: https://docs.perplexity.ai/api-reference/responses-post
"""

from __future__ import annotations

from typing import Any

from ..usage import Usage
from .openai_chat import xai_tools
from .openai_images import image_units
from .reader import (
    Job,
    Reader,
    cost,
    count,
    error_text,
    input_units,
    items,
    mapping,
    moment,
    output_units,
    text,
    total,
)

#: The bytes that name an event with a finished item, and the items that are counted.
_ITEM = b'output_item.done"'
_CALLS = (b'search_call"', b'interpreter_call"', b'generation_call"')


class ResponsesReader(Reader):
    """Reads OpenAI Responses."""

    operation = "chat"
    dates_jobs = True
    beside_usage = _CALLS

    _ENDED = frozenset({"completed", "incomplete", "failed", "cancelled"})
    _RUNNING = frozenset({"queued", "in_progress"})

    def __init__(self) -> None:
        super().__init__()
        #: The calls of tools in the events so far.
        self._calls: list[dict[str, Any]] = []

    def wants(self, data: bytes) -> bool:
        """Return whether the events may have something to read."""
        return super().wants(data) or (_ITEM in data and any(call in data for call in _CALLS))

    def event(self, data: dict[str, Any]) -> None:
        """Take one parsed stream event."""
        kind = text(data.get("type"))
        if isinstance(response := data.get("response"), dict):
            self.body(response)
        elif kind == "response.output_item.done":
            item = mapping(data.get("item"))
            # Not its result, which may be an image.
            self._calls.append({name: item.get(name) for name in ("type", "status", "action")})
        elif kind == "error":
            self.error = text(data.get("message")) or error_text(data) or "error"
        elif "error" in data:
            self.error = error_text(data) or self.error

    def long_event(self, data: dict[str, Any]) -> None:
        """Take what could be read of an event that was too long."""
        self.body({**data, "status": text(data.get("type")).rpartition(".")[2]})

    def body(self, data: dict[str, Any]) -> None:
        """Take a whole answer."""
        if text(data.get("object")) in {"response", "response.compaction"}:
            self.recognised = True
        self.model = text(data.get("model")) or self.model
        self.response_id = text(data.get("id")) or self.response_id
        self.service_tier = text(data.get("service_tier")) or self.service_tier
        if data.get("background") is True and (began := moment(data.get("created_at"))):
            ended = text(data.get("status")) in self._ENDED
            self.job = Job(self.response_id, ended, began)
        self.error = error_text(data) or self.error
        if data.get("status") == "failed" and not self.error:
            self.error = "failed"
        if isinstance(usage := data.get("usage"), dict):
            self._count(usage, data)

    def _count(self, usage: dict[str, Any], data: dict[str, Any]) -> None:
        faults: dict[str, str] = {}
        details = mapping(usage.get("input_tokens_details"))
        counts = {
            "input_tokens": usage.get("input_tokens"),
            "output_tokens": usage.get("output_tokens"),
            **input_units(details),
            **output_units(mapping(usage.get("output_tokens_details"))),
        }
        if "cache_read_input_tokens" in details:  # Perplexity
            counts["cache_read_tokens"] = details["cache_read_input_tokens"]
            counts["cache_write_tokens"] = details.get("cache_creation_input_tokens")
        calls = items(data.get("output")) or self._calls
        counts |= tool_calls(usage, data, calls)
        images = image_units(mapping(mapping(data.get("tool_usage")).get("image_gen")))
        model = _image_model(data)
        iterations = []
        if any(images.values()) and model:
            counts |= {unit: total(counts.get(unit), images[unit]) for unit in images}
            iterations.append({**images, "model": model})
        elif any(images.values()) or has_images(calls):
            self.price_facts["tool"] = "image_generation"
        if count(mapping(details.get("cache_write_tokens_details")).get("ttl_12h_tokens")):
            self.price_facts["cache_ttl"] = "12h"
        if counts.get("web_searches") and any(
            text(tool.get("type")).startswith("web_search_preview")
            for tool in items(data.get("tools"))
        ):
            self.price_facts["search_type"] = "preview"
        found = Usage.of(counts, iterations=iterations, cost=cost(usage, faults), faults=faults)
        # Some gateways count what they have sent so far in each event.
        self.use(found, complete=text(data.get("status")) not in self._RUNNING)


def _is(item: dict[str, Any], kind: str) -> bool:
    return item.get("type") == kind and item.get("status") != "failed"


def has_images(calls: list[dict[str, Any]]) -> bool:
    """Return whether a tool made an image, whose tokens only `tool_usage` counts."""
    return any(_is(call, "image_generation_call") for call in calls)


def _image_model(data: dict[str, Any]) -> str:
    tools = items(data.get("tools"))
    return next(
        (text(tool.get("model")) for tool in tools if tool.get("type") == "image_generation"), ""
    )


def tool_calls(
    usage: dict[str, Any], data: dict[str, Any], calls: list[dict[str, Any]]
) -> dict[str, Any]:
    """Return how often the provider ran each of its tools that has a price.

    Args:
        usage: The `usage` object of the answer.
        data: The answer.
        calls: The items of its output.
    """
    if isinstance(usage.get("server_side_tool_usage_details"), dict):
        return xai_tools(usage)
    searches = sum(
        _is(call, "web_search_call")
        and text(mapping(call.get("action")).get("type")) in {"", "search"}
        for call in calls
    )
    perplexity = mapping(usage.get("tool_calls_details"))
    invoked = perplexity.get("search_web", perplexity.get("web_search"))
    return {
        "web_searches": next(
            (
                value
                for value in (
                    mapping(mapping(data.get("tool_usage")).get("web_search")).get("num_requests"),
                    invoked.get("invocation") if isinstance(invoked, dict) else invoked,
                )
                if value is not None
            ),
            searches,
        ),
        "social_searches": sum(_is(call, "x_search_call") for call in calls),
        "storage_searches": sum(_is(call, "file_search_call") for call in calls),
        "code_executions": sum(_is(call, "code_interpreter_call") for call in calls),
    }
