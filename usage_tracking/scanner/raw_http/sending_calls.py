"""Which calls send an HTTP request, whichever library they use and however they name it."""

from __future__ import annotations

from typing import Any

from ..catalog import Catalog
from ..evidence.confidence import is_of_other_library
from ..facts import Mention
from ..inference.engine import Inference
from ..program import Ref, last_name
from ..values import FUNCTIONS, AIObject, Class, Library
from .caller_frames import Frame
from .http_requests import SENDING, SOCKET_METHODS, Call, HTTPRequests
from .indirect_calls import spread
from .model_requests import ModelRequests
from .unfolding import Unfolding

#: Keywords of a request with content.
_CONTENT_KEYWORDS = {"json", "data", "content", "headers", "files", "body", "payload"}


class SendingCalls:
    """Finds the calls of a program that send HTTP requests."""

    def __init__(
        self,
        inference: Inference,
        catalog: Catalog,
        unfolding: Unfolding,
        http: HTTPRequests,
        requests: ModelRequests,
    ) -> None:
        self._inference = inference
        self._catalog = catalog
        self._unfolding = unfolding
        self._http = http
        self._requests = requests

    def of(self, mention: Mention, ref: Ref) -> Call | None:
        """Return a call as one that may send a request, None if it sends none itself."""
        _, function, arguments, keywords, *_ = mention.expression
        found = None
        if function and function[0] == "call" and last_name(function[1]) == "getattr":
            found = self._by_method_name(function[2], arguments, keywords, ref)
        elif function and function[0] in {"name", "call", "index"}:
            found = self._renamed(function, arguments, keywords, ref)
        elif last_name(function) in SENDING:
            found = self._direct(function, arguments, keywords, ref)
        return found or self._passed(mention.expression, ref)

    def _direct(self, function: Any, arguments: Any, keywords: Any, ref: Ref) -> Call | None:
        name = last_name(function)
        values = self._inference.of(function, ref)
        transport = self._http.transport_of(values)
        if any(isinstance(value, (*FUNCTIONS, Class)) for value in values):
            return None
        if not transport:
            # AI objects have no method `post`, so their class may have its own session.
            is_of_sdk = name != "post" and any(isinstance(value, AIObject) for value in values)
            if is_of_sdk or is_of_other_library(values):
                return None
            # `@router.post("/chat/completions")`
            given = {keyword for keyword, _ in keywords}
            if name not in SOCKET_METHODS and len(arguments) < 2 and not given & _CONTENT_KEYWORDS:
                return None
        client = function[1] if function[0] == "attr" else None
        types = [self._catalog.types[v.type_name] for v in values if isinstance(v, AIObject)]
        provider = types[0].provider if types else ""
        return Call(name, values, transport, arguments, keywords, client, provider=provider)

    def _by_method_name(
        self, looked_up: Any, arguments: Any, keywords: Any, ref: Ref
    ) -> Call | None:
        """Return `getattr(session, method)(url)` as `session.request(method, url)`."""
        if len(looked_up) < 2:
            return None
        client, verb, *_ = looked_up
        values = self._inference.of(("attr", client, "request"), ref)
        if transport := self._http.transport_of(values):
            return Call("request", values, transport, (verb, *arguments), keywords, client)
        return None

    def _renamed(self, function: Any, arguments: Any, keywords: Any, ref: Ref) -> Call | None:
        """Return a call of a function of an HTTP library, also by another name."""
        values = self._inference.of(function, ref)
        transport = self._http.transport_of(values)
        if not transport:
            is_named = last_name(function) in SENDING
            return self._direct(function, arguments, keywords, ref) if is_named else None
        bound = self._partial(function, ref)
        if bound is not None:
            if self._requests.evidence(bound, Frame(ref)):
                return None  # the site is where URL and method are put together
            arguments, keywords = bound.arguments + arguments, bound.keywords + keywords
        leaves = [v.dotted.rpartition(".")[2] for v in values if isinstance(v, Library)]
        method = next((leaf for leaf in leaves if leaf in SENDING), last_name(function))
        if method not in SENDING:
            return None
        return Call(method, values, transport, arguments, keywords, None)

    def _partial(self, function: Any, ref: Ref) -> Call | None:
        """Return what `partial(requests.post, url)` is bound to."""
        made = self._unfolding.calls.partial(function, Frame(ref))
        return self._passed(made.expression, made.frame.ref) if made else None

    def _passed(self, call: Any, ref: Ref) -> Call | None:
        """Return a call that is passed a method and arguments: `submit(requests.post, url)`."""
        _, _, arguments, keywords, *_ = call
        if target := spread(call):
            _, function, rest, keywords, *_ = target
            arguments = (function, *rest)
        for position, argument in enumerate(arguments):
            method = last_name(argument)
            if method not in SENDING or len(arguments) + len(keywords) < position + 2:
                continue
            values = self._inference.of(argument, ref)
            if transport := self._http.transport_of(values):
                client = argument[1] if argument[0] == "attr" else None
                rest = arguments[position + 1 :]
                return Call(method, values, transport, rest, keywords, client, "passed uncalled; ")
        return None
