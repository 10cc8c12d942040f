"""Batches of Gemini: https://ai.google.dev/api/batch-api."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from datetime import UTC, datetime

from project.stub.batches.base import (
    AboutBatch,
    Batch,
    SubmitBatch,
    answer_of,
)
from project.stub.exchange import Ask, Counts, Part, Question
from project.stub.google_wire import GenerateContent, GoogleEndpoint
from project.stub.wire import (
    Json,
    compact,
    make_id,
    required,
)

_GEMINI = next(re.finditer("(?P<model>)(?P<stream>)", ""))


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


ENDPOINTS: tuple[type[AboutBatch], ...] = (
    CreateGeminiBatch,
    RetrieveGeminiBatch,
    CancelGeminiBatch,
    DownloadGeminiFile,
)
