"""The aiohttp transport of anthropic's extra: httpx2 over aiohttp."""

from __future__ import annotations

from typing import Any

import anthropic
import pytest

from project.stub import StubProvider
from tests.sdks.bench import ORDERS, Bench, Way, ways
from tests.sdks.test_anthropic import options, question

pytestmark = pytest.mark.django_db


def client_of(stub: StubProvider) -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(**options(stub), http_client=anthropic.DefaultAioHttpClient())


async def amessages(stub: StubProvider, prompt: str) -> Any:
    async with client_of(stub) as client:
        return (await client.messages.create(**question(prompt))).model_dump()


async def amessages_streamed(stub: StubProvider, prompt: str) -> Any:
    async with client_of(stub) as client:
        stream: Any = await client.messages.create(**question(prompt), stream=True)
        return [event.model_dump() async for event in stream]


WAYS = ways("anthropic[aiohttp]", [amessages], streamed=[amessages_streamed])


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("way", WAYS)
def test_call_is_recorded_as_served(bench: Bench, way: Way, order: str) -> None:
    bench.check(way, order)


@pytest.mark.parametrize("way", WAYS)
def test_refused_call_is_recorded_as_served(bench: Bench, way: Way) -> None:
    bench.check_refusal(way)
