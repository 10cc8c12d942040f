"""LiteLLM: one function for many providers, with its own handlers or the openai SDK."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

# Prevents a download of all prices during the import.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm
import pytest

from project.stub import StubProvider
from tests.sdks.bench import ORDERS, Bench, Way, ways

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _no_clients_of_other_loops() -> Iterator[None]:
    litellm.in_memory_llm_clients_cache.flush_cache()
    yield
    litellm.in_memory_llm_clients_cache.flush_cache()


def by_openai(stub: StubProvider, prompt: str) -> Any:
    return {**question(prompt), "model": "openai/gpt-4o-mini", "api_base": stub.openai_url}


def by_anthropic(stub: StubProvider, prompt: str) -> Any:
    model = "anthropic/claude-haiku-4-5"
    return {**question(prompt), "model": model, "api_base": stub.anthropic_url}


def question(prompt: str) -> Any:
    messages = [{"role": "user", "content": prompt}]
    return {"messages": messages, "api_key": "any", "max_retries": 0}


STREAM: Any = {"stream": True, "stream_options": {"include_usage": True}}


def openai(stub: StubProvider, prompt: str) -> Any:
    return litellm.completion(**by_openai(stub, prompt)).model_dump()


def openai_streamed(stub: StubProvider, prompt: str) -> Any:
    stream = litellm.completion(**by_openai(stub, prompt), **STREAM)
    return [chunk.model_dump() for chunk in stream]


def anthropic(stub: StubProvider, prompt: str) -> Any:
    return litellm.completion(**by_anthropic(stub, prompt)).model_dump()


def anthropic_streamed(stub: StubProvider, prompt: str) -> Any:
    stream = litellm.completion(**by_anthropic(stub, prompt), **STREAM)
    return [chunk.model_dump() for chunk in stream]


def embeddings(stub: StubProvider, prompt: str) -> Any:
    answer = litellm.embedding(
        model="openai/text-embedding-3-small",
        input=[prompt, "tea"],
        api_base=stub.openai_url,
        api_key="any",
        max_retries=0,
    )
    return answer.model_dump()


async def aopenai(stub: StubProvider, prompt: str) -> Any:
    return (await litellm.acompletion(**by_openai(stub, prompt))).model_dump()


async def aopenai_streamed(stub: StubProvider, prompt: str) -> Any:
    stream = await litellm.acompletion(**by_openai(stub, prompt), **STREAM)
    return [chunk.model_dump() async for chunk in stream]


async def aanthropic(stub: StubProvider, prompt: str) -> Any:
    return (await litellm.acompletion(**by_anthropic(stub, prompt))).model_dump()


async def aanthropic_streamed(stub: StubProvider, prompt: str) -> Any:
    stream = await litellm.acompletion(**by_anthropic(stub, prompt), **STREAM)
    return [chunk.model_dump() async for chunk in stream]


WAYS = ways(
    "litellm",
    [openai, anthropic, embeddings, aopenai, aanthropic],
    streamed=[openai_streamed, anthropic_streamed, aopenai_streamed, aanthropic_streamed],
)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("way", WAYS)
def test_call_is_recorded_as_served(bench: Bench, way: Way, order: str) -> None:
    bench.check(way, order)


@pytest.mark.parametrize("way", WAYS)
def test_refused_call_is_recorded_as_served(bench: Bench, way: Way) -> None:
    bench.check_refusal(way)
