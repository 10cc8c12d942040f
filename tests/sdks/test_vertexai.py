from __future__ import annotations

import json
from typing import Any

import grpc
import pytest
import vertexai
from google.api.httpbody_pb2 import HttpBody
from google.auth.credentials import AnonymousCredentials
from google.cloud.aiplatform_v1.services.prediction_service import PredictionServiceClient
from google.cloud.aiplatform_v1.services.prediction_service.transports import (
    PredictionServiceGrpcTransport,
)
from vertexai.generative_models import GenerativeModel
from vertexai.language_models import TextEmbeddingModel

from tests.sdks.bench import Bench, Way, ways
from tests.sdks.grpc_fixtures import grpc_bench, grpc_server, grpc_stub
from tests.sdks.grpc_stub import GRPCStub
from tests.support import comparison
from usage_tracking import ai_usage

__all__ = ["grpc_bench", "grpc_server", "grpc_stub"]

pytestmark = pytest.mark.django_db

MODEL = "gemini-2.5-flash"
EMBEDDER = "text-embedding-005"
SDK = "google-cloud-aiplatform"


def model(stub: GRPCStub) -> Any:
    vertexai.init(
        project="site",
        location="europe-west4",
        api_endpoint=stub.google,
        credentials=AnonymousCredentials(),
    )
    return GenerativeModel(MODEL)


def generate_content(stub: GRPCStub, prompt: str) -> Any:
    return model(stub).generate_content(prompt).to_dict()


def generate_content_streamed(stub: GRPCStub, prompt: str) -> Any:
    return [chunk.to_dict() for chunk in model(stub).generate_content(prompt, stream=True)]


def get_embeddings(stub: GRPCStub, prompt: str) -> Any:
    model(stub)
    embedder = TextEmbeddingModel.from_pretrained(EMBEDDER)
    return [found.values for found in embedder.get_embeddings([prompt, "tea"])]


async def agenerate_content(stub: GRPCStub, prompt: str) -> Any:
    return (await model(stub).generate_content_async(prompt)).to_dict()


async def agenerate_content_streamed(stub: GRPCStub, prompt: str) -> Any:
    answer = await model(stub).generate_content_async(prompt, stream=True)
    return [chunk.to_dict() async for chunk in answer]


async def aget_embeddings(stub: GRPCStub, prompt: str) -> Any:
    model(stub)
    embedder = TextEmbeddingModel.from_pretrained(EMBEDDER)
    return [found.values for found in await embedder.get_embeddings_async([prompt, "tea"])]


def claude(stub: GRPCStub) -> tuple[Any, Any]:
    transport = PredictionServiceGrpcTransport(channel=grpc.insecure_channel(stub.plain_google))
    place = "projects/site/locations/europe-west4/publishers/anthropic/models/claude-sonnet-4-5"
    return PredictionServiceClient(transport=transport), place


def raw_predict(stub: GRPCStub, prompt: str) -> Any:
    client, place = claude(stub)
    body = HttpBody(data=json.dumps({"messages": [prompt]}).encode())
    answer = client.raw_predict(request={"endpoint": place, "http_body": body})
    return json.loads(answer.data)


def raw_predict_streamed(stub: GRPCStub, prompt: str) -> Any:
    client, place = claude(stub)
    body = HttpBody(data=json.dumps({"messages": [prompt], "stream": True}).encode())
    answer = client.stream_raw_predict(request={"endpoint": place, "http_body": body})
    return [len(part.data) for part in answer]


WAYS = ways(
    SDK,
    [generate_content, get_embeddings, raw_predict, agenerate_content, aget_embeddings],
    streamed=[generate_content_streamed, raw_predict_streamed, agenerate_content_streamed],
)


@pytest.mark.parametrize("way", WAYS)
def test_call_is_recorded_as_served(grpc_bench: Bench, way: Way) -> None:
    grpc_bench.check(way)


@pytest.mark.parametrize("way", WAYS)
def test_refused_call_is_recorded_as_served(grpc_bench: Bench, way: Way) -> None:
    grpc_bench.check_refusal(way)


def test_counting_tokens_is_free(grpc_stub: GRPCStub) -> None:
    model(grpc_stub).count_tokens("Why?")

    assert comparison.rows() == []


def test_manual_record_of_a_captured_answer_joins_its_row(grpc_stub: GRPCStub) -> None:
    with ai_usage(section="chat") as usage:
        usage.record(model(grpc_stub).generate_content("Why?"), provider="google")

    row = comparison.only_row()
    assert row.section == "chat"
    comparison.assert_recorded_as_served([row], grpc_stub.journal)
