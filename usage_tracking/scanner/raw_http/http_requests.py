"""The parts of an HTTP request in code: method, URL and bodies, for any library and call."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from ..catalog import Catalog
from ..facts import Expression
from ..program import last_name
from ..values import HTTPClient, Library, Values
from .caller_frames import Argument, Frame
from .unfolding import Unfolding
from .url_texts import URLTexts

#: Methods and functions of HTTP and WebSocket libraries that send a request.
SENDING = {
    *("post", "request", "stream", "urlopen", "send", "fetch", "ws_connect", "connect", "open"),
    *(
        "send_json",
        "send_str",
        "send_text",
        "create_connection",
        "WebSocketApp",
        "connect_sse",
        "aconnect_sse",
        "perform",
    ),
}
#: Functions that make a request which another call sends.
_MAKES_REQUEST = {"Request", "HTTPRequest", "build_request"}
#: Calls whose first argument may be such a request.
_SENDS_REQUEST = {"send", "open", "urlopen", "fetch"}
#: Methods of WebSockets, and what opens one.
SOCKET_METHODS = {"send", "send_json", "send_str", "send_text"}
_OPENS_SOCKET = {"create_connection", "connect", "ws_connect"}
#: Calls whose first argument is the HTTP method.
_METHOD_FIRST = {"request", "stream", "connect_sse", "aconnect_sse", "build_request"}
#: Calls whose first argument is the client.
_CLIENT_FIRST = {"connect_sse", "aconnect_sse"}
_URL_KEYWORDS = {"url", "endpoint", "uri", "fullurl"}
_BODY_KEYWORDS = {"json", "data", "content", "body", "files", "payload"}
_REQUEST_KEYWORDS = {"request", "req", "prepared_request"}
#: Libraries whose `Request` begins with the URL.
_URL_FIRST = {"urllib", "tornado"}


@dataclass(frozen=True, slots=True)
class Call:
    """A call that may send an HTTP request, for all callers of its function."""

    method: str
    #: What the method may be.
    values: Values
    transport: str
    arguments: tuple[Expression, ...]
    keywords: tuple[tuple[str | None, Expression], ...]
    #: The object whose method is called.
    client: Expression
    #: How the reason begins.
    prefix: str = ""
    #: The provider behind a relative URL, if the object whose method is called belongs to one.
    provider: str = ""


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a request."""

    verb: Argument | None
    url: Argument | None
    bodies: tuple[Argument, ...]
    client: Argument | None
    #: It is a message on a connection that another call has opened.
    is_message: bool = False


class HTTPRequests:
    """Takes requests apart."""

    def __init__(self, unfolding: Unfolding, texts: URLTexts, catalog: Catalog) -> None:
        self._unfolding = unfolding
        self._texts = texts
        self._catalog = catalog

    def transport_of(self, values: Values) -> str:
        """Return the transport of a method or function of an HTTP library, "" for others."""
        found = [
            self._catalog.http_client(value.dotted) or ""
            for value in values
            if isinstance(value, Library)
        ]
        found += [value.transport for value in values if isinstance(value, HTTPClient)]
        return next(filter(None, found), "")

    def parts(self, call: Call, frame: Frame) -> Parts | None:
        """Return the parts of the request that a call sends, None if it is known to send none."""
        arguments = self._unfolding.calls.positional(call.arguments, frame)
        keywords = self._unfolding.calls.keywords(call.keywords, frame)
        client = Argument(call.client, frame) if call.client else None
        if call.method == "perform":
            return self._of_curl(call, frame)
        if call.method in _CLIENT_FIRST and arguments:
            client, arguments = arguments[0], arguments[1:]
        elif call.method in _CLIENT_FIRST:
            client = next((value for name, value in keywords if name == "client"), None)
        if call.method in _SENDS_REQUEST:
            passed = [value for name, value in keywords if name in _REQUEST_KEYWORDS]
            for request in arguments[:1] or passed:
                if made := self._prepared(request):
                    return made
        if call.method in SOCKET_METHODS:
            return self._of_socket(client, arguments) if client else None
        if call.method == "open" and not call.transport:
            return None
        is_method_first = call.method in _METHOD_FIRST or (
            call.method == "urlopen" and call.transport == "urllib3"
        )
        return _parts(arguments, keywords, client, is_method_first=is_method_first)

    def _prepared(self, request: Argument, depth: int = 0) -> Parts | None:
        """Return the parts of a request that was made before: `Request(…).prepare()`."""
        for origin in self._unfolding.origins(request.expression, request.frame):
            call, frame = origin.expression, origin.frame
            if call is None or call[0] != "call" or depth > 4:
                continue
            name = last_name(call[1])
            owner = call[1][1] if call[1] and call[1][0] == "attr" else None
            if name == "prepare":
                found = self._prepared(Argument(owner, frame), depth + 1)
            elif name == "prepare_request" and call[2]:
                found = self._prepared(Argument(call[2][0], frame), depth + 1)
            elif name in _MAKES_REQUEST:
                found = self._made(name, call, owner, frame)
            else:
                found = None
            if found:
                return found
        return None

    def _made(self, name: str, call: Any, owner: Expression, frame: Frame) -> Parts | None:
        values = self._unfolding.inference.of(call[1], frame.ref)
        transport = self.transport_of(values)
        if not transport and name != "build_request":
            return None
        return _parts(
            self._unfolding.calls.positional(call[2], frame),
            self._unfolding.calls.keywords(call[3], frame),
            Argument(owner, frame) if name == "build_request" else None,
            is_method_first=transport not in _URL_FIRST,
        )

    def _of_socket(self, client: Argument, messages: list[Argument]) -> Parts | None:
        """Return a message on a WebSocket, if the call that opened it is known."""
        for origin in self._unfolding.origins(client.expression, client.frame):
            made, frame = origin.expression, origin.frame
            if not made or made[0] != "call" or last_name(made[1]) not in _OPENS_SOCKET:
                continue
            values = self._unfolding.inference.of(made[1], frame.ref)
            if self.transport_of(values):
                opened = _parts(
                    self._unfolding.calls.positional(made[2], frame),
                    self._unfolding.calls.keywords(made[3], frame),
                    None,
                    is_method_first=False,
                )
                return replace(opened, bodies=tuple(messages[:1]), is_message=True)
        return None

    def _of_curl(self, call: Call, frame: Frame) -> Parts | None:
        """Return what `setopt` in the same function sets."""
        options: dict[str, Expression] = {}
        for mention in self._unfolding.program.scope(frame.ref).calls:
            _, function, arguments, *_ = mention.expression
            if (
                last_name(function) == "setopt"
                and len(arguments) == 2
                and last_name(function[1]) == last_name(call.client)
            ):
                options[last_name(arguments[0])] = arguments[1]
        url, fields = options.get("URL"), options.get("POSTFIELDS")
        if not url or not fields:
            return None
        return Parts(None, Argument(url, frame), (Argument(fields, frame),), None)

    def urls(self, parts: Parts) -> list[str]:
        """Return what the URL of a request may be, with "{NAME}" for an unknown part."""
        if parts.url is None:
            return []
        found: list[str] = []
        for text in self._texts.of(parts.url.expression, parts.url.frame):
            if "://" in text or _is_address(text):
                found.append(text)
            else:
                found += [_below(base, text) for base in self._bases(parts.client)]
        return found

    def _bases(self, client: Argument | None) -> list[str]:
        """Return the URLs that the requests of a client are relative to."""
        found: list[str] = []
        if client is not None:
            for origin in self._unfolding.origins(client.expression, client.frame):
                call = origin.expression
                if call and call[0] == "call":
                    found += self._base_of(call, origin.frame)
        return found or [""]

    def _base_of(self, call: Any, frame: Frame) -> Iterator[str]:
        values = self._unfolding.inference.of(call[1], frame.ref)
        if not self.transport_of(values):
            return
        keywords = dict(self._unfolding.calls.keywords(call[3], frame))
        base = keywords.get("base_url") or keywords.get("host")
        takes_base = last_name(call[1]).startswith("HTTP") or last_name(call[1]) == "ClientSession"
        if base is None and takes_base and call[2]:
            base = Argument(call[2][0], frame)
        yield from self._texts.of(base.expression, base.frame) if base else [""]


def _parts(
    arguments: list[Argument],
    keywords: list[tuple[str, Argument]],
    client: Argument | None,
    *,
    is_method_first: bool,
) -> Parts:
    named = dict(keywords)
    verb = named.get("method")
    if is_method_first and arguments and "method" not in named:
        verb, arguments = arguments[0], arguments[1:]
    url = next((value for name, value in keywords if name in _URL_KEYWORDS), None)
    if url is None and arguments:
        url, arguments = arguments[0], arguments[1:]
    bodies = [value for name, value in keywords if name in _BODY_KEYWORDS]
    return Parts(verb, url, (*arguments[:2], *bodies), client)


def _is_address(text: str) -> bool:
    """Return whether a text begins with an unknown part that is named like a whole address."""
    if not text.startswith("{"):
        return False
    name = text[1 : text.find("}")].lower()
    return any(word in name for word in ("url", "uri", "host", "endpoint", "base", "server"))


def _below(base: str, path: str) -> str:
    return f"{base.rstrip('/')}/{path.lstrip('/')}" if base else path
