"""What all batches have in common: requests that are answered later, in one file.

The directives in the first request of a batch apply to the whole batch: `queued` polls find it in
progress. `status` makes its own request fail.
"""

from __future__ import annotations

import json
import re
import threading
from dataclasses import dataclass, field

from project.stub.exchange import Ask, Charge, Counts, Question
from project.stub.orders import find_orders
from project.stub.replies import ask_for
from project.stub.wire import (
    Endpoint,
    Json,
    MissingError,
    PlainEndpoint,
    compact,
    make_id,
)

#: Paths of the requests in a batch, which have none of their own.
ANY_PATH = next(re.finditer("", ""))


@dataclass
class Batch:
    """One batch: its results are known at once, and shown after some polls."""

    id: str
    model: str
    created: int
    polls: int
    #: The answer to each request as the provider's file has it, and what it reports.
    results: list[tuple[Json, Counts]] = field(default_factory=list)
    about: Json = field(default_factory=dict)
    is_canceled: bool = False

    @property
    def ended(self) -> bool:
        return self.polls <= 0 or self.is_canceled

    @property
    def succeeded(self) -> list[tuple[Json, Counts]]:
        return [each for each in self.results if each[1].prompt is not None]

    def file(self) -> bytes:
        """Return the file with the results."""
        return b"".join(compact(line) + b"\n" for line, _ in self.results)

    def counts(self) -> Counts:
        """Return the counts of all requests."""
        found = [counts for _, counts in self.results]
        if all(counts.prompt is None for counts in found):
            return Counts()
        return Counts(
            prompt=sum(counts.prompt or 0 for counts in found),
            completion=sum(counts.completion or 0 for counts in found),
            cached=sum(counts.cached or 0 for counts in found),
            cache_write=sum(counts.cache_write or 0 for counts in found),
            reasoning=sum(counts.reasoning or 0 for counts in found),
        )


class Batches:
    """All batches and input files of one stub."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._batches: dict[str, Batch] = {}
        self._files: dict[str, bytes] = {}

    def upload(self, content: bytes) -> str:
        """Keep an input file; return its id."""
        file_id = make_id("file-", 22)
        with self._lock:
            self._files[file_id] = content
        return file_id

    def uploaded(self, file_id: str) -> bytes:
        """Return an input file. Raises MissingError if there is none."""
        with self._lock:
            if file_id not in self._files:
                raise MissingError(f"No such File object: {file_id}")
            return self._files[file_id]

    def add(self, batch: Batch) -> None:
        """Keep a batch."""
        with self._lock:
            self._batches[batch.id] = batch

    def find(self, batch_id: str) -> Batch:
        """Return a batch. Raises MissingError if there is none."""
        with self._lock:
            if batch_id not in self._batches:
                raise MissingError(f"No batch found with id '{batch_id}'.")
            return self._batches[batch_id]

    def poll(self, batch_id: str) -> Batch:
        """Return a batch that is one poll nearer to its end."""
        batch = self.find(batch_id)
        with self._lock:
            batch.polls -= 1
        return batch

    def cancel(self, batch_id: str) -> Batch:
        """Cancel a batch, whose first half was made."""
        batch = self.find(batch_id)
        with self._lock:
            if not batch.ended:
                batch.is_canceled = True
        return batch


def answer_of(endpoint: Endpoint, question: Question) -> tuple[Ask, Json, Counts]:
    """Return the answer to one request of a batch, or its error."""
    orders = find_orders(question.spoken)
    ask = ask_for(endpoint, question, orders)
    if orders.status:
        return ask, endpoint.error(orders.status, "A directive requested it."), Counts()
    part = endpoint.plain(ask)
    return ask, json.loads(part.data), part.reports or Counts()


def about_batch(body: Json, response_id: str, model: str = "") -> Question:
    """Return a question about a batch or a file."""
    return Question(model, "", stream=False, body=body, spoken="", response_id=response_id)


class AboutBatch(PlainEndpoint):
    """A request about a batch that exists. The journal notes its id, and its counts at its end."""

    operation = "batch"
    method = "GET"

    def __init__(self, batches: Batches) -> None:
        self._batches = batches

    def read(self, body: Json, match: re.Match[str], query: dict[str, list[str]]) -> Question:
        batch = self._batches.find(match["id"])
        return about_batch(body, batch.id, batch.model)

    def response_id(self) -> str:
        return ""

    def charge(self, ask: Ask) -> Charge | None:
        return None


class SubmitBatch(AboutBatch):
    """Submit a batch. Its requests are billed at once, although their results come later."""

    method = "POST"

    def charge(self, ask: Ask) -> Charge | None:
        batch = self._batches.find(ask.response_id)
        return Charge(batch.counts(), requests=len(batch.succeeded), batch=True)

    def read(self, body: Json, match: re.Match[str], query: dict[str, list[str]]) -> Question:
        batch = self.submit(body, match)
        self._batches.add(batch)
        return about_batch(body, batch.id, batch.model)

    def submit(self, body: Json, match: re.Match[str]) -> Batch:
        raise NotImplementedError
