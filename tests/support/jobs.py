"""Begin jobs at the stub provider, and ask about them, as a site does: with the SDKs or HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import quote

import boto3
import botocore.config
import httpx
import openai
from google import genai

#: Takes the URL of the stub and a directive, and returns the id of the job.
Begin = Callable[[str, str], str]
#: Takes the URL of the stub and the id of a job.
Poll = Callable[[str, str], Any]


class Kind(NamedTuple):
    """One API with jobs."""

    begin: Begin
    poll: Poll
    operation: str
    model: str
    #: What the answers report: tokens, and a cost in USD.
    counts: bool = False
    costs: bool = False
    #: Further metadata of the row, at its end.
    facts: dict[str, Any] = {}


AGENT, VEO = "deep-research-pro-preview-12-2025", "veo-3.1-generate-preview"
_PROJECT = "/google/v1/projects/p/locations/us-central1/publishers/google"


def gemini(url: str) -> genai.Client:
    options: Any = {"base_url": f"{url}/google"}
    return genai.Client(api_key="any", http_options=options)


def gpt(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/openai/v1", api_key="any", max_retries=0)


def runtime(url: str) -> Any:
    return boto3.client(
        "bedrock-runtime",
        endpoint_url=f"{url}/bedrock",
        region_name="us-east-1",
        aws_access_key_id="any",
        aws_secret_access_key="any",
        config=botocore.config.Config(retries={"max_attempts": 1}),
    )


def post(url: str, path: str, body: dict[str, Any]) -> Any:
    return httpx.post(url + path, json=body).raise_for_status().json()


def get(url: str, path: str) -> Any:
    answer = httpx.get(url + path).raise_for_status()
    return answer.json() if answer.content else None


def talk(order: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": f"Search [stub {order}]"}]


def _interaction(url: str, order: str) -> str:
    with gemini(url) as client:
        begun: Any = client.interactions.create(
            agent=AGENT, input=f"Search [stub {order}]", background=True
        )
        return str(begun.id)


def _poll_interaction(url: str, job: str) -> Any:
    with gemini(url) as client:
        return client.interactions.get(job)


def _veo(url: str, order: str) -> str:
    # The SDK makes videos on Vertex only; its older releases did this.
    body = {"instances": [{"prompt": f"A cat [stub {order}]"}]}
    return str(post(url, f"/google/v1beta/models/{VEO}:predictLongRunning", body)["name"])


def _vertex(url: str, order: str) -> str:
    body = {"instances": [{"prompt": f"A cat [stub {order}]"}]}
    return str(post(url, f"{_PROJECT}/models/{VEO}:predictLongRunning", body)["name"])


def _poll_vertex(url: str, job: str) -> Any:
    path = f"{_PROJECT}/models/{VEO}:fetchPredictOperation"
    return post(url, path, {"operationName": job})


def _video(url: str, order: str) -> str:
    with gpt(url) as client:
        return client.videos.create(prompt=f"A cat [stub {order}]", model="sora-2", seconds="8").id


def _poll_video(url: str, job: str) -> Any:
    with gpt(url) as client:
        return client.videos.retrieve(job)


def _run(url: str, order: str) -> str:
    with gpt(url) as client:
        return client.beta.threads.runs.create(
            "thread_1", assistant_id="asst_1", model="gpt-4o", instructions=f"Go [stub {order}]"
        ).id


def _poll_run(url: str, job: str) -> Any:
    with gpt(url) as client:
        return client.beta.threads.runs.retrieve(job, thread_id="thread_1")


def _search(url: str, order: str) -> str:
    body = {"request": {"model": "sonar-deep-research", "messages": talk(order)}}
    return str(post(url, "/perplexity/async/chat/completions", body)["id"])


def _deferred(url: str, order: str) -> str:
    body = {"model": "grok-4", "messages": talk(order), "deferred": True}
    return str(post(url, "/x-ai/v1/chat/completions", body)["request_id"])


def _grok_video(url: str, order: str) -> str:
    body = {"model": "grok-imagine-video", "prompt": f"A cat [stub {order}]"}
    return str(post(url, "/x-ai/v1/videos/generations", body)["request_id"])


def _invocation(url: str, order: str) -> str:
    begun = runtime(url).start_async_invoke(
        modelId="amazon.nova-reel-v1:0",
        modelInput={"text": f"A cat [stub {order}]"},
        outputDataConfig={"s3OutputDataConfig": {"s3Uri": "s3://bucket"}},
    )
    return str(begun["invocationArn"])


def _prediction(url: str, order: str) -> str:
    body = {"input": {"text": f"Hi [stub {order}]"}}
    return str(post(url, "/replicate/v1/models/meta/llama-3/predictions", body)["id"])


def _task(url: str, order: str) -> str:
    body = {"model": "gen4_turbo", "promptText": f"A cat [stub {order}]"}
    return str(post(url, "/runway/v1/image_to_video", body)["id"])


def _flux(url: str, order: str) -> str:
    return str(post(url, "/bfl/v1/flux-2-pro", {"prompt": f"A cat [stub {order}]"})["id"])


def _generation(url: str, order: str) -> str:
    body = {"model": "ray-2", "prompt": f"A cat [stub {order}]"}
    return str(post(url, "/luma/dream-machine/v1/generations/video", body)["id"])


KINDS = {
    "gemini interaction": Kind(
        _interaction, _poll_interaction, "generate_content", AGENT, counts=True
    ),
    "openai run": Kind(_run, _poll_run, "invoke_agent", "gpt-4o-2024-08-06", counts=True),
    "openai video": Kind(
        _video,
        _poll_video,
        "video_generation",
        "sora-2",
        facts={"video_seconds": 8, "video_size": "720x1280"},
    ),
    "perplexity": Kind(
        _search,
        lambda url, job: get(url, f"/perplexity/async/chat/completions/{job}"),
        "chat",
        "sonar-deep-research",
        counts=True,
        costs=True,
    ),
    "xai chat": Kind(
        _deferred,
        lambda url, job: get(url, f"/x-ai/v1/chat/deferred-completion/{job}"),
        "chat",
        "grok-4",
        counts=True,
        costs=True,
    ),
    "xai video": Kind(
        _grok_video,
        lambda url, job: get(url, f"/x-ai/v1/videos/{job}"),
        "video_generation",
        "grok-imagine-video",
        costs=True,
        facts={"video_seconds": 8},
    ),
    "veo": Kind(
        _veo,
        lambda url, job: get(url, f"/google/v1beta/{job}"),
        "video_generation",
        VEO,
        facts={"videos": 1},
    ),
    "veo on vertex": Kind(_vertex, _poll_vertex, "video_generation", VEO, facts={"videos": 1}),
    "bedrock": Kind(
        _invocation,
        lambda url, job: runtime(url).get_async_invoke(invocationArn=job),
        "generate_content",
        "amazon.nova-reel-v1:0",
    ),
    "replicate": Kind(
        _prediction,
        lambda url, job: get(url, f"/replicate/v1/predictions/{quote(job)}"),
        "generate_content",
        "meta/llama-3",
        counts=True,
        facts={"predict_seconds": 0.5},
    ),
    "runway": Kind(
        _task,
        lambda url, job: get(url, f"/runway/v1/tasks/{job}"),
        "video_generation",
        "gen4_turbo",
        facts={"credits": 25},
    ),
    "flux": Kind(
        _flux,
        lambda url, job: get(url, f"/bfl/v1/get_result?id={job}"),
        "image_generation",
        "flux-2-pro",
        facts={"credits": 4.5},
    ),
    "luma": Kind(
        _generation,
        lambda url, job: get(url, f"/luma/dream-machine/v1/generations/{job}"),
        "video_generation",
        "ray-2",
    ),
}
#: Kinds whose failed jobs the stub can show.
FAILING = [name for name in KINDS if name != "xai chat"]
