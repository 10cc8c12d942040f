"""`AI_USAGE_WAIT` in one process: the end of a unit of work waits for the delivery thread.

`tests/hosts/test_wait.py` tests real servers.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.test import AsyncRequestFactory, RequestFactory

from tests.support.builders import capture
from tests.support.comparison import attributed, rows
from tests.support.providers import until
from usage_tracking import ai_usage, asgi, conf, outbox
from usage_tracking.attribution.scope import Steps, current, open_units
from usage_tracking.attribution.users import Connection
from usage_tracking.connections import OpenConnection
from usage_tracking.contrib import task_scopes
from usage_tracking.delivery import delivery
from usage_tracking.middleware import AIUsageMiddleware

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _production(tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A production site: an outbox on disk and a delivery thread."""
    settings.AI_USAGE_WAIT = 60  # longer than any machine needs
    settings.AI_USAGE_OUTBOX = tmp_path / "outbox"
    monkeypatch.setattr(outbox, "WAIT", 0.0)  # the wait of each block
    monkeypatch.setattr(outbox, "inline", lambda: False)
    delivery.after_fork()  # start a new thread
    yield
    assert (current(), open_units) == (None, {})
    threads = [thread for thread in threading.enumerate() if thread.name == "ai_usage_delivery"]
    delivery.stop()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "the delivery thread did not end"
    delivery.after_fork()


@pytest.fixture
def user() -> User:
    return User.objects.create_user("ada")


def users() -> list[str | None]:
    return [attributed(row)[0] for row in rows()]


def test_row_is_saved_when_a_view_has_responded(user: User) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        capture()
        return HttpResponse()

    request = RequestFactory().get("/")
    request.user = user
    AIUsageMiddleware(view)(request)

    assert users() == ["ada"]


def test_row_is_saved_when_an_async_view_has_responded(user: User) -> None:
    async def view(request: HttpRequest) -> HttpResponse:
        capture()
        return HttpResponse()

    async def visit() -> list[str | None]:
        request = AsyncRequestFactory().get("/")
        request.user = user
        await AIUsageMiddleware(view)(request)
        return await sync_to_async(users)()

    assert async_to_sync(visit)() == ["ada"]


def test_event_loop_runs_while_a_view_waits(user: User) -> None:
    """Delivery continues only after another task of the loop allows it."""

    async def view(request: HttpRequest) -> HttpResponse:
        capture()
        return HttpResponse()

    async def visits() -> None:
        with delivery._deliverer._one_at_a_time:
            waiting = asyncio.create_task(AIUsageMiddleware(view)(AsyncRequestFactory().get("/")))
            await until(lambda: delivery._worker._thread, "the thread that delivers")
            assert not waiting.done()
        await waiting

    async_to_sync(visits)()

    assert users() == [None]


def test_row_is_saved_when_a_block_has_ended(user: User) -> None:
    with ai_usage(section="chat", user=user):
        capture()

    assert users() == ["ada"]


def test_row_is_saved_when_a_task_has_ended() -> None:
    task_scopes.begin("1", "shop.tasks.ask", metadata={})
    capture()
    task_scopes.end("1")

    assert users() == [None]


def test_row_is_saved_before_the_last_part_of_an_asgi_response(user: User) -> None:
    seen: list[list[str | None]] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        capture()
        await send({"type": "http.response.start"})
        await send({"type": "http.response.body", "more_body": True})
        await send({"type": "http.response.body"})
        capture()  # like a background task

    async def send(message: Any) -> None:
        assert current() is None
        seen.append(await sync_to_async(users)())

    scope = {"type": "http", "user": user}

    async def receive() -> Any:
        return {"type": "http.request"}

    async_to_sync(asgi.AIUsageASGIMiddleware(application))(scope, receive, send)

    assert seen == [[], [], ["ada"]]
    assert users() == ["ada", "ada"]


def test_row_is_saved_when_a_message_has_been_handled(user: User) -> None:
    async def conversation() -> list[str | None]:
        opened = OpenConnection(Connection({"user": user}))
        with Steps(opened.scope):
            message = opened.begin()
            capture()
            await opened.end(message)
        opened.close()
        return await sync_to_async(users)()

    assert async_to_sync(conversation)() == ["ada"]


def test_unit_without_a_call_does_not_wait_for_others(
    user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    wake = outbox.wake

    def note(*, wait: float = 0.0) -> None:
        waits.append(wait)
        wake(wait=wait)

    monkeypatch.setattr(outbox, "wake", note)
    with ai_usage(section="chat"):
        capture()
        AIUsageMiddleware(lambda _: HttpResponse())(RequestFactory().get("/"))
        task_scopes.begin("1", "shop.tasks.ask", metadata={})
        task_scopes.end("1")

    assert waits == [0.0, 60]


def test_unit_does_not_wait_for_a_thread_that_cannot_start(
    user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with ai_usage(section="chat", user=user):
            capture()
        assert delivery._worker._thread is None
    with ai_usage(section="chat", user=user):
        capture()

    assert users() == ["ada", "ada"]


@pytest.mark.sqlite
def test_block_in_a_transaction_on_sqlite_does_not_wait_for_itself(user: User) -> None:
    for begin in (transaction.atomic, without_autocommit):
        with begin():
            User.objects.update(first_name="Ada")  # takes the only write lock
            with ai_usage(section="chat", user=user):
                capture()
    with ai_usage(section="chat", user=user):
        capture()

    assert users() == ["ada"] * 3


@contextmanager
def without_autocommit() -> Iterator[None]:
    transaction.set_autocommit(False)
    try:
        yield
        transaction.commit()
    finally:
        transaction.set_autocommit(True)


@pytest.mark.parametrize("value", [-1, "1", None, float("nan"), True])
def test_invalid_value_is_ignored(settings: Any, value: Any) -> None:
    settings.AI_USAGE_WAIT = value
    assert 0 <= conf.wait() <= 1
    settings.AI_USAGE_WAIT = float("inf")
    assert conf.wait() == conf.LONGEST_WAIT
