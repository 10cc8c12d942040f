"""What every transport does around the method that sends a request.

`begin` and `listen` contain their errors. The code between them only calls the original method and
sets a context variable, so no error of ours can replace the site's.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from ..errors import contain, contained
from .exchange import Exchange

#: Returns the exchange that a request opens, None if it is not an AI call. It takes the original's
#: arguments.
Begin = Callable[..., Exchange | None]
#: Passes the response of an exchange to it.
Listen = Callable[[Exchange, Any], None]

#: The AI call that a transport is sending: a transport beneath it must not record it again.
#: Reset without a token: a coroutine may be closed in another context than it began in.
inside: ContextVar[Exchange | None] = ContextVar("ai_usage_inside", default=None)


def wrap(original: Any, begin: Begin, listen: Listen) -> Any:
    """Return `original`, a method that sends a request, with its calls captured."""

    def send(*args: Any, **options: Any) -> Any:
        exchange = None if _is_inside() else begin(*args, **options)
        if exchange is None:
            return original(*args, **options)
        exchange.is_sending = True
        inside.set(exchange)
        try:
            response = _ask(original, exchange, args, options)
        except BaseException as error:
            exchange.failed(error)
            raise
        finally:
            exchange.is_sending = False
            inside.set(None)
        listen(exchange, response)
        return response

    return send


def awrap(original: Any, begin: Begin, listen: Listen) -> Any:
    """Return `original`, a coroutine method that sends a request, with its calls captured."""

    async def send(*args: Any, **options: Any) -> Any:
        exchange = None if _is_inside() else begin(*args, **options)
        if exchange is None:
            return await original(*args, **options)
        exchange.is_sending = True
        inside.set(exchange)
        try:
            response = await _aask(original, exchange, args, options)
        except BaseException as error:
            exchange.failed(error)
            raise
        finally:
            exchange.is_sending = False
            inside.set(None)
        listen(exchange, response)
        return response

    return send


def _is_inside() -> bool:
    # A task that was started while a call was being sent keeps its own copy of the variable.
    outer = inside.get()
    return outer is not None and outer.is_sending


def _ask(original: Any, exchange: Exchange, args: Any, options: Any) -> Any:
    """Send the request, with the exchange's question if it has one and the server accepts it."""
    question = exchange.question
    if question is None or question.request is None:
        return original(*args, **options)
    response = original(args[0], question.request, *args[2:], **_without_request(options))
    if not question.is_rejected(response):
        return response
    _close(response)
    return original(*args, **options)


async def _aask(original: Any, exchange: Exchange, args: Any, options: Any) -> Any:
    question = exchange.question
    if question is None or question.request is None:
        return await original(*args, **options)
    response = await original(args[0], question.request, *args[2:], **_without_request(options))
    if not question.is_rejected(response):
        return response
    try:
        await response.aclose()
    except Exception as error:  # noqa: BLE001 -- see errors.contained
        contain(error, "sending._aask")
    return await original(*args, **options)


@contained
def _close(response: Any) -> None:
    response.close()


def _without_request(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name != "request"}
