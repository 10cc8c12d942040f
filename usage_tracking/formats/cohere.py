"""Cohere chat, generate and embed, in both versions of its API.

https://docs.cohere.com/reference/chat (v2: `usage`), https://docs.cohere.com/v1/reference/chat
(v1: `meta`), https://docs.cohere.com/reference/embed
https://docs.cohere.com/reference/chat-stream (v2: `message-end`; v1: `stream-end`)
https://docs.cohere.com/reference/parse (billed by the page)

Both report `billed_units` and `tokens`; the latter include the template that Cohere puts around a
prompt. As in genai-prices, the billed units count, because the price applies to them.
"""

from __future__ import annotations

from typing import Any

from ..units import fault_of
from ..usage import Usage
from .one_of import OneOf
from .openai_chat import ChatReader
from .reader import Reader, count, error_text, first, mapping, text, total

_STARTS, _ENDS = {"stream-start", "message-start"}, {"stream-end", "message-end"}
_FAILURES = {"ERROR", "ERROR_TOXIC", "TIMEOUT"}


class CohereReader(Reader):
    """Reads Cohere chat and generate."""

    operation = "chat"

    def wants(self, data: bytes) -> bool:
        """Return whether the events may have something to read."""
        return (
            self._asks_shape
            or b"stream-end" in data
            or b"message-end" in data
            or b'"error"' in data
        )

    def event(self, data: dict[str, Any]) -> None:
        """Take one parsed stream event."""
        kind = text(data.get("event_type")) or text(data.get("type"))
        if kind in _STARTS:
            self.recognised = self.recognised or bool({"generation_id", "delta"} & data.keys())
            self._identify(data)
        elif kind in _ENDS:
            # v1 repeats the whole answer here, v2 sends the rest of it.
            rest = mapping(data.get("response")) or mapping(data.get("delta"))
            self.body({"finish_reason": data.get("finish_reason"), **rest})
        else:
            self.error = error_text(data) or self.error

    def body(self, data: dict[str, Any]) -> None:
        """Take a whole answer."""
        meta = mapping(data.get("meta")) or mapping(data.get("usage"))
        if self._fits(data) and (
            not {"billed_units", "api_version"}.isdisjoint(meta)
            or "input_tokens" in mapping(meta.get("tokens"))
        ):
            self.recognised = True
        self._identify(data)
        self.error = error_text(data) or self.error
        reason = text(data.get("finish_reason"))
        if reason in _FAILURES and not self.error:
            self.error = reason
        found, self.facts = billed(meta)
        if self.facts.get("images") and "input_image_tokens" not in found.details:
            self.price_facts["input"] = "images"  # billed by the image, which is not a unit
        self.use(found)

    def _fits(self, data: dict[str, Any]) -> bool:
        return data.keys().isdisjoint({"embeddings", "results"})

    def _identify(self, data: dict[str, Any]) -> None:
        names = ("id", "response_id", "generation_id")
        found = next((text(data[name]) for name in names if text(data.get(name))), "")
        self.response_id = found or self.response_id


class CohereChatReader(OneOf):
    """Reads `/v1/chat`, where other providers (Writer) answer like OpenAI."""

    operation = "chat"
    kinds = (CohereReader, ChatReader)


class CohereEmbedReader(CohereReader):
    """Reads Cohere embed."""

    operation = "embeddings"

    usage_key = b'"meta"'

    def _fits(self, data: dict[str, Any]) -> bool:
        # Only the end of a very long answer is kept.
        return "embeddings" in data or data.get("data") == []


def billed(meta: dict[str, Any]) -> tuple[Usage, dict[str, Any]]:
    """Return the usage of a `meta` or a `usage`; the number of images and the like as facts."""
    units, tokens = mapping(meta.get("billed_units")), mapping(meta.get("tokens"))
    images = units.get("image_tokens")
    counts: dict[str, Any] = {
        # embed-v4 bills images and texts separately.
        "input_tokens": total(first(units.get("input_tokens"), units.get("text_tokens")), images),
        "output_tokens": units.get("output_tokens"),
        "rerank_searches": units.get("search_units"),
    }
    if all(value is None for value in counts.values()):
        counts = {
            "input_tokens": tokens.get("input_tokens"),
            "output_tokens": tokens.get("output_tokens"),
        }
    counts["input_image_tokens"] = images
    counts["input_document_pages"] = units.get("pages")
    cached: Any = meta.get("cached_tokens")
    prompt = counts["input_tokens"]
    billed_prompt = 0 if fault_of("input_tokens", prompt) else prompt
    # They may be tokens of Cohere's own prompt, which are not billed.
    if fault_of("cache_read_tokens", cached) or cached <= billed_prompt:
        counts["cache_read_tokens"] = cached
    facts = {
        name: number
        for name in ("search_units", "images", "classifications")
        if (number := count(units.get(name))) is not None
    }
    return Usage.of(counts), facts
