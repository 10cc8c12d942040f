"""OpenAI: chat completions, completions and embeddings.

Shapes: https://platform.openai.com/docs/api-reference
"""

from __future__ import annotations

import base64
import re
import struct
from collections.abc import Iterator
from typing import ClassVar

from project.stub import assistant
from project.stub.exchange import Ask, Charge, Counts, Part, Question
from project.stub.orders import Orders
from project.stub.wire import (
    Endpoint,
    Json,
    PlainEndpoint,
    compact,
    conversation,
    counts,
    listed,
    make_id,
    required,
    sse,
)

DONE = b"data: [DONE]\n\n"
_ERROR_TYPES = {
    400: ("invalid_request_error", None),
    401: ("invalid_request_error", "invalid_api_key"),
    403: ("invalid_request_error", "unsupported_country_region_territory"),
    404: ("invalid_request_error", "model_not_found"),
    429: ("requests", "rate_limit_exceeded"),
}


class OpenAIEndpoint(Endpoint):
    """Models, headers and errors of OpenAI."""

    provider = "openai"
    models: ClassVar[dict[str, str]] = {
        "gpt-4o": "gpt-4o-2024-08-06",
        "gpt-4o-mini": "gpt-4o-mini-2024-07-18",
        "gpt-4.1": "gpt-4.1-2025-04-14",
        "gpt-4.1-mini": "gpt-4.1-mini-2025-04-14",
        "gpt-4.1-nano": "gpt-4.1-nano-2025-04-14",
        "gpt-5": "gpt-5-2025-08-07",
        "gpt-5-mini": "gpt-5-mini-2025-08-07",
        "gpt-5-nano": "gpt-5-nano-2025-08-07",
        "gpt-5.1": "gpt-5.1-2025-11-13",
        "o4-mini": "o4-mini-2025-04-16",
    }

    def headers(self) -> dict[str, str]:
        return {
            "x-request-id": make_id("req_", 32),
            "openai-version": "2020-10-01",
            "openai-organization": "stub-org",
            "openai-processing-ms": "7",
        }

    def error(self, status: int, message: str) -> Json:
        kind, code = _ERROR_TYPES.get(status, ("server_error", None))
        return {"error": {"message": message, "type": kind, "param": None, "code": code}}

    def key_error(self, key: str) -> str:
        return (
            f"Incorrect API key provided: {key}. You can find your API key at "
            "https://platform.openai.com/account/api-keys."
        )


class ChatCompletions(OpenAIEndpoint):
    """Chat completions, plain and streamed."""

    operation = "chat"
    pattern = re.compile(r"/openai/v1/chat/completions")

    def read(self, body: Json, match: re.Match[str], query: dict[str, list[str]]) -> Question:
        model = required(body, "model", str)
        prompt, spoken = conversation(None, required(body, "messages", list))
        return Question(model, prompt, body.get("stream") is True, body, spoken)

    def response_id(self) -> str:
        return make_id("chatcmpl-", 29)

    def plain(self, ask: Ask) -> Part:
        choice = {
            "index": 0,
            "message": self._message(ask),
            "logprobs": None,
            "finish_reason": "stop",
        }
        answer = self._envelope(ask, "chat.completion", [choice])
        if not ask.orders.nousage:
            answer["usage"] = self._usage(ask)
        return Part(compact(answer), self._counts(ask))

    def stream(self, ask: Ask) -> Iterator[Part]:
        yield self._chunk(ask, {"role": "assistant", "content": "", "refusal": None})
        for piece in assistant.pieces(ask.text):
            yield self._chunk(ask, {"content": piece})
        yield self._chunk(ask, {}, "stop")
        if reports_usage(ask):
            answer = self._envelope(ask, "chat.completion.chunk", [])
            answer["usage"] = self._usage(ask)
            yield Part(sse(answer), self._counts(ask))
        yield Part(DONE)

    def stream_error(self, ask: Ask, message: str) -> Iterator[Part]:
        yield Part(sse(self.error(500, message)), failed=True)

    def _chunk(self, ask: Ask, delta: Json, finish_reason: str | None = None) -> Part:
        choice = {
            "index": 0,
            "delta": delta,
            "logprobs": None,
            "finish_reason": finish_reason,
        }
        answer = self._envelope(ask, "chat.completion.chunk", [choice])
        if reports_usage(ask):
            answer["usage"] = None
        answer["obfuscation"] = make_id("", 8)
        return Part(sse(answer))

    @staticmethod
    def _message(ask: Ask) -> Json:
        return {"role": "assistant", "content": ask.text, "refusal": None, "annotations": []}

    @staticmethod
    def _envelope(ask: Ask, kind: str, choices: list[Json]) -> Json:
        return {
            "id": ask.response_id,
            "object": kind,
            "created": ask.created,
            "model": ask.model,
            "service_tier": "default",
            "system_fingerprint": "fp_50cad350e4",
            "choices": choices,
        }

    def _usage(self, ask: Ask) -> Json:
        return chat_usage(ask)

    def _counts(self, ask: Ask) -> Counts:
        return chat_counts(ask)


class Completions(OpenAIEndpoint):
    """The legacy endpoint. Some servers of open models have only this one."""

    operation = "text_completion"
    pattern = re.compile(r"/openai/v1/completions")
    models: ClassVar[dict[str, str]] = {
        "gpt-3.5-turbo-instruct": "gpt-3.5-turbo-instruct:20230824-v2"
    }

    def read(self, body: Json, match: re.Match[str], query: dict[str, list[str]]) -> Question:
        model = required(body, "model", str)
        prompt = "\n".join(listed(required(body, "prompt", (str, list))))
        return Question(model, prompt, body.get("stream") is True, body, prompt)

    def response_id(self) -> str:
        return make_id("cmpl-", 29)

    def plain(self, ask: Ask) -> Part:
        answer = self._answer(ask, ask.text, "stop")
        if not ask.orders.nousage:
            answer["usage"] = chat_usage(ask)
        return Part(compact(answer), chat_counts(ask))

    def stream(self, ask: Ask) -> Iterator[Part]:
        for piece in assistant.pieces(ask.text):
            yield Part(sse(self._answer(ask, piece)))
        yield Part(sse(self._answer(ask, "", "stop")))
        if reports_usage(ask):
            answer = {**self._answer(ask, ""), "choices": [], "usage": chat_usage(ask)}
            yield Part(sse(answer), chat_counts(ask))
        yield Part(DONE)

    def stream_error(self, ask: Ask, message: str) -> Iterator[Part]:
        yield Part(sse(self.error(500, message)), failed=True)

    @staticmethod
    def _answer(ask: Ask, text: str, finish_reason: str | None = None) -> Json:
        choice = {"text": text, "index": 0, "logprobs": None, "finish_reason": finish_reason}
        return {
            "id": ask.response_id,
            "object": "text_completion",
            "created": ask.created,
            "model": ask.model,
            "choices": [choice],
        }


class Embeddings(PlainEndpoint, OpenAIEndpoint):
    """Embeddings of one or several texts."""

    operation = "embeddings"
    pattern = re.compile(r"/openai/v1/embeddings")
    _sizes: ClassVar[dict[str, int]] = {"text-embedding-3-large": 3072}

    def read(self, body: Json, match: re.Match[str], query: dict[str, list[str]]) -> Question:
        model = required(body, "model", str)
        texts = listed(required(body, "input", (str, list)))
        prompt = "\n".join(texts)
        return Question(model, prompt, stream=False, body=body, spoken=prompt)

    def response_id(self) -> str:
        return ""  # embeddings have no response id

    def plain(self, ask: Ask) -> Part:
        wanted = ask.body.get("dimensions")
        size = wanted if isinstance(wanted, int) else self._sizes.get(ask.model, 1536)
        as_base64 = ask.body.get("encoding_format") == "base64"
        data = [
            {
                "object": "embedding",
                "index": index,
                "embedding": vector_of(text, size, as_base64=as_base64),
            }
            for index, text in enumerate(listed(ask.body["input"]))
        ]
        answer: Json = {"object": "list", "data": data, "model": ask.model}
        if ask.orders.nousage:
            return Part(compact(answer), Counts())
        tokens = ask.prompt_tokens
        answer["usage"] = {"prompt_tokens": tokens, "total_tokens": tokens}
        return Part(compact(answer), Counts(prompt=tokens))

    def charge(self, ask: Ask) -> Charge | None:
        return Charge(Counts(prompt=ask.prompt_tokens))

    def unsupported(self, orders: Orders) -> str:
        if orders.cached or orders.cache_write or orders.reasoning:
            return "[stub cached, cache_write, reasoning] are not supported for embeddings"
        return super().unsupported(orders)


class Decisions(PlainEndpoint, OpenAIEndpoint):
    """Typed answers to questions about one input.

    https://developers.openai.com/api/reference/resources/decisions
    """

    operation = "decision"
    pattern = re.compile(r"/openai/v1/decisions")

    def read(self, body: Json, match: re.Match[str], query: dict[str, list[str]]) -> Question:
        model = required(body, "model", str)
        prompt, spoken = conversation(None, required(body, "input", (str, list)))
        required(body, "questions", list)
        return Question(model, prompt, stream=False, body=body, spoken=spoken)

    def response_id(self) -> str:
        return ""  # decisions have no id

    def plain(self, ask: Ask) -> Part:
        orders = ask.orders
        answers = [
            {"type": "predicate", "name": question.get("name"), "probability": 0.5}
            for question in ask.body["questions"]
        ]
        usage = {
            "input_tokens": ask.prompt_tokens,
            "input_tokens_details": {
                "cached_tokens": orders.cached,
                "cache_write_tokens": orders.cache_write,
            },
            "output_tokens": ask.completion_tokens,
            "output_tokens_details": {"reasoning_tokens": orders.reasoning},
            "total_tokens": ask.prompt_tokens + ask.completion_tokens,
        }
        reports = counts(
            ask, cached=orders.cached, cache_write=orders.cache_write, reasoning=orders.reasoning
        )
        answer = {"answers": answers, "model": ask.model}
        return Part(compact(answer if orders.nousage else {**answer, "usage": usage}), reports)


def reports_usage(ask: Ask) -> bool:
    """Return whether a last chunk reports the usage: only if the request asks for it."""
    options = ask.body.get("stream_options")
    asked = isinstance(options, dict) and options.get("include_usage") is True
    return asked and not ask.orders.nousage


def chat_usage(ask: Ask) -> Json:
    """Return the field `usage`."""
    orders = ask.orders
    details = {"cached_tokens": orders.cached, "audio_tokens": 0}
    if orders.cache_write:
        details["cache_write_tokens"] = orders.cache_write
    return {
        "prompt_tokens": ask.prompt_tokens,
        "completion_tokens": ask.completion_tokens,
        "total_tokens": ask.prompt_tokens + ask.completion_tokens,
        "prompt_tokens_details": details,
        "completion_tokens_details": {
            "reasoning_tokens": orders.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def chat_counts(ask: Ask) -> Counts:
    """Return the counts that `chat_usage` reports."""
    orders = ask.orders
    return counts(
        ask,
        cached=orders.cached,
        cache_write=orders.cache_write or None,
        reasoning=orders.reasoning,
    )


def vector_of(text: str, size: int, *, as_base64: bool) -> str | list[float]:
    """Return the embedding as numbers, or as base64 of 32-bit floats."""
    vector = assistant.embedding_of(text, size)
    if as_base64:
        return base64.b64encode(struct.pack(f"<{size}f", *vector)).decode()
    return vector
