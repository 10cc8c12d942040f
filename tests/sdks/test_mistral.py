from __future__ import annotations

from typing import Any

import pytest
from mistralai.client import Mistral

from project.stub import StubProvider
from tests.sdks.bench import ORDERS, Bench, Way, ways

pytestmark = pytest.mark.django_db


def client_of(stub: StubProvider) -> Mistral:
    return Mistral(api_key="any", server_url=f"{stub.url}/mistral")


def question(prompt: str) -> Any:
    return {
        "model": "mistral-small-latest",
        "messages": [{"role": "user", "content": prompt}],
    }


def chat(stub: StubProvider, prompt: str) -> Any:
    with client_of(stub) as client:
        return client.chat.complete(**question(prompt)).model_dump()


def chat_streamed(stub: StubProvider, prompt: str) -> Any:
    with client_of(stub) as client, client.chat.stream(**question(prompt)) as stream:
        return [event.data.model_dump() for event in stream]


def embeddings(stub: StubProvider, prompt: str) -> Any:
    with client_of(stub) as client:
        return client.embeddings.create(model="mistral-embed", inputs=[prompt, "tea"]).model_dump()


async def achat(stub: StubProvider, prompt: str) -> Any:
    async with client_of(stub) as client:
        return (await client.chat.complete_async(**question(prompt))).model_dump()


async def achat_streamed(stub: StubProvider, prompt: str) -> Any:
    async with client_of(stub) as client:
        stream = await client.chat.stream_async(**question(prompt))
        return [event.data.model_dump() async for event in stream]


async def aembeddings(stub: StubProvider, prompt: str) -> Any:
    async with client_of(stub) as client:
        answer = await client.embeddings.create_async(model="mistral-embed", inputs=prompt)
        return answer.model_dump()


WAYS = ways(
    "mistralai",
    [chat, embeddings, achat, aembeddings],
    streamed=[chat_streamed, achat_streamed],
)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("way", WAYS)
def test_call_is_recorded_as_served(bench: Bench, way: Way, order: str) -> None:
    bench.check(way, order)


@pytest.mark.parametrize("way", WAYS)
def test_refused_call_is_recorded_as_served(bench: Bench, way: Way) -> None:
    bench.check_refusal(way)
