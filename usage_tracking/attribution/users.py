"""Find the users of AI calls: without a query if possible, else with one when it is safe."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from asgiref.sync import async_to_sync
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import connections, router, transaction
from django.db.models import Model
from django.http import HttpRequest
from django.utils.functional import LazyObject, SimpleLazyObject, empty
from django.utils.module_loading import import_string

from .. import conf, places
from ..errors import contained
from ..log import logger, one_line
from ..places import Place
from ..system import forks


@dataclass(frozen=True, slots=True)
class CallUser:
    """The user of a call as text, which remains valid after the user's row is deleted."""

    id: str
    #: Empty unless it was read from the user's row.
    username: str


class Connection:
    """An ASGI connection, used like a request: its user, and the code that handles it.

    Both are read for each call, because they change: consumers log their user in and out, and a
    router inside the middleware sets the endpoint.
    """

    __slots__ = ("_scope", "_view")

    def __init__(self, scope: Mapping[str, Any], view: Any = None) -> None:
        self._scope = scope
        self._view = view

    @property
    def user(self) -> Any:
        """The user of the connection, None if no authentication has set one."""
        return self._scope.get("user")

    @property
    def tenant(self) -> Any:
        """The tenant of the connection, None if nothing has set one."""
        return self._scope.get("tenant")

    @property
    def view(self) -> Any:
        """The function, class or object that handles the connection, None if it is not known."""
        return self._scope.get("endpoint") or self._view


class Pending:
    """A pending user, which was not loaded when the call began; see `resolve`."""

    __slots__ = ("session", "source")

    def __init__(self, source: Any, session: Callable[[], Any] | None = None) -> None:
        #: The lazy user, or the request if it had no user yet.
        self.source = source
        #: Opens the session that Django would read the user from; None if that is not known.
        self.session = session

    def during(self, request: Any) -> Pending:
        """Return the same user with the session that `request` has now."""
        return Pending(self.source, _session(self.source, request))


def loaded(source: Any) -> Any:
    """Return the user in `source`, or a `Pending` user if a query would be needed."""
    if issubclass(type(source), Connection):
        source = source.user
    if not _is_request(source):
        return Pending(source) if _is_unloaded(source) else source
    user = getattr(source, "user", None)
    if user is not None and not _is_unloaded(user):
        return user  # already loaded, or set by DRF or another authentication
    cached = getattr(source, "_cached_user", None) or getattr(source, "_acached_user", None)
    # The lazy object, not the request: a logout in the view replaces `request.user`.
    return cached or Pending(source if user is None else user)


def named(user: Any) -> Any:
    """Return `user`, or a lazy user if it is a primary key or a username.

    The lazy user is looked up after the call, like every user that is not loaded.
    """
    # Check only the type: any access to the object would load a lazy user.
    if not issubclass(type(user), _KEYS) or type(user) is bool:
        return user
    if user == "":
        return None
    _import_queries()
    return SimpleLazyObject(partial(_find, user))


def is_user(source: Any) -> bool:
    """Return whether `source` is a valid user; True while this is unknown.

    An anonymous user is valid: the site states that the calls have no user.
    """
    user = loaded(source)
    if user is None or isinstance(user, Pending) or call_user_of(user) is not None:
        return True
    return getattr(user, "is_authenticated", None) is False


_KEYS = (str, int, UUID)


def _find(name: str | int | UUID) -> Any:
    model = get_user_model()
    users: Any = model._base_manager.all()
    user = None
    if isinstance(name, str):
        user = users.filter(**{model.USERNAME_FIELD: name}).first()
    if user is None:
        with suppress(ValueError, TypeError, ValidationError, OverflowError):
            user = users.filter(pk=name).first()
        if isinstance(name, UUID) and not isinstance(user and user.pk, UUID):
            user = None  # Django converts a UUID to a number for integer keys
    if user is None:
        logger.warning(
            "[TRACK_WARNING] ai_usage(user=%s): no user has this username or primary key; the "
            "calls are unattributed. Pass a user, a primary key or a username that exists.",
            one_line(repr(name)) if conf.log_usernames() else type(name).__name__,
        )
        return SimpleNamespace(pk=None)
    return user


def _is_unloaded(user: Any) -> bool:
    return isinstance(user, LazyObject) and user.__dict__.get("_wrapped") is empty


def _is_request(source: Any) -> bool:
    # Not isinstance(), which reads `__class__` and so would load a lazy user.
    return issubclass(type(source), HttpRequest)


def import_backends() -> None:
    """Import the modules that `resolve` uses, so that the delivery thread does not import them.

    A backend may import an HTTP library, for example for single sign-on.
    """
    for path in settings.AUTHENTICATION_BACKENDS:
        with suppress(Exception):  # the site's login reports the error
            import_string(path)
    _import_queries()


def _import_queries() -> None:
    with suppress(Exception):  # the first query of the site reports the error
        connections[router.db_for_read(get_user_model())].ops.compiler("SQLCompiler")


def resolve(source: Any) -> Any:
    """Return the user in `source`; query it on this thread's connections if it is not loaded.

    Each open transaction of the caller gets a savepoint, so that a failed query does not break it.

    Raises:
        TransactionManagementError: Inside a broken transaction.
        Exception: Any error of the query.
    """
    with ExitStack() as savepoints:
        for connection in connections.all(initialized_only=True):
            if connection.connection is not None and (
                connection.in_atomic_block or not connection.autocommit
            ):
                savepoints.enter_context(transaction.atomic(using=connection.alias))
        user = source
        if _is_request(source):
            user = getattr(source, "user", None)
            if user is None and hasattr(source, "auser"):  # only asynchronous middleware sets it
                user = async_to_sync(source.auser)()
        if user is not None:
            _ = user.pk  # loads a lazy user
        return user


def resolve_at(home: Place, pending: Pending) -> Any:
    """Return a pending user of the place `home`, from a thread that belongs to no place.

    The session of the request is not used: the site may still be answering, and the headers and
    cookies of the response depend on whether the session was read.

    Returns:
        The user, or None if only the site's routers can find the place.

    Raises:
        Exception: Any error of the query.
    """
    if home.is_routed:
        return None
    source = pending.source
    if _is_request(source):
        pending = Pending(getattr(source, "user", None)).during(source)
    with places.active(places.own_users(), home.tenant):
        if pending.session is not None and _is_unloaded(pending.source):
            return resolve(SimpleLazyObject(partial(_read_user, pending.session)))
        return resolve(source)


#: Not imported: these modules import models, which Django may not have loaded yet.
_AUTHENTICATION = "django.contrib.auth.middleware"
_SESSIONS = "django.contrib.sessions.backends.base"


def _session(user: Any, request: Any) -> Callable[[], Any] | None:
    """Return a function that opens the session of a lazy user; make no query."""
    if not _is_request(request) or request.__dict__.get("user") is not user:
        return None
    if not _is_unloaded(user):
        return None
    setup = user.__dict__.get("_setupfunc")
    session: Any = getattr(request, "session", None)
    base = sys.modules.get(_SESSIONS)
    if getattr(setup, "__module__", "") != _AUTHENTICATION or base is None:
        return None
    kind: Any = type(session)
    # Not isinstance(), which would load a lazy session.
    return partial(kind, session.session_key) if issubclass(kind, base.SessionBase) else None


def _read_user(open_session: Callable[[], Any]) -> Any:
    """Return the user of a session without changing the session.

    Django gives a session a new key if one of SECRET_KEY_FALLBACKS signed it, and deletes a session
    that is older than the user's password. The browser would not learn of either here.
    """
    request: Any = HttpRequest()
    request.session = session = open_session()
    authentication: Any = sys.modules[_AUTHENTICATION]
    for name in ("create", "cycle_key", "delete", "flush", "save"):
        setattr(session, name, _do_nothing)
    return authentication.get_user(request)


def _do_nothing(*_: object, **__: object) -> None:
    pass


@contained
def resolve_here(pending: Pending) -> CallUser | None:
    """Resolve a user on the caller's connection, unless that could harm the caller.

    It returns None on an event loop, inside a broken transaction, and in a forked process whose
    connection belongs to the parent.
    """
    if on_event_loop() or any(
        connection.needs_rollback or forks.is_inherited(connection)
        for connection in connections.all(initialized_only=True)
    ):
        return None
    return call_user_of(resolve(pending.source))


@contained
def call_user_of(user: Any) -> CallUser | None:
    """Return an authenticated user as a `CallUser`, None for an anonymous user.

    Also return None for other objects that a site's authentication sets as `request.user` (an API
    key, a service account, a row of another table): their keys are not user keys, even if they look
    like them.
    """
    if isinstance(user, CallUser):
        return user  # resolved in the process that sent a task
    if isinstance(user, type) or (
        isinstance(user, Model) and not isinstance(user, get_user_model())
    ):
        return None
    pk, get_username = getattr(user, "pk", None), getattr(user, "get_username", None)
    if pk is None or get_username is None or not getattr(user, "is_authenticated", True):
        return None
    # The username of a stateless user (JWT) may be outdated or empty.
    username = get_username() if isinstance(user, Model) else None
    return CallUser(str(pk), "" if username is None else str(username))


def on_event_loop() -> bool:
    """Return whether an event loop runs in this thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
