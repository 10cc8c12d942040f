"""Attribute the AI calls of ASGI applications that Django does not serve."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from django.apps import apps

from . import conf
from .attribution import users
from .attribution.scope import Scope, Steps, Unit
from .attribution.users import Connection
from .connections import OpenConnection
from .errors import contained
from .recorder import units

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
# The scope can be any mapping; frameworks and sites use different types.
Application = Callable[[Any, Any, Any], Awaitable[None]]


class AIUsageASGIMiddleware:
    """Attribute the AI calls of an ASGI application to the user of each connection.

    The user is `scope["user"]`, read for each call. Put the middleware inside the one that
    authenticates::

        application = AuthenticationMiddleware(AIUsageASGIMiddleware(api), backend=...)

    The section is that of `scope["endpoint"]`, which Starlette and FastAPI set, or else of the
    application: its `@ai_section`, or the entry of `AI_USAGE_SECTION_MAP` for its dotted path.

    Django views and Channels consumers do not need this middleware. It makes no query.

    With `AI_USAGE_WAIT`, the unit of work ends with the last part of the response. Later calls are
    attributed like those of a thread that outlives its request.

    Args:
        app: The ASGI application.
    """

    def __init__(self, app: Application) -> None:
        self.app = app
        if apps.ready and conf.enabled():
            users.import_backends()

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Serve a connection in a scope of its own."""
        kind = scope["type"]
        if kind not in {"http", "websocket"} or not conf.enabled():
            await self.app(scope, receive, send)
        elif kind == "http":
            await self._request(scope, receive, without_scope(send))
        else:
            await self._serve_connection(scope, receive, without_scope(send))

    async def _request(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        opened = _open(Connection(scope, self.app))
        if opened is None:
            await self.app(scope, receive, send)
            return

        async def send_delivered(message: Message) -> None:
            is_last = message["type"] == "http.response.body" and not message.get("more_body")
            if is_last and conf.wait():
                await _finish(opened)
            await send(message)

        try:
            with Steps(opened):
                await self.app(scope, receive, send_delivered)
        finally:
            await _finish(opened)

    async def _serve_connection(
        self, scope: MutableMapping[str, Any], receive: Receive, send: Send
    ) -> None:
        opened = contained(OpenConnection)(Connection(scope, self.app))
        if opened is None:
            await self.app(scope, receive, send)
            return
        message: Scope | None = None

        async def receive_next() -> Message:
            nonlocal message
            await opened.end(message)
            received = await receive()
            message = opened.begin()
            return received

        try:
            with Steps(opened.scope):
                await self.app(scope, receive_next, send)
        finally:
            await opened.end(message)
            opened.close()


def without_scope(send: Send) -> Send:
    """Return a `send` that runs in no scope: a server may begin the next request inside it."""

    async def send_without_scope(message: Message) -> None:
        with Steps(None):
            await send(message)

    return send_without_scope


async def _finish(scope: Scope) -> None:
    scope.closed = True
    await units.afinish(scope.unit)


@contained
def _open(connection: Connection) -> Scope:
    scope = Scope(Unit(connection))
    scope.unit.begin()
    return scope
