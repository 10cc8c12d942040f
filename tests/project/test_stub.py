"""The stub provider against the real SDKs: it must be right before anything is measured by it."""

from __future__ import annotations

import asyncio
import codecs
import gzip
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.request import Request, urlopen

import anthropic
import httpx
import openai
import pytest
import requests
from genai_prices import Usage, calc_price
from google import genai
from google.genai import errors as google_errors

from project.stub import StubProvider
from project.stub.anthropic_wire import Messages
from project.stub.google_wire import GenerateContent
from project.stub.openai_wire import ChatCompletions
from project.stub.remote import fetch_journal

ROOT = Path(__file__).parents[2]
#: Seconds that a client waits for what comes at once; a busy machine may take its time.
PATIENCE = 60
ABROAD = "Grüße aus Zürich — 東京"


@pytest.fixture(autouse=True)
def _capture_off(settings: Any) -> None:
    """The stub is tested here, and nothing else."""
    settings.AI_USAGE_ENABLED = False


@pytest.fixture
def stub() -> Iterator[StubProvider]:
    with StubProvider() as provider:
        yield provider


@pytest.fixture
def openai_client(stub: StubProvider) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=stub.openai_url, api_key="any") as client:
        yield client


@pytest.fixture
def anthropic_client(stub: StubProvider) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=stub.anthropic_url, api_key="any") as client:
        yield client


@pytest.fixture
def google_client(stub: StubProvider) -> Iterator[genai.Client]:
    client = genai.Client(api_key="any", http_options={"base_url": stub.google_url})
    yield client
    client.close()


@dataclass
class Waits:
    """What a stub waits for instead of the time: how long it was asked to, and the end of it."""

    seconds: list[float] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def wait(self, seconds: float) -> bool:
        self.seconds.append(seconds)
        return self.over.wait(PATIENCE)


@pytest.fixture
def waits(stub: StubProvider, monkeypatch: pytest.MonkeyPatch) -> Iterator[Waits]:
    """The delays and paces of the stub, which last until the test sets `over`."""
    waits = Waits()
    assert stub._server
    monkeypatch.setattr(stub._server.ended, "wait", waits.wait)
    yield waits
    waits.over.set()


def connections(stub: StubProvider) -> set[socket.socket]:
    assert stub._server
    return stub._server._connections


def until(is_so: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline, f"Waited {PATIENCE} s for {what}"
        time.sleep(0.005)


def messages(prompt: str) -> Any:
    return [{"role": "user", "content": prompt}]


def ask(client: openai.OpenAI, prompt: str, **options: Any) -> Any:
    return client.chat.completions.create(model="gpt-4o-mini", messages=messages(prompt), **options)


def ask_for_stream(client: openai.OpenAI, prompt: str, *, include_usage: bool = True) -> list[Any]:
    options = {"stream_options": {"include_usage": True}} if include_usage else {}
    with ask(client, prompt, stream=True, **options) as stream:
        return list(stream)


def ask_claude(client: anthropic.Anthropic, prompt: str, **options: Any) -> Any:
    return client.messages.create(
        model="claude-haiku-4-5", max_tokens=100, messages=messages(prompt), **options
    )


def only(stub: StubProvider) -> Any:
    (served,) = stub.journal
    return served


class TestOpenAIChat:
    def test_plain_reports_what_the_journal_says(self, stub, openai_client):
        answer = ask(openai_client, "How are you? [stub cached=20 reasoning=9]")

        served = only(stub)
        assert answer.model == served.model == "gpt-4o-mini-2024-07-18"
        assert answer.id == served.response_id
        assert answer.usage.prompt_tokens == served.prompt_tokens
        assert answer.usage.completion_tokens == served.completion_tokens
        assert answer.usage.prompt_tokens_details.cached_tokens == served.cached_tokens == 20
        assert (
            answer.usage.completion_tokens_details.reasoning_tokens == served.reasoning_tokens == 9
        )
        assert answer.usage.total_tokens == served.prompt_tokens + served.completion_tokens
        assert "How are you" in answer.choices[0].message.content
        assert (served.provider, served.operation) == ("openai", "chat")
        assert (served.requested_model, served.status) == ("gpt-4o-mini", 200)
        assert served.completed
        assert not served.streamed
        assert not served.failed
        assert json.loads(served.body)["id"] == answer.id

    @pytest.mark.parametrize("how", ["", "fragments", "gzip fragments"])
    def test_stream_reports_what_the_journal_says(self, stub, openai_client, how):
        *chunks, last = ask_for_stream(openai_client, f"How are you? [stub {how}]")

        served = only(stub)
        assert served.streamed
        assert served.completed
        assert last.choices == []
        assert last.usage.prompt_tokens == served.prompt_tokens
        assert last.usage.completion_tokens == served.completion_tokens
        assert all(chunk.usage is None for chunk in chunks)
        assert {chunk.id for chunk in chunks} == {served.response_id}
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        assert "How are you" in text
        assert (ABROAD in text) == ("fragments" in how)
        assert [chunk.choices[0].finish_reason for chunk in chunks][-1] == "stop"

    def test_stream_without_include_usage_tells_no_usage(self, stub, openai_client):
        chunks = ask_for_stream(openai_client, "Hello", include_usage=False)

        assert all(chunk.usage is None and chunk.choices for chunk in chunks)
        served = only(stub)
        assert served.completed
        assert served.prompt_tokens is None
        assert served.completion_tokens is None

    def test_nousage_leaves_the_usage_out(self, stub, openai_client):
        assert ask(openai_client, "Hello [stub nousage]").usage is None
        assert not [c for c in ask_for_stream(openai_client, "Hello [stub nousage]") if c.usage]
        assert {served.prompt_tokens for served in stub.journal} == {None}

    def test_counts_depend_on_the_prompt_alone(self, stub, openai_client):
        prompts = ["One", "One", "Two", "A much longer question about something"]
        totals = [ask(openai_client, prompt).usage.total_tokens for prompt in prompts]

        assert totals[0] == totals[1]
        assert len(set(totals)) == 3

    def test_usage_can_be_forced(self, stub, openai_client):
        usage = ask(openai_client, "Hello [stub usage=123456789/7]").usage

        assert (usage.prompt_tokens, usage.completion_tokens) == (123456789, 7)

    def test_words_order_a_long_answer(self, stub, openai_client):
        assert len(ask(openai_client, "[stub words=500]").choices[0].message.content.split()) == 500

    def test_history_of_the_assistant_orders_nothing(self, stub, openai_client):
        history = [
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": "You said [stub status=500]"},
            {"role": "user", "content": [{"type": "text", "text": "And now?"}]},
        ]
        openai_client.chat.completions.create(model="gpt-4o", messages=history)

        assert only(stub).status == 200
        assert "You said" in only(stub).prompt

    async def test_async_serves_many_at_once(self, stub):
        async with openai.AsyncOpenAI(base_url=stub.openai_url, api_key="any") as client:
            answers: list[Any] = await asyncio.gather(
                *(
                    client.chat.completions.create(model="gpt-4o", messages=messages(f"Call {n}"))
                    for n in range(25)
                )
            )

        told = {(a.id, a.usage.prompt_tokens, a.usage.completion_tokens) for a in answers}
        assert told == {
            (served.response_id, served.prompt_tokens, served.completion_tokens)
            for served in stub.journal
        }
        assert [served.number for served in stub.journal] == list(range(1, 26))


class TestOpenAIResponsesAndEmbeddings:
    def test_responses_plain_reports_what_the_journal_says(self, stub, openai_client):
        answer = openai_client.responses.create(
            model="gpt-5-mini", instructions="Be brief.", input="Hello [stub reasoning=30 cached=3]"
        )

        served = only(stub)
        assert answer.id == served.response_id
        assert answer.model == served.model == "gpt-5-mini-2025-08-07"
        assert answer.usage.input_tokens == served.prompt_tokens
        assert answer.usage.output_tokens == served.completion_tokens
        assert answer.usage.output_tokens_details.reasoning_tokens == served.reasoning_tokens == 30
        assert answer.usage.input_tokens_details.cached_tokens == served.cached_tokens == 3
        assert "Hello" in answer.output_text
        assert served.prompt.startswith("Be brief.")

    @pytest.mark.parametrize("how", ["", "gzip fragments"])
    def test_responses_stream_ends_with_the_whole_response(self, stub, openai_client, how):
        with openai_client.responses.create(
            model="gpt-5-mini", input=f"Hello [stub {how}]", stream=True
        ) as stream:
            events = list(stream)

        served = only(stub)
        assert events[0].type == "response.created"
        assert events[-1].type == "response.completed"
        assert [event.sequence_number for event in events] == list(range(len(events)))
        usage = events[-1].response.usage
        assert (usage.input_tokens, usage.output_tokens) == (
            served.prompt_tokens,
            served.completion_tokens,
        )
        deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
        assert "".join(deltas) == events[-1].response.output_text

    def test_responses_stream_helper_understands_it(self, openai_client):
        with openai_client.responses.stream(model="gpt-5-mini", input="Hello") as stream:
            final = stream.get_final_response()

        assert "Hello" in final.output_text

    @pytest.mark.parametrize("encoding", ["base64", "float"])
    def test_embeddings_report_what_the_journal_says(self, stub, openai_client, encoding):
        answer = openai_client.embeddings.create(
            model="text-embedding-3-small",
            input=["tea", "coffee"],
            dimensions=64,
            encoding_format=encoding,
        )

        served = only(stub)
        assert served.operation == "embeddings"
        assert answer.usage.prompt_tokens == served.prompt_tokens
        assert served.completion_tokens is None
        assert served.prompt == "tea\ncoffee"
        assert served.response_id == ""

    def test_embeddings_are_vectors_of_the_text(self, openai_client):
        first, second, third = (
            openai_client.embeddings.create(model="text-embedding-3-small", input=text)
            for text in ("tea", "tea", [1, 2, 3])
        )

        assert len(first.data[0].embedding) == 1536
        assert first.data[0].embedding == second.data[0].embedding != third.data[0].embedding


class TestAnthropic:
    def test_plain_reports_what_the_journal_says(self, stub, anthropic_client):
        prompt = "Hello [stub cached=100 cache_write=7 reasoning=4]"
        answer = ask_claude(anthropic_client, prompt, system="Be brief.")

        served, usage = only(stub), answer.usage
        assert answer.model == served.model == "claude-haiku-4-5-20251001"
        assert answer.id == served.response_id
        assert served.prompt == f"Be brief.\n{prompt}"
        # Anthropic's input excludes what the cache had; the journal's prompt includes it.
        assert usage.input_tokens == served.prompt_tokens - 107
        assert usage.cache_read_input_tokens == served.cached_tokens == 100
        assert usage.cache_creation_input_tokens == served.cache_write_tokens == 7
        assert usage.output_tokens == served.completion_tokens
        assert usage.output_tokens_details.thinking_tokens == served.reasoning_tokens == 4

    @pytest.mark.parametrize("how", ["", "gzip fragments", "cached=9", "grow=1000"])
    def test_stream_reports_what_the_journal_says(self, stub, anthropic_client, how):
        with anthropic_client.messages.stream(
            model="claude-haiku-4-5", max_tokens=100, messages=messages(f"Hello [stub {how}]")
        ) as stream:
            text, usage = stream.get_final_text(), stream.get_final_message().usage

        served = only(stub)
        assert "Hello" in text
        assert usage.input_tokens + usage.cache_read_input_tokens == served.prompt_tokens
        assert usage.output_tokens == served.completion_tokens
        assert served.completed

    def test_stream_start_holds_a_placeholder(self, stub, anthropic_client):
        with ask_claude(anthropic_client, "Hello [stub grow=1000]", stream=True) as stream:
            start, *_, delta, _ = list(stream)

        assert start.message.usage.output_tokens == 1
        assert delta.usage.input_tokens == start.message.usage.input_tokens + 1000

    def test_placeholder_is_no_report(self, stub, anthropic_client):
        with (
            ask_claude(anthropic_client, "Hello [stub cut=4]", stream=True) as stream,
            pytest.raises(Exception, match="incomplete chunked read"),
        ):
            list(stream)

        served = only(stub)
        assert served.prompt_tokens is not None
        assert served.completion_tokens is None
        assert not served.completed


class TestGemini:
    def test_plain_reports_what_the_journal_says(self, stub, google_client):
        answer = google_client.models.generate_content(
            model="gemini-flash-latest", contents="Hello [stub cached=3 reasoning=20]"
        )

        served, usage = only(stub), answer.usage_metadata
        assert answer.model_version == served.model == "gemini-2.5-flash-preview-09-2025"
        assert served.requested_model == "gemini-flash-latest"
        assert answer.response_id == served.response_id
        assert usage.prompt_token_count == served.prompt_tokens
        assert usage.thoughts_token_count == served.reasoning_tokens == 20
        # Google's candidates exclude the thoughts; the journal's completion includes them.
        assert usage.candidates_token_count == served.completion_tokens - 20
        assert usage.cached_content_token_count == served.cached_tokens == 3
        assert "Hello" in answer.text

    @pytest.mark.parametrize("how", ["", "gzip fragments", "reasoning=7"])
    def test_stream_reports_what_the_journal_says(self, stub, google_client, how):
        chunks = list(
            google_client.models.generate_content_stream(
                model="gemini-2.5-flash", contents=f"Hello [stub {how}]"
            )
        )

        served, usage = only(stub), chunks[-1].usage_metadata
        assert served.streamed
        assert usage.prompt_token_count == served.prompt_tokens
        thoughts = usage.thoughts_token_count or 0
        assert usage.candidates_token_count + thoughts == served.completion_tokens
        assert "Hello" in "".join(chunk.text for chunk in chunks)

    @pytest.mark.parametrize("how", ["", "gzip fragments"])
    def test_stream_without_sse_is_one_array(self, stub, how):
        answer = requests.post(
            f"{stub.google_url}/v1beta/models/gemini-2.5-flash:streamGenerateContent",
            json={"contents": [{"parts": [{"text": f"Hello [stub {how}]"}]}]},
            timeout=PATIENCE,
        )

        served, chunks = only(stub), answer.json()
        assert len(chunks) > 3
        assert chunks[-1]["usageMetadata"]["candidatesTokenCount"] == served.completion_tokens

    async def test_async_is_served(self, stub, google_client):
        answer = await google_client.aio.models.generate_content(
            model="gemini-2.5-flash", contents="Hello"
        )
        await google_client.aio.aclose()

        assert answer.usage_metadata.prompt_token_count == only(stub).prompt_tokens


class TestTrouble:
    """Each provider's own shape of trouble, as its SDK understands it."""

    def test_openai_status_raises(self, stub, openai_client):
        errors: dict[int, Any] = {
            400: openai.BadRequestError,
            401: openai.AuthenticationError,
            404: openai.NotFoundError,
            429: openai.RateLimitError,
            500: openai.InternalServerError,
        }
        client = openai_client.with_options(max_retries=0)
        for (status, error), stream in product(errors.items(), (False, True)):
            stub.clear()
            with pytest.raises(error) as raised:
                ask(client, f"Hello [stub status={status}]", stream=stream)

            assert raised.value.status_code == status
            assert raised.value.body["message"]
            served = only(stub)
            assert (served.status, served.model, served.prompt_tokens) == (status, "", None)
            assert served.failed
            assert not served.streamed

    def test_anthropic_status_raises(self, stub, anthropic_client):
        with pytest.raises(anthropic.RateLimitError) as raised:
            ask_claude(anthropic_client.with_options(max_retries=0), "Hello [stub status=429]")

        assert "rate_limit_error" in str(raised.value.body)

    def test_google_status_raises(self, stub, google_client):
        with pytest.raises(google_errors.ServerError) as raised:
            google_client.models.generate_content(
                model="gemini-2.5-flash", contents="Hello [stub status=503]"
            )

        assert (raised.value.code, raised.value.status) == (503, "UNAVAILABLE")

    def test_times_lets_a_retry_succeed(self, stub, openai_client, anthropic_client, monkeypatch):
        pauses: list[float] = []
        clock = SimpleNamespace(**{**vars(time), "sleep": pauses.append})
        for sdk in (openai, anthropic):
            monkeypatch.setattr(sdk._base_client, "time", clock)
        ask(openai_client, "Hello [stub status=429 times=2]")
        ask_claude(anthropic_client, "Hello [stub status=529 times=1]")
        ask(openai_client, "Hello [stub cut=1 times=1]")

        assert [s.status for s in stub.journal] == [429, 429, 200, 529, 200, 200, 200]
        assert [s.completed for s in stub.journal][-2:] == [False, True]
        # The answers named a short pause, and the SDKs kept to it where there was an answer.
        assert pauses[:-1] == [0.02] * 3
        assert len(pauses) == 4

    def test_clear_forgets_how_often_a_prompt_came(self, stub, openai_client):
        for _ in range(2):
            stub.clear()
            ask(openai_client, "Hello [stub status=500 times=1]")
            assert [served.status for served in stub.journal] == [500, 200]

    @pytest.mark.parametrize(
        ("prompt", "status"), [("[stub leak=sk-secret123]", 401), ("[stub leak=k status=403]", 403)]
    )
    def test_leak_echoes_the_key(self, stub, openai_client, prompt, status):
        with pytest.raises(openai.APIStatusError, match=r"sk-secret123|: k\b") as raised:
            ask(openai_client, prompt)

        assert raised.value.status_code == status

    def test_leak_of_the_others(self, stub, anthropic_client, google_client):
        with pytest.raises(anthropic.AuthenticationError, match="sk-ant-1"):
            ask_claude(anthropic_client, "[stub leak=sk-ant-1]")
        with pytest.raises(google_errors.ClientError, match="AIza-1"):
            google_client.models.generate_content(
                model="gemini-2.5-flash", contents="[stub leak=AIza-1 status=400]"
            )

    def test_cut_breaks_a_stream_off(self, stub, openai_client):
        with (
            ask(openai_client, "Hello [stub cut=3]", stream=True) as stream,
            pytest.raises(openai.APIConnectionError),
        ):
            for number, _ in enumerate(stream, 1):  # noqa: B007
                pass

        served = only(stub)
        assert number == 3
        assert served.body.count(b"data: ") == 3
        assert not served.completed
        assert not served.failed

    @pytest.mark.parametrize("how", ["cut=1", "cut=0"])
    def test_cut_breaks_a_plain_body_off(self, stub, openai_client, how):
        with pytest.raises(openai.APIConnectionError):
            ask(openai_client.with_options(max_retries=0), f"Hello [stub {how}]")

        served = only(stub)
        assert not served.completed
        assert served.prompt_tokens is None
        assert bool(served.body) == (how == "cut=1")

    def test_garbage_cannot_be_parsed(self, stub, openai_client, anthropic_client, google_client):
        prompt = "Hello [stub garbage]"
        with pytest.raises(json.JSONDecodeError):
            ask(openai_client, prompt)
        with pytest.raises(json.JSONDecodeError):
            ask_for_stream(openai_client, prompt)
        with (
            ask_claude(anthropic_client, prompt, stream=True) as stream,
            pytest.raises(json.JSONDecodeError),
        ):
            list(stream)
        with pytest.raises(google_errors.UnknownApiResponseError):
            list(
                google_client.models.generate_content_stream(
                    model="gemini-2.5-flash", contents=prompt
                )
            )

        for served in stub.journal:
            assert served.status == 200
            assert served.completed
            assert (served.model, served.prompt_tokens) == ("", None)

    def test_error_in_stream_of_openai(self, stub, openai_client):
        seen = []
        with (
            ask(openai_client, "Hello [stub error_in_stream]", stream=True) as stream,
            pytest.raises(openai.APIError, match="server had an error"),
        ):
            seen.extend(stream)
        with (
            openai_client.responses.create(
                model="gpt-5-mini", input="Hello [stub error_in_stream]", stream=True
            ) as events,
        ):
            kinds = [event.type for event in events]

        assert kinds[-2:] == ["error", "response.failed"]
        assert [(s.status, s.failed, s.completed) for s in stub.journal] == [(200, True, True)] * 2

    def test_error_in_stream_of_anthropic(self, stub, anthropic_client):
        with (
            ask_claude(anthropic_client, "Hello [stub error_in_stream]", stream=True) as stream,
            pytest.raises(anthropic.APIStatusError, match="overloaded_error"),
        ):
            list(stream)

        assert (only(stub).status, only(stub).failed) == (200, True)

    def test_error_in_stream_of_google(self, stub, google_client):
        with pytest.raises(google_errors.ServerError):
            list(
                google_client.models.generate_content_stream(
                    model="gemini-2.5-flash", contents="Hello [stub error_in_stream]"
                )
            )

        assert (only(stub).status, only(stub).failed) == (200, True)

    def test_error_in_a_plain_answer_has_status_200(self, stub):
        answer = requests.post(
            f"{stub.openai_url}/chat/completions",
            json={"model": "gpt-4o", "messages": messages("Hello [stub error_in_stream]")},
            timeout=PATIENCE,
        )

        assert answer.status_code == 200
        assert answer.json()["error"]["type"] == "server_error"
        assert only(stub).failed

    def test_delay_outlasts_an_impatient_client(self, stub, openai_client, waits):
        timeout = httpx.Timeout(PATIENCE, read=0.1)
        client = openai_client.with_options(max_retries=0, timeout=timeout)
        with pytest.raises(openai.APITimeoutError):
            ask(client, "Hello [stub delay=0.3]")
        waits.over.set()
        until(lambda: stub.journal and not connections(stub), "the stub to notice that it left")

        served = only(stub)
        assert not served.completed
        assert served.body == b""
        assert waits.seconds == [0.3]

    def test_pace_spreads_a_stream(self, openai_client, waits):
        waits.over.set()
        chunks = ask_for_stream(openai_client, "Hello [stub pace=0.02]")

        # One before every event but the first; the last, "[DONE]", the SDK keeps to itself.
        assert waits.seconds == [0.02] * len(chunks)

    def test_abandoned_stream_is_not_completed(self, stub, openai_client, waits):
        with ask(openai_client, "Hello [stub pace=0.02]", stream=True) as stream:
            next(iter(stream))
        waits.over.set()
        until(lambda: not connections(stub), "the stub to notice that the client left")

        assert not only(stub).completed
        assert waits.seconds == [0.02]

    def test_unknown_directive_is_refused(self, stub, openai_client):
        complaints = [
            ("stauts=429", "must be one of: status, times"),
            ("status=200", "from 400 to 599"),
            ("status=many", "an invalid value"),
            ("status", "an invalid value"),
            ("delay=100", "an invalid value"),
            ("leak=", "an invalid value"),
            ("ends=lf", "an invalid value"),
            ("gzip=1", "must have no value"),
            ("usage=1", "an invalid value"),
            ("usage=1/1 cached=2", "are fewer than"),
            ("usage=9/1 reasoning=2", "are fewer than"),
            ("grow=3", "Anthropic only"),
        ]
        for order, complaint in complaints:
            stub.clear()
            with pytest.raises(openai.BadRequestError, match=complaint):
                ask(openai_client, f"Hello [stub {order}]")

            assert only(stub).status == 400, order

    def test_directive_that_the_format_does_not_support_is_refused(
        self, stub, openai_client, google_client
    ):
        with pytest.raises(openai.BadRequestError, match="not supported for embeddings"):
            openai_client.embeddings.create(model="text-embedding-3-small", input="[stub cached=3]")
        with pytest.raises(google_errors.ClientError, match="cache_write"):
            google_client.models.generate_content(
                model="gemini-2.5-flash", contents="[stub cache_write=3]"
            )


class TestWire:
    def test_stream_in_the_form_of_a_gateway(self, stub):
        forms = [
            ("type=text/plain ends=cr", "text/plain", b"data: [DONE]\r\r"),
            ("type=none ends=crlf bom", None, b"data: [DONE]\r\n\r\n"),
        ]
        for form, content_type, end in forms:
            stub.clear()
            body = {"model": "m", "messages": messages(f"Hello [stub {form}]"), "stream": True}
            answer = httpx.post(f"{stub.openai_url}/chat/completions", json=body, timeout=PATIENCE)

            assert answer.headers.get("content-type") == content_type
            assert answer.content.endswith(end)
            assert answer.content.startswith(codecs.BOM_UTF8) == ("bom" in form)
            assert only(stub).body == answer.content

    @pytest.mark.parametrize("how", ["", "gzip", "fragments", "gzip fragments"])
    def test_journal_has_the_bytes_of_the_body(self, stub, how):
        for stream in (False, True):
            stub.clear()
            body = {"model": "gpt-4o", "messages": messages(f"Hello [stub {how}]")}
            with (
                httpx.Client(timeout=PATIENCE) as client,
                client.stream(
                    "POST", f"{stub.openai_url}/chat/completions", json={**body, "stream": stream}
                ) as response,
            ):
                received = list(response.iter_raw())

            served = only(stub)
            assert b"".join(received) == served.body
            assert served.completed
            assert served.streamed == stream
            if "gzip" in how:
                assert response.headers["Content-Encoding"] == "gzip"
                assert b"gpt-4o-2024-08-06" in gzip.decompress(served.body)
            if "fragments" in how:
                assert max(map(len, received)) <= 7

    def test_connections_are_kept_alive(self, stub):
        connection = HTTPConnection(stub.host_port, timeout=PATIENCE)
        sockets = set()
        for path, stream in (("chat/completions", True), ("nothing", False), ("responses", False)):
            body = {"model": "gpt-4o", "messages": messages("Hello"), "stream": stream}
            connection.request("POST", f"/openai/v1/{path}", json.dumps(body))
            sockets.add(connection.sock)
            connection.getresponse().read()
        connection.close()

        assert len(sockets) == 1

    def test_gzip_stream_arrives_event_by_event(self, stub, waits):
        body = {
            "model": "gpt-4o",
            "messages": messages("Hello [stub gzip pace=5]"),
            "stream": True,
        }
        with (
            # Shorter than the stub waits for `over`, which nobody sets here.
            httpx.Client(timeout=PATIENCE / 2) as client,
            client.stream("POST", f"{stub.openai_url}/chat/completions", json=body) as response,
        ):
            assert next(response.iter_lines()).startswith("data: ")

    def test_bad_request_is_refused(self, stub):
        bad: list[tuple[str, bytes, int]] = [
            ("/openai/v1/chat/completions", b"{", 400),
            ("/openai/v1/chat/completions", b"[]", 400),
            ("/openai/v1/chat/completions", b'{"model": "gpt-4o"}', 400),
            ("/openai/v1/responses", b'{"model": "gpt-4o"}', 400),
            ("/openai/v1/embeddings", b'{"model": "gpt-4o"}', 400),
            ("/anthropic/v1/messages", b'{"model": "claude-haiku-4-5", "messages": [1]}', 400),
            ("/google/v1beta/models/gemini-2.5-flash:generateContent", b"{}", 400),
            ("/openai/v1/unknown", b"{}", 404),
        ]
        for path, body, status in bad:
            stub.clear()
            answer = requests.post(f"{stub.url}{path}", data=body, timeout=PATIENCE)

            assert answer.status_code == status, (path, body)
            assert answer.json()["error"]["message"], (path, body)
            assert len(stub.journal) == (status == 400), (path, body)

    def test_lone_surrogate_is_answered(self, stub):
        body = b'{"model": "gpt-4o", "messages": [{"role": "user", "content": "\\ud800!"}]}'
        answer = requests.post(f"{stub.openai_url}/chat/completions", data=body, timeout=PATIENCE)

        assert answer.json()["choices"]
        assert fetch_journal(stub.url) == stub.journal

    def test_body_in_chunks_is_read(self, stub):
        pieces = [b'{"model": "gpt-4o", ', b'"input": "Hel', b'lo"}']
        answer = requests.post(f"{stub.openai_url}/responses", data=iter(pieces), timeout=PATIENCE)

        assert answer.json()["usage"]["input_tokens"] == only(stub).prompt_tokens
        assert only(stub).prompt == "Hello"

    def test_body_without_an_end_is_refused(self, stub):
        endings = {
            b"\r\n": b"411",
            b"Content-Length: many\r\n\r\n": b"411",
            b"Transfer-Encoding: chunked\r\n\r\nmany\r\n": b"400",
        }
        host, port = stub.host_port.split(":")
        told = {}
        for end in endings:
            with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
                connection.sendall(b"POST /openai/v1/responses HTTP/1.1\r\n" + end)
                told[end] = connection.makefile("rb").read().split(b" ", 2)[1]

        assert told == endings

    def test_chunks_may_have_extensions_and_trailers(self, stub):
        host, port = stub.host_port.split(":")
        body = b'{"model": "gpt-4o", "input": "Hello"}'
        chunks = b"%x;name=value\r\n%b\r\n0\r\nTrailer: 1\r\n\r\n" % (len(body), body)
        with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
            connection.sendall(
                b"POST /openai/v1/responses HTTP/1.1\r\nTransfer-Encoding: chunked\r\n"
                b"Connection: close\r\n\r\n" + chunks
            )
            answer = connection.makefile("rb").read()

        assert answer.startswith(b"HTTP/1.1 200")
        assert only(stub).prompt == "Hello"


class TestProvider:
    @pytest.mark.parametrize(
        ("provider", "endpoint"),
        [("openai", ChatCompletions), ("anthropic", Messages), ("google", GenerateContent)],
    )
    def test_answered_models_have_a_price(self, provider, endpoint):
        for model in {*endpoint.models.values()}:
            assert calc_price(Usage(input_tokens=1), model, provider_id=provider).total_price

    def test_journal_is_a_copy(self, stub, openai_client):
        ask(openai_client, "Hello")
        stub.journal.clear()

        assert len(stub.journal) == 1

    @pytest.mark.server
    def test_journal_keeps_the_last_ones(self):
        with (
            StubProvider(keep=2) as stub,
            openai.OpenAI(base_url=stub.openai_url, api_key="any") as client,
        ):
            for _ in range(3):
                ask(client, "Hello")

            assert [served.number for served in stub.journal] == [2, 3]

    def test_journal_is_informative_over_http(self, stub, openai_client):
        ask_for_stream(openai_client, "Hello, Tōkyō")

        assert fetch_journal(stub.url) == stub.journal
        with urlopen(Request(f"{stub.url}/journal", method="DELETE"), timeout=PATIENCE) as response:
            assert json.load(response) == []
        assert stub.journal == []

    def test_other_pages_are_missing(self, stub):
        assert requests.get(f"{stub.url}/", timeout=PATIENCE).json()["status"] == "ok"
        assert requests.get(f"{stub.url}/nothing", timeout=PATIENCE).status_code == 404
        assert requests.delete(f"{stub.url}/nothing", timeout=PATIENCE).status_code == 404

    def test_stopped_stub_answers_nobody(self, stub, openai_client):
        client = openai_client.with_options(max_retries=0)
        ask(client, "Hello")
        stub.stop()
        stub.stop()

        with pytest.raises(openai.APIConnectionError):
            ask(client, "Hello")
        assert len(stub.journal) == 1

    def test_address_is_unknown_before_the_start(self):
        with pytest.raises(RuntimeError, match="not been started"):
            _ = StubProvider().url

    @pytest.mark.process
    def test_program_serves_until_it_is_informative_to_end(self):
        command = [sys.executable, "-u", "-m", "project.stub", "--port", "0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as program:
            assert program.stdout
            url = program.stdout.readline().strip()
            try:
                assert url.startswith("http"), "It ended; what it said is in the captured output."
                with openai.OpenAI(base_url=f"{url}/openai/v1", api_key="any") as client:
                    answer = ask(client, "Hello")
                (served,) = fetch_journal(url)
            finally:
                for _ in range(50):  # an impatient operator
                    program.terminate()
                said, _ = program.communicate(timeout=120)

        assert program.returncode == 0, said
        assert served.prompt_tokens == answer.usage.prompt_tokens

    def test_client_that_hangs_up_is_no_error(self, stub, capsys, monkeypatch):
        server = stub._server
        ended: list[object] = []
        end = server.shutdown_request
        monkeypatch.setattr(server, "shutdown_request", lambda request: ended.append(end(request)))
        host, port = stub.host_port.split(":")
        for sent in (b"", b"POST /openai/v1/chat/completions HTTP/1.1\r\nContent-Le"):
            with socket.create_connection((host, int(port))) as connection:
                connection.sendall(sent)
        until(lambda: len(ended) == 2, "the stub to end both connections")

        assert stub.journal == []
        assert capsys.readouterr().err == ""
