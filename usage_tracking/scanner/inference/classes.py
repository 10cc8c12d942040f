"""Classes of the project: their bases, and the attributes of them and of their objects."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..facts import FUNCTION, CodeScope, Expression
from ..program import Program, Ref, last_name
from ..values import (
    CONTAINERS,
    NOTHING,
    AIObject,
    Class,
    HTTPClient,
    Instance,
    Library,
    Method,
    Origin,
    Values,
)

if TYPE_CHECKING:
    from .engine import Inference

#: At most this many assignments to an attribute of one name are looked at.
_MOST_ASSIGNMENTS = 80
_PROPERTIES = {"property", "cached_property", "classproperty", "hybrid_property", "lazy_property"}


class Classes:
    """The attributes and relatives of the classes of a program."""

    def __init__(self, inference: Inference) -> None:
        self._inference = inference
        self._program: Program = inference.program
        self._ancestry: dict[Ref, list[Ref]] = {}
        self._descendants: dict[Ref, list[Ref]] = {}
        self._validated: dict[Ref, list[tuple[Ref, Expression, Expression]]] = {}

    # Attributes

    def member(self, cls: Ref, name: str, *, is_open: bool) -> Values:
        """Return an attribute of a class or its objects; `is_open`: or of its subclasses."""
        key = "member", cls, name, is_open
        return self._inference.once(key, self._member, cls, name, is_open)

    def _member(self, cls: Ref, name: str, is_open: bool) -> Values:  # noqa: FBT001
        found: Values = NOTHING
        for each in self.ancestry(cls):
            found |= self._own_member(each, name)
            if found:
                break
        if not any(isinstance(value, (Method, AIObject)) for value in found):
            # Not set, or set over the library's own, as a fake for some cases is.
            found |= self._of_library_bases(cls, name)
        if is_open or not found:
            for each in self.descendants(cls):
                found |= self._own_member(each, name)
        if all(isinstance(value, CONTAINERS) for value in found):
            found |= self._set_from_outside(cls, name)
        if not found and not name.startswith("__"):
            found = self._delegated(cls, name)
        return found

    def inherited(self, cls: Ref, name: str) -> Values:
        """Return what `super().name` is in a class."""
        for each in self.ancestry(cls)[1:]:
            if found := self._own_member(each, name):
                return found
        found = self._of_library_bases(cls, name)
        for each in () if found else self.descendants(cls):
            # A mixin: what comes after it in the classes that use it.
            others = [one for one in self.ancestry(each)[1:] if one != cls]
            found |= NOTHING.union(*(self._own_member(one, name) for one in others))
            found |= self._of_library_bases(each, name)
        return found

    def _delegated(self, cls: Ref, name: str) -> Values:
        """Return an attribute of the object that a `__getattr__` passes it on to."""
        found: Values = NOTHING
        for each in self.ancestry(cls):
            for method in self._program.methods(each).get("__getattr__", ()):
                scope = self._program.scope(method)
                requested = {parameter.name for parameter in scope.parameters[1:]}
                for call in scope.calls:
                    _, function, arguments, *_ = call.expression
                    if (
                        last_name(function) == "getattr"
                        and last_name(arguments[1:2] and arguments[1]) in requested
                    ):
                        target = self._inference.of(arguments[0], method)
                        found |= self._inference.attribute_of_any(target, name)
        return found

    def _own_member(self, cls: Ref, name: str) -> Values:
        return self._inference.once(("own", cls, name), self._find_own_member, cls, name)

    def _find_own_member(self, cls: Ref, name: str) -> Values:
        found: Values = NOTHING
        scope = self._program.scope(cls)
        for binding in scope.bindings.get(name, ()):
            value = binding.value
            if value and value[0] == "scope":
                inner = (cls[0], value[1])
                function = self._program.scope(inner)
                if function.kind == FUNCTION:
                    if _is_property(function):
                        found |= self._inference.functions.result(inner)
                    else:
                        found |= {Method(inner)}
                    continue
            found |= self._inference.of(value, cls)
        found |= self._set_by_validators(cls, name)
        for ref, number in self._program.set_attributes.get(name, ()):
            if ref[0] == cls[0] and self._program.class_of(ref) == cls:
                owner, _, value = self._program.scope(ref).attributes[number]
                if (
                    owner
                    and owner[0] == "name"
                    and (self._is_self(owner[1], ref) or owner[1] == scope.name)
                ):
                    found |= self._inference.of(value, ref)
        return found

    def _set_by_validators(self, cls: Ref, name: str) -> Values:
        """Return what a validator sets a field to: `values["client"] = OpenAI()`."""
        found: Values = NOTHING
        if cls not in self._validated:
            self._validated[cls] = list(self._fields_set_by_validators(cls))
        for method, key, value in self._validated[cls]:
            if key == ("text", name):
                found |= self._inference.of(value, method)
        return found

    def _fields_set_by_validators(self, cls: Ref) -> Iterator[tuple[Ref, Expression, Expression]]:
        """Yield (method, key, value) of all that the validators of a class set."""
        for method in (each for some in self._program.methods(cls).values() for each in some):
            scope = self._program.scope(method)
            if any(_is_validator(item) for item in scope.decorators):
                for parameter in scope.parameters[1:2]:
                    for binding in scope.bindings.get(parameter.name, ()):
                        if binding.value and binding.value[0] == "table":
                            yield from ((method, key, value) for key, value in binding.value[1])

    def _is_self(self, name: str, ref: Ref) -> bool:
        if name in {"self", "cls"}:
            return True
        scope = self._program.scope(ref)
        return bool(scope.parameters) and scope.parameters[0].name == name

    def _set_from_outside(self, cls: Ref, name: str) -> Values:
        """Return what code outside of a class assigns to an attribute of its objects."""
        found: Values = NOTHING
        family = {cls, *self.ancestry(cls)}
        for ref, number in self._program.set_attributes.get(name, ())[:_MOST_ASSIGNMENTS]:
            owner, _, value = self._program.scope(ref).attributes[number]
            if any(
                isinstance(each, (Instance, Class)) and each.ref in family
                for each in self._inference.of(owner, ref)
            ):
                found |= self._inference.of(value, ref)
        return found

    def set_on_unknown(self, owner: Expression, name: str, ref: Ref) -> Values:
        """Return an attribute of an object whose class is unknown: `request.state.llm`.

        It is what code assigns to this attribute of an unknown object of the same name.
        """
        of_owner = last_name(owner)
        if not of_owner or of_owner in {"self", "cls"}:
            return NOTHING
        key = "unknown", ref, of_owner, name
        return self._inference.once(key, self._set_on_unknown, of_owner, name)

    def _set_on_unknown(self, of_owner: str, name: str) -> Values:
        found: Values = NOTHING
        for ref, number in self._program.set_attributes.get(name, ())[:_MOST_ASSIGNMENTS]:
            owner, _, value = self._program.scope(ref).attributes[number]
            if last_name(owner) == of_owner and not self._inference.of(owner, ref):
                found |= self._inference.of(value, ref)
        return frozenset(each for each in found if isinstance(each, (AIObject, HTTPClient, Class)))

    def _of_library_bases(self, cls: Ref, name: str) -> Values:
        found: Values = NOTHING
        for value in self.library_objects(cls):
            found |= self._inference.attribute_of(value, name)
        return found

    # Relatives

    def library_objects(self, cls: Ref) -> list[AIObject]:
        """Return an object of each AI type that a class of the project derives from."""
        found = []
        for each in self.ancestry(cls):
            scope = self._program.scope(each)
            for base in scope.bases:
                for value in self._inference.of(base, self._around(each)):
                    if isinstance(value, Library) and (
                        made := self._inference.catalog.type_made_by(value.dotted)
                    ):
                        origin = Origin(f"class {scope.name}", each[0], scope.line)
                        found.append(AIObject(made, (), origin))
        return found

    def ancestry(self, cls: Ref) -> list[Ref]:
        """Return a class and its bases in the project, nearest first."""
        if cls in self._ancestry:
            return self._ancestry[cls]
        self._ancestry[cls] = [cls]  # for a class that derives from itself
        found = [cls]
        for base in self._program.scope(cls).bases:
            if base and base[0] == "index":
                base = base[1]
            for value in self._inference.of(base, self._around(cls)):
                if isinstance(value, Class):
                    found += [each for each in self.ancestry(value.ref) if each not in found]
        self._ancestry[cls] = found
        return found

    def descendants(self, cls: Ref) -> list[Ref]:
        """Return the classes of the project that derive from a class."""
        if cls not in self._descendants:
            self._descendants[cls] = []
            name = self._program.scope(cls).name
            found: list[Ref] = []
            for each in self._program.classes_by_base_name.get(name, ()):
                if each != cls and cls in self.ancestry(each) and each not in found:
                    found.append(each)
                    found += [one for one in self.descendants(each) if one not in found]
            self._descendants[cls] = found
        return self._descendants[cls]

    def _around(self, cls: Ref) -> Ref:
        return self._program.parent(cls) or (cls[0], 0)


def _is_property(function: CodeScope) -> bool:
    return any(
        last_name(item if item and item[0] != "call" else item and item[1]) in _PROPERTIES
        for item in function.decorators
    )


def _is_validator(decorator: Expression) -> bool:
    name = last_name(decorator[1] if decorator and decorator[0] == "call" else decorator)
    return name.endswith("validator") or name == "pre_init"
