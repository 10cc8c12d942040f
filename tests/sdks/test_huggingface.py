from __future__ import annotations

from typing import Any

import pytest
from huggingface_hub import AsyncInferenceClient, InferenceClient

from project.stub import StubProvider
from tests.sdks.bench import ORDERS, Bench, Way, ways

pytestmark = pytest.mark.django_db


def options(stub: StubProvider) -> Any:
    return {"base_url": f"{stub.url}/hf/v1", "api_key": "any"}


def question(prompt: str) -> Any:
    messages = [{"role": "user", "content": prompt}]
    return {"model": "meta-llama/Llama-3.3-70B-Instruct", "messages": messages}


STREAM: Any = {"stream": True, "stream_options": {"include_usage": True}}


def chat(stub: StubProvider, prompt: str) -> Any:
    with InferenceClient(**options(stub)) as client:
        return plain(client.chat_completion(**question(prompt)))


def chat_streamed(stub: StubProvider, prompt: str) -> Any:
    with InferenceClient(**options(stub)) as client:
        stream = client.chat_completion(**question(prompt), **STREAM)
        return [plain(chunk) for chunk in stream]


async def achat(stub: StubProvider, prompt: str) -> Any:
    async with AsyncInferenceClient(**options(stub)) as client:
        return plain(await client.chat_completion(**question(prompt)))


async def achat_streamed(stub: StubProvider, prompt: str) -> Any:
    async with AsyncInferenceClient(**options(stub)) as client:
        stream = await client.chat_completion(**question(prompt), **STREAM)
        return [plain(chunk) async for chunk in stream]


def plain(answer: Any) -> Any:
    # Nested dictionaries with attributes.
    if isinstance(answer, dict):
        return {name: plain(value) for name, value in answer.items()}
    return [plain(item) for item in answer] if isinstance(answer, list) else answer


WAYS = ways("huggingface-hub", [chat, achat], streamed=[chat_streamed, achat_streamed])


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("way", WAYS)
def test_call_is_recorded_as_served(bench: Bench, way: Way, order: str) -> None:
    bench.check(way, order)


@pytest.mark.parametrize("way", WAYS)
def test_refused_call_is_recorded_as_served(bench: Bench, way: Way) -> None:
    bench.check_refusal(way)
