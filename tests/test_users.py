"""When and where the user of a call is looked up: never before it, never in somebody's way."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.db import DatabaseError, connection, transaction
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from django.utils.functional import SimpleLazyObject

from tests.children import ROOT
from tests.told import attributed, only_row
from tests.waiting import run
from usage_tracking import ai_usage, forks, outbox, owners, recorder
from usage_tracking.middleware import AIUsageMiddleware
from usage_tracking.owners import Owner, Pending

URL = "https://api.openai.com/v1/chat/completions"
EVENTS = b'data: {"choices": [{"delta": {"content": "Hi"}}]}\n\n' * 3


class Endless(httpx2.SyncByteStream):
    def __iter__(self) -> Iterator[bytes]:
        yield EVENTS
        yield EVENTS


def answer(request: httpx2.Request) -> httpx2.Response:
    headers = {"content-type": "text/event-stream"}
    return httpx2.Response(200, headers=headers, stream=Endless())


def open_stream(client: httpx2.Client) -> httpx2.Response:
    return client.send(client.build_request("POST", URL, json={"model": "m"}), stream=True)


@pytest.fixture
def user(db: None) -> User:
    return User.objects.create_user("ada")


@pytest.fixture
def lazy(user: User) -> Any:
    return SimpleLazyObject(lambda: User.objects.get(pk=user.pk))


def is_loaded(user: Any) -> bool:
    return not isinstance(owners.loaded(user), Pending)


def test_stream_freed_inside_a_statement_makes_no_query_there(lazy: Any) -> None:
    inside: list[str] = []

    def collecting(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        inside.append(sql)
        gc.collect()
        return execute(sql, *rest)

    with httpx2.Client(transport=httpx2.MockTransport(answer)) as client:
        with ai_usage(section="chat", user=lazy) as usage:
            response: Any = open_stream(client)
            response.itself = response  # a cycle: only the collector frees it
            del response
            with connection.execute_wrapper(collecting):
                User.objects.count()
            assert len(inside) == 1
            assert not is_loaded(lazy)
            assert usage.calls == 1
        outbox.moment()

    assert attributed(only_row()) == ("ada", "chat")
    assert only_row().metadata["unknown"] == "body never read"


def test_failing_look_up_leaves_the_transaction_of_its_caller_intact(user: User) -> None:
    def fail() -> Any:
        with connection.cursor() as cursor:
            cursor.execute("SELECT nothing FROM nowhere")

    with transaction.atomic():
        with pytest.raises(DatabaseError):
            owners.resolve(SimpleLazyObject(fail))
        assert User.objects.get() == user


def test_broken_transaction_is_not_asked(user: User, lazy: Any) -> None:
    with transaction.atomic():
        connection.set_rollback(True)
        assert owners.resolve_here(Pending(lazy)) is None
        assert not is_loaded(lazy)


def test_sound_connection_is_asked(user: User, lazy: Any) -> None:
    assert owners.resolve_here(Pending(lazy)) == Owner(str(user.pk), "ada")


async def test_event_loop_is_not_held_up() -> None:
    assert owners.resolve_here(Pending(SimpleLazyObject(lambda: 1 / 0))) is None


class TestRequest:
    """The request is the site's until its response is closed."""

    @pytest.fixture(autouse=True)
    def _threaded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # As on a site: the outbox is not delivered inline.
        monkeypatch.setattr(outbox, "inline", lambda: False)
        monkeypatch.setattr(outbox, "listener", None)

    def visit(self, lazy: Any) -> HttpResponse:
        request: Any = RequestFactory().get("/")
        request.user = lazy

        def view(request: HttpRequest) -> HttpResponse:
            with httpx2.Client(transport=httpx2.MockTransport(answer)) as client:
                open_stream(client).read()
            return HttpResponse()

        response: Any = AIUsageMiddleware(view)(request)
        return response

    def test_user_is_resolved_after_the_response_is_closed(self, lazy: Any) -> None:
        response = self.visit(lazy)
        recorder.resolve_users()
        assert not is_loaded(lazy), "while middleware around ours may use the session"
        for closer in response._resource_closers:
            closer()
        recorder.resolve_users()
        assert is_loaded(lazy)
        assert not recorder.has_work()

    def test_response_that_another_one_replaces_frees_the_request(self, lazy: Any) -> None:
        response = self.visit(lazy)
        del response
        recorder.resolve_users()
        assert is_loaded(lazy)

    def test_database_that_fails_is_asked_again(self, user: User) -> None:
        answers = [DatabaseError("away"), user]

        def load() -> Any:
            if isinstance(found := answers.pop(0), Exception):
                raise found
            return found

        self.visit(SimpleLazyObject(load))
        recorder.resolve_users()
        assert recorder.has_work()
        recorder.resolve_users()
        assert (answers, recorder.has_work()) == ([], False)

    def test_database_that_fails_for_long_is_given_up(
        self, settings: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings.AI_USAGE_RAISE_ERRORS = False
        monkeypatch.setattr(recorder, "UNRESOLVED_SECONDS", -1.0)

        def load() -> Any:
            raise DatabaseError("away")

        self.visit(SimpleLazyObject(load))
        recorder.resolve_users()
        assert not recorder.has_work()

    def test_anonymous_visitor_is_nobody(self, db: None) -> None:
        self.visit(SimpleLazyObject(AnonymousUser))
        recorder.resolve_users()
        assert not recorder.has_work()


@pytest.mark.process
def test_connection_of_the_parent_is_known_in_a_child(tmp_path: Any) -> None:
    code = """
import os, django
from django.conf import settings
settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "child.sqlite3"}},
)
django.setup()
from django.db import connection
from usage_tracking import forks
connection.ensure_connection()
assert not forks.is_inherited(connection)
if not (child := os.fork()):
    known = forks.is_inherited(connection)
    connection.close()
    connection.ensure_connection()
    os._exit(0 if known and not forks.is_inherited(connection) else 1)
assert os.waitpid(child, 0)[1] == 0
assert not forks.is_inherited(connection)
"""

    ended = run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(ROOT)}, cwd=tmp_path
    )
    assert ended.returncode == 0, ended.stderr
    assert forks.is_inherited(connection) is False
