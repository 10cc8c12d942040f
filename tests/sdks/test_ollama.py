from __future__ import annotations

from typing import Any

import ollama
import pytest

from project.stub import StubProvider
from tests.sdks.bench import ORDERS, Bench, Way, ways

pytestmark = pytest.mark.django_db

MODEL = "llama3.2"


def client_of(stub: StubProvider) -> ollama.Client:
    return ollama.Client(host=f"{stub.url}/ollama")


def async_client_of(stub: StubProvider) -> ollama.AsyncClient:
    return ollama.AsyncClient(host=f"{stub.url}/ollama")


def messages_of(prompt: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": prompt}]


def chat(stub: StubProvider, prompt: str) -> Any:
    return client_of(stub).chat(model=MODEL, messages=messages_of(prompt)).model_dump()


def chat_streamed(stub: StubProvider, prompt: str) -> Any:
    stream = client_of(stub).chat(model=MODEL, messages=messages_of(prompt), stream=True)
    return [part.model_dump() for part in stream]


def generate(stub: StubProvider, prompt: str) -> Any:
    return client_of(stub).generate(model=MODEL, prompt=prompt).model_dump()


def generate_streamed(stub: StubProvider, prompt: str) -> Any:
    stream = client_of(stub).generate(model=MODEL, prompt=prompt, stream=True)
    return [part.model_dump() for part in stream]


def embed(stub: StubProvider, prompt: str) -> Any:
    return client_of(stub).embed(model=MODEL, input=[prompt, "tea"]).model_dump()


async def achat(stub: StubProvider, prompt: str) -> Any:
    answer = await async_client_of(stub).chat(model=MODEL, messages=messages_of(prompt))
    return answer.model_dump()


async def achat_streamed(stub: StubProvider, prompt: str) -> Any:
    stream: Any = await async_client_of(stub).chat(
        model=MODEL, messages=messages_of(prompt), stream=True
    )
    return [part.model_dump() async for part in stream]


async def agenerate(stub: StubProvider, prompt: str) -> Any:
    return (await async_client_of(stub).generate(model=MODEL, prompt=prompt)).model_dump()


async def aembed(stub: StubProvider, prompt: str) -> Any:
    return (await async_client_of(stub).embed(model=MODEL, input=prompt)).model_dump()


WAYS = ways(
    "ollama",
    [chat, generate, embed, achat, agenerate, aembed],
    streamed=[chat_streamed, generate_streamed, achat_streamed],
)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("way", WAYS)
def test_call_is_recorded_as_served(bench: Bench, way: Way, order: str) -> None:
    bench.check(way, order)


@pytest.mark.parametrize("way", WAYS)
def test_refused_call_is_recorded_as_served(bench: Bench, way: Way) -> None:
    bench.check_refusal(way)
