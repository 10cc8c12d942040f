from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
import xai_sdk
from django.contrib.auth.models import User
from google.protobuf.json_format import MessageToDict
from xai_sdk.chat import user as user_message
from xai_sdk.proto import chat_pb2, deferred_pb2, usage_pb2

from tests.sdks.bench import Bench, Way, ways
from tests.sdks.grpc_fixtures import grpc_bench, grpc_server, grpc_stub
from tests.sdks.grpc_stub import PROMPT, GRPCStub
from tests.support import comparison
from usage_tracking import ai_usage
from usage_tracking.capture.grpc_methods import find
from usage_tracking.formats import read_response

__all__ = ["grpc_bench", "grpc_server", "grpc_stub"]

pytestmark = pytest.mark.django_db

MODEL = "grok-4"


def client(stub: GRPCStub) -> xai_sdk.Client:
    return xai_sdk.Client(api_key="any", api_host=stub.xai, use_insecure_channel=True)


def aclient(stub: GRPCStub) -> xai_sdk.AsyncClient:
    return xai_sdk.AsyncClient(api_key="any", api_host=stub.xai, use_insecure_channel=True)


def asking(client: Any, prompt: str) -> Any:
    return client.chat.create(model=MODEL, messages=[user_message(prompt)])


def plain(answer: Any) -> Any:
    return MessageToDict(answer.proto)


def chat(stub: GRPCStub, prompt: str) -> Any:
    with client(stub) as xai:
        return plain(asking(xai, prompt).sample())


def chat_streamed(stub: GRPCStub, prompt: str) -> Any:
    with client(stub) as xai:
        return [plain(chunk) for _, chunk in asking(xai, prompt).stream()]


def image(stub: GRPCStub, prompt: str) -> Any:
    with client(stub) as xai:
        return xai.image.sample(model="grok-2-image", prompt=prompt, image_format="url").url


async def achat(stub: GRPCStub, prompt: str) -> Any:
    async with aclient(stub) as xai:
        return plain(await asking(xai, prompt).sample())


async def achat_streamed(stub: GRPCStub, prompt: str) -> Any:
    async with aclient(stub) as xai:
        return [plain(chunk) async for _, chunk in asking(xai, prompt).stream()]


async def aimage(stub: GRPCStub, prompt: str) -> Any:
    async with aclient(stub) as xai:
        answer = await xai.image.sample(model="grok-2-image", prompt=prompt, image_format="url")
        return answer.url


WAYS = ways(
    "xai-sdk",
    [chat, image, achat, aimage],
    streamed=[chat_streamed, achat_streamed],
)


@pytest.mark.parametrize("way", WAYS)
def test_call_is_recorded_as_served(grpc_bench: Bench, way: Way) -> None:
    grpc_bench.check(way)


@pytest.mark.parametrize("way", WAYS)
def test_refused_call_is_recorded_as_served(grpc_bench: Bench, way: Way) -> None:
    grpc_bench.check_refusal(way)


def test_cost_that_xai_reports_is_the_cost_of_the_row(grpc_stub: GRPCStub) -> None:
    chat(grpc_stub, "Why?")
    image(grpc_stub, "A sky")

    assert [row.cost for row in comparison.rows()] == [Decimal("0.005"), Decimal("0.07")]


def test_deferred_completion_is_one_row_however_many_poll(grpc_stub: GRPCStub) -> None:
    with client(grpc_stub) as xai:
        deferred = asking(xai, "Why?").defer()
        for _ in range(3):
            xai.chat._stub.GetDeferredCompletion(
                deferred_pb2.GetDeferredRequest(request_id="request-1")
            )

    row = comparison.only_row()
    assert deferred.usage.prompt_tokens == row.prompt_tokens == PROMPT
    assert (row.provider, row.model_name, row.operation) == ("x-ai", MODEL, "chat")


def test_pending_deferred_completion_has_no_row(grpc_stub: GRPCStub) -> None:
    with client(grpc_stub) as xai:
        request = deferred_pb2.GetDeferredRequest(request_id="[stub pending]")
        xai.chat._stub.GetDeferredCompletion(request)

    assert comparison.rows() == []


def test_expired_deferred_completion_is_a_failed_row(grpc_stub: GRPCStub) -> None:
    with client(grpc_stub) as xai:
        request = deferred_pb2.GetDeferredRequest(request_id="[stub expired]")
        xai.chat._stub.GetDeferredCompletion(request)

    assert comparison.only_row().error_message == "deferred completion expired"


def test_deferred_completion_belongs_to_whoever_began_it(grpc_stub: GRPCStub, user: User) -> None:
    with client(grpc_stub) as xai:
        with ai_usage(section="chat", user=user):
            asked = chat_pb2.GetCompletionsRequest(model=MODEL, user="2")
            begun = xai.chat._stub.StartDeferredCompletion(asked)
        with ai_usage(section="other"):
            for _ in range(2):
                xai.chat._stub.GetDeferredCompletion(
                    deferred_pb2.GetDeferredRequest(request_id=begun.request_id)
                )

    row = comparison.only_row()
    assert (comparison.attributed(row), row.prompt_tokens) == (("ada", "chat"), PROMPT)


def test_video_is_one_row_of_whoever_asked(grpc_stub: GRPCStub, user: User) -> None:
    with client(grpc_stub) as xai:
        with ai_usage(section="chat", user=user):
            begun = xai.video.start(prompt="The sky", model="grok-imagine-video")
        assert comparison.only_row().metadata["unknown"]
        with ai_usage(section="other"):
            for _ in range(2):
                xai.video.get(begun.request_id)

    row = comparison.only_row()
    assert (row.provider, row.model_name) == ("x-ai", "grok-imagine-video")
    assert (row.operation, row.cost) == ("video_generation", Decimal("0.4"))
    assert comparison.attributed(row) == ("ada", "chat")
    assert row.metadata["video_seconds"] == 8


def test_pending_video_has_no_row(grpc_stub: GRPCStub) -> None:
    with client(grpc_stub) as xai:
        xai.video.get("[stub pending]")

    assert comparison.rows() == []


def test_video_that_failed_is_a_failed_row(grpc_stub: GRPCStub) -> None:
    with client(grpc_stub) as xai:
        xai.video.get("[stub failed]")

    assert "The stub refuses." in str(comparison.only_row().error_message)


def test_extended_video_is_a_row(grpc_stub: GRPCStub) -> None:
    with client(grpc_stub) as xai:
        video = xai.video.extend("Longer", "grok-imagine-video", "https://example.com/sky.mp4")

    row = comparison.only_row()
    assert video.duration == row.metadata["video_seconds"] == 8
    assert row.cost == Decimal("0.4")


def test_batch_is_one_row_with_its_cost(grpc_stub: GRPCStub, user: User) -> None:
    with client(grpc_stub) as xai:
        with ai_usage(section="chat", user=user):
            batch = xai.batch.create("nightly")
        assert comparison.only_row().cost is None
        with ai_usage(section="other"):
            for _ in range(2):
                xai.batch.get(batch.batch_id)
        xai.batch.get("[stub pending]")

    row = comparison.only_row()
    assert (row.provider, row.operation, row.cost) == ("x-ai", "batch", Decimal("0.003"))
    assert comparison.attributed(row) == ("ada", "chat")
    assert row.metadata["batch"] == {"id": "batch-1", "completed": 2, "failed": 1}


def test_several_answers_are_one_row(grpc_stub: GRPCStub) -> None:
    with client(grpc_stub) as xai:
        asking(xai, "Why?").sample_batch(3)

    assert comparison.only_row().prompt_tokens == PROMPT


def test_tools_that_xai_runs_are_counted() -> None:
    usage = usage_pb2.SamplingUsage(
        prompt_tokens=5,
        completion_tokens=7,
        total_tokens=12,
        server_side_tools_used=[
            *[usage_pb2.SERVER_SIDE_TOOL_WEB_SEARCH] * 2,
            usage_pb2.SERVER_SIDE_TOOL_COLLECTIONS_SEARCH,
        ],
    )
    method = find("/xai_api.Chat/GetCompletion")
    piece = method.read(chat_pb2.GetChatCompletionResponse(usage=usage)) if method else None

    assert piece is not None
    read = read_response(json.loads(piece.data)).usage
    assert read is not None
    assert (read.details["web_searches"], read.details["storage_searches"]) == (2, 1)


def test_tokenizing_is_free(grpc_stub: GRPCStub) -> None:
    with client(grpc_stub) as xai:
        xai.tokenize.tokenize_text("Why?", MODEL)

    assert comparison.rows() == []


def test_manual_record_of_a_captured_answer_joins_its_row(grpc_stub: GRPCStub) -> None:
    with client(grpc_stub) as xai, ai_usage(section="chat") as usage:
        answer = asking(xai, "Why?").sample()
        written = answer.usage.completion_tokens + answer.usage.reasoning_tokens
        usage.record(answer, completion_tokens=written, model_name=MODEL, provider="x-ai")

    row = comparison.only_row()
    assert row.completion_tokens == written
    assert row.section == "chat"
