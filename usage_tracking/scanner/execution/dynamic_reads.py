"""Functions that code finds by a name in a text, or keeps in a registry: where they run is open."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from ..facts import CodeScope, Expression, Mention
from ..inference.engine import Inference
from ..program import Program, Ref, last_name, spelled
from ..values import FUNCTIONS, Class, Instance, Module, Text
from .run_places import Run, RunPlaces, lost

#: Functions that take the name of an attribute → the index of that argument.
_READERS = {"getattr": 1, "attrgetter": 0, "methodcaller": 0}
#: Functions that return all names of a module or object.
_NAMESPACES = {"globals", "vars", "locals"}
_UNKNOWN_PART = re.compile(r"\{[^}]*\}")
#: Methods of registries that keep their argument.
_KEEPS = re.compile(r"^(?:append|add|insert|put|push|set\w*|register\w*|subscribe|connect|on)$")


class DynamicReads:
    """The reads of functions by their names, and the decorators that keep functions."""

    def __init__(self, program: Program, inference: Inference, places: RunPlaces) -> None:
        self._program = program
        self._inference = inference
        self._places = places
        #: Name → (scope, line) of its reads.
        self._named: dict[str, list[tuple[Ref, int]]] = defaultdict(list)
        #: Function → its imports by name, and reads of all names of its module or class that fit.
        self._open: dict[Ref, list[tuple[Ref, int]]] = defaultdict(list)
        self._are_found = False

    def of(self, function: Ref) -> Iterator[Run]:
        """Yield a run at an unknown place for each way to find a function by its name."""
        scope = self._program.scope(function)
        if not self._are_found:
            self._are_found = True
            self._find()
        for ref, line in (*self._named.get(scope.name, ()), *self._open.get(function, ())):
            yield lost(ref, line, "may be found by its name")
        for decorator in scope.decorators:
            if self._keeps(decorator, function):
                name = spelled(decorator[1] if decorator and decorator[0] == "call" else decorator)
                yield lost(function, scope.line, f"is kept by @{name}")

    # Reads by name

    def _find(self) -> None:
        for reader, number in _READERS.items():
            for ref, call in self._program.calls_named.get(reader, ()):
                arguments = call.expression[2]
                if len(arguments) > number:
                    owner = arguments[0] if number else None
                    self._read(arguments[number], owner, ref, call.line)
        for ref, call in self._program.calls_named.get("import_string", ()):
            for value in self._inference.of(call.expression, ref):
                if isinstance(value, FUNCTIONS):
                    self._open[value.ref].append((ref, call.line))
        for reader in _NAMESPACES:
            for ref, call in self._program.calls_named.get(reader, ()):
                found = self._places.index(ref).position(call.expression)
                if found and found.around and found.around[0] == "index":
                    owner = next(iter(call.expression[2]), None)
                    self._read(found.around[2], owner, ref, call.line)

    def _read(self, name: Any, owner: Expression, ref: Ref, line: int) -> None:
        """Note the read of a name of `owner`; without an owner, of a module or any object."""
        texts = (
            [each.text for each in self._inference.of(name, ref) if isinstance(each, Text)]
            if isinstance(name, tuple)
            else []
        )
        if texts and not any("{" in text for text in texts):
            for text in texts:
                self._named[text].append((ref, line))
            return
        patterns = [_pattern(text) for text in texts] or [re.compile("")]
        for function, known_as in self._functions_of(owner, ref):
            if any(pattern.match(known_as) for pattern in patterns):
                self._open[function].append((ref, line))

    def _functions_of(self, owner: Expression, ref: Ref) -> Iterator[tuple[Ref, str]]:
        """Yield the functions of a module or class, and the names that they have there."""
        values = self._inference.of(owner, ref) if owner else frozenset([Module(ref[0])])
        if owner and owner[0] == "index" and last_name(owner[1]) == "modules":
            values = frozenset([Module(ref[0])])
        for value in values:
            if isinstance(value, Module) and self._program.files[value.file].scopes:
                for name in self._program.scope((value.file, 0)).bindings:
                    for each in self._inference.exported(value.file, name):
                        if isinstance(each, FUNCTIONS):
                            yield each.ref, name
            elif isinstance(value, (Class, Instance)):
                for cls in self._inference.classes.ancestry(value.ref):
                    for name, methods in self._program.methods(cls).items():
                        for method in methods if not name.startswith("__") else ():
                            yield method, name

    # Decorators that keep what they decorate

    def _keeps(self, decorator: Expression, function: Ref) -> bool:
        """Return whether a decorator of the project keeps the function for others to call."""
        is_call = bool(decorator) and decorator[0] == "call"  # type: ignore[index]
        called = decorator[1] if is_call else decorator  # type: ignore[index]
        for value in self._inference.of(called, function):
            if isinstance(value, FUNCTIONS):
                inner = self._inference.functions.result(value.ref) if is_call else ()
                decorating = [each.ref for each in inner if isinstance(each, FUNCTIONS)]
                for each in decorating or [value.ref]:
                    if self._keeps_parameter(each):
                        return True
        return False

    def _keeps_parameter(self, decorating: Ref) -> bool:
        scope = self._program.scope(decorating)
        names = {each.name for each in scope.parameters if each.name not in {"self", "cls"}}
        local = {name for name, bound in scope.bindings.items() if _are_definitions(bound)}
        for owner, _, value in scope.attributes:
            if last_name(owner) not in names | local and names & set(_names_in(value)):
                return True
        return any(names & kept for kept in self._kept_in_containers(decorating, scope))

    def _kept_in_containers(self, decorating: Ref, scope: CodeScope) -> Iterator[set[str]]:
        """Yield the names in what a function adds to containers and gives to registries."""
        for each in self._program.files[decorating[0]].scopes:
            for bound in each.bindings.values():
                for binding in bound:
                    is_kept = each.number != scope.number or (binding.value or ())[:1] == (
                        "filled",
                    )
                    if binding.scope == scope.number and is_kept:
                        yield set(_names_in(binding.value))
        for call in scope.calls:
            if _is_registration(call):
                yield {name for part in call.expression[2] for name in _names_in(part)}


def _is_registration(call: Mention) -> bool:
    function = call.expression[1]
    return bool(function) and function[0] == "attr" and bool(_KEEPS.match(function[2]))


def _are_definitions(bound: Any) -> bool:
    return any(binding.value and binding.value[0] == "scope" for binding in bound)


def _names_in(expression: Expression) -> Iterator[str]:
    """Yield the names that an expression reads."""
    waiting: list[Any] = [expression]
    while waiting:
        each = waiting.pop()
        if isinstance(each, tuple) and each:
            if each[0] == "name" and isinstance(each[1], str):
                yield each[1]
            else:
                waiting += each


def _pattern(text: str) -> re.Pattern[str]:
    """Return the names that a text with unknown parts may be: "handle_{kind}"."""
    parts = (re.escape(part) for part in _UNKNOWN_PART.split(text))
    return re.compile(".*".join(parts) + "$")
