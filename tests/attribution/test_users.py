"""When and where the user of a call is resolved: after the call, without affecting the site."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterator
from copy import deepcopy
from importlib import import_module
from typing import Any
from uuid import UUID

import httpx2
import pytest
from django.conf import settings
from django.contrib.auth import login
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.auth.models import AnonymousUser, Group, User
from django.contrib.sessions.models import Session
from django.db import DatabaseError, connection, transaction
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from django.utils.functional import LazyObject, SimpleLazyObject

from tests.support.builders import capture
from tests.support.children import ROOT
from tests.support.comparison import attributed, only_row
from tests.support.waiting import run
from usage_tracking import ai_usage, block_warnings, outbox, recorder
from usage_tracking.attribution import users
from usage_tracking.attribution.resolve import attribution
from usage_tracking.attribution.users import CallUser, Pending
from usage_tracking.middleware import AIUsageMiddleware
from usage_tracking.models import AIUsageLog
from usage_tracking.places import NOWHERE
from usage_tracking.recorder import pending_users
from usage_tracking.system import forks

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
    return not isinstance(users.loaded(user), Pending)


def test_stream_freed_inside_a_statement_makes_no_query_there(lazy: Any) -> None:
    inside: list[str] = []

    def collecting(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        inside.append(sql)
        gc.collect()
        return execute(sql, *rest)

    with httpx2.Client(transport=httpx2.MockTransport(answer)) as client:
        with ai_usage(section="chat", user=lazy) as usage:
            response: Any = open_stream(client)
            response.itself = response  # a cycle, which only the garbage collector frees
            del response
            with connection.execute_wrapper(collecting):
                User.objects.count()
            assert len(inside) == 1
            assert not is_loaded(lazy)
            assert usage.calls == 1
        outbox.wake()

    assert attributed(only_row()) == ("ada", "chat")
    assert only_row().metadata["unknown"] == "body never read"


def test_failing_lookup_keeps_the_callers_transaction_intact(user: User) -> None:
    def fail() -> Any:
        with connection.cursor() as cursor:
            cursor.execute("SELECT nothing FROM nowhere")

    with transaction.atomic():
        with pytest.raises(DatabaseError):
            users.resolve(SimpleLazyObject(fail))
        assert User.objects.get() == user


def test_broken_transaction_is_not_queried(user: User, lazy: Any) -> None:
    with transaction.atomic():
        connection.set_rollback(True)
        assert users.resolve_here(Pending(lazy)) is None
        assert not is_loaded(lazy)


def test_usable_connection_is_queried(user: User, lazy: Any) -> None:
    assert users.resolve_here(Pending(lazy)) == CallUser(str(user.pk), "ada")


async def test_event_loop_is_not_blocked() -> None:
    assert users.resolve_here(Pending(SimpleLazyObject(lambda: 1 / 0))) is None


class TestNamed:
    """`ai_usage(user=...)` outside a request, for example with the username or key of a command."""

    @staticmethod
    def call(user: Any) -> str | None:
        AIUsageLog.objects.all().delete()
        with ai_usage(section="chat", user=user):
            capture()
        return attributed(only_row())[0]

    def test_user_key_and_username_are_taken(self, user: User) -> None:
        other = User.objects.create_user(str(user.pk), pk=user.pk + 1)
        for given, expected in [
            (user, "ada"),
            (user.pk, "ada"),
            ("ada", "ada"),
            # A username wins: a username of digits is not another user's key.
            (str(user.pk), other.username),
            (str(other.pk), other.username),
        ]:
            assert self.call(given) == expected, given

    def test_key_is_looked_up_after_the_call(
        self, user: User, django_assert_num_queries: Any
    ) -> None:
        with ai_usage(section="chat", user="ada"):
            with django_assert_num_queries(0):
                capture()
            with django_assert_num_queries(0):
                assert attribution().user is None
        assert attributed(only_row()) == ("ada", "chat")

    @pytest.mark.parametrize("given", ["nobody", -1, 10**30, "10" * 30, UUID(int=1)])
    def test_unknown_key_is_unattributed_and_logged(
        self, given: Any, user: User, caplog: pytest.LogCaptureFixture
    ) -> None:
        assert self.call(given) is None
        assert f"ai_usage(user={given!r}): no user has this" in caplog.text

    def test_username_is_not_logged_if_usernames_are_disabled(
        self, user: User, settings: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        settings.AI_USAGE_LOG_USERNAMES = False
        assert self.call("grace@example.com") is None
        assert "grace" not in caplog.text
        assert "ai_usage(user=str)" in caplog.text

    @pytest.mark.parametrize(
        "given",
        [User(username="unsaved"), {"id": 7}, Group(pk=7), b"ada", True, object(), User],
        ids=lambda given: type(given).__name__,
    )
    def test_invalid_user_is_logged_once(
        self, given: Any, user: User, caplog: pytest.LogCaptureFixture
    ) -> None:
        block_warnings._warned_of_user.clear()
        assert [self.call(given), self.call(given)] == [None, None]
        (message,) = [one.getMessage() for one in caplog.records if "must be" in one.getMessage()]
        assert "test_users.py:" in message
        assert (
            f"must be a saved user, a primary key or a username, not of type {type(given).__name__}"
            in message
        )

    @pytest.mark.parametrize(
        "given", [None, "", AnonymousUser()], ids=["None", "empty", "anonymous"]
    )
    def test_no_user_is_accepted_without_a_warning(
        self, given: Any, user: User, caplog: pytest.LogCaptureFixture
    ) -> None:
        assert self.call(given) is None
        assert "TRACK_WARNING" not in caplog.text


class TestRequest:
    """The request belongs to the site until its response is closed."""

    @pytest.fixture(autouse=True)
    def _threaded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # As in production, the outbox is not delivered inline.
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
        pending_users.resolve()
        assert not is_loaded(lazy), "while outer middleware can use the session"
        for closer in response._resource_closers:
            closer()
        pending_users.resolve()
        assert is_loaded(lazy)
        assert not recorder.has_work()

    def test_replaced_response_frees_the_request(self, lazy: Any) -> None:
        response = self.visit(lazy)
        del response
        pending_users.resolve()
        assert is_loaded(lazy)

    def test_failing_database_is_queried_again(self, user: User) -> None:
        answers = [DatabaseError("away"), user]

        def load() -> Any:
            if isinstance(found := answers.pop(0), Exception):
                raise found
            return found

        self.visit(SimpleLazyObject(load))
        pending_users.resolve()
        assert recorder.has_work()
        pending_users.resolve()
        assert (answers, recorder.has_work()) == ([], False)

    def test_lookup_ends_if_the_database_fails_for_long(
        self, settings: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings.AI_USAGE_RAISE_ERRORS = False
        monkeypatch.setattr(pending_users, "UNRESOLVED_SECONDS", -1.0)

        def load() -> Any:
            raise DatabaseError("away")

        self.visit(SimpleLazyObject(load))
        pending_users.resolve()
        assert not recorder.has_work()

    def test_anonymous_user_is_unattributed(self, db: None) -> None:
        self.visit(SimpleLazyObject(AnonymousUser))
        pending_users.resolve()
        assert not recorder.has_work()


class TestSession:
    """The user of a session is resolved while the site can still set the session cookie."""

    @staticmethod
    def request_of(key: str | None) -> Any:
        request: Any = RequestFactory().get("/")
        request.session = import_module(settings.SESSION_ENGINE).SessionStore(key)
        AuthenticationMiddleware(lambda _: HttpResponse()).process_request(request)
        return request

    @staticmethod
    def login(user: User) -> str:
        client = Client()
        client.force_login(user)
        return client.cookies["sessionid"].value

    @staticmethod
    def pending(request: Any) -> Pending:
        pending = users.loaded(request)
        assert isinstance(pending, Pending)
        return pending.during(request)

    def resolve(self, request: Any) -> Any:
        return users.resolve_at(NOWHERE, self.pending(request))

    @pytest.mark.parametrize("read", [False, True])
    def test_session_is_not_changed(self, user: User, read: bool) -> None:
        request = self.request_of(self.login(user))
        if read:
            request.session.get("cart")
        before = deepcopy(vars(request.session))

        assert self.resolve(request) == user
        assert vars(request.session) == before
        assert not is_loaded(request.user)

    def test_missing_session_is_not_flushed(self, user: User) -> None:
        """Otherwise the user's cookie would be deleted."""
        request = self.request_of("0" * 32)
        before = deepcopy(vars(request.session))

        assert self.resolve(request) == AnonymousUser()
        assert vars(request.session) == before

    @pytest.mark.parametrize("read", [False, True])
    def test_session_signed_with_an_old_key_keeps_its_name(
        self, user: User, settings: Any, read: bool
    ) -> None:
        """A new name would not reach the user's cookie and would log the user out."""
        key = self.login(user)
        settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
        settings.SECRET_KEY = "new"
        request = self.request_of(key)
        if read:
            request.session.get("cart")
        before = deepcopy(vars(request.session))

        assert self.resolve(request) == user
        assert vars(request.session) == before
        assert Session.objects.get().pk == key

    def test_session_from_before_a_password_change_is_not_deleted(self, user: User) -> None:
        key = self.login(user)
        user.set_password("new")
        user.save()

        assert self.resolve(self.request_of(key)) == AnonymousUser()
        assert Session.objects.get().pk == key

    def test_expired_file_session_creates_no_other(
        self, user: User, settings: Any, tmp_path: Any
    ) -> None:
        settings.SESSION_ENGINE = "django.contrib.sessions.backends.file"
        settings.SESSION_FILE_PATH = str(tmp_path)
        settings.SESSION_COOKIE_AGE = -1
        request = self.request_of(self.login(user))
        before = list(tmp_path.iterdir())

        assert self.resolve(request) == AnonymousUser()
        assert list(tmp_path.iterdir()) == before != []

    def test_user_loaded_meanwhile_is_used(self, user: User) -> None:
        request = self.request_of(self.login(user))
        pending = self.pending(request)
        assert request.user.pk
        Session.objects.all().delete()

        assert users.resolve_at(NOWHERE, pending) == user

    @pytest.mark.parametrize("before", ["ada", None])
    def test_user_before_a_login_differs_from_the_user_after_it(
        self, user: User, before: str | None
    ) -> None:
        request = self.request_of(self.login(user) if before else None)
        pending = self.pending(request)
        login(
            request, User.objects.create_user("grace"), "django.contrib.auth.backends.ModelBackend"
        )
        request.session.save()

        assert users.resolve_at(NOWHERE, pending) == AnonymousUser()

    def test_call_before_authentication_finds_the_user(self, user: User) -> None:
        request = self.request_of(self.login(user))
        before = deepcopy(vars(request.session))

        assert users.resolve_at(NOWHERE, Pending(request)) == user
        assert vars(request.session) == before

    def test_lazy_user_of_another_kind_is_loaded_unchanged(self, user: User) -> None:
        # Generic only in the stubs.
        class Lazy(LazyObject):  # type: ignore[type-arg]
            def _setup(self) -> None:
                self._wrapped = user

        request = self.request_of(None)
        request.user = Lazy()

        assert self.resolve(request) == user

    def test_lazy_session_is_not_loaded(self, user: User) -> None:
        opened: list[int] = []
        request = self.request_of(None)
        request.session = SimpleLazyObject(lambda: opened.append(1))

        self.pending(request)

        assert opened == []

    def test_failing_query_does_not_change_the_transaction(
        self, user: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        request = self.request_of(self.login(user))
        pending = self.pending(request)

        def fail(_: Any) -> Any:
            with connection.cursor() as cursor:
                cursor.execute("SELECT nothing FROM nowhere")

        monkeypatch.setattr(sys.modules["django.contrib.auth.middleware"], "get_user", fail)
        with pytest.raises(DatabaseError):
            users.resolve_at(NOWHERE, pending)
        assert User.objects.count() == 1


@pytest.mark.process
def test_child_recognizes_the_parents_connection(tmp_path: Any) -> None:
    code = """
import os, django
from django.conf import settings
settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "child.sqlite3"}},
)
django.setup()
from django.db import connection
from usage_tracking.system import forks
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
