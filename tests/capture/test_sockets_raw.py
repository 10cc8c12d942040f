"""The rules of capture over websockets, on the libraries themselves."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar

import aiohttp
import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from pytest_django import Settings
from websockets.asyncio.client import connect as aconnect
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.support.children import run_python
from tests.support.comparison import attributed, only_row, rows, without_capture
from tests.support.providers import join
from tests.support.sockets import SPEECH, SocketProvider
from usage_tracking import ai_usage, capture, errors
from usage_tracking.capture import sessions

from .socket_cases import (
    MODEL,
    REALTIME,
    assert_recorded_as_billed,
    created,
    read_to,
    requested,
    server,
    sockets,
    uses_sockets,
)

__all__ = ["server", "sockets"]

pytestmark = uses_sockets

RESPONSES = "/openai/v1/responses"


def responses(sockets: SocketProvider) -> Any:
    return connect(sockets.socket_url(RESPONSES))


def realtime(sockets: SocketProvider, query: str = f"?model={REALTIME}") -> Any:
    return connect(sockets.socket_url(f"/openai/v1/realtime{query}"))


class Talk:
    """A socket of one library, with the same methods for each."""

    def __init__(
        self,
        send: Callable[[str], Awaitable[object]],
        read: Callable[[], Awaitable[str | bytes]],
    ) -> None:
        self.send, self.read = send, read

    async def read_to(self, kind: str) -> list[str | bytes]:
        """Return the messages up to the next of a kind."""
        messages = []
        while True:
            messages.append(message := await self.read())
            if json.loads(message)["type"] == kind:
                return messages


@asynccontextmanager
async def over_websockets(url: str) -> AsyncIterator[Talk]:
    async with aconnect(url) as socket:
        yield Talk(socket.send, socket.recv)


@asynccontextmanager
async def over_iteration(url: str) -> AsyncIterator[Talk]:
    async with aconnect(url) as socket:
        yield Talk(socket.send, aiter(socket).__anext__)


@asynccontextmanager
async def over_fragments(url: str) -> AsyncIterator[Talk]:
    async def send(text: str) -> None:
        await socket.send([text[:9], text[9:]])

    async def read() -> str:
        return "".join([part async for part in socket.recv_streaming(decode=True)])

    async with aconnect(url) as socket:
        yield Talk(send, read)


@asynccontextmanager
async def over_threads(url: str) -> AsyncIterator[Talk]:
    async def send(text: str) -> None:
        socket.send(text)

    async def read() -> str | bytes:
        return socket.recv(30)

    with connect(url) as socket:
        yield Talk(send, read)


@asynccontextmanager
async def over_aiohttp(url: str) -> AsyncIterator[Talk]:
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
        yield Talk(socket.send_str, socket.receive_str)


@asynccontextmanager
async def over_aiohttp_bytes(url: str) -> AsyncIterator[Talk]:
    async def read() -> str:
        data = (await anext(socket)).data
        return data.decode() if isinstance(data, bytes) else str(data)

    async def send(text: str) -> None:
        await socket.send_bytes(text.encode())

    async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
        yield Talk(send, read)


WAYS: list[Any] = [
    over_websockets,
    over_iteration,
    over_fragments,
    over_threads,
    over_aiohttp,
    over_aiohttp_bytes,
]


@pytest.mark.parametrize("way", WAYS)
class TestLibraries:
    def test_calls_are_recorded_and_messages_are_the_same(
        self, sockets: SocketProvider, user: User, way: Any
    ) -> None:
        async def main() -> list[str | bytes]:
            async with way(sockets.socket_url(RESPONSES)) as talk:
                with ai_usage(section="chat", user=user):
                    messages = []
                    for text in ("Hello", "Hello again"):
                        await talk.send(requested(text))
                        messages += await talk.read_to("response.completed")
            return messages

        messages = async_to_sync(main)()

        assert_recorded_as_billed(sockets)
        assert {attributed(row) for row in rows()} == {("ada", "chat")}
        (connection,) = sockets.connections
        assert messages == connection.sent
        assert [json.loads(message) for message in connection.received] == [
            json.loads(requested(text)) for text in ("Hello", "Hello again")
        ]

    def test_aborted_connection_leaves_a_failed_row(
        self, sockets: SocketProvider, user: User, way: Any
    ) -> None:
        async def main() -> None:
            with ai_usage(section="chat", user=user):
                async with way(sockets.socket_url(RESPONSES)) as talk:
                    await talk.send(requested("Break off"))
                    await talk.read_to("response.completed")

        def error() -> str:
            with pytest.raises(Exception) as caught:  # noqa: PT011 -- each library has its own
                async_to_sync(main)()
            return repr(caught.value)

        with_capture = error()
        assert_recorded_as_billed(sockets)
        assert attributed(only_row()) == ("ada", "chat")
        assert only_row().error_message
        with without_capture():
            assert error() == with_capture

    def test_other_sockets_pass_untouched(self, sockets: SocketProvider, way: Any) -> None:
        async def main() -> list[str | bytes]:
            async with way(sockets.socket_url("/chat/room/1/")) as talk:
                await talk.send(requested("Hello"))
                return [await talk.read()]

        assert [json.loads(text) for text in async_to_sync(main)()] == [
            json.loads(requested("Hello"))
        ]
        assert rows() == []


class TestResponses:
    def test_interleaved_responses_belong_to_whoever_asked(
        self, sockets: SocketProvider, user: User
    ) -> None:
        grace = User.objects.create_user("grace")
        with realtime(sockets) as socket:
            for asker, text in ((user, "Wait"), (grace, "Hello")):
                with ai_usage(section="chat", user=asker):
                    socket.send(created(text))
            done = [read_to(socket, "response.done")["response"] for _ in range(2)]

        assert_recorded_as_billed(sockets)
        assert [attributed(row)[0] for row in rows()] == ["ada", "grace"]
        by_id = {row.metadata["response_id"]: row.prompt_tokens for row in rows()}
        assert by_id == {one["id"]: one["usage"]["input_tokens"] for one in done}

    def test_lanes_are_told_apart(self, sockets: SocketProvider, user: User) -> None:
        grace = User.objects.create_user("grace")
        with responses(sockets) as socket:
            for asker, text, lane in ((user, "Wait", "a"), (grace, "Refuse", "b")):
                with ai_usage(section="chat", user=asker):
                    socket.send(requested(text, stream_id=lane))
            socket.send(requested("Hello", stream_id="c"))
            for _ in range(2):
                read_to(socket, "response.completed")

        assert_recorded_as_billed(sockets)
        assert [(attributed(row)[0], row.success) for row in rows()] == [
            ("ada", True),
            ("grace", False),
            (None, True),
        ]

    def test_tasks_of_two_users_share_a_socket(self, sockets: SocketProvider, user: User) -> None:
        users = [user, User.objects.create_user("grace")]

        async def ask(socket: Any, asker: User, number: int) -> None:
            with ai_usage(section="chat", user=asker):
                await socket.send(requested(f"Hello {number}", stream_id=str(number)))

        async def main() -> None:
            async with aconnect(sockets.socket_url(RESPONSES)) as socket:
                await asyncio.gather(
                    *(ask(socket, users[number % 2], number) for number in range(40))
                )
                done = 0
                while done < 40:
                    done += json.loads(await socket.recv())["type"] == "response.completed"

        async_to_sync(main)()

        assert_recorded_as_billed(sockets)
        asked = {one.counts: int(one.prompt.split()[1]) % 2 for one in sockets.journal}
        for row in rows():
            number = asked[(row.prompt_tokens or 0, row.completion_tokens or 0)]
            assert attributed(row)[0] == users[number].username

    def test_threads_of_two_users_have_their_own_sockets(
        self, sockets: SocketProvider, transactional_db: None
    ) -> None:
        users = [User.objects.create_user(name) for name in ("ada", "grace")]

        def talk(asker: User) -> None:
            with ai_usage(section="chat", user=asker), responses(sockets) as socket:
                for number in range(5):
                    socket.send(requested(f"Hello {number}"))
                    read_to(socket, "response.completed")

        threads = [threading.Thread(target=talk, args=(asker,)) for asker in users]
        for thread in threads:
            thread.start()
        for thread in threads:
            join(thread)

        assert_recorded_as_billed(sockets)
        assert sorted(str(attributed(row)[0]) for row in rows()) == ["ada"] * 5 + ["grace"] * 5

    def test_time_is_that_from_asking_to_the_end(self, sockets: SocketProvider) -> None:
        with responses(sockets) as socket:
            socket.send(requested("Wait"))
            socket.send(requested("Hello"))
            for _ in range(2):
                read_to(socket, "response.completed")

        waited, hello = rows()
        assert waited.created_at <= hello.created_at
        assert waited.response_time_ms >= hello.response_time_ms

    def test_large_request_is_recorded(self, sockets: SocketProvider, user: User) -> None:
        with ai_usage(section="chat", user=user), responses(sockets) as socket:
            socket.send(json.dumps({"input": "x" * 3_000_000, "type": "response.create"}))
            read_to(socket, "response.completed")

        assert only_row().prompt_tokens

    def test_error_about_another_event_ends_no_response(self, sockets: SocketProvider) -> None:
        session = socket_session()
        session.sent(created("Hello", event_id="1"))
        session.received(error(event_id="0"))
        session.received(error(code="input_audio_buffer_commit_empty"))
        assert rows() == []

        session.received(error(event_id="1"))
        assert only_row().error_message == "invalid_request_error: No."

    @pytest.mark.parametrize(
        "about",
        [
            {"code": "response_cancel_not_active"},
            {"code": "invalid_value", "param": "type"},
            {"code": "any"},
        ],
    )
    def test_response_that_an_error_was_not_about_is_one_row(self, about: dict[str, str]) -> None:
        session = socket_session()
        session.sent(created("Hello"))
        session.received(error(**about))
        receive(session, "response.created", id="r")
        receive(session, "response.done", id="r", status="completed", usage={"input_tokens": 7})

        row = only_row()
        assert (row.prompt_tokens, row.success, row.error_message) == (7, True, None)

    def test_answer_to_speech_belongs_to_whoever_spoke(self, user: User) -> None:
        session = socket_session()
        with ai_usage(section="chat", user=user):
            session.sent(json.dumps({"type": "input_audio_buffer.append", "audio": SPEECH}))
        with ai_usage(section="chat", user=User.objects.create_user("grace")):
            response = {"conversation": "none", "metadata": {"topic": "mood"}}
            session.sent(json.dumps({"type": "response.create", "response": response}))
        receive(session, "response.created", id="spoken")
        receive(session, "response.created", id="asked", metadata={"topic": "mood"})
        for key, count in (("asked", 1), ("spoken", 2)):
            receive(session, "response.done", id=key, usage={"input_tokens": count})

        found = {row.prompt_tokens: attributed(row)[0] for row in rows()}
        assert found == {1: "grace", 2: "ada"}

    def test_response_that_was_told_apart_by_metadata(self, user: User) -> None:
        session = socket_session()
        grace = User.objects.create_user("grace")
        for asker, topic in ((user, "a"), (grace, "b")):
            with ai_usage(section="chat", user=asker):
                response = {"conversation": "none", "metadata": {"topic": topic}}
                session.sent(json.dumps({"type": "response.create", "response": response}))
        for topic in ("b", "a"):
            response = {"id": topic, "object": "realtime.response", "metadata": {"topic": topic}}
            session.received(json.dumps({"type": "response.created", "response": response}))
            done = response | {"status": "completed", "usage": {"input_tokens": ord(topic)}}
            session.received(json.dumps({"type": "response.done", "response": done}))

        assert [(attributed(row)[0], row.prompt_tokens) for row in rows()] == [
            ("ada", ord("a")),
            ("grace", ord("b")),
        ]

    def test_model_of_a_deployment_is_that_of_the_session(self, sockets: SocketProvider) -> None:
        session = socket_session("my-deployment")
        session.received(
            json.dumps({"type": "session.created", "session": {"model": "gpt-realtime-2025-08-28"}})
        )
        session.sent(created("Hello"))
        response = {"id": "r", "object": "realtime.response", "usage": {"input_tokens": 1}}
        session.received(json.dumps({"type": "response.done", "response": response}))

        row = only_row()
        assert row.model_name == "gpt-realtime-2025-08-28"
        assert row.metadata["requested_model"] == "my-deployment"


def socket_session(model: str = "") -> Any:
    """Return the session of a socket to OpenAI, without the socket."""
    from usage_tracking.capture.sockets import open_session

    session = open_session(
        "websockets", "api.openai.com", None, "/v1/realtime", f"model={model}" if model else ""
    )
    assert session is not None
    return session


def receive(session: Any, kind: str, **response: Any) -> None:
    response = {"object": "realtime.response", **response}
    session.received(json.dumps({"type": kind, "response": response}))


def error(**about: str) -> str:
    described = {"type": "invalid_request_error", "message": "No.", **about}
    return json.dumps({"type": "error", "error": described})


class TestEnds:
    """A socket ends before its responses do: each is one row, with unknown usage."""

    def ends(self, sockets: SocketProvider, text: str) -> None:
        """Ask, and read until the server ends the socket."""
        with responses(sockets) as socket:
            socket.send(requested(text))
            with suppress(ConnectionClosed):
                while True:
                    socket.recv(30)

    @pytest.mark.process
    def test_process_that_exits(self, sockets: SocketProvider, tmp_path: Path) -> None:
        code = f"""
        from websockets.sync.client import connect
        from usage_tracking import ai_usage
        from usage_tracking.recorder import listeners

        listeners.append(lambda event: print(event.section, event.model_name, event.is_known))
        opening = connect({sockets.socket_url(RESPONSES)!r})
        socket = opening.__enter__()
        with ai_usage(section="chat"):
            socket.send({requested("Wait")!r})
        socket.recv(30)
        """
        gateways = {f"{sockets.host_port}/openai": "openai"}
        assert run_python(tmp_path, code, settings=f"AI_USAGE_GATEWAYS = {gateways}").split() == [
            *("chat", MODEL, "False"),
        ]

    def test_server_that_closes_with_an_error(self, sockets: SocketProvider) -> None:
        self.ends(sockets, "Hang up")

        assert_recorded_as_billed(sockets)
        assert "1011" in str(only_row().error_message)

    def test_server_that_closes_regularly(self, sockets: SocketProvider) -> None:
        self.ends(sockets, "Leave")

        assert_recorded_as_billed(sockets)
        assert only_row().metadata["unknown"] == "socket closed before the response ended"

    def test_site_that_leaves(self, sockets: SocketProvider, user: User) -> None:
        with ai_usage(section="chat", user=user) as usage:
            with realtime(sockets) as socket:
                for text in ("Say nothing", "Wait"):
                    socket.send(created(text))
                read_to(socket, "response.created")
            assert usage.calls == 2

        assert_recorded_as_billed(sockets)
        assert {row.metadata["unknown"] for row in rows()} == {
            "socket closed before the response ended"
        }
        assert {attributed(row) for row in rows()} == {("ada", "chat")}

    def test_end_that_is_read_after_the_socket_was_closed_counts(
        self, sockets: SocketProvider
    ) -> None:
        session = socket_session()
        session.sent(created("Hello"))
        response = {"id": "r", "object": "realtime.response"}
        session.received(json.dumps({"type": "response.created", "response": response}))
        session.closed()
        assert only_row().usage_source == "unknown"

        done = response | {"usage": {"input_tokens": 7, "output_tokens": 3}}
        session.received(json.dumps({"type": "response.done", "response": done}))
        session.closed()

        row = only_row()
        assert (row.prompt_tokens, row.completion_tokens) == (7, 3)
        assert "unknown" not in row.metadata

    def test_response_that_is_read_after_the_socket_was_closed_counts_once(self) -> None:
        session = socket_session()
        session.sent(created("Hello"))
        session.closed()
        response = {"id": "r", "object": "realtime.response"}
        session.received(json.dumps({"type": "response.created", "response": response}))
        done = response | {"usage": {"input_tokens": 7, "output_tokens": 3}}
        session.received(json.dumps({"type": "response.done", "response": done}))
        session.closed()

        assert only_row().prompt_tokens == 7

    def test_cancelled_task(self, sockets: SocketProvider, user: User) -> None:
        async def read(begun: asyncio.Event) -> None:
            with ai_usage(section="chat", user=user):
                async with aconnect(sockets.socket_url(RESPONSES)) as socket:
                    await socket.send(requested("Wait"))
                    while True:
                        await socket.recv()
                        begun.set()

        async def main() -> None:
            task = asyncio.create_task(read(begun := asyncio.Event()))
            await begun.wait()
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

        async_to_sync(main)()

        assert_recorded_as_billed(sockets)
        assert only_row().success

    def test_cancelled_read_ends_nothing(self, sockets: SocketProvider) -> None:
        async def main() -> None:
            async with aconnect(sockets.socket_url(RESPONSES)) as socket:
                await socket.send(requested("Wait"))
                for _ in range(4):
                    await socket.recv()
                with suppress(TimeoutError):
                    await asyncio.wait_for(socket.recv(), 0.01)
                await socket.send(requested("Hello"))
                done = 0
                while done < 2:
                    done += json.loads(await socket.recv())["type"] == "response.completed"

        async_to_sync(main)()

        assert_recorded_as_billed(sockets)

    def test_transcription_that_was_not_awaited(self, user: User) -> None:
        session = socket_session()
        heard = {"audio": {"input": {"transcription": {"model": "whisper-1"}}}}
        with ai_usage(section="chat", user=user):
            session.sent(json.dumps({"type": "session.update", "session": heard}))
            session.sent(json.dumps({"type": "input_audio_buffer.commit"}))
        session.received(json.dumps({"type": "input_audio_buffer.committed", "item_id": "item_1"}))
        session.closed()

        row = only_row()
        assert (row.operation, row.model_name, row.usage_source) == (
            *("transcription", "whisper-1"),
            "unknown",
        )
        assert attributed(row) == ("ada", "chat")

    def test_freed_session(self, sockets: SocketProvider) -> None:
        session = socket_session()
        session.sent(created("Hello"))
        del session
        gc.collect()
        with ai_usage(section="chat"):
            pass

        assert only_row().metadata["unknown"] == "socket closed before the response ended"

    def test_message_that_could_not_be_sent_asks_for_nothing(self, sockets: SocketProvider) -> None:
        with responses(sockets) as socket:
            socket.send(requested("Leave"))
            with suppress(ConnectionClosed):
                while True:
                    socket.recv(30)
            with pytest.raises(ConnectionClosed):
                socket.send(requested("Hello"))

        assert_recorded_as_billed(sockets)


class TestRecognition:
    def test_unknown_host_needs_the_shape_of_the_protocol(
        self, sockets: SocketProvider, settings: Settings
    ) -> None:
        settings.AI_USAGE_GATEWAYS = {}
        with connect(sockets.socket_url("/shop/realtime")) as socket:
            read_to(socket, "session.created")
            socket.send(created("Hello"))
            read_to(socket, "response.done")

        assert (only_row().provider, only_row().metadata["host"]) == ("unknown", sockets.host_port)

    def test_realtime_socket_of_the_site_itself_is_not_recorded(self, settings: Settings) -> None:
        session = open_at("shop.example", "/realtime")
        session.sent(json.dumps({"type": "response.create"}))
        session.closed()

        assert rows() == []

    def test_unknown_hosts_can_be_left_out(self, settings: Settings) -> None:
        settings.AI_USAGE_UNKNOWN_HOSTS = False
        assert open_at("shop.example", "/realtime") is None

    @pytest.mark.parametrize(
        ("host", "path", "provider"),
        [
            ("api.openai.com", "/v1/realtime", "openai"),
            ("api.openai.com", "/v1/responses", "openai"),
            ("api.x.ai", "/v1/realtime", "x-ai"),
            ("mine.openai.azure.com", "/openai/realtime", "azure"),
            ("mine.openai.azure.com", "/openai/v1/realtime", "azure"),
            (
                "generativelanguage.googleapis.com",
                "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent",
                "google",
            ),
            (
                "us-central1-aiplatform.googleapis.com",
                "/ws/google.cloud.aiplatform.v1beta1.LlmBidiService/BidiGenerateContent",
                "google",
            ),
        ],
    )
    def test_provider_is_that_of_the_host(self, host: str, path: str, provider: str) -> None:
        assert open_at(host, path).target.provider == provider

    @pytest.mark.parametrize("path", ["/ws/chat/", "/v1/realtime/x", "/", "/v1/responses/resp_1"])
    def test_other_paths_are_not_recorded(self, path: str) -> None:
        assert open_at("api.openai.com", path) is None

    @pytest.mark.parametrize(
        ("setting", "value"),
        [("AI_USAGE_ENABLED", False), ("AI_USAGE_CAPTURE", ["httpx"])],
    )
    def test_capture_can_be_switched_off(
        self, settings: Settings, setting: str, value: object
    ) -> None:
        setattr(settings, setting, value)
        assert open_at("api.openai.com", "/v1/realtime") is None


class TestMistral:
    """Messages as the SDK of Mistral sends them: a transcription, or speech, is one call."""

    USAGE: ClassVar = {"prompt_tokens": 5, "completion_tokens": 7, "prompt_audio_seconds": 3}

    @pytest.mark.parametrize(
        ("path", "begin", "end", "operation"),
        [
            (
                "/v1/audio/transcriptions/realtime",
                {"audio": SPEECH * 9, "type": "input_audio.append"},
                {"type": "transcription.done", "model": "voxtral-mini", "text": "", "usage": USAGE},
                "transcription",
            ),
            (
                "/v1/audio/speech/realtime",
                {"text": "Hello", "type": "input_text.append"},
                {"type": "speech.audio.done", "usage": USAGE},
                "speech",
            ),
        ],
    )
    def test_each_is_a_row(
        self, user: User, path: str, begin: Any, end: Any, operation: str
    ) -> None:
        session = open_at("api.mistral.ai", path, "model=voxtral-mini")
        with ai_usage(section="chat", user=user):
            for _ in range(3):
                session.sends(json.dumps(begin))
        session.received(json.dumps({"type": "session.created", "session": {"request_id": "1"}}))
        session.received(json.dumps(end))
        session.closed()

        row = only_row()
        assert attributed(row) == ("ada", "chat")
        assert (row.provider, row.operation) == ("mistral", operation)
        assert row.model_name == "voxtral-mini"
        assert (row.prompt_tokens, row.completion_tokens) == (5, 7)


def open_at(host: str, path: str, query: str = "") -> Any:
    from usage_tracking.capture.sockets import open_session

    return open_session("websockets", host, None, path, query)


def errors_of(send: Callable[[], object]) -> str:
    try:
        send()
    except Exception as error:  # noqa: BLE001 -- each library has its own
        return repr(error)
    return ""


async def over_aiohttp_bytes_of(url: str, message: Any) -> str:
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
        found = []
        for send in (socket.send_str, socket.send_bytes):
            try:
                await send(message)
            except Exception as error:  # noqa: BLE001 -- see errors_of
                found.append(repr(error))
        return " ".join(found)


class TestSafety:
    @pytest.fixture
    def failures(self, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
        """Errors of this package in the test."""
        failures: Counter[str] = Counter()
        monkeypatch.setattr(errors, "failures", failures)
        return failures

    @pytest.mark.parametrize(
        "frame",
        [
            "",
            "{",
            b"\xff\xfe",
            "[]",
            "null",
            '{"type": 7}',
            '{"type": "response.done"}',
            "[" * 9999,
        ],
    )
    def test_any_message_passes(self, failures: Counter[str], frame: str | bytes) -> None:
        for path in ("/v1/realtime", "/v1/responses"):
            session = open_at("api.openai.com", path)
            session.sent(frame)
            session.received(frame)
            session.closed()
        live = open_at(
            "generativelanguage.googleapis.com",
            "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent",
        )
        live.sent(frame)
        live.received(frame)
        live.closed()

        assert failures.total() == 0

    @pytest.mark.parametrize(
        "message", [None, 7, -1, 10**14, {"a": 1}, [b"a", "b"], ["a", ["b"]], memoryview(b"abc")]
    )
    def test_library_judges_what_the_site_sends(
        self, sockets: SocketProvider, failures: Counter[str], message: Any
    ) -> None:
        def outcome() -> list[str]:
            with responses(sockets) as socket:
                return [
                    errors_of(lambda: socket.send(message)),
                    async_to_sync(over_aiohttp_bytes_of)(sockets.socket_url(RESPONSES), message),
                ]

        with_capture = outcome()
        with without_capture():
            assert outcome() == with_capture
        assert failures.total() == 0

    def test_error_of_ours_reaches_nobody(
        self,
        sockets: SocketProvider,
        settings: Settings,
        monkeypatch: pytest.MonkeyPatch,
        failures: Counter[str],
    ) -> None:
        settings.AI_USAGE_RAISE_ERRORS = False

        def fail(*_: object) -> None:
            raise ValueError("ours")

        monkeypatch.setattr(sessions, "attribution", fail)
        monkeypatch.setattr("usage_tracking.capture.events_session.parsed", fail)
        with responses(sockets) as socket:
            socket.send(requested("Hello"))
            assert read_to(socket, "response.completed")["type"] == "response.completed"

        assert failures.total() > 0

    def test_servers_are_not_hooked(self) -> None:
        from websockets.asyncio.server import ServerConnection
        from websockets.sync.server import ServerConnection as SyncServerConnection

        for owner in (ServerConnection, SyncServerConnection):
            assert not hasattr(owner.recv, "_ai_usage_original")
            assert not hasattr(owner.send, "_ai_usage_original")

    def test_hooks_are_removed(self) -> None:
        from websockets.asyncio.client import ClientConnection as AsyncConnection

        with without_capture():
            for owner in (AsyncConnection, ClientConnection):
                assert "recv" not in vars(owner)
                assert not hasattr(owner.handshake, "_ai_usage_original")
            assert not hasattr(aiohttp.ClientWebSocketResponse.receive, "_ai_usage_original")
        status = {one.transport: one for one in capture.status()}
        assert status["websockets"].hooked

    def test_open_responses_are_bounded(self, sockets: SocketProvider) -> None:
        session = socket_session()
        for _ in range(sessions.MAX_OPEN + 10):
            session.sent(created("Hello"))

        assert len(rows()) == 10
        assert {row.metadata["unknown"] for row in rows()} == {sessions.CROWDED}
