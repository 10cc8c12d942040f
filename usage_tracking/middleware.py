"""Opens a scope for every request, so that its AI calls find their user and section."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.core.exceptions import MiddlewareNotUsed
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from . import conf, outbox, recorder
from .attribution import users
from .attribution.scope import Scope, Steps, Unit
from .attribution.streams import hold_stream
from .errors import contain, contained


class AIUsageMiddleware:
    """Attributes the AI calls of a request to its user, and to the section of its view.

    Put it after the authentication middleware. It works under WSGI and ASGI. It makes no query,
    unless a router gives each tenant a database: then it loads the user of a call before it ends.
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
        if self.is_async:
            return self._acall(request)
        scope = _open(request)
        if scope is None:
            return self.get_response(request)
        response = None
        held = False
        try:
            with Steps(scope):
                response = self.get_response(request)
            held = bool(_hold(response, scope))
        finally:
            if not held:
                _finish(scope, response)
        return response

    async def _acall(self, request: HttpRequest) -> HttpResponseBase:
        response: Any = None
        scope = _open(request)
        if scope is None:
            response = await self.get_response(request)
            return cast(HttpResponseBase, response)
        held = False
        try:
            with Steps(scope):
                response = await self.get_response(request)
            held = bool(_hold(response, scope))
        finally:
            if not held:
                await _afinish(scope, response)
        return cast(HttpResponseBase, response)


@contained
def _open(request: HttpRequest) -> Scope:
    scope = Scope(Unit(request))
    scope.unit.begin()
    return scope


@contained
def _hold(response: Any, scope: Scope) -> bool:
    """Whether the scope lives on for a streaming body."""

    async def adone() -> None:
        await _afinish(scope)

    return hold_stream(
        response, scope, lambda: _finish(scope), adone, lambda: recorder.finish(scope.unit)
    )


def _finish(scope: Scope, response: HttpResponseBase | None = None) -> None:
    """End the unit of work; delivery follows at Django's `request_finished`, or is waited for.

    Called more than once where a stream ends and is closed afterwards.
    """
    if wait := _end_here(scope, response):
        outbox.wake(wait=wait)


@contained
def _end_here(scope: Scope, response: HttpResponseBase | None) -> float:
    """End the unit of work; return the seconds to wait."""
    try:
        if not scope.closed:
            recorder.resolve_routed(scope.unit)
    finally:
        has_calls = _end(scope, response)
    if has_calls and outbox.inline():
        outbox.wake()
    return scope.unit.wait() if has_calls else 0.0


async def _afinish(scope: Scope, response: HttpResponseBase | None = None) -> None:
    try:
        try:
            if not scope.closed:
                await recorder.aresolve_routed(scope.unit)
        finally:
            has_calls = _end(scope, response)
        if has_calls and outbox.inline():
            await sync_to_async(outbox.wake)()
        elif has_calls and (wait := scope.unit.wait()):
            await outbox.awake(wait=wait)
    except Exception as error:  # noqa: BLE001 -- see errors.contained
        contain(error, "AIUsageMiddleware")


def _end(scope: Scope, response: HttpResponseBase | None) -> bool:
    """End the unit of work, the first time; says whether a call was made in it."""
    if scope.closed:
        return False
    scope.closed = True
    recorder.finish(scope.unit, response)
    recorder.catch_up()
    return bool(scope.unit.calls)
