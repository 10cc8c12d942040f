"""Ollama: chat, generate and embed.

Shapes: https://docs.ollama.com/api/chat, …/generate, …/embed
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterator
from datetime import UTC, datetime

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
    listed,
    ndjson,
    required,
)


class _Ollama(Endpoint):
    provider = "ollama"
    stream_type = "application/x-ndjson"

    def response_id(self) -> str:
        return ""  # Ollama has no response ids

    def headers(self) -> dict[str, str]:
        return {}

    def error(self, status: int, message: str) -> Json:
        return {"error": message}

    def stream_error(self, ask: Ask, message: str) -> Iterator[Part]:
        yield Part(ndjson(self.error(500, message)), failed=True)

    def garbage(self, question: Question) -> bytes:
        return b'{"model": "oops", <html>502 Bad Gateway</html>\n'

    def unsupported(self, orders: Orders) -> str:
        if orders.cached or orders.cache_write or orders.reasoning:
            return "[stub cached, cache_write, reasoning] are not supported for Ollama"
        return super().unsupported(orders)


class _Generating(_Ollama):
    def plain(self, ask: Ask) -> Part:
        return Part(compact(self._last(ask, ask.text)), counts(ask))

    def stream(self, ask: Ask) -> Iterator[Part]:
        for piece in assistant.pieces(ask.text):
            yield Part(ndjson(self._line(ask, piece)))
        yield Part(ndjson(self._last(ask, "")), counts(ask))

    def _line(self, ask: Ask, text: str) -> Json:
        at = datetime.fromtimestamp(ask.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return {"model": ask.model, "created_at": at, **self._says(text), "done": False}

    def _last(self, ask: Ask, text: str) -> Json:
        ended = {"done": True, "done_reason": "stop", "total_duration": 7_000_000}
        line = {**self._line(ask, text), **ended, "load_duration": 1_000_000}
        if ask.orders.nousage:
            return line
        return {
            **line,
            "prompt_eval_count": ask.prompt_tokens,
            "prompt_eval_duration": 2_000_000,
            "eval_count": ask.completion_tokens,
            "eval_duration": 3_000_000,
        }

    @abstractmethod
    def _says(self, text: str) -> Json:
        """Return the fields of a line that contain `text`."""


class Chat(_Generating):
    """Chat, plain and streamed."""

    operation = "chat"
    pattern = re.compile(r"/ollama/api/chat")

    def read(self, body: Json, match: re.Match[str], query: dict[str, list[str]]) -> Question:
        model = required(body, "model", str)
        prompt, spoken = conversation(None, required(body, "messages", list))
        # Ollama streams by default.
        return Question(model, prompt, body.get("stream") is not False, body, spoken)

    def _says(self, text: str) -> Json:
        return {"message": {"role": "assistant", "content": text}}


class Generate(_Generating):
    """Generate, plain and streamed."""

    operation = "text_completion"
    pattern = re.compile(r"/ollama/api/generate")

    def read(self, body: Json, match: re.Match[str], query: dict[str, list[str]]) -> Question:
        model = required(body, "model", str)
        prompt, spoken = conversation(body.get("system"), required(body, "prompt", str))
        return Question(model, prompt, body.get("stream") is not False, body, spoken)

    def _says(self, text: str) -> Json:
        return {"response": text}


class Embed(PlainEndpoint, _Ollama):
    """Embeddings of one or several texts."""

    operation = "embeddings"
    pattern = re.compile(r"/ollama/api/embed")

    def read(self, body: Json, match: re.Match[str], query: dict[str, list[str]]) -> Question:
        model = required(body, "model", str)
        prompt = "\n".join(listed(required(body, "input", (str, list))))
        return Question(model, prompt, stream=False, body=body, spoken=prompt)

    def plain(self, ask: Ask) -> Part:
        vectors = [assistant.embedding_of(text, 384) for text in listed(ask.body["input"])]
        answer: Json = {
            "model": ask.model,
            "embeddings": vectors,
            "total_duration": 7_000_000,
            "load_duration": 1_000_000,
        }
        if ask.orders.nousage:
            return Part(compact(answer), Counts())
        answer["prompt_eval_count"] = ask.prompt_tokens
        return Part(compact(answer), Counts(prompt=ask.prompt_tokens))
