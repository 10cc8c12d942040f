"""Batches of OpenAI, Anthropic and Gemini: requests that are answered later, in one file.

Shapes: https://developers.openai.com/api/reference/resources/batches,
https://platform.claude.com/docs/en/api/messages/batches and https://ai.google.dev/api/batch-api

The directives in the first request of a batch apply to the whole batch: `queued` polls find it in
progress. `status` makes its own request fail.
"""

from __future__ import annotations

import json
import re
import threading
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from project.stub.anthropic_wire import Messages
from project.stub.background import Background
from project.stub.exchange import Ask, Counts, Part, Question
from project.stub.google_wire import GenerateContent, GoogleEndpoint
from project.stub.openai_responses import Responses
from project.stub.openai_wire import ChatCompletions, OpenAIEndpoint
from project.stub.orders import find_orders
from project.stub.replies import ask_for
from project.stub.wire import (
    BadRequestError,
    Endpoint,
    Json,
    MissingError,
    PlainEndpoint,
    compact,
    make_id,
    required,
)

#: Paths of the requests in a batch, which have none of their own.
ANY_PATH = next(re.finditer("", ""))
_GEMINI = next(re.finditer("(?P<model>)(?P<stream>)", ""))


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


class SubmitBatch(AboutBatch):
    """Submit a batch."""

    method = "POST"

    def read(self, body: Json, match: re.Match[str], query: dict[str, list[str]]) -> Question:
        batch = self.submit(body, match)
        self._batches.add(batch)
        return about_batch(body, batch.id, batch.model)

    def submit(self, body: Json, match: re.Match[str]) -> Batch:
        raise NotImplementedError


# OpenAI


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


# Anthropic


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


# Gemini


class CreateGeminiBatch(SubmitBatch, GoogleEndpoint):
    """Submit a batch of Gemini, with its requests or with a file of them."""

    pattern = re.compile(r"/google/v1(?:beta)?/models/(?P<model>[^/:]+):batchGenerateContent")

    def submit(self, body: Json, match: re.Match[str]) -> Batch:
        given = required(required(body, "batch", dict), "inputConfig", dict)
        batch = Batch(make_id("", 24), match["model"], int(time.time()), 1)
        if file := given.get("fileName"):
            batch.about["file"] = True
            requests = [
                json.loads(line)
                for line in self._batches.uploaded(file.removeprefix("files/")).splitlines()
            ]
        else:
            requests = given["requests"]["requests"]
        endpoint = GenerateContent()
        for request in requests:
            question = endpoint.read(request["request"], _GEMINI, {})
            ask, answer, counts = answer_of(endpoint, replace(question, model=batch.model))
            if not batch.results:
                batch.polls = ask.orders.queued
            result = answer if ask.orders.status else {"response": answer}
            if "key" in request:
                result["key"] = request["key"]
            batch.results.append((result, counts))
        return batch

    def plain(self, ask: Ask) -> Part:
        return Part(compact(_gemini(self._batches.find(ask.response_id), "PENDING")), Counts())


class RetrieveGeminiBatch(AboutBatch, GoogleEndpoint):
    """Poll a batch of Gemini."""

    pattern = re.compile(r"/google/v1(?:beta)?/batches/(?P<id>[^/:]+)")

    def plain(self, ask: Ask) -> Part:
        batch = self._batches.poll(ask.response_id)
        if not batch.ended:
            return Part(compact(_gemini(batch, "RUNNING")), Counts())
        state = "CANCELLED" if batch.is_canceled else "SUCCEEDED"
        counts = Counts() if batch.is_canceled or "file" in batch.about else batch.counts()
        return Part(compact(_gemini(batch, state)), counts)


class CancelGeminiBatch(AboutBatch, GoogleEndpoint):
    """Cancel a batch of Gemini, which has no results then."""

    method = "POST"
    pattern = re.compile(r"/google/v1(?:beta)?/batches/(?P<id>[^/:]+):cancel")

    def plain(self, ask: Ask) -> Part:
        self._batches.cancel(ask.response_id)
        return Part(b"{}", Counts())


class DownloadGeminiFile(AboutBatch, GoogleEndpoint):
    """Download the results of a batch of Gemini."""

    pattern = re.compile(r"/google/(?:download/)?v1(?:beta)?/files/batch-(?P<id>[^/:]+):download")

    def content_type(self, question: Question) -> str:
        return "application/octet-stream"

    def plain(self, ask: Ask) -> Part:
        batch = self._batches.find(ask.response_id)
        return Part(batch.file(), batch.counts())


def _gemini(batch: Batch, state: str) -> Json:
    created = datetime.fromtimestamp(batch.created, UTC).isoformat().replace("+00:00", "Z")
    made = len(batch.succeeded)
    stats = {"requestCount": str(len(batch.results))}
    about: Json = {
        "@type": "type.googleapis.com/google.ai.generativelanguage.v1main.GenerateContentBatch",
        "model": f"models/{batch.model}",
        "displayName": "batch",
        "createTime": created,
        "updateTime": created,
        "batchStats": stats,
        "state": f"BATCH_STATE_{state}",
        "name": f"batches/{batch.id}",
    }
    answer: Json = {"name": f"batches/{batch.id}", "metadata": about}
    if state == "SUCCEEDED":
        stats["successfulRequestCount"] = str(made)
        if failed := len(batch.results) - made:
            stats["failedRequestCount"] = str(failed)
        output: Json = {"responsesFile": f"files/batch-{batch.id}"}
        if "file" not in batch.about:
            output = {"inlinedResponses": {"inlinedResponses": [r for r, _ in batch.results]}}
        about["output"] = output
        kind = "type.googleapis.com/google.ai.generativelanguage.v1main"
        output = {"@type": f"{kind}.GenerateContentBatchOutput", **output}
        answer |= {"done": True, "response": output}
    elif state == "CANCELLED":
        answer |= {"done": True, "error": {"code": 13, "message": "Cancelled by the user."}}
    return answer
