"""OpenAI: Responses, including background responses that a client retrieves later.

Shapes: https://platform.openai.com/docs/api-reference/responses and …/guides/background
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from project.stub import assistant
from project.stub.background import Background
from project.stub.exchange import Ask, Charge, Counts, Part, Question
from project.stub.openai_wire import OpenAIEndpoint
from project.stub.wire import (
    Json,
    PlainEndpoint,
    compact,
    conversation,
    counts,
    make_id,
    required,
    sse,
)


class Responses(OpenAIEndpoint):
    """Create a response: plain, streamed or in the background."""

    operation = "chat"
    pattern = re.compile(r"/openai/v1/responses")

    def __init__(self, background: Background) -> None:
        self._background = background

    def read(self, body: Json, match: re.Match[str], query: dict[str, list[str]]) -> Question:
        model = required(body, "model", str)
        prompt, spoken = conversation(
            body.get("instructions"), required(body, "input", (str, list))
        )
        return Question(model, prompt, body.get("stream") is True, body, spoken)

    def response_id(self) -> str:
        return make_id("resp_", 48)

    def plain(self, ask: Ask) -> Part:
        if ask.body.get("background") is True:
            self._background.promise(ask)
            return _in_state(ask, "queued")
        return _in_state(ask, "completed")

    def stream(self, ask: Ask) -> Iterator[Part]:
        if ask.body.get("background") is True:  # a client can retrieve it after leaving the stream
            self._background.promise(ask)
        return self._numbered(self._events(ask))

    def stream_error(self, ask: Ask, message: str) -> Iterator[Part]:
        error = {"code": "server_error", "message": message}
        response = _response(ask, "failed", [], error=error)
        failed: list[tuple[Json, Counts | None]] = [
            ({"type": "error", **error, "param": None}, None),
            ({"type": "response.failed", "response": response}, None),
        ]
        for part in self._numbered(iter(failed), start=100):
            yield Part(part.data, failed=True)

    def _events(self, ask: Ask) -> Iterator[tuple[Json, Counts | None]]:
        item_id = make_id("msg_", 48)
        place = {"item_id": item_id, "output_index": 0, "content_index": 0}
        for status in ("created", "in_progress"):
            response = _response(ask, "in_progress", [])
            yield {"type": f"response.{status}", "response": response}, None
        item = {**_message_item(item_id, ""), "status": "in_progress", "content": []}
        yield {"type": "response.output_item.added", "output_index": 0, "item": item}, None
        empty = _text_part("")
        yield {"type": "response.content_part.added", **place, "part": empty}, None
        for piece in assistant.pieces(ask.text):
            delta = {"delta": piece, "logprobs": [], "obfuscation": make_id("", 8)}
            yield {"type": "response.output_text.delta", **place, **delta}, None
        done = {"text": ask.text, "logprobs": []}
        yield {"type": "response.output_text.done", **place, **done}, None
        part = _text_part(ask.text)
        yield {"type": "response.content_part.done", **place, "part": part}, None
        item = _message_item(item_id, ask.text)
        yield {"type": "response.output_item.done", "output_index": 0, "item": item}, None
        response = _response(ask, "completed", [item])
        yield {"type": "response.completed", "response": response}, _counts(ask)

    @staticmethod
    def _numbered(events: Iterator[tuple[Json, Counts | None]], start: int = 0) -> Iterator[Part]:
        for number, (event, reports) in enumerate(events, start):
            yield Part(sse({**event, "sequence_number": number}, event["type"]), reports)


class RetrieveResponse(PlainEndpoint, OpenAIEndpoint):
    """Poll a background response."""

    operation = "chat"
    method = "GET"
    pattern = re.compile(r"/openai/v1/responses/(?P<id>[^/]+)")

    def __init__(self, background: Background) -> None:
        self._background = background

    def read(self, body: Json, match: re.Match[str], query: dict[str, list[str]]) -> Question:
        # The request names no model: take that of the original request.
        ask = self._background.find(match["id"])
        return replace(ask.question, model=ask.model, response_id=ask.response_id, stream=False)

    def response_id(self) -> str:
        return ""

    def charge(self, ask: Ask) -> Charge | None:
        return None  # billed with the request that began it

    def plain(self, ask: Ask) -> Part:
        return self._in_state(ask, self._background.poll(ask.response_id))

    def _in_state(self, ask: Ask, status: str) -> Part:
        # Keeps the time of the original request.
        return _in_state(
            replace(ask, created=self._background.find(ask.response_id).created), status
        )


class CancelResponse(RetrieveResponse):
    """Cancel a background response."""

    method = "POST"
    pattern = re.compile(r"/openai/v1/responses/(?P<id>[^/]+)/cancel")

    def plain(self, ask: Ask) -> Part:
        return self._in_state(ask, self._background.cancel(ask.response_id))


def _in_state(ask: Ask, status: str) -> Part:
    if status != "completed":
        return Part(compact(_response(ask, status, [])), Counts())
    item = _message_item(make_id("msg_", 48), ask.text)
    return Part(compact(_response(ask, status, [item])), _counts(ask))


def _response(ask: Ask, status: str, output: list[Json], error: Json | None = None) -> Json:
    body = ask.body
    finished = status == "completed"
    return {
        "id": ask.response_id,
        "object": "response",
        "created_at": ask.created,
        "status": status,
        "background": body.get("background") is True,
        "completed_at": ask.created if finished else None,
        "error": error,
        "incomplete_details": None,
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "model": ask.model,
        "output": output,
        "parallel_tool_calls": True,
        "previous_response_id": body.get("previous_response_id"),
        "reasoning": {"effort": None, "summary": None},
        "service_tier": "default" if finished else "auto",
        "store": True,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": _usage(ask) if finished and not ask.orders.nousage else None,
        "user": None,
        "metadata": body.get("metadata") or {},
    }


def _usage(ask: Ask) -> Json:
    orders = ask.orders
    return {
        "input_tokens": ask.prompt_tokens,
        "input_tokens_details": {
            "cached_tokens": orders.cached,
            "cache_write_tokens": orders.cache_write,
        },
        "output_tokens": ask.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": orders.reasoning},
        "total_tokens": ask.prompt_tokens + ask.completion_tokens,
    }


def _counts(ask: Ask) -> Counts:
    orders = ask.orders
    return counts(
        ask, cached=orders.cached, cache_write=orders.cache_write, reasoning=orders.reasoning
    )


def _message_item(item_id: str, text: str) -> Json:
    return {
        "id": item_id,
        "type": "message",
        "status": "completed",
        "role": "assistant",
        "content": [_text_part(text)],
    }


def _text_part(text: str) -> Json:
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}
