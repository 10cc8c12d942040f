"""Base classes and helpers of all wire formats."""

from __future__ import annotations

import json
import re
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar

from project.stub.exchange import Ask, Charge, Counts, Part, Question
from project.stub.orders import Orders

Json = dict[str, Any]


class BadRequestError(ValueError):
    """The request lacks something that the provider's API requires."""

    status = 400


class MissingError(BadRequestError):
    """The request names something that does not exist."""

    status = 404


class Endpoint(ABC):
    """One operation of one provider: reads requests and writes answers."""

    provider: ClassVar[str]
    operation: ClassVar[str]
    method: ClassVar[str] = "POST"
    pattern: ClassVar[re.Pattern[str]]
    stream_type: ClassVar[str] = "text/event-stream; charset=utf-8"
    # Alias → model name in the answer. Other models keep the requested name.
    models: ClassVar[dict[str, str]] = {}

    @abstractmethod
    def read(self, body: Json, match: re.Match[str], query: dict[str, list[str]]) -> Question:
        """Parse a request. Raises BadRequestError."""

    @abstractmethod
    def response_id(self) -> str:
        """Return a new id for an answer; "" if the format has none."""

    @abstractmethod
    def plain(self, ask: Ask) -> Part:
        """Return the body of a plain answer."""

    @abstractmethod
    def stream(self, ask: Ask) -> Iterator[Part]:
        """Yield the events of a streamed answer."""

    @abstractmethod
    def error(self, status: int, message: str) -> Json:
        """Return the body of an error."""

    @abstractmethod
    def stream_error(self, ask: Ask, message: str) -> Iterator[Part]:
        """Yield the events of an error within a stream."""

    @abstractmethod
    def headers(self) -> dict[str, str]:
        """Return the headers of every response."""

    def answer_headers(self, ask: Ask) -> dict[str, str]:
        """Return the headers of an answer."""
        return self.headers()

    def error_headers(self, status: int) -> dict[str, str]:
        """Return the headers of an error."""
        return self.headers()

    def content_type(self, question: Question) -> str:
        return self.stream_type if question.stream else "application/json"

    def charge(self, ask: Ask) -> Charge | None:
        """Return what the provider bills for an answer, also for one that is cut off."""
        orders = ask.orders
        if self.method != "POST" or orders.fails or orders.error_in_stream:
            return None
        full = Counts(
            prompt=ask.prompt_tokens,
            completion=ask.completion_tokens,
            cached=orders.cached,
            cache_write=orders.cache_write,
            reasoning=orders.reasoning,
        )
        return Charge(full)

    def answered_model(self, requested: str) -> str:
        """Return the model that the answer names; "" if it names none."""
        return self.models.get(requested, requested)

    def key_error(self, key: str) -> str:
        """Return the error message for an invalid API key."""
        return f"Incorrect API key provided: {key}."

    def garbage(self, question: Question) -> bytes:
        """Return a body that cannot be parsed."""
        cut_off = b'{"id": "oops", "choices": [<html>502 Bad Gateway</html>'
        return b"data: " + cut_off + b"\n\n" if question.stream else cut_off

    def unsupported(self, orders: Orders) -> str:
        """Return an error message for directives that this format does not support, or ""."""
        return "[stub grow] is supported for Anthropic only" if orders.grow else ""


class PlainEndpoint(Endpoint):
    """An operation without streams: its `read` never requests one."""

    def stream(self, ask: Ask) -> Iterator[Part]:
        raise BadRequestError(f"{self.operation} does not stream.")

    def stream_error(self, ask: Ask, message: str) -> Iterator[Part]:
        raise BadRequestError(f"{self.operation} does not stream.")


def compact(value: object) -> bytes:
    """Encode JSON without spaces."""
    # A lone surrogate becomes "?", because no provider sends invalid UTF-8.
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


def pretty(value: object) -> bytes:
    """Encode JSON with indentation."""
    return json.dumps(value, ensure_ascii=False, indent=2).encode(errors="replace")


def sse(value: object, event: str = "") -> bytes:
    """Encode a server-sent event."""
    head = f"event: {event}\n".encode() if event else b""
    return head + b"data: " + compact(value) + b"\n\n"


def ndjson(value: object) -> bytes:
    """Encode a line of newline-delimited JSON."""
    return compact(value) + b"\n"


def make_id(prefix: str, length: int = 24) -> str:
    """Return `prefix` and `length` random hex digits, at most 64."""
    return prefix + (uuid.uuid4().hex + uuid.uuid4().hex)[:length]


def texts_of(content: object) -> list[str]:
    """Return the texts of a message's content: a string, a block, or a list of them."""
    if isinstance(content, str):
        return [content]
    if isinstance(content, list):
        return [text for part in content for text in texts_of(part)]
    if isinstance(content, dict):
        return [text for key in ("text", "content", "parts") for text in texts_of(content.get(key))]
    return []


def conversation(system: object, messages: object) -> tuple[str, str]:
    """Return all the text, and the text that the application wrote.

    Only the latter is searched for directives, so that an answer that quotes a directive and comes
    back as history does not repeat its effect.
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
    """Return a field of the body. Raises BadRequestError if it is missing, empty or mistyped."""
    value = body.get(name)
    if not isinstance(value, kind) or not value:
        raise BadRequestError(f"Missing or invalid required parameter: '{name}'.")
    return value


def listed(given: str | list[Any]) -> list[str]:
    """Return the texts of an embeddings request: a string, token numbers, or a list of either."""
    if isinstance(given, str):
        return [given]
    if all(isinstance(item, int) for item in given):
        return [" ".join(map(str, given))]
    return [item if isinstance(item, str) else " ".join(map(str, item)) for item in given]


def counts(ask: Ask, **optional: int | None) -> Counts:
    """Return the reported counts; none with the directive `nousage`."""
    if ask.orders.nousage:
        return Counts()
    return Counts(prompt=ask.prompt_tokens, completion=ask.completion_tokens, **optional)
