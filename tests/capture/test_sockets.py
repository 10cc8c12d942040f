"""Calls over websockets: what is recorded equals what the provider bills."""

from __future__ import annotations

import base64
from typing import Any

import openai
import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from google import genai
from google.genai import live, types
from websockets.asyncio.client import connect

from tests.support.comparison import attributed, only_row, rows
from tests.support.sockets import SECONDS, SPEECH, SocketProvider
from usage_tracking import ai_usage

from .socket_cases import (
    LIVE,
    MODEL,
    REALTIME,
    assert_recorded_as_billed,
    said,
    server,
    sockets,
    uses_sockets,
)

__all__ = ["server", "sockets"]

pytestmark = uses_sockets


class TestRealtime:
    def test_responses_of_the_sync_sdk_are_recorded(
        self, sockets: SocketProvider, user: User
    ) -> None:
        client = openai.OpenAI(base_url=sockets.openai_url, api_key="any")
        with (
            ai_usage(section="chat", user=user) as usage,
            client.realtime.connect(model=REALTIME) as connection,
        ):
            for text in ("Hello", "Interrupt", "Fail"):
                connection.conversation.item.create(item=said(text))
                connection.response.create()
                for event in connection:
                    if event.type == "response.done":
                        break

        assert usage.calls == 3
        assert_recorded_as_billed(sockets)
        assert {attributed(row) for row in rows()} == {("ada", "chat")}
        assert [row.error_message for row in rows()] == [None, None, "server_error"]

    def test_responses_of_the_async_sdk_are_recorded(
        self, sockets: SocketProvider, user: User
    ) -> None:
        async def main() -> None:
            client = openai.AsyncOpenAI(base_url=sockets.openai_url, api_key="any")
            with ai_usage(section="chat", user=user):
                async with client.realtime.connect(model=REALTIME) as connection:
                    for text in ("Hello", "Refuse"):
                        await connection.conversation.item.create(item=said(text))
                        await connection.response.create(event_id=text)
                        async for event in connection:
                            if event.type in {"response.done", "error"}:
                                break

        async_to_sync(main)()

        assert_recorded_as_billed(sockets)
        assert {attributed(row) for row in rows()} == {("ada", "chat")}

    def test_spoken_tokens_have_their_own_price(self, sockets: SocketProvider) -> None:
        client = openai.OpenAI(base_url=sockets.openai_url, api_key="any")
        with client.realtime.connect(model=REALTIME) as connection:
            connection.conversation.item.create(item=said("Hello"))
            connection.response.create()
            for event in connection:
                if event.type == "response.done":
                    break

        row = only_row()
        details = row.usage_details or {}
        assert (details["input_audio_tokens"], details["output_audio_tokens"]) == (200, 60)
        assert (row.cached_tokens, details["cache_text_read_tokens"]) == (50, 50)
        assert row.cost is not None

    def test_event_given_to_record_is_not_counted_again(
        self, sockets: SocketProvider, user: User
    ) -> None:
        client = openai.OpenAI(base_url=sockets.openai_url, api_key="any")
        with (
            ai_usage(section="chat", user=user) as usage,
            client.realtime.connect(model=REALTIME) as connection,
        ):
            for text in ("Hello", "Hello again"):
                connection.conversation.item.create(item=said(text))
                connection.response.create()
                for event in connection:
                    if event.type == "response.done":
                        usage.record(event.response, model_name=REALTIME, provider="openai")
                        break

        assert_recorded_as_billed(sockets)
        assert {row.usage_source for row in rows()} == {"reported"}

    def test_answer_to_speech_belongs_to_whoever_spoke_last(
        self, sockets: SocketProvider, user: User
    ) -> None:
        grace = User.objects.create_user("grace")
        client = openai.OpenAI(base_url=sockets.openai_url, api_key="any")
        with client.realtime.connect(model=REALTIME) as connection:
            for speaker in (user, grace):
                with ai_usage(section="chat", user=speaker):
                    connection.input_audio_buffer.append(audio="AAAA")
                    connection.input_audio_buffer.append(audio=SPEECH)
                for event in connection:
                    if event.type == "response.done":
                        break

        assert_recorded_as_billed(sockets)
        assert [attributed(row) for row in rows()] == [("ada", "chat"), ("grace", "chat")]

    @pytest.mark.parametrize("model", ["gpt-4o-transcribe", "whisper-1"])
    def test_transcription_of_the_input_is_a_call_of_its_own(
        self, sockets: SocketProvider, user: User, model: str
    ) -> None:
        client = openai.OpenAI(base_url=sockets.openai_url, api_key="any")
        heard: Any = {"input": {"transcription": {"model": model}}}
        with (
            ai_usage(section="chat", user=user),
            client.realtime.connect(model=REALTIME) as connection,
        ):
            connection.session.update(session={"type": "realtime", "audio": heard})
            connection.input_audio_buffer.append(audio=SPEECH)
            for event in connection:
                if event.type == "response.done":
                    break

        assert_recorded_as_billed(sockets)
        (row,) = (row for row in rows() if row.operation == "transcription")
        assert (row.model_name, attributed(row)) == (model, ("ada", "chat"))
        assert (row.usage_details or {}).get("audio_seconds") == (
            SECONDS if model == "whisper-1" else None
        )
        assert row.cost is not None


class TestResponses:
    def test_responses_of_the_sync_sdk_are_recorded(
        self, sockets: SocketProvider, user: User
    ) -> None:
        client = openai.OpenAI(base_url=sockets.openai_url, api_key="any")
        with ai_usage(section="chat", user=user), client.responses.connect() as connection:
            for text in ("Hello", "Interrupt", "Fail", "Refuse"):
                connection.response.create(model=MODEL, input=text)
                for event in connection:
                    if event.type.endswith(("completed", "incomplete", "failed", "error")):
                        break

        assert_recorded_as_billed(sockets)
        assert {attributed(row) for row in rows()} == {("ada", "chat")}
        assert [row.error_message for row in rows()] == [
            *(None, None),
            "server_error: It failed.",
            "invalid_request_error: No.",
        ]
        assert rows()[0].reasoning_tokens == 5

    def test_responses_of_the_async_sdk_are_recorded(
        self, sockets: SocketProvider, user: User
    ) -> None:
        async def main() -> None:
            client = openai.AsyncOpenAI(base_url=sockets.openai_url, api_key="any")
            with ai_usage(section="chat", user=user):
                async with client.responses.connect() as connection:
                    for text in ("Hello", "Hello again"):
                        await connection.response.create(model=MODEL, input=text)
                        async for event in connection:
                            if event.type == "response.completed":
                                break

        async_to_sync(main)()

        assert_recorded_as_billed(sockets)
        assert {attributed(row) for row in rows()} == {("ada", "chat")}

    def test_reconnecting_sdk_records_what_both_sockets_answered(
        self, sockets: SocketProvider
    ) -> None:
        def again(event: Any) -> None:
            connection.response.create(model=MODEL, input="Hello again")  # sent when it is open

        client = openai.OpenAI(base_url=sockets.openai_url, api_key="any")
        with client.responses.connect(
            on_reconnecting=again, initial_delay=0.001, max_delay=0.001
        ) as connection:
            for text in ("Hello", "Break off"):
                connection.response.create(model=MODEL, input=text)
                for event in connection:
                    if event.type == "response.completed":
                        break

        assert len(sockets.connections) == 2
        assert [one.prompt for one in sockets.journal] == ["Hello", "Break off", "Hello again"]
        assert_recorded_as_billed(sockets)


class TestLiveOfOpenAI:
    @pytest.mark.parametrize("is_closed", [True, False])
    def test_session_is_recorded_with_its_length(
        self, sockets: SocketProvider, user: User, is_closed: bool
    ) -> None:
        client = openai.OpenAI(base_url=sockets.openai_url, api_key="any")
        with ai_usage(section="chat", user=user), client.live.connect() as connection:
            connection.send({"type": "session.start", "session": {"model": "gpt-live-1"}})
            connection.send({"type": "session.input_audio.append", "audio": "AAAA"})
            if is_closed:
                connection.send({"type": "session.close"})
            last = "session.closed" if is_closed else "session.usage.updated"
            for event in connection:
                if event.type == last:
                    break

        assert len(rows()) == len(sockets.journal) == 2
        assert {attributed(row) for row in rows()} == {("ada", "chat")}
        session = next(row for row in rows() if row.model_name == "gpt-live-1")
        if is_closed:
            assert_recorded_as_billed(sockets)
            assert (session.usage_details or {})["audio_seconds"] == SECONDS
        else:
            assert session.usage_source == "unknown"
            assert session.metadata["unknown"] == "socket closed before the response ended"


class TestLive:
    @pytest.fixture(autouse=True)
    def plain(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let the SDK connect without TLS, which it would always use."""

        def plainly(uri: str, *, ssl: object = None, **options: Any) -> connect:
            return connect(uri.replace("wss:", "ws:"), **options)

        monkeypatch.setattr(live, "ws_connect", plainly)

    def talk(self, sockets: SocketProvider, user: User, *texts: str) -> list[Any]:
        """Say each text in a turn of its own, and return the messages of the server."""

        async def main() -> list[Any]:
            client = genai.Client(
                api_key="any", http_options=types.HttpOptions(base_url=sockets.google_url)
            )
            messages = []
            async with client.aio.live.connect(model=LIVE) as session:
                with ai_usage(section="chat", user=user):
                    for text in texts:
                        turn = types.Content(role="user", parts=[types.Part(text=text)])
                        await session.send_client_content(turns=turn)
                        async for message in session.receive():
                            messages.append(message)
                            if message.tool_call:
                                answer = types.FunctionResponse(id="1", name="look", response={})
                                await session.send_tool_response(function_responses=[answer])
            return messages

        return async_to_sync(main)()

    def test_each_turn_is_recorded_with_its_last_totals(
        self, sockets: SocketProvider, user: User
    ) -> None:
        self.talk(sockets, user, "Hello", "Interrupt", "Tool", "Hello again")

        assert_recorded_as_billed(sockets)
        assert {attributed(row) for row in rows()} == {("ada", "chat")}
        assert (rows()[0].usage_details or {})["output_audio_tokens"] == rows()[0].completion_tokens

    def test_totals_after_the_end_of_a_turn_are_its_own(
        self, sockets: SocketProvider, user: User
    ) -> None:
        self.talk(sockets, user, "Late", "Hello", "Late", "Late", "Hello again")

        assert_recorded_as_billed(sockets)

    def test_message_given_to_record_is_not_counted_again(
        self, sockets: SocketProvider, user: User
    ) -> None:
        with ai_usage(section="chat", user=user) as usage:
            *_, last = self.talk(sockets, user, "Hello")
            usage.record(last, model_name=LIVE, provider="google")

        assert_recorded_as_billed(sockets)

    def test_speech_is_answered_to_whoever_spoke_last(
        self, sockets: SocketProvider, user: User
    ) -> None:
        async def main() -> None:
            client = genai.Client(
                api_key="any", http_options=types.HttpOptions(base_url=sockets.google_url)
            )
            speech: Any = {"data": base64.b64decode(SPEECH), "mime_type": "audio/pcm"}
            async with client.aio.live.connect(model=LIVE) as session:
                for speaker in (user, grace):
                    with ai_usage(section="chat", user=speaker):
                        await session.send_realtime_input(audio=speech)
                    async for _ in session.receive():
                        pass

        grace = User.objects.create_user("grace")
        async_to_sync(main)()

        assert_recorded_as_billed(sockets)
        assert [attributed(row) for row in rows()] == [("ada", "chat"), ("grace", "chat")]

    def test_history_is_no_question(self, sockets: SocketProvider) -> None:
        async def main() -> None:
            client = genai.Client(
                api_key="any", http_options=types.HttpOptions(base_url=sockets.google_url)
            )
            async with client.aio.live.connect(model=LIVE) as session:
                for text, is_all in (("Hello", False), ("How are you?", True)):
                    content = types.Content(role="user", parts=[types.Part(text=text)])
                    await session.send_client_content(turns=content, turn_complete=is_all)
                async for _ in session.receive():
                    pass

        async_to_sync(main)()

        assert_recorded_as_billed(sockets)

    def test_vertex_is_recorded(self, sockets: SocketProvider) -> None:
        async def main() -> None:
            client = genai.Client(
                vertexai=True,
                api_key="any",
                http_options=types.HttpOptions(base_url=sockets.google_url),
            )
            async with client.aio.live.connect(model=LIVE) as session:
                await session.send_realtime_input(text="Hello")
                async for _ in session.receive():
                    pass

        async_to_sync(main)()

        assert_recorded_as_billed(sockets)
