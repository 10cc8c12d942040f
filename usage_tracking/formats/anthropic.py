"""Anthropic messages.

https://platform.claude.com/docs/en/api/messages (`usage`: input_tokens exclude cache reads and
writes; `server_tool_use`: fetched pages are free of charge, and code is billed by its time, which
the answer does not say)
https://platform.claude.com/docs/en/build-with-claude/streaming (`message_start` carries the input
and a placeholder for the output; the usage of `message_delta` is cumulative)
https://platform.claude.com/docs/en/build-with-claude/compaction and
https://platform.claude.com/docs/en/agents-and-tools/tool-use/advisor-tool (`iterations`: the counts
at the top leave out compactions and advisors; the sum of the iterations is billed)
https://platform.claude.com/docs/en/build-with-claude/refusals-and-fallback (an iteration that was
refused before any output is free of charge)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..usage import ITERATIONS, Usage
from .reader import Reader, cost, count, error_text, items, mapping, text, total

_TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
_LIFETIMES = ("cache_write_5m_tokens", "cache_write_1h_tokens")
#: Members that every usage of a message has.
_NAMES = frozenset({"input_tokens", "output_tokens"})
#: Types of the iterations that the counts at the top include, if they are of the answer's model.
_MESSAGES = frozenset({"message", "fallback_message", ""})


class MessagesReader(Reader):
    """Reads Anthropic messages."""

    operation = "chat"

    # The output count of `message_start` is a placeholder: final only after a `message_delta`.
    final_at_end = False

    def __init__(self) -> None:
        super().__init__()
        self._usage: dict[str, Any] = {}

    def event(self, data: dict[str, Any]) -> None:
        """Take one parsed stream event."""
        kind = data.get("type")
        if kind == "message_start":
            self._message(mapping(data.get("message")))
        elif kind == "message_delta":
            self._merge(data.get("usage"))
            if mapping(data.get("usage")).get("output_tokens") is not None:
                # No placeholder any more: the counts at the end of the stream are all.
                self.final_at_end = True
            if mapping(data.get("delta")).get("stop_reason"):
                self.complete = self.usage is not None and self.final_at_end
        else:
            self.error = error_text(data) or self.error

    def body(self, data: dict[str, Any]) -> None:
        """Take a whole answer."""
        self._message(data)
        self.error = error_text(data)
        self.complete = self.usage is not None

    def _message(self, message: dict[str, Any]) -> None:
        if message.get("type") == "message" and message.get("role") == "assistant":
            self.recognised = True
        self.model = text(message.get("model")) or self.model
        self.response_id = text(message.get("id")) or self.response_id
        self._merge(message.get("usage"))

    def _merge(self, usage: object) -> None:
        self._usage |= {k: v for k, v in mapping(usage).items() if v is not None}
        usage = self._usage
        self.service_tier = text(usage.get("service_tier")) or self.service_tier
        if usage.keys().isdisjoint(_NAMES):
            return
        for name in ("speed", "inference_geo"):
            if fact := text(usage.get(name)):
                self.price_facts[name] = fact
        faults: dict[str, str] = {}
        counts = _counts(usage, faults)
        counts["output_reasoning_tokens"] = mapping(usage.get("output_tokens_details")).get(
            "thinking_tokens"
        )
        iterations = _billed(usage.get(ITERATIONS), self.model, faults)
        if _is_repriced(usage, counts, self.model):
            self.price_facts["route"] = "fallback"
        if len(iterations) > 1 or not all(is_own for is_own, _ in iterations):
            counts = _with_iterations(counts, iterations)
        else:
            iterations = []
        # The web search of the server is billed by the call.
        tools = mapping(usage.get("server_tool_use"))
        counts["web_searches"] = tools.get("web_search_requests")
        found = Usage.of(
            counts,
            iterations=[each for _, each in iterations],
            cost=cost(usage, faults),  # OpenRouter and others add it
            faults=faults,
        )
        self.use(found, complete=self.complete)


def _counts(usage: dict[str, Any], faults: dict[str, str]) -> dict[str, Any]:
    """Return the token counts in a `usage` object or in one of its iterations, by unit."""
    parts = mapping(usage.get("cache_creation"))
    short = parts.get("ephemeral_5m_input_tokens")
    long = parts.get("ephemeral_1h_input_tokens")
    read = usage.get("cache_read_input_tokens")
    written = usage.get("cache_creation_input_tokens")
    if written is None:
        written = total(short, long)
    elif parts and (count(total(short, long)) or 0) < (count(written) or 0):
        # A stream may write more after its start, which alone says how long the cache lives.
        faults["cache_write_tokens"] = "more than its parts"
    plain = usage.get("input_tokens")
    return {
        "input_tokens": None if plain is None else total(plain, read, written),
        "output_tokens": usage.get("output_tokens"),
        "cache_read_tokens": read,
        "cache_write_tokens": written,
        "cache_write_5m_tokens": short,
        "cache_write_1h_tokens": long,
    }


def _billed(
    iterations: object, model: str, faults: dict[str, str]
) -> list[tuple[bool, dict[str, Any]]]:
    """Return the iterations that are billed, each with whether the counts at the top include it.

    Args:
        iterations: As they stand in the answer.
        model: The model of the answer.
        faults: Receives `iterations` if they cannot be read.
    """
    if iterations is None:
        return []
    if not isinstance(iterations, list) or not all(isinstance(each, dict) for each in iterations):
        faults[ITERATIONS] = "not a list of objects"
        return []
    billed = []
    for iteration in items(iterations):
        kind, other = text(iteration.get("type")), text(iteration.get("model"))
        is_other = bool(other) and other != model
        if is_other and kind == "message" and iteration.get("output_tokens") == 0:
            continue
        counts = {u: n for u, n in _counts(iteration, faults).items() if n is not None}
        if is_other:
            counts["model"] = other
        billed.append((kind in _MESSAGES and not is_other, counts))
    return billed


def _with_iterations(
    counts: dict[str, Any], iterations: list[tuple[bool, dict[str, Any]]]
) -> dict[str, Any]:
    """Return the counts of the whole call, of which `counts` leaves out some iterations.

    The thinking tokens, which no iteration names, are added to the iterations of the answer's
    model, the last first. They have the price of other output.
    """
    whole = {unit: _whole(unit, counts.get(unit), iterations) for unit in (*_TOKENS, *_LIFETIMES)}
    thinking = counts["output_reasoning_tokens"]
    left = count(thinking) or 0
    for is_own, iteration in reversed(iterations):
        if is_own and (share := min(left, count(iteration.get("output_tokens")) or 0)):
            iteration["output_reasoning_tokens"] = share
            left -= share
    return {**whole, "output_reasoning_tokens": thinking}


def _whole(unit: str, top: object, iterations: list[tuple[bool, dict[str, Any]]]) -> object:
    everything = total(*(each.get(unit) for _, each in iterations))
    others = total(top, *(each.get(unit) for is_own, each in iterations if not is_own))
    known = [value for value in (everything, others) if value is not None]
    wrong = [value for value in known if count(value) is None]
    # The counts at the top may be those of the first of several messages.
    return wrong[0] if wrong else max(map(_number, known), default=None)


def _number(value: object) -> int:
    return count(value) or 0


def _is_repriced(usage: dict[str, Any], counts: dict[str, Any], model: str) -> bool:
    """Return whether cache writes are billed as reads, because another model refused the request.

    https://platform.claude.com/docs/en/build-with-claude/fallback-credit
    """
    if not count(counts["cache_write_tokens"]):
        return False
    status = mapping(mapping(usage.get("fallback_credit")).get("status"))
    return status.get("type") == "redeemed" or any(_refusals(usage, model))


def _refusals(usage: dict[str, Any], model: str) -> Iterator[bool]:
    """Yield True for each iteration in which another model than the answer's refused."""
    for each in items(usage.get(ITERATIONS)):
        if each.get("type") == "message" and text(each.get("model")) not in {"", model}:
            yield True
