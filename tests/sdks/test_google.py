"""google-genai without aiohttp: all calls use httpx2."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
from google import genai

from project.stub import StubProvider
from tests.sdks.bench import ORDERS, Bench, Way, ways

pytestmark = pytest.mark.django_db

MODEL = "gemini-2.5-flash"
EMBEDDER = "gemini-embedding-001"


@contextmanager
def models(stub: StubProvider) -> Iterator[Any]:
    client = genai.Client(api_key="any", http_options={"base_url": stub.google_url})
    yield client.models
    client.close()


@asynccontextmanager
async def amodels(stub: StubProvider) -> AsyncIterator[Any]:
    client = genai.Client(api_key="any", http_options={"base_url": stub.google_url})
    yield client.aio.models
    await client.aio.aclose()


def generate_content(stub: StubProvider, prompt: str) -> Any:
    with models(stub) as client:
        return client.generate_content(model=MODEL, contents=prompt).model_dump()


def generate_content_streamed(stub: StubProvider, prompt: str) -> Any:
    with models(stub) as client:
        stream = client.generate_content_stream(model=MODEL, contents=prompt)
        return [chunk.model_dump() for chunk in stream]


def embed_content(stub: StubProvider, prompt: str) -> Any:
    with models(stub) as client:
        return client.embed_content(model=EMBEDDER, contents=[prompt, "tea"]).model_dump()


async def agenerate_content(stub: StubProvider, prompt: str) -> Any:
    async with amodels(stub) as client:
        return (await client.generate_content(model=MODEL, contents=prompt)).model_dump()


async def agenerate_content_streamed(stub: StubProvider, prompt: str) -> Any:
    async with amodels(stub) as client:
        stream = await client.generate_content_stream(model=MODEL, contents=prompt)
        return [chunk.model_dump() async for chunk in stream]


async def aembed_content(stub: StubProvider, prompt: str) -> Any:
    async with amodels(stub) as client:
        return (await client.embed_content(model=EMBEDDER, contents=prompt)).model_dump()


WAYS = ways(
    "google-genai",
    [generate_content, embed_content, agenerate_content, aembed_content],
    streamed=[generate_content_streamed, agenerate_content_streamed],
)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("way", WAYS)
def test_call_is_recorded_as_served(bench: Bench, way: Way, order: str) -> None:
    bench.check(way, order)


@pytest.mark.parametrize("way", WAYS)
def test_refused_call_is_recorded_as_served(bench: Bench, way: Way) -> None:
    bench.check_refusal(way)
