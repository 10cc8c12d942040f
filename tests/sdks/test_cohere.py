from __future__ import annotations

from typing import Any

import cohere
import pytest

from project.stub import StubProvider
from tests.sdks.bench import ORDERS, Bench, Way, ways

pytestmark = pytest.mark.django_db

MODEL = "command-a-03-2025"
EMBED: Any = {
    "model": "embed-v4.0",
    "input_type": "search_document",
    "embedding_types": ["float"],
}
DOCUMENTS = ["The sky scatters blue light.", "Tea is green."]


def options(stub: StubProvider) -> Any:
    return {"base_url": f"{stub.url}/cohere", "api_key": "any", "max_retries": 0}


def question(prompt: str) -> Any:
    return {"model": MODEL, "messages": [{"role": "user", "content": prompt}]}


def chat(stub: StubProvider, prompt: str) -> Any:
    with cohere.ClientV2(**options(stub)) as client:
        return client.chat(**question(prompt)).model_dump()


def chat_streamed(stub: StubProvider, prompt: str) -> Any:
    with cohere.ClientV2(**options(stub)) as client:
        return [event.model_dump() for event in client.chat_stream(**question(prompt))]


def chat_v1(stub: StubProvider, prompt: str) -> Any:
    with cohere.Client(**options(stub)) as client:
        return client.chat(model=MODEL, message=prompt).model_dump()


def chat_v1_streamed(stub: StubProvider, prompt: str) -> Any:
    with cohere.Client(**options(stub)) as client:
        stream = client.chat_stream(model=MODEL, message=prompt)
        return [event.model_dump() for event in stream]


def embed(stub: StubProvider, prompt: str) -> Any:
    with cohere.ClientV2(**options(stub)) as client:
        return client.embed(texts=[prompt, "tea"], **EMBED).model_dump()


def rerank(stub: StubProvider, prompt: str) -> Any:
    with cohere.ClientV2(**options(stub)) as client:
        answer = client.rerank(model="rerank-v3.5", query=prompt, documents=DOCUMENTS)
        return answer.model_dump()


async def achat(stub: StubProvider, prompt: str) -> Any:
    async with cohere.AsyncClientV2(**options(stub)) as client:
        return (await client.chat(**question(prompt))).model_dump()


async def achat_streamed(stub: StubProvider, prompt: str) -> Any:
    async with cohere.AsyncClientV2(**options(stub)) as client:
        return [event.model_dump() async for event in client.chat_stream(**question(prompt))]


async def achat_v1_streamed(stub: StubProvider, prompt: str) -> Any:
    async with cohere.AsyncClient(**options(stub)) as client:
        stream = client.chat_stream(model=MODEL, message=prompt)
        return [event.model_dump() async for event in stream]


async def aembed(stub: StubProvider, prompt: str) -> Any:
    async with cohere.AsyncClientV2(**options(stub)) as client:
        return (await client.embed(texts=[prompt, "tea"], **EMBED)).model_dump()


async def arerank(stub: StubProvider, prompt: str) -> Any:
    async with cohere.AsyncClientV2(**options(stub)) as client:
        answer = await client.rerank(model="rerank-v3.5", query=prompt, documents=DOCUMENTS)
        return answer.model_dump()


WAYS = ways(
    "cohere",
    [chat, chat_v1, embed, rerank, achat, aembed, arerank],
    streamed=[chat_streamed, chat_v1_streamed, achat_streamed, achat_v1_streamed],
)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("way", WAYS)
def test_call_is_recorded_as_served(bench: Bench, way: Way, order: str) -> None:
    bench.check(way, order)


@pytest.mark.parametrize("way", WAYS)
def test_refused_call_is_recorded_as_served(bench: Bench, way: Way) -> None:
    bench.check_refusal(way)
