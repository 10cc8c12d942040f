"""The values that pass between the HTTP server and the wire formats."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from project.stub.orders import Orders


@dataclass(frozen=True)
class Served:
    """One provider request as the stub served it: the truth that tests compare with.

    Counts have OpenTelemetry's meaning: the prompt includes cache reads and writes, the
    completion includes reasoning. They are what the answer reported up to where it got, and
    `None` where it reported nothing; a placeholder (Anthropic's `message_start`) is no report.
    """

    number: int
    path: str
    provider: str
    operation: str
    model: str  # the name in the answer; empty when the answer named none
    requested_model: str
    response_id: str
    prompt_tokens: int | None
    completion_tokens: int | None
    cached_tokens: int | None
    cache_write_tokens: int | None
    reasoning_tokens: int | None
    streamed: bool
    status: int
    prompt: str
    body: bytes  # what went over the wire after de-chunking, still compressed if it was
    completed: bool  # the whole answer was written
    failed: bool = False  # the status, the body or the stream told of an error
    cost: float | None = None  # in USD, where the answer named it


@dataclass(frozen=True)
class Counts:
    """What an answer reports; `None` is not reported."""

    prompt: int | None = None
    completion: int | None = None
    cached: int | None = None
    cache_write: int | None = None
    reasoning: int | None = None
    cost: float | None = None


@dataclass(frozen=True)
class Question:
    """A provider's request body, read."""

    model: str
    prompt: str
    stream: bool
    body: dict[str, Any]
    spoken: str  # the part of the prompt that directives are looked for in
    response_id: str = ""  # that of an answer which was begun by an earlier request


@dataclass(frozen=True)
class Ask:
    """A question with everything that its answer needs."""

    question: Question
    orders: Orders
    model: str
    text: str
    response_id: str
    prompt_tokens: int
    completion_tokens: int
    created: int

    @property
    def body(self) -> dict[str, Any]:
        return self.question.body


@dataclass(frozen=True)
class Part:
    """Bytes that leave together (a stream event or a whole plain body), and what they tell."""

    data: bytes
    reports: Counts | None = None
    failed: bool = False


@dataclass(frozen=True)
class Reply:
    status: int
    content_type: str
    parts: Iterable[Part]
    streamed: bool = False
    model: str = ""
    response_id: str = ""
    headers: dict[str, str] = field(default_factory=dict)
