"""Anthropic: messages.

Shapes: https://docs.claude.com/en/api/messages and …/messages-streaming
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

from project.stub import assistant
from project.stub.exchange import Ask, Counts, Part, Question
from project.stub.wire import (
    Endpoint,
    Json,
    compact,
    conversation,
    counts,
    make_id,
    required,
    sse,
)

_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}


class Messages(Endpoint):
    """Messages, plain and streamed."""

    provider = "anthropic"
    operation = "chat"
    pattern = re.compile(r"/anthropic/v1/messages")
    models: ClassVar[dict[str, str]] = {
        "claude-opus-4-5": "claude-opus-4-5-20251101",
        "claude-sonnet-4-5": "claude-sonnet-4-5-20250929",
        "claude-haiku-4-5": "claude-haiku-4-5-20251001",
        "claude-3-5-haiku-latest": "claude-3-5-haiku-20241022",
    }

    def read(self, body: Json, match: re.Match[str], query: dict[str, list[str]]) -> Question:
        model = required(body, "model", str)
        required(body, "max_tokens", int)
        prompt, spoken = conversation(body.get("system"), required(body, "messages", list))
        return Question(model, prompt, body.get("stream") is True, body, spoken)

    def response_id(self) -> str:
        return make_id("msg_01", 22)

    def headers(self) -> dict[str, str]:
        return {"request-id": make_id("req_011", 20), "anthropic-organization-id": "stub-org"}

    def plain(self, ask: Ask) -> Part:
        message = self._message(ask, [{"type": "text", "text": ask.text}], "end_turn")
        if not ask.orders.nousage:
            message["usage"] = _usage(ask, _input_tokens(ask))
        return Part(compact(message), _counts(ask))

    def stream(self, ask: Ask) -> Iterator[Part]:
        yield self._start(ask)
        block: Json = {"type": "text", "text": ""}
        yield _event({"type": "content_block_start", "index": 0, "content_block": block})
        yield _event({"type": "ping"})
        for piece in assistant.pieces(ask.text):
            delta = {"type": "text_delta", "text": piece}
            yield _event({"type": "content_block_delta", "index": 0, "delta": delta})
        yield _event({"type": "content_block_stop", "index": 0})
        last: Json = {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
        }
        if not ask.orders.nousage:
            # Counts in these streams are cumulative: these replace the counts of the start.
            usage = _usage(ask, _input_tokens(ask))
            del usage["cache_creation"], usage["service_tier"]
            last["usage"] = usage
        yield _event(last, _counts(ask))
        yield _event({"type": "message_stop"})

    def error(self, status: int, message: str) -> Json:
        kind = _ERROR_TYPES.get(status, "api_error")
        error = {"type": kind, "message": message}
        return {"type": "error", "error": error, "request_id": make_id("req_011", 20)}

    def stream_error(self, ask: Ask, message: str) -> Iterator[Part]:
        yield Part(sse(self.error(529, message), "error"), failed=True)

    def key_error(self, key: str) -> str:
        return f"invalid x-api-key: {key}"

    def garbage(self, question: Question) -> bytes:
        # The SDK ignores events without a name, even broken ones.
        name = b"event: message_start\n" if question.stream else b""
        return name + super().garbage(question)

    def _start(self, ask: Ask) -> Part:
        message = self._message(ask, [], None)
        if ask.orders.nousage:
            return _event({"type": "message_start", "message": message}, Counts())
        initial = _input_tokens(ask) - ask.orders.grow
        # The output count is a placeholder: the model has not written anything yet.
        message["usage"] = {**_usage(ask, initial), "output_tokens": 1}
        message["usage"].pop("output_tokens_details", None)
        reports = Counts(
            prompt=ask.prompt_tokens - ask.orders.grow,
            cached=ask.orders.cached,
            cache_write=ask.orders.cache_write,
        )
        return _event({"type": "message_start", "message": message}, reports)

    @staticmethod
    def _message(ask: Ask, content: list[Json], stop_reason: str | None) -> Json:
        return {
            "id": ask.response_id,
            "type": "message",
            "role": "assistant",
            "model": ask.model,
            "content": content,
            "stop_reason": stop_reason,
            "stop_sequence": None,
        }

    def unsupported(self, orders: object) -> str:
        return ""


def _input_tokens(ask: Ask) -> int:
    """Return the input tokens without cache reads and writes, which Anthropic counts separately."""
    return ask.prompt_tokens - ask.orders.cached - ask.orders.cache_write


def _usage(ask: Ask, input_tokens: int) -> Json:
    orders = ask.orders
    usage: Json = {
        "input_tokens": input_tokens,
        "cache_creation_input_tokens": orders.cache_write,
        "cache_read_input_tokens": orders.cached,
        "cache_creation": {
            "ephemeral_5m_input_tokens": orders.cache_write,
            "ephemeral_1h_input_tokens": 0,
        },
        "output_tokens": ask.completion_tokens,
        "service_tier": "standard",
    }
    if orders.reasoning:
        usage["output_tokens_details"] = {"thinking_tokens": orders.reasoning}
    return usage


def _counts(ask: Ask) -> Counts:
    orders = ask.orders
    return counts(
        ask,
        cached=orders.cached,
        cache_write=orders.cache_write,
        reasoning=orders.reasoning or None,
    )


def _event(event: Json, reports: Counts | None = None) -> Part:
    return Part(sse(event, event["type"]), reports)
