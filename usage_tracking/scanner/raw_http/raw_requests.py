"""Evidence from HTTP requests that the project sends itself, without an SDK.

A request whose URL or body comes from the callers of a function is judged once for each caller,
with what this caller passes: a helper that serves many services is no site, and its callers that
ask a model are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..catalog import Catalog, Target
from ..evidence.confidence import CERTAIN, LIKELY, NAME_ONLY, Evidence, is_of_other_library
from ..facts import FUNCTION, LAMBDA, Mention
from ..inference.engine import Inference
from ..program import Ref, last_name
from ..values import FUNCTIONS, AIObject, Class, Library
from .caller_frames import Frame
from .http_requests import SENDING, SOCKET_METHODS, Call, HTTPRequests, Parts
from .indirect_calls import IndirectCalls, spread
from .model_urls import ModelURL, is_excluded, is_of_other_service, of_own_server, recognise
from .request_bodies import RequestBodies, groups_of, is_ambiguous, kind_of
from .unfolding import Unfolding
from .url_texts import URLTexts

#: Names of calls that may send a request.
HTTP_METHODS = SENDING
_READING_METHODS = {"GET", "DELETE", "HEAD", "OPTIONS"}
#: Keywords of a request with content.
_CONTENT_KEYWORDS = {"json", "data", "content", "headers", "files", "body", "payload"}
#: Kinds whose paths other services that generate something have as well.
_WRITTEN = {"completion", "chat", "image"}
#: A request is followed through so many functions, and through so many calls in all.
_MOST_HOPS = 4
_MOST_CALLS = 400


@dataclass(frozen=True, slots=True)
class _Hop:
    """A call of the function that a request is in, or of one that leads there."""

    function: Ref
    #: The scope in the function that the request, or the call before, is in.
    inner: Ref
    #: The call, as an expression with the arguments for the function.
    call: Any
    caller: Ref


@dataclass(frozen=True, slots=True)
class _Caller:
    """A call that supplies what makes a request one to a model."""

    ref: Ref
    mention: Mention
    evidence: Evidence
    #: The function that sends the request, and the place.
    helper: str
    #: How many calls it is away from the request.
    hops: int

    def through(self) -> Evidence:
        """Return the evidence, whose reason names the helper."""
        return replace(self.evidence, reason=f"{self.evidence.reason} through {self.helper}")


class RawRequests:
    """Judges calls that send HTTP requests."""

    def __init__(self, inference: Inference, catalog: Catalog) -> None:
        self._inference = inference
        self._catalog = catalog
        self._program = inference.program
        self._unfolding = Unfolding(inference)
        texts = URLTexts(self._unfolding)
        self._http = HTTPRequests(self._unfolding, texts, catalog)
        self._texts = texts
        self._bodies = RequestBodies(self._unfolding)
        self._calls = IndirectCalls(inference)
        #: Identity of a call → its evidence; None until all requests have been judged.
        self._found: dict[int, Evidence] | None = None

    def evidence(self, call: Mention) -> Evidence | None:
        """Return the evidence of a call, None if it sends no request to a model."""
        if self._found is None:
            self._found = {}
            for ref, scope in self._program.scopes():
                for mention in scope.calls:
                    try:
                        self._judge_all(mention, ref)
                    except Exception as error:  # noqa: BLE001 -- the report names it
                        self._inference.faults[ref[0]] = f"{type(error).__name__}: {error}"
        return self._found.get(id(call))

    def _judge_all(self, mention: Mention, ref: Ref) -> None:
        """Judge a request for itself, then for each caller that supplies its URL or body."""
        call = self._call(mention, ref)
        if call is None or self._found is None:
            return
        self._unfolding.start()
        evidence = self._judge(call, Frame(ref))
        if evidence is None or evidence.confidence == NAME_ONLY or self._unfolding.is_guess:
            callers = self._without_partials(self._follow(call, ref, mention, (), [_MOST_CALLS]))
            if len(callers) == 1 and self._is_only_caller(callers[0], ref):
                evidence = callers[0].evidence
            elif callers:
                evidence = None
                for each in callers:
                    self._found.setdefault(id(each.mention), each.through())
        if evidence:
            self._found.setdefault(id(mention), evidence)

    # Callers

    def _follow(
        self, call: Call, ref: Ref, mention: Mention, hops: tuple[_Hop, ...], left: list[int]
    ) -> list[_Caller]:
        """Judge a request for each caller of the function that it is in; return the sites.

        `left` is the number of calls that may still be looked at.
        """
        found: list[_Caller] = []
        for function in list(self._open_functions(ref)):
            if any(hop.function == function for hop in hops):
                continue
            for caller, place, expression in self._calls.of(function):
                if left[0] <= 0:
                    break
                left[0] -= 1
                further = (*hops, _Hop(function, ref, expression, caller))
                self._unfolding.start()
                if evidence := self._judge(call, self._frame(further)):
                    helper = self._program.scope(hops[0].function if hops else function)
                    name = f"{helper.name}()" if helper.kind == FUNCTION else "a lambda"
                    where = f"{name} in {(hops[0] if hops else further[0]).inner[0]}:{mention.line}"
                    found.append(_Caller(caller, place, evidence, where, len(further)))
                elif len(further) < _MOST_HOPS:
                    found += self._follow(call, caller, mention, further, left)
        return found

    def _without_partials(self, callers: list[_Caller]) -> list[_Caller]:
        """Leave out each `ask = partial(post, url)` of which a call is among the callers."""
        called = set()
        for each in callers:
            if made := self._unfolding.partial(each.mention.expression[1], Frame(each.ref)):
                called.add((made.frame.ref[0], made.expression))
        return [each for each in callers if (each.ref[0], each.mention.expression) not in called]

    def _is_only_caller(self, caller: _Caller, ref: Ref) -> bool:
        """Return whether the function of a request is but a part of its caller."""
        if caller.hops != 1 or caller.ref[0] != ref[0]:
            return False
        return all(len(list(self._calls.of(each))) <= 1 for each in self._around(ref))

    def _around(self, ref: Ref) -> Iterator[Ref]:
        at: Ref | None = ref
        while at is not None:
            if self._program.scope(at).kind in {FUNCTION, LAMBDA}:
                yield at
            at = self._program.parent(at)

    def _open_functions(self, ref: Ref) -> Iterator[Ref]:
        """Yield the functions at and around a scope on whose callers the last judgement depends."""
        asked = self._unfolding.asked
        return (each for each in self._around(ref) if each in asked)

    def _frame(self, hops: Sequence[_Hop]) -> Frame:
        """Return the frame of the request for a chain of callers."""
        frame = Frame(hops[-1].caller)
        for hop in reversed(hops):
            receiver = None
            for callee, found in self._unfolding.callees(hop.call[1], frame):
                if callee == hop.function:
                    receiver = found
            frame = self._unfolding.called(hop.function, hop.call, frame, receiver)
            if hop.inner != hop.function:
                frame = Frame(hop.inner, outer=frame)
        return frame

    # Requests

    def _call(self, mention: Mention, ref: Ref) -> Call | None:
        """Return a call as one that may send a request, None if it sends none of its own."""
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
            # `post` is no method of AI objects, so their class may have a session of its own.
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
            if self._judge(bound, Frame(ref)):
                return None  # the site is where URL and method are put together
            arguments, keywords = bound.arguments + arguments, bound.keywords + keywords
        leaves = [v.dotted.rpartition(".")[2] for v in values if isinstance(v, Library)]
        method = next((leaf for leaf in leaves if leaf in SENDING), last_name(function))
        if method not in SENDING:
            return None
        return Call(method, values, transport, arguments, keywords, None)

    def _partial(self, function: Any, ref: Ref) -> Call | None:
        """Return what `partial(requests.post, url)` is bound to."""
        made = self._unfolding.partial(function, Frame(ref))
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

    # Judgement

    def _judge(self, call: Call, frame: Frame) -> Evidence | None:
        """Return the evidence of a request in a frame."""
        parts = self._http.parts(call, frame)
        if parts is None or self._only_reads(parts):
            return None
        urls = self._http.urls(parts)
        if not call.transport and all(url.startswith("/") for url in urls) and self._is_test(frame):
            return None
        allowed = [url for url in urls if not is_excluded(url, self._catalog)]
        if urls and not allowed:
            return None
        for url in allowed:
            found = recognise(url, self._catalog)
            if found and (call.transport or _is_plausible(found, call)):
                # A connection to a known model is the request, not each message on it.
                return None if parts.is_message else self._of_url(found, call, parts)
        if not (call.transport or parts.is_message) and call.method != "post":
            return None
        keys = {key for body in parts.bodies for key in self._bodies.keys(body)}
        return self._by_body(keys, allowed, call)

    def _is_test(self, frame: Frame) -> bool:
        """Return whether code is in a test, whose client sends requests to the project itself."""
        names = [self._program.scope(each).name for each in self._around(frame.ref)]
        cls = self._program.class_of(frame.ref)
        is_case = cls is not None and self._program.scope(cls).name.startswith("Test")
        return is_case or any(re.match(r"tests?(?:_|$)", name) for name in names)

    def _only_reads(self, parts: Parts) -> bool:
        if parts.verb is None:
            return False
        texts = self._texts.of(parts.verb.expression, parts.verb.frame)
        return bool(texts) and all(text.upper() in _READING_METHODS for text in texts)

    def _of_url(self, found: ModelURL, call: Call, parts: Parts) -> Evidence:
        used = "websockets" if found.url.startswith("ws") else call.transport or "httpx"
        confidence = CERTAIN if found.is_certain else LIKELY
        kind, seen = found.kind, ""
        if kind == "request":
            keys = {key for body in parts.bodies for key in self._bodies.keys(body)}
            if told := kind_of(keys):
                kind, seen = told[0], f" with {_listed(told[1])}"
            elif not found.is_known_host:
                confidence = NAME_ONLY
        provider = found.provider
        if call.provider and provider == "unknown" and found.url.startswith("/"):
            provider = call.provider
        target = Target(kind, provider, used, found.is_recorded)
        return Evidence(target, confidence, f"{call.prefix}{call.method} to {found.url}{seen}")

    def _by_body(self, keys: set[str], urls: Sequence[str], call: Call) -> Evidence | None:
        """Judge a request to an unknown address by its body, and by the end of its path."""
        if any(key.startswith("dataframe_") for key in keys):
            return None  # rows of a table
        told = kind_of(keys)
        is_vague = told is not None and is_ambiguous(told[1])
        for url in urls:
            own = of_own_server(url, groups_of(keys), self._catalog)
            if own is not None and not (own.kind in _WRITTEN and self._is_other(url)):
                kind = told[0] if told and told[0] == "chat" else own.kind
                return self._evidence(call, kind, own, own.keys)
        fitting = [url for url in urls if not self._is_other(url, is_vague=is_vague)]
        if told is None or (urls and not fitting):
            return None
        kind, seen = told
        url = next(iter(fitting), "")
        return self._evidence(call, kind, ModelURL.unknown(kind, url), seen)

    def _is_other(self, url: str, *, is_vague: bool = False) -> bool:
        return is_of_other_service(url, self._catalog, is_collection_other=is_vague)

    def _evidence(self, call: Call, kind: str, url: ModelURL, seen: frozenset[str]) -> Evidence:
        transport = "websockets" if call.method in SOCKET_METHODS else call.transport or "httpx"
        target = Target(kind, url.provider, transport, url.is_recorded)
        keys = f" with {_listed(seen)}" if seen else ""
        to = f" to {url.url}" if url.url else ""
        return Evidence(target, LIKELY, f"{call.prefix}{call.method}{to}{keys}")


def _listed(names: frozenset[str]) -> str:
    *first, last = sorted(names)
    return f"{', '.join(first)} and {last}" if first else last


def _is_plausible(found: ModelURL, call: Call) -> bool:
    """Return whether a request of an unknown HTTP client goes to a model."""
    return "://" in found.url or found.is_certain or call.method == "post"
