"""Google: generateContent, streamGenerateContent and embeddings of the Gemini API.

Shapes: https://ai.google.dev/api/generate-content and …/embeddings
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar
from urllib.parse import unquote

from project.stub import assistant
from project.stub.exchange import Ask, Counts, Part, Question
from project.stub.orders import Orders
from project.stub.wire import (
    BadRequestError,
    Endpoint,
    Json,
    PlainEndpoint,
    conversation,
    counts,
    make_id,
    pretty,
    required,
    sse,
    texts_of,
)

_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_AS_SSE = "_alt_sse"  # body key under which `read` stores the query parameter


class GoogleEndpoint(Endpoint):
    """Headers and errors of Google."""

    provider = "google"

    def headers(self) -> dict[str, str]:
        return {"Vary": "Origin, X-Origin, Referer", "Server-Timing": "gfet4t7; dur=42"}

    def error(self, status: int, message: str) -> Json:
        code = _STATUSES.get(status, "INTERNAL" if status >= 500 else "INVALID_ARGUMENT")
        return {"error": {"code": status, "message": message, "status": code}}

    def key_error(self, key: str) -> str:
        return f"API key not valid: {key}. Please pass a valid API key."

    def unsupported(self, orders: Orders) -> str:
        if orders.cache_write:
            return "[stub cache_write] is supported for Anthropic and OpenAI only"
        return super().unsupported(orders)


class GenerateContent(GoogleEndpoint):
    """GenerateContent, plain and streamed."""

    operation = "generate_content"
    pattern = re.compile(
        r"/google/v1(?:beta|alpha)?/models/(?P<model>[^/:]+):(?P<stream>streamG|g)enerateContent"
    )
    models: ClassVar[dict[str, str]] = {
        "gemini-flash-latest": "gemini-2.5-flash-preview-09-2025",
        "gemini-flash-lite-latest": "gemini-2.5-flash-lite-preview-09-2025",
    }

    def read(self, body: Json, match: re.Match[str], query: dict[str, list[str]]) -> Question:
        contents = required(body, "contents", (list, dict))
        prompt, spoken = conversation(body.get("systemInstruction"), contents)
        as_sse = query.get("alt") == ["sse"]
        return Question(
            model=unquote(match["model"]),
            prompt=prompt,
            stream=match["stream"] == "streamG",
            body={**body, _AS_SSE: as_sse},
            spoken=spoken,
        )

    def content_type(self, question: Question) -> str:
        if question.stream and question.body[_AS_SSE]:
            return "text/event-stream"
        return "application/json; charset=UTF-8"

    def response_id(self) -> str:
        return make_id("", 22)

    def plain(self, ask: Ask) -> Part:
        answer = self._chunk(ask, ask.text, finish="STOP", written=ask.completion_tokens)
        return Part(pretty(answer) + b"\n", _counts(ask, ask.completion_tokens))

    def stream(self, ask: Ask) -> Iterator[Part]:
        """Report the counts so far in every chunk. Without `alt=sse`, chunks are a JSON array."""
        pieces = list(assistant.pieces(ask.text))
        for at, piece in enumerate(pieces, 1):
            last = at == len(pieces)
            spoken = ask.completion_tokens - ask.orders.reasoning
            written = ask.orders.reasoning + spoken * at // len(pieces)
            chunk = self._chunk(ask, piece, finish="STOP" if last else "", written=written)
            reports = _counts(ask, written)
            yield Part(self._framed(ask, chunk, first=at == 1, last=last), reports)

    def stream_error(self, ask: Ask, message: str) -> Iterator[Part]:
        error = self.error(503, message)
        yield Part(self._framed(ask, error, first=False, last=True), failed=True)

    def garbage(self, question: Question) -> bytes:
        if question.stream and question.body[_AS_SSE]:
            return b'data: {"candidates": [<html>502\r\n\r\n'
        return b'{"candidates": [<html>502'

    @staticmethod
    def _framed(ask: Ask, value: Json, *, first: bool, last: bool) -> bytes:
        if ask.body[_AS_SSE]:
            # Google ends lines with CRLF.
            return sse(value).replace(b"\n\n", b"\r\n\r\n")
        return (b"[" if first else b",\r\n") + pretty(value) + (b"\n]\n" if last else b"\n")

    @staticmethod
    def _chunk(ask: Ask, text: str, *, finish: str, written: int) -> Json:
        candidate: Json = {"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}
        if finish:
            candidate["finishReason"] = finish
        answer: Json = {"candidates": [candidate]}
        if not ask.orders.nousage:
            answer["usageMetadata"] = _usage(ask, written)
        return {**answer, "modelVersion": ask.model, "responseId": ask.response_id}


class EmbedContent(PlainEndpoint, GoogleEndpoint):
    """Embed one content, or a batch as the SDK sends it."""

    operation = "embeddings"
    pattern = re.compile(
        r"/google/v1(?:beta|alpha)?/models/(?P<model>[^/:]+):(?:e|batchE)mbedContents?"
    )

    def read(self, body: Json, match: re.Match[str], query: dict[str, list[str]]) -> Question:
        contents = [request.get("content") for request in self._requests(body)]
        prompt = "\n".join(texts_of(contents))
        if not prompt:
            raise BadRequestError("content is required")
        return Question(unquote(match["model"]), prompt, stream=False, body=body, spoken=prompt)

    def response_id(self) -> str:
        return ""

    def plain(self, ask: Ask) -> Part:
        vectors = [self._vector(request) for request in self._requests(ask.body)]
        in_batch = "requests" in ask.body
        answer: Json = {"embeddings": vectors} if in_batch else {"embedding": vectors[0]}
        if ask.orders.nousage:
            return Part(pretty(answer), Counts())
        details = [{"modality": "TEXT", "tokenCount": ask.prompt_tokens}]
        answer["usageMetadata"] = {
            "promptTokenCount": ask.prompt_tokens,
            "promptTokenDetails": details,
        }
        return Part(pretty(answer), Counts(prompt=ask.prompt_tokens))

    def answered_model(self, requested: str) -> str:
        return ""  # the answer does not name the model

    def unsupported(self, orders: Orders) -> str:
        if orders.cached or orders.reasoning:
            return "[stub cached, reasoning] are not supported for embeddings"
        return super().unsupported(orders)

    @staticmethod
    def _requests(body: Json) -> list[Json]:
        requests = body.get("requests", [body])
        if not isinstance(requests, list) or not all(isinstance(r, dict) for r in requests):
            raise BadRequestError("requests must be a list of objects")
        return requests

    @staticmethod
    def _vector(request: Json) -> Json:
        size = request.get("outputDimensionality")
        text = "\n".join(texts_of(request.get("content")))
        return {"values": assistant.embedding_of(text, size if isinstance(size, int) else 768)}


def _usage(ask: Ask, written: int) -> Json:
    orders = ask.orders
    usage: Json = {
        "promptTokenCount": ask.prompt_tokens,
        # Without thoughts, unlike the completion counts of other providers.
        "candidatesTokenCount": written - orders.reasoning,
        "totalTokenCount": ask.prompt_tokens + written,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": ask.prompt_tokens}],
    }
    if orders.cached:
        usage["cachedContentTokenCount"] = orders.cached
        usage["cacheTokensDetails"] = [{"modality": "TEXT", "tokenCount": orders.cached}]
    if orders.reasoning:
        usage["thoughtsTokenCount"] = orders.reasoning
    return usage


def _counts(ask: Ask, written: int) -> Counts:
    orders = ask.orders
    if orders.nousage:
        return counts(ask)
    return Counts(
        prompt=ask.prompt_tokens,
        completion=written,
        cached=orders.cached or None,
        reasoning=orders.reasoning or None,
    )
