from __future__ import annotations

from typing import Any

import pytest
from mistralai.client import Mistral

from project.stub import StubProvider
from tests.sdks.batches import served_counts
from tests.sdks.bench import ORDERS, Bench, Way, ways
from tests.support.comparison import only_row

pytestmark = pytest.mark.django_db


def client_of(stub: StubProvider) -> Mistral:
    return Mistral(api_key="any", server_url=f"{stub.url}/mistral")


def question(prompt: str) -> Any:
    return {
        "model": "mistral-small-latest",
        "messages": [{"role": "user", "content": prompt}],
    }


def chat(stub: StubProvider, prompt: str) -> Any:
    with client_of(stub) as client:
        return client.chat.complete(**question(prompt)).model_dump()


def chat_streamed(stub: StubProvider, prompt: str) -> Any:
    with client_of(stub) as client, client.chat.stream(**question(prompt)) as stream:
        return [event.data.model_dump() for event in stream]


def embeddings(stub: StubProvider, prompt: str) -> Any:
    with client_of(stub) as client:
        return client.embeddings.create(model="mistral-embed", inputs=[prompt, "tea"]).model_dump()


def conversation(stub: StubProvider, prompt: str) -> Any:
    with client_of(stub) as client:
        asked = {"model": "mistral-small-latest", "inputs": prompt}
        return client.beta.conversations.start(**asked).model_dump()


def conversation_continued(stub: StubProvider, prompt: str) -> Any:
    with client_of(stub) as client:
        answer = client.beta.conversations.append(conversation_id="conv_1", inputs=prompt)
        return answer.model_dump()


def conversation_streamed(stub: StubProvider, prompt: str) -> Any:
    with client_of(stub) as client:
        asked = {"model": "mistral-small-latest", "inputs": prompt}
        with client.beta.conversations.start_stream(**asked) as stream:
            return [event.model_dump() for event in stream]


async def achat(stub: StubProvider, prompt: str) -> Any:
    async with client_of(stub) as client:
        return (await client.chat.complete_async(**question(prompt))).model_dump()


async def achat_streamed(stub: StubProvider, prompt: str) -> Any:
    async with client_of(stub) as client:
        stream = await client.chat.stream_async(**question(prompt))
        return [event.data.model_dump() async for event in stream]


async def aconversation(stub: StubProvider, prompt: str) -> Any:
    async with client_of(stub) as client:
        asked = {"model": "mistral-small-latest", "inputs": prompt}
        return (await client.beta.conversations.start_async(**asked)).model_dump()


async def aconversation_streamed(stub: StubProvider, prompt: str) -> Any:
    async with client_of(stub) as client:
        stream = await client.beta.conversations.append_stream_async(
            conversation_id="conv_1", inputs=prompt
        )
        return [event.model_dump() async for event in stream]


async def aembeddings(stub: StubProvider, prompt: str) -> Any:
    async with client_of(stub) as client:
        answer = await client.embeddings.create_async(model="mistral-embed", inputs=prompt)
        return answer.model_dump()


WAYS = ways(
    "mistralai",
    [
        chat,
        conversation,
        conversation_continued,
        embeddings,
        achat,
        aconversation,
        aembeddings,
    ],
    streamed=[
        chat_streamed,
        conversation_streamed,
        achat_streamed,
        aconversation_streamed,
    ],
)
CONTINUED = {"conversation_continued", "aconversation_streamed"}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("way", WAYS)
def test_call_is_recorded_as_served(bench: Bench, way: Way, order: str) -> None:
    bench.check(way, order)


# The request that continues a conversation names no model, so that a refusal has none.
@pytest.mark.parametrize("way", [way for way in WAYS if way.id not in CONTINUED])
def test_refused_call_is_recorded_as_served(bench: Bench, way: Way) -> None:
    bench.check_refusal(way)


def test_batch_job_is_completed_by_its_results(stub: StubProvider) -> None:
    messages: Any = [
        {"custom_id": str(number), "body": {"messages": question(f"{number}")["messages"]}}
        for number in range(3)
    ]
    with client_of(stub) as client:
        job = client.batch.jobs.create(
            endpoint="/v1/chat/completions", model="mistral-small-latest", requests=messages
        )
        while job.status != "SUCCESS":
            job = client.batch.jobs.get(job_id=job.id)
        for _ in range(2):
            client.files.download(file_id=str(job.output_file)).read()

    row = only_row()
    assert (row.prompt_tokens, row.completion_tokens) == served_counts(stub, job.id)
    assert row.metadata["batch"] == {"id": job.id, "completed": 3, "failed": 0}
    assert (row.provider, row.model_name) == ("mistral", "mistral-small-latest")
