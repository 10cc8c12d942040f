"""Decisions: answers to typed questions about one input.

https://developers.openai.com/api/docs/guides/decisions (the input is billed at one price, cached or
not, and the output is free)
Google's answer counts tokens as an interaction does: https://ai.google.dev/api/interactions-api
System One, which Ollama and others serve, names its answers and its tokens like OpenAI:
https://github.com/ollama/ollama-python/blob/main/ollama/_types.py
"""

from __future__ import annotations

from typing import Any

from ..usage import Usage
from .gemini_interactions import InteractionsReader
from .reader import cost, error_text, input_units, items, mapping, output_units, text


class DecisionsReader(InteractionsReader):
    """Reads decisions of OpenAI, Google and Ollama."""

    operation = "decision"

    def event(self, data: dict[str, Any]) -> None:
        """Take one parsed stream event."""
        self.body(data)  # no provider streams decisions

    def body(self, data: dict[str, Any]) -> None:
        """Take a whole answer."""
        usage = mapping(data.get("usage"))
        self.recognised = _has_answers(data.get("answers")) and any(
            name in usage for name in ("input_tokens", "total_input_tokens")
        )
        self.model = text(data.get("model"))
        self.error = error_text(data)
        if not self.recognised:
            return
        faults: dict[str, str] = {}
        if "total_input_tokens" in usage:
            self.price_facts["api"] = "decisions"
            self.use(Usage.of(self._counts(usage, faults), faults=faults))
            return
        if isinstance(data["answers"], list):  # those of Ollama have names
            self.price_facts["api"] = "decisions"
        counts = {
            "input_tokens": usage.get("input_tokens"),
            "output_tokens": usage.get("output_tokens"),
            **input_units(_details(usage)),
            **output_units(mapping(usage.get("output_tokens_details"))),
        }
        self.use(Usage.of(counts, cost=cost(usage, faults), faults=faults))


def _details(usage: dict[str, Any]) -> dict[str, Any]:
    """Return what is known about the input tokens; of System One, the usage itself names it."""
    cached = usage.get("cached_tokens", usage.get("cached_input_tokens"))  # the latter: Fireworks
    own = {"cached_tokens": cached, "cache_write_tokens": usage.get("cache_write_tokens")}
    return own | mapping(usage.get("input_tokens_details"))


#: Members of answers; not all providers name the type.
_ANSWERS = frozenset({"type", "noul", "choice", "score", "box"})


def _has_answers(answers: object) -> bool:
    """Return whether these are typed answers, in a list or by the name of their question."""
    if isinstance(answers, dict):
        answers = list(answers.values())
    return any(not _ANSWERS.isdisjoint(answer) for answer in items(answers))
