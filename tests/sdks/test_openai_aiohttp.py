"""The aiohttp transport of openai's extra: httpx2 (openai 2.x: httpx) over aiohttp."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from project.stub import StubProvider
from tests.sdks.bench import ORDERS, Bench, Way, ways
from tests.sdks.test_openai import EMBEDDER, MODEL, STREAM, options, question

pytestmark = pytest.mark.django_db


def client_of(stub: StubProvider) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(**options(stub), http_client=openai.DefaultAioHttpClient())


async def achat(stub: StubProvider, prompt: str) -> Any:
    async with client_of(stub) as client:
        return (await client.chat.completions.create(**question(prompt))).model_dump()


async def achat_streamed(stub: StubProvider, prompt: str) -> Any:
    async with client_of(stub) as client:
        stream: Any = await client.chat.completions.create(**question(prompt), **STREAM)
        return [chunk.model_dump() async for chunk in stream]


async def aresponses(stub: StubProvider, prompt: str) -> Any:
    async with client_of(stub) as client:
        return (await client.responses.create(model=MODEL, input=prompt)).model_dump()


async def aembeddings(stub: StubProvider, prompt: str) -> Any:
    async with client_of(stub) as client:
        return (await client.embeddings.create(model=EMBEDDER, input=prompt)).model_dump()


WAYS = ways("openai[aiohttp]", [achat, aresponses, aembeddings], streamed=[achat_streamed])


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("way", WAYS)
def test_call_is_recorded_as_served(bench: Bench, way: Way, order: str) -> None:
    bench.check(way, order)


@pytest.mark.parametrize("way", WAYS)
def test_refused_call_is_recorded_as_served(bench: Bench, way: Way) -> None:
    bench.check_refusal(way)
