"""Gemini interactions.

https://ai.google.dev/api/interactions-api (`usage`: the output excludes thoughts, the input
excludes what tools read; the last event of a stream carries the interaction)
https://ai.google.dev/gemini-api/docs/deep-research (an interaction in the background is polled; no
answer says whether it is one, so that each is known under its own id)
https://ai.google.dev/gemini-api/docs/priority-inference (a header names the tier that was served)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..usage import Usage
from .gemini import TIER_HEADER, add_modalities, modalities, searches
from .reader import Job, Reader, count, error_text, items, mapping, moment, text, total

_GOING_ON = frozenset({"queued", "in_progress"})


class InteractionsReader(Reader):
    """Reads Gemini interactions."""

    operation = "generate_content"

    def __init__(self) -> None:
        super().__init__()
        self._served_tier = ""

    def head(self, headers: Mapping[str, str]) -> None:
        """Take the headers of the response."""
        super().head(headers)
        self.service_tier = self._served_tier = text(headers.get(TIER_HEADER))

    def wants(self, data: bytes) -> bool:
        """Return whether the events may have something to read."""
        return super().wants(data) or b'"interaction.' in data

    def event(self, data: dict[str, Any]) -> None:
        """Take one parsed stream event."""
        kind = text(data.get("event_type"))
        if kind.startswith("interaction."):
            self.recognised = True
        self.error = error_text(data) or self.error
        if isinstance(interaction := data.get("interaction"), dict):
            self.body(interaction)
        elif kind == "interaction.status_update":
            self.body({**data, "id": data.get("interaction_id")})

    def long_event(self, data: dict[str, Any]) -> None:
        """Take what could be read of an event that was too long."""
        self.body(data)

    def body(self, data: dict[str, Any]) -> None:
        """Take a whole answer."""
        usage = mapping(data.get("usage"))
        if (
            data.get("object") == "interaction"
            or ("total_input_tokens" in usage and "answers" not in data)  # a decision has them
            or (text(data.get("status")) and isinstance(data.get("steps"), list))
        ):
            self.recognised = True
        self.model = text(data.get("model")) or text(data.get("agent")) or self.model
        self.response_id = text(data.get("id")) or self.response_id
        if not self._served_tier:
            self.service_tier = text(data.get("service_tier")) or self.service_tier
        self.error = error_text(data) or self.error
        status = text(data.get("status"))
        if status == "failed" and not self.error:
            self.error = "failed"
        if status and self.response_id:
            began = moment(data.get("created")) or (self.job.began if self.job else None)
            self.job = Job(self.response_id, status not in _GOING_ON, began)
        faults: dict[str, str] = {}
        counts = self._counts(usage, faults)
        self.final_at_end = status not in _GOING_ON
        if self.final_at_end or counts["output_tokens"]:  # before the first one, all are 0
            self.use(Usage.of(counts, faults=faults), complete=self.final_at_end)

    def _counts(self, usage: dict[str, Any], faults: dict[str, str]) -> dict[str, Any]:
        tool = usage.get("total_tool_use_tokens")
        thoughts = usage.get("total_thought_tokens")
        counts = {
            "input_tokens": total(usage.get("total_input_tokens"), tool),
            "output_tokens": total(usage.get("total_output_tokens"), thoughts),
            "cache_read_tokens": usage.get("total_cached_tokens"),
            "output_reasoning_tokens": thoughts,
            "input_tool_tokens": tool,
        }
        tools = list(modalities(usage.get("tool_use_tokens_by_modality")))
        inputs = [*modalities(usage.get("input_tokens_by_modality")), *tools]
        cached = modalities(usage.get("cached_tokens_by_modality"))
        add_modalities(counts, "input_{}_tokens", inputs)
        add_modalities(counts, "input_{}_tool_tokens", tools)
        add_modalities(counts, "cache_{}_read_tokens", cached)
        add_modalities(
            counts, "output_{}_tokens", modalities(usage.get("output_tokens_by_modality"))
        )
        for tool_count in items(usage.get("grounding_tool_count")):
            number = tool_count.get("count")
            match tool_count.get("type"):
                case "google_search" if (queries := count(number)) is not None:
                    counts["web_searches"] = searches(self.model, queries, faults)
                case "google_search":
                    counts["web_searches"] = number
                case "google_maps" if number:
                    self.price_facts["search_type"] = "google_maps"
        return counts
