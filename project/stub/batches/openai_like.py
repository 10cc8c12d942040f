"""Batches of Groq, whose answers have no usage, and the batch jobs of Mistral.

Shapes: https://console.groq.com/docs/batch and https://docs.mistral.ai/api/endpoint/batch
"""

from __future__ import annotations

import re
import time

from project.stub.batches import openai
from project.stub.batches.base import ANY_PATH, AboutBatch, Batch, SubmitBatch, answer_of
from project.stub.exchange import Ask, Counts, Part, Question
from project.stub.openai_like import GroqChat, MistralChat
from project.stub.wire import Endpoint, Json, compact, make_id, required


class UploadGroqFile(openai.UploadFile):
    """Upload an input file."""

    provider = "groq"
    pattern = re.compile(r"/groq/openai/v1/files")


class CreateGroqBatch(openai.CreateBatch):
    """Submit a batch of Groq."""

    provider = "groq"
    pattern = re.compile(r"/groq/openai/v1/batches")
    has_usage = False

    def kinds(self) -> dict[str, Endpoint]:
        return {"/v1/chat/completions": GroqChat()}


class RetrieveGroqBatch(openai.RetrieveBatch):
    """Poll a batch of Groq."""

    provider = "groq"
    pattern = re.compile(r"/groq/openai/v1/batches/(?P<id>[^/]+)")


class GroqFileContent(openai.FileContent):
    """Download the results of a batch of Groq."""

    provider = "groq"
    pattern = re.compile(r"/groq/openai/v1/files/out-(?P<id>[^/]+)/content")


class CreateMistralJob(SubmitBatch, MistralChat):
    """Submit a batch job of Mistral, with its requests."""

    pattern = re.compile(r"/mistral/v1/batch/jobs")

    def submit(self, body: Json, match: re.Match[str]) -> Batch:
        model = required(body, "model", str)
        batch = Batch(make_id("", 32), model, int(time.time()), 1, about=dict(body))
        endpoint = MistralChat()
        for request in required(body, "requests", list):
            question = endpoint.read({"model": model, **request["body"]}, ANY_PATH, {})
            ask, answer, counts = answer_of(endpoint, question)
            if not batch.results:
                batch.polls = ask.orders.queued
            response = {"status_code": ask.orders.status or 200, "body": answer}
            result = {"custom_id": request.get("custom_id"), "response": response, "error": None}
            batch.results.append((result, counts))
        return batch

    def plain(self, ask: Ask) -> Part:
        return Part(compact(_mistral(self._batches.find(ask.response_id), "QUEUED")), Counts())


class RetrieveMistralJob(AboutBatch, MistralChat):
    """Poll a batch job of Mistral."""

    pattern = re.compile(r"/mistral/v1/batch/jobs/(?P<id>[^/]+)")

    def plain(self, ask: Ask) -> Part:
        batch = self._batches.poll(ask.response_id)
        return Part(compact(_mistral(batch, "SUCCESS" if batch.ended else "RUNNING")), Counts())


class MistralFileContent(openai.FileContent, MistralChat):
    """Download the results of a batch job of Mistral."""

    provider = "mistral"
    pattern = re.compile(r"/mistral/v1/files/out-(?P<id>[^/]+)/content")

    def content_type(self, question: Question) -> str:
        return "application/octet-stream"


def _mistral(batch: Batch, status: str) -> Json:
    done = status == "SUCCESS"
    made = len(batch.succeeded)
    return {
        "id": batch.id,
        "object": "batch",
        "input_files": [],
        "metadata": None,
        "endpoint": batch.about["endpoint"],
        "model": batch.model,
        "agent_id": None,
        "output_file": f"out-{batch.id}" if done else None,
        "error_file": None,
        "errors": [],
        "outputs": None,
        "status": status,
        "created_at": batch.created,
        "total_requests": len(batch.results),
        "completed_requests": len(batch.results) if done else 0,
        "succeeded_requests": made if done else 0,
        "failed_requests": len(batch.results) - made if done else 0,
        "started_at": None,
        "completed_at": None,
    }


ENDPOINTS: tuple[type[AboutBatch], ...] = (
    *(UploadGroqFile, CreateGroqBatch, RetrieveGroqBatch, GroqFileContent),
    *(CreateMistralJob, RetrieveMistralJob, MistralFileContent),
)
