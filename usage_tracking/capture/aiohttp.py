"""aiohttp, which aiobotocore and google-genai's async client use.

All methods of a session end in `ClientSession._request`, below the retries of SDKs and above
redirects. Test tools (vcrpy, aioresponses) replace it: then the calls of the methods above it are
captured. The body is read from `ClientResponse.content`, through any of its methods.
https://docs.aiohttp.org/en/stable/client_reference.html · https://docs.aiohttp.org/en/stable/streams.html
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from types import ModuleType
from typing import Any

import wrapt

from .. import conf
from ..errors import contained
from ..system.patching import is_covered, is_patched, patch, unpatch
from . import aiohttp_ws
from .exchange import Exchange, begin
from .sending import awrap

#: Methods of a session that an AI call may use → what they pass to `_request` before the URL.
_METHODS: dict[str, tuple[str, ...]] = {"request": (), "get": ("GET",), "post": ("POST",)}
_ENDS = ("close", "release")


def hook(module: ModuleType, _transport: str) -> None:
    """Hook aiohttp."""
    session = module.ClientSession
    patch(session, "_request", lambda original: awrap(original, _begin, _listen))
    for name, before in _METHODS.items():
        patch(session, name, partial(_above, session, before))
    for name in _ENDS:
        patch(module.ClientResponse, name, _ending)
    aiohttp_ws.hook(module)


def unhook(module: ModuleType) -> None:
    """Remove the hooks."""
    for name in ("_request", *_METHODS):
        unpatch(module.ClientSession, name)
    for name in _ENDS:
        unpatch(module.ClientResponse, name)
    aiohttp_ws.unhook(module)


def is_hooked(module: ModuleType) -> bool:
    """Return whether every hook is in place."""
    return (
        all(is_patched(module.ClientSession, name) for name in ("_request", *_METHODS))
        and all(is_patched(module.ClientResponse, name) for name in _ENDS)
        and aiohttp_ws.is_hooked(module)
    )


def _above(session_class: type, before: tuple[str, ...], original: Any) -> Any:
    """Return a method of a session that captures its calls if the hook below it is covered."""

    def method(session: Any, *args: Any, **options: Any) -> Any:
        answer = original(session, *args, **options)
        captured = _captured(answer, session_class, session, *before, *args, **options)
        return answer if captured is None else captured

    return method


@contained
def _captured(
    answer: Any, session_class: type, session: Any, *args: Any, **options: Any
) -> Any | None:
    """Return `answer`, which is awaited for a response, with its call captured if nothing else is.

    The result is None if the hook of `_request` captures the call.
    """
    if not is_covered(session_class, "_request"):
        return None
    send = awrap(lambda *_, **__: answer, _begin, _listen)
    return type(answer)(send(session, *args, **options))


@contained
def _begin(
    session: Any, method: str, url: Any, *, data: Any = None, json: Any = None, **options: Any
) -> Exchange | None:
    target = session._build_url(url)
    body = data.encode() if isinstance(data, str) else data
    exchange = begin(
        "aiohttp",
        method.upper(),
        target.host or "",
        target.explicit_port,
        target.raw_path,
        json if isinstance(json, Mapping) else bytes(body) if isinstance(body, bytes) else None,
    )
    if exchange is not None:
        exchange.headers = _headers(session, options.get("headers"))
        decodes = options.get("auto_decompress")
        if session._auto_decompress if decodes is None else decodes:
            exchange.is_decoded()
    return exchange


@contained
def _headers(session: Any, given: Any) -> Any:
    if conf.key_hint():
        return session._prepare_headers(given)  # with those of the session, which has the key
    return given if isinstance(given, Mapping) else None


@contained
def _listen(exchange: Exchange, response: Any) -> None:
    exchange.answered(response.status, response.headers)
    if response._body is not None:  # a hook of the site has read it
        exchange.whole(response._body)
    else:
        response.content = _Content(response.content, exchange)


def _ending(original: Any) -> Any:
    def end(self: Any) -> Any:
        try:
            return original(self)
        finally:
            _end(self)

    return end


@contained
def _end(response: Any) -> None:
    content = response.content
    if type(content) is _Content:
        content._self_exchange.end(abandoned=not content.__wrapped__.at_eof())


class _Content(wrapt.ObjectProxy):  # type: ignore[type-arg]
    """The stream of a response; passes on what is read from it.

    A cancelled read may be resumed: only the end of the response ends the call.
    """

    def __init__(self, content: Any, exchange: Exchange) -> None:
        super().__init__(content)
        self._self_exchange = exchange
        #: Bytes that the reader has put back and will read again.
        self._self_unread = 0

    def __del__(self) -> None:
        self._self_exchange.abandon()

    async def read(self, n: int = -1) -> Any:
        return await self._reading(self.__wrapped__.read, n)

    async def readany(self) -> Any:
        return await self._reading(self.__wrapped__.readany)

    async def readexactly(self, n: int) -> Any:
        try:
            return await self._reading(self.__wrapped__.readexactly, n)
        except asyncio.IncompleteReadError as error:
            self._took(error.partial)
            raise

    async def readline(self, **options: Any) -> Any:
        return await self._reading(self.__wrapped__.readline, **options)

    async def readuntil(self, separator: bytes = b"\n", **options: Any) -> Any:
        return await self._reading(self.__wrapped__.readuntil, separator, **options)

    async def readchunk(self) -> Any:
        return await self._reading(self.__wrapped__.readchunk)

    def read_nowait(self, n: int = -1) -> bytes:
        data: bytes = self.__wrapped__.read_nowait(n)
        self._took(data)
        return data

    def unread_data(self, data: bytes) -> None:
        self.__wrapped__.unread_data(data)
        self._self_unread += len(data)

    # The library's own methods, bound to this object: they iterate through the methods above.

    def __aiter__(self) -> Any:
        return type(self.__wrapped__).__aiter__(self)

    def iter_chunked(self, n: int) -> Any:
        return type(self.__wrapped__).iter_chunked(self, n)

    def iter_any(self) -> Any:
        return type(self.__wrapped__).iter_any(self)

    def iter_chunks(self) -> Any:
        return type(self.__wrapped__).iter_chunks(self)

    async def _reading(self, method: Callable[..., Any], *args: Any, **options: Any) -> Any:
        try:
            data = await method(*args, **options)
        except (asyncio.CancelledError, asyncio.IncompleteReadError):
            raise
        except BaseException as error:
            self._self_exchange.end(error)
            raise
        # Runs once for each line of a stream: the most frequent case is inlined.
        if type(data) is bytes and data and not (self._self_unread or self.__wrapped__.at_eof()):
            self._self_exchange.chunk(data)
        else:
            self._took(data)
        return data

    @contained
    def _took(self, data: bytes | tuple[bytes, bool]) -> None:
        piece = data[0] if isinstance(data, tuple) else data
        if self._self_unread:
            seen = min(self._self_unread, len(piece))
            self._self_unread -= seen
            piece = piece[seen:]
        if piece:
            self._self_exchange.chunk(piece)
        if self.__wrapped__.at_eof():
            self._self_exchange.end()
