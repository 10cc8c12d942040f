"""Evidence from what the receiver of a call is: `client.messages.create` on an Anthropic client."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..catalog import Catalog
from ..inference.annotations import BY_ANNOTATION, BY_NAME
from ..inference.engine import Inference
from ..program import Ref, chain, spelled
from ..values import (
    AIObject,
    Function,
    Instance,
    Library,
    Method,
    Origin,
    Text,
    Value,
    Values,
    ordered,
)
from .confidence import CERTAIN, LIKELY, NAME_ONLY, Evidence
from .inherited import target_inside, target_of_path


class Receivers:
    """Judges calls by the values of the function that they call."""

    def __init__(self, inference: Inference, catalog: Catalog) -> None:
        self._inference = inference
        self._catalog = catalog

    def best(self, values: Values, function: Any, ref: Ref) -> Evidence | None:
        """Return the evidence of a call of `function`, None without any.

        If the function may belong to several providers, prefer the one that alone has a call of
        this name.
        """
        names = tuple(chain(function))
        shapes = self._catalog.shapes
        lengths = range(self._catalog.longest_shape, 0, -1)
        own = next((shapes[names[-n:]].provider for n in lengths if names[-n:] in shapes), "")
        found = [each for value in ordered(values) for each in self._of(value, function, ref)]
        return min(found, key=lambda each: each.target.provider != own, default=None)

    def of_path(self, values: Values, texts: Values, function: Any) -> Evidence | None:
        """Return the evidence of a request that the client of an SDK sends to a path."""
        for value in values:
            for text in texts:
                if isinstance(value, AIObject) and isinstance(text, Text):
                    target = target_of_path(value, text.text, self._catalog)
                    if target:
                        reason = f"{spelled(function[1])} ← {value.origin.text}; {text.text}"
                        return Evidence(target, CERTAIN, reason)
        return None

    def _of(self, value: Value, function: Any, ref: Ref) -> Iterator[Evidence]:
        match value:
            case Library(dotted):
                yield from self._of_library(dotted, function)
            case AIObject():
                yield from self._of_ai_object(value, function, ref)
            case Function(called) | Method(called):
                if decorated := self._inference.functions.request(called):
                    target, decorator = decorated
                    place = f"{called[0]}:{self._inference.program.scope(called).line}"
                    yield Evidence(target, CERTAIN, f"@{decorator} decorates it in {place}")
            case Instance(cls, is_open):
                classes = self._inference.classes
                if not classes.member(cls, "__call__", is_open=is_open):
                    for each in classes.library_objects(cls):
                        yield from self._of_ai_object(each, function, ref)

    def _of_library(self, dotted: str, function: Any) -> Iterator[Evidence]:
        reason = f"{spelled(function)} is {dotted}"
        if target := self._catalog.function(dotted):
            yield Evidence(target, CERTAIN, reason)
        owner, _, method = dotted.rpartition(".")
        type_name = self._catalog.type_made_by(owner) if owner else None
        if type_name is None:
            return
        known = self._catalog.types[type_name]
        is_plain = not known.needs and not self._catalog.type_made_by(dotted)
        if method.startswith("_"):
            inner = AIObject(type_name, (method,), Origin(dotted, "", 0))
            if target := target_inside(inner, self._catalog):
                yield Evidence(target, CERTAIN, reason)
        if method in known.calls and (is_plain or method.startswith(("from_", "afrom_"))):
            yield Evidence(known.target(method), CERTAIN, reason)

    def _of_ai_object(self, value: AIObject, function: Any, ref: Ref) -> Iterator[Evidence]:
        known = self._catalog.types[value.type_name]
        name = ".".join(value.path) if value.path else "()"
        target = target_inside(value, self._catalog)
        target = target or self._catalog.target_of(value.type_name, name)
        if target is None or not self._inference.composites.calls_model(value):
            return
        origin = value.origin
        is_named = origin.text.startswith(BY_NAME)
        if is_named and name not in known.named_calls:
            return
        receiver = function[1] if function and function[0] == "attr" else function
        where = ""
        if origin.line:
            is_here = origin.file == ref[0]
            where = f" at line {origin.line}" if is_here else f" in {origin.file}:{origin.line}"
        is_annotated = origin.text.startswith(BY_ANNOTATION)
        confidence = NAME_ONLY if is_named else LIKELY if is_annotated else CERTAIN
        target = target.sent_to(origin.is_reached)
        yield Evidence(target, confidence, f"{spelled(receiver)} ← {origin.text}{where}")
