"""Evidence from HTTP requests that the project sends itself, without an SDK."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .catalog import Catalog, Target
from .evidence import CERTAIN, LIKELY, Evidence, is_of_other_library
from .facts import Mention
from .inference import Inference
from .model_urls import ModelURL, recognise
from .program import Ref, last_name
from .values import (
    FUNCTIONS,
    AIObject,
    Class,
    HTTPClient,
    Library,
    Table,
    Text,
    Values,
)

#: Methods and functions of HTTP and WebSocket libraries.
HTTP_METHODS = {
    *("post", "request", "stream", "urlopen", "send", "fetch", "ws_connect", "connect"),
    *("create_connection", "WebSocketApp", "put", "build_request", "Request"),
}
#: These prepare a request, or send none to a model.
_NO_REQUEST = {"Request", "build_request", "put"}
#: Methods whose first argument is the HTTP method.
_METHOD_FIRST = {"request", "stream"}
_READING_METHODS = {"GET", "DELETE", "HEAD"}
#: Keywords of a request with content.
_CONTENT_KEYWORDS = {"json", "data", "content", "headers", "files", "body", "payload"}
_BODY_KEYWORDS = {"json", "data", "content", "body"}
#: Keys in the body of a request to a model, of any provider → what it requests.
_BODIES = {
    ("model", "messages"): "chat",
    ("model", "prompt"): "completion",
    ("contents", "generationConfig"): "chat",
    ("anthropic_version", "messages"): "chat",
    ("inputs", "parameters"): "completion",
    ("model", "input", "voice"): "speech",
    ("model", "query", "documents"): "rerank",
}


@dataclass(frozen=True, slots=True)
class _Request:
    """A call that may send an HTTP request."""

    method: str
    #: What the method may be.
    values: Values
    arguments: Any
    keywords: Any
    #: How the reason begins.
    prefix: str


class RawRequests:
    """Judges calls that send HTTP requests."""

    def __init__(self, inference: Inference, catalog: Catalog) -> None:
        self._inference = inference
        self._catalog = catalog

    def evidence(self, call: Mention, ref: Ref) -> Evidence | None:
        """Return the evidence of a call in the scope `ref`, None if it calls no model."""
        request = self._request(call, ref)
        if request.method not in HTTP_METHODS or request.method in _NO_REQUEST:
            return None
        transport = self._transport(request)
        if self._is_other_call(request, transport) or self._only_reads(request, ref):
            return None
        for url in self._urls(request, ref):
            found = recognise(url, self._catalog)
            if found and (transport or _is_plausible(found, request)):
                used = "websockets" if url.startswith("ws") else transport or "httpx"
                return Evidence(
                    Target(found.kind, found.provider, used),
                    CERTAIN if found.is_certain else LIKELY,
                    f"{request.prefix}{request.method} to {found.url}",
                )
        if transport or request.method == "post":
            return self._by_body(request, transport, ref)
        return None

    def _request(self, call: Mention, ref: Ref) -> _Request:
        _, function, arguments, keywords, *_ = call.expression
        name = last_name(function)
        values = self._inference.of(function, ref)
        if arguments and name not in HTTP_METHODS and last_name(arguments[0]) in HTTP_METHODS:
            # to_thread(requests.post, url)
            for value in self._inference.of(arguments[0], ref):
                if isinstance(value, Library) and self._catalog.http_client(value.dotted):
                    method = value.dotted.rpartition(".")[2]
                    if method in HTTP_METHODS:
                        passed = frozenset([value])
                        return _Request(
                            method, passed, arguments[1:], keywords, "passed uncalled; "
                        )
        return _Request(name, values, arguments, keywords, "")

    def _transport(self, request: _Request) -> str:
        transports = [
            self._catalog.http_client(value.dotted)
            for value in request.values
            if isinstance(value, Library)
        ]
        transports += [v.transport for v in request.values if isinstance(v, HTTPClient)]
        return next((each for each in transports if each), "")

    def _is_other_call(self, request: _Request, transport: str) -> bool:
        """Return whether a call sends no request of its own, or none with content."""
        values = request.values
        if any(isinstance(value, (*FUNCTIONS, Class)) for value in values):
            return True
        if transport:
            return False
        if any(isinstance(value, AIObject) for value in values) or is_of_other_library(values):
            return True
        # `@router.post("/chat/completions")`
        keywords = {keyword for keyword, _ in request.keywords}
        return len(request.arguments) < 2 and not keywords & _CONTENT_KEYWORDS

    def _only_reads(self, request: _Request, ref: Ref) -> bool:
        if not request.arguments or request.method not in _METHOD_FIRST:
            return False
        return any(
            isinstance(value, Text) and value.text.upper() in _READING_METHODS
            for value in self._inference.of(request.arguments[0], ref)
        )

    def _urls(self, request: _Request, ref: Ref) -> Iterator[str]:
        """Yield what the URL may be, with "{NAME}" for an unknown part."""
        urls = [value for keyword, value in request.keywords if keyword in {"url", "endpoint"}]
        if not urls:
            position = int(request.method in _METHOD_FIRST and len(request.arguments) > 1)
            urls = list(request.arguments[position : position + 1])
        bases = {v.base for v in request.values if isinstance(v, HTTPClient)} or {""}
        for url in urls:
            values = self._inference.of(url, ref)
            texts = sorted(value.text for value in values if isinstance(value, Text))
            if not texts and url and last_name(url):
                texts = [f"{{{last_name(url)}}}"]
            for text in texts:
                for base in sorted(bases):
                    is_whole = "://" in text or not base
                    yield text if is_whole else f"{base.rstrip('/')}/{text.lstrip('/')}"

    def _by_body(self, request: _Request, transport: str, ref: Ref) -> Evidence | None:
        """Judge a request by its body: `{"model": ..., "messages": [...]}`, whatever its URL is."""
        keys: set[str] = set()
        for keyword, value in request.keywords:
            if keyword not in _BODY_KEYWORDS:
                continue
            if value and value[0] == "call" and last_name(value[1]) == "dumps" and value[2]:
                value = value[2][0]
            for each in self._inference.of(value, ref):
                if isinstance(each, Table):
                    for names, _ in each.entries:
                        keys |= {name.text for name in names if isinstance(name, Text)}
        kind = next((kind for words, kind in _BODIES.items() if keys.issuperset(words)), "")
        if not kind:
            return None
        reason = f"{request.prefix}{request.method} with a model and a prompt"
        return Evidence(Target(kind, "unknown", transport or "httpx"), LIKELY, reason)


def _is_plausible(found: ModelURL, request: _Request) -> bool:
    """Return whether a request of an unknown HTTP client goes to a model."""
    return "://" in found.url or found.is_certain or request.method == "post"
