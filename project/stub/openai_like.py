"""OpenAI-compatible providers and their differences: Mistral, Groq, OpenRouter, Hugging Face.

Shapes: https://docs.mistral.ai/api, https://console.groq.com/docs/api-reference,
https://openrouter.ai/docs/use-cases/usage-accounting,
https://huggingface.co/docs/inference-providers/tasks/chat-completion
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

from project.stub import assistant
from project.stub.exchange import Ask, Charge, Counts, Part
from project.stub.openai_wire import DONE, ChatCompletions, Embeddings, reports_usage
from project.stub.orders import Orders
from project.stub.wire import Json, compact, counts, listed, make_id, sse


class _ChatLike(ChatCompletions):
    """Chat completions with the fields that all compatible providers have."""

    models: ClassVar[dict[str, str]] = {}

    def headers(self) -> dict[str, str]:
        return {"x-request-id": make_id("", 32)}

    def key_error(self, key: str) -> str:
        return f"Invalid API key: {key}"

    def unsupported(self, orders: Orders) -> str:
        if orders.cached or orders.cache_write or orders.reasoning:
            return "[stub cached, cache_write, reasoning] are not supported for this provider"
        return super().unsupported(orders)

    @staticmethod
    def _envelope(ask: Ask, kind: str, choices: list[Json]) -> Json:
        return {
            "id": ask.response_id,
            "object": kind,
            "created": ask.created,
            "model": ask.model,
            "choices": choices,
        }

    @staticmethod
    def _message(ask: Ask) -> Json:
        return {"role": "assistant", "content": ask.text}

    def _usage(self, ask: Ask) -> Json:
        return {
            "prompt_tokens": ask.prompt_tokens,
            "completion_tokens": ask.completion_tokens,
            "total_tokens": ask.prompt_tokens + ask.completion_tokens,
        }

    def _counts(self, ask: Ask) -> Counts:
        return counts(ask)

    def _chunk_data(self, ask: Ask, delta: Json, finish_reason: str | None = None) -> Json:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        return self._envelope(ask, "chat.completion.chunk", [choice])

    def _chunk(self, ask: Ask, delta: Json, finish_reason: str | None = None) -> Part:
        return Part(sse(self._chunk_data(ask, delta, finish_reason)))


class MistralChat(_ChatLike):
    """Mistral chat completions."""

    provider = "mistral"
    pattern = re.compile(r"/mistral/v1/chat/completions")

    def response_id(self) -> str:
        return make_id("", 32)

    def stream(self, ask: Ask) -> Iterator[Part]:
        """Always report the usage, in the chunk with the finish reason."""
        yield self._chunk(ask, {"role": "assistant", "content": ""})
        for piece in assistant.pieces(ask.text):
            yield self._chunk(ask, {"content": piece})
        last = self._chunk_data(ask, {"content": ""}, "stop")
        if not ask.orders.nousage:
            last["usage"] = self._usage(ask)
        yield Part(sse(last), self._counts(ask))
        yield Part(DONE)

    def error(self, status: int, message: str) -> Json:
        return {
            "object": "error",
            "message": message,
            "type": "invalid_request_error" if status < 500 else "internal_error",
            "param": None,
            "code": str(status),
        }


class MistralEmbeddings(Embeddings):
    """Mistral embeddings."""

    provider = "mistral"
    pattern = re.compile(r"/mistral/v1/embeddings")
    models: ClassVar[dict[str, str]] = {}

    def response_id(self) -> str:
        return make_id("", 32)

    def plain(self, ask: Ask) -> Part:
        data = [
            {
                "object": "embedding",
                "index": index,
                "embedding": assistant.embedding_of(text, 1024),
            }
            for index, text in enumerate(listed(ask.body["input"]))
        ]
        answer: Json = {
            "id": ask.response_id,
            "object": "list",
            "data": data,
            "model": ask.model,
        }
        if ask.orders.nousage:
            return Part(compact(answer), Counts())
        tokens = ask.prompt_tokens
        answer["usage"] = {"prompt_tokens": tokens, "completion_tokens": 0, "total_tokens": tokens}
        return Part(compact(answer), Counts(prompt=tokens))

    def error(self, status: int, message: str) -> Json:
        return MistralChat().error(status, message)


class GroqChat(_ChatLike):
    """Groq chat completions."""

    provider = "groq"
    pattern = re.compile(r"/groq/openai/v1/chat/completions")

    def stream(self, ask: Ask) -> Iterator[Part]:
        """Always report the usage, in the field `x_groq` of the last chunk."""
        request_id = make_id("req_", 26)
        first = self._chunk_data(ask, {"role": "assistant", "content": ""})
        yield Part(sse({**first, "x_groq": {"id": request_id}}))
        for piece in assistant.pieces(ask.text):
            yield self._chunk(ask, {"content": piece})
        last = self._chunk_data(ask, {}, "stop")
        usage: Json = {} if ask.orders.nousage else {"usage": self._usage(ask)}
        yield Part(sse({**last, "x_groq": {"id": request_id, **usage}}), self._counts(ask))
        if reports_usage(ask):
            chunk = {**self._envelope(ask, "chat.completion.chunk", []), **usage}
            yield Part(sse(chunk), self._counts(ask))
        yield Part(DONE)

    def stream_error(self, ask: Ask, message: str) -> Iterator[Part]:
        yield Part(sse(self.error(500, message), "error"), failed=True)

    def _usage(self, ask: Ask) -> Json:
        times = {"queue_time": 0.01, "prompt_time": 0.001, "completion_time": 0.02}
        return {**super()._usage(ask), **times, "total_time": 0.021}


class OpenRouterChat(_ChatLike):
    """A gateway to many providers, which reports the cost of a call."""

    provider = "openrouter"
    pattern = re.compile(r"/openrouter/api/v1/chat/completions")

    def response_id(self) -> str:
        return make_id("gen-", 24)

    def stream(self, ask: Ask) -> Iterator[Part]:
        # A comment that keeps the connection open while the provider works.
        yield Part(b": OPENROUTER PROCESSING\n\n")
        for piece in assistant.pieces(ask.text):
            yield self._chunk(ask, {"role": "assistant", "content": piece})
        yield self._chunk(ask, {"role": "assistant", "content": ""}, "stop")
        if not ask.orders.nousage:
            last = self._chunk_data(ask, {"role": "assistant", "content": ""})
            yield Part(sse({**last, "usage": self._usage(ask)}), self._counts(ask))
        yield Part(DONE)

    @staticmethod
    def _envelope(ask: Ask, kind: str, choices: list[Json]) -> Json:
        return {**_ChatLike._envelope(ask, kind, choices), "provider": "Stub"}

    def _usage(self, ask: Ask) -> Json:
        cost = _cost(ask)
        details = {"upstream_inference_cost": None}
        return {**super()._usage(ask), "cost": cost, "is_byok": False, "cost_details": details}

    def _counts(self, ask: Ask) -> Counts:
        reported = super()._counts(ask)
        return reported if ask.orders.nousage else replace(reported, cost=_cost(ask))

    def charge(self, ask: Ask) -> Charge | None:
        charge = super().charge(ask)
        return charge and replace(charge, counts=replace(charge.counts, cost=_cost(ask)))


class HuggingFaceChat(_ChatLike):
    """The router of Hugging Face's inference providers."""

    provider = "huggingface"
    pattern = re.compile(r"/hf/v1/chat/completions")


def _cost(ask: Ask) -> float:
    return round(ask.prompt_tokens * 1.5e-7 + ask.completion_tokens * 6e-7, 10)
