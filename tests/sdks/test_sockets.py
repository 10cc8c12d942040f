"""Frameworks and libraries that speak over websockets: rows equal what the provider bills."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import httpx2
import httpx_ws
import pytest
import websocket
from agents.realtime import RealtimeAgent, RealtimeRunner
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from httpx2.websockets import AsyncWebSocketSession
from pydantic_ai import Agent
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.realtime.openai import OpenAIRealtimeModel
from pytest_django import Settings
from websockets.legacy.client import connect as legacy_connect

from tests.capture.socket_cases import (
    REALTIME,
    assert_recorded_as_billed,
    requested,
    server,
    sockets,
)
from tests.support.comparison import attributed, only_row, rows, without_capture
from tests.support.sockets import SocketProvider
from usage_tracking import ai_usage, capture

__all__ = ["server", "sockets"]

pytestmark = pytest.mark.django_db

PATH = "/openai/v1/responses"
HEADERS = {"Authorization": "Bearer sk-proj-Zm9vYmFyYmF6cXV4MTIzNDU2-x9Q"}


def test_openai_agents_in_real_time(sockets: SocketProvider, user: User) -> None:
    async def main() -> None:
        runner = RealtimeRunner(RealtimeAgent(name="Guide", instructions="Be brief."))
        config: Any = {
            "api_key": "any",
            "url": sockets.socket_url(f"/openai/v1/realtime?model={REALTIME}"),
            "initial_model_settings": {"model_name": REALTIME},
        }
        async with await runner.run(model_config=config) as session:
            with ai_usage(section="chat", user=user):
                for text in ("Hello", "Hello again"):
                    await session.send_message(text)
                    async for event in session:
                        if event.type == "raw_model_event" and event.data.type == "turn_ended":
                            break

    async_to_sync(main)()

    assert len(sockets.journal) == 2
    assert_recorded_as_billed(sockets)
    assert {attributed(row) for row in rows()} == {("ada", "chat")}


def test_pydantic_ai_in_real_time(sockets: SocketProvider, user: User) -> None:
    async def main() -> None:
        provider = OpenAIProvider(base_url=sockets.openai_url, api_key="any")
        model = OpenAIRealtimeModel(REALTIME, provider=provider)
        with ai_usage(section="chat", user=user):
            async with Agent().realtime(model).session() as session:
                await session.send("Hello")
                await session.wait_for_reply()

    async_to_sync(main)()

    assert len(sockets.journal) == 1
    assert_recorded_as_billed(sockets)
    assert attributed(only_row()) == ("ada", "chat")


Way = Callable[[SocketProvider, str], list[str]]


def over_httpx_ws(sockets: SocketProvider, text: str) -> list[str]:
    url = sockets.socket_url(PATH).replace("ws:", "http:")
    with httpx.Client(headers=HEADERS) as client, httpx_ws.connect_ws(url, client) as socket:
        return _talk(socket, text)


def over_httpx2(sockets: SocketProvider, text: str) -> list[str]:
    with (
        httpx2.Client(headers=HEADERS) as client,
        client.websocket(sockets.socket_url(PATH)) as socket,
    ):
        return _talk(socket, text)


def _talk(socket: Any, text: str) -> list[str]:
    socket.send_text(requested(text))
    messages = []
    while True:
        messages.append(message := socket.receive_text(30))
        if json.loads(message)["type"] == "response.completed":
            return messages


def over_async_httpx_ws(sockets: SocketProvider, text: str) -> list[str]:
    async def main() -> list[str]:
        url = sockets.socket_url(PATH).replace("ws:", "http:")
        async with (
            httpx.AsyncClient(headers=HEADERS) as client,
            httpx_ws.aconnect_ws(url, client) as socket,
        ):
            return await _atalk(socket, text)

    return async_to_sync(main)()


def over_async_httpx2(sockets: SocketProvider, text: str) -> list[str]:
    async def main() -> list[str]:
        async with (
            httpx2.AsyncClient(headers=HEADERS) as client,
            client.websocket(sockets.socket_url(PATH)) as socket,
        ):
            return await _atalk(socket, text)

    return async_to_sync(main)()


async def _atalk(socket: Any, text: str) -> list[str]:
    await socket.send_text(requested(text))
    messages = []
    while True:
        messages.append(message := await socket.receive_text(30))
        if json.loads(message)["type"] == "response.completed":
            return messages


def over_websocket_client(sockets: SocketProvider, text: str) -> list[str]:
    socket = websocket.create_connection(sockets.socket_url(PATH), timeout=30, header=HEADERS)
    try:
        socket.send(requested(text))
        messages = []
        while True:
            messages.append(str(socket.recv()))
            if not messages[-1] or json.loads(messages[-1])["type"] == "response.completed":
                break
    finally:
        socket.close()
    return messages


def over_websocket_app(sockets: SocketProvider, text: str) -> list[str]:
    messages: list[str] = []

    def take(app: Any, message: str) -> None:
        messages.append(message)
        if json.loads(message)["type"] == "response.completed":
            app.close()

    app = websocket.WebSocketApp(
        sockets.socket_url(PATH),
        header=[f"{name}: {value}" for name, value in HEADERS.items()],
        on_open=lambda app: app.send(requested(text)),
        on_message=take,
    )
    app.run_forever()
    return messages


def over_legacy_websockets(sockets: SocketProvider, text: str) -> list[str]:
    async def main() -> list[str]:
        async with legacy_connect(sockets.socket_url(PATH), extra_headers=HEADERS) as socket:
            await socket.send(requested(text))
            messages = []
            async for message in socket:
                messages.append(str(message))
                if json.loads(message)["type"] == "response.completed":
                    break
            return messages

    return async_to_sync(main)()


WAYS: list[Way] = [
    over_httpx_ws,
    over_async_httpx_ws,
    over_httpx2,
    over_async_httpx2,
    over_websocket_client,
    over_websocket_app,
    over_legacy_websockets,
]


@pytest.mark.parametrize("way", WAYS)
def test_calls_are_recorded_and_messages_are_the_same(
    sockets: SocketProvider, user: User, way: Way
) -> None:
    with ai_usage(section="chat", user=user):
        messages = way(sockets, "Hello")

    assert_recorded_as_billed(sockets)
    assert attributed(only_row()) == ("ada", "chat")
    (connection,) = sockets.connections
    assert messages == connection.sent
    assert connection.received == [requested("Hello")]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("is_wanted", "hint"), [(True, "-x9Q"), (False, None)])
def test_key_of_the_handshake(
    sockets: SocketProvider, settings: Settings, way: Way, is_wanted: bool, hint: str | None
) -> None:
    settings.AI_USAGE_KEY_HINT = is_wanted
    way(sockets, "Hello")

    assert only_row().metadata.get("key_hint") == hint


def test_key_in_the_subprotocol_of_websocket_client(
    sockets: SocketProvider, settings: Settings
) -> None:
    settings.AI_USAGE_KEY_HINT = True
    protocols = ["realtime", "openai-insecure-api-key.sk-0123456789-x9Q"]
    url = sockets.socket_url(PATH)
    socket = websocket.create_connection(url, timeout=30, subprotocols=protocols)
    try:
        socket.send(requested("Hello"))
        while json.loads(socket.recv())["type"] != "response.completed":
            pass
    finally:
        socket.close()

    assert only_row().metadata["key_hint"] == "-x9Q"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("text", ["Break off", "Hang up", "Leave"])
def test_socket_that_ends_leaves_one_row(
    sockets: SocketProvider, user: User, way: Way, text: str
) -> None:
    def error() -> str:
        try:
            return str(way(sockets, text))
        except Exception as error:  # noqa: BLE001 -- each library has its own
            return repr(error)

    with ai_usage(section="chat", user=user):
        seen = error()

    assert_recorded_as_billed(sockets)
    assert attributed(only_row()) == ("ada", "chat")
    with without_capture():
        assert error().partition("resp_")[0] == seen.partition("resp_")[0]


@pytest.mark.parametrize("way", WAYS)
def test_other_sockets_pass_untouched(
    sockets: SocketProvider, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{__name__}.PATH", "/chat/1/")
    monkeypatch.setattr(f"{__name__}.requested", lambda text: '{"type": "response.completed"}')

    assert way(sockets, "Hello") == ['{"type": "response.completed"}']
    assert rows() == []


def test_every_library_is_hooked() -> None:
    status = {one.transport: one.hooked for one in capture.status()}

    names = ("httpx2", "websockets", "httpx_ws", "websocket_client")
    assert [status[name] for name in names] == [True] * 4
    with without_capture():
        assert not hasattr(httpx_ws.WebSocketSession.receive, "_ai_usage_original")
        assert not hasattr(AsyncWebSocketSession.receive, "_ai_usage_original")
        assert not hasattr(websocket.WebSocket.send, "_ai_usage_original")
