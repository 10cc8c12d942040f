"""APIs that begin a job, whose result the client fetches later.

Shapes: the readers in `usage_tracking/formats` cite the documentation of each.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

from project.stub.background import Background
from project.stub.bedrock_wire import BedrockEndpoint
from project.stub.exchange import Ask, Counts, Part, Question
from project.stub.google_wire import GoogleEndpoint
from project.stub.openai_wire import OpenAIEndpoint, chat_usage
from project.stub.wire import (
    Endpoint,
    Json,
    compact,
    conversation,
    counts,
    make_id,
    required,
    sse,
    texts_of,
)

#: What a job that completes costs in USD, where the provider says so.
COST = 0.409


class JobEndpoint(Endpoint):
    """What the endpoints of one kind of job share."""

    #: The member of a request that says what to do.
    asks_in = "prompt"
    #: The member of a request that names the model.
    model_in = "model"

    def __init__(self, background: Background) -> None:
        self.background = background

    @abstractmethod
    def job(self, ask: Ask, status: str) -> Json:
        """Return the job as JSON; its status is queued, completed, failed or cancelled."""

    def begun(self, ask: Ask) -> Json:
        """Return the answer to the request that begins a job."""
        return self.job(ask, "queued")

    def reports(self, ask: Ask) -> Counts:
        """Return what a completed job reports."""
        return counts(ask)

    def part(self, ask: Ask, status: str) -> Part:
        """Return the body that tells of a job."""
        reports = self.reports(ask) if status == "completed" else Counts()
        return Part(compact(self.job(ask, status)), reports, failed=status == "failed")

    def stream(self, ask: Ask) -> Iterator[Part]:
        raise NotImplementedError

    def stream_error(self, ask: Ask, message: str) -> Iterator[Part]:
        raise NotImplementedError


class Begin(JobEndpoint):
    """Begins a job."""

    def read(self, body: Json, match: re.Match[str], query: dict[str, list[str]]) -> Question:
        model = match.groupdict().get("model") or body.get(self.model_in) or ""
        prompt = "\n".join(texts_of(required(body, self.asks_in, (str, list, dict))))
        return Question(unquote(model), prompt, body.get("stream") is True, body, prompt)

    def plain(self, ask: Ask) -> Part:
        self.background.promise(ask)
        return Part(compact(self.begun(ask)), Counts())


class Poll(JobEndpoint):
    """Asks about a job."""

    method = "GET"

    def named(self, body: Json, match: re.Match[str]) -> str:
        """Return the id of the job that a request asks about."""
        return unquote(match["id"])

    def read(self, body: Json, match: re.Match[str], query: dict[str, list[str]]) -> Question:
        ask = self.background.find(self.named(body, match))
        is_stream = query.get("stream") == ["true"]
        return replace(ask.question, model=ask.model, response_id=ask.response_id, stream=is_stream)

    def response_id(self) -> str:
        return ""

    def answered_model(self, requested: str) -> str:
        return requested  # `read` takes it from the first answer

    def plain(self, ask: Ask) -> Part:
        begun = self.background.find(ask.response_id)
        return self.part(begun, self.background.poll(ask.response_id))


class Cancel(Poll):
    """Cancels a job."""

    method = "POST"

    def plain(self, ask: Ask) -> Part:
        begun = self.background.find(ask.response_id)
        return self.part(begun, self.background.cancel(ask.response_id))


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
            "created": _time(ask),
            "updated": _time(ask),
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
            "submitTime": _time(ask),
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
            "created_at": _time(ask),
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
        task: Json = {"id": ask.response_id, "status": states[status], "createdAt": _time(ask)}
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
            "created_at": _time(ask),
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


#: All endpoints of this module; a path that two of them match belongs to the first.
ENDPOINTS: tuple[type[JobEndpoint], ...] = (
    *(CreateInteraction, GetInteraction, CancelInteraction),
    *(CreateVideo, RetrieveVideo),
    *(CreateRun, RetrieveRun, CancelRun, SubmitToolOutputs),
    *(CreateSearch, GetSearch),
    *(DeferChat, GetDeferred, CreateGrokVideo, GetGrokVideo),
    *(CreateVeo, GetVeo, FetchVeo),
    *(StartAsyncInvoke, GetAsyncInvoke),
    *(CreatePrediction, GetPrediction, CancelPrediction),
    *(CreateFlux, GetFlux),
    *(CreateTask, GetTask, CreateGeneration, GetGeneration),
)


def _time(ask: Ask) -> str:
    return datetime.fromtimestamp(ask.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


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
