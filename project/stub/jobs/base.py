"""What the APIs have in common that begin a job, whose result the client fetches later.

Shapes: the readers in `usage_tracking/formats` cite the documentation of each.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import unquote

from project.stub.background import Background
from project.stub.exchange import Ask, Charge, Counts, Part, Question
from project.stub.wire import (
    Endpoint,
    Json,
    compact,
    counts,
    required,
    texts_of,
)

#: What a job that completes costs in USD, where the provider says so.
COST = 0.409


class JobEndpoint(Endpoint):
    """What the endpoints of one kind of job share."""

    #: The member of a request that says what to do.
    asks_in = "prompt"
    #: The member of a request that names the model.
    model_in = "model"

    def __init__(self, background: Background) -> None:
        self.background = background

    @abstractmethod
    def job(self, ask: Ask, status: str) -> Json:
        """Return the job as JSON; its status is queued, completed, failed or cancelled."""

    def begun(self, ask: Ask) -> Json:
        """Return the answer to the request that begins a job."""
        return self.job(ask, "queued")

    def reports(self, ask: Ask) -> Counts:
        """Return what a completed job reports."""
        return counts(ask)

    def part(self, ask: Ask, status: str) -> Part:
        """Return the body that shows a job."""
        reports = self.reports(ask) if status == "completed" else Counts()
        return Part(compact(self.job(ask, status)), reports, failed=status == "failed")

    def charge(self, ask: Ask) -> Charge | None:
        return None  # the admin APIs of this stub leave jobs out

    def stream(self, ask: Ask) -> Iterator[Part]:
        raise NotImplementedError

    def stream_error(self, ask: Ask, message: str) -> Iterator[Part]:
        raise NotImplementedError


class Begin(JobEndpoint):
    """Begins a job."""

    def read(self, body: Json, match: re.Match[str], query: dict[str, list[str]]) -> Question:
        model = match.groupdict().get("model") or body.get(self.model_in) or ""
        prompt = "\n".join(texts_of(required(body, self.asks_in, (str, list, dict))))
        return Question(unquote(model), prompt, body.get("stream") is True, body, prompt)

    def plain(self, ask: Ask) -> Part:
        self.background.promise(ask)
        return Part(compact(self.begun(ask)), Counts())


class Poll(JobEndpoint):
    """Asks about a job."""

    method = "GET"

    def named(self, body: Json, match: re.Match[str]) -> str:
        """Return the id of the job that a request asks about."""
        return unquote(match["id"])

    def read(self, body: Json, match: re.Match[str], query: dict[str, list[str]]) -> Question:
        ask = self.background.find(self.named(body, match))
        is_stream = query.get("stream") == ["true"]
        return replace(ask.question, model=ask.model, response_id=ask.response_id, stream=is_stream)

    def response_id(self) -> str:
        return ""

    def answered_model(self, requested: str) -> str:
        return requested  # `read` takes it from the first answer

    def plain(self, ask: Ask) -> Part:
        begun = self.background.find(ask.response_id)
        return self.part(begun, self.background.poll(ask.response_id))


class Cancel(Poll):
    """Cancels a job."""

    method = "POST"

    def plain(self, ask: Ask) -> Part:
        begun = self.background.find(ask.response_id)
        return self.part(begun, self.background.cancel(ask.response_id))


def time_of(ask: Ask) -> str:
    """Return when a job began, as RFC 3339."""
    return datetime.fromtimestamp(ask.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
