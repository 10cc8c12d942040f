"""openai 2.x (over httpx) and 3.x (over httpx2), in two environments."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from project.stub import StubProvider
from tests.sdks.bench import ORDERS, Bench, Way, ways

pytestmark = pytest.mark.django_db

MODEL = "gpt-4o-mini"
EMBEDDER = "text-embedding-3-small"


def options(stub: StubProvider) -> Any:
    return {"base_url": stub.openai_url, "api_key": "any", "max_retries": 0}


def question(prompt: str) -> Any:
    return {"model": MODEL, "messages": [{"role": "user", "content": prompt}]}


STREAM: Any = {"stream": True, "stream_options": {"include_usage": True}}


def chat(stub: StubProvider, prompt: str) -> Any:
    with openai.OpenAI(**options(stub)) as client:
        return client.chat.completions.create(**question(prompt)).model_dump()


def chat_streamed(stub: StubProvider, prompt: str) -> Any:
    with openai.OpenAI(**options(stub)) as client:
        stream = client.chat.completions.create(**question(prompt), **STREAM)
        return [chunk.model_dump() for chunk in stream]


def responses(stub: StubProvider, prompt: str) -> Any:
    with openai.OpenAI(**options(stub)) as client:
        return client.responses.create(model=MODEL, input=prompt).model_dump()


def responses_streamed(stub: StubProvider, prompt: str) -> Any:
    with (
        openai.OpenAI(**options(stub)) as client,
        client.responses.stream(model=MODEL, input=prompt) as stream,
    ):
        return stream.get_final_response().model_dump()


def embeddings(stub: StubProvider, prompt: str) -> Any:
    with openai.OpenAI(**options(stub)) as client:
        return client.embeddings.create(model=EMBEDDER, input=[prompt, "tea"]).model_dump()


def decisions(stub: StubProvider, prompt: str) -> Any:
    with openai.OpenAI(**options(stub)) as client:
        asked: Any = {"questions": [{"type": "predicate", "instructions": "Is it spam?"}]}
        return client.decisions.create(model="gpt-6-luna", input=prompt, **asked).model_dump()


def completions(stub: StubProvider, prompt: str) -> Any:
    with openai.OpenAI(**options(stub)) as client:
        answer = client.completions.create(model="gpt-3.5-turbo-instruct", prompt=prompt)
        return answer.model_dump()


def completions_streamed(stub: StubProvider, prompt: str) -> Any:
    with openai.OpenAI(**options(stub)) as client:
        stream = client.completions.create(model="gpt-3.5-turbo-instruct", prompt=prompt, **STREAM)
        return [chunk.model_dump() for chunk in stream]


def images(stub: StubProvider, prompt: str) -> Any:
    with openai.OpenAI(**options(stub)) as client:
        return client.images.generate(model="gpt-image-1", prompt=prompt).model_dump()


def images_streamed(stub: StubProvider, prompt: str) -> Any:
    with openai.OpenAI(**options(stub)) as client:
        stream = client.images.generate(model="gpt-image-1", prompt=prompt, stream=True)
        return [event.model_dump() for event in stream]


def transcriptions(stub: StubProvider, prompt: str) -> Any:
    with openai.OpenAI(**options(stub)) as client:
        answer = client.audio.transcriptions.create(
            model="gpt-4o-transcribe", file=("a.wav", b"RIFF" * 500), prompt=prompt
        )
        return answer.model_dump()


def transcriptions_streamed(stub: StubProvider, prompt: str) -> Any:
    with openai.OpenAI(**options(stub)) as client:
        stream = client.audio.transcriptions.create(
            model="gpt-4o-transcribe", file=("a.wav", b"RIFF" * 500), prompt=prompt, stream=True
        )
        return [event.model_dump() for event in stream]


async def achat(stub: StubProvider, prompt: str) -> Any:
    async with openai.AsyncOpenAI(**options(stub)) as client:
        return (await client.chat.completions.create(**question(prompt))).model_dump()


async def achat_streamed(stub: StubProvider, prompt: str) -> Any:
    async with openai.AsyncOpenAI(**options(stub)) as client:
        stream: Any = await client.chat.completions.create(**question(prompt), **STREAM)
        return [chunk.model_dump() async for chunk in stream]


async def aresponses(stub: StubProvider, prompt: str) -> Any:
    async with openai.AsyncOpenAI(**options(stub)) as client:
        return (await client.responses.create(model=MODEL, input=prompt)).model_dump()


async def aresponses_streamed(stub: StubProvider, prompt: str) -> Any:
    async with openai.AsyncOpenAI(**options(stub)) as client:
        stream = await client.responses.create(model=MODEL, input=prompt, stream=True)
        return [event.model_dump() async for event in stream]


async def aembeddings(stub: StubProvider, prompt: str) -> Any:
    async with openai.AsyncOpenAI(**options(stub)) as client:
        answer = await client.embeddings.create(model=EMBEDDER, input=[prompt, "tea"])
        return answer.model_dump()


async def atranscriptions(stub: StubProvider, prompt: str) -> Any:
    async with openai.AsyncOpenAI(**options(stub)) as client:
        answer = await client.audio.transcriptions.create(
            model="gpt-4o-transcribe", file=("a.wav", b"RIFF" * 500), prompt=prompt
        )
        return answer.model_dump()


WAYS = ways(
    "openai",
    [
        chat,
        responses,
        embeddings,
        completions,
        *([decisions] if hasattr(openai.OpenAI, "decisions") else []),
        images,
        transcriptions,
        achat,
        aresponses,
        aembeddings,
        atranscriptions,
    ],
    streamed=[
        chat_streamed,
        responses_streamed,
        completions_streamed,
        images_streamed,
        transcriptions_streamed,
        achat_streamed,
        aresponses_streamed,
    ],
)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("way", WAYS)
def test_call_is_recorded_as_served(bench: Bench, way: Way, order: str) -> None:
    bench.check(way, order)


@pytest.mark.parametrize("way", WAYS)
def test_refused_call_is_recorded_as_served(bench: Bench, way: Way) -> None:
    bench.check_refusal(way)
