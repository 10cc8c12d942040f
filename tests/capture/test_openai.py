"""The openai SDK over real HTTP: what is recorded equals what the provider served."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from types import SimpleNamespace
from typing import Any

import httpx2
import openai
import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth.models import User
from django.db import connections

from project.stub import StubProvider
from tests.support.cases import check_each
from tests.support.comparison import (
    assert_recorded_as_served,
    attributed,
    by_row,
    by_stub,
    forget,
    leaves_a_socket,
    only_row,
    rows,
    steady,
    without_capture,
)
from tests.support.providers import LIMIT, until
from usage_tracking import ai_usage
from usage_tracking.capture import exchange
from usage_tracking.models import AIUsageLog

pytestmark = pytest.mark.django_db

MODEL = "gpt-4o-mini"
ANSWERED = "gpt-4o-mini-2024-07-18"
EMBEDDER = "text-embedding-3-small"
KEY = "sk-proj-Zm9vYmFyYmF6cXV4MTIzNDU2Nzg5"
WITH_USAGE: Any = {"stream": True, "stream_options": {"include_usage": True}}

Way = Callable[[openai.OpenAI, str], Any]
AsyncWay = Callable[[openai.AsyncOpenAI, str], Awaitable[Any]]


@pytest.fixture
def client(stub: StubProvider) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=stub.openai_url, api_key="any", max_retries=0) as client:
        yield client


def run_async(stub: StubProvider, way: AsyncWay, prompt: str, user: User, **options: Any) -> Any:
    """Return the answer of `way` on an event loop, in a block as a site would write it."""
    options = {"max_retries": 0} | options

    async def main() -> Any:
        async with (
            openai.AsyncOpenAI(base_url=stub.openai_url, api_key="any", **options) as client,
            ai_usage(section="knowledge_qa", user=user),
        ):
            return await way(client, prompt)

    return async_to_sync(main)()


def said(prompt: str) -> Any:
    return [{"role": "user", "content": prompt}]


def ask(client: openai.OpenAI, prompt: str, **options: Any) -> Any:
    return client.chat.completions.create(model=MODEL, messages=said(prompt), **options)


def chat(client: openai.OpenAI, prompt: str) -> Any:
    return ask(client, prompt).model_dump()


def chat_streamed(client: openai.OpenAI, prompt: str) -> Any:
    with ask(client, prompt, **WITH_USAGE) as stream:
        return [chunk.model_dump() for chunk in stream]


def chat_stream_helper(client: openai.OpenAI, prompt: str) -> Any:
    with client.chat.completions.stream(
        model=MODEL, messages=said(prompt), stream_options={"include_usage": True}
    ) as stream:
        return stream.get_final_completion().model_dump()


def chat_raw_response(client: openai.OpenAI, prompt: str) -> Any:
    raw = client.chat.completions.with_raw_response.create(model=MODEL, messages=said(prompt))
    return raw.parse().model_dump()


def chat_streaming_response(client: openai.OpenAI, prompt: str) -> Any:
    with client.chat.completions.with_streaming_response.create(
        model=MODEL, messages=said(prompt)
    ) as answer:
        return json.loads(b"".join(answer.iter_bytes(7)))


def chat_streaming_response_lines(client: openai.OpenAI, prompt: str) -> Any:
    with client.chat.completions.with_streaming_response.create(
        model=MODEL, messages=said(prompt), **WITH_USAGE
    ) as answer:
        return [
            json.loads(line.removeprefix("data: "))
            for line in answer.iter_lines()
            if line.startswith("data: {")
        ]


def responses(client: openai.OpenAI, prompt: str) -> Any:
    return client.responses.create(model=MODEL, input=prompt).model_dump()


def responses_streamed(client: openai.OpenAI, prompt: str) -> Any:
    with client.responses.create(model=MODEL, input=prompt, stream=True) as stream:
        return [event.model_dump() for event in stream]


def responses_stream_helper(client: openai.OpenAI, prompt: str) -> Any:
    with client.responses.stream(model=MODEL, input=prompt) as stream:
        return stream.get_final_response().model_dump()


def embeddings(client: openai.OpenAI, prompt: str) -> Any:
    return client.embeddings.create(model=EMBEDDER, input=[prompt, "tea"]).model_dump()


async def aask(client: openai.AsyncOpenAI, prompt: str, **options: Any) -> Any:
    return await client.chat.completions.create(model=MODEL, messages=said(prompt), **options)


async def achat(client: openai.AsyncOpenAI, prompt: str) -> Any:
    return (await aask(client, prompt)).model_dump()


async def achat_streamed(client: openai.AsyncOpenAI, prompt: str) -> Any:
    async with await aask(client, prompt, **WITH_USAGE) as stream:
        return [chunk.model_dump() async for chunk in stream]


async def achat_raw_response(client: openai.AsyncOpenAI, prompt: str) -> Any:
    raw = await client.chat.completions.with_raw_response.create(model=MODEL, messages=said(prompt))
    return raw.parse().model_dump()


async def achat_streaming_response(client: openai.AsyncOpenAI, prompt: str) -> Any:
    async with client.chat.completions.with_streaming_response.create(
        model=MODEL, messages=said(prompt)
    ) as answer:
        return json.loads(b"".join([piece async for piece in answer.iter_bytes(7)]))


async def aresponses(client: openai.AsyncOpenAI, prompt: str) -> Any:
    return (await client.responses.create(model=MODEL, input=prompt)).model_dump()


async def aresponses_streamed(client: openai.AsyncOpenAI, prompt: str) -> Any:
    async with await client.responses.create(model=MODEL, input=prompt, stream=True) as stream:
        return [event.model_dump() async for event in stream]


async def aembeddings(client: openai.AsyncOpenAI, prompt: str) -> Any:
    return (await client.embeddings.create(model=EMBEDDER, input=[prompt, "tea"])).model_dump()


WAYS = [
    chat,
    chat_streamed,
    chat_stream_helper,
    chat_raw_response,
    chat_streaming_response,
    chat_streaming_response_lines,
    responses,
    responses_streamed,
    responses_stream_helper,
    embeddings,
]
ASYNC_WAYS = [
    achat,
    achat_streamed,
    achat_raw_response,
    achat_streaming_response,
    aresponses,
    aresponses_streamed,
    aembeddings,
]
STREAMS = [chat_streamed, responses_streamed]


@pytest.mark.parametrize("way", WAYS)
def test_answer_is_recorded_as_served(
    stub: StubProvider, client: openai.OpenAI, user: User, way: Way
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
        assert "unknown" not in row.metadata
        assert "partial" not in row.metadata

    check_each(check, ["", "gzip", "fragments", "gzip fragments"])


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
        assert row.usage_source == "reported"

    check_each(check, ["", "gzip fragments"])


@pytest.mark.parametrize("way", [chat, chat_streamed, responses, responses_streamed])
def test_cached_and_reasoning_tokens_are_recorded_as_served(
    stub: StubProvider, client: openai.OpenAI, way: Way
) -> None:
    way(client, "Think hard. [stub cached=20 cache_write=6 reasoning=9]")

    row = only_row()
    assert_recorded_as_served([row], stub.journal)
    assert (row.cached_tokens, row.reasoning_tokens) == (20, 9)
    assert row.usage_details == {"cache_write_tokens": 6}


@pytest.mark.parametrize("way", WAYS)
def test_answer_to_the_site_is_the_same_as_without_capture(
    stub: StubProvider, client: openai.OpenAI, way: Way
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


def test_raw_response_has_the_bytes_that_were_served(
    stub: StubProvider, client: openai.OpenAI
) -> None:
    raw = client.chat.completions.with_raw_response.create(model=MODEL, messages=said("Hello"))

    assert raw.http_response.content == stub.journal[0].body
    assert raw.headers["openai-organization"] == "stub-org"


def test_streaming_response_has_the_bytes_that_were_served(
    stub: StubProvider, client: openai.OpenAI
) -> None:
    with client.chat.completions.with_streaming_response.create(
        model=MODEL, messages=said("Hello [stub gzip fragments]"), **WITH_USAGE
    ) as answer:
        raw = b"".join(answer.http_response.iter_raw())

    assert raw == stub.journal[0].body
    assert_recorded_as_served(rows(), stub.journal)


def test_answered_model_is_recorded_with_the_requested_one_beside(client: openai.OpenAI) -> None:
    ask(client, "Hello")

    row = only_row()
    assert row.model_name == ANSWERED
    assert row.metadata["requested_model"] == MODEL


def test_row_of_a_known_model_has_a_price(client: openai.OpenAI) -> None:
    ask(client, "Hello [stub usage=1000000/1000000]")

    # https://openai.com/api/pricing: 0.15 and 0.60 USD per million.
    assert only_row().cost == pytest.approx(0.75)


def test_response_time_is_that_of_the_whole_stream(
    client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(exchange, "time", SimpleNamespace(perf_counter=lambda: now))
    with ask(client, "Hello", **WITH_USAGE) as stream:
        now += 2
        next(stream)
        now += 3
        list(stream)

    assert only_row().response_time_ms == 5000


def test_large_embedding_answer_is_recorded_as_served(
    stub: StubProvider, client: openai.OpenAI
) -> None:
    # 100 vectors of 1536 floats as text are 3 MB: more than is parsed as a whole.
    client.embeddings.create(
        model=EMBEDDER, input=[f"text {n}" for n in range(100)], encoding_format="float"
    )

    assert len(stub.journal[0].body) > 1_000_000
    assert_recorded_as_served(rows(), stub.journal)


def test_large_request_keeps_its_requested_model(stub: StubProvider, client: openai.OpenAI) -> None:
    ask(client, 'A long text with "model": "of-the-prompt" in it. ' * 2000)

    assert_recorded_as_served(rows(), stub.journal)
    assert only_row().metadata["requested_model"] == MODEL


def test_stream_without_include_usage_is_unknown_with_the_reason(
    stub: StubProvider, client: openai.OpenAI
) -> None:
    with ask(client, "Hello", stream=True) as stream:
        assert len(list(stream)) > 3

    row = only_row()
    assert_recorded_as_served([row], stub.journal)
    assert row.usage_source == "unknown"
    assert (row.prompt_tokens, row.total_tokens, row.cost) == (None, None, None)
    assert row.success
    assert "include_usage" in row.metadata["unknown"]


def test_request_of_the_site_is_sent_unchanged(client: openai.OpenAI) -> None:
    sent: list[bytes] = []
    with httpx2.Client(event_hooks={"request": [lambda r: sent.append(r.read())]}) as transport:
        own = client.with_options(http_client=transport)
        with ask(own, "Hello", stream=True) as stream:
            list(stream)

    assert "stream_options" not in json.loads(sent[0])


@pytest.mark.parametrize("way", [chat, responses, embeddings])
def test_answer_without_usage_is_unknown_with_the_reason(
    stub: StubProvider, client: openai.OpenAI, way: Way
) -> None:
    way(client, "Hello [stub nousage]")

    row = only_row()
    assert_recorded_as_served([row], stub.journal)
    assert (row.usage_source, row.success) == ("unknown", True)
    assert row.metadata["unknown"] == "no usage in the answer"


@pytest.mark.parametrize("way", [chat, chat_streamed, responses, responses_streamed, embeddings])
def test_error_status_is_recorded_as_failure(
    stub: StubProvider, client: openai.OpenAI, user: User, way: Way
) -> None:
    def check(status: int, kind: type[openai.APIStatusError]) -> None:
        forget()
        stub.clear()
        with (
            ai_usage(section="knowledge_qa", user=user),
            pytest.raises(kind) as caught,
        ):
            way(client, f"Hello [stub status={status}]")

        assert caught.value.status_code == status
        row = only_row()
        assert_recorded_as_served([row], stub.journal)
        assert attributed(row) == ("ada", "knowledge_qa")
        assert (row.success, row.usage_source, row.total_tokens) == (False, "unknown", None)
        assert row.error_message is not None
        assert row.error_message.startswith(f"HTTP {status} ")
        assert "unknown" not in row.metadata

    # The name of the error is up to the SDK: it depends on the status alone.
    check_each(
        check,
        [
            (401, openai.AuthenticationError),
            (429, openai.RateLimitError),
            (500, openai.InternalServerError),
        ],
    )


def test_async_error_status_is_recorded_as_failure(stub: StubProvider, user: User) -> None:
    with pytest.raises(openai.InternalServerError):
        run_async(stub, achat, "Hello [stub status=500]", user)

    row = only_row()
    assert_recorded_as_served([row], stub.journal)
    assert not row.success
    assert attributed(row) == ("ada", "knowledge_qa")


def test_key_echoed_in_an_error_is_redacted_in_the_row_and_the_log(
    client: openai.OpenAI, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", logger="ai_usage_tracker")

    with pytest.raises(openai.AuthenticationError, match=KEY):
        ask(client, f"Hello [stub leak={KEY}]")

    row = only_row()
    assert row.error_message is not None
    assert "Incorrect API key provided: [redacted]" in row.error_message
    assert KEY not in row.error_message + json.dumps(row.metadata) + caplog.text


@pytest.mark.parametrize("way", [chat, chat_streamed, responses, responses_streamed, embeddings])
def test_nothing_of_prompt_or_answer_is_kept(
    stub: StubProvider, client: openai.OpenAI, caplog: pytest.LogCaptureFixture, way: Way
) -> None:
    caplog.set_level("DEBUG", logger="ai_usage_tracker")

    def check(order: str) -> None:
        forget()
        stub.clear()
        caplog.clear()
        with ai_usage(section="chat"), suppress(openai.OpenAIError, ValueError):
            way(client, f"My name is Rumpelstiltskin [stub {order}]")

        # The stub repeats its question in its answer.
        assert "Rumpelstiltskin" in stub.journal[0].prompt
        (kept,) = AIUsageLog.objects.values()
        assert "Rumpel" not in str(kept) + caplog.text

    check_each(check, ["", "status=400", "error_in_stream", "garbage", "cut=1"])


def test_retries_are_one_row_per_attempt(
    stub: StubProvider, client: openai.OpenAI, user: User
) -> None:
    patient = client.with_options(max_retries=3)
    with ai_usage(section="chat", user=user):
        answer = ask(patient, "Hello [stub status=500 times=2]")

    assert answer.choices
    assert_recorded_as_served(rows(), stub.journal)
    assert [row.success for row in rows()] == [False, False, True]
    assert {attributed(row) for row in rows()} == {("ada", "chat")}


def test_async_retries_are_one_row_per_attempt(stub: StubProvider, user: User) -> None:
    run_async(stub, achat, "Hello [stub status=503 times=1]", user, max_retries=2)

    assert_recorded_as_served(rows(), stub.journal)
    assert [row.success for row in rows()] == [False, True]


def test_unreachable_provider_is_recorded_and_raised(dead_stub: StubProvider) -> None:
    with (
        openai.OpenAI(base_url=dead_stub.openai_url, api_key="any", max_retries=0) as client,
        pytest.raises(openai.APIConnectionError) as caught,
    ):
        ask(client, "Hello")

    assert isinstance(caught.value.__cause__, httpx2.ConnectError)
    row = only_row()
    assert (row.provider, row.model_name, row.success) == ("openai", MODEL, False)
    assert row.error_message is not None
    assert row.error_message.startswith("ConnectError: ")
    assert (row.usage_source, row.prompt_tokens) == ("unknown", None)


def test_async_unreachable_provider_is_recorded_and_raised(
    dead_stub: StubProvider, user: User
) -> None:
    with pytest.raises(openai.APIConnectionError):
        run_async(dead_stub, achat, "Hello", user)

    row = only_row()
    assert row.error_message is not None
    assert row.error_message.startswith("ConnectError")
    assert attributed(row) == ("ada", "knowledge_qa")


#: Nothing but the time-out of a read can come first: the answer is not begun for a minute.
NEVER = f"Hello [stub delay={LIMIT:.0f}]"
SOON = httpx2.Timeout(LIMIT, read=0.1)


def test_timeout_is_recorded_and_raised(own_stub: StubProvider) -> None:
    with (
        openai.OpenAI(
            base_url=own_stub.openai_url, api_key="any", max_retries=0, timeout=SOON
        ) as client,
        pytest.raises(openai.APITimeoutError) as caught,
    ):
        ask(client, NEVER)

    assert isinstance(caught.value.__cause__, httpx2.ReadTimeout)
    row = only_row()
    assert row.error_message is not None
    assert row.error_message.startswith("ReadTimeout")
    assert (row.success, row.usage_source) == (False, "unknown")
    assert row.response_time_ms >= 80


def test_async_timeout_is_recorded_and_raised(own_stub: StubProvider, user: User) -> None:
    with pytest.raises(openai.APITimeoutError):
        run_async(own_stub, achat, NEVER, user, timeout=SOON)

    row = only_row()
    assert row.error_message is not None
    assert row.error_message.startswith("ReadTimeout")


@pytest.mark.parametrize("way", STREAMS)
def test_cut_stream_is_recorded_as_failure_and_raised(client: openai.OpenAI, way: Way) -> None:
    def check(order: str) -> None:
        forget()
        with pytest.raises(openai.APIConnectionError):
            way(client, f"Hello [stub {order}]")

        row = only_row()
        assert row.error_message is not None
        assert row.error_message.startswith("RemoteProtocolError: ")
        assert (row.success, row.usage_source, row.total_tokens) == (False, "unknown", None)

    check_each(check, ["cut=3", "cut=3 gzip", "cut=0"])


def test_cut_body_is_recorded_as_failure_and_raised(client: openai.OpenAI) -> None:
    with pytest.raises(openai.APIConnectionError):
        ask(client, "Hello [stub cut=1]")

    row = only_row()
    assert row.error_message is not None
    assert row.error_message.startswith("RemoteProtocolError: ")
    assert (row.success, row.usage_source) == (False, "unknown")


@pytest.mark.parametrize("way", [chat, responses, embeddings])
def test_garbage_body_is_unknown_with_the_reason(
    stub: StubProvider, client: openai.OpenAI, way: Way
) -> None:
    with pytest.raises(json.JSONDecodeError):
        way(client, "Hello [stub garbage]")

    row = only_row()
    assert (row.usage_source, row.total_tokens) == ("unknown", None)
    assert row.metadata["unknown"] == "unreadable answer"
    assert row.provider == "openai"


@pytest.mark.parametrize("way", STREAMS)
def test_garbage_in_a_stream_is_unknown_with_the_reason(client: openai.OpenAI, way: Way) -> None:
    with pytest.raises(json.JSONDecodeError):
        way(client, "Hello [stub garbage]")

    row = only_row()
    assert (row.usage_source, row.total_tokens) == ("unknown", None)
    assert row.metadata["unknown"] == "unreadable event in the stream"


@pytest.mark.parametrize(
    ("way", "raises"),
    [
        (chat_streamed, pytest.raises(openai.APIError, match="The server had an error")),
        (responses_streamed, nullcontext()),  # the SDK hands the event over
    ],
)
def test_error_inside_a_stream_is_recorded_as_failure(
    stub: StubProvider, client: openai.OpenAI, way: Way, raises: AbstractContextManager[Any]
) -> None:
    with raises:
        way(client, "Hello [stub error_in_stream]")

    row = only_row()
    assert (row.success, row.usage_source, row.total_tokens) == (False, "unknown", None)
    assert row.error_message is not None
    assert "The server had an error while processing your request." in row.error_message
    assert by_row(row).response_id == by_stub(stub.journal[0]).response_id


@pytest.mark.parametrize("way", [chat, responses])
def test_error_inside_a_body_is_recorded_as_failure(client: openai.OpenAI, way: Way) -> None:
    way(client, "Hello [stub error_in_stream]")

    row = only_row()
    assert (row.success, row.usage_source) == (False, "unknown")
    assert row.error_message is not None
    assert "The server had an error while processing your request." in row.error_message


class TestAbandoned:
    """A stream that is abandoned reports no usage, and none is invented."""

    @staticmethod
    def assert_unknown() -> None:
        row = only_row()
        assert (row.usage_source, row.total_tokens, row.cost) == ("unknown", None, None)
        assert row.metadata["unknown"] == "stream abandoned"
        assert row.model_name == ANSWERED
        assert attributed(row) == ("ada", "chat")

    def test_closed_stream_is_unknown(self, client: openai.OpenAI, user: User) -> None:
        with ai_usage(section="chat", user=user):
            stream = ask(client, "Hello [stub words=5000]", **WITH_USAGE)
            next(stream)
            stream.close()

        self.assert_unknown()
        assert only_row().success

    def test_broken_off_loop_is_unknown(self, client: openai.OpenAI, user: User) -> None:
        with (
            ai_usage(section="chat", user=user),
            ask(client, "Hello [stub words=5000]", **WITH_USAGE) as stream,
        ):
            for _ in stream:
                break

        self.assert_unknown()

    @leaves_a_socket
    def test_stream_collected_without_close_is_unknown(
        self, client: openai.OpenAI, user: User
    ) -> None:
        with ai_usage(section="chat", user=user):
            stream = ask(client, "Hello [stub words=5000]", **WITH_USAGE)
            next(stream)
            del stream
            gc.collect()

        self.assert_unknown()

    @leaves_a_socket
    def test_stream_collected_after_its_scope_keeps_its_attribution(
        self, client: openai.OpenAI, user: User
    ) -> None:
        with ai_usage(section="chat", user=user):
            stream = ask(client, "Hello [stub words=5000]", **WITH_USAGE)
            next(stream)
        assert rows() == []
        del stream
        gc.collect()

        self.assert_unknown()

    def test_stream_never_read_has_that_reason(self, client: openai.OpenAI, user: User) -> None:
        with ai_usage(section="chat", user=user):
            ask(client, "Hello [stub words=5000]", **WITH_USAGE).close()

        row = only_row()
        assert row.metadata["unknown"] == "body never read"
        assert row.model_name == MODEL

    def test_stream_left_after_its_last_event_is_known(
        self, stub: StubProvider, client: openai.OpenAI
    ) -> None:
        with ask(client, "Hello", **WITH_USAGE) as stream:
            for chunk in stream:
                if chunk.usage:
                    break

        assert_recorded_as_served(rows(), stub.journal)
        assert only_row().usage_source == "reported"

    def test_async_closed_stream_is_unknown(self, stub: StubProvider, user: User) -> None:
        async def main() -> None:
            async with (
                openai.AsyncOpenAI(base_url=stub.openai_url, api_key="any") as client,
                ai_usage(section="chat", user=user),
            ):
                stream = await aask(client, "Hello [stub words=5000]", **WITH_USAGE)
                await anext(stream)
                await stream.close()

        async_to_sync(main)()

        self.assert_unknown()

    @leaves_a_socket
    def test_async_stream_collected_without_close_is_unknown(
        self, stub: StubProvider, user: User
    ) -> None:
        async def main() -> None:
            async with (
                openai.AsyncOpenAI(base_url=stub.openai_url, api_key="any") as client,
                ai_usage(section="chat", user=user) as usage,
            ):
                stream = await aask(client, "Hello [stub words=5000]", **WITH_USAGE)
                await anext(stream)
                del stream
                gc.collect()
                # The loop closes generators later.
                await until(lambda: usage.calls, "the end of the stream")

        async_to_sync(main)()

        self.assert_unknown()

    def test_cancelled_task_is_unknown(self, stub: StubProvider, user: User) -> None:
        async def read(began: asyncio.Event) -> None:
            async with openai.AsyncOpenAI(base_url=stub.openai_url, api_key="any") as client:
                stream = await aask(
                    client, f"Hello [stub words=500 pace={LIMIT:.0f}]", **WITH_USAGE
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

        self.assert_unknown()

    def test_cancelled_request_is_unknown(self, stub: StubProvider, user: User) -> None:
        async def main() -> None:
            async with (
                openai.AsyncOpenAI(base_url=stub.openai_url, api_key="any") as client,
                ai_usage(section="chat", user=user),
            ):
                task = asyncio.create_task(aask(client, NEVER))
                await until(lambda: stub.journal, "the request at the stub")
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task

        async_to_sync(main)()

        row = only_row()
        assert (row.usage_source, row.total_tokens) == ("unknown", None)
        assert attributed(row) == ("ada", "chat")


def test_gathered_calls_are_a_row_each(stub: StubProvider, user: User) -> None:
    async def main() -> None:
        async with (
            openai.AsyncOpenAI(base_url=stub.openai_url, api_key="any") as client,
            ai_usage(section="rag_pipeline", user=user),
        ):
            await asyncio.gather(
                *(achat(client, f"Question {n}") for n in range(10)),
                *(achat_streamed(client, f"Question {n}") for n in range(10, 20)),
                *(aembeddings(client, f"Question {n}") for n in range(20, 25)),
            )

    async_to_sync(main)()

    assert len(rows()) == 25
    assert_recorded_as_served(rows(), stub.journal)
    assert {attributed(row) for row in rows()} == {("ada", "rag_pipeline")}


def close_own_connections() -> None:
    for connection in connections.all(initialized_only=True):
        if connection._thread_ident == threading.get_ident():
            connection.close()


@pytest.mark.django_db(transaction=True)
async def test_async_test_of_a_site_sees_the_rows(stub: StubProvider) -> None:
    async with openai.AsyncOpenAI(base_url=stub.openai_url, api_key="any") as client:
        async with ai_usage(section="chat"):
            await achat(client, "Hello")

        row = await AIUsageLog.objects.aget()
    await sync_to_async(close_own_connections)()  # of the thread that the loop keeps

    assert row.section == "chat"
    assert by_row(row) == by_stub(stub.journal[0])
