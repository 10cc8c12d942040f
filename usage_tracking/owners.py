"""The users of AI calls: found without a query where that can be, else when it does no harm."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.db import connections
from django.db.models import Model
from django.http import HttpRequest
from django.utils.functional import LazyObject, empty

from .errors import contain, contained


@dataclass(frozen=True, slots=True)
class Owner:
    """The user of a call, as text, so that it survives the deletion of the row."""

    id: str
    #: Empty if the site has not read it from the user's row.
    username: str


class Pending:
    """Says that a call's user exists but could not be looked up when the call began."""

    __slots__ = ("source",)

    def __init__(self, source: Any) -> None:
        #: The request, or the lazy user given to a scope.
        self.source = source


def loaded(source: Any) -> Any:
    """The user in `source` if that takes no query, else None."""
    if not _is_request(source):
        return None if _is_unloaded(source) else source
    user = getattr(source, "user", None)
    if user is not None and not _is_unloaded(user):
        return user  # loaded before, or assigned by DRF or another authentication
    return getattr(source, "_cached_user", None) or getattr(source, "_acached_user", None)


def _is_unloaded(user: Any) -> bool:
    return isinstance(user, LazyObject) and user.__dict__.get("_wrapped") is empty


def _is_request(source: Any) -> bool:
    # Asked of the type itself: `isinstance` looks at `__class__`, which would load a lazy user.
    return issubclass(type(source), HttpRequest)


def look_up(source: Any, home: int) -> Any:
    """`load`, from whichever thread; leaves no connection open in one that is not `home`."""
    if threading.get_ident() == home:
        return load(source)
    used = {c.alias for c in connections.all(initialized_only=True) if c.connection}
    try:
        return load(source)
    finally:
        for connection in connections.all(initialized_only=True):
            if connection.alias not in used:
                connection.close()


@contained
def load(source: Any) -> Any:
    """The user in `source`, by a query if need be; None if the query fails."""
    user = getattr(source, "user", None) if _is_request(source) else source
    if user is not None:
        _ = user.pk  # loads a lazy user
    return user


async def aload(source: Any) -> Any:
    """`load` for a running event loop."""
    try:
        if _is_request(source) and hasattr(source, "auser"):
            return await source.auser()
        return await sync_to_async(load)(source)
    except Exception as error:  # noqa: BLE001 -- the host's call goes on without a user
        contain(error, "owners.aload")
        return None


@contained
def owner_of(user: Any) -> Owner | None:
    """The text of an authenticated user; None for an anonymous one.

    None too for whatever else a site's authentication puts into `request.user` (an API key, a
    service account, a row of another table that logs in too): its key is not a user's, even if it
    looks like one.
    """
    if isinstance(user, Owner):
        return user  # found where a task was sent
    if isinstance(user, Model) and not isinstance(user, get_user_model()):
        return None
    pk, get_username = getattr(user, "pk", None), getattr(user, "get_username", None)
    if pk is None or get_username is None or not getattr(user, "is_authenticated", True):
        return None
    # A stateless user (JWT) repeats what a token said when it was issued, or has an empty name.
    username = get_username() if isinstance(user, Model) else None
    return Owner(str(pk), "" if username is None else str(username))


def on_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
