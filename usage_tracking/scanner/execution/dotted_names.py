"""What decorators, context managers and functions are: their dotted names, through aliases."""

from __future__ import annotations

from typing import Any

from ..facts import Expression
from ..inference.engine import Inference
from ..program import Program, Ref, last_name
from ..values import FUNCTIONS, Class, Library, Module

#: Functions that return the function or class which is their first argument, with arguments.
_PARTIALS = {"partial", "partialmethod"}
_DEEPEST = 6


class DottedNames:
    """The names of the objects that expressions name."""

    def __init__(self, program: Program, inference: Inference) -> None:
        self._program = program
        self._inference = inference

    def of(self, expression: Expression, ref: Ref) -> list[str]:
        """Return the dotted names of a decorator or function, without the calls around them.

        `celery.shared_task` for `@shared_task`, `@job(bind=True)` of `from celery import
        shared_task as job`, and `@bound` of `bound = partial(shared_task, bind=True)`.
        """
        return self._of(expression, ref, 0)

    def _of(self, expression: Expression, ref: Ref, depth: int) -> list[str]:
        if not expression or depth > _DEEPEST:
            return []
        if expression[0] == "call":
            _, function, arguments, *_ = expression
            if last_name(function) in _PARTIALS and arguments:
                return self._of(arguments[0], ref, depth + 1)
            return self._of(function, ref, depth + 1)
        values = self._inference.of(expression, ref)
        found = [value.dotted for value in values if isinstance(value, Library)]
        if found:
            return [name.removeprefix("builtins.") for name in found]
        if any(isinstance(value, (*FUNCTIONS, Class)) for value in values):
            return []
        for value, at in self.bindings(expression, ref):
            if value and value[0] == "call":
                found += self._of(value, at, depth + 1)
        own = last_name(expression)
        return found or ([own] if own else [])

    def bindings(self, expression: Expression, ref: Ref) -> list[tuple[Expression, Ref]]:
        """Return what is bound to a name, with the scopes of the values; [] for other code.

        An imported name of the project has the bindings that it has there.
        """
        if not expression or expression[0] not in {"name", "attr"}:
            return []
        if expression[0] == "attr":
            return self._bindings_of_attribute(expression, ref)
        name = expression[1]
        at: Ref | None = ref
        while at is not None:
            scope = self._program.scope(at)
            if any(parameter.name == name for parameter in scope.parameters):
                return []
            if bound := scope.bindings.get(name):
                found: list[tuple[Expression, Ref]] = []
                for binding in bound:
                    found += self._followed(binding.value, (at[0], binding.scope))
                return found
            at = self._program.parent(at)
        return []

    def _followed(self, value: Expression, at: Ref) -> list[tuple[Expression, Ref]]:
        """Return an imported value as it is bound in the module that it comes from."""
        if value and value[0] == "from":
            path = self._program.resolve(at[0], value[1], value[2])
            if path and path != at[0] and self._program.files[path].scopes:
                bound = self._program.scope((path, 0)).bindings.get(value[3], ())
                return [(each.value, (path, each.scope)) for each in bound]
        return [(value, at)]

    def _bindings_of_attribute(self, expression: Any, ref: Ref) -> list[tuple[Expression, Ref]]:
        """Return what `self.name` is set to in the class around."""
        _, owner, name = expression
        for module in self._inference.of(owner, ref):
            if isinstance(module, Module) and self._program.files[module.file].scopes:
                bound = self._program.scope((module.file, 0)).bindings.get(name, ())
                return [(each.value, (module.file, each.scope)) for each in bound]
        cls = self._program.class_of(ref)
        if cls is None or last_name(owner) not in {"self", "cls"} or owner[0] != "name":
            return []
        family = {*self._inference.classes.ancestry(cls), *self._inference.classes.descendants(cls)}
        found: list[tuple[Expression, Ref]] = [
            (binding.value, each)
            for each in family
            for binding in self._program.scope(each).bindings.get(name, ())
        ]
        for at, number in self._program.set_attributes.get(name, ()):
            if self._program.class_of(at) in family:
                set_on, _, value = self._program.scope(at).attributes[number]
                if last_name(set_on) in {"self", "cls"}:
                    found.append((value, at))
        return found
