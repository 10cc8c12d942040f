"""What the attributes of objects and modules are set to, for one chain of callers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..facts import FUNCTION, CodeScope, Expression
from ..program import Ref, last_name
from ..values import Class, Instance, Module
from .caller_frames import Argument, Frame, Receiver

if TYPE_CHECKING:
    from .unfolding import Unfolding

_PROPERTIES = {"property", "cached_property", "lazy_property"}


class Attributes:
    """Follows attributes back to what they are set to."""

    def __init__(self, unfolding: Unfolding) -> None:
        self._unfolding = unfolding
        self._inference = unfolding.inference
        self._program = unfolding.program

    def origins(self, expression: Any, frame: Frame, depth: int) -> Iterator[Argument]:
        """Yield what an attribute is set to: of an object, by the nearest class that sets it."""
        _, owner, name = expression
        found: list[Argument] = []
        receivers = self.receivers(owner, frame, depth)
        for receiver, method in receivers:
            found += self._member(receiver, name, method, depth)
        if not receivers:
            for value in self._inference.of(owner, frame.ref):
                if isinstance(value, Module):
                    found += self._unfolding.exported(value.file, name, depth)
        descendants = self._inference.classes.descendants
        if not found and any(descendants(receiver.cls) for receiver, _ in receivers):
            # Each subclass may have its own: `inference` would name all of them.
            expression = ("unknown", name)
        yield from found or [Argument(expression, frame)]

    def receivers(
        self, owner: Expression, frame: Frame, depth: int = 0
    ) -> list[tuple[Receiver, Frame | None]]:
        """Return the objects of the project that an expression may be.

        For `self`, also the frame of the method that it is the parameter of.
        """
        here = self._own_frame(owner, frame)
        if here is not None:
            cls = self._program.class_of(here.ref)
            return [(here.receiver or Receiver(cls), here)] if cls else []
        values = self._inference.of(owner, frame.ref)
        classes = [value.ref for value in values if isinstance(value, (Instance, Class))]
        if not classes:
            return []
        found: list[tuple[Receiver, Frame | None]] = []
        for origin in self._unfolding.origins(owner, frame, depth):
            made = origin.expression
            if made and made[0] == "call":
                found += [
                    (Receiver(value.ref, origin), None)
                    for value in self._inference.of(made[1], origin.frame.ref)
                    if isinstance(value, Class)
                ]
        return found or [(Receiver(cls), None) for cls in classes]

    def _own_frame(self, owner: Expression, frame: Frame) -> Frame | None:
        """Return the frame of the method that `owner` is `self`, `cls` or `super()` in."""
        name = last_name(owner[1]) if owner and owner[0] == "call" else last_name(owner)
        if owner is None or owner[0] not in {"name", "call"} or not name:
            return None
        at: Ref | None = frame.ref
        while at is not None:
            scope = self._program.scope(at)
            if self._program.is_method(at):
                is_own = bool(scope.parameters) and scope.parameters[0].name == name
                return frame.at(at) if is_own or name == "super" else None
            if name in scope.bindings:
                return None
            at = self._program.parent(at)
        return None

    def _member(
        self, receiver: Receiver, name: str, method: Frame | None, depth: int
    ) -> list[Argument]:
        """Return what an attribute of an object is set to, by the nearest class that sets it."""
        if method is not None and (method.receiver is None or receiver.made is None):
            # Another class or another object may have another value.
            self._unfolding.ask(method.ref)
        for cls in self._inference.classes.ancestry(receiver.cls):
            found: list[Argument] = []
            for value, frame in self._set_in(cls, name, receiver):
                found += self._unfolding.origins(value, frame, depth)
            if found:
                return found
        return []

    def _set_in(
        self, cls: Ref, name: str, receiver: Receiver
    ) -> Iterator[tuple[Expression, Frame]]:
        program = self._program
        for binding in program.scope(cls).bindings.get(name, ()):
            value = binding.value
            if value and value[0] == "scope":
                method = (cls[0], value[1])
                scope = program.scope(method)
                if scope.kind == FUNCTION and _is_property(scope):
                    frame = Frame(method, {}, receiver=receiver)
                    yield from ((each, frame) for each in scope.returns)
            elif not _is_empty(value):
                yield value, Frame(cls)
        for ref, number in program.set_attributes.get(name, ()):
            if ref[0] == cls[0] and program.class_of(ref) == cls:
                owner, _, value = program.scope(ref).attributes[number]
                if owner and owner[0] == "name" and self._own_frame(owner, Frame(ref)):
                    yield value, self._method_frame(ref, receiver)

    def _method_frame(self, ref: Ref, receiver: Receiver) -> Frame:
        """Return the frame of a method of an object; of its `__init__`, with the arguments."""
        made = receiver.made
        if made is None or self._program.scope(ref).name != "__init__":
            return Frame(ref, receiver=receiver)
        if made.expression is None or self._constructor(receiver.cls) != ref:
            return Frame(ref, receiver=receiver)
        return self._unfolding.calls.frame(ref, made.expression, made.frame, receiver)

    def _constructor(self, cls: Ref) -> Ref | None:
        for each in self._inference.classes.ancestry(cls):
            if found := self._program.methods(each).get("__init__"):
                return found[-1]
        return None


def _is_empty(value: Expression) -> bool:
    """Return whether a class leaves an attribute to its subclasses: `url = ""`, `url: str = ""`."""
    if value and value[0] == "any":
        return bool(value[1]) and _is_empty(value[1][0])
    return value is None or value == ("text", "")


def _is_property(scope: CodeScope) -> bool:
    return any(last_name(each) in _PROPERTIES for each in scope.decorators)
