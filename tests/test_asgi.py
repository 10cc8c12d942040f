"""Calls of ASGI applications outside Django are attributed to the user of the connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from asgiref.testing import ApplicationCommunicator
from django.contrib.auth.models import AnonymousUser, User
from pytest_django import Settings

from tests.support.builders import capture, make_user
from tests.support.comparison import attributed, rows
from tests.support.waiting import PATIENCE
from usage_tracking import ai_section, ai_usage, errors, outbox
from usage_tracking.asgi import AIUsageASGIMiddleware
from usage_tracking.attribution import scope

pytestmark = pytest.mark.django_db

Scope = dict[str, Any]


@pytest.fixture(autouse=True)
def _nothing_left_open() -> Iterator[None]:
    yield
    assert scope.open_units == {}
    assert scope.current() is None


@pytest.fixture
def ada(db: None) -> User:
    return make_user("ada")


def recorded() -> list[tuple[str | None, str]]:
    return [attributed(row) for row in rows()]


async def answer(scope: Scope, receive: Any, send: Any) -> None:
    capture()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"yes"})


async def echo(scope: Scope, receive: Any, send: Any) -> None:
    while (message := await receive())["type"] != "websocket.disconnect":
        if message["type"] == "websocket.connect":
            await send({"type": "websocket.accept"})
        else:
            capture()
            await send({"type": "websocket.send", "text": message["text"]})


def visit(application: Any, **scope: Any) -> None:
    async def visit() -> None:
        http = {"type": "http", "path": "/", "headers": []} | scope
        communicator = ApplicationCommunicator(application, http)
        await communicator.send_input({"type": "http.request", "body": b""})
        await communicator.wait(PATIENCE)

    async_to_sync(visit)()


def talk(application: Any, *texts: str, **scope: Any) -> None:
    async def talk() -> None:
        socket = {"type": "websocket", "path": "/", "headers": []} | scope
        communicator = ApplicationCommunicator(application, socket)
        await communicator.send_input({"type": "websocket.connect"})
        await communicator.receive_output(PATIENCE)
        for text in texts:
            await communicator.send_input({"type": "websocket.receive", "text": text})
            await communicator.receive_output(PATIENCE)
        await communicator.send_input({"type": "websocket.disconnect"})
        await communicator.wait(PATIENCE)

    async_to_sync(talk)()


def test_request_belongs_to_the_user_of_its_scope(ada: User) -> None:
    application = AIUsageASGIMiddleware(answer)
    visit(application, user=ada)
    visit(application, user=AnonymousUser())
    visit(application)

    assert recorded() == [("ada", "other"), (None, "other"), (None, "other")]


def test_user_of_another_kind_is_unattributed() -> None:
    class SimpleUser:
        is_authenticated = True
        display_name = "ada"

    visit(AIUsageASGIMiddleware(answer), user=SimpleUser())

    assert recorded() == [(None, "other")]


def test_user_and_endpoint_set_inside_the_application_count(ada: User) -> None:
    @ai_section("chat")
    async def endpoint(scope: Scope, receive: Any, send: Any) -> None:
        await answer(scope, receive, send)

    async def route(scope: Scope, receive: Any, send: Any) -> None:
        scope |= {"user": ada, "endpoint": endpoint}
        await endpoint(scope, receive, send)

    visit(AIUsageASGIMiddleware(route))

    assert recorded() == [("ada", "chat")]


def test_section_comes_from_the_application(settings: Settings, ada: User) -> None:
    class Api:
        async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
            await answer(scope, receive, send)

    settings.AI_USAGE_SECTION_MAP = {
        "tests.test_asgi.answer": "rag_pipeline",
        "tests.test_asgi": "web_knowledge",
    }
    visit(AIUsageASGIMiddleware(answer), user=ada)
    visit(AIUsageASGIMiddleware(Api()), user=ada)
    visit(AIUsageASGIMiddleware(ai_section("chat")(Api)()), user=ada)

    assert recorded() == [("ada", "rag_pipeline"), ("ada", "web_knowledge"), ("ada", "chat")]


def test_every_message_of_a_socket_belongs_to_the_user(ada: User) -> None:
    talk(AIUsageASGIMiddleware(echo), "one", "two", user=ada)
    talk(AIUsageASGIMiddleware(echo), "three")

    assert recorded() == [("ada", "other"), ("ada", "other"), (None, "other")]


def test_messages_received_in_a_separate_task_have_the_user(ada: User) -> None:
    async def reading(scope: Scope, receive: Any, send: Any) -> None:
        await echo(scope, lambda: asyncio.create_task(receive()), send)

    talk(AIUsageASGIMiddleware(reading), "one", "two", user=ada)

    assert recorded() == [("ada", "other")] * 2


def test_end_of_a_message_wakes_delivery(ada: User, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    woken: list[int] = []

    async def counting(scope: Scope, receive: Any, send: Any) -> None:
        async def sent(message: Any) -> None:
            made.append(1)
            await send(message)

        await echo(scope, receive, sent)

    with monkeypatch.context() as patched:
        patched.setattr(outbox, "inline", lambda: False)
        patched.setattr(outbox, "listener", None)
        patched.setattr(outbox, "wake", lambda **_: woken.append(len(made)))
        talk(AIUsageASGIMiddleware(counting), "one", "two", user=ada)

    assert woken == [1, 2, 3, 3]


def test_connection_does_not_inherit_the_scope_of_its_start(ada: User) -> None:
    with ai_usage(section="chat", user=ada):
        visit(AIUsageASGIMiddleware(answer))
        talk(AIUsageASGIMiddleware(echo), "one")

    assert recorded() == [(None, "other")] * 2


def test_request_started_inside_send_inherits_no_scope(ada: User) -> None:
    """uvicorn does this with keep-alive connections."""
    found: list[Any] = []

    async def visit() -> None:
        async def send(message: Any) -> None:
            async def next_request() -> None:
                found.append(scope.current())

            await asyncio.create_task(next_request())

        await AIUsageASGIMiddleware(answer)({"type": "http", "user": ada}, _nothing, send)

    async_to_sync(visit)()

    assert found == [None, None]


async def _nothing() -> Any:
    return {}


@pytest.mark.parametrize("kind", ["http", "websocket", "lifespan"])
def test_application_is_called_directly_if_there_is_nothing_to_do(
    kind: str, settings: Settings
) -> None:
    settings.AI_USAGE_ENABLED = kind == "lifespan"
    called: list[Any] = []

    async def application(*arguments: Any) -> None:
        called.append((*arguments, scope.current()))

    given: tuple[Any, ...] = ({"type": kind}, _nothing, _nothing)
    async_to_sync(AIUsageASGIMiddleware(application))(*given)

    assert called == [(*given, None)]


@pytest.mark.parametrize("use", [visit, talk])
def test_error_of_the_application_propagates(use: Callable[..., None], ada: User) -> None:
    async def broken(scope: Scope, receive: Any, send: Any) -> None:
        await receive()
        capture()
        await send({"type": "any"})
        raise KeyError("theirs")

    with pytest.raises(KeyError, match="theirs"):
        use(AIUsageASGIMiddleware(broken), user=ada)

    assert recorded() == [("ada", "other")]


@pytest.mark.parametrize("use", [visit, talk])
def test_internal_error_does_not_reach_the_application(
    use: Callable[..., None], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.AI_USAGE_RAISE_ERRORS = False

    def fail(*_: Any) -> Any:
        raise RuntimeError("ours")

    monkeypatch.setattr(scope.Unit, "__init__", fail)
    monkeypatch.setattr(errors, "failures", errors.Counter())
    called: list[bool] = []

    async def application(scope: Scope, receive: Any, send: Any) -> None:
        called.append((await receive()) is not None)
        await send({"type": "any"})

    use(AIUsageASGIMiddleware(application))

    assert called == [True]
    assert errors.failures
