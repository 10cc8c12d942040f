"""Answers about work whose result is fetched later, in the shapes that providers document."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from tests.formats.answers import Answer, Stream, of
from usage_tracking.usage import Usage

RUNS, INTERACTIONS, VIDEOS = "openai.runs", "gemini.interactions", "videos"
PERPLEXITY, OPERATIONS, ASYNC_INVOKE = (
    "perplexity.async",
    "google.operations",
    "bedrock.async_invoke",
)
CHAT, REPLICATE, MEDIA = "openai.chat", "replicate", "media.tasks"

RUN = {
    "id": "run_abc123",
    "object": "thread.run",
    "created_at": 1698107661,
    "assistant_id": "asst_abc123",
    "thread_id": "thread_abc123",
    "status": "completed",
    "last_error": None,
    "model": "gpt-4o",
    "usage": {"prompt_tokens": 123, "completion_tokens": 456, "total_tokens": 579},
}
RUNNING = RUN | {"status": "in_progress", "usage": None}
STEP = {
    "id": "step_1",
    "object": "thread.run.step",
    "run_id": "run_abc123",
    "status": "completed",
    "last_error": None,
    "usage": {"prompt_tokens": 100, "completion_tokens": 400, "total_tokens": 500},
}
DELTA = {
    "id": "msg_1",
    "object": "thread.message.delta",
    "delta": {"content": [{"index": 0, "type": "text", "text": {"value": "Hi"}}]},
}
INTERACTION = {
    "id": "v1_Chd",
    "object": "interaction",
    "agent": "deep-research-pro-preview-12-2025",
    "status": "in_progress",
    "created": "2025-12-09T12:00:00Z",
    "updated": "2025-12-09T12:00:00Z",
}
USED = {
    "total_input_tokens": 100,
    "total_output_tokens": 40,
    "total_thought_tokens": 20,
    "total_tokens": 160,
}
SEARCHED: dict[str, Any] = {
    "id": "71dd3d5a-5b59-4e4d-a6b1-4b6c1b2c3d4e",
    "created_at": 1739200000,
    "started_at": 1739200001,
    "completed_at": None,
    "failed_at": None,
    "error_message": None,
    "model": "sonar-deep-research",
    "status": "IN_PROGRESS",
    "response": None,
}
SEARCH = {
    "id": "an-id-of-its-own",
    "object": "chat.completion",
    "created": 1739200300,
    "model": "sonar-deep-research",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"content": "A report"}}],
    "usage": {
        "prompt_tokens": 33,
        "completion_tokens": 7163,
        "total_tokens": 7196,
        "citation_tokens": 20016,
        "num_search_queries": 18,
        "reasoning_tokens": 73997,
        "cost": {"input_tokens_cost": 0.00006, "total_cost": 0.409},
    },
}
VIDEO = {
    "id": "video_123",
    "object": "video",
    "model": "sora-2",
    "status": "queued",
    "progress": 0,
    "created_at": 1712697600,
    "size": "1024x1792",
    "seconds": "8",
}
OPERATION = "models/veo-3.1-generate-preview/operations/8qz3"
VERTEX = f"projects/p/locations/us-central1/publishers/google/{OPERATION}"
ARN = "arn:aws:bedrock:us-east-1:123456789012:async-invoke/abc123def456"
PREDICTION: dict[str, Any] = {
    "id": "gm3qorzdhgbfurvjtvhg6dckhu",
    "model": "replicate/hello-world",
    "version": "9dcd6d78",
    "input": {"text": "Alice"},
    "output": None,
    "error": None,
    "status": "starting",
    "created_at": "2023-09-08T16:19:34.765994Z",
    "urls": {"get": "https://api.replicate.com/v1/predictions/gm3"},
}

ANSWERS = {
    # https://platform.openai.com/docs/api-reference/runs/object
    "run": Answer(RUNS, RUN, of(123, 456), "gpt-4o", "run_abc123"),
    "run that goes on": Answer(RUNS, RUNNING, None, "gpt-4o", "run_abc123"),
    "run that failed": Answer(
        RUNS,
        RUN | {"status": "failed", "last_error": {"code": "server_error", "message": "Sorry"}},
        of(123, 456),
        "gpt-4o",
        "run_abc123",
        error="server_error: Sorry",
    ),
    "run that expired": Answer(
        RUNS,
        RUNNING | {"status": "expired"},
        None,
        "gpt-4o",
        "run_abc123",
        error="expired",
    ),
    "run, refused": Answer(
        RUNS,
        {"error": {"message": "No assistant found", "type": "invalid_request_error"}},
        None,
        error="invalid_request_error: No assistant found",
    ),
    # https://ai.google.dev/gemini-api/docs/deep-research
    "interaction in the background": Answer(
        INTERACTIONS,
        INTERACTION | {"usage": {"total_input_tokens": 0, "total_output_tokens": 0}},
        None,
        "deep-research-pro-preview-12-2025",
        "v1_Chd",
    ),
    "interaction from the background": Answer(
        INTERACTIONS,
        INTERACTION | {"status": "completed", "usage": USED, "steps": []},
        of(100, 60, reasoning_tokens=20),
        "deep-research-pro-preview-12-2025",
        "v1_Chd",
    ),
    # https://docs.perplexity.ai/api-reference/async-sonar-request-get
    "perplexity, begun": Answer(PERPLEXITY, SEARCHED, None, "sonar-deep-research", SEARCHED["id"]),
    "perplexity, completed": Answer(
        PERPLEXITY,
        SEARCHED | {"status": "COMPLETED", "response": SEARCH},
        of(
            33,
            7163,
            reasoning_tokens=73997,
            cost=Decimal("0.409"),
            details={
                "output_tokens": 101176,
                "output_citation_tokens": 20016,
                "web_searches": 18,
            },
        ),
        "sonar-deep-research",
        SEARCHED["id"],
    ),
    "perplexity, failed": Answer(
        PERPLEXITY,
        SEARCHED | {"status": "FAILED", "error_message": "Out of luck"},
        None,
        "sonar-deep-research",
        SEARCHED["id"],
        error="Out of luck",
    ),
    # https://docs.x.ai/developers/advanced-api-usage/deferred-chat-completions
    "xai, deferred": Answer(CHAT, {"request_id": "f15c114e"}, None, response_id="f15c114e"),
    # https://platform.openai.com/docs/api-reference/videos/object
    "video": Answer(
        VIDEOS,
        VIDEO,
        None,
        "sora-2",
        "video_123",
        facts={"video_seconds": 8.0, "video_size": "1024x1792"},
    ),
    "video that failed": Answer(
        VIDEOS,
        VIDEO | {"status": "failed", "error": {"code": "moderation_blocked", "message": "No"}},
        None,
        "sora-2",
        "video_123",
        error="moderation_blocked: No",
        facts={"video_seconds": 8.0, "video_size": "1024x1792"},
    ),
    # https://docs.together.ai/reference/get-videos-id
    "together, video": Answer(
        VIDEOS,
        {name: value for name, value in VIDEO.items() if name != "object"}
        | {"status": "completed", "outputs": {"cost": 123, "video_url": "https://v.example"}},
        None,
        "sora-2",
        "video_123",
        facts={"video_seconds": 8.0, "video_size": "1024x1792"},
    ),
    # https://learn.microsoft.com/azure/ai-services/openai/video-generation-quickstart
    "azure, video job": Answer(
        VIDEOS,
        {
            "object": "video.generation.job",
            "id": "task_01jv",
            "status": "succeeded",
            "created_at": 1747000000,
            "finished_at": 1747000030,
            "generations": [{"object": "video.generation", "id": "gen_1"}],
            "prompt": "A cat",
            "model": "sora",
            "n_variants": 2,
            "n_seconds": 5,
            "height": 480,
            "width": 854,
            "failure_reason": None,
        },
        None,
        "sora",
        "task_01jv",
        facts={"video_seconds": 5, "video_size": "854x480", "videos": 2},
    ),
    "azure, video job that failed": Answer(
        VIDEOS,
        {
            "object": "video.generation.job",
            "id": "task_01jv",
            "status": "failed",
            "failure_reason": "input_moderation",
        },
        None,
        "",
        "task_01jv",
        error="input_moderation",
    ),
    # https://openrouter.ai/docs/api/api-reference/video-generation/get-videos
    "openrouter, video": Answer(
        VIDEOS,
        {
            "id": "job-abc123",
            "generation_id": "gen-1",
            "polling_url": "/api/v1/videos/job-abc123",
            "status": "completed",
            "unsigned_urls": ["https://v.example/1.mp4"],
            "usage": {"cost": 0.5, "is_byok": False},
        },
        Usage(cost=Decimal("0.5")),
        response_id="job-abc123",
    ),
    # https://docs.x.ai/developers/model-capabilities/video/generation
    "xai, video begun": Answer(VIDEOS, {"request_id": "d97415a1"}, None, response_id="d97415a1"),
    "xai, video": Answer(
        VIDEOS,
        {
            "status": "done",
            "video": {
                "url": "https://vidgen.x.ai/v.mp4",
                "duration": 8,
                "respect_moderation": True,
            },
            "model": "grok-imagine-video",
            "usage": {"cost_in_usd_ticks": 4_000_000_000},
        },
        Usage(cost=Decimal("0.4")),
        "grok-imagine-video",
        facts={"video_seconds": 8},
    ),
    # https://ai.google.dev/gemini-api/docs/video
    "veo, begun": Answer(
        OPERATIONS, {"name": OPERATION}, None, "veo-3.1-generate-preview", OPERATION
    ),
    "veo": Answer(
        OPERATIONS,
        {
            "name": OPERATION,
            "done": True,
            "response": {
                "generateVideoResponse": {"generatedSamples": [{"video": {"uri": "https://v"}}]}
            },
        },
        None,
        "veo-3.1-generate-preview",
        OPERATION,
        facts={"videos": 1},
    ),
    "veo that failed": Answer(
        OPERATIONS,
        {"name": VERTEX, "done": True, "error": {"code": 3, "message": "Blocked"}},
        None,
        "veo-3.1-generate-preview",
        VERTEX,
        error="3: Blocked",
    ),
    "veo on vertex": Answer(
        OPERATIONS,
        {
            "name": VERTEX,
            "done": True,
            "response": {"videos": [{"gcsUri": "gs://b/1.mp4"}, {"gcsUri": "gs://b/2.mp4"}]},
        },
        None,
        "veo-3.1-generate-preview",
        VERTEX,
        facts={"videos": 2},
    ),
    # https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_GetAsyncInvoke.html
    "async invoke, begun": Answer(ASYNC_INVOKE, {"invocationArn": ARN}, None, response_id=ARN),
    "async invoke": Answer(
        ASYNC_INVOKE,
        {
            "invocationArn": ARN,
            "modelArn": "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-reel-v1:0",
            "status": "Completed",
            "submitTime": "2025-03-01T12:00:00Z",
            "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": "s3://b"}},
        },
        None,
        "amazon.nova-reel-v1:0",
        ARN,
    ),
    "async invoke that failed": Answer(
        ASYNC_INVOKE,
        {"invocationArn": ARN, "status": "Failed", "failureMessage": "No such bucket"},
        None,
        response_id=ARN,
        error="No such bucket",
    ),
    # https://docs.dev.runwayml.com/api
    "runway, begun": Answer(
        MEDIA, {"id": "17f20503", "estimatedCost": {"credits": 25}}, None, response_id="17f20503"
    ),
    "runway": Answer(
        MEDIA,
        {
            "id": "17f20503",
            "status": "SUCCEEDED",
            "createdAt": "2024-06-27T19:49:32.334Z",
            "output": ["https://v.example/1.mp4"],
            "cost": {"credits": 25},
        },
        None,
        response_id="17f20503",
        facts={"credits": 25},
    ),
    "runway, failed": Answer(
        MEDIA,
        {
            "id": "17f20503",
            "status": "FAILED",
            "createdAt": "2024-06-27T19:49:32.334Z",
            "failure": "The input was moderated",
            "cost": {"credits": 0},
        },
        None,
        response_id="17f20503",
        error="The input was moderated",
        facts={"credits": 0},
    ),
    # https://docs.lumalabs.ai/reference
    "luma": Answer(
        MEDIA,
        {
            "id": "123e4567",
            "generation_type": "video",
            "state": "dreaming",
            "failure_reason": None,
            "created_at": "2023-06-01T12:00:00Z",
            "assets": None,
            "model": "ray-2",
            "request": {"prompt": "A cat"},
        },
        None,
        "ray-2",
        "123e4567",
    ),
    # https://docs.bfl.ai/api_integration/integration_guidelines
    "flux, begun": Answer(
        MEDIA,
        {"id": "f1", "polling_url": "https://api.us1.bfl.ai/v1/get_result?id=f1", "cost": 4.5},
        None,
        response_id="f1",
        facts={"credits": 4.5},
    ),
    "flux": Answer(
        MEDIA,
        {"id": "f1", "status": "Ready", "result": {"sample": "https://d.example/1.jpeg"}},
        None,
        response_id="f1",
    ),
    "flux, moderated": Answer(
        MEDIA,
        {"id": "f1", "status": "Content Moderated", "result": None},
        None,
        response_id="f1",
        error="content moderated",
    ),
    # https://replicate.com/docs/reference/http#predictions.get
    "replicate, begun": Answer(
        REPLICATE, PREDICTION, None, "replicate/hello-world", PREDICTION["id"]
    ),
}
STREAMS = {
    # https://platform.openai.com/docs/api-reference/assistants-streaming/events
    "run": Stream(
        RUNS,
        [RUNNING | {"status": "queued"}, RUNNING, DELTA, STEP, RUN],
        of(123, 456),
        "gpt-4o",
        "run_abc123",
    ),
    "run that needs an action": Stream(
        RUNS,
        [RUNNING, STEP, RUNNING | {"status": "requires_action"}],
        None,
        "gpt-4o",
        "run_abc123",
        complete=False,
    ),
    "run that failed": Stream(
        RUNS,
        [
            RUNNING,
            DELTA,
            RUNNING | {"status": "failed", "last_error": {"code": "server_error", "message": "x"}},
        ],
        None,
        "gpt-4o",
        "run_abc123",
        error="server_error: x",
        complete=False,
    ),
    "run, error in the stream": Stream(
        RUNS,
        [RUNNING, {"error": {"message": "Overloaded", "type": "server_error"}}],
        None,
        "gpt-4o",
        "run_abc123",
        error="server_error: Overloaded",
        complete=False,
    ),
    # https://ai.google.dev/api/interactions-api
    "interaction from the background": Stream(
        INTERACTIONS,
        [
            {"event_type": "interaction.created", "interaction": INTERACTION},
            {
                "event_type": "interaction.status_update",
                "interaction_id": "v1_Chd",
                "status": "in_progress",
            },
            {"event_type": "step.delta", "index": 0, "delta": {"type": "text", "text": "Hi"}},
            {
                "event_type": "interaction.completed",
                "interaction": {"id": "v1_Chd", "status": "completed", "usage": USED},
            },
        ],
        of(100, 60, reasoning_tokens=20),
        "deep-research-pro-preview-12-2025",
        "v1_Chd",
    ),
    "interaction that was cancelled": Stream(
        INTERACTIONS,
        [
            {"event_type": "interaction.created", "interaction": INTERACTION},
            {"event_type": "interaction.completed", "interaction": {"status": "cancelled"}},
        ],
        None,
        "deep-research-pro-preview-12-2025",
        "v1_Chd",
        complete=False,
    ),
}
