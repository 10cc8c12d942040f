"""Chat completions that are fetched later: of Perplexity and xAI; videos of xAI."""

from __future__ import annotations

import re
from dataclasses import replace

from project.stub.exchange import Ask, Counts, Part, Question
from project.stub.jobs.base import COST, Begin, JobEndpoint, Poll
from project.stub.openai_wire import OpenAIEndpoint
from project.stub.wire import (
    Json,
    conversation,
    counts,
    make_id,
    required,
)


class _Search(JobEndpoint, OpenAIEndpoint):
    provider = "perplexity"
    operation = "chat"

    def response_id(self) -> str:
        return make_id("", 32)

    def job(self, ask: Ask, status: str) -> Json:
        states = {"queued": "CREATED", "completed": "COMPLETED", "failed": "FAILED"}
        return {
            "id": ask.response_id,
            "created_at": ask.created,
            "model": ask.model,
            "status": states[status],
            "error_message": "Out of luck." if status == "failed" else None,
            "response": _completion(ask) if status == "completed" else None,
        }

    def reports(self, ask: Ask) -> Counts:
        return replace(counts(ask), cost=COST)


class CreateSearch(Begin, _Search):
    """Begin a chat completion of Perplexity."""

    pattern = re.compile(r"/perplexity/async/chat/completions")

    def read(self, body: Json, match: re.Match[str], query: dict[str, list[str]]) -> Question:
        request = required(body, "request", dict)
        prompt, spoken = conversation(None, required(request, "messages", list))
        return Question(
            required(request, "model", str), prompt, stream=False, body=request, spoken=spoken
        )


class GetSearch(Poll, _Search):
    """Poll a chat completion of Perplexity."""

    pattern = re.compile(r"/perplexity/async/chat/completions/(?P<id>[^/]+)")


class _Deferred(JobEndpoint, OpenAIEndpoint):
    provider = "x-ai"
    operation = "chat"

    def response_id(self) -> str:
        return make_id("", 32)

    def begun(self, ask: Ask) -> Json:
        return {"request_id": ask.response_id}

    def job(self, ask: Ask, status: str) -> Json:
        return _completion(ask)

    def part(self, ask: Ask, status: str) -> Part:
        return super().part(ask, status) if status == "completed" else Part(b"", Counts())

    def reports(self, ask: Ask) -> Counts:
        return replace(counts(ask), cost=COST)


class DeferChat(Begin, _Deferred):
    """Defer a chat completion of xAI."""

    pattern = re.compile(r"/x-ai/v1/chat/completions")

    def read(self, body: Json, match: re.Match[str], query: dict[str, list[str]]) -> Question:
        prompt, spoken = conversation(None, required(body, "messages", list))
        return Question(
            required(body, "model", str), prompt, stream=False, body=body, spoken=spoken
        )


class GetDeferred(Poll, _Deferred):
    """Poll a deferred chat completion of xAI."""

    pattern = re.compile(r"/x-ai/v1/chat/deferred-completion/(?P<id>[^/]+)")


class _GrokVideo(JobEndpoint, OpenAIEndpoint):
    provider = "x-ai"
    operation = "video_generation"

    def response_id(self) -> str:
        return make_id("", 32)

    def begun(self, ask: Ask) -> Json:
        return {"request_id": ask.response_id}

    def job(self, ask: Ask, status: str) -> Json:
        if status == "queued":
            return {"status": "pending"}
        if status == "failed":
            return {"status": "failed", "error": {"code": "internal", "message": "Blocked."}}
        return {
            "status": "done",
            "video": {
                "url": "https://vidgen.x.ai/v.mp4",
                "duration": 8,
                "respect_moderation": True,
            },
            "model": ask.model,
            "usage": {"cost_in_usd_ticks": round(COST * 10**10)},
        }

    def reports(self, ask: Ask) -> Counts:
        return Counts(cost=COST)


class CreateGrokVideo(Begin, _GrokVideo):
    """Begin a video of xAI."""

    pattern = re.compile(r"/x-ai/v1/videos/generations")


class GetGrokVideo(Poll, _GrokVideo):
    """Poll a video of xAI."""

    pattern = re.compile(r"/x-ai/v1/videos/(?P<id>[^/]+)")


def _completion(ask: Ask) -> Json:
    tokens = {"prompt_tokens": ask.prompt_tokens, "completion_tokens": ask.completion_tokens}
    cost = {"cost": {"total_cost": COST}}
    message = {"role": "assistant", "content": ask.text}
    return {
        "id": make_id("", 32),
        "object": "chat.completion",
        "created": ask.created,
        "model": ask.model,
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
        "usage": tokens | {"total_tokens": sum(tokens.values())} | cost,
    }


ENDPOINTS: tuple[type[JobEndpoint], ...] = (
    *(CreateSearch, GetSearch),
    *(DeferChat, GetDeferred, CreateGrokVideo, GetGrokVideo),
)
