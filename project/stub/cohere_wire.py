"""Cohere: chat (v2, and v1 for older code), embed, rerank.

Shapes: https://docs.cohere.com/reference/chat, …/chat-stream, …/embed, …/rerank and, for v1,
https://docs.cohere.com/v1/reference/chat
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from uuid import uuid4

from project.stub import assistant
from project.stub.exchange import Ask, Counts, Part, Question
from project.stub.orders import Orders
from project.stub.wire import (
    Endpoint,
    Json,
    PlainEndpoint,
    compact,
    conversation,
    counts,
    make_id,
    ndjson,
    required,
    sse,
    texts_of,
)

#: Tokens of Cohere's own preamble, which Cohere counts but does not bill.
PREAMBLE = 60


class _Cohere(Endpoint):
    provider = "cohere"

    def response_id(self) -> str:
        return str(uuid4())

    def headers(self) -> dict[str, str]:
        return {"x-debug-trace-id": make_id("", 32), "x-endpoint-monthly-call-limit": "1000"}

    def answered_model(self, requested: str) -> str:
        return ""  # Cohere's answers do not name the model

    def error(self, status: int, message: str) -> Json:
        return {"id": str(uuid4()), "message": message}

    def key_error(self, key: str) -> str:
        return f"invalid api token: {key}"

    def unsupported(self, orders: Orders) -> str:
        if orders.cache_write or orders.reasoning:
            return "[stub cache_write, reasoning] are not supported for Cohere"
        return super().unsupported(orders)


class Chat(_Cohere):
    """Chat v2, plain and streamed."""

    operation = "chat"
    pattern = re.compile(r"/cohere/v2/chat")

    def read(self, body: Json, match: re.Match[str], query: dict[str, list[str]]) -> Question:
        model = required(body, "model", str)
        prompt, spoken = conversation(None, required(body, "messages", list))
        return Question(model, prompt, body.get("stream") is True, body, spoken)

    def plain(self, ask: Ask) -> Part:
        answer: Json = {
            "id": ask.response_id,
            "finish_reason": "COMPLETE",
            "message": {"role": "assistant", "content": [{"type": "text", "text": ask.text}]},
        }
        if not ask.orders.nousage:
            answer["usage"] = _usage(ask)
        return Part(compact(answer), _counts(ask))

    def stream(self, ask: Ask) -> Iterator[Part]:
        message: Json = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": []}
        yield _event("message-start", {"message": message}, id=ask.response_id)
        block = {"type": "text", "text": ""}
        yield _event("content-start", {"message": {"content": block}}, index=0)
        for piece in assistant.pieces(ask.text):
            yield _event("content-delta", {"message": {"content": {"text": piece}}}, index=0)
        yield _event("content-end", index=0)
        end: Json = {"finish_reason": "COMPLETE"}
        if not ask.orders.nousage:
            end["usage"] = _usage(ask)
        yield Part(_event("message-end", end).data, _counts(ask))
        yield Part(b"data: [DONE]\n\n")

    def stream_error(self, ask: Ask, message: str) -> Iterator[Part]:
        end = {"finish_reason": "ERROR", "error": message}
        yield Part(_event("message-end", end).data, failed=True)


class ChatV1(_Cohere):
    """Chat v1, plain and streamed as lines of JSON."""

    operation = "chat"
    pattern = re.compile(r"/cohere/v1/chat")
    stream_type = "application/stream+json"

    def read(self, body: Json, match: re.Match[str], query: dict[str, list[str]]) -> Question:
        message = required(body, "message", str)
        model = body.get("model") or "command-r"
        history = [turn.get("message") for turn in body.get("chat_history") or ()]
        prompt = "\n".join(texts_of([body.get("preamble"), history, message]))
        return Question(model, prompt, body.get("stream") is True, body, message)

    def plain(self, ask: Ask) -> Part:
        return Part(compact(self._answer(ask)), _counts(ask))

    def stream(self, ask: Ask) -> Iterator[Part]:
        start = {"event_type": "stream-start", "generation_id": str(uuid4())}
        yield Part(ndjson({"is_finished": False, **start}))
        for piece in assistant.pieces(ask.text):
            event = {"is_finished": False, "event_type": "text-generation", "text": piece}
            yield Part(ndjson(event))
        end = {"event_type": "stream-end", "finish_reason": "COMPLETE"}
        last = {"is_finished": True, **end, "response": self._answer(ask)}
        yield Part(ndjson(last), _counts(ask))

    def stream_error(self, ask: Ask, message: str) -> Iterator[Part]:
        end = {"event_type": "stream-end", "finish_reason": "ERROR", "error": message}
        response = {"response_id": ask.response_id, "text": "", "finish_reason": "ERROR"}
        yield Part(ndjson({"is_finished": True, **end, "response": response}), failed=True)

    def garbage(self, question: Question) -> bytes:
        return b'{"event_type": <html>502 Bad Gateway</html>\n'

    @staticmethod
    def _answer(ask: Ask) -> Json:
        answer: Json = {
            "response_id": ask.response_id,
            "generation_id": str(uuid4()),
            "text": ask.text,
            "chat_history": [],
            "finish_reason": "COMPLETE",
        }
        meta: Json = {"api_version": {"version": "1"}}
        return {**answer, "meta": meta if ask.orders.nousage else {**meta, **_usage(ask)}}


class _WithMeta(PlainEndpoint, _Cohere):
    """`meta.billed_units` contains the billed units."""

    def unsupported(self, orders: Orders) -> str:
        if orders.cached:
            return f"[stub cached] is not supported for {self.operation}"
        return super().unsupported(orders)

    @staticmethod
    def _meta(ask: Ask, billed: Json) -> Json:
        meta: Json = {"api_version": {"version": "2"}}
        return meta if ask.orders.nousage else {**meta, "billed_units": billed}


class Embed(_WithMeta):
    """Embeddings, with input tokens only."""

    operation = "embeddings"
    pattern = re.compile(r"/cohere/v[12]/embed")

    def read(self, body: Json, match: re.Match[str], query: dict[str, list[str]]) -> Question:
        model = required(body, "model", str)
        prompt = "\n".join(required(body, "texts", list))
        return Question(model, prompt, stream=False, body=body, spoken=prompt)

    def plain(self, ask: Ask) -> Part:
        texts = ask.body["texts"]
        vectors = [assistant.embedding_of(text, 256) for text in texts]
        by_type = ask.body.get("embedding_types") is not None
        answer = {
            "id": ask.response_id,
            "texts": texts,
            "embeddings": {"float": vectors} if by_type else vectors,
            "meta": self._meta(ask, {"input_tokens": ask.prompt_tokens}),
            "response_type": "embeddings_by_type" if by_type else "embeddings_floats",
        }
        reports = Counts() if ask.orders.nousage else Counts(prompt=ask.prompt_tokens)
        return Part(compact(answer), reports)


class Rerank(_WithMeta):
    """Rerank, without token counts."""

    operation = "rerank"
    pattern = re.compile(r"/cohere/v[12]/rerank")

    def read(self, body: Json, match: re.Match[str], query: dict[str, list[str]]) -> Question:
        model = required(body, "model", str)
        prompt = "\n".join([required(body, "query", str), *required(body, "documents", list)])
        return Question(model, prompt, stream=False, body=body, spoken=body["query"])

    def plain(self, ask: Ask) -> Part:
        documents = ask.body["documents"][: ask.body.get("top_n")]
        results = [
            {"index": index, "relevance_score": round(0.9 / (index + 1), 4)}
            for index in range(len(documents))
        ]
        # Billed per search, not per token.
        meta = self._meta(ask, {"search_units": 1})
        return Part(compact({"id": ask.response_id, "results": results, "meta": meta}), Counts())


def _event(kind: str, delta: Json | None = None, **more: object) -> Part:
    event: Json = {"type": kind, **more}
    return Part(sse(event if delta is None else {**event, "delta": delta}, kind))


def _usage(ask: Ask) -> Json:
    written = ask.completion_tokens
    usage: Json = {
        "billed_units": {"input_tokens": ask.prompt_tokens, "output_tokens": written},
        "tokens": {"input_tokens": ask.prompt_tokens + PREAMBLE, "output_tokens": written},
    }
    if ask.orders.cached:
        usage["cached_tokens"] = ask.orders.cached
    return usage


def _counts(ask: Ask) -> Counts:
    return counts(ask, cached=ask.orders.cached or None)
