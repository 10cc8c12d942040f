"""Interactions and videos of Google."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import unquote

from project.stub.exchange import Ask, Counts, Part, Question
from project.stub.google_wire import GoogleEndpoint
from project.stub.jobs.base import Begin, Cancel, JobEndpoint, Poll, time_of
from project.stub.wire import (
    Json,
    counts,
    make_id,
    required,
    sse,
)


class _Interaction(JobEndpoint, GoogleEndpoint):
    operation = "generate_content"
    asks_in = "input"

    def response_id(self) -> str:
        return make_id("v1_", 40)

    def job(self, ask: Ask, status: str) -> Json:
        of_agent = "agent" in ask.body
        answer: Json = {
            "id": ask.response_id,
            "object": "interaction",
            "agent" if of_agent else "model": ask.model,
            "status": "in_progress" if status == "queued" else status,
            "created": time_of(ask),
            "updated": time_of(ask),
        }
        if status == "failed":
            answer["errors"] = [{"code": "internal", "message": "The agent failed."}]
        if status == "completed":
            content = [{"type": "text", "text": ask.text}]
            answer["steps"] = [{"type": "model_output", "content": content}]
            answer["usage"] = {
                "total_input_tokens": ask.prompt_tokens,
                "total_output_tokens": ask.completion_tokens - ask.orders.reasoning,
                "total_thought_tokens": ask.orders.reasoning,
                "total_tokens": ask.prompt_tokens + ask.completion_tokens,
            }
        return answer

    def reports(self, ask: Ask) -> Counts:
        return counts(ask, reasoning=ask.orders.reasoning or None)

    def events(self, ask: Ask, status: str) -> Iterator[Part]:
        created = {"event_type": "interaction.created", "interaction": self.job(ask, "queued")}
        yield Part(sse(created, "interaction.created"))
        going_on = {"interaction_id": ask.response_id, "status": "in_progress"}
        yield Part(sse({"event_type": "interaction.status_update", **going_on}))
        done = {"event_type": "interaction.completed", "interaction": self.job(ask, status)}
        yield Part(sse(done, "interaction.completed"), self.reports(ask))


class CreateInteraction(Begin, _Interaction):
    """Create an interaction: plain, streamed or in the background."""

    pattern = re.compile(r"/google/v1(?:beta)?/interactions")

    def read(self, body: Json, match: re.Match[str], query: dict[str, list[str]]) -> Question:
        question = super().read(body, match, query)
        return replace(question, model=body.get("agent") or question.model)

    def plain(self, ask: Ask) -> Part:
        if ask.body.get("background") is True:
            return super().plain(ask)
        self.background.promise(ask)  # it is stored too
        self.background.finish(ask.response_id)
        return self.part(ask, "completed")

    def stream(self, ask: Ask) -> Iterator[Part]:
        self.background.promise(ask)
        self.background.finish(ask.response_id)
        yield from self.events(ask, "completed")


class GetInteraction(Poll, _Interaction):
    """Poll an interaction, or resume its stream."""

    pattern = re.compile(r"/google/v1(?:beta)?/interactions/(?P<id>[^/]+)")

    def stream(self, ask: Ask) -> Iterator[Part]:
        self.background.finish(ask.response_id)
        begun = self.background.find(ask.response_id)
        yield from self.events(begun, self.background.poll(ask.response_id))


class CancelInteraction(Cancel, _Interaction):
    """Cancel an interaction."""

    pattern = re.compile(r"/google/v1(?:beta)?/interactions/(?P<id>[^/]+)/cancel")


class _Veo(JobEndpoint, GoogleEndpoint):
    operation = "video_generation"
    asks_in = "instances"

    def response_id(self) -> str:
        return make_id("", 12)

    def job(self, ask: Ask, status: str) -> Json:
        name = f"models/{ask.question.model}/operations/{ask.response_id}"
        if status == "queued":
            return {"name": name}
        if status == "failed":
            return {"name": name, "done": True, "error": {"code": 3, "message": "Blocked."}}
        samples = [{"video": {"uri": "https://v.example/1.mp4"}}]
        made = {"generateVideoResponse": {"generatedSamples": samples}, "videos": samples}
        return {"name": name, "done": True, "response": made}

    def reports(self, ask: Ask) -> Counts:
        return Counts()


class CreateVeo(Begin, _Veo):
    """Begin a video of Google."""

    pattern = re.compile(
        r"/google/v1(?:beta)?/(?:projects/.+/)?models/(?P<model>[^/:]+):predictLongRunning"
    )

    def read(self, body: Json, match: re.Match[str], query: dict[str, list[str]]) -> Question:
        instances = required(body, "instances", list)
        prompt = "\n".join(required(instance, "prompt", str) for instance in instances)
        return Question(unquote(match["model"]), prompt, stream=False, body=body, spoken=prompt)


class GetVeo(Poll, _Veo):
    """Poll a video of Google."""

    pattern = re.compile(r"/google/v1(?:beta)?/models/[^/]+/operations/(?P<id>[^/]+)")


class FetchVeo(Poll, _Veo):
    """Poll a video of Vertex."""

    method = "POST"
    pattern = re.compile(r"/google/v1(?:beta)?/projects/.+/models/[^/]+:fetchPredictOperation")

    def named(self, body: Json, match: re.Match[str]) -> str:
        return str(required(body, "operationName", str)).rpartition("/")[2]


ENDPOINTS: tuple[type[JobEndpoint], ...] = (
    *(CreateInteraction, GetInteraction, CancelInteraction),
    *(CreateVeo, GetVeo, FetchVeo),
)
