"""What the wire formats of all providers have in common."""

from __future__ import annotations

import json
import re
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar

from project.stub.exchange import Ask, Counts, Part, Question
from project.stub.orders import Orders

Json = dict[str, Any]


class BadRequestError(ValueError):
    """The request lacks what the provider's API requires."""

    status = 400


class MissingError(BadRequestError):
    """The request names something that the provider does not have."""

    status = 404


class Endpoint(ABC):
    """One operation of one provider: how to read its request and write its answers."""

    provider: ClassVar[str]
    operation: ClassVar[str]
    method: ClassVar[str] = "POST"
    pattern: ClassVar[re.Pattern[str]]
    stream_type: ClassVar[str] = "text/event-stream; charset=utf-8"
    # Today's names of aliases; the others answer under the name they were called by.
    models: ClassVar[dict[str, str]] = {}

    @abstractmethod
    def read(self, body: Json, match: re.Match[str], query: dict[str, list[str]]) -> Question: ...

    @abstractmethod
    def response_id(self) -> str: ...

    @abstractmethod
    def plain(self, ask: Ask) -> Part: ...

    @abstractmethod
    def stream(self, ask: Ask) -> Iterator[Part]: ...

    @abstractmethod
    def error(self, status: int, message: str) -> Json: ...

    @abstractmethod
    def stream_error(self, ask: Ask, message: str) -> Iterator[Part]: ...

    @abstractmethod
    def headers(self) -> dict[str, str]: ...

    def answer_headers(self, ask: Ask) -> dict[str, str]:
        return self.headers()

    def error_headers(self, status: int) -> dict[str, str]:
        return self.headers()

    def content_type(self, question: Question) -> str:
        return self.stream_type if question.stream else "application/json"

    def answered_model(self, requested: str) -> str:
        return self.models.get(requested, requested)

    def key_error(self, key: str) -> str:
        return f"Incorrect API key provided: {key}."

    def garbage(self, question: Question) -> bytes:
        cut_off = b'{"id": "oops", "choices": [<html>502 Bad Gateway</html>'
        return b"data: " + cut_off + b"\n\n" if question.stream else cut_off

    def unsupported(self, orders: Orders) -> str:
        """A complaint about directives that have no meaning in this format."""
        return "[stub grow] is for Anthropic only" if orders.grow else ""


class PlainEndpoint(Endpoint):
    """An operation that answers in one piece only: its `read` never asks for a stream."""

    def stream(self, ask: Ask) -> Iterator[Part]:
        raise BadRequestError(f"{self.operation} does not stream.")

    def stream_error(self, ask: Ask, message: str) -> Iterator[Part]:
        raise BadRequestError(f"{self.operation} does not stream.")


def compact(value: object) -> bytes:
    # A lone surrogate in a prompt comes back as "?": no provider sends broken UTF-8.
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


def pretty(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=2).encode(errors="replace")


def sse(value: object, event: str = "") -> bytes:
    head = f"event: {event}\n".encode() if event else b""
    return head + b"data: " + compact(value) + b"\n\n"


def ndjson(value: object) -> bytes:
    return compact(value) + b"\n"


def make_id(prefix: str, length: int = 24) -> str:
    return prefix + (uuid.uuid4().hex + uuid.uuid4().hex)[:length]


def texts_of(content: object) -> list[str]:
    """The texts of a message's content: a string, a block, or a list of them."""
    if isinstance(content, str):
        return [content]
    if isinstance(content, list):
        return [text for part in content for text in texts_of(part)]
    if isinstance(content, dict):
        return [text for key in ("text", "content", "parts") for text in texts_of(content.get(key))]
    return []


def conversation(system: object, messages: object) -> tuple[str, str]:
    """All the text, and the text that the application itself wrote.

    Directives are obeyed in the latter only, so that an answer which quotes one and comes back
    as history does not repeat the trouble.
    """
    turns = messages if isinstance(messages, list) else [messages]
    everything, spoken = texts_of(system), texts_of(system)
    for turn in turns:
        texts = texts_of(turn)
        everything += texts
        if not (isinstance(turn, dict) and turn.get("role") in ("assistant", "model")):
            spoken += texts
    return "\n".join(everything), "\n".join(spoken)


def required(body: Json, name: str, kind: type | tuple[type, ...]) -> Any:
    value = body.get(name)
    if not isinstance(value, kind) or not value:
        raise BadRequestError(f"Missing or unusable required parameter: '{name}'.")
    return value


def listed(given: str | list[Any]) -> list[str]:
    """The texts of an embeddings request: a string, token numbers, or a list of either."""
    if isinstance(given, str):
        return [given]
    if all(isinstance(item, int) for item in given):
        return [" ".join(map(str, given))]
    return [item if isinstance(item, str) else " ".join(map(str, item)) for item in given]


def counts(ask: Ask, **optional: int | None) -> Counts:
    if ask.orders.nousage:
        return Counts()
    return Counts(prompt=ask.prompt_tokens, completion=ask.completion_tokens, **optional)
