"""AI_USAGE_KEY_HINT: rows say which key made the call by its last four characters, and no more."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import anthropic
import boto3
import botocore.config
import httpx
import httpx2
import openai
import pytest
import requests
from asgiref.sync import async_to_sync
from botocore.awsrequest import AWSRequest
from botocore.httpsession import URLLib3Session
from django.contrib.auth.models import User
from django.test import Client
from google import genai
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings
from websockets.asyncio.client import connect as aconnect
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from project.stub import StubProvider
from tests.capture.test_batches import submit, submit_messages
from tests.support.commands import run_command
from tests.support.comparison import forget, only_row, rows
from tests.support.sockets import SocketProvider
from usage_tracking import ai_usage, errors, outbox
from usage_tracking.capture import batch_memory, exchange
from usage_tracking.capture.keys import hint_in, hint_of
from usage_tracking.delivery import delivery

from .socket_cases import REALTIME, read_to, requested, server, sockets, uses_sockets

__all__ = ["server", "sockets"]

pytestmark = pytest.mark.django_db

KEY = "sk-proj-Zm9vYmFyYmF6cXV4MTIzNDU2-x9Q"
HINT = "-x9Q"
OTHER = "sk-proj-Zm9vYmFyYmF6cXV4MTIzNDU2Nz7b"
MESSAGES: Any = [{"role": "user", "content": "Hello"}]
BODY = {"model": "gpt-4o-mini", "messages": MESSAGES}
RESPONSES = "/openai/v1/responses"


@pytest.fixture(autouse=True)
def hints(settings: Settings) -> None:
    settings.AI_USAGE_KEY_HINT = True


@pytest.fixture(autouse=True)
def failures(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count only the failures of this test: the counts are those of the whole process."""
    counts: Counter[str] = Counter()
    monkeypatch.setattr(errors, "failures", counts)
    return counts


@pytest.fixture
def chat_url(stub: StubProvider) -> str:
    return f"{stub.openai_url}/chat/completions"


def found() -> str | None:
    """Return the hint of the only row."""
    hint: str | None = only_row().metadata.get("key_hint")
    return hint


class TestSDKs:
    def test_openai(self, stub: StubProvider) -> None:
        with openai.OpenAI(base_url=stub.openai_url, api_key=KEY) as client:
            client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES)

        assert found() == HINT

    def test_openai_streamed_and_asked_for_usage(
        self, stub: StubProvider, settings: Settings
    ) -> None:
        settings.AI_USAGE_STREAM_USAGE = "request"
        with openai.OpenAI(base_url=stub.openai_url, api_key=KEY) as client:
            list(
                client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES, stream=True)
            )

        assert found() == HINT

    def test_openai_abandoned(self, stub: StubProvider) -> None:
        with (
            openai.OpenAI(base_url=stub.openai_url, api_key=KEY) as client,
            client.responses.create(
                model="gpt-4o-mini", input="Hello [stub words=99]", stream=True
            ) as stream,
        ):
            next(iter(stream))

        assert found() == HINT

    def test_refused_call(self, stub: StubProvider) -> None:
        messages: Any = [{"role": "user", "content": f"[stub leak={KEY}]"}]
        with (
            openai.OpenAI(base_url=stub.openai_url, api_key=KEY, max_retries=0) as client,
            suppress(openai.APIStatusError),
        ):
            client.chat.completions.create(model="gpt-4o-mini", messages=messages)

        assert only_row().success is False
        assert found() == HINT

    def test_unreachable_provider(self, dead_stub: StubProvider) -> None:
        client = openai.OpenAI(base_url=dead_stub.openai_url, api_key=KEY, max_retries=0)
        with suppress(openai.APIConnectionError):
            client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES)

        assert found() == HINT

    def test_async_openai(self, stub: StubProvider) -> None:
        async def main() -> None:
            async with openai.AsyncOpenAI(base_url=stub.openai_url, api_key=KEY) as client:
                await client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES)

        async_to_sync(main)()

        assert found() == HINT

    def test_anthropic(self, stub: StubProvider) -> None:
        with anthropic.Anthropic(base_url=stub.anthropic_url, api_key=KEY) as client:
            client.messages.create(model="claude-haiku-4-5", max_tokens=9, messages=MESSAGES)

        assert found() == HINT

    def test_google(self, stub: StubProvider) -> None:
        options = genai.types.HttpOptions(base_url=stub.google_url)
        with genai.Client(api_key=KEY, http_options=options) as client:
            client.models.generate_content(model="gemini-2.5-flash", contents="Hello")

        assert found() == HINT

    @pytest.mark.parametrize(
        ("environment", "expected"),
        [
            ({"AWS_BEARER_TOKEN_BEDROCK": KEY}, HINT),
            ({"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY": KEY}, None),
        ],
        ids=["bearer token", "signature"],
    )
    def test_bedrock(
        self,
        stub: StubProvider,
        monkeypatch: pytest.MonkeyPatch,
        settings: Settings,
        environment: dict[str, str],
        expected: str | None,
    ) -> None:
        settings.AI_USAGE_GATEWAYS = {stub.host_port: "aws"}
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        client = boto3.Session().client(
            "bedrock-runtime",
            region_name="us-east-1",
            endpoint_url=f"https://{stub.host_port}",  # the SDK sends tokens over TLS alone
            config=botocore.config.Config(retries={"total_max_attempts": 1}),
        )

        def without_tls(request: Any, **_: object) -> None:
            request.url = request.url.replace("https:", "http:")

        client.meta.events.register("before-send", without_tls)
        with suppress(client.exceptions.ClientError):
            client.converse(
                modelId="amazon.nova-lite-v1:0",
                messages=[{"role": "user", "content": [{"text": "Hello"}]}],
            )

        assert only_row().provider == "aws"
        assert found() == expected


Send = Callable[[str, dict[str, str]], None]


def over_httpx(url: str, headers: dict[str, str]) -> None:
    httpx.post(url, headers=headers, json=BODY, timeout=60)


def over_httpx2(url: str, headers: dict[str, str]) -> None:
    with httpx2.Client(headers=headers) as client:
        client.post(url, json=BODY, timeout=60)


def over_async_httpx(url: str, headers: dict[str, str]) -> None:
    async def main() -> None:
        async with httpx.AsyncClient() as client:
            await client.post(url, headers=headers, json=BODY, timeout=60)

    asyncio.run(main())


def over_requests(url: str, headers: dict[str, str]) -> None:
    with requests.Session() as session:
        session.headers.update(headers)
        session.post(url, json=BODY, timeout=60)


def over_aiohttp(url: str, headers: dict[str, str]) -> None:
    async def main() -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.post(url, headers=headers, json=BODY) as response,
        ):
            await response.read()

    asyncio.run(main())


def over_aiohttp_session(url: str, headers: dict[str, str]) -> None:
    async def main() -> None:
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.post(url, json=BODY) as response,
        ):
            await response.read()

    asyncio.run(main())


def over_botocore(url: str, headers: dict[str, str]) -> None:
    request = AWSRequest(method="POST", url=url, data=json.dumps(BODY), headers=headers)
    URLLib3Session().send(request.prepare())


SENDS = [
    over_httpx,
    over_httpx2,
    over_async_httpx,
    over_requests,
    over_aiohttp,
    over_aiohttp_session,
    over_botocore,
]
HEADERS = [
    {"Authorization": f"Bearer {KEY}"},
    {"authorization": f"bearer {KEY}"},
    {"Authorization": f"Token {KEY}"},
    {"Authorization": f"Key 01234567-89ab:{KEY}"},
    {"Authorization": f"Api-Key {KEY}"},
    {"x-api-key": KEY},
    {"X-API-Key": KEY},
    {"api-key": KEY},
    {"x-goog-api-key": KEY},
    # What can only be a key comes first, such as that of the provider behind a gateway.
    {"Authorization": f"Bearer {OTHER}", "x-api-key": KEY},
    {"Authorization": f"Bearer {KEY}", "x-api-key": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln"},
]
#: Headers without a key that a provider would list.
KEYLESS = [
    {},
    {"Authorization": "Basic c2stcHJvai1abTl2WW1GeVltRjZjWFY0"},
    {"Authorization": KEY},
    {"Authorization": f"Bearer {KEY} and more"},
    {"Authorization": "AWS4-HMAC-SHA256 Credential=AKIA/20260101, Signature=0123456789abcdef"},
    {"Cookie": f"sessionid={KEY}"},
    {"x-request-key": KEY},
]


class TestTransports:
    @pytest.mark.parametrize("send", SENDS)
    def test_hint_is_the_end_of_the_key(self, send: Send, chat_url: str) -> None:
        send(chat_url, {"Authorization": f"Bearer {KEY}"})

        assert found() == HINT
        assert not errors.failures

    @pytest.mark.parametrize("send", SENDS)
    def test_without_the_setting_there_is_none(
        self, send: Send, chat_url: str, settings: Settings
    ) -> None:
        settings.AI_USAGE_KEY_HINT = False
        send(chat_url, {"Authorization": f"Bearer {KEY}"})

        assert "key_hint" not in only_row().metadata

    @pytest.mark.parametrize("headers", HEADERS, ids=str)
    def test_each_header_with_a_key(self, headers: dict[str, str], chat_url: str) -> None:
        over_requests(chat_url, headers)

        assert found() == HINT

    @pytest.mark.parametrize("headers", KEYLESS, ids=str)
    def test_headers_without_a_key(self, headers: dict[str, str], chat_url: str) -> None:
        over_requests(chat_url, headers)

        assert found() is None

    def test_authentication_that_the_client_adds_while_it_sends(
        self, stub: StubProvider, settings: Settings
    ) -> None:
        settings.AI_USAGE_STREAM_USAGE = "request"

        class Auth(httpx.Auth):
            def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response]:
                request.headers["authorization"] = f"Bearer {KEY}"
                yield request

        for body in (BODY, {**BODY, "stream": True}):
            forget()
            httpx.post(f"{stub.openai_url}/chat/completions", json=body, auth=Auth(), timeout=60)

            assert found() == HINT


class TestSockets:
    pytestmark = uses_sockets

    def test_sync_sdk(self, sockets: SocketProvider) -> None:
        client = openai.OpenAI(base_url=sockets.openai_url, api_key=KEY)
        with client.realtime.connect(model=REALTIME) as connection:
            connection.response.create()
            for event in connection:
                if event.type == "response.done":
                    break

        assert found() == HINT

    def test_async_websockets(self, sockets: SocketProvider) -> None:
        async def main() -> None:
            headers = {"Authorization": f"Bearer {KEY}"}
            url = sockets.socket_url(RESPONSES)
            async with aconnect(url, additional_headers=headers) as socket:
                await socket.send(requested("Hello"))
                while "response.completed" not in str(await socket.recv()):
                    pass

        asyncio.run(main())

        assert found() == HINT

    @pytest.mark.parametrize("is_of_session", [True, False])
    def test_aiohttp(self, sockets: SocketProvider, is_of_session: bool) -> None:
        async def main() -> None:
            headers = {"Authorization": f"Bearer {KEY}"}
            url = sockets.socket_url(RESPONSES)
            async with (
                aiohttp.ClientSession(headers=headers if is_of_session else None) as session,
                session.ws_connect(url, headers=None if is_of_session else headers) as socket,
            ):
                await socket.send_str(requested("Hello"))
                while "response.completed" not in await socket.receive_str():
                    pass

        asyncio.run(main())

        assert found() == HINT

    def test_key_in_the_subprotocol(self, sockets: SocketProvider) -> None:
        protocols = [Subprotocol("realtime"), Subprotocol(f"openai-insecure-api-key.{KEY}")]
        with connect(sockets.socket_url(RESPONSES), subprotocols=protocols) as socket:
            socket.send(requested("Hello"))
            read_to(socket, "response.completed")

        assert found() == HINT

    def test_repeated_header(self, sockets: SocketProvider) -> None:
        headers = [("x-a", "1"), ("x-a", "2"), ("Authorization", f"Bearer {KEY}")]
        with connect(sockets.socket_url(RESPONSES), additional_headers=headers) as socket:
            socket.send(requested("Hello"))
            read_to(socket, "response.completed")

        assert found() == HINT
        assert not errors.failures

    def test_without_the_setting_there_is_none(
        self, sockets: SocketProvider, settings: Settings
    ) -> None:
        settings.AI_USAGE_KEY_HINT = False
        headers = {"Authorization": f"Bearer {KEY}"}
        with connect(sockets.socket_url(RESPONSES), additional_headers=headers) as socket:
            socket.send(requested("Hello"))
            read_to(socket, "response.completed")

        assert found() is None


class TestLater:
    @pytest.fixture(autouse=True)
    def forget_batches(self) -> Iterator[None]:
        batch_memory.forget()
        yield
        batch_memory.forget()

    @pytest.mark.parametrize("is_polled_with", [KEY, OTHER, ""])
    def test_batch_keeps_the_hint_of_its_submission(
        self, stub: StubProvider, is_polled_with: str
    ) -> None:
        with openai.OpenAI(base_url=stub.openai_url, api_key=KEY) as client:
            batch = submit(client, "Hello", "Hello again")
        assert found() == HINT

        headers = {"Authorization": f"Bearer {is_polled_with}"} if is_polled_with else {}
        for _ in range(3):
            httpx.get(f"{stub.openai_url}/batches/{batch}", headers=headers, timeout=60)

        assert "unknown" not in only_row().metadata
        assert found() == HINT

    def test_each_model_of_a_batch_has_the_hint(self, stub: StubProvider) -> None:
        with anthropic.Anthropic(base_url=stub.anthropic_url, api_key=KEY) as client:
            submit_messages(client, ("claude-haiku-4-5", "Hi"), ("claude-sonnet-4-5", "Hi"))

        assert [row.metadata["key_hint"] for row in rows()] == [HINT, HINT]

    def test_job_whose_beginning_was_not_seen_has_the_hint_of_the_poll(
        self, stub: StubProvider, settings: Settings
    ) -> None:
        settings.AI_USAGE_GATEWAYS = stub.gateways
        settings.AI_USAGE_CAPTURE = False
        with openai.OpenAI(base_url=stub.openai_url, api_key=OTHER) as client:
            answer = client.responses.create(model="gpt-4o-mini", input="Hi", background=True)
        settings.AI_USAGE_CAPTURE = True
        with openai.OpenAI(base_url=stub.openai_url, api_key=KEY) as client:
            for _ in range(3):
                client.responses.retrieve(answer.id)

        assert only_row().metadata["beginning"] == "not seen"
        assert found() == HINT

    def test_begun_job_keeps_its_hint(self, stub: StubProvider, settings: Settings) -> None:
        settings.AI_USAGE_GATEWAYS = stub.gateways
        with openai.OpenAI(base_url=stub.openai_url, api_key=KEY) as client:
            answer = client.responses.create(model="gpt-4o-mini", input="Hi", background=True)
        with openai.OpenAI(base_url=stub.openai_url, api_key=OTHER) as client:
            for _ in range(3):
                client.responses.retrieve(answer.id)

        assert only_row().prompt_tokens
        assert found() == HINT


class TestHint:
    @pytest.mark.parametrize(
        "key",
        [
            "",
            "sk-short",
            "elevenchars",
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
            "ya29.a0AfH6SMBx1234567890abcdef",
            "sk-ant-oat01-abcdefghijklmnop",
            "gho_16C7e42F292c6912E7710c838347Ae178B4a",
            "ek_68a0c1b2d3e4f5a6b7c8d9e0",
            "auth_tokens/0123456789abcdef",
            "sk-proj-schlüsselschlüssel",
            "sk-proj-0123456789\n",
            "sk-proj-0123456789\x00abc",
            "sk proj 0123456789abcdef",
            "[redacted]",
            "REDACTED_API_KEY",
            "sk-proj-...abcd",
            "sk-proj-********abcd",
            "xxxxxxxxxxxxxxxx",
            "<your-api-key-here>",
            "${OPENAI_API_KEY}",
        ],
    )
    def test_what_is_not_a_key_has_none(self, key: str) -> None:
        assert hint_of(key) == ""

    @pytest.mark.parametrize(
        ("key", "hint"),
        [
            ("AIzaSyZm9vYmFyYmF6cXV4MTIzNDU2Nzg5Zm9vY", "m9vY"),
            ("bedrock-api-key-YmVkcm9jaw==", "aw=="),
            ("0123456789ab", "89ab"),
            ("01234567-89ab-cdef-0123-456789abcdef:00112233445566", "5566"),
        ],
    )
    def test_hint_is_the_last_four_characters(self, key: str, hint: str) -> None:
        assert hint_of(key) == hint

    @given(st.text() | st.from_regex(r"[A-Za-z0-9._-]{1,60}", fullmatch=True))
    def test_hint_is_four_characters_of_at_least_twelve_or_nothing(self, key: str) -> None:
        hint = hint_of(key)

        assert hint == "" or (len(hint) == 4 and len(key) >= 12 and key.endswith(hint))
        assert hint.isascii()
        assert hint.isprintable()

    @given(st.functions(like=lambda name: None, returns=st.binary() | st.text() | st.none()))
    def test_any_headers_can_be_read(self, header: Any) -> None:
        assert len(hint_in(header)) in {0, 4}

    def test_headers_are_not_read_without_the_setting(self, settings: Settings) -> None:
        settings.AI_USAGE_KEY_HINT = False

        def header(name: str) -> Any:
            raise AssertionError(name)

        assert hint_in(header) == ""

    def test_headers_that_cannot_be_read_lose_the_hint_alone(
        self, chat_url: str, monkeypatch: pytest.MonkeyPatch, settings: Settings
    ) -> None:
        settings.AI_USAGE_RAISE_ERRORS = False
        monkeypatch.setattr(aiohttp.ClientSession, "_prepare_headers", property())
        with suppress(Exception):
            over_aiohttp(chat_url, {"Authorization": f"Bearer {KEY}"})

        assert found() is None


class TestKept:
    def test_metadata_of_the_site_wins(self, stub: StubProvider) -> None:
        with (
            openai.OpenAI(base_url=stub.openai_url, api_key=KEY) as client,
            ai_usage(section="chat", metadata={"key_hint": "billing team"}),
        ):
            client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES)

        assert found() == "billing team"

    def test_reported_call_keeps_the_hint(self, stub: StubProvider) -> None:
        with (
            openai.OpenAI(base_url=stub.openai_url, api_key=KEY) as client,
            ai_usage(section="chat") as usage,
        ):
            answer = client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES)
            usage.record(answer, metadata={"ticket": 7})

        assert only_row().metadata["ticket"] == 7
        assert found() == HINT

    def test_nothing_else_of_the_key_is_kept(
        self,
        stub: StubProvider,
        tmp_path: Path,
        settings: Settings,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        settings.AI_USAGE_OUTBOX = tmp_path / "outbox"
        monkeypatch.setattr(outbox, "inline", lambda: False)
        monkeypatch.setattr(outbox, "listener", None)
        opened = []
        monkeypatch.setattr(exchange.Exchange, "is_decoded", lambda self: opened.append(self))
        with ai_usage(section="chat"):
            over_aiohttp_session(
                f"{stub.openai_url}/chat/completions", {"Authorization": f"Bearer {KEY}"}
            )
        lines = b"".join(path.read_bytes() for path in settings.AI_USAGE_OUTBOX.glob("*.jsonl"))
        delivery.deliver()
        outbox.get().close()

        assert f'"key_hint":"{HINT}"'.encode() in lines
        assert found() == HINT
        (call,) = opened
        kept = lines.decode() + str(only_row().metadata) + str(vars(call))
        assert not [at for at in range(len(KEY) - 5) if KEY[at : at + 5] in kept]


class TestShown:
    @pytest.fixture
    def client(self, chat_url: str, client: Client, admin_user: User, user: User) -> Client:
        with ai_usage(section="chat", user=user):
            over_requests(chat_url, {"x-api-key": KEY})
        client.force_login(admin_user)
        return client

    def test_page_of_the_call(self, client: Client) -> None:
        page = client.get(f"/admin/usage_tracking/aiusagelog/{only_row().pk}/change/", follow=True)

        assert "API key ends in" in page.text
        assert page.text.count(HINT) == 2  # also in the metadata

    def test_api(self, client: Client, user: User) -> None:
        client.force_login(user)
        answer = client.get("/api/v1/ai/usage/logs/")

        (log,) = answer.json()["results"]
        assert log["metadata"]["key_hint"] == HINT

    def test_export(self, client: Client) -> None:
        exported = run_command("export_ai_usage", "--user", "ada")

        assert f'"key_hint": "{HINT}"' in exported.out
