"""AI calls of Channels consumers get the user of their connection and the section."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from asgiref.testing import ApplicationCommunicator
from django.contrib.auth.models import AnonymousUser, User
from django.utils.functional import SimpleLazyObject
from pytest_django import Settings

from tests.support.builders import capture, make_user
from tests.support.comparison import attributed, rows
from tests.support.providers import join
from tests.support.waiting import PATIENCE
from usage_tracking import ai_section, ai_usage, outbox, track_ai_usage
from usage_tracking.asgi import AIUsageASGIMiddleware
from usage_tracking.attribution import scope

pytest.importorskip("channels")  # an optional dependency

from channels.consumer import AsyncConsumer, SyncConsumer
from channels.generic.http import AsyncHttpConsumer
from channels.generic.websocket import AsyncWebsocketConsumer, WebsocketConsumer
from channels.routing import ChannelNameRouter, ProtocolTypeRouter, URLRouter
from django.urls import path

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _nothing_left_open() -> Iterator[None]:
    yield
    assert scope.open_units == {}
    assert scope.current() is None


@pytest.fixture
def ada(db: None) -> User:
    return make_user("ada")


@pytest.fixture
def grace(db: None) -> User:
    return make_user("grace")


class Chat(AsyncWebsocketConsumer):
    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        capture()
        await self.send(text_data=text_data)


class SyncChat(WebsocketConsumer):
    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        capture()
        self.send(text_data=text_data)


class Marked(Chat):
    ai_section = "knowledge_qa"


@ai_section("marketing_workflow")
class Decorated(SyncChat):
    pass


class Socket:
    """A client of a consumer or of another ASGI application."""

    def __init__(self, application: Any, user: Any = None, **more: Any) -> None:
        values = {"type": "websocket", "path": "/", "headers": []}
        if user is not None:
            values["user"] = user
        self.scope = values | more
        self.application = ApplicationCommunicator(application, self.scope)

    async def open(self) -> Socket:
        await self.application.send_input({"type": "websocket.connect"})
        assert (await self.application.receive_output(PATIENCE))["type"] == "websocket.accept"
        return self

    async def say(self, text: str = "Hello") -> Any:
        await self.application.send_input({"type": "websocket.receive", "text": text})
        return (await self.application.receive_output(PATIENCE)).get("text")

    async def close(self) -> None:
        await self.application.send_input({"type": "websocket.disconnect", "code": 1000})
        await self.application.wait(PATIENCE)


def talk(consumer: Any, user: Any = None, messages: int = 1, **more: Any) -> None:
    async def talk() -> None:
        socket = await Socket(consumer.as_asgi(), user, **more).open()
        for _ in range(messages):
            await socket.say()
        await socket.close()

    async_to_sync(talk)()


def recorded() -> list[tuple[str | None, str]]:
    return [attributed(row) for row in rows()]


@pytest.mark.parametrize("consumer", [Chat, SyncChat])
def test_every_message_belongs_to_the_user(consumer: Any, ada: User) -> None:
    talk(consumer, ada, messages=3)

    assert recorded() == [("ada", "other")] * 3


def test_user_resolved_by_channels_is_used(ada: User) -> None:
    from channels.auth import UserLazyObject

    user = UserLazyObject()
    user._wrapped = ada
    talk(Chat, user)

    assert recorded() == [("ada", "other")]


def test_lazy_user_of_the_site_is_resolved_after_the_message(ada: User) -> None:
    talk(Chat, SimpleLazyObject(lambda: User.objects.get(username="ada")))

    assert recorded() == [("ada", "other")]


@pytest.mark.parametrize("user", [None, AnonymousUser()])
def test_anonymous_user_is_unattributed(user: Any) -> None:
    talk(Chat, user)

    assert recorded() == [(None, "other")]


def test_section_comes_from_the_consumer(ada: User) -> None:
    for consumer in (Marked, Decorated):
        talk(consumer, ada)

    assert recorded() == [("ada", "knowledge_qa"), ("ada", "marketing_workflow")]


@pytest.mark.parametrize("key", ["tests.test_channels.Chat", "tests.test_channels"])
def test_section_map_can_name_a_consumer(key: str, settings: Settings, ada: User) -> None:
    settings.AI_USAGE_SECTION_MAP = {key: "rag_pipeline"}
    talk(Chat, ada)

    assert recorded() == [("ada", "rag_pipeline")]


def test_concurrent_connections_do_not_mix(ada: User, grace: User) -> None:
    async def talk() -> None:
        application = ProtocolTypeRouter(
            {
                "websocket": URLRouter(
                    [path("a/", Marked.as_asgi()), path("b/", Decorated.as_asgi())]
                )
            }
        )
        first = await Socket(application, ada, path="/a/").open()
        second = await Socket(application, grace, path="/b/").open()
        third = await Socket(application, AnonymousUser(), path="/a/").open()
        for _ in range(2):
            for socket in (first, second, third):
                await socket.say()
        for socket in (second, first, third):
            await socket.close()

    async_to_sync(talk)()

    once = [
        ("ada", "knowledge_qa"),
        ("grace", "marketing_workflow"),
        (None, "knowledge_qa"),
    ]
    assert recorded() == once * 2


def test_connection_does_not_inherit_the_scope_of_its_start(ada: User, grace: User) -> None:
    with ai_usage(section="chat", user=grace):
        talk(Chat, ada)
        talk(Chat)

    assert recorded() == [("ada", "other"), (None, "other")]


def test_user_may_log_in_and_out_while_the_connection_is_open(ada: User, grace: User) -> None:
    class Login(Chat):
        async def receive(
            self, text_data: str | None = None, bytes_data: bytes | None = None
        ) -> None:
            user = {"ada": ada, "grace": grace}.get(text_data or "", AnonymousUser())
            self.scope["user"] = user
            await super().receive(text_data, bytes_data)

    async def talk() -> None:
        socket = await Socket(Login.as_asgi()).open()
        for name in ("ada", "grace", "nobody"):
            await socket.say(name)
        await socket.close()

    async_to_sync(talk)()

    assert recorded() == [("ada", "other"), ("grace", "other"), (None, "other")]


def test_call_of_connect_and_of_disconnect_has_the_user_too(ada: User) -> None:
    class Greeting(Chat):
        async def connect(self) -> None:
            capture()
            await self.accept()

        async def disconnect(self, code: int) -> None:
            capture()

    talk(Greeting, ada)

    assert recorded() == [("ada", "other")] * 3


def test_consumer_with_its_own_dispatch_is_attributed(ada: User) -> None:
    class Own(AsyncConsumer):
        ai_section = "chat"

        async def dispatch(self, message: Any) -> None:
            if message["type"] == "websocket.connect":
                await self.send({"type": "websocket.accept"})
                return
            capture()
            if message["type"] == "websocket.disconnect":
                from channels.exceptions import StopConsumer

                raise StopConsumer
            await self.send({"type": "websocket.send", "text": "yes"})

    talk(Own, ada)

    assert recorded() == [("ada", "chat")] * 2


def test_group_message_belongs_to_the_user_who_receives_it(
    settings: Settings, ada: User, grace: User
) -> None:
    class Room(AsyncWebsocketConsumer):
        groups = ["room"]

        async def receive(
            self, text_data: str | None = None, bytes_data: bytes | None = None
        ) -> None:
            await self.channel_layer.group_send("room", {"type": "room.message"})

        async def room_message(self, message: Any) -> None:
            capture()
            await self.send(text_data="yes")

    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}

    async def talk() -> None:
        first = await Socket(Room.as_asgi(), ada).open()
        second = await Socket(Room.as_asgi(), grace).open()
        await first.say()
        await second.application.receive_output(PATIENCE)
        for socket in (first, second):
            await socket.close()

    async_to_sync(talk)()

    assert sorted(recorded(), key=str) == [("ada", "other"), ("grace", "other")]


def test_consumer_inside_the_middleware_is_attributed_too(ada: User) -> None:
    async def talk() -> None:
        socket = await Socket(AIUsageASGIMiddleware(Marked.as_asgi()), ada).open()
        await socket.say()
        await socket.say()
        await socket.close()

    async_to_sync(talk)()

    assert recorded() == [("ada", "knowledge_qa")] * 2


def test_http_consumer_belongs_to_its_user(ada: User) -> None:
    class Answer(AsyncHttpConsumer):
        ai_section = "chat"

        async def handle(self, body: bytes) -> None:
            capture()
            await self.send_response(200, b"yes")

    async def visit() -> Any:
        http = {"type": "http", "path": "/", "headers": [], "user": ada}
        application = ApplicationCommunicator(Answer.as_asgi(), http)
        await application.send_input({"type": "http.request", "body": b""})
        return [await application.receive_output(PATIENCE) for _ in range(2)]

    start, _ = async_to_sync(visit)()

    assert start["status"] == 200
    assert recorded() == [("ada", "chat")]


def test_worker_of_a_channel_has_a_section_and_no_user(settings: Settings) -> None:
    settings.AI_USAGE_SECTION_MAP = {"tests.test_channels": "embedding_generation"}

    async def work() -> None:
        application = ApplicationCommunicator(
            ChannelNameRouter({"index": Index.as_asgi()}), {"type": "channel", "channel": "index"}
        )
        await application.send_input({"type": "index.product"})
        await asyncio.wait_for(Index.done.wait(), PATIENCE)
        application.stop()

    async_to_sync(work)()

    assert recorded() == [(None, "embedding_generation")]


class Index(SyncConsumer):
    done = asyncio.Event()

    def index_product(self, message: Any) -> None:
        capture()
        self.done._loop.call_soon_threadsafe(self.done.set)


def test_thread_and_task_that_a_message_starts_belong_to_the_user(ada: User) -> None:
    class Parallel(Chat):
        async def receive(
            self, text_data: str | None = None, bytes_data: bytes | None = None
        ) -> None:
            thread = threading.Thread(target=capture)
            thread.start()
            await asyncio.to_thread(join, thread)
            await asyncio.gather(super().receive(text_data), asyncio.to_thread(capture))

    talk(Parallel, ada)

    assert recorded() == [("ada", "other")] * 3


def background(user: User, later: Callable[[], None], *, closed: bool) -> None:
    """Run a consumer whose first message starts a task that calls again after `later`."""
    go = asyncio.Event()
    tasks: list[Any] = []

    class Background(Chat):
        async def receive(
            self, text_data: str | None = None, bytes_data: bytes | None = None
        ) -> None:
            async def work() -> None:
                await go.wait()
                capture()
                with ai_usage(section="chat"):
                    capture()

            tasks.append(asyncio.create_task(work()))
            await self.send(text_data=text_data)

    async def talk() -> None:
        socket = await Socket(Background.as_asgi(), user).open()
        await socket.say()
        if closed:
            await socket.close()
        later()
        go.set()
        await tasks[0]
        if not closed:
            await socket.close()

    async_to_sync(talk)()


@pytest.mark.parametrize("closed", [False, True])
def test_task_belongs_to_the_user_while_the_connection_is_open(
    closed: bool, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By default it does for five more minutes, as with requests. Here it is 0 s."""
    background(ada, lambda: monkeypatch.setattr(scope, "OUTLIVE", -1.0), closed=closed)

    if closed:
        assert recorded()[0] == (None, "other")
    else:
        assert recorded() == [("ada", "other"), ("ada", "chat")]


def test_message_is_a_unit_but_the_open_connection_is_not(ada: User) -> None:
    open_while: list[int] = []

    class Looking(Chat):
        async def receive(
            self, text_data: str | None = None, bytes_data: bytes | None = None
        ) -> None:
            capture()
            open_while.append(len(scope.open_units))
            await self.send(text_data=text_data)

    async def talk() -> None:
        socket = await Socket(Looking.as_asgi(), ada).open()
        await socket.say()
        await socket.say()
        await asyncio.sleep(0)  # lets the consumer wait for the third message
        open_while.append(len(scope.open_units))
        await socket.close()

    async_to_sync(talk)()

    assert open_while == [1, 1, 0]


def test_end_of_a_message_wakes_delivery(ada: User, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    woken: list[int] = []

    class Counting(Chat):
        async def receive(
            self, text_data: str | None = None, bytes_data: bytes | None = None
        ) -> None:
            await super().receive(text_data)
            made.append(1)

    with monkeypatch.context() as patched:
        patched.setattr(outbox, "inline", lambda: False)
        patched.setattr(outbox, "listener", None)
        patched.setattr(outbox, "wake", lambda **_: woken.append(len(made)))
        talk(Counting, ada, messages=2)

    # The first wake is at the end of `connect`, the last at the end of `disconnect`.
    assert woken == [0, 1, 2, 2]


def test_manual_record_joins_the_call_of_its_message(ada: User) -> None:
    class Telling(SyncChat):
        def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
            super().receive(text_data)
            track_ai_usage(self.scope["user"], "rag_pipeline", 150, 80)

    talk(Telling, ada, messages=2)

    assert recorded() == [("ada", "rag_pipeline")] * 2


def test_block_can_span_several_messages(
    ada: User,
) -> None:
    class Blocked(Chat):
        async def connect(self) -> None:
            self.block = ai_usage(section="chat")
            self.usage = await self.block.__aenter__()
            await self.accept()

        async def receive(
            self, text_data: str | None = None, bytes_data: bytes | None = None
        ) -> None:
            await super().receive(text_data)
            if text_data == "leave":
                await self.block.__aexit__(None, None, None)

    async def talk() -> None:
        socket = await Socket(Blocked.as_asgi(), ada).open()
        for text in ("stay", "leave", "left"):
            await socket.say(text)
        await socket.close()

    async_to_sync(talk)()

    assert recorded() == [("ada", "chat"), ("ada", "chat"), ("ada", "other")]


def test_error_of_a_consumer_propagates(ada: User) -> None:
    class Broken(Chat):
        async def receive(
            self, text_data: str | None = None, bytes_data: bytes | None = None
        ) -> None:
            capture()
            raise KeyError("theirs")

    async def talk() -> None:
        socket = await Socket(Broken.as_asgi(), ada).open()
        await socket.application.send_input({"type": "websocket.receive", "text": "Hello"})
        await socket.application.wait(PATIENCE)

    with pytest.raises(KeyError, match="theirs"):
        async_to_sync(talk)()

    assert recorded() == [("ada", "other")]


def test_disabled_tracking_does_nothing(settings: Settings, ada: User) -> None:
    settings.AI_USAGE_ENABLED = False
    found: list[Any] = []

    class Looking(Chat):
        async def receive(
            self, text_data: str | None = None, bytes_data: bytes | None = None
        ) -> None:
            found.append(scope.current())
            await self.send(text_data=text_data)

    talk(Looking, ada)

    assert found == [None]
