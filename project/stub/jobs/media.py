"""Jobs of Runway, Luma and Black Forest Labs, and models that Bedrock and Replicate host."""

from __future__ import annotations

import re
from typing import Any

from project.stub.bedrock_wire import BedrockEndpoint
from project.stub.exchange import Ask, Counts, Part, Question
from project.stub.jobs.base import Begin, Cancel, JobEndpoint, Poll, time_of
from project.stub.openai_wire import OpenAIEndpoint
from project.stub.wire import (
    Json,
    make_id,
)


class _Invocation(JobEndpoint, BedrockEndpoint):
    operation = "generate_content"
    asks_in = "modelInput"
    model_in = "modelId"

    def response_id(self) -> str:
        return f"arn:aws:bedrock:us-east-1:123456789012:async-invoke/{make_id('', 12)}"

    def begun(self, ask: Ask) -> Json:
        return {"invocationArn": ask.response_id}

    def job(self, ask: Ask, status: str) -> Json:
        states = {"queued": "InProgress", "completed": "Completed", "failed": "Failed"}
        return {
            "invocationArn": ask.response_id,
            "modelArn": f"arn:aws:bedrock:us-east-1::foundation-model/{ask.question.model}",
            "status": states[status],
            **({"failureMessage": "No such bucket."} if status == "failed" else {}),
            "submitTime": time_of(ask),
            "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": "s3://bucket"}},
        }

    def reports(self, ask: Ask) -> Counts:
        return Counts()


class StartAsyncInvoke(Begin, _Invocation):
    """Begin an asynchronous invocation."""

    pattern = re.compile(r"/bedrock/async-invoke")


class GetAsyncInvoke(Poll, _Invocation):
    """Poll an asynchronous invocation."""

    pattern = re.compile(r"/bedrock/async-invoke/(?P<id>.+)")


class _Prediction(JobEndpoint, OpenAIEndpoint):
    provider = "replicate"
    operation = "generate_content"
    asks_in = "input"

    def response_id(self) -> str:
        return make_id("", 26)

    def job(self, ask: Ask, status: str) -> Json:
        states = {"queued": "processing", "completed": "succeeded", "cancelled": "canceled"}
        answer: dict[str, Any] = {
            "id": ask.response_id,
            "model": ask.model,
            "version": "hidden",
            "input": ask.body["input"],
            "output": [ask.text] if status == "completed" else None,
            "error": "The model failed." if status == "failed" else None,
            "status": states.get(status, status),
            "created_at": time_of(ask),
            "urls": {"get": f"https://api.replicate.com/v1/predictions/{ask.response_id}"},
        }
        if status == "completed":
            used = {
                "input_token_count": ask.prompt_tokens,
                "output_token_count": ask.completion_tokens,
            }
            answer["metrics"] = {"predict_time": 0.5, **used}
        return answer


class CreatePrediction(Begin, _Prediction):
    """Begin a prediction, and wait for it if the input says `wait`."""

    pattern = re.compile(r"/replicate/v1/models/(?P<model>[^/]+/[^/]+)/predictions")

    def plain(self, ask: Ask) -> Part:
        begun = super().plain(ask)
        if not ask.body["input"].get("wait"):
            return begun
        self.background.finish(ask.response_id)
        return self.part(ask, "completed")


class GetPrediction(Poll, _Prediction):
    """Poll a prediction."""

    pattern = re.compile(r"/replicate/v1/predictions/(?P<id>[^/]+)")


class CancelPrediction(Cancel, _Prediction):
    """Cancel a prediction."""

    pattern = re.compile(r"/replicate/v1/predictions/(?P<id>[^/]+)/cancel")


class _Task(JobEndpoint, OpenAIEndpoint):
    provider = "runway"
    operation = "video_generation"
    asks_in = "promptText"

    def response_id(self) -> str:
        return make_id("", 32)

    def begun(self, ask: Ask) -> Json:
        return {"id": ask.response_id, "estimatedCost": {"credits": 25}}

    def job(self, ask: Ask, status: str) -> Json:
        states = {"queued": "RUNNING", "completed": "SUCCEEDED", "failed": "FAILED"}
        task: Json = {"id": ask.response_id, "status": states[status], "createdAt": time_of(ask)}
        if status == "completed":
            return task | {"output": ["https://v.example/1.mp4"], "cost": {"credits": 25}}
        if status == "failed":
            return task | {"failure": "The input was moderated.", "cost": {"credits": 0}}
        return task | {"progress": 0.5}

    def reports(self, ask: Ask) -> Counts:
        return Counts()


class CreateTask(Begin, _Task):
    """Begin a task of Runway."""

    pattern = re.compile(r"/runway/v1/image_to_video")


class GetTask(Poll, _Task):
    """Poll a task of Runway."""

    pattern = re.compile(r"/runway/v1/tasks/(?P<id>[^/]+)")


class _Flux(JobEndpoint, OpenAIEndpoint):
    provider = "black-forest-labs"
    operation = "image_generation"

    def response_id(self) -> str:
        return make_id("", 32)

    def begun(self, ask: Ask) -> Json:
        return {"id": ask.response_id, "polling_url": "/v1/get_result", "cost": 4.5}

    def job(self, ask: Ask, status: str) -> Json:
        states = {"queued": "Pending", "completed": "Ready", "failed": "Error"}
        made = {"sample": "https://d.example/1.jpeg"} if status == "completed" else None
        return {"id": ask.response_id, "status": states[status], "result": made}

    def reports(self, ask: Ask) -> Counts:
        return Counts()


class CreateFlux(Begin, _Flux):
    """Begin a picture of Black Forest Labs."""

    pattern = re.compile(r"/bfl/v1/(?P<model>flux-[^/]+)")


class GetFlux(Poll, _Flux):
    """Poll a picture of Black Forest Labs."""

    pattern = re.compile(r"/bfl/v1/get_result")

    def read(self, body: Json, match: re.Match[str], query: dict[str, list[str]]) -> Question:
        return super().read({"id": query["id"][0]}, match, query)

    def named(self, body: Json, match: re.Match[str]) -> str:
        return str(body["id"])


class _Generation(JobEndpoint, OpenAIEndpoint):
    provider = "luma"
    operation = "video_generation"

    def response_id(self) -> str:
        return make_id("", 32)

    def job(self, ask: Ask, status: str) -> Json:
        return {
            "id": ask.response_id,
            "generation_type": "video",
            "state": status,
            "failure_reason": "Moderated." if status == "failed" else None,
            "created_at": time_of(ask),
            "assets": {"video": "https://v.example/1.mp4"} if status == "completed" else None,
            "model": ask.model,
            "request": {"prompt": ask.question.prompt},
        }

    def reports(self, ask: Ask) -> Counts:
        return Counts()


class CreateGeneration(Begin, _Generation):
    """Begin a generation of Luma."""

    pattern = re.compile(r"/luma/dream-machine/v1/generations(?:/video)?")


class GetGeneration(Poll, _Generation):
    """Poll a generation of Luma."""

    pattern = re.compile(r"/luma/dream-machine/v1/generations/(?P<id>[^/]+)")


ENDPOINTS: tuple[type[JobEndpoint], ...] = (
    *(StartAsyncInvoke, GetAsyncInvoke),
    *(CreatePrediction, GetPrediction, CancelPrediction),
    *(CreateFlux, GetFlux),
    *(CreateTask, GetTask, CreateGeneration, GetGeneration),
)
