"""httpx and httpx2: two packages with the same classes.

`Client.send` is above custom transports, mocks and HTTP/2, and below redirects and the retries of
SDKs: one call per attempt. https://www.python-httpx.org/api/#client
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from functools import partial
from types import ModuleType
from typing import Any

from ..errors import contained
from ..system.patching import is_patched, patch, unpatch
from .exchange import Exchange, begin
from .include_usage import Hiding, Question
from .sending import awrap, wrap


def hook(module: ModuleType, transport: str) -> None:
    """Hook httpx or httpx2, whichever `module` is."""
    tee, async_tee = _tee_class(module), _async_tee_class(module)
    begin = partial(_begin, transport, module.Request)
    patch(module.Client, "send", lambda send: wrap(send, begin, partial(_listen, tee)))
    patch(module.AsyncClient, "send", lambda send: awrap(send, begin, partial(_listen, async_tee)))


def unhook(module: ModuleType) -> None:
    """Remove the hooks."""
    unpatch(module.Client, "send")
    unpatch(module.AsyncClient, "send")


def is_hooked(module: ModuleType) -> bool:
    """Return whether every hook is in place."""
    return is_patched(module.Client, "send") and is_patched(module.AsyncClient, "send")


@contained
def _begin(
    transport: str, request_class: Any, _client: Any, request: Any, **_: Any
) -> Exchange | None:
    url = request.url
    exchange = begin(
        transport,
        request.method,
        url.host,
        url.port,
        url.raw_path.decode("ascii"),
        _body(request),
    )
    if exchange is not None:
        exchange.headers = request.headers
        if exchange.question is not None:
            _ask_in(exchange, exchange.question, request_class, request)
    return exchange


def _body(request: Any) -> Any:
    """Return the body if it is in memory, or the fields of a form without its files."""
    if hasattr(request, "_content"):
        return request._content
    fields = getattr(request.stream, "fields", ())
    return {field.name: field.value for field in fields if hasattr(field, "value")} or None


@contained
def _ask_in(exchange: Exchange, question: Question, request_class: Any, request: Any) -> None:
    headers = request.headers.copy()
    headers.pop("content-length", None)
    headers["accept-encoding"] = (
        "identity"  # the extra chunk cannot be cut out of a compressed stream
    )
    question.request = request_class(
        request.method,
        request.url,
        headers=headers,
        content=question.body,
        extensions=request.extensions,
    )
    exchange.headers = question.request.headers  # to which the client adds its authentication


@contained
def _listen(tee: type, exchange: Exchange, response: Any) -> None:
    exchange.answered(response.status_code, response.headers)
    if hasattr(response, "_content"):
        exchange.whole(response.content)
        if hiding := exchange.hiding():
            response._content = hiding.feed(response.content) + hiding.end()
        return
    hiding = exchange.hiding()
    response.stream = tee(response.stream, exchange, hiding)
    if hiding is not None:
        response.headers.pop("content-encoding", None)  # the stream is decoded


def _tee_class(module: ModuleType) -> type:
    """Return a stream class that passes on what it reads, with the base class of the library."""

    class Tee(module.SyncByteStream):  # type: ignore[misc, name-defined]
        def __init__(self, stream: Any, exchange: Exchange, hiding: Hiding | None) -> None:
            self._stream = stream
            self._exchange = exchange
            self._hiding = hiding

        def __iter__(self) -> Iterator[bytes]:
            exchange, hiding = self._exchange, self._hiding
            take = exchange.chunk
            try:
                for chunk in self._stream:
                    take(chunk)
                    if hiding is None:
                        yield chunk
                    elif shown := hiding.feed(chunk):
                        yield shown
                if hiding is not None and (shown := hiding.end()):
                    yield shown
            except GeneratorExit:
                raise  # the reader stopped; it may still read on or close the stream
            except BaseException as error:
                exchange.end(error)
                raise
            exchange.end()

        def close(self) -> None:
            try:
                self._stream.close()
            finally:
                self._exchange.end(abandoned=True)

        def __del__(self) -> None:
            self._exchange.abandon()

    return Tee


def _async_tee_class(module: ModuleType) -> type:
    """Return the async counterpart of `_tee_class`."""

    class AsyncTee(module.AsyncByteStream):  # type: ignore[misc, name-defined]
        def __init__(self, stream: Any, exchange: Exchange, hiding: Hiding | None) -> None:
            self._stream = stream
            self._exchange = exchange
            self._hiding = hiding

        async def __aiter__(self) -> AsyncIterator[bytes]:
            exchange, hiding = self._exchange, self._hiding
            take = exchange.chunk
            try:
                async for chunk in self._stream:
                    take(chunk)
                    if hiding is None:
                        yield chunk
                    elif shown := hiding.feed(chunk):
                        yield shown
                if hiding is not None and (shown := hiding.end()):
                    yield shown
            except GeneratorExit:
                raise
            except BaseException as error:
                exchange.end(error)
                raise
            exchange.end()

        async def aclose(self) -> None:
            try:
                await self._stream.aclose()
            finally:
                self._exchange.end(abandoned=True)

        def __del__(self) -> None:
            self._exchange.abandon()

    return AsyncTee
