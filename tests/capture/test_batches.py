"""Batches through the real SDKs: one row per batch and model, completed by whoever sees its end."""

from __future__ import annotations

import asyncio
import io
import json
import tracemalloc
import zlib
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import aiohttp
import anthropic
import httpx
import openai
import pytest
import requests
from django.contrib.auth.models import User
from google import genai

from project.stub import StubProvider
from tests.support.comparison import attributed, only_row, rows
from tests.support.ledger import assert_in_step
from usage_tracking import ai_usage
from usage_tracking.capture import batch_memory
from usage_tracking.capture.body import Body
from usage_tracking.capture.endpoints import recognise
from usage_tracking.models import AIUsageLog

pytestmark = pytest.mark.django_db

IN_PROGRESS = "batch in progress; its end was not seen yet"
UNREAD = "batch ended; its results were not read yet"


@pytest.fixture(autouse=True)
def forget_batches() -> Iterator[None]:
    """Forget, as another process would, what was said of other batches."""
    batch_memory.forget()
    yield
    batch_memory.forget()


@pytest.fixture
def client(stub: StubProvider) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=stub.openai_url, api_key="any", max_retries=0) as client:
        yield client


@pytest.fixture
def claude(stub: StubProvider) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=stub.anthropic_url, api_key="any", max_retries=0) as client:
        yield client


@pytest.fixture
def gemini(stub: StubProvider) -> Iterator[genai.Client]:
    client = genai.Client(api_key="any", http_options={"base_url": stub.google_url})
    yield client
    client.close()


def submit(client: openai.OpenAI, *prompts: str, nousage: bool = False) -> str:
    lines = [
        {
            "custom_id": str(number),
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"model": "gpt-4o", "messages": [{"role": "user", "content": prompt}]},
        }
        for number, prompt in enumerate(prompts)
    ]
    content = "\n".join(map(json.dumps, lines)).encode()
    file = client.files.create(file=("in.jsonl", io.BytesIO(content)), purpose="batch")
    batch = client.batches.create(
        input_file_id=file.id,
        endpoint="/v1/chat/completions",
        completion_window="24h",
        metadata={"nousage": "1"} if nousage else None,
    )
    return batch.id


def submit_messages(claude: anthropic.Anthropic, *prompts: tuple[str, str]) -> str:
    batch = claude.messages.batches.create(
        requests=[
            {
                "custom_id": str(number),
                "params": {
                    "model": model,
                    "max_tokens": 9,
                    "messages": [{"role": "user", "content": prompt}],
                },
            }
            for number, (model, prompt) in enumerate(prompts)
        ]
    )
    return batch.id


def contents(*prompts: str) -> Any:
    return [{"contents": [{"parts": [{"text": prompt}], "role": "user"}]} for prompt in prompts]


def submit_contents(gemini: genai.Client, *prompts: str) -> str:
    batch = gemini.batches.create(model="gemini-2.5-flash", src=contents(*prompts))
    assert batch.name
    return batch.name


def served_counts(stub: StubProvider, batch_id: str) -> tuple[int, int]:
    """Return the counts of a batch that its last answer with any reported."""
    served = [each for each in stub.journal if each.response_id == batch_id]
    last = [each for each in served if each.prompt_tokens is not None][-1]
    assert last.prompt_tokens is not None
    assert last.completion_tokens is not None
    return last.prompt_tokens, last.completion_tokens


def tokens(row: AIUsageLog) -> tuple[int | None, int | None]:
    return row.prompt_tokens, row.completion_tokens


class TestOpenAI:
    def test_submitted_batch_is_a_row_in_progress(self, client: openai.OpenAI, user: User) -> None:
        with ai_usage(section="chat", user=user):
            batch_id = submit(client, "One [stub queued=2]", "Two")
            client.batches.retrieve(batch_id)

        row = only_row()
        assert attributed(row) == ("ada", "chat")
        assert (row.operation, row.usage_source, row.success) == ("batch", "unknown", True)
        assert row.metadata["unknown"] == IN_PROGRESS
        assert row.metadata["batch"] == {"id": batch_id}

    def test_poll_that_sees_the_end_completes_the_row(
        self, client: openai.OpenAI, stub: StubProvider, user: User
    ) -> None:
        with ai_usage(section="chat", user=user, metadata={"order": 7}):
            batch_id = submit(client, "One [stub queued=2 cached=3]", "Two [stub status=400]")
        with ai_usage(section="rag_pipeline", metadata={"poller": 1}):
            for _ in range(5):
                client.batches.retrieve(batch_id)

        row = only_row()
        assert attributed(row) == ("ada", "chat")
        assert tokens(row) == served_counts(stub, batch_id)
        assert row.model_name == "gpt-4o-2024-08-06"
        assert (row.cached_tokens, row.usage_source) == (3, "reported")
        assert row.metadata["batch"] == {"id": batch_id, "completed": 1, "failed": 1}
        assert row.metadata["price_context"] == {"processing": "batch"}
        assert (row.metadata["order"], row.success) == (7, True)
        assert not {"unknown", "poller"} & set(row.metadata)
        assert_in_step()

    def test_batch_that_ends_in_its_block_is_one_call(
        self, client: openai.OpenAI, stub: StubProvider
    ) -> None:
        with ai_usage(section="chat") as usage:
            batch_id = submit(client, "One [stub queued=0]", "Two")
            batch = client.batches.retrieve(batch_id)
            assert batch.output_file_id
            client.files.content(batch.output_file_id)
            client.batches.retrieve(batch_id)

            assert usage.calls == 1
            assert usage.total_tokens == sum(served_counts(stub, batch_id))

        details = only_row().usage_details or {}
        assert "requests" in details["iterations"][0]

    def test_batch_costs_half(self, client: openai.OpenAI) -> None:
        batch_id = submit(client, "One [stub queued=0 usage=1000/100]", "[stub usage=3000/100]")
        client.batches.retrieve(batch_id)

        # https://developers.openai.com/api/docs/pricing: 1.25 and 5 USD for a million
        assert only_row().cost == Decimal("0.0060")

    def test_results_are_read_where_the_batch_has_no_usage(
        self, client: openai.OpenAI, stub: StubProvider
    ) -> None:
        batch_id = submit(
            client, "One [stub queued=0]", "Two", "Three [stub status=429]", nousage=True
        )
        batch = client.batches.retrieve(batch_id)
        assert only_row().metadata["unknown"] == UNREAD
        assert batch.output_file_id
        for _ in range(2):
            client.files.content(batch.output_file_id)
        client.batches.retrieve(batch_id)

        row = only_row()
        assert tokens(row) == served_counts(stub, batch_id)
        assert row.metadata["batch"] == {"id": batch_id, "completed": 2, "failed": 1}
        assert row.cost

    def test_results_say_more_than_the_sum(self, client: openai.OpenAI) -> None:
        """The price of a prompt depends on its own size, not on the size of all together."""
        batch_id = submit(client, "[stub queued=0 usage=200000/1]", "[stub usage=300000/1]")
        batch = client.batches.retrieve(batch_id)
        AIUsageLog.objects.update(metadata={})
        assert batch.output_file_id
        client.files.content(batch.output_file_id)
        client.batches.retrieve(batch_id)

        details = only_row().usage_details or {}
        assert [each["requests"] for each in details["iterations"]] == [1, 1]

    def test_results_that_were_read_in_part_do_not_complete_the_row(
        self, client: openai.OpenAI
    ) -> None:
        batch_id = submit(client, "[stub queued=0 words=40000]", "Two", nousage=True)
        batch = client.batches.retrieve(batch_id)
        assert batch.output_file_id
        with client.files.with_streaming_response.content(batch.output_file_id) as results:
            next(results.iter_bytes(1000))
        assert only_row().usage_source == "unknown"
        assert client.files.content(batch.output_file_id).read()

        assert only_row().usage_source == "reported"

    def test_other_files_are_not_read(self, client: openai.OpenAI) -> None:
        batch_id = submit(client, "[stub queued=0]", nousage=True)
        client.files.content(f"out-{batch_id}")  # no poll said what it is

        assert only_row().metadata["unknown"] == IN_PROGRESS

    def test_cancelled_batch_has_what_was_made(
        self, client: openai.OpenAI, stub: StubProvider
    ) -> None:
        batch_id = submit(client, "One [stub queued=9]", "Two")
        client.batches.cancel(batch_id)
        assert only_row().success
        client.batches.retrieve(batch_id)

        row = only_row()
        assert tokens(row) == served_counts(stub, batch_id)
        assert not row.success
        assert row.error_message == "batch cancelled: 1 of 1 requests completed"
        assert row.cost

    def test_batch_of_another_system_is_completed_once(
        self, client: openai.OpenAI, stub: StubProvider, user: User
    ) -> None:
        batch_id = submit(client, "One [stub queued=0]")
        AIUsageLog.objects.all().delete()
        with ai_usage(section="chat", user=user):
            client.batches.retrieve(batch_id)
            client.batches.retrieve(batch_id)

        row = only_row()
        assert attributed(row) == ("ada", "chat")
        assert tokens(row) == served_counts(stub, batch_id)

    def test_refused_submission_is_a_failed_call(self, client: openai.OpenAI) -> None:
        with pytest.raises(openai.NotFoundError):
            client.batches.create(
                input_file_id="no", endpoint="/v1/responses", completion_window="24h"
            )

        row = only_row()
        assert not row.success
        assert "No such File" in (row.error_message or "")

    def test_list_of_batches_is_no_call(self, client: openai.OpenAI) -> None:
        with pytest.raises(openai.NotFoundError):
            client.batches.list()

        assert not AIUsageLog.objects.exists()


class TestAnthropic:
    def test_each_model_is_a_row_of_its_own(
        self, claude: anthropic.Anthropic, stub: StubProvider, user: User
    ) -> None:
        with ai_usage(section="chat", user=user):
            batch_id = submit_messages(
                claude,
                ("claude-sonnet-4-5", "[stub queued=1 usage=1000/100]"),
                ("claude-haiku-4-5", "[stub usage=2000/100]"),
                ("claude-haiku-4-5-20251001", "[stub usage=2000/100]"),
            )
        assert [row.metadata["unknown"] for row in rows()] == [IN_PROGRESS] * 2
        for _ in range(3):
            claude.messages.batches.retrieve(batch_id)
        for _ in range(2):
            assert len(list(claude.messages.batches.results(batch_id))) == 3

        found = {row.model_name: row for row in rows()}
        assert {name: tokens(row) for name, row in found.items()} == {
            "claude-sonnet-4-5-20250929": (1000, 100),
            "claude-haiku-4-5-20251001": (4000, 200),
        }
        assert {attributed(row) for row in rows()} == {("ada", "chat")}
        assert {row.metadata["batch"]["completed"] for row in rows()} == {1, 2}
        # https://platform.claude.com/docs/en/about-claude/pricing
        assert found["claude-sonnet-4-5-20250929"].cost == Decimal("0.00225")
        assert found["claude-haiku-4-5-20251001"].cost == Decimal("0.0025")
        assert_in_step()

    def test_poll_says_that_the_results_were_not_read(self, claude: anthropic.Anthropic) -> None:
        batch_id = submit_messages(claude, ("claude-haiku-4-5", "[stub queued=0]"))
        claude.messages.batches.retrieve(batch_id)

        row = only_row()
        assert (row.metadata["unknown"], row.success) == (UNREAD, True)
        assert row.metadata["batch"] == {"id": batch_id, "completed": 1, "failed": 0}

    def test_poll_after_the_results_changes_nothing(
        self, claude: anthropic.Anthropic, stub: StubProvider
    ) -> None:
        batch_id = submit_messages(claude, ("claude-haiku-4-5", "[stub queued=0 cached=7]"))
        claude.messages.batches.retrieve(batch_id)
        list(claude.messages.batches.results(batch_id))
        claude.messages.batches.retrieve(batch_id)

        row = only_row()
        assert (*tokens(row), row.cached_tokens) == (*served_counts(stub, batch_id), 7)

    def test_results_that_were_read_in_part_do_not_complete_the_row(
        self, claude: anthropic.Anthropic, stub: StubProvider
    ) -> None:
        prompts = ("claude-haiku-4-5", "[stub queued=0 words=40000]"), ("claude-haiku-4-5", "Two")
        batch_id = submit_messages(claude, *prompts)
        claude.messages.batches.retrieve(batch_id)
        results = claude.messages.batches.results(batch_id)
        next(iter(results))
        results.http_response.close()
        assert only_row().metadata["unknown"] == UNREAD
        list(claude.messages.batches.results(batch_id))

        assert tokens(only_row()) == served_counts(stub, batch_id)

    def test_async_client(self, stub: StubProvider) -> None:
        async def main() -> str:
            client = anthropic.AsyncAnthropic(base_url=stub.anthropic_url, api_key="any")
            batch = await client.messages.batches.create(
                requests=[
                    {
                        "custom_id": "1",
                        "params": {
                            "model": "claude-haiku-4-5",
                            "max_tokens": 9,
                            "messages": [{"role": "user", "content": "[stub queued=0]"}],
                        },
                    }
                ]
            )
            await client.messages.batches.retrieve(batch.id)
            assert [each async for each in await client.messages.batches.results(batch.id)]
            await client.close()
            return batch.id

        batch_id = asyncio.run(main())

        assert tokens(only_row()) == served_counts(stub, batch_id)

    @pytest.mark.parametrize("library", ["requests", "aiohttp"])
    def test_results_read_with_another_library(
        self, claude: anthropic.Anthropic, stub: StubProvider, library: str
    ) -> None:
        prompts = [("claude-haiku-4-5", f"{number} [stub queued=0]") for number in range(50)]
        batch_id = submit_messages(claude, *prompts)
        claude.messages.batches.retrieve(batch_id)
        url = f"{stub.anthropic_url}/v1/messages/batches/{batch_id}/results"

        async def lines() -> int:
            async with aiohttp.ClientSession() as session, session.get(url) as answer:
                return len([line async for line in answer.content])

        if library == "aiohttp":
            assert asyncio.run(lines()) == 50
        else:
            with requests.get(url, stream=True, timeout=60) as answer:
                assert len(list(answer.iter_lines(chunk_size=100))) == 50

        assert tokens(only_row()) == served_counts(stub, batch_id)

    def test_beta_client(self, claude: anthropic.Anthropic, stub: StubProvider) -> None:
        batch = claude.beta.messages.batches.create(
            requests=[
                {
                    "custom_id": "1",
                    "params": {
                        "model": "claude-haiku-4-5",
                        "max_tokens": 9,
                        "messages": [{"role": "user", "content": "[stub queued=0]"}],
                    },
                }
            ]
        )
        claude.beta.messages.batches.retrieve(batch.id)
        list(claude.beta.messages.batches.results(batch.id))

        assert tokens(only_row()) == served_counts(stub, batch.id)

    def test_batch_in_which_everything_failed(self, claude: anthropic.Anthropic) -> None:
        batch_id = submit_messages(claude, ("claude-haiku-4-5", "[stub queued=0 status=400]"))
        claude.messages.batches.retrieve(batch_id)
        list(claude.messages.batches.results(batch_id))

        row = only_row()
        assert not row.success
        assert (row.error_message or "").startswith(
            "all 1 requests failed; the first: invalid_request"
        )
        assert row.metadata["batch"] == {"id": batch_id, "completed": 0, "failed": 1}

    def test_canceled_batch_has_what_was_made(
        self, claude: anthropic.Anthropic, stub: StubProvider
    ) -> None:
        batch_id = submit_messages(
            claude, ("claude-haiku-4-5", "[stub queued=5]"), ("claude-haiku-4-5", "Two")
        )
        claude.messages.batches.cancel(batch_id)
        assert only_row().metadata["unknown"] == IN_PROGRESS
        claude.messages.batches.retrieve(batch_id)
        list(claude.messages.batches.results(batch_id))

        row = only_row()
        assert tokens(row) == served_counts(stub, batch_id)
        assert (row.success, row.error_message) == (False, "batch canceled: 1 of 2 requests")

    def test_model_whose_requests_all_failed_completes_its_row(
        self, claude: anthropic.Anthropic
    ) -> None:
        batch_id = submit_messages(
            claude,
            ("claude-haiku-4-5", "[stub queued=0 status=400]"),
            ("claude-sonnet-4-5", "[stub usage=1000/100]"),
        )
        claude.messages.batches.retrieve(batch_id)
        assert {row.metadata["unknown"] for row in rows()} == {UNREAD}
        list(claude.messages.batches.results(batch_id))

        found = {row.model_name: row for row in rows()}
        failed, made = found["claude-haiku-4-5"], found["claude-sonnet-4-5-20250929"]
        assert failed.error_message == "no request to this model succeeded"
        assert (failed.success, tokens(failed)) == (False, (None, None))
        assert (made.success, tokens(made)) == (True, (1000, 100))
        assert failed.metadata["batch"] == {"id": batch_id, "completed": 0, "failed": 1}

    def test_models_in_the_input_of_a_tool_are_none_of_the_batch(
        self, claude: anthropic.Anthropic
    ) -> None:
        claude.messages.batches.create(
            requests=[
                {
                    "custom_id": "1",
                    "params": {
                        "model": "claude-haiku-4-5",
                        "max_tokens": 9,
                        "messages": [
                            {"role": "user", "content": "Which car?"},
                            {
                                "role": "assistant",
                                "content": [
                                    {
                                        "type": "tool_use",
                                        "id": "1",
                                        "name": "car",
                                        "input": {"model": "T"},
                                    }
                                ],
                            },
                        ],
                    },
                }
            ]
        )

        assert only_row().model_name == "claude-haiku-4-5"


class TestGemini:
    def test_inline_results(self, gemini: genai.Client, stub: StubProvider, user: User) -> None:
        with ai_usage(section="chat", user=user):
            name = submit_contents(gemini, "[stub queued=2]", "Two", "[stub status=400]")
        assert only_row().metadata["unknown"] == IN_PROGRESS
        for _ in range(4):
            gemini.batches.get(name=name)

        row = only_row()
        batch_id = name.removeprefix("batches/")
        assert attributed(row) == ("ada", "chat")
        assert tokens(row) == served_counts(stub, batch_id)
        assert row.metadata["batch"] == {"id": batch_id, "completed": 2, "failed": 1}
        assert (row.model_name, row.provider) == ("gemini-2.5-flash", "google")
        assert row.cost
        assert_in_step()

    def test_price_of_a_prompt_depends_on_its_own_size(self, gemini: genai.Client) -> None:
        batch = gemini.batches.create(
            model="gemini-2.5-pro",
            src=contents(*["[stub queued=0 usage=150000/1000]"] * 2, "[stub usage=300000/1000]"),
        )
        assert batch.name
        gemini.batches.get(name=batch.name)

        # https://ai.google.dev/gemini-api/docs/pricing: 0.625 and 5 USD, above 200k 1.25 and 7.5
        assert only_row().cost == Decimal("0.1875") + Decimal("0.01") + Decimal("0.3825")

    def test_results_that_are_too_long_to_be_kept_are_read(
        self, gemini: genai.Client, stub: StubProvider
    ) -> None:
        """Pictures, say: no more than 8 MB of one answer are kept."""
        order = "stub queued=0 words=250000"
        name = submit_contents(gemini, *[f"[{order}]"] * 4, "[stub status=400]")
        gemini.batches.get(name=name)

        row = only_row()
        batch_id = name.removeprefix("batches/")
        assert tokens(row) == served_counts(stub, batch_id)
        assert row.metadata["batch"] == {"id": batch_id, "completed": 4, "failed": 1}
        assert (row.model_name, row.success) == ("gemini-2.5-flash", True)
        assert row.cost
        assert_in_step()

    def test_async_client(self, stub: StubProvider) -> None:
        async def main() -> str:
            options: Any = {"base_url": stub.google_url}
            client = genai.Client(api_key="any", http_options=options).aio
            batch = await client.batches.create(model="gemini-2.5-flash", src=contents("Hello"))
            assert batch.name
            for _ in range(3):
                await client.batches.get(name=batch.name)
            await client.aclose()
            return batch.name.removeprefix("batches/")

        batch_id = asyncio.run(main())

        assert tokens(only_row()) == served_counts(stub, batch_id)

    def test_results_in_a_file(self, gemini: genai.Client, stub: StubProvider) -> None:
        lines = [
            {
                "key": str(n),
                "request": {"contents": [{"parts": [{"text": f"{n} [stub queued=0]"}]}]},
            }
            for n in range(3)
        ]
        content = "\n".join(map(json.dumps, lines)).encode()
        with httpx.Client(trust_env=False) as client:
            file = client.post(f"{stub.openai_url}/files", files={"file": content}).json()["id"]
        batch = gemini.batches.create(model="gemini-2.5-flash", src=f"files/{file}")
        assert batch.name
        ended = gemini.batches.get(name=batch.name)
        assert only_row().metadata["unknown"] == UNREAD
        assert ended.dest
        assert ended.dest.file_name
        for _ in range(2):
            assert gemini.files.download(file=ended.dest.file_name)

        row = only_row()
        batch_id = batch.name.removeprefix("batches/")
        assert tokens(row) == served_counts(stub, batch_id)
        assert row.metadata["batch"] == {"id": batch_id, "completed": 3, "failed": 0}

    def test_cancelled_batch(self, gemini: genai.Client) -> None:
        name = submit_contents(gemini, "[stub queued=9]")
        gemini.batches.cancel(name=name)
        gemini.batches.get(name=name)

        row = only_row()
        assert not row.success
        assert row.error_message == "batch cancelled: 13: Cancelled by the user."


def test_results_of_any_size_are_read_in_little_memory() -> None:
    """Of 100 MB with lines of 5 kB and of 1 MB, less than 256 kB are ever held."""
    endpoint = recognise("GET", "api.openai.com", None, "/v1/files/f/content")
    assert endpoint is not None
    usage = {"prompt_tokens": 10, "completion_tokens": 5}
    answer = {"object": "chat.completion", "model": "gpt-4o", "choices": ["x" * 5000]}
    line = json.dumps({"response": {"status_code": 200, "body": {**answer, "usage": usage}}})
    short = line.encode() + b"\n"
    long = short.replace(b"x" * 5000, b"x" * 10**6)
    block = 10 * short + long
    body = Body(endpoint)
    body.head(200, {"content-type": "application/octet-stream"})
    most = 0
    tracemalloc.start()
    try:
        for _ in range(100):
            for at in range(0, len(block), 65_536):
                piece = block[at : at + 65_536]
                before = tracemalloc.get_traced_memory()[0] - held(body)
                tracemalloc.reset_peak()
                body.chunk(piece)
                most = max(most, tracemalloc.get_traced_memory()[1] - before)
        body.finish(is_whole=True)
    finally:
        tracemalloc.stop()

    reader: Any = body.answer.reader
    assert (reader.sums.completed, reader.sums.failed) == (1100, 0)
    assert most < 256 * 1024


def test_compressed_results_of_any_length_are_read_in_little_memory() -> None:
    """Embeddings and like answers compress well, and a file has gigabytes of them."""
    endpoint = recognise("GET", "api.openai.com", None, "/v1/files/f/content")
    assert endpoint is not None
    answer = {"object": "list", "data": ["x" * 1000], "usage": {"prompt_tokens": 7}}
    line = json.dumps({"response": {"status_code": 200, "body": answer}}).encode() + b"\n"
    compress = zlib.compressobj(wbits=31)
    file = b"".join(compress.compress(line * 100) for _ in range(100)) + compress.flush()
    body = Body(endpoint)
    body.head(200, {"content-type": "application/octet-stream", "content-encoding": "gzip"})
    tracemalloc.start()
    try:
        for at in range(0, len(file), 16_384):
            body.chunk(file[at : at + 16_384])
        body.finish(is_whole=True)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    reader: Any = body.answer.reader
    assert (reader.sums.completed, body.is_undecodable) == (10_000, False)
    assert most < 256 * 1024


def held(body: Body) -> int:
    """Return the bytes that are kept of the file."""
    splitter: Any = body.answer._incoming._splitter
    return len(splitter._line) + sum(map(len, body._pieces))
