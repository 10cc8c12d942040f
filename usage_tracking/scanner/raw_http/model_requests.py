"""Whether an HTTP request asks a model, judged by its URL, its body and the end of its path."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ..catalog import Catalog, Target
from ..evidence.confidence import CERTAIN, LIKELY, NAME_ONLY, Evidence
from ..facts import FUNCTION, LAMBDA
from ..program import Program, Ref
from .caller_frames import Frame
from .http_requests import SOCKET_METHODS, Call, HTTPRequests, Parts
from .model_urls import ModelURL, is_excluded, is_of_other_service, of_own_server, recognise
from .request_bodies import RequestBodies, groups_of, is_ambiguous, kind_of
from .url_texts import URLTexts

_READING_METHODS = {"GET", "DELETE", "HEAD", "OPTIONS"}
#: Kinds whose paths are also those of services that generate something without a model.
_WRITTEN = {"completion", "chat", "image"}


class ModelRequests:
    """Judges HTTP requests."""

    def __init__(
        self,
        program: Program,
        catalog: Catalog,
        http: HTTPRequests,
        texts: URLTexts,
        bodies: RequestBodies,
    ) -> None:
        self._program = program
        self._catalog = catalog
        self._http = http
        self._texts = texts
        self._bodies = bodies

    def evidence(self, call: Call, frame: Frame) -> Evidence | None:
        """Return the evidence of a request in a frame, None if it asks no model."""
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
        names = [
            self._program.scope(each).name for each in functions_around(self._program, frame.ref)
        ]
        cls = self._program.class_of(frame.ref)
        is_case = cls is not None and self._program.scope(cls).name.startswith("Test")
        return is_case or any(re.match(r"tests?(?:_|$)", name) for name in names)

    def _only_reads(self, parts: Parts) -> bool:
        if parts.verb is None:
            return False
        texts = self._texts.of(parts.verb.expression, parts.verb.frame)
        return bool(texts) and all(text.upper() in _READING_METHODS for text in texts)

    def _of_url(self, found: ModelURL, call: Call, parts: Parts) -> Evidence:
        used = call.transport or ("websockets" if found.url.startswith("ws") else "httpx")
        confidence = CERTAIN if found.is_certain else LIKELY
        kind, seen = found.kind, ""
        if kind == "request":
            keys = {key for body in parts.bodies for key in self._bodies.keys(body)}
            if asked := kind_of(keys):
                kind, seen = asked[0], f" with {_listed(asked[1])}"
            elif not found.is_known_host:
                confidence = NAME_ONLY
        provider = found.provider
        if call.provider and provider == "unknown" and found.url.startswith("/"):
            provider = call.provider
        target = Target(kind, provider, used, found.is_recorded(self._catalog.tracking))
        return Evidence(target, confidence, f"{call.prefix}{call.method} to {found.url}{seen}")

    def _by_body(self, keys: set[str], urls: Sequence[str], call: Call) -> Evidence | None:
        """Judge a request to an unknown address by its body, and by the end of its path."""
        if any(key.startswith("dataframe_") for key in keys):
            return None  # rows of a table
        asked = kind_of(keys)
        is_vague = asked is not None and is_ambiguous(asked[1])
        for url in urls:
            own = of_own_server(url, groups_of(keys), self._catalog)
            if own is not None and not (own.kind in _WRITTEN and self._is_other(url)):
                kind = asked[0] if asked and asked[0] == "chat" else own.kind
                return self._evidence(call, kind, own, own.keys)
        fitting = [url for url in urls if not self._is_other(url, is_vague=is_vague)]
        if asked is None or (urls and not fitting):
            return None
        kind, seen = asked
        url = next(iter(fitting), "")
        return self._evidence(call, kind, ModelURL.unknown(kind, url), seen)

    def _is_other(self, url: str, *, is_vague: bool = False) -> bool:
        return is_of_other_service(url, self._catalog, is_collection_other=is_vague)

    def _evidence(self, call: Call, kind: str, url: ModelURL, seen: frozenset[str]) -> Evidence:
        is_socket = call.method in SOCKET_METHODS
        transport = call.transport or ("websockets" if is_socket else "httpx")
        target = Target(kind, url.provider, transport, url.is_recorded(self._catalog.tracking))
        keys = f" with {_listed(seen)}" if seen else ""
        to = f" to {url.url}" if url.url else ""
        return Evidence(target, LIKELY, f"{call.prefix}{call.method}{to}{keys}")


def functions_around(program: Program, ref: Ref) -> Iterator[Ref]:
    """Yield the functions and lambdas at and around a scope, the innermost first."""
    at: Ref | None = ref
    while at is not None:
        if program.scope(at).kind in {FUNCTION, LAMBDA}:
            yield at
        at = program.parent(at)


def _listed(names: frozenset[str]) -> str:
    *first, last = sorted(names)
    return f"{', '.join(first)} and {last}" if first else last


def _is_plausible(found: ModelURL, call: Call) -> bool:
    """Return whether a request of an unknown HTTP client goes to a model."""
    return "://" in found.url or found.is_certain or call.method == "post"
