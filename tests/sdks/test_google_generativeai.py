from __future__ import annotations

from typing import Any

import google.generativeai as genai
import pytest
from google.generativeai.client import _client_manager

from tests.sdks.bench import Bench, Way, ways
from tests.sdks.grpc_fixtures import grpc_bench, grpc_server, grpc_stub
from tests.sdks.grpc_stub import COMPLETION, REASONING, GRPCStub
from tests.support import comparison
from usage_tracking import ai_usage

__all__ = ["grpc_bench", "grpc_server", "grpc_stub"]

pytestmark = pytest.mark.django_db

MODEL = "gemini-2.5-flash"
EMBEDDER = "models/gemini-embedding-001"


def model(stub: GRPCStub, transport: str = "grpc") -> Any:
    _client_manager.clients.clear()
    genai.configure(
        api_key="any", transport=transport, client_options={"api_endpoint": stub.google}
    )
    return genai.GenerativeModel(MODEL)


def generate_content(stub: GRPCStub, prompt: str) -> Any:
    return model(stub).generate_content(prompt).to_dict()


def generate_content_streamed(stub: GRPCStub, prompt: str) -> Any:
    answer = model(stub).generate_content(prompt, stream=True)
    return [chunk.to_dict() for chunk in answer]


def chat(stub: GRPCStub, prompt: str) -> Any:
    return model(stub).start_chat().send_message(prompt).to_dict()


def embed_content(stub: GRPCStub, prompt: str) -> Any:
    model(stub)
    return genai.embed_content(model=EMBEDDER, content=prompt)


def embed_contents(stub: GRPCStub, prompt: str) -> Any:
    model(stub)
    return genai.embed_content(model=EMBEDDER, content=[prompt, "tea"])


async def agenerate_content(stub: GRPCStub, prompt: str) -> Any:
    return (await model(stub, "grpc_asyncio").generate_content_async(prompt)).to_dict()


async def agenerate_content_streamed(stub: GRPCStub, prompt: str) -> Any:
    answer = await model(stub, "grpc_asyncio").generate_content_async(prompt, stream=True)
    return [chunk.to_dict() async for chunk in answer]


async def aembed_content(stub: GRPCStub, prompt: str) -> Any:
    model(stub, "grpc_asyncio")
    return await genai.embed_content_async(model=EMBEDDER, content=prompt)


WAYS = ways(
    "google-generativeai",
    [generate_content, chat, embed_content, embed_contents, agenerate_content, aembed_content],
    streamed=[generate_content_streamed, agenerate_content_streamed],
)


@pytest.mark.parametrize("way", WAYS)
def test_call_is_recorded_as_served(grpc_bench: Bench, way: Way) -> None:
    grpc_bench.check(way)


@pytest.mark.parametrize("way", WAYS)
def test_refused_call_is_recorded_as_served(grpc_bench: Bench, way: Way) -> None:
    grpc_bench.check_refusal(way)


def test_each_attempt_of_a_retried_call_has_a_row(grpc_stub: GRPCStub) -> None:
    generate_content(grpc_stub, "Why? [stub busy]")

    failed, answered = comparison.rows()
    assert (failed.success, failed.error_message) == (False, "UNAVAILABLE: The stub is busy.")
    assert answered.success
    comparison.assert_recorded_as_served([failed, answered], grpc_stub.journal)


def test_counting_tokens_is_free(grpc_stub: GRPCStub) -> None:
    model(grpc_stub).count_tokens("Why?")

    assert comparison.rows() == []


def test_thoughts_that_the_sdk_does_not_know_are_counted(grpc_stub: GRPCStub) -> None:
    generate_content(grpc_stub, "Why?")

    row = comparison.only_row()
    assert (row.completion_tokens, row.reasoning_tokens) == (COMPLETION + REASONING, REASONING)


def test_manual_record_of_a_captured_answer_joins_its_row(grpc_stub: GRPCStub) -> None:
    with ai_usage(section="chat") as usage:
        usage.record(model(grpc_stub).generate_content("Why?"), provider="google")

    row = comparison.only_row()
    assert (row.section, row.completion_tokens) == ("chat", COMPLETION + REASONING)
