"""Attribute the AI calls of a Channels consumer to the user of its connection.

The user is `scope["user"]` of the consumer. It is read for each call, because consumers log their
user in and out. The section is `ai_section` of the consumer's class (`@ai_section` sets it), else
the one that `AI_USAGE_SECTION_MAP` gives to its dotted path. Calls are delivered after each
message, because a connection may stay open for hours.

https://channels.readthedocs.io/en/stable/topics/consumers.html
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

from .. import conf
from ..asgi import without_scope
from ..attribution.scope import Steps
from ..attribution.users import Connection
from ..connections import OpenConnection
from ..errors import contained
from ..system.patching import patch


def connect(module: ModuleType) -> None:
    """Patch the consumers; called when `channels.consumer` is imported."""
    patch(module.AsyncConsumer, "__call__", _call_in_scope)


class _Consumer(Connection):
    """The connection of a consumer, which may replace its own `scope`."""

    __slots__ = ("_consumer",)

    def __init__(self, consumer: Any) -> None:
        super().__init__({}, type(consumer))
        self._consumer = consumer

    @property
    def user(self) -> Any:
        """The user of the connection, None if no authentication has set one."""
        return getattr(self._consumer, "scope", {}).get("user")


def _call_in_scope(call: Callable[..., Any]) -> Callable[..., Any]:
    async def call_in_scope(self: Any, scope: Any, receive: Any, send: Any) -> Any:
        opened = _open(self)
        if opened is None:
            return await call(self, scope, receive, send)
        # On the instance, so that a `dispatch` that a subclass overrides is wrapped too.
        self.dispatch = partial(_dispatch, opened, self.dispatch)
        try:
            with Steps(opened.scope):
                return await call(self, scope, receive, without_scope(send))
        finally:
            self.__dict__.pop("dispatch", None)  # breaks the cycle consumer → dispatch → consumer
            opened.close()

    return call_in_scope


@contained
def _open(consumer: Any) -> OpenConnection | None:
    return OpenConnection(_Consumer(consumer)) if conf.enabled() else None


async def _dispatch(opened: OpenConnection, dispatch: Callable[[Any], Any], message: Any) -> Any:
    begun = opened.begin()
    try:
        return await dispatch(message)
    finally:
        await opened.end(begun)
