"""Gemini and Vertex generateContent.

https://ai.google.dev/api/generate-content#UsageMetadata (every event of a stream carries running
totals; the last is right. `candidatesTokenCount` excludes thoughts, `promptTokenCount` excludes
tool use)
https://ai.google.dev/api/live#usagemetadata (Live names it `responseTokenCount`, and has its
sources in `serverContent`)
https://docs.cloud.google.com/vertex-ai/generative-ai/docs/reference/rest/v1/GenerateContentResponse
(`trafficType`)
https://ai.google.dev/gemini-api/docs/priority-inference (a header names the tier that was served)
https://ai.google.dev/gemini-api/docs/google-search (how searches are billed: see `searches`)
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ..usage import Usage
from .reader import Reader, count, error_text, items, mapping, text, total

#: The header that names the service tier that was served.
TIER_HEADER = "x-gemini-service-tier"
#: The bytes that name searches and sources; any event of a stream may have them.
_GROUNDING = (b'SearchQueries"', b'"groundingChunks"')
#: Modality, also by its number in protobuf → the part of a unit's name. A document has the price of
#: other input, and so has what is not specified.
_MODALITIES: Mapping[object, str] = {
    "text": "text",
    "image": "image",
    "video": "video",
    "audio": "audio",
    1: "text",
    2: "image",
    3: "video",
    4: "audio",
}
_ON_DEMAND = "on_demand_"
#: Families that are billed by the prompt that was grounded, not by the search.
_BY_PROMPT = re.compile(r"gemini-(?:[12](?!\d)|live-2|(?:pro|flash)(?:-1|-vision|$))")


class GenerateContentReader(Reader):
    """Reads Gemini generateContent."""

    operation = "generate_content"

    usage_key = b'"usageMetadata"'
    beside_usage = _GROUNDING

    def __init__(self) -> None:
        super().__init__()
        self._last = b""
        #: The queries of Google Search so far.
        self._queries: set[str] = set()

    def head(self, headers: Mapping[str, str]) -> None:
        """Take the headers of the response."""
        super().head(headers)
        self.service_tier = text(headers.get(TIER_HEADER))

    def wants(self, data: bytes) -> bool:
        """Return whether one event, or any of several, may have something to read."""
        return super().wants(data) or _is_grounded(data)

    def feed(self, data: bytes) -> None:
        """Take the data of one stream event."""
        # Every event has totals, but only the last ones count: keep the event, parse it at the end.
        if self.usage_key in data:
            self._last = data
        if self._asks_shape or b'"error"' in data or _is_grounded(data):
            super().feed(data)

    def long_event(self, data: dict[str, Any]) -> None:
        """Take what could be read of an event that was too long."""
        self._last = b""
        self.body(data)

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
        # google-genai keeps the headers with its object.
        headers = mapping(mapping(data.get("sdkHttpResponse")).get("headers"))
        self.service_tier = text(headers.get(TIER_HEADER)) or self.service_tier
        self._ground(items(candidates) or [mapping(data.get("serverContent"))])
        if isinstance(usage, dict):
            self.service_tier = tier(usage) or self.service_tier
            faults: dict[str, str] = {}
            counts = counts_of(usage)
            counts["web_searches"] = searches(self.model, len(self._queries), faults)
            self.use(Usage.of(counts, faults=faults), complete=self.complete)
        finished = isinstance(candidates, list) and any(
            mapping(candidate).get("finishReason") for candidate in candidates
        )
        if finished or mapping(data.get("promptFeedback")).get("blockReason"):
            self.complete = self.usage is not None

    def _ground(self, candidates: list[dict[str, Any]]) -> None:
        for candidate in candidates:
            found = mapping(candidate.get("groundingMetadata", candidate.get("grounding_metadata")))
            queries = found.get("webSearchQueries", found.get("web_search_queries"))
            if isinstance(queries, list):
                self._queries.update(filter(None, map(text, queries)))
            # These have prices of their own.
            if found.get("imageSearchQueries", found.get("image_search_queries")):
                self.price_facts["search_type"] = "google_images"
            chunks = items(found.get("groundingChunks", found.get("grounding_chunks")))
            if any(chunk.get("maps") for chunk in chunks):
                self.price_facts["search_type"] = "google_maps"


def _is_grounded(data: bytes) -> bool:
    return any(mark in data for mark in _GROUNDING)


_OTHERS = {"embedding", "embeddings", "predictions"}


def counts_of(usage: Mapping[str, Any]) -> dict[str, Any]:
    """Return the counts in a `usageMetadata` object, by unit."""
    tool = usage.get("toolUsePromptTokenCount")
    thoughts = usage.get("thoughtsTokenCount")
    words = usage.get("candidatesTokenCount")
    if words is None:
        words = usage.get("responseTokenCount")
    prompt, completion = total(usage.get("promptTokenCount"), tool), total(words, thoughts)
    everything = count(usage.get("totalTokenCount"))
    if completion is None and everything is not None and (known := count(prompt)) is not None:
        # proto3 omits zeros: a blocked prompt has a total and no candidates.
        completion = max(everything - known, 0)
    elif thoughts is None and tool is None:
        # google-generativeai does not know of thoughts, and only its total includes them.
        rest = (everything or 0) - (count(prompt) or 0) - (count(completion) or 0)
        if rest > 0 and None not in (count(prompt), count(completion)):
            thoughts, completion = rest, total(completion, rest)
    counts = {
        "input_tokens": prompt,
        "output_tokens": completion,
        "cache_read_tokens": usage.get("cachedContentTokenCount"),
        "output_reasoning_tokens": thoughts,
        "input_tool_tokens": tool,
    }
    answer = usage.get("candidatesTokensDetails") or usage.get("responseTokensDetails")
    tools = list(modalities(usage.get("toolUsePromptTokensDetails")))
    inputs = [*modalities(usage.get("promptTokensDetails")), *tools]
    add_modalities(counts, "input_{}_tokens", inputs)
    add_modalities(counts, "input_{}_tool_tokens", tools)
    cached = list(modalities(usage.get("cacheTokensDetails")))
    add_modalities(counts, "cache_{}_read_tokens", cached)
    if total(*(number for _, number in cached)) == usage.get("cachedContentTokenCount"):
        # The list is whole: nothing was cached of the modalities that it leaves out.
        for modality, _ in inputs:
            counts.setdefault(f"cache_{modality}_read_tokens", 0)
    add_modalities(counts, "output_{}_tokens", modalities(answer))
    return counts


def modalities(details: object) -> Iterator[tuple[str, object]]:
    """Yield the modality and the count of each item of a list such as `promptTokensDetails`."""
    for item in items(details):
        name = item.get("modality")
        kind = name.lower() if isinstance(name, str) else name
        if type(kind) in {str, int} and (found := _MODALITIES.get(kind)):
            number = item.get("tokenCount", item.get("token_count", item.get("tokens")))
            yield found, number


def add_modalities(counts: dict[str, Any], unit: str, found: Any) -> None:
    """Add counts by modality to `counts`; `unit` has a place for the name of the modality."""
    for modality, number in found:
        name = unit.format(modality)
        counts[name] = total(counts.get(name), number)


def tier(usage: Mapping[str, Any]) -> str:
    """Return the service tier that a `usageMetadata` object names, "" if it names none."""
    named = text(usage.get("serviceTier")).lower().removeprefix("service_tier_")
    traffic = text(usage.get("trafficType")).lower()
    if traffic.endswith("unspecified"):
        traffic = ""
    return traffic.removeprefix(_ON_DEMAND) or named


def searches(model: str, queries: int, faults: dict[str, str]) -> int | None:
    """Return how many searches are billed for an answer with so many different queries.

    From Gemini 3 on, each query is billed; before, the prompt is, once. The free allowance of an
    account is not known here: a search has its list price.

    Args:
        model: The model that answered.
        queries: The number of different queries; empty ones are free.
        faults: Receives `web_searches` if the model is unknown, and with it how it is billed.
    """
    if not queries:
        return None
    if not model:
        faults["web_searches"] = "billed by an unknown model"
    return 1 if _BY_PROMPT.search(model.lower()) else queries
