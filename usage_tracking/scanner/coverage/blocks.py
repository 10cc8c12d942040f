"""Whether a context manager or decorator opens a block of `ai_usage` that names a section."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..execution.dotted_names import Names
from ..facts import FUNCTION, LAMBDA, CodeScope, Expression, Mention, Nesting
from ..inference.engine import Inference
from ..program import Program, Ref, last_name
from ..values import FUNCTIONS, Class, Library
from .section_values import SectionValues

BLOCK, MARK, TRACKER = "ai_usage", "ai_section", "AIUsageTracker"
_PACKAGE = "usage_tracking"
#: Methods that enter the context manager which is their first argument, or that they belong to.
_ENTERS = {"enter_context", "enter_async_context", "__enter__", "__aenter__"}
_LEAVES = {"__exit__", "__aexit__", "close", "aclose", "pop_all"}
_DECORATES_METHODS = "method_decorator"
_DEEPEST = 6


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is asked of an expression: a block, or a block with a section."""

    needs_section: bool
    depth: int = 0

    def deeper(self) -> _Asked:
        return _Asked(self.needs_section, self.depth + 1)


class Blocks:
    """The blocks of a program; `trackers` are further names that count as opening one."""

    def __init__(
        self,
        program: Program,
        inference: Inference,
        names: Names,
        values: SectionValues,
        trackers: frozenset[str],
    ) -> None:
        self._program = program
        self._inference = inference
        self._names = names
        self._trackers = trackers
        self._values = values
        self._opened: dict[tuple[int, bool], str] = {}

    def name(self, expression: Expression, ref: Ref, *, needs_section: bool = True) -> str:
        """Return the name of a context manager or decorator that opens a block, "" for others.

        `ai_usage` of `ai_usage(section="chat")` and of `method_decorator(ai_usage("chat"))`. With
        `needs_section`, a block that may have no section does not count.
        """
        key = id(expression), needs_section
        if key not in self._opened:
            self._opened[key] = ""  # for a context manager that uses itself
            self._opened[key] = self._name(expression, ref, _Asked(needs_section=needs_section))
        return self._opened[key]

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
            self.is_ours(base, (each[0], 0), BLOCK)
            for each in self._inference.classes.ancestry(cls)
            for base in self._program.scope(each).bases
        )

    def mark(self, expression: Expression, ref: Ref) -> str:
        """Return "ai_section" for a decorator that marks a view with a section, "" for others."""
        if not expression or expression[0] not in {"call", "name", "attr"}:
            return ""
        if expression[0] != "call":
            for value, at in self._names.bindings(expression, ref):
                if value and value[0] == "call" and self.mark(value, at):
                    return MARK
            return ""
        _, function, arguments, *_ = expression
        if last_name(function) == _DECORATES_METHODS and arguments:
            return self.mark(arguments[0], ref)
        if self.is_ours(function, ref, MARK):
            return MARK if self._values.has_section(expression, ref) else ""
        for each in self._inference.of(function, ref):
            if isinstance(each, FUNCTIONS) and self._marks(each.ref):
                return self._program.scope(each.ref).name
        return ""

    def is_ours(self, function: Expression, ref: Ref, *names: str) -> bool:
        """Return whether an expression is one of the functions or classes of usage_tracking."""
        values = self._inference.of(function, ref) if function else ()
        known = False
        for value in values:
            if isinstance(value, Library):
                parts = value.dotted.split(".")
                if parts[-1] in names and parts[0] != "builtins":
                    return parts[0] == _PACKAGE or len(parts) == 1
                known = parts[0] != "builtins" or parts[-1] not in names
            elif isinstance(value, (*FUNCTIONS, Class)):
                known = True
                scope = self._program.scope(value.ref)
                if scope.name in names and _PACKAGE in value.ref[0].replace("\\", "/").split("/"):
                    return True
        return not known and last_name(function) in names

    # Blocks

    def _name(self, expression: Expression, ref: Ref, asked: _Asked) -> str:
        if not expression or asked.depth > _DEEPEST:
            return ""
        match expression[0]:
            case "any":
                names = [self._name(each, ref, asked.deeper()) for each in expression[1]]
                return names[0] if names and all(names) else ""
            case "items":
                names = [self._name(each, ref, asked.deeper()) for each in expression[1]]
                return next(filter(None, names), "")
            case "call":
                return self._of_call(expression, ref, asked)
            case "name" | "attr":
                return self._of_name(expression, ref, asked)
            case "element" if expression[1] and expression[1][0] == "items":
                return self._name(expression[1], ref, asked.deeper())
            case "entered":
                return self._name(expression[1], ref, asked.deeper())
        return ""

    def _of_call(self, call: Any, ref: Ref, asked: _Asked) -> str:
        _, function, arguments, *_ = call
        name = last_name(function)
        if (name == _DECORATES_METHODS or name in _ENTERS) and arguments:
            return self._name(arguments[0], ref, asked.deeper())
        if name in self._trackers:
            return name
        if self.is_ours(function, ref, TRACKER):
            return TRACKER
        if self.is_ours(function, ref, BLOCK) and (
            not asked.needs_section or self._values.has_section(call, ref)
        ):
            return BLOCK
        for value in self._inference.of(function, ref):
            if isinstance(value, FUNCTIONS) and self._opens(value.ref, asked):
                return self._program.scope(value.ref).name
            if isinstance(value, Class) and (
                self._class_opens(value.ref, call, ref, asked)
                or self._object_decorates(value.ref, asked)
            ):
                return self._program.scope(value.ref).name
        # A partial, or a stored decorator.
        for bound, at in self._names.bindings(function, ref):
            if bound and bound[0] == "call" and last_name(bound[1]) == "partial" and bound[2]:
                merged = (
                    "call",
                    bound[2][0],
                    bound[2][1:] + arguments,
                    bound[3] + call[3],
                    *call[4:],
                )
                return self._of_call(merged, at, asked.deeper())
        return ""

    def _of_name(self, expression: Any, ref: Ref, asked: _Asked) -> str:
        if last_name(expression) in self._trackers:
            return last_name(expression)
        for value in self._inference.of(expression, ref):
            if isinstance(value, FUNCTIONS):
                opens = self._opens(value.ref, asked)
                return self._program.scope(value.ref).name if opens else ""
            if isinstance(value, Class) and self._class_decorates(value.ref, asked):
                return self._program.scope(value.ref).name
        bound = self._names.bindings(expression, ref)
        names = [
            self._name(value, at, asked.deeper()) if value != expression else ""
            for value, at in bound
        ]
        return names[0] if names and all(names) else ""

    def _opens(self, function: Ref, asked: _Asked) -> bool:
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
                if not self._name(value[1] if applied else value, function, asked.deeper()):
                    return False
            elif not self._wrapper_opens((function[0], wrapper.number), function, asked.deeper()):
                return False
        return True

    def _wrapper_opens(self, wrapper: Ref, outer: Ref, asked: _Asked) -> bool:
        """Return whether an inner function opens a block around each call of what is decorated."""
        if asked.depth > _DEEPEST:
            return False
        scope = self._program.scope(wrapper)
        if any(self._name(item, wrapper, asked.deeper()) for item in scope.decorators):
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
        return self._opens(wrapper, asked.deeper())

    def _any_opens(self, nesting: Nesting, ref: Ref, asked: _Asked) -> bool:
        return any(self._name(manager, ref, asked.deeper()) for manager in nesting.managers)

    def _class_opens(self, cls: Ref, call: Any, ref: Ref, asked: _Asked) -> bool:
        """Return whether the objects of a class of the project open a block when entered."""
        for each in self._inference.classes.ancestry(cls):
            methods = self._program.methods(each)
            for method in (*methods.get("__enter__", ()), *methods.get("__aenter__", ())):
                return self._enters(method, needs_section=asked.needs_section)
            for base in self._program.scope(each).bases:
                if self.is_ours(base, (each[0], 0), BLOCK):
                    return not asked.needs_section or self._passes_section(each, call, ref)
        return False

    def _object_decorates(self, cls: Ref, asked: _Asked) -> bool:
        """Return whether an object of a class is a decorator that opens a block."""
        method = self._method(cls, "__call__")
        return method is not None and self._opens(method, asked.deeper())

    def _class_decorates(self, cls: Ref, asked: _Asked) -> bool:
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

    # Blocks that code enters without `with`

    def entered_before(self, ref: Ref, call: Mention) -> str:
        """Return the name of a block that code of a scope enters before a call, "" if none."""
        scope = self._program.scope(ref)
        nesting = scope.nestings[call.nesting]
        found = ""
        for each in scope.calls:
            _, function, arguments, *_ = each.expression
            name = last_name(function)
            if each.line > call.line or not function or function[0] != "attr":
                continue
            if name in _LEAVES:
                found = ""
            if name in _ENTERS:
                entered = arguments[0] if arguments else function[1]
                if self._is_around(scope.nestings[each.nesting], nesting, entered, ref):
                    found = self.name(entered, ref) or found
        return found

    def _is_around(self, enters: Nesting, nesting: Nesting, entered: Expression, ref: Ref) -> bool:
        """Return whether a place is in the same statements as one where a block is entered."""
        branches = {*enters.branches}
        if self._is_element(entered, ref):
            branches -= {each for each in branches if each[1] == "loop"}
        is_in_with = nesting.managers[: len(enters.managers)] == enters.managers
        return is_in_with and branches <= {*nesting.branches}

    def _enters(self, method: Ref, *, needs_section: bool) -> bool:
        """Return whether a method such as `__enter__` enters a block and leaves it open."""
        calls = self._program.scope(method).calls
        left = [last_name(call.expression[1]) for call in calls]
        for number, call in enumerate(calls):
            _, function, arguments, *_ = call.expression
            if last_name(function) in _ENTERS and function[0] == "attr":
                if self._is_left(function[1], method, left[number + 1 :]):
                    continue
                entered = arguments[0] if arguments else function[1]
                if self.name(entered, method, needs_section=needs_section):
                    return True
        return False

    def _is_left(self, stack: Expression, method: Ref, later: list[str]) -> bool:
        """Return whether a method leaves what it enters: at the end of a `with`, or by a call."""
        if "pop_all" in later:
            return False
        bound = self._names.bindings(stack, method)
        return bool(_LEAVES & {*later}) or any(
            value and value[0] == "entered" for value, _ in bound
        )

    def _is_element(self, expression: Expression, ref: Ref) -> bool:
        """Return whether a name stands for each element of a tuple or list in turn."""
        bound = self._names.bindings(expression, ref)
        return bool(bound) and all(value and value[0] == "element" for value, _ in bound)

    # Marks and sections

    def _marks(self, function: Ref) -> bool:
        """Return whether a decorator of the project sets `ai_section` of what it decorates."""
        return any(
            name == MARK and value and value != ("text", "")
            for scope in self._program.files[function[0]].scopes
            if scope.number == function[1] or scope.parent == function[1]
            for _, name, value in scope.attributes
        )
