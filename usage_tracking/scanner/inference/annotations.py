"""The objects that annotations describe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..facts import Expression
from ..program import Ref, last_name, spelled
from ..values import (
    NOTHING,
    AIObject,
    Class,
    HTTPClient,
    Instance,
    Items,
    Library,
    Origin,
    Table,
    Value,
    Values,
)
from .ai_names import is_ai

if TYPE_CHECKING:
    from .engine import Inference

#: An origin with this prefix is known by a name alone.
BY_NAME = "the name"
#: An origin with this prefix is known by an annotation.
BY_ANNOTATION = "annotation"

#: Generics whose argument is the type of the object.
_WRAPPERS = {
    *("Optional", "Union", "Annotated", "Final", "ClassVar", "Awaitable", "Coroutine"),
    *("Iterator", "Generator", "AsyncIterator", "AsyncGenerator"),
    *("ContextManager", "AbstractContextManager", "AbstractAsyncContextManager"),
}
_SEQUENCES = {"list", "List", "Sequence", "Iterable", "set", "tuple", "Tuple"}
_MAPPINGS = {"dict", "Dict", "Mapping"}


class Annotations:
    """The objects that annotations describe."""

    def __init__(self, inference: Inference) -> None:
        self._inference = inference

    def instance(self, annotation: Expression, ref: Ref) -> Values:
        """Return an object of the type that an annotation in the scope `ref` names."""
        if annotation is None:
            return NOTHING
        match annotation[0]:
            case "any" | "items":
                found: Values = NOTHING
                for option in annotation[1]:
                    found |= self.instance(option, ref)
                return found
            case "index":
                return self._of_generic(annotation, ref)
            case "name" | "attr":
                found = NOTHING
                for value in self._inference.of(annotation, ref):
                    found |= self._of_type(value, annotation, ref)
                return found
        return NOTHING

    def _of_generic(self, annotation: Any, ref: Ref) -> Values:
        _, generic, argument = annotation
        name = last_name(generic)
        if name in _WRAPPERS:
            return self.instance(argument, ref)
        if name in {"type", "Type"}:
            return self._inference.of(argument, ref)
        if name in _SEQUENCES:
            return frozenset([Items((self.instance(argument, ref),))])
        if name in _MAPPINGS:
            if argument and argument[0] == "items" and len(argument[1]) == 2:
                return frozenset([Table(((NOTHING, self.instance(argument[1][1], ref)),))])
            return NOTHING
        if name == "Callable":
            return NOTHING
        return self.instance(generic, ref)

    def _of_type(self, value: Value, annotation: Expression, ref: Ref) -> Values:
        catalog = self._inference.catalog
        match value:
            case Library(dotted):
                if made := catalog.type_made_by(dotted):
                    origin = Origin(f"{BY_ANNOTATION} {spelled(annotation)}", ref[0], 0)
                    return frozenset([AIObject(made, (), origin)])
                if transport := catalog.http_client(dotted):
                    return frozenset([HTTPClient(transport, "", ())])
                leaf = dotted.rpartition(".")[2]
                if is_ai(leaf) and not catalog.is_about_ai(dotted):
                    origin = Origin(f"{BY_NAME} {leaf}", ref[0], 0)
                    return frozenset([AIObject("unknown.client", (), origin)])
            case Class(cls):
                return frozenset([Instance(cls, is_open=True)])
            case AIObject() | Instance():
                return frozenset([value])  # the name of a type alias
        return NOTHING
