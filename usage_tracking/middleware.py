"""Open a scope for every request, so that its AI calls have a user and a section."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.core.exceptions import MiddlewareNotUsed
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from . import conf
from .attribution import users
from .attribution.scope import Scope, Steps, Unit
from .attribution.streams import keep_scope_in_stream
from .errors import contained
from .recorder import pending_users, units


class AIUsageMiddleware:
    """Attribute the AI calls of a request to its user and to the section of its view.

    Put it after the authentication middleware. It works under WSGI and ASGI. It makes no query,
    except on a site whose router gives each tenant a database: there it loads the user of a call
    before the request ends.
    """

    sync_capable = True
    async_capable = True

    def __init__(
        self,
        get_response: Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]],
    ) -> None:
        if not conf.enabled():
            raise MiddlewareNotUsed
        users.import_backends()
        self.get_response: Callable[[HttpRequest], Any] = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        """Return the response, or a coroutine that returns it."""
        if self.is_async:
            return self._acall(request)
        scope = _open(request)
        if scope is None:
            return self.get_response(request)
        response = None
        is_kept = False
        try:
            with Steps(scope):
                response = self.get_response(request)
            is_kept = bool(_keeps_scope(response, scope))
        finally:
            if not is_kept:
                _finish(scope, response)
        return response

    async def _acall(self, request: HttpRequest) -> HttpResponseBase:
        response: Any = None
        scope = _open(request)
        if scope is None:
            response = await self.get_response(request)
            return cast(HttpResponseBase, response)
        is_kept = False
        try:
            with Steps(scope):
                response = await self.get_response(request)
            is_kept = bool(_keeps_scope(response, scope))
        finally:
            if not is_kept:
                await _afinish(scope, response)
        return cast(HttpResponseBase, response)


@contained
def _open(request: HttpRequest) -> Scope:
    scope = Scope(Unit(request))
    scope.unit.begin()
    return scope


@contained
def _keeps_scope(response: Any, scope: Scope) -> bool:
    """Return whether a streaming body keeps the scope open."""

    async def adone() -> None:
        await _afinish(scope)

    return keep_scope_in_stream(
        response, scope, lambda: _finish(scope), adone, lambda: pending_users.end(scope.unit)
    )


# Both may be called twice, because a stream ends and is closed afterwards.


def _finish(scope: Scope, response: HttpResponseBase | None = None) -> None:
    if not scope.closed:
        scope.closed = True
        units.finish(scope.unit, response)


async def _afinish(scope: Scope, response: HttpResponseBase | None = None) -> None:
    if not scope.closed:
        scope.closed = True
        await units.afinish(scope.unit, response)
