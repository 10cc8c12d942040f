"""The anthropic SDK over real HTTP: what is recorded equals what the provider served."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import anthropic
import httpx2
import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User

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

MODEL = "claude-haiku-4-5"
ANSWERED = "claude-haiku-4-5-20251001"
KEY = "sk-ant-api03-Zm9vYmFyYmF6cXV4MTIzNDU2Nzg5"

Way = Callable[[anthropic.Anthropic, str], Any]
AsyncWay = Callable[[anthropic.AsyncAnthropic, str], Awaitable[Any]]


@pytest.fixture
def client(stub: StubProvider) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=stub.anthropic_url, api_key="any", max_retries=0) as client:
        yield client


def run_async(stub: StubProvider, way: AsyncWay, prompt: str, user: User) -> Any:
    async def main() -> Any:
        async with (
            anthropic.AsyncAnthropic(
                base_url=stub.anthropic_url, api_key="any", max_retries=0
            ) as client,
            ai_usage(section="knowledge_qa", user=user),
        ):
            return await way(client, prompt)

    return async_to_sync(main)()


def asked(prompt: str) -> Any:
    return {
        "model": MODEL,
        "max_tokens": 100,
        "messages": [{"role": "user", "content": prompt}],
    }


def plain(client: anthropic.Anthropic, prompt: str) -> Any:
    return client.messages.create(**asked(prompt)).model_dump()


def streamed(client: anthropic.Anthropic, prompt: str) -> Any:
    with client.messages.create(**asked(prompt), stream=True) as stream:
        return [event.model_dump() for event in stream]


def stream_helper(client: anthropic.Anthropic, prompt: str) -> Any:
    with client.messages.stream(**asked(prompt)) as stream:
        text = "".join(stream.text_stream)
        return [text, stream.get_final_message().model_dump()]


def raw_response(client: anthropic.Anthropic, prompt: str) -> Any:
    return client.messages.with_raw_response.create(**asked(prompt)).parse().model_dump()


def streaming_response(client: anthropic.Anthropic, prompt: str) -> Any:
    with client.messages.with_streaming_response.create(**asked(prompt)) as answer:
        return json.loads(b"".join(answer.iter_bytes(7)))


async def aplain(client: anthropic.AsyncAnthropic, prompt: str) -> Any:
    return (await client.messages.create(**asked(prompt))).model_dump()


async def astreamed(client: anthropic.AsyncAnthropic, prompt: str) -> Any:
    async with await client.messages.create(**asked(prompt), stream=True) as stream:
        return [event.model_dump() async for event in stream]


async def astream_helper(client: anthropic.AsyncAnthropic, prompt: str) -> Any:
    async with client.messages.stream(**asked(prompt)) as stream:
        return (await stream.get_final_message()).model_dump()


WAYS = [plain, streamed, stream_helper, raw_response, streaming_response]
ASYNC_WAYS = [aplain, astreamed, astream_helper]


@pytest.mark.parametrize("way", WAYS)
def test_answer_is_recorded_as_served(
    stub: StubProvider, client: anthropic.Anthropic, user: User, way: Way
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
        assert "unknown" not in row.metadata
        assert "partial" not in row.metadata

    check_each(
        check,
        [
            "",
            "gzip fragments",
            "cached=100",
            "cache_write=7",
            "cached=100 cache_write=7 reasoning=4",
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

    check_each(check, ["", "gzip fragments cached=100 cache_write=7"])


@pytest.mark.parametrize("way", [streamed, stream_helper])
def test_input_that_grows_while_it_streams_is_recorded_as_its_end_tells(
    stub: StubProvider, client: anthropic.Anthropic, way: Way
) -> None:
    way(client, "Search the web. [stub usage=12957/152 grow=10263]")

    row = only_row()
    assert (row.prompt_tokens, row.completion_tokens) == (12957, 152)
    assert_recorded_as_served([row], stub.journal)


def test_prompt_tokens_include_those_of_the_cache(client: anthropic.Anthropic) -> None:
    answer = client.messages.create(
        **asked("Hello [stub usage=1000/20 cached=600 cache_write=300]")
    )

    assert answer.usage.input_tokens == 100
    row = only_row()
    assert (row.prompt_tokens, row.cached_tokens) == (1000, 600)
    assert row.usage_details == {"cache_write_tokens": 300, "cache_write_5m_tokens": 300}


@pytest.mark.parametrize("way", WAYS)
def test_answer_to_the_site_is_the_same_as_without_capture(
    stub: StubProvider, client: anthropic.Anthropic, way: Way
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
    stub: StubProvider, client: anthropic.Anthropic, user: User, way: Way
) -> None:
    def check(status: int, kind: type[anthropic.APIStatusError], told: str) -> None:
        forget()
        stub.clear()
        with ai_usage(section="knowledge_qa", user=user), pytest.raises(kind):
            way(client, f"Hello [stub status={status}]")

        row = only_row()
        assert_recorded_as_served([row], stub.journal)
        assert attributed(row) == ("ada", "knowledge_qa")
        assert (row.success, row.usage_source, row.total_tokens) == (False, "unknown", None)
        assert row.error_message is not None
        assert row.error_message.startswith(f"HTTP {status} {told}: ")

    check_each(
        check,
        [
            (401, anthropic.AuthenticationError, "authentication_error"),
            (429, anthropic.RateLimitError, "rate_limit_error"),
            (500, anthropic.InternalServerError, "api_error"),
            (529, anthropic.InternalServerError, "overloaded_error"),
        ],
    )


def test_key_echoed_in_an_error_is_redacted_in_the_row_and_the_log(
    client: anthropic.Anthropic, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", logger="ai_usage_tracker")

    with pytest.raises(anthropic.AuthenticationError, match=KEY):
        plain(client, f"Hello [stub leak={KEY}]")

    row = only_row()
    assert row.error_message == "HTTP 401 authentication_error: invalid x-api-key: [redacted]"
    assert KEY not in json.dumps(row.metadata) + caplog.text


def test_retries_are_one_row_per_attempt(stub: StubProvider, client: anthropic.Anthropic) -> None:
    plain(client.with_options(max_retries=2), "Hello [stub status=529 times=2]")

    assert_recorded_as_served(rows(), stub.journal)
    assert [row.success for row in rows()] == [False, False, True]


def test_unreachable_provider_is_recorded_and_raised(dead_stub: StubProvider) -> None:
    with (
        anthropic.Anthropic(
            base_url=dead_stub.anthropic_url, api_key="any", max_retries=0
        ) as client,
        pytest.raises(anthropic.APIConnectionError) as caught,
    ):
        plain(client, "Hello")

    assert isinstance(caught.value.__cause__, httpx2.ConnectError)
    row = only_row()
    assert (row.provider, row.model_name, row.success) == ("anthropic", MODEL, False)
    assert row.error_message is not None
    assert row.error_message.startswith("ConnectError")


def test_timeout_is_recorded_and_raised(own_stub: StubProvider) -> None:
    with (
        anthropic.Anthropic(
            base_url=own_stub.anthropic_url,
            api_key="any",
            max_retries=0,
            timeout=httpx2.Timeout(LIMIT, read=0.1),
        ) as client,
        pytest.raises(anthropic.APITimeoutError),
    ):
        plain(client, f"Hello [stub delay={LIMIT:.0f}]")

    row = only_row()
    assert row.error_message is not None
    assert row.error_message.startswith("ReadTimeout")
    assert (row.success, row.usage_source) == (False, "unknown")


@pytest.mark.parametrize(("cut", "partial"), [(0, None), (4, {"completion_tokens": 1})])
def test_cut_stream_is_a_failure_with_nothing_final_from_its_start(
    stub: StubProvider, client: anthropic.Anthropic, cut: int, partial: dict[str, int] | None
) -> None:
    with pytest.raises(httpx2.RemoteProtocolError):
        streamed(client, f"Hello [stub cut={cut}]")

    row = only_row()
    assert (row.success, row.usage_source) == (False, "unknown")
    assert (row.prompt_tokens, row.completion_tokens, row.cost) == (None, None, None)
    assert row.error_message is not None
    assert row.error_message.startswith("RemoteProtocolError")
    if partial:
        assert row.metadata["partial"] == {
            "prompt_tokens": stub.journal[0].prompt_tokens,
            **partial,
        }
    else:
        assert "partial" not in row.metadata


def test_garbage_body_is_unknown_with_the_reason(client: anthropic.Anthropic) -> None:
    with pytest.raises(json.JSONDecodeError):
        plain(client, "Hello [stub garbage]")

    row = only_row()
    assert (row.usage_source, row.total_tokens) == ("unknown", None)
    assert row.metadata["unknown"] == "unreadable answer"


def test_garbage_in_a_stream_is_unknown_with_the_reason(client: anthropic.Anthropic) -> None:
    with pytest.raises(json.JSONDecodeError):
        streamed(client, "Hello [stub garbage]")

    assert only_row().metadata["unknown"] == "unreadable event in the stream"


@pytest.mark.parametrize("way", [plain, streamed])
def test_answer_without_usage_is_unknown_with_the_reason(
    stub: StubProvider, client: anthropic.Anthropic, user: User, way: Way
) -> None:
    with client.messages.with_streaming_response.create(
        **asked("Hello [stub nousage]"), stream=way is streamed
    ) as answer:
        answer.read()

    row = only_row()
    assert_recorded_as_served([row], stub.journal)
    assert (row.usage_source, row.success) == ("unknown", True)
    assert row.metadata["unknown"] == "no usage in the answer"


def test_error_inside_a_stream_is_recorded_as_failure(client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.APIStatusError, match="The server had an error"):
        streamed(client, "Hello [stub error_in_stream]")

    row = only_row()
    assert (row.success, row.usage_source) == (False, "unknown")
    assert (row.prompt_tokens, row.completion_tokens) == (None, None)
    assert row.metadata["partial"]["completion_tokens"] == 1
    assert row.error_message is not None
    assert row.error_message.startswith("overloaded_error: The server had an error")


def test_error_inside_a_body_is_recorded_as_failure(client: anthropic.Anthropic) -> None:
    plain(client, "Hello [stub error_in_stream]")

    row = only_row()
    assert (row.success, row.usage_source) == (False, "unknown")
    assert row.error_message is not None
    assert "The server had an error" in row.error_message


class TestAbandoned:
    """The output count of `message_start` is a placeholder: partial, never final."""

    PROMPT = "Hello [stub usage=2694/4000 words=4000]"

    @staticmethod
    def assert_partial(*, success: bool = True) -> None:
        row = only_row()
        assert (row.usage_source, row.success) == ("unknown", success)
        assert (row.prompt_tokens, row.completion_tokens) == (None, None)
        assert (row.total_tokens, row.cost) == (None, None)
        assert row.metadata["unknown"] == "stream abandoned"
        assert row.metadata["partial"] == {"prompt_tokens": 2694, "completion_tokens": 1}
        assert row.model_name == ANSWERED
        assert attributed(row) == ("ada", "chat")

    def test_closed_stream_is_partial(self, client: anthropic.Anthropic, user: User) -> None:
        with ai_usage(section="chat", user=user):
            stream = client.messages.create(**asked(self.PROMPT), stream=True)
            next(stream)
            next(stream)
            stream.close()

        self.assert_partial()

    def test_left_helper_is_partial(self, client: anthropic.Anthropic, user: User) -> None:
        with (
            ai_usage(section="chat", user=user),
            client.messages.stream(**asked(self.PROMPT)) as stream,
        ):
            next(stream.text_stream)

        self.assert_partial()

    @leaves_a_socket
    def test_stream_collected_without_close_is_partial(
        self, client: anthropic.Anthropic, user: User
    ) -> None:
        with ai_usage(section="chat", user=user):
            stream = client.messages.create(**asked(self.PROMPT), stream=True)
            next(stream)
            next(stream)
            del stream
            gc.collect()

        self.assert_partial()

    def test_cancelled_task_is_partial(self, stub: StubProvider, user: User) -> None:
        async def read(began: asyncio.Event) -> None:
            async with anthropic.AsyncAnthropic(
                base_url=stub.anthropic_url, api_key="any"
            ) as client:
                order = self.PROMPT.replace("words", f"pace={LIMIT:.0f} words")
                async for _ in await client.messages.create(**asked(order), stream=True):
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

    def test_stream_left_after_its_stop_reason_is_known(
        self, stub: StubProvider, client: anthropic.Anthropic
    ) -> None:
        with client.messages.create(**asked("Hello"), stream=True) as stream:
            for event in stream:
                if event.type == "message_delta":
                    break

        assert_recorded_as_served(rows(), stub.journal)
        assert only_row().usage_source == "reported"
