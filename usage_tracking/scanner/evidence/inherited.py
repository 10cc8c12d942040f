"""Requests of subclasses: private methods of their bases, and clients that the bases keep."""

from __future__ import annotations

from .. import recorded_urls
from ..catalog import Catalog, SDKType, Target
from ..inference.ai_names import words
from ..values import AIObject

#: Private methods that do what a call of the object does.
_CALLED = {"_call", "_acall"}
#: Private methods with these endings compute vectors.
_VECTORS = {"embedding", "embeddings"}
#: Requests of a client whose class is unknown.
_ANY_REQUEST = {"create", "parse", "stream", "generate", "complete", "chat", "invoke"}


def target_inside(value: AIObject, catalog: Catalog) -> Target | None:
    """Return what a method requests that is not part of the public interface of an AI class."""
    known = catalog.types[value.type_name]
    if not known.calls or not value.path:
        return None
    return _of_private_method(value.path, known, catalog) or _of_attribute(
        value.path, known, catalog
    )


def target_of_path(value: AIObject, text: str, catalog: Catalog) -> Target | None:
    """Return what the client of an SDK requests when it is given a path: `post("/responses")`."""
    known = catalog.types[value.type_name]
    if value.path != ("post",) or not known.calls or "post" in known.calls:
        return None
    url = f"{{base}}/{text.lstrip('/')}"
    kind = recorded_urls.kind_by_settings(url, catalog.tracking)
    if not kind:
        ends = catalog.paths.items()
        kind = next((kind for end, kind in ends if text.rstrip("/").endswith(end)), "")
    is_recorded = recorded_urls.is_recorded(url, tracking=catalog.tracking, provider=known.provider)
    return Target(kind, known.provider, known.transport, is_recorded) if kind else None


def may_be_private_request(name: str, methods: frozenset[str]) -> bool:
    """Return whether a private method may be a request at all."""
    public = name.lstrip("_")
    if public == name:
        return False
    last = public.rpartition("_")[2]
    return name in _CALLED or public in methods or last in methods or last in _VECTORS


def _of_private_method(path: tuple[str, ...], known: SDKType, catalog: Catalog) -> Target | None:
    """Judge `super()._generate(...)`: what `generate` calls in the end."""
    name = path[0]
    if len(path) > 1 or not name.startswith("_"):
        return None
    public = name.lstrip("_")
    for call in (name, public, "()" if name in _CALLED else ""):
        if call in known.calls:
            return known.target(call)
    if shape := catalog.unmistakable.get(public.replace("_", ".")):
        return Target(shape.kind, known.provider, known.transport)
    if public.rpartition("_")[2] in _VECTORS and "embeddings" in known.calls.values():
        return Target("embeddings", known.provider, known.transport)
    return None


def _of_attribute(path: tuple[str, ...], known: SDKType, catalog: Catalog) -> Target | None:
    """Judge `self.root_client.responses.create(...)` and `self.llm_chain.predict(...)`."""
    for index, name in enumerate(path[:-1]):
        rest = ".".join(path[index + 1 :])
        if words(name)[-1:] == ["client"]:
            return _of_client(rest, known, catalog)
        for held in catalog.types_named(name) or catalog.types_named((words(name) or [name])[-1]):
            if rest in held.calls and rest in held.named_calls:
                return held.target(rest)
    return None


def _of_client(rest: str, known: SDKType, catalog: Catalog) -> Target | None:
    """Return what a client requests that an object of a framework keeps."""
    shape = rest
    while shape:
        if shape in catalog.unmistakable:
            return catalog.unmistakable[shape]
        shape = shape.partition(".")[2]
    for other in catalog.types.values():
        if rest in other.keywords:
            return other.target(rest)
    if rest in _ANY_REQUEST:
        return known.target(next(iter(known.calls)))
    return None
