"""Batches of OpenAI: https://developers.openai.com/api/reference/resources/batches."""

from __future__ import annotations

import json
import re
import time

from project.stub.background import Background
from project.stub.batches.base import (
    ANY_PATH,
    AboutBatch,
    Batch,
    SubmitBatch,
    about_batch,
    answer_of,
)
from project.stub.exchange import Ask, Counts, Part, Question
from project.stub.openai_responses import Responses
from project.stub.openai_wire import ChatCompletions, OpenAIEndpoint
from project.stub.wire import (
    Endpoint,
    Json,
    compact,
    make_id,
    required,
)


class UploadFile(AboutBatch, OpenAIEndpoint):
    """Upload an input file."""

    operation = "files"
    method = "POST"
    pattern = re.compile(r"/openai/v1/files")

    def read(self, body: Json, match: re.Match[str], query: dict[str, list[str]]) -> Question:
        file_id = self._batches.upload(required(body, "file", bytes))
        return about_batch(body, file_id)

    def plain(self, ask: Ask) -> Part:
        about = {"id": ask.response_id, "object": "file", "purpose": ask.body.get("purpose")}
        return Part(
            compact({**about, "bytes": 1, "created_at": ask.created, "filename": "in.jsonl"})
        )


class CreateBatch(SubmitBatch, OpenAIEndpoint):
    """Submit a batch of OpenAI."""

    pattern = re.compile(r"/openai/v1/batches")
    #: Whether the batch itself says what it used.
    has_usage = True

    def kinds(self) -> dict[str, Endpoint]:
        return {
            "/v1/chat/completions": ChatCompletions(),
            "/v1/responses": Responses(Background()),
        }

    def submit(self, body: Json, match: re.Match[str]) -> Batch:
        content = self._batches.uploaded(required(body, "input_file_id", str))
        about = dict(body)
        batch = Batch(make_id("batch_", 32), "", int(time.time()), 1, about=about)
        endpoint = self.kinds()[required(body, "endpoint", str)]
        # Older batches of OpenAI leave it out too.
        about["usage"] = self.has_usage and not (body.get("metadata") or {}).get("nousage")
        for line in content.splitlines():
            request = json.loads(line)
            question = endpoint.read(request["body"], ANY_PATH, {})
            ask, answer, counts = answer_of(endpoint, question)
            batch.model = batch.model or ask.model
            if len(batch.results) == 0:
                batch.polls = ask.orders.queued
            response = {"status_code": 200, "request_id": make_id("req_", 32), "body": answer}
            if ask.orders.status:
                response["status_code"] = ask.orders.status
            result = {"id": make_id("batch_req_", 24), "custom_id": request["custom_id"]}
            batch.results.append(({**result, "response": response, "error": None}, counts))
        return batch

    def plain(self, ask: Ask) -> Part:
        return Part(compact(_openai(self._batches.find(ask.response_id), "validating")), Counts())


class RetrieveBatch(AboutBatch, OpenAIEndpoint):
    """Poll a batch of OpenAI."""

    pattern = re.compile(r"/openai/v1/batches/(?P<id>[^/]+)")

    def plain(self, ask: Ask) -> Part:
        batch = self._batches.poll(ask.response_id)
        if not batch.ended:
            return Part(compact(_openai(batch, "in_progress")), Counts())
        status = "cancelled" if batch.is_canceled else "completed"
        return Part(compact(_openai(batch, status)), batch.counts())


class CancelBatch(RetrieveBatch):
    """Cancel a batch of OpenAI; the requests that were made are billed."""

    method = "POST"
    pattern = re.compile(r"/openai/v1/batches/(?P<id>[^/]+)/cancel")

    def plain(self, ask: Ask) -> Part:
        batch = self._batches.cancel(ask.response_id)
        del batch.results[(len(batch.results) + 1) // 2 :]
        return Part(compact(_openai(batch, "cancelling")), Counts())


class FileContent(AboutBatch, OpenAIEndpoint):
    """Download the results of a batch of OpenAI."""

    pattern = re.compile(r"/openai/v1/files/out-(?P<id>[^/]+)/content")

    def content_type(self, question: Question) -> str:
        return "application/octet-stream"

    def plain(self, ask: Ask) -> Part:
        batch = self._batches.find(ask.response_id)
        return Part(batch.file(), batch.counts())


def _openai(batch: Batch, status: str) -> Json:
    done = status in {"completed", "cancelled"}
    made = len(batch.succeeded)
    failed = len(batch.results) - made
    about: Json = {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.about["endpoint"],
        "errors": None,
        "input_file_id": batch.about["input_file_id"],
        "completion_window": "24h",
        "status": status,
        "output_file_id": f"out-{batch.id}" if done and made else None,
        "error_file_id": f"error-{batch.id}" if done and failed else None,
        "created_at": batch.created,
        "completed_at": batch.created if status == "completed" else None,
        "request_counts": {
            "total": len(batch.results),
            "completed": made if done else 0,
            "failed": failed if done else 0,
        },
        "metadata": None,
    }
    if done and batch.about["usage"]:
        counts = batch.counts()
        about["model"] = batch.model
        about["usage"] = {
            "input_tokens": counts.prompt or 0,
            "input_tokens_details": {"cached_tokens": counts.cached or 0},
            "output_tokens": counts.completion or 0,
            "output_tokens_details": {"reasoning_tokens": counts.reasoning or 0},
            "total_tokens": (counts.prompt or 0) + (counts.completion or 0),
        }
    return about


ENDPOINTS: tuple[type[AboutBatch], ...] = (
    UploadFile,
    CreateBatch,
    RetrieveBatch,
    CancelBatch,
    FileContent,
)
