"""Videos of OpenAI and runs of its assistants."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from project.stub.exchange import Ask, Counts, Part, Question
from project.stub.jobs.base import Begin, Cancel, JobEndpoint, Poll
from project.stub.openai_wire import OpenAIEndpoint, chat_usage
from project.stub.wire import (
    Json,
    counts,
    make_id,
    sse,
)


class _Video(JobEndpoint, OpenAIEndpoint):
    operation = "video_generation"

    def response_id(self) -> str:
        return make_id("video_", 40)

    def job(self, ask: Ask, status: str) -> Json:
        failed = {"code": "moderation_blocked", "message": "The video was blocked."}
        return {
            "id": ask.response_id,
            "object": "video",
            "created_at": ask.created,
            "completed_at": ask.created + 9 if status == "completed" else None,
            "expires_at": None,
            "error": failed if status == "failed" else None,
            "model": ask.model or "sora-2",
            "progress": 0 if status == "queued" else 100,
            "prompt": ask.question.prompt,
            "remixed_from_video_id": None,
            "seconds": ask.body.get("seconds", "4"),
            "size": ask.body.get("size", "720x1280"),
            "status": status,
        }

    def reports(self, ask: Ask) -> Counts:
        return Counts()


class CreateVideo(Begin, _Video):
    """Begin a video, or one that is made from another."""

    pattern = re.compile(r"/openai/v1/videos(?:/(?:edits|extensions|[^/]+/remix))?")


class RetrieveVideo(Poll, _Video):
    """Poll a video."""

    pattern = re.compile(r"/openai/v1/videos/(?P<id>[^/]+)")


class _Run(JobEndpoint, OpenAIEndpoint):
    operation = "invoke_agent"
    asks_in = "instructions"

    def response_id(self) -> str:
        return make_id("run_", 24)

    def job(self, ask: Ask, status: str) -> Json:
        needs_action = status == "queued" and "tools" in ask.body
        call = {"name": "look", "arguments": "{}"}
        action = {
            "type": "submit_tool_outputs",
            "submit_tool_outputs": {
                "tool_calls": [{"id": "call_1", "type": "function", "function": call}]
            },
        }
        failed = {"code": "server_error", "message": "Sorry, something went wrong."}
        return {
            "id": ask.response_id,
            "object": "thread.run",
            "created_at": ask.created,
            "assistant_id": ask.body.get("assistant_id"),
            "thread_id": "thread_1",
            "status": "requires_action" if needs_action else status,
            "required_action": action if needs_action else None,
            "last_error": failed if status == "failed" else None,
            "model": ask.model,
            "instructions": ask.question.prompt,
            "tools": [],
            "metadata": {},
            "usage": chat_usage(ask) if status == "completed" else None,
        }

    def events(self, ask: Ask, status: str) -> Iterator[Part]:
        created = {**self.job(ask, "queued"), "status": "queued", "required_action": None}
        yield Part(sse(created, "thread.run.created"))
        step = {"id": "step_1", "object": "thread.run.step", "run_id": ask.response_id}
        used = {"usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}}
        yield Part(sse({**step, "status": "completed", **used}, "thread.run.step.completed"))
        run = self.job(ask, status)
        reports = counts(ask) if status == "completed" else Counts()
        yield Part(sse(run, f"thread.run.{run['status']}"), reports)
        yield Part(b"event: done\ndata: [DONE]\n\n")


class CreateRun(Begin, _Run):
    """Begin a run on a thread or on a new one, plain or streamed."""

    pattern = re.compile(r"/openai/v1/threads(?:/[^/]+)?/runs")

    def stream(self, ask: Ask) -> Iterator[Part]:
        self.background.promise(ask)
        if "tools" in ask.body:
            return self.events(ask, "queued")
        self.background.finish(ask.response_id)
        return self.events(ask, self.background.poll(ask.response_id))


class RetrieveRun(Poll, _Run):
    """Poll a run."""

    pattern = re.compile(r"/openai/v1/threads/[^/]+/runs/(?P<id>[^/]+)")


class CancelRun(Cancel, _Run):
    """Cancel a run."""

    pattern = re.compile(r"/openai/v1/threads/[^/]+/runs/(?P<id>[^/]+)/cancel")


class SubmitToolOutputs(Poll, _Run):
    """Go on with a run that required an action, plain or streamed."""

    method = "POST"
    pattern = re.compile(r"/openai/v1/threads/[^/]+/runs/(?P<id>[^/]+)/submit_tool_outputs")

    def read(self, body: Json, match: re.Match[str], query: dict[str, list[str]]) -> Question:
        question = super().read(body, match, query)
        return replace(question, stream=body.get("stream") is True)

    def plain(self, ask: Ask) -> Part:
        self.background.finish(ask.response_id)
        return super().plain(ask)

    def stream(self, ask: Ask) -> Iterator[Part]:
        self.background.finish(ask.response_id)
        return self.events(self.background.find(ask.response_id), "completed")


ENDPOINTS: tuple[type[JobEndpoint], ...] = (
    *(CreateVideo, RetrieveVideo),
    *(CreateRun, RetrieveRun, CancelRun, SubmitToolOutputs),
)
