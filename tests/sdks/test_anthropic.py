from __future__ import annotations

from typing import Any

import anthropic
import pytest

from project.stub import StubProvider
from tests.sdks.bench import ORDERS, Bench, Way, ways

pytestmark = pytest.mark.django_db


def options(stub: StubProvider) -> Any:
    return {"base_url": stub.anthropic_url, "api_key": "any", "max_retries": 0}


def question(prompt: str) -> Any:
    messages = [{"role": "user", "content": prompt}]
    return {"model": "claude-haiku-4-5", "max_tokens": 100, "messages": messages}


def messages(stub: StubProvider, prompt: str) -> Any:
    with anthropic.Anthropic(**options(stub)) as client:
        return client.messages.create(**question(prompt)).model_dump()


def messages_streamed(stub: StubProvider, prompt: str) -> Any:
    with (
        anthropic.Anthropic(**options(stub)) as client,
        client.messages.stream(**question(prompt)) as stream,
    ):
        return [event.model_dump(warnings=False) for event in stream]


async def amessages(stub: StubProvider, prompt: str) -> Any:
    async with anthropic.AsyncAnthropic(**options(stub)) as client:
        return (await client.messages.create(**question(prompt))).model_dump()


async def amessages_streamed(stub: StubProvider, prompt: str) -> Any:
    async with anthropic.AsyncAnthropic(**options(stub)) as client:
        stream: Any = await client.messages.create(**question(prompt), stream=True)
        return [event.model_dump() async for event in stream]


WAYS = ways("anthropic", [messages, amessages], streamed=[messages_streamed, amessages_streamed])


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("way", WAYS)
def test_call_is_recorded_as_served(bench: Bench, way: Way, order: str) -> None:
    bench.check(way, order)


@pytest.mark.parametrize("way", WAYS)
def test_refused_call_is_recorded_as_served(bench: Bench, way: Way) -> None:
    bench.check_refusal(way)
