from __future__ import annotations

import json
from typing import Any

import groq
import pytest

from project.stub import StubProvider
from tests.sdks.batches import served_counts
from tests.sdks.bench import ORDERS, Bench, Way, ways
from tests.support.comparison import only_row

pytestmark = pytest.mark.django_db

MODEL = "llama-3.3-70b-versatile"


def options(stub: StubProvider) -> Any:
    return {"base_url": f"{stub.url}/groq", "api_key": "any", "max_retries": 0}


def question(prompt: str) -> Any:
    return {"model": MODEL, "messages": [{"role": "user", "content": prompt}]}


def chat(stub: StubProvider, prompt: str) -> Any:
    with groq.Groq(**options(stub)) as client:
        return client.chat.completions.create(**question(prompt)).model_dump()


def chat_streamed(stub: StubProvider, prompt: str) -> Any:
    with groq.Groq(**options(stub)) as client:
        stream = client.chat.completions.create(**question(prompt), stream=True)
        return [chunk.model_dump() for chunk in stream]


async def achat(stub: StubProvider, prompt: str) -> Any:
    async with groq.AsyncGroq(**options(stub)) as client:
        return (await client.chat.completions.create(**question(prompt))).model_dump()


async def achat_streamed(stub: StubProvider, prompt: str) -> Any:
    async with groq.AsyncGroq(**options(stub)) as client:
        stream = await client.chat.completions.create(**question(prompt), stream=True)
        return [chunk.model_dump() async for chunk in stream]


WAYS = ways("groq", [chat, achat], streamed=[chat_streamed, achat_streamed])


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("way", WAYS)
def test_call_is_recorded_as_served(bench: Bench, way: Way, order: str) -> None:
    bench.check(way, order)


@pytest.mark.parametrize("way", WAYS)
def test_refused_call_is_recorded_as_served(bench: Bench, way: Way) -> None:
    bench.check_refusal(way)


def test_batch_is_completed_by_its_results(stub: StubProvider) -> None:
    lines = [
        {
            "custom_id": str(number),
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": question(f"{number} [stub queued=2]"),
        }
        for number in range(3)
    ]
    content = "\n".join(map(json.dumps, lines)).encode()
    with groq.Groq(**options(stub)) as client:
        file: Any = client.files.create(file=("in.jsonl", content), purpose="batch")
        batch: Any = client.batches.create(
            input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
        )
        while batch.status != "completed":
            batch = client.batches.retrieve(batch.id)
        for _ in range(2):
            client.files.content(batch.output_file_id)

    row = only_row()
    assert (row.prompt_tokens, row.completion_tokens) == served_counts(stub, batch.id)
    assert row.metadata["batch"] == {"id": batch.id, "completed": 3, "failed": 0}
    assert (row.provider, row.model_name) == ("groq", MODEL)
