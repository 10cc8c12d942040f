"""Values that the HTTP server and the wire formats exchange."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from project.stub.orders import Orders


@dataclass(frozen=True)
class Counts:
    """Counts in an answer; `None` means not reported."""

    prompt: int | None = None
    completion: int | None = None
    cached: int | None = None
    cache_write: int | None = None
    reasoning: int | None = None
    cost: float | None = None


@dataclass(frozen=True)
class Charge:
    """What a provider bills for a request: all that it generated, whatever the client read."""

    counts: Counts
    requests: int = 1
    batch: bool = False
    units: Mapping[str, int] = field(default_factory=dict)  # images, seconds, …


@dataclass(frozen=True)
class Served:
    """One request as the stub served it, with which tests compare recorded calls.

    Counts have OpenTelemetry's meaning: the prompt includes cache reads and writes, the completion
    includes reasoning. They are the counts that the answer reported before it ended, or `None` if
    it reported none. A placeholder (in Anthropic's `message_start`) does not count as a report.
    """

    number: int
    path: str
    provider: str
    operation: str
    model: str  # as in the answer; empty if the answer named none
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
    body: bytes  # as sent, without chunk framing, still compressed
    completed: bool  # the whole answer was written
    failed: bool = False  # the status, the body or the stream reported an error
    cost: float | None = None  # in USD, if the answer reported it
    served_at: datetime | None = None  # when the request arrived, in UTC
    api_key_id: str = ""
    api_key_hint: str = ""  # the last four characters
    project: str = ""  # the project or workspace of the key
    charge: Charge | None = None  # None is not billed


@dataclass(frozen=True)
class Question:
    """A parsed request."""

    model: str
    prompt: str
    stream: bool
    body: dict[str, Any]
    spoken: str  # the part of the prompt that is searched for directives
    response_id: str = ""  # of an answer that an earlier request started


@dataclass(frozen=True)
class Ask:
    """A question with everything needed to answer it."""

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
    """A stream event or a whole plain body, and the counts that it reports."""

    data: bytes
    reports: Counts | None = None
    failed: bool = False


@dataclass(frozen=True)
class Reply:
    """Status, headers and parts of a response."""

    status: int
    content_type: str
    parts: Iterable[Part]
    streamed: bool = False
    model: str = ""
    response_id: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    charge: Charge | None = None
