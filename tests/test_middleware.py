"""AI calls of requests get their user and section, with WSGI and ASGI, in bodies too.

Nearly every test runs in both modes: a sync view with `Client` and an async view with
`AsyncClient`.
"""

from __future__ import annotations

import gc
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import django
import httpx2
import pytest
from asgiref.sync import async_to_sync, iscoroutinefunction, sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import MiddlewareNotUsed
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.db import (
    IntegrityError,
    connection,
    connections,
    transaction,
)
from django.http import (
    FileResponse,
    HttpRequest,
    HttpResponse,
    StreamingHttpResponse,
)
from django.test import AsyncClient, AsyncRequestFactory, Client, RequestFactory
from django.urls import path
from django.utils.functional import SimpleLazyObject
from pytest_django import Settings
from rest_framework.authentication import BaseAuthentication
from rest_framework.decorators import api_view, authentication_classes
from rest_framework.response import Response

from project.stub import StubProvider
from tests.support import providers
from tests.support.cases import check_each
from tests.support.comparison import assert_recorded_as_served, attributed, forget, only_row, rows
from tests.support.providers import LIMIT, join, wait_for
from tests.views import aask, aask_for_stream, ask, ask_for_stream
from usage_tracking import ai_usage, errors, middleware, outbox, track_ai_usage
from usage_tracking.attribution import scope
from usage_tracking.middleware import AIUsageMiddleware
from usage_tracking.recorder import pending_users

one_certificate, provider = providers.one_certificate, providers.provider
stub, user = providers.stub, providers.user
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("stub")]

View = Callable[..., Any]


class Visitor:
    """Serves a view at one path of the site and requests it."""

    def __init__(self, settings: Settings, mode: str) -> None:
        self._settings = settings
        self.is_async = mode == "async"

    def __call__(
        self, view: View, user: User | None = None, *, client: Any = None
    ) -> tuple[Any, list[bytes]]:
        """Return the response and the chunks of its body."""
        self._settings.ROOT_URLCONF = (path("", view, name="page"),)
        return self.get("/", user, client=client)

    def get(
        self, url: str, user: User | None = None, *, client: Any = None
    ) -> tuple[Any, list[bytes]]:
        client = client or self.client(user)
        if self.is_async:
            return async_to_sync(self._aget)(client, url)
        response: Any = client.get(url)
        return response, list(response) if response.streaming else [response.content]

    def client(self, user: User | None = None, **options: Any) -> Any:
        client = AsyncClient(**options) if self.is_async else Client(**options)
        if user is not None:
            client.force_login(user)
        return client

    @staticmethod
    async def _aget(client: Any, url: str) -> tuple[Any, list[bytes]]:
        response = await client.get(url)
        if not response.streaming:
            return response, [response.content]
        if response.is_async:
            return response, [chunk async for chunk in response]
        return response, await sync_to_async(lambda: list(response.streaming_content))()


@pytest.fixture(params=["sync", "async"])
def visit(request: pytest.FixtureRequest, settings: Settings) -> Visitor:
    return Visitor(settings, request.param)


def either(visit: Visitor, view: View, aview: View) -> View:
    assert iscoroutinefunction(aview)
    assert not iscoroutinefunction(view)
    return aview if visit.is_async else view


def logged_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def plain(request: HttpRequest) -> HttpResponse:
    ask()
    return HttpResponse("done")


async def aplain(request: HttpRequest) -> HttpResponse:
    await aask()
    return HttpResponse("done")


@pytest.mark.parametrize("view", [plain, aplain])
def test_call_in_a_view_belongs_to_the_user(visit: Visitor, user: User, view: View) -> None:
    # Sync and async views, each with WSGI and ASGI.
    response, body = visit(view, user)

    assert (response.status_code, body) == (200, [b"done"])
    assert attributed(only_row()) == ("ada", "other")


def test_call_of_an_anonymous_user_has_no_user(visit: Visitor) -> None:
    visit(either(visit, plain, aplain))

    assert attributed(only_row()) == (None, "other")


def test_calls_of_two_users_do_not_mix(visit: Visitor, user: User) -> None:
    grace = User.objects.create_user("grace")
    for visitor in (user, grace, None, user):
        visit(either(visit, plain, aplain), visitor)

    assert [attributed(row)[0] for row in rows()] == ["ada", "grace", None, "ada"]


def test_no_unit_or_scope_remains_after_a_request(visit: Visitor, user: User) -> None:
    visit(either(visit, plain, aplain), user)

    assert scope.current() is None
    assert scope.open_units == {}


def test_user_deleted_by_the_view_leaves_the_call_unattributed(
    visit: Visitor, user: User, settings: Settings
) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        ask()
        User.objects.filter(pk=user.pk).delete()
        return HttpResponse()

    async def aview(request: HttpRequest) -> HttpResponse:
        await aask()
        await User.objects.filter(pk=user.pk).adelete()
        return HttpResponse()

    response, _ = visit(either(visit, view, aview), user)

    assert response.status_code == 200
    row = only_row()
    assert (row.user, row.section) == (None, "other")


# Late resolution of the user.


def test_page_without_a_call_does_not_read_the_session(visit: Visitor, user: User) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse("no call")

    async def aview(request: HttpRequest) -> HttpResponse:
        return HttpResponse("no call")

    statements: list[str] = []
    client = visit.client(user)
    with connection.execute_wrapper(_noting(statements)):
        response, _ = visit(either(visit, view, aview), client=client)

    assert not response.has_header("Vary")
    assert statements == []


def test_call_before_the_view_reads_the_user_is_attributed(visit: Visitor, user: User) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        ask()
        return HttpResponse(request.user.get_username())

    async def aview(request: HttpRequest) -> HttpResponse:
        await aask()
        return HttpResponse((await request.auser()).get_username())

    _, body = visit(either(visit, view, aview), user)

    assert body == [b"ada"]
    assert attributed(only_row()) == ("ada", "other")


def test_call_after_the_view_reads_the_user_is_attributed(visit: Visitor, user: User) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        assert request.user.is_authenticated
        ask()
        return HttpResponse()

    async def aview(request: HttpRequest) -> HttpResponse:
        assert (await request.auser()).is_authenticated
        await aask()
        return HttpResponse()

    visit(either(visit, view, aview), user)

    assert attributed(only_row()) == ("ada", "other")


def test_user_assigned_by_an_authentication_of_the_site_wins(visit: Visitor, user: User) -> None:
    grace = User.objects.create_user("grace")

    def view(request: HttpRequest) -> HttpResponse:
        request.user = grace
        ask()
        return HttpResponse()

    async def aview(request: HttpRequest) -> HttpResponse:
        request.user = grace
        await aask()
        return HttpResponse()

    visit(either(visit, view, aview), user)

    assert attributed(only_row()) == ("grace", "other")


class Token(BaseAuthentication):
    def authenticate(self, request: Any) -> tuple[User, str]:
        return User.objects.get(username="grace"), "token"


class Stateless(BaseAuthentication):
    """Like JWT libraries: a user without a row, whose name is not in the token."""

    def authenticate(self, request: Any) -> tuple[Any, str]:
        key = str(User.objects.get(username="grace").pk)
        user = SimpleNamespace(id=key, pk=key, is_authenticated=True, get_username=lambda: "")
        return user, "token"


class NoUser(BaseAuthentication):
    def authenticate(self, request: Any) -> None:
        return None


@pytest.mark.parametrize(
    ("authentication", "name"), [(Token, "grace"), (Stateless, "grace"), (NoUser, None)]
)
def test_user_of_a_rest_framework_view_is_recorded(
    visit: Visitor, settings: Settings, authentication: type, name: str | None
) -> None:
    settings.REST_FRAMEWORK = {"UNAUTHENTICATED_USER": None}
    User.objects.create_user("grace")

    @api_view()
    @authentication_classes([authentication])
    def view(request: Any) -> Response:
        ask()
        return Response("done")

    response, _ = visit(view)

    assert response.status_code == 200
    assert attributed(only_row()) == (name, "other")


def test_user_object_of_another_kind_is_not_a_user(visit: Visitor) -> None:
    """Sites assign API keys and service accounts to `request.user`."""

    def check(other: Any) -> None:
        def view(request: HttpRequest) -> HttpResponse:
            request.user = other
            ask()
            return HttpResponse("done")

        async def aview(request: HttpRequest) -> HttpResponse:
            request.user = other
            await aask()
            return HttpResponse("done")

        forget()
        _, body = visit(either(visit, view, aview))

        assert body == [b"done"]
        assert attributed(only_row()) == (None, "other")

    check_each(check, ["service-account", {"key": 7}, object(), 0])


def test_user_of_an_async_middleware_is_awaited(settings: Settings, user: User) -> None:
    async def view(request: HttpRequest) -> HttpResponse:
        async def auser() -> Any:
            return user

        del request.user
        request.auser = auser
        await aask()
        return HttpResponse()

    Visitor(settings, "async")(view)

    assert attributed(only_row()) == ("ada", "other")


def test_sync_sdk_in_an_async_view_is_attributed_at_the_end(settings: Settings, user: User) -> None:
    async def view(request: HttpRequest) -> HttpResponse:
        ask("One")
        ask("Two")
        return HttpResponse()

    Visitor(settings, "async")(view, user)

    assert [attributed(row) for row in rows()] == [("ada", "other")] * 2


def test_sync_sdk_in_an_async_body_is_attributed_at_the_end(settings: Settings, user: User) -> None:
    async def view(request: HttpRequest) -> StreamingHttpResponse:
        async def body() -> AsyncIterator[str]:
            yield "before"
            ask()
            yield "after"

        return StreamingHttpResponse(body())

    _, body = Visitor(settings, "async")(view, user)

    assert body == [b"before", b"after"]
    assert attributed(only_row()) == ("ada", "other")


@pytest.mark.django_db(transaction=True)
def test_call_of_a_thread_that_outlives_the_request_is_attributed(
    visit: Visitor, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    responded, began = threading.Event(), threading.Event()

    def answer(request: httpx2.Request) -> httpx2.Response:
        began.set()
        wait_for(responded, "the response of the view")
        return httpx2.Response(200, json={"choices": [], "model": "gpt-4o"})

    def work() -> None:
        with httpx2.Client(transport=httpx2.MockTransport(answer)) as client:
            client.post("https://api.openai.com/v1/chat/completions", json={"model": "m"})
        connections.close_all()

    thread = threading.Thread(target=work)

    def view(request: HttpRequest) -> HttpResponse:
        thread.start()
        wait_for(began, "the call of the thread")
        return HttpResponse()

    visit(view, user)
    responded.set()
    join(thread)

    assert attributed(only_row()) == ("ada", "other")


def test_explicit_user_is_not_overwritten_at_the_end(settings: Settings, user: User) -> None:
    grace = User.objects.create_user("grace")

    async def view(request: HttpRequest) -> HttpResponse:
        answer = ask()  # its user is resolved at the end
        usage = answer.usage
        await sync_to_async(track_ai_usage)(
            grace, "chat", usage.prompt_tokens, usage.completion_tokens
        )
        return HttpResponse()

    Visitor(settings, "async")(view, user)

    assert attributed(only_row()) == ("grace", "chat")


def test_auser_of_another_kind_does_not_affect_the_call(settings: Settings) -> None:
    def check(other: object) -> None:
        async def view(request: HttpRequest) -> HttpResponse:
            async def auser() -> Any:
                return other

            request.auser = auser
            await aask()
            return HttpResponse("done")

        forget()
        _, body = Visitor(settings, "async")(view)

        assert body == [b"done"]
        assert attributed(only_row()) == (None, "other")

    check_each(check, [object(), "service-account"])


def test_failing_user_lookup_leaves_the_call_unattributed(
    visit: Visitor, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.AI_USAGE_RAISE_ERRORS = False

    def fail() -> User:
        raise RuntimeError("the user service is down")

    def view(request: HttpRequest) -> HttpResponse:
        request.user = SimpleLazyObject(fail)  # type: ignore[assignment]
        ask()
        return HttpResponse("done")

    async def aview(request: HttpRequest) -> HttpResponse:
        request.user = SimpleLazyObject(fail)  # type: ignore[assignment]
        await aask()
        return HttpResponse("done")

    before = errors.failures.total()
    _, body = visit(either(visit, view, aview))

    assert body == [b"done"]
    assert attributed(only_row()) == (None, "other")
    assert errors.failures.total() > before
    assert "[TRACK_EXCEPTION]" in caplog.text
    assert "the user service is down" in caplog.text
    assert scope.open_units == {}


def test_call_in_a_broken_transaction_is_recorded(
    visit: Visitor, settings: Settings, user: User
) -> None:
    settings.AI_USAGE_RAISE_ERRORS = False

    def work() -> None:
        with transaction.atomic():
            try:
                User.objects.create(username="ada")
            except IntegrityError:
                ask()  # queries fail here

    def view(request: HttpRequest) -> HttpResponse:
        work()
        return HttpResponse("done")

    async def aview(request: HttpRequest) -> HttpResponse:
        await sync_to_async(work)()
        return HttpResponse("done")

    response, body = visit(either(visit, view, aview), user)

    assert (response.status_code, body) == (200, [b"done"])
    # The user is resolved again when the request ends, after the transaction.
    assert attributed(only_row()) == ("ada", "other")


def test_user_of_a_block_wins_over_the_user_of_the_request(visit: Visitor, user: User) -> None:
    grace = User.objects.create_user("grace")

    def view(request: HttpRequest) -> HttpResponse:
        with ai_usage(user=grace):
            ask()
        ask()
        return HttpResponse()

    async def aview(request: HttpRequest) -> HttpResponse:
        async with ai_usage(user=grace):
            await aask()
        await aask()
        return HttpResponse()

    visit(either(visit, view, aview), user)

    assert [attributed(row)[0] for row in rows()] == ["grace", "ada"]


def test_lazy_user_of_a_block_is_resolved(visit: Visitor, user: User) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        with ai_usage(section="chat", user=request.user):
            ask()
        return HttpResponse()

    async def aview(request: HttpRequest) -> HttpResponse:
        # Pass the lazy object, because reading it here would make a query on the event loop.
        async with ai_usage(section="chat", user=request.user):
            await aask()
            ask()
        return HttpResponse()

    visit(either(visit, view, aview), user)

    assert {attributed(row) for row in rows()} == {("ada", "chat")}


def test_anonymous_user_of_a_block_is_unattributed(visit: Visitor, user: User) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        with ai_usage(user=AnonymousUser()):
            ask()
        return HttpResponse()

    async def aview(request: HttpRequest) -> HttpResponse:
        async with ai_usage(user=AnonymousUser()):
            await aask()
        return HttpResponse()

    visit(either(visit, view, aview), user)

    assert attributed(only_row()) == (None, "other")


def test_client_headers_do_not_set_the_user(settings: Settings, user: User) -> None:
    settings.ROOT_URLCONF = (path("", plain),)

    Client(headers={"x-user": "ada", "remote-user": "ada", "authorization": "Bearer ada"}).get("/")

    assert attributed(only_row()) == (None, "other")


# The section.


SECTION_MAP = {
    "shop:plain": "product_recommendation",
    "shop:aplain": "product_recommendation",
    "shop:eu": "prompt_generation",
    "shop": "intent_detection",
    "plain": "embedding_generation",
    "aplain": "embedding_generation",
    "tests.views.marked": "chat",
    "tests.views.amarked": "chat",
    "tests.views.Decorated": "chat",
    "tests.views.ADecorated": "chat",
}


def test_section_is_found_in_order(visit: Visitor, settings: Settings, user: User) -> None:
    settings.AI_USAGE_SECTION_MAP = SECTION_MAP

    def check(url: str, section: str) -> None:
        forget()
        visit.get(url.format(a="a" if visit.is_async else ""), user)

        assert attributed(only_row()) == ("ada", section)

    sections = [
        ("/calls/{a}plain/", "embedding_generation"),  # by view name
        ("/shop/{a}plain/", "product_recommendation"),  # by qualified name before namespace
        ("/shop/eu/{a}plain/", "prompt_generation"),  # by the inner namespace
        ("/shop/eu/{a}marked-class/", "knowledge_qa"),  # the attribute wins over the map
        ("/calls/{a}marked/", "marketing_workflow"),
        ("/shop/{a}marked/", "marketing_workflow"),
        ("/calls/{a}marked-and-scoped/", "rag_pipeline"),  # the scope wins over the attribute
        ("/calls/{a}decorated-class/", "web_knowledge"),  # and over the map
    ]
    check_each(check, sections)


def test_section_map_accepts_prefixes_of_the_dotted_path(
    visit: Visitor, settings: Settings
) -> None:
    def check(mapping: dict[str, str], section: str) -> None:
        forget()
        settings.AI_USAGE_SECTION_MAP = mapping
        visit.get("/calls/aplain/" if visit.is_async else "/calls/plain/")

        assert only_row().section == section

    whole = ("tests.views.plain", "tests.views.aplain")
    cases: list[tuple[dict[str, str], str]] = [
        ({**dict.fromkeys(whole, "chat"), "tests": "rag_pipeline"}, "chat"),
        ({"tests.views": "chat", "tests": "rag_pipeline"}, "chat"),
        ({"tests": "chat"}, "chat"),
        ({"tests.view": "rag_pipeline", "tests.views.pla": "rag_pipeline"}, "other"),
        ({"shop": "rag_pipeline", "calls": "rag_pipeline"}, "other"),
        ({}, "other"),
    ]
    check_each(check, cases)


@pytest.mark.parametrize("url", ["/calls/decorated-class/", "/calls/marked-class-by-decorator/"])
def test_section_map_names_a_class_based_view_by_its_class(settings: Settings, url: str) -> None:
    settings.AI_USAGE_SECTION_MAP = {"tests.views.MarkedByDecorator": "chat"}
    Visitor(settings, "sync").get(url)

    assert only_row().section in {"web_knowledge", "session_memory"}


def test_default_section_comes_from_the_setting(visit: Visitor, settings: Settings) -> None:
    settings.AI_USAGE_DEFAULT_SECTION = "chat"
    visit(either(visit, plain, aplain))

    assert only_row().section == "chat"


def test_section_of_a_viewset_method_comes_from_its_class(settings: Settings) -> None:
    from rest_framework.viewsets import ViewSet

    class Answers(ViewSet):
        ai_section = "knowledge_qa"
        authentication_classes = ()

        def list(self, request: Any) -> Response:
            ask()
            return Response("done")

    Visitor(settings, "sync")(Answers.as_view({"get": "list"}))

    assert only_row().section == "knowledge_qa"


def calling_middleware(get_response: Callable[[HttpRequest], Any]) -> Callable[..., Any]:
    def middleware(request: HttpRequest) -> Any:
        ask()
        return get_response(request)

    return middleware


def test_call_of_a_middleware_has_the_user_and_the_default_section(
    settings: Settings, user: User
) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, f"{__name__}.calling_middleware"]
    settings.AI_USAGE_SECTION_MAP = {"page": "chat"}
    Visitor(settings, "sync")(plain, user)

    assert [attributed(row) for row in rows()] == [("ada", "other"), ("ada", "chat")]


def test_page_not_found_after_a_call_of_a_middleware_is_recorded(settings: Settings) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, f"{__name__}.calling_middleware"]
    response = Client().get("/no-such-page/")

    assert response.status_code == 404
    assert only_row().section == "other"


# Streaming responses.


def test_call_in_a_streaming_body_is_attributed(
    visit: Visitor, stub: StubProvider, user: User
) -> None:
    def view(request: HttpRequest) -> StreamingHttpResponse:
        return StreamingHttpResponse(ask_for_stream())

    async def aview(request: HttpRequest) -> StreamingHttpResponse:
        return StreamingHttpResponse(aask_for_stream())

    response, body = visit(either(visit, view, aview), user)

    assert response.streaming
    assert "Hello" in b"".join(body).decode()
    assert_recorded_as_served(rows(), stub.journal)
    assert attributed(only_row()) == ("ada", "other")
    assert scope.open_units == {}


def test_streaming_body_of_a_decorated_view_has_its_section(visit: Visitor, user: User) -> None:
    @ai_usage(section="chat", metadata={"feature": "talk"})
    def view(request: HttpRequest) -> StreamingHttpResponse:
        return StreamingHttpResponse(ask_for_stream())

    @ai_usage(section="chat", metadata={"feature": "talk"})
    async def aview(request: HttpRequest) -> StreamingHttpResponse:
        return StreamingHttpResponse(aask_for_stream())

    visit(either(visit, view, aview), user)

    row = only_row()
    assert attributed(row) == ("ada", "chat")
    assert row.metadata["feature"] == "talk"
    assert scope.open_units == {}


def test_block_inside_a_streaming_body_spans_its_yields(visit: Visitor, user: User) -> None:
    def body() -> Iterator[str]:
        ask("One")
        with ai_usage(section="chat"):
            yield "1"
            ask("Two")
            yield "2"
            with ai_usage(section="rag_pipeline"):
                yield "3"
                ask("Three")
            ask("Four")
        yield "4"
        ask("Five")

    async def abody() -> AsyncIterator[str]:
        await aask("One")
        async with ai_usage(section="chat"):
            yield "1"
            await aask("Two")
            yield "2"
            async with ai_usage(section="rag_pipeline"):
                yield "3"
                await aask("Three")
            await aask("Four")
        yield "4"
        await aask("Five")

    def view(request: HttpRequest) -> StreamingHttpResponse:
        return StreamingHttpResponse(body())

    async def aview(request: HttpRequest) -> StreamingHttpResponse:
        return StreamingHttpResponse(abody())

    visit(either(visit, view, aview), user)

    sections = ["other", "chat", "rag_pipeline", "chat", "other"]
    assert [attributed(row) for row in rows()] == [("ada", section) for section in sections]


@pytest.mark.django_db(transaction=True)
def test_no_scope_is_set_between_two_steps_of_a_body(settings: Settings, user: User) -> None:
    def body() -> Iterator[str]:
        with ai_usage(section="chat"):
            ask("One")
            yield "1"
            yield "2"
            ask("Two")

    settings.ROOT_URLCONF = (path("", lambda request: StreamingHttpResponse(body())),)
    response: Any = logged_in(user).get("/")
    found = [scope.current()]
    for _ in response:
        # The consumer of the chunks is not in the scope of their producer.
        found.append(scope.current())
        ask("Another's")

    assert found == [None] * 3
    assert sorted(map(attributed, rows()), key=str) == [
        ("ada", "chat"),
        ("ada", "chat"),
        (None, "other"),
        (None, "other"),
    ]


def test_no_scope_is_set_between_two_steps_of_an_async_body(settings: Settings) -> None:
    async def body() -> AsyncIterator[str]:
        async with ai_usage(section="chat"):
            yield "1"
            await aask()
            yield "2"

    async def view(request: HttpRequest) -> StreamingHttpResponse:
        return StreamingHttpResponse(body())

    settings.ROOT_URLCONF = (path("", view),)

    async def main() -> list[Any]:
        response: Any = await AsyncClient().get("/")
        return [scope.current() async for _ in response] + [scope.current()]

    assert async_to_sync(main)() == [None, None, None]
    assert only_row().section == "chat"


@pytest.mark.django_db(transaction=True)
def test_calls_of_interleaved_bodies_do_not_mix(settings: Settings, user: User) -> None:
    grace = User.objects.create_user("grace")

    def body() -> Iterator[str]:
        with ai_usage(section="chat"):
            yield "1"
            ask()
            yield "2"
        ask()

    settings.ROOT_URLCONF = (path("", lambda request: StreamingHttpResponse(body())),)
    bodies = []
    for visitor in (user, grace):
        response: Any = logged_in(visitor).get("/")
        bodies.append(iter(response))
    for _ in range(2):
        for chunks in bodies:
            next(chunks)
    for chunks in bodies:
        assert list(chunks) == []

    assert sorted(map(attributed, rows()), key=str) == [
        ("ada", "chat"),
        ("ada", "other"),
        ("grace", "chat"),
        ("grace", "other"),
    ]


@pytest.mark.django_db(transaction=True)
def test_body_closed_early_is_recorded_with_its_user(settings: Settings, user: User) -> None:
    settings.ROOT_URLCONF = (
        path("", lambda request: StreamingHttpResponse(ask_for_stream("Hi [stub words=5000]"))),
    )
    response: Any = logged_in(user).get("/")
    next(iter(response))
    response.close()

    row = only_row()
    assert attributed(row) == ("ada", "other")
    assert row.metadata["unknown"] == "stream abandoned"
    assert scope.open_units == {}


@pytest.mark.django_db(transaction=True)
def test_body_that_never_starts_ends_its_unit(settings: Settings) -> None:
    settings.ROOT_URLCONF = (path("", lambda request: StreamingHttpResponse(ask_for_stream())),)
    Client().get("/").close()

    assert rows() == []
    assert scope.open_units == {}


def test_failing_body_keeps_its_calls(visit: Visitor, user: User) -> None:
    def body() -> Iterator[str]:
        ask()
        yield "1"
        raise KeyError("the site's own mistake")

    async def abody() -> AsyncIterator[str]:
        await aask()
        yield "1"
        raise KeyError("the site's own mistake")

    def view(request: HttpRequest) -> StreamingHttpResponse:
        return StreamingHttpResponse(body())

    async def aview(request: HttpRequest) -> StreamingHttpResponse:
        return StreamingHttpResponse(abody())

    with pytest.raises(KeyError, match="own mistake"):
        visit(either(visit, view, aview), user)

    assert attributed(only_row()) == ("ada", "other")
    assert scope.open_units == {}


def test_manual_record_at_the_end_of_a_body_joins_its_call(
    visit: Visitor, stub: StubProvider, user: User
) -> None:
    def record() -> None:
        served = stub.journal[0]
        track_ai_usage(user, "chat", served.prompt_tokens or 0, served.completion_tokens or 0)

    def body() -> Iterator[str]:
        yield from ask_for_stream()
        record()

    async def abody() -> AsyncIterator[str]:
        async for chunk in aask_for_stream():
            yield chunk
        await sync_to_async(record)()

    def view(request: HttpRequest) -> StreamingHttpResponse:
        return StreamingHttpResponse(body())

    async def aview(request: HttpRequest) -> StreamingHttpResponse:
        return StreamingHttpResponse(abody())

    visit(either(visit, view, aview), user)

    assert attributed(only_row()) == ("ada", "chat")


@pytest.mark.django_db(transaction=True)
def test_manual_record_in_the_finally_of_a_closed_body_joins_its_call(
    settings: Settings, user: User
) -> None:
    """The client disconnects and the server closes the body, which records its call."""

    def body() -> Iterator[str]:
        try:
            yield from ask_for_stream("Hello [stub words=5000]")
        finally:
            track_ai_usage(user, "chat", metadata={"by": "hand"})

    settings.ROOT_URLCONF = (path("", lambda request: StreamingHttpResponse(body())),)
    response: Any = logged_in(user).get("/")
    next(iter(response))
    response.close()

    row = only_row()
    assert attributed(row) == ("ada", "chat")
    assert row.metadata["by"] == "hand"
    assert row.model_name == "gpt-4o-mini-2024-07-18"


@pytest.mark.django_db(transaction=True)
def test_file_response_is_passed_to_the_server(settings: Settings, tmp_path: Path) -> None:
    page = tmp_path / "page.txt"
    page.write_bytes(b"content of the file")

    def view(request: HttpRequest) -> FileResponse:
        ask()
        return FileResponse(page.open("rb"))

    settings.ROOT_URLCONF = (path("", view),)
    handed_over: list[Any] = []

    def file_wrapper(file: Any, block_size: int = 8192) -> Any:
        handed_over.append(file)
        return iter([file.read()])

    factory: Any = RequestFactory()
    environ = factory._base_environ(**{"wsgi.file_wrapper": file_wrapper})
    handler: Any = WSGIHandler()
    response = handler(environ, lambda *args: None)
    body = b"".join(response)

    assert body == b"content of the file"
    assert [file.name for file in handed_over] == [str(page)]
    handed_over[0].close()  # Django closes the response with it
    assert only_row().section == "other"
    assert scope.open_units == {}


def test_file_response_without_a_file_wrapper_is_complete(visit: Visitor, tmp_path: Path) -> None:
    content = bytes(range(256)) * 100

    def view(request: HttpRequest) -> FileResponse:
        ask()
        return FileResponse(io.BytesIO(content), as_attachment=True, filename="page.bin")

    response, body = visit(view)

    assert b"".join(body) == content
    assert response["Content-Length"] == str(len(content))
    assert only_row().section == "other"
    assert scope.open_units == {}


# The protocols of real servers.


async def request_page(client: Client) -> ApplicationCommunicator:
    factory: Any = AsyncRequestFactory()
    factory.cookies = client.cookies
    communicator = ApplicationCommunicator(ASGIHandler(), factory._base_scope(path="/"))
    await communicator.send_input({"type": "http.request"})
    return communicator


async def body_of(communicator: ApplicationCommunicator) -> list[bytes]:
    start = await communicator.receive_output(LIMIT)
    assert start["type"] == "http.response.start"
    chunks = []
    while True:
        message = await communicator.receive_output(LIMIT)
        chunks.append(message.get("body", b""))
        if not message.get("more_body"):
            return chunks


@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume synchronous iterators")
@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.django_db(transaction=True)
def test_streaming_body_under_asgi_is_attributed(
    settings: Settings, stub: StubProvider, user: User, kind: str
) -> None:
    def view(request: HttpRequest) -> StreamingHttpResponse:
        return StreamingHttpResponse(ask_for_stream())

    async def aview(request: HttpRequest) -> StreamingHttpResponse:
        return StreamingHttpResponse(aask_for_stream())

    settings.ROOT_URLCONF = (path("", view if kind == "sync" else aview),)

    async def main(client: Client) -> list[bytes]:
        communicator = await request_page(client)
        chunks = await body_of(communicator)
        await communicator.wait(LIMIT)
        return chunks

    body = async_to_sync(main)(logged_in(user))

    assert "Hello" in b"".join(body).decode()
    assert_recorded_as_served(rows(), stub.journal)
    assert attributed(only_row()) == ("ada", "other")
    assert scope.open_units == {}


@pytest.mark.parametrize(
    "when",
    [
        "view",
        pytest.param(
            "body",
            marks=pytest.mark.skipif(
                django.VERSION < (5, 0, 2), reason="Django does not close the response"
            ),
        ),
    ],
)
@pytest.mark.django_db(transaction=True)
def test_disconnect_under_asgi_keeps_the_call(
    settings: Settings, stub: StubProvider, user: User, when: str
) -> None:
    async def view(request: HttpRequest) -> HttpResponse:
        await aask(f"Hello [stub delay={LIMIT:.0f}]")
        return HttpResponse()

    async def streaming_view(request: HttpRequest) -> StreamingHttpResponse:
        return StreamingHttpResponse(aask_for_stream(f"Hello [stub words=500 pace={LIMIT:.0f}]"))

    settings.ROOT_URLCONF = (path("", view if when == "view" else streaming_view),)

    async def main(client: Client) -> None:
        communicator = await request_page(client)
        if when == "body":
            for _ in range(2):  # the start of the response and the first part of the body
                await communicator.receive_output(LIMIT)
        else:
            await providers.until(lambda: stub.journal, "the request at the stub")
        await communicator.send_input({"type": "http.disconnect"})
        await communicator.wait(LIMIT)

    async_to_sync(main)(logged_in(user))

    row = only_row()
    assert attributed(row) == ("ada", "other")
    assert (row.usage_source, row.total_tokens) == ("unknown", None)
    assert scope.open_units == {}


# Errors of the site.


# Committed data, because Django reports the error in another thread and reads the user there.
@pytest.mark.django_db(transaction=True)
def test_exception_in_a_view_keeps_its_calls(visit: Visitor, user: User) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        ask()
        raise KeyError("the site's own mistake")

    async def aview(request: HttpRequest) -> HttpResponse:
        await aask()
        raise KeyError("the site's own mistake")

    client = visit.client(user, raise_request_exception=False)
    response, _ = visit(either(visit, view, aview), client=client)

    assert response.status_code == 500
    assert attributed(only_row()) == ("ada", "other")
    assert scope.open_units == {}


@pytest.mark.django_db(transaction=True)
def test_rolled_back_view_keeps_its_calls(
    settings: Settings, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)

    def view(request: HttpRequest) -> HttpResponse:
        assert connection.in_atomic_block
        User.objects.create_user("rolled-back")
        ask()
        raise KeyError("the site's own mistake")

    visit = Visitor(settings, "sync")
    response, _ = visit(view, client=visit.client(user, raise_request_exception=False))

    assert response.status_code == 500
    assert list(User.objects.values_list("username", flat=True)) == ["ada"]
    assert attributed(only_row()) == ("ada", "other")


@pytest.mark.django_db(transaction=True)
def test_rolled_back_block_of_a_view_keeps_its_calls(visit: Visitor, user: User) -> None:
    def work() -> None:
        def roll_back() -> None:
            with transaction.atomic():
                User.objects.create_user("rolled-back")
                ask()
                raise KeyError

        with pytest.raises(KeyError):
            roll_back()

    def view(request: HttpRequest) -> HttpResponse:
        work()
        return HttpResponse()

    async def aview(request: HttpRequest) -> HttpResponse:
        await sync_to_async(work)()
        return HttpResponse()

    visit(either(visit, view, aview), user)

    assert list(User.objects.values_list("username", flat=True)) == ["ada"]
    assert attributed(only_row()) == ("ada", "other")


# Costs.


def _noting(statements: list[str]) -> Callable[..., Any]:
    def wrapper(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        statements.append(sql)
        return execute(sql, params, many, context)

    return wrapper


@pytest.mark.parametrize("calls", [1, 10])
def test_tracking_makes_no_statement_in_the_request(visit: Visitor, user: User, calls: int) -> None:
    statements: list[str] = []
    during_view: list[list[str]] = []

    def view(request: HttpRequest) -> HttpResponse:
        assert request.user.is_authenticated
        statements.clear()
        for _ in range(calls):
            ask()
        during_view.append(list(statements))
        return HttpResponse()

    async def aview(request: HttpRequest) -> HttpResponse:
        assert (await request.auser()).is_authenticated
        statements.clear()
        for _ in range(calls):
            await aask()
        during_view.append(list(statements))
        return HttpResponse()

    with connection.execute_wrapper(_noting(statements)):
        visit(either(visit, view, aview), user)

    assert during_view == [[]]
    assert [sql for sql in statements if "ai_usage" in sql] == []
    assert len(rows()) == calls


def test_unloaded_user_costs_the_view_no_query(settings: Settings, user: User) -> None:
    statements: list[str] = []
    during_view: list[str] = []

    def view(request: HttpRequest) -> HttpResponse:
        statements.clear()
        for _ in range(10):
            ask()
        during_view.extend(statements)
        return HttpResponse()

    with connection.execute_wrapper(_noting(statements)):
        Visitor(settings, "sync")(view, user)

    assert during_view == []
    assert {attributed(row) for row in rows()} == {("ada", "other")}


@pytest.mark.parametrize("part", ["Scope", "Unit"])
def test_internal_error_before_the_view_does_not_reach_the_site(
    visit: Visitor,
    user: User,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    part: str,
) -> None:
    settings.AI_USAGE_RAISE_ERRORS = False
    monkeypatch.setattr(middleware, part, lambda *args, **kwargs: 1 / 0)
    _, body = visit(either(visit, plain, aplain), user)

    assert body == [b"done"]
    assert scope.open_units == {}
    assert "[TRACK_EXCEPTION]" in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_internal_error_after_the_view_does_not_reach_the_site(
    visit: Visitor,
    user: User,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings.AI_USAGE_RAISE_ERRORS = False

    def fail(*args: Any, **kwargs: Any) -> Any:
        raise ZeroDivisionError

    def check(home: Any, *parts: str) -> None:
        caplog.clear()
        with monkeypatch.context() as patch:
            for part in parts:
                patch.setattr(home, part, fail)
            _, body = visit(either(visit, plain, aplain), user)

        assert body == [b"done"]
        assert scope.open_units == {}
        assert "[TRACK_EXCEPTION]" in caplog.text
        assert "ZeroDivisionError" in caplog.text

    check_each(
        check,
        [
            (pending_users, "await_users"),
            (outbox, "wake"),
            (middleware, "keep_scope_in_stream"),
        ],
    )


def test_failing_close_of_the_site_is_skipped_as_by_django(settings: Settings) -> None:
    closed: list[str] = []

    class Body:
        def __iter__(self) -> Iterator[bytes]:
            return iter([b"1", b"2"])

        def close(self) -> None:
            closed.append("body")
            raise KeyError("the site's own mistake")

    def view(request: HttpRequest) -> StreamingHttpResponse:
        response = StreamingHttpResponse(Body())
        response._resource_closers.append(lambda: closed.append("more"))
        return response

    _, body = Visitor(settings, "sync")(view)

    assert body == [b"1", b"2"]
    assert closed == ["body", "more"]
    assert scope.open_units == {}


def not_modified_middleware(get_response: Callable[[HttpRequest], Any]) -> Callable[..., Any]:
    def middleware(request: HttpRequest) -> HttpResponse:
        get_response(request)
        return HttpResponse(status=304)

    return middleware


def test_stream_dropped_by_another_middleware_ends_its_unit(settings: Settings) -> None:
    """`ConditionalGetMiddleware` responds with 304 and neither reads nor closes the body."""
    settings.MIDDLEWARE = [f"{__name__}.not_modified_middleware", *settings.MIDDLEWARE]

    def view(request: HttpRequest) -> StreamingHttpResponse:
        ask()
        return StreamingHttpResponse(iter([b"1"]))

    response, _ = Visitor(settings, "sync")(view)
    gc.collect()

    assert response.status_code == 304
    assert scope.open_units == {}


SITE = """
import json, sys
from tests import settings as own
own.AI_USAGE_OUTBOX = sys.argv[1]
own.AI_USAGE_RAISE_ERRORS = True
own.OPENAI_URL = sys.argv[2]
own.AI_USAGE_GATEWAYS = {sys.argv[2].removeprefix("http://").partition("/")[0]: "openai"}
own.DATABASES["default"]["ATOMIC_REQUESTS"] = True
import django
django.setup()
from django.contrib.auth.models import User
from django.core.signals import request_finished
from django.db import close_old_connections, connection
from django.http import HttpResponse
from django.test import Client
from django.urls import path
from tests.views import ask

def view(request, calls):
    assert request.user.is_authenticated
    for _ in range(calls):
        ask()
    if calls == 3:
        raise KeyError("the site's own mistake")
    return HttpResponse("done")

own.ROOT_URLCONF = django.conf.settings.ROOT_URLCONF = (path("<int:calls>/", view),)
client = Client(raise_request_exception=False)
client.force_login(User.objects.create_user("ada"))
client.get("/0/")
counts = {}
for calls in (0, 1, 10, 3):
    statements = []
    def note(execute, sql, params, many, context):
        statements.append(sql)
        return execute(sql, params, many, context)
    with connection.execute_wrapper(note):
        status = client.get(f"/{calls}/").status_code
    counts[calls] = [status, len(statements), sum("ai_usage" in sql for sql in statements)]
print(json.dumps(counts))
"""


def test_tracking_makes_no_statement_in_a_request_in_production(
    stub: StubProvider, database_url: str, tmp_path: Path
) -> None:
    """In a child process with an outbox, a delivery thread and ATOMIC_REQUESTS."""
    result = subprocess.run(
        [sys.executable, "-c", SITE, str(tmp_path / "outbox"), stub.openai_url],
        env={
            **os.environ,
            "DATABASE_URL": database_url,
            "DJANGO_SETTINGS_MODULE": "tests.settings",
        },
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert result.returncode == 0, result.stdout + result.stderr
    counts = json.loads(result.stdout)
    assert [status for status, _, _ in counts.values()] == [200, 200, 200, 500]
    assert [ours for _, _, ours in counts.values()] == [0, 0, 0, 0]
    # The number of statements is the same with one call, ten calls and none.
    assert counts["0"][1] == counts["1"][1] == counts["10"][1]
    # All calls are recorded, including those of the rolled-back view.
    assert_recorded_as_served(rows(), stub.journal)
    assert len(rows()) == 14
    assert {attributed(row) for row in rows()} == {("ada", "other")}


def test_disabled_middleware_is_not_in_the_chain(settings: Settings, user: User) -> None:
    settings.AI_USAGE_ENABLED = False

    with pytest.raises(MiddlewareNotUsed):
        AIUsageMiddleware(lambda request: HttpResponse())
    _, body = Visitor(settings, "sync")(plain, user)

    assert body == [b"done"]
    assert rows() == []


def test_both_kinds_of_get_response_are_served() -> None:
    async def aget_response(request: HttpRequest) -> HttpResponse:
        return HttpResponse("async")

    wrapped = AIUsageMiddleware(aget_response)
    assert iscoroutinefunction(wrapped)
    assert async_to_sync(wrapped)(RequestFactory().get("/")).content == b"async"

    plain_one = AIUsageMiddleware(lambda request: HttpResponse("sync"))
    assert not iscoroutinefunction(plain_one)
    assert plain_one(RequestFactory().get("/")).content == b"sync"
