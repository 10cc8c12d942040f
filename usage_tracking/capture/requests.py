"""requests, which google-auth's `AuthorizedSession` uses.

https://requests.readthedocs.io/en/latest/api/#requests.Session.send
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from inspect import unwrap
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import wrapt

from ..errors import contained
from ..system.patching import is_patched, patch, unpatch
from .exchange import Exchange, begin
from .include_usage import Hiding, Question
from .sending import wrap
from .urllib3 import tee


def hook(module: ModuleType, _transport: str) -> None:
    """Hook requests."""
    patch(module.Session, "send", lambda original: wrap(original, _begin, _listen))
    wrapt.register_post_import_hook(partial(_hook_mocker, module.Session), "requests_mock.mocker")


@contained
def _hook_mocker(session_class: Any, module: Any) -> None:
    """Let requests-mock call the hook: it calls the `send` that it found when it was imported."""
    if unwrap(session_class.send) is unwrap(module._original_send):
        module._original_send = session_class.send


def unhook(module: ModuleType) -> None:
    """Remove the hooks."""
    unpatch(module.Session, "send")


def is_hooked(module: ModuleType) -> bool:
    """Return whether every hook is in place."""
    return is_patched(module.Session, "send")


@contained
def _begin(_session: Any, request: Any, **_: Any) -> Exchange | None:
    url = urlsplit(request.url)
    body = request.body
    if isinstance(body, str):
        body = body.encode()
    exchange = begin(
        "requests",
        request.method,
        url.hostname or "",
        url.port,
        url.path,
        body if isinstance(body, bytes) else None,
    )
    if exchange is not None:
        exchange.headers = request.headers
        if exchange.question is not None:
            _ask_in(exchange.question, request)
    return exchange


@contained
def _ask_in(question: Question, request: Any) -> None:
    asking = request.copy()
    asking.body = question.body
    asking.headers["Content-Length"] = str(len(question.body))
    asking.headers["Accept-Encoding"] = "identity"
    question.request = asking


@contained
def _listen(exchange: Exchange, response: Any) -> None:
    exchange.answered(response.status_code, response.headers)
    if response._content_consumed:
        exchange.whole(response.content or b"")
        if (hiding := exchange.hiding()) and response.content:
            response._content = hiding.feed(response.content) + hiding.end()
        return
    response.raw = tee(response.raw, exchange)
    if exchange.hiding() is not None:
        response.raw = _Shown(response.raw, Hiding())


class _Shown(wrapt.ObjectProxy):  # type: ignore[type-arg]
    """A stream without the extra chunk that the site did not ask for; always decoded."""

    def __init__(self, raw: Any, hiding: Hiding) -> None:
        super().__init__(raw)
        self._self_hiding = hiding

    def stream(self, amt: int | None = None, decode_content: Any = None) -> Iterator[bytes]:
        """Yield decoded bytes, whatever `decode_content` is."""
        del decode_content
        for chunk in self.__wrapped__.stream(amt, decode_content=True):
            if shown := self._self_hiding.feed(chunk):
                yield shown
        if shown := self._self_hiding.end():
            yield shown

    def read(self, amt: int | None = None, decode_content: Any = None, **options: Any) -> bytes:
        """Read decoded bytes, whatever `decode_content` is."""
        del decode_content
        while data := self.__wrapped__.read(amt, decode_content=True, **options):
            if (shown := self._self_hiding.feed(data)) or amt is None:
                return shown + (self._self_hiding.end() if amt is None else b"")
        return self._self_hiding.end()
