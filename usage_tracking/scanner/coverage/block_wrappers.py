"""Which functions and classes of the project open a block of `ai_usage`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..facts import FUNCTION, LAMBDA, CodeScope, Expression, Nesting
from ..inference.engine import Inference
from ..program import Program, Ref, last_name
from ..values import FUNCTIONS, Class
from .package_names import BLOCK, PackageNames
from .section_values import SectionValues

if TYPE_CHECKING:
    from .blocks import Asked, Blocks

#: A block is looked for through at most this many names, calls and wrappers.
DEEPEST = 6


class BlockWrappers:
    """Decorators and context managers of the project around `ai_usage`."""

    def __init__(
        self,
        program: Program,
        inference: Inference,
        package: PackageNames,
        values: SectionValues,
        blocks: Blocks,
    ) -> None:
        self._program = program
        self._inference = inference
        self._package = package
        self._values = values
        self._blocks = blocks

    def holds_for(self, decorator: Expression, function: Ref) -> bool:
        """Return whether the block of a decorator is open while the function's code runs.

        A wrapper of the project that only calls a generator or coroutine function does not run it.
        """
        scope = self._program.scope(function)
        if not (scope.is_async or scope.is_generator):
            return True
        called = decorator[1] if decorator and decorator[0] == "call" else decorator
        for value in self._inference.of(called, function):
            if isinstance(value, Class):
                return self._derives_from_ours(value.ref)
            if isinstance(value, FUNCTIONS):
                inner = [each for each in self._inside(value.ref) if each.nestings]
                return not self._program.scope(value.ref).is_generator and (
                    not any(nesting.managers for each in inner for nesting in each.nestings)
                    or any(
                        (each.is_async, each.is_generator) == (scope.is_async, scope.is_generator)
                        for each in inner
                    )
                )
        return True

    def _inside(self, function: Ref) -> Iterator[CodeScope]:
        """Yield the functions inside another, at any depth."""
        inside = {function[1]}
        for scope in self._program.files[function[0]].scopes:
            if scope.parent in inside:
                inside.add(scope.number)
                if scope.kind == FUNCTION:
                    yield scope

    def _derives_from_ours(self, cls: Ref) -> bool:
        return any(
            self._package.is_ours(base, (each[0], 0), BLOCK)
            for each in self._inference.classes.ancestry(cls)
            for base in self._program.scope(each).bases
        )

    def opens(self, function: Ref, asked: Asked) -> bool:
        """Return whether a context manager or decorator of the project opens a block.

        A generator must yield inside it; a decorator must call the decorated function inside it;
        another function must return it.
        """
        scope = self._program.scope(function)
        if scope.yields:
            return all(
                self._any_opens(scope.nestings[each], function, asked) for each in scope.yields
            )
        inner = {
            each.number: each
            for each in self._program.files[function[0]].scopes
            if each.parent == function[1] and each.kind in (FUNCTION, LAMBDA)
        }
        returned = [value for value in scope.returns if value]
        if not returned:
            return False
        for value in returned:
            wrapper = next(
                (
                    inner[each.ref[1]]
                    for each in self._inference.of(value, function)
                    if isinstance(each, FUNCTIONS) and each.ref[1] in inner
                ),
                None,
            )
            if wrapper is None:
                applied = value[0] == "call" and value[1] and value[1][0] == "call"
                if not self._blocks.opened_by(
                    value[1] if applied else value, function, asked.deeper()
                ):
                    return False
            elif not self._wrapper_opens((function[0], wrapper.number), function, asked.deeper()):
                return False
        return True

    def _wrapper_opens(self, wrapper: Ref, outer: Ref, asked: Asked) -> bool:
        """Return whether an inner function opens a block around each call of what is decorated."""
        if asked.depth > DEEPEST:
            return False
        scope = self._program.scope(wrapper)
        if any(self._blocks.opened_by(item, wrapper, asked.deeper()) for item in scope.decorators):
            return True
        decorated = {parameter.name for parameter in self._program.scope(outer).parameters}
        calls = [
            call
            for call in scope.calls
            if call.expression[1]
            and call.expression[1][0] == "name"
            and call.expression[1][1] in decorated
        ]
        if calls and not scope.is_generator:
            return all(
                self._any_opens(scope.nestings[call.nesting], wrapper, asked) for call in calls
            )
        return self.opens(wrapper, asked.deeper())

    def _any_opens(self, nesting: Nesting, ref: Ref, asked: Asked) -> bool:
        return any(
            self._blocks.opened_by(manager, ref, asked.deeper()) for manager in nesting.managers
        )

    def class_opens(self, cls: Ref, call: Any, ref: Ref, asked: Asked) -> bool:
        """Return whether the objects of a class of the project open a block when entered."""
        for each in self._inference.classes.ancestry(cls):
            methods = self._program.methods(each)
            for method in (*methods.get("__enter__", ()), *methods.get("__aenter__", ())):
                return self._blocks.entered.enters(method, needs_section=asked.needs_section)
            for base in self._program.scope(each).bases:
                if self._package.is_ours(base, (each[0], 0), BLOCK):
                    return not asked.needs_section or self._passes_section(each, call, ref)
        return False

    def object_decorates(self, cls: Ref, asked: Asked) -> bool:
        """Return whether an object of a class is a decorator that opens a block."""
        method = self._method(cls, "__call__")
        return method is not None and self.opens(method, asked.deeper())

    def class_decorates(self, cls: Ref, asked: Asked) -> bool:
        """Return whether a class is a decorator whose objects call the function in a block."""
        init, called = self._method(cls, "__init__"), self._method(cls, "__call__")
        if init is None or called is None or len(self._program.scope(init).parameters) < 2:
            return False
        decorated = self._program.scope(init).parameters[1].name
        kept = {
            name
            for owner, name, value in self._program.scope(init).attributes
            if last_name(owner) == "self" and last_name(value) == decorated
        }
        scope = self._program.scope(called)
        calls = [
            call
            for call in scope.calls
            if call.expression[1]
            and call.expression[1][0] == "attr"
            and call.expression[1][2] in kept
            and last_name(call.expression[1][1]) == "self"
        ]
        return bool(calls) and all(
            self._any_opens(scope.nestings[call.nesting], called, asked) for call in calls
        )

    def _method(self, cls: Ref, name: str) -> Ref | None:
        for each in self._inference.classes.ancestry(cls):
            if found := self._program.methods(each).get(name):
                return found[-1]
        return None

    def _passes_section(self, cls: Ref, call: Any, ref: Ref) -> bool:
        """Return whether a subclass of `ai_usage` gives it a section."""
        methods = self._program.methods(cls).get("__init__", ())
        if not methods:
            return self._values.has_section(call, ref)
        return any(
            last_name(inner.expression[1]) == "__init__"
            and self._values.has_section(inner.expression, method)
            for method in methods
            for inner in self._program.scope(method).calls
        )
