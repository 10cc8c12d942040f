"""What answers say about the job that they belong to."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.formats.later_answers import (
    ANSWERS,
    ARN,
    OPERATION,
    PREDICTION,
    SEARCHED,
    STREAMS,
    VERTEX,
)
from usage_tracking.formats import READERS
from usage_tracking.formats.reader import Job, Reader

_RUN = datetime.fromtimestamp(1698107661, UTC)
_INTERACTION = datetime(2025, 12, 9, 12, tzinfo=UTC)
_SEARCH = datetime.fromtimestamp(1739200000, UTC)
_VIDEO = datetime.fromtimestamp(1712697600, UTC)
_TASK = datetime(2024, 6, 27, 19, 49, 32, 334000, UTC)
_PREDICTION = datetime(2023, 9, 8, 16, 19, 34, 765994, UTC)

JOBS = {
    "run": Job("run_abc123", ended=True, began=_RUN),
    "run that goes on": Job("run_abc123", ended=False, began=_RUN),
    "run that failed": Job("run_abc123", ended=True, began=_RUN),
    "run that expired": Job("run_abc123", ended=True, began=_RUN),
    "run, refused": None,
    "interaction in the background": Job("v1_Chd", ended=False, began=_INTERACTION),
    "interaction from the background": Job("v1_Chd", ended=True, began=_INTERACTION),
    "perplexity, begun": Job(SEARCHED["id"], ended=False, began=_SEARCH),
    "perplexity, completed": Job(SEARCHED["id"], ended=True, began=_SEARCH),
    "perplexity, failed": Job(SEARCHED["id"], ended=True, began=_SEARCH),
    "xai, deferred": Job("f15c114e", ended=False),
    "video": Job("video_123", ended=False, began=_VIDEO),
    "video that failed": Job("video_123", ended=True, began=_VIDEO),
    "together, video": Job("video_123", ended=True, began=_VIDEO),
    "azure, video job": Job("task_01jv", ended=True, began=datetime.fromtimestamp(1747000000, UTC)),
    "azure, video job that failed": Job("task_01jv", ended=True),
    "openrouter, video": Job("job-abc123", ended=True),
    "xai, video begun": Job("d97415a1", ended=False),
    "xai, video": Job("", ended=True),
    "veo, begun": Job(OPERATION, ended=False),
    "veo": Job(OPERATION, ended=True),
    "veo that failed": Job(VERTEX, ended=True),
    "veo on vertex": Job(VERTEX, ended=True),
    "async invoke, begun": Job(ARN, ended=False),
    "async invoke": Job(ARN, ended=True, began=datetime(2025, 3, 1, 12, tzinfo=UTC)),
    "async invoke that failed": Job(ARN, ended=True),
    "runway, begun": Job("17f20503", ended=False),
    "runway": Job("17f20503", ended=True, began=_TASK),
    "runway, failed": Job("17f20503", ended=True, began=_TASK),
    "luma": Job("123e4567", ended=False, began=datetime(2023, 6, 1, 12, tzinfo=UTC)),
    "flux, begun": Job("f1", ended=False),
    "flux": Job("f1", ended=True),
    "flux, moderated": Job("f1", ended=True),
    "replicate, begun": Job(PREDICTION["id"], ended=False, began=_PREDICTION),
}
STREAMED = {
    "run": Job("run_abc123", ended=True, began=_RUN),
    "run that needs an action": Job("run_abc123", ended=False, began=_RUN),
    "run that failed": Job("run_abc123", ended=True, began=_RUN),
    "run, error in the stream": Job("run_abc123", ended=False, began=_RUN),
    "interaction from the background": Job("v1_Chd", ended=True, began=_INTERACTION),
    "interaction that was cancelled": Job("v1_Chd", ended=True, began=_INTERACTION),
}


def read(wire_format: str, body: dict[str, Any]) -> Reader:
    reader = READERS[wire_format]()
    reader.body(body)
    return reader


@pytest.mark.parametrize("name", ANSWERS)
def test_answer_names_its_job(name: str) -> None:
    reader = read(ANSWERS[name].format, ANSWERS[name].body)

    assert reader.job == JOBS[name]
    assert reader.recognised == (JOBS[name] is not None)


@pytest.mark.parametrize("name", STREAMS)
def test_stream_names_its_job(name: str) -> None:
    reader = READERS[STREAMS[name].format]()
    for event in STREAMS[name].events:
        reader.event(event)

    assert reader.job == STREAMED[name]


def test_stream_tells_of_the_job_from_its_first_event() -> None:
    for stream in STREAMS.values():
        reader = READERS[stream.format]()
        reader.event(stream.events[0])

        assert reader.job is not None
        assert (reader.job.id, reader.job.ended) == (stream.response_id, False)


@pytest.mark.parametrize(
    "status", ["requires_action", "incomplete", "budget_exceeded", "requires_continuation"]
)
def test_interaction_ends_where_another_one_goes_on(status: str) -> None:
    """The outputs of tools are sent in a new interaction."""
    reader = read("gemini.interactions", {"id": "v1_1", "object": "interaction", "status": status})

    assert reader.job == Job("v1_1", ended=True)


@pytest.mark.parametrize("status", ["queued", "in_progress", "requires_action", "cancelling"])
def test_run_goes_on_after_an_action(status: str) -> None:
    reader = read("openai.runs", {"object": "thread.run", "id": "run_1", "status": status})

    assert reader.job == Job("run_1", ended=False)


def test_path_names_the_job_if_the_answer_does_not() -> None:
    video = read("videos", ANSWERS["xai, video"].body)
    video.asked("/v1/videos/d97415a1", None)
    completion = read("openai.chat", {"id": "another", "choices": [], "model": "grok-4"})
    completion.asked("/v1/chat/deferred-completion/f15c114e", None)

    assert video.job == Job("d97415a1", ended=True)
    assert completion.job == Job("f15c114e", ended=True)


def test_completion_that_was_not_deferred_is_no_job() -> None:
    completion = read("openai.chat", {"id": "chatcmpl-1", "choices": [], "model": "grok-4"})
    completion.asked("/v1/chat/completions", b"{}")

    assert completion.job is None


@pytest.mark.parametrize(
    "request_body",
    [
        b'{"modelInput": {}, "modelId": "amazon.nova-reel-v1:0"}',
        {"modelId": "amazon.nova-reel-v1:0"},
        b'{"modelId": "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-reel-v1:0", '
        b'"modelInput": "%s"}' % (b"x" * 10_000),
    ],
)
def test_request_names_the_model_of_an_async_invocation(request_body: Any) -> None:
    reader = read("bedrock.async_invoke", {"invocationArn": ARN})
    reader.asked("/async-invoke", request_body)

    assert reader.model == "amazon.nova-reel-v1:0"
