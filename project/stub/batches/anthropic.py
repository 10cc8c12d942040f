"""Message batches of Anthropic: https://platform.claude.com/docs/en/api/messages/batches."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

from project.stub.anthropic_wire import Messages
from project.stub.batches.base import (
    ANY_PATH,
    AboutBatch,
    Batch,
    SubmitBatch,
    answer_of,
)
from project.stub.exchange import Ask, Counts, Part, Question
from project.stub.wire import (
    BadRequestError,
    Json,
    compact,
    make_id,
    required,
)


class CreateMessageBatch(SubmitBatch, Messages):
    """Submit a message batch."""

    pattern = re.compile(r"/anthropic/v1/messages/batches")

    def submit(self, body: Json, match: re.Match[str]) -> Batch:
        batch = Batch(make_id("msgbatch_01", 22), "", int(time.time()), 1)
        endpoint = Messages()
        for request in required(body, "requests", list):
            ask, answer, counts = answer_of(
                endpoint, endpoint.read(request["params"], ANY_PATH, {})
            )
            batch.model = batch.model or ask.model
            if not batch.results:
                batch.polls = ask.orders.queued
            if ask.orders.status:
                result: Json = {"type": "errored", "error": answer}
            else:
                if "usage" in answer:
                    answer["usage"]["service_tier"] = "batch"
                result = {"type": "succeeded", "message": answer}
            batch.results.append(({"custom_id": request["custom_id"], "result": result}, counts))
        return batch

    def plain(self, ask: Ask) -> Part:
        batch = self._batches.find(ask.response_id)
        return Part(compact(_message_batch(batch, ended=False)), Counts())


class RetrieveMessageBatch(AboutBatch, Messages):
    """Poll a message batch."""

    pattern = re.compile(r"/anthropic/v1/messages/batches/(?P<id>[^/]+)")

    def plain(self, ask: Ask) -> Part:
        batch = self._batches.poll(ask.response_id)
        return Part(compact(_message_batch(batch, ended=batch.ended)), Counts())


class CancelMessageBatch(RetrieveMessageBatch):
    """Cancel a message batch: the requests that were not made yet are canceled."""

    method = "POST"
    pattern = re.compile(r"/anthropic/v1/messages/batches/(?P<id>[^/]+)/cancel")

    def plain(self, ask: Ask) -> Part:
        batch = self._batches.cancel(ask.response_id)
        for at in range((len(batch.results) + 1) // 2, len(batch.results)):
            line = {**batch.results[at][0], "result": {"type": "canceled"}}
            batch.results[at] = (line, Counts())
        about = {**_message_batch(batch, ended=False), "processing_status": "canceling"}
        return Part(compact(about), Counts())


class MessageBatchResults(RetrieveMessageBatch):
    """Download the results of a message batch."""

    pattern = re.compile(r"/anthropic/v1/messages/batches/(?P<id>[^/]+)/results")

    def content_type(self, question: Question) -> str:
        return "application/x-jsonl"

    def plain(self, ask: Ask) -> Part:
        batch = self._batches.find(ask.response_id)
        if not batch.ended:
            raise BadRequestError("Batch has no available results.")
        return Part(batch.file(), batch.counts())


def _message_batch(batch: Batch, *, ended: bool) -> Json:
    kinds = [line["result"]["type"] for line, _ in batch.results]
    created = datetime.fromtimestamp(batch.created, UTC).isoformat()
    names = ("succeeded", "errored", "canceled", "expired")
    return {
        "id": batch.id,
        "type": "message_batch",
        "processing_status": "ended" if ended else "in_progress",
        "request_counts": {
            "processing": 0 if ended else len(kinds),
            **{name: kinds.count(name) if ended else 0 for name in names},
        },
        "created_at": created,
        "expires_at": created,
        "ended_at": created if ended else None,
        "archived_at": None,
        "cancel_initiated_at": created if batch.is_canceled else None,
        "results_url": f"/v1/messages/batches/{batch.id}/results" if ended else None,
    }


ENDPOINTS: tuple[type[AboutBatch], ...] = (
    CreateMessageBatch,
    RetrieveMessageBatch,
    CancelMessageBatch,
    MessageBatchResults,
)
