"""Bedrock through aiobotocore: botocore's clients over aiohttp."""

from __future__ import annotations

import json
from typing import Any

import pytest
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session

from project.stub import StubProvider
from tests.sdks.bench import Bench, Way, ways
from tests.sdks.test_boto3 import ORDERS, options, question, text_of, to_claude

pytestmark = pytest.mark.django_db


def client_of(stub: StubProvider) -> Any:
    config = AioConfig(retries={"total_max_attempts": 1})
    return get_session().create_client(**options(stub), config=config)


async def aconverse(stub: StubProvider, prompt: str) -> Any:
    async with client_of(stub) as client:
        return await client.converse(**question(prompt))


async def aconverse_streamed(stub: StubProvider, prompt: str) -> Any:
    async with client_of(stub) as client:
        answer = await client.converse_stream(**question(prompt))
        return [event async for event in answer["stream"]]


async def ainvoke_claude(stub: StubProvider, prompt: str) -> Any:
    async with client_of(stub) as client:
        answer = await client.invoke_model(**to_claude(prompt))
        async with answer["body"] as body:
            return json.loads(await body.read())


async def ainvoke_claude_streamed(stub: StubProvider, prompt: str) -> Any:
    async with client_of(stub) as client:
        answer = await client.invoke_model_with_response_stream(**to_claude(prompt))
        return [text_of(event) async for event in answer["body"]]


WAYS = ways(
    "aiobotocore",
    [aconverse, ainvoke_claude],
    streamed=[aconverse_streamed, ainvoke_claude_streamed],
)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("way", WAYS)
def test_call_is_recorded_as_served(bench: Bench, way: Way, order: str) -> None:
    bench.check(way, order)


@pytest.mark.parametrize("way", WAYS)
def test_refused_call_is_recorded_as_served(bench: Bench, way: Way) -> None:
    bench.check_refusal(way)
