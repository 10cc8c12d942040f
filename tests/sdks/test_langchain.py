"""LangChain, as an example of a framework that uses the openai SDK."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

from project.stub import StubProvider
from tests.sdks.bench import ORDERS, Bench, Way, ways

pytestmark = pytest.mark.django_db


def options(stub: StubProvider) -> Any:
    # LangChain would share one async client among event loops, and each call here has its own loop.
    client = openai.DefaultAsyncHttpxClient()
    return {
        "base_url": stub.openai_url,
        "api_key": "any",
        "max_retries": 0,
        "http_async_client": client,
    }


def model_of(stub: StubProvider) -> Any:
    return ChatOpenAI(model="gpt-4o-mini", stream_usage=True, **options(stub))


def embedder_of(stub: StubProvider) -> Any:
    return OpenAIEmbeddings(
        model="text-embedding-3-small",
        check_embedding_ctx_length=False,  # avoids a download of its tokenizer
        **options(stub),
    )


def chat(stub: StubProvider, prompt: str) -> Any:
    return plain(model_of(stub).invoke(prompt))


def chat_streamed(stub: StubProvider, prompt: str) -> Any:
    return [plain(chunk) for chunk in model_of(stub).stream(prompt)]


def embeddings(stub: StubProvider, prompt: str) -> Any:
    return embedder_of(stub).embed_documents([prompt, "tea"])


async def achat(stub: StubProvider, prompt: str) -> Any:
    return plain(await model_of(stub).ainvoke(prompt))


async def achat_streamed(stub: StubProvider, prompt: str) -> Any:
    return [plain(chunk) async for chunk in model_of(stub).astream(prompt)]


async def aembeddings(stub: StubProvider, prompt: str) -> Any:
    return await embedder_of(stub).aembed_documents([prompt, "tea"])


def plain(message: Any) -> Any:
    return message.model_dump()


WAYS = ways(
    "langchain-openai",
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
