"""The google-genai SDK over real HTTP: what is recorded equals what the provider served."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import httpx2
import pytest
import requests
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from google import genai
from google.genai import errors

from project.stub import StubProvider
from tests.support.cases import check_each
from tests.support.comparison import (
    assert_recorded_as_served,
    attributed,
    forget,
    leaves_a_socket,
    only_row,
    rows,
    steady,
    without_capture,
)
from tests.support.providers import LIMIT
from usage_tracking import ai_usage

pytestmark = pytest.mark.django_db

MODEL = "gemini-flash-latest"
ANSWERED = "gemini-2.5-flash-preview-09-2025"
KEY = "AIzaSyZm9vYmFyYmF6cXV4MTIzNDU2Nzg5"

Way = Callable[[genai.Client, str], Any]
AsyncWay = Callable[[Any, str], Awaitable[Any]]


def make_client(stub: StubProvider, **options: Any) -> genai.Client:
    http_options: Any = {"base_url": stub.google_url, **options}
    return genai.Client(api_key="any", http_options=http_options)


@pytest.fixture
def client(stub: StubProvider) -> Iterator[genai.Client]:
    client = make_client(stub)
    yield client
    client.close()


def run_async(stub: StubProvider, way: AsyncWay, prompt: str, user: User) -> Any:
    async def main() -> Any:
        async with (
            make_client(stub).aio as client,
            ai_usage(section="knowledge_qa", user=user),
        ):
            return await way(client, prompt)

    return async_to_sync(main)()


def told(answer: Any) -> Any:
    # Headers hold the time of day.
    return answer.model_dump(exclude={"sdk_http_response"}, mode="json")


def plain(client: genai.Client, prompt: str) -> Any:
    return told(client.models.generate_content(model=MODEL, contents=prompt))


def streamed(client: genai.Client, prompt: str) -> Any:
    return [
        told(chunk) for chunk in client.models.generate_content_stream(model=MODEL, contents=prompt)
    ]


def in_a_chat(client: genai.Client, prompt: str) -> Any:
    return told(client.chats.create(model=MODEL).send_message(prompt))


async def aplain(client: Any, prompt: str) -> Any:
    return told(await client.models.generate_content(model=MODEL, contents=prompt))


async def astreamed(client: Any, prompt: str) -> Any:
    stream = await client.models.generate_content_stream(model=MODEL, contents=prompt)
    return [told(chunk) async for chunk in stream]


WAYS = [plain, streamed, in_a_chat]
ASYNC_WAYS = [aplain, astreamed]


@pytest.mark.parametrize("way", WAYS)
def test_answer_is_recorded_as_served(
    stub: StubProvider, client: genai.Client, user: User, way: Way
) -> None:
    def check(order: str) -> None:
        forget()
        stub.clear()
        with ai_usage(section="knowledge_qa", user=user):
            way(client, f"Why is the sky blue? [stub {order}]")

        row = only_row()
        assert_recorded_as_served([row], stub.journal)
        assert row.prompt_tokens
        assert attributed(row) == ("ada", "knowledge_qa")
        assert (row.usage_source, row.error_message) == ("reported", None)
        assert (row.model_name, row.metadata["requested_model"]) == (ANSWERED, MODEL)

    check_each(
        check,
        [
            "",
            "gzip",
            "fragments",
            "gzip fragments",
            "cached=40",
            "reasoning=20",
            "cached=3 reasoning=9",
        ],
    )


@pytest.mark.parametrize("way", ASYNC_WAYS)
def test_async_answer_is_recorded_as_served(stub: StubProvider, user: User, way: AsyncWay) -> None:
    def check(order: str) -> None:
        forget()
        stub.clear()
        run_async(stub, way, f"Why is the sky blue? [stub {order}]", user)

        row = only_row()
        assert_recorded_as_served([row], stub.journal)
        assert row.prompt_tokens
        assert attributed(row) == ("ada", "knowledge_qa")

    check_each(check, ["", "gzip fragments cached=3 reasoning=9"])


def test_thoughts_count_as_completion(client: genai.Client) -> None:
    answer = client.models.generate_content(
        model=MODEL, contents="Hello [stub usage=100/50 reasoning=30]"
    )

    assert answer.usage_metadata
    assert answer.usage_metadata.candidates_token_count == 20
    row = only_row()
    assert (row.prompt_tokens, row.completion_tokens, row.reasoning_tokens) == (100, 50, 30)


def test_stream_as_one_array_is_recorded_as_served(stub: StubProvider) -> None:
    """Simple clients send no `alt=sse`."""
    url = f"{stub.google_url}/v1beta/models/{MODEL}:streamGenerateContent"

    def check(order: str) -> None:
        forget()
        stub.clear()
        parts = [{"text": f'Hello "[{{]" [stub {order}]'}]
        body = {"contents": [{"role": "user", "parts": parts}]}
        with requests.post(url, json=body, stream=True, timeout=60) as answer:
            chunks = json.loads(b"".join(answer.iter_content(11)))

        assert len(chunks) > 3
        assert_recorded_as_served(rows(), stub.journal)
        assert only_row().prompt_tokens

    check_each(check, ["", "gzip", "fragments", "gzip fragments", "reasoning=9"])


@pytest.mark.parametrize("way", WAYS)
def test_answer_to_the_site_is_the_same_as_without_capture(
    stub: StubProvider, client: genai.Client, way: Way
) -> None:
    def check(order: str) -> None:
        forget()
        prompt = f"Why is the sky blue? [stub {order}]"
        captured = way(client, prompt)
        with without_capture():
            untouched = way(client, prompt)

        assert steady(captured) == steady(untouched)
        assert len(rows()) == 1

    check_each(check, ["", "gzip fragments"])


@pytest.mark.parametrize("way", ASYNC_WAYS)
def test_async_answer_to_the_site_is_the_same_as_without_capture(
    stub: StubProvider, user: User, way: AsyncWay
) -> None:
    prompt = "Why is the sky blue? [stub gzip fragments]"
    captured = run_async(stub, way, prompt, user)
    with without_capture():
        untouched = run_async(stub, way, prompt, user)

    assert steady(captured) == steady(untouched)
    assert len(rows()) == 1


@pytest.mark.parametrize("way", [plain, streamed])
def test_error_status_is_recorded_as_failure(
    stub: StubProvider, client: genai.Client, user: User, way: Way
) -> None:
    def check(status: int, kind: type[Exception], told: str) -> None:
        forget()
        stub.clear()
        with ai_usage(section="knowledge_qa", user=user), pytest.raises(kind):
            way(client, f"Hello [stub status={status}]")

        row = only_row()
        assert_recorded_as_served([row], stub.journal)
        assert row.model_name == MODEL
        assert attributed(row) == ("ada", "knowledge_qa")
        assert (row.success, row.usage_source, row.total_tokens) == (False, "unknown", None)
        assert row.error_message is not None
        assert row.error_message.startswith(f"HTTP {status} {told}: ")

    check_each(
        check,
        [
            (401, errors.ClientError, "UNAUTHENTICATED"),
            (429, errors.ClientError, "RESOURCE_EXHAUSTED"),
            (500, errors.ServerError, "INTERNAL"),
        ],
    )


def test_async_error_status_is_recorded_as_failure(stub: StubProvider, user: User) -> None:
    with pytest.raises(errors.ServerError):
        run_async(stub, aplain, "Hello [stub status=503]", user)

    assert_recorded_as_served(rows(), stub.journal)
    assert not only_row().success


def test_key_echoed_in_an_error_is_redacted_in_the_row_and_the_log(
    client: genai.Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", logger="ai_usage_tracker")

    with pytest.raises(errors.ClientError, match=KEY):
        plain(client, f"Hello [stub leak={KEY}]")

    row = only_row()
    assert row.error_message is not None
    assert "API key not valid: [redacted]" in row.error_message
    assert KEY not in row.error_message + json.dumps(row.metadata) + caplog.text


def test_retries_are_one_row_per_attempt(stub: StubProvider) -> None:
    client = make_client(
        stub, retry_options={"attempts": 3, "initial_delay": 0.01, "max_delay": 0.02}
    )
    plain(client, "Hello [stub status=503 times=2]")
    client.close()

    assert_recorded_as_served(rows(), stub.journal)
    assert [row.success for row in rows()] == [False, False, True]


def test_unreachable_provider_is_recorded_and_raised(dead_stub: StubProvider) -> None:
    client = make_client(dead_stub)
    with pytest.raises(httpx2.ConnectError):
        plain(client, "Hello")
    client.close()

    row = only_row()
    assert (row.provider, row.model_name, row.success) == ("google", MODEL, False)
    assert row.error_message is not None
    assert row.error_message.startswith("ConnectError")


def test_timeout_is_recorded_and_raised(own_stub: StubProvider) -> None:
    client = make_client(own_stub, timeout=100)
    # Connecting to this machine takes no time, however busy it is: the kernel answers.
    with pytest.raises(httpx2.ReadTimeout):
        plain(client, f"Hello [stub delay={LIMIT:.0f}]")
    client.close()

    row = only_row()
    assert row.error_message is not None
    assert row.error_message.startswith("ReadTimeout")


def test_cut_stream_is_a_failure_with_its_running_counts_as_partial(
    stub: StubProvider, client: genai.Client
) -> None:
    with pytest.raises(httpx2.RemoteProtocolError):
        streamed(client, "Hello [stub usage=100/5000 words=50 cut=3]")

    row, served = only_row(), stub.journal[0]
    assert (row.success, row.usage_source) == (False, "unknown")
    assert (row.prompt_tokens, row.completion_tokens) == (None, None)
    assert row.metadata["partial"] == {
        "prompt_tokens": 100,
        "completion_tokens": served.completion_tokens,
    }


def test_garbage_body_is_unknown_with_the_reason(client: genai.Client) -> None:
    with pytest.raises(json.JSONDecodeError):
        plain(client, "Hello [stub garbage]")

    row = only_row()
    assert (row.usage_source, row.total_tokens) == ("unknown", None)
    assert row.metadata["unknown"] == "unreadable answer"


@pytest.mark.parametrize("way", [plain, streamed])
def test_answer_without_usage_is_unknown_with_the_reason(
    stub: StubProvider, client: genai.Client, way: Way
) -> None:
    way(client, "Hello [stub nousage]")

    row = only_row()
    assert_recorded_as_served([row], stub.journal)
    assert (row.usage_source, row.success) == ("unknown", True)
    assert row.metadata["unknown"] == "no usage in the answer"


def test_error_inside_a_stream_is_recorded_as_failure(client: genai.Client) -> None:
    with pytest.raises(errors.ServerError, match="The server had an error"):
        streamed(client, "Hello [stub error_in_stream]")

    row = only_row()
    assert (row.success, row.usage_source, row.total_tokens) == (False, "unknown", None)
    assert row.error_message is not None
    assert row.error_message.startswith("UNAVAILABLE: The server had an error")


def test_error_inside_an_array_is_recorded_as_failure(stub: StubProvider) -> None:
    url = f"{stub.google_url}/v1beta/models/{MODEL}:streamGenerateContent"
    body = {"contents": [{"role": "user", "parts": [{"text": "Hello [stub error_in_stream]"}]}]}
    requests.post(url, json=body, timeout=60)

    row = only_row()
    assert not row.success
    assert row.error_message is not None
    assert row.error_message.startswith("UNAVAILABLE: The server had an error")


class TestAbandoned:
    """The running counts of an abandoned stream are partial, never final."""

    PROMPT = "Hello [stub usage=100/4000 words=4000]"

    @staticmethod
    def assert_partial() -> None:
        row = only_row()
        assert (row.usage_source, row.success) == ("unknown", True)
        assert (row.prompt_tokens, row.completion_tokens, row.cost) == (None, None, None)
        assert row.metadata["unknown"] == "stream abandoned"
        assert row.metadata["partial"]["prompt_tokens"] == 100
        assert 0 <= row.metadata["partial"]["completion_tokens"] < 4000
        assert row.model_name == ANSWERED
        assert attributed(row) == ("ada", "chat")

    @leaves_a_socket
    def test_stream_collected_without_close_is_partial(
        self, client: genai.Client, user: User
    ) -> None:
        with ai_usage(section="chat", user=user):
            stream = client.models.generate_content_stream(model=MODEL, contents=self.PROMPT)
            next(stream)
            del stream
            gc.collect()

        self.assert_partial()

    @leaves_a_socket
    def test_closed_stream_is_partial(self, client: genai.Client, user: User) -> None:
        with ai_usage(section="chat", user=user):
            stream: Any = client.models.generate_content_stream(model=MODEL, contents=self.PROMPT)
            next(stream)
            stream.close()
            gc.collect()

        self.assert_partial()

    def test_cancelled_task_is_partial(self, stub: StubProvider, user: User) -> None:
        async def read(began: asyncio.Event) -> None:
            async with make_client(stub).aio as client:
                stream = await client.models.generate_content_stream(
                    model=MODEL,
                    contents=f"Hello [stub usage=100/4000 words=400 pace={LIMIT:.0f}]",
                )
                async for _ in stream:
                    began.set()

        async def main() -> None:
            async with ai_usage(section="chat", user=user):
                began = asyncio.Event()
                task = asyncio.create_task(read(began))
                await asyncio.wait_for(began.wait(), LIMIT)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task

        async_to_sync(main)()

        self.assert_partial()
