"""Where functions and classes of the project call a function that they are given."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ..inference import expression_index as at
from ..inference.engine import Inference
from ..inference.expression_index import Position
from ..program import Program, Ref, last_name
from ..values import Class, Function, Method
from .library_callers import LibraryCallers, calls_at_once
from .run_places import Run, RunPlaces

#: A function is followed through at most this many variables, containers and calls.
DEEPEST = 8


class ProjectCallers:
    """The runs of functions that code passes to functions and classes of the project."""

    def __init__(
        self,
        program: Program,
        inference: Inference,
        places: RunPlaces,
        libraries: LibraryCallers,
    ) -> None:
        self._program = program
        self._inference = inference
        self._places = places
        self._libraries = libraries

    def runs(
        self, target: Function | Method | Class, found: Position, here: Run, depth: int
    ) -> Iterator[Run]:
        """Yield where a function of the project calls one of its arguments."""
        if isinstance(target, Class):
            yield from self._called_by_object(target.ref, found, here)
            return
        scope = self._program.scope(target.ref)
        parameter = self._parameter(target, found)
        unknown = replace(here, layers=(), lost=f"is passed to {scope.qualname}")
        if parameter is None or scope.is_generator or depth > DEEPEST:
            yield unknown
            return
        index = self._places.index(target.ref)
        uses = index.names.get(parameter, ())
        inner = [
            each
            for each in self._places.nested(target.ref, parameter)
            if self._places.index(each).names.get(parameter)
        ]
        if not uses or inner or parameter in scope.bindings:
            yield unknown
            return
        around = (tuple(scope.decorators), target.ref)
        for use in uses:
            position = index.position(use)
            called = position and index.calls.get(id(position.around))
            if (
                position
                and called
                and (
                    position.role == at.CALLEE
                    or (
                        position.role == at.ARGUMENT
                        and calls_at_once(last_name(position.around[1]))
                        and not self._libraries.loses_section(position.around, target.ref)
                    )
                )
            ):
                managers = self._places.managers(called, target.ref)
                yield replace(here, layers=((managers, target.ref), around, *here.layers))
            else:
                yield unknown

    def _called_by_object(self, cls: Ref, found: Position, here: Run) -> Iterator[Run]:
        """Yield where an object calls a function that it was made with."""
        unknown = replace(here, layers=(), lost=f"is passed to {self._program.scope(cls).qualname}")
        for each in self._inference.classes.ancestry(cls):
            for method in self._program.methods(each).get("__init__", ()):
                parameter = self._parameter(Method(method), found)
                index = self._places.index(method)
                uses = [index.position(use) for use in index.names.get(parameter or "", ())]
                if not uses or any(use is None or use.role != at.SET for use in uses):
                    yield unknown
                for use in uses:
                    if use and use.role == at.SET:
                        yield from self._calls_of_attribute(each, str(use.name), unknown)
                return
        yield unknown

    def _calls_of_attribute(self, cls: Ref, name: str, unknown: Run) -> Iterator[Run]:
        calls = [
            (ref, call)
            for ref, call in self._program.calls_named.get(name, ())
            if ref[0] == cls[0] and self._program.class_of(ref) == cls
        ]
        family = [cls, *self._inference.classes.descendants(cls)]
        if not calls or len(family) > 1 or name in self._places.names_read_elsewhere():
            yield unknown
        for ref, call in calls:
            yield self._places.call(call, ref)

    def _parameter(self, target: Function | Method, found: Position) -> str | None:
        parameters = self._program.scope(target.ref).parameters
        if isinstance(found.name, str):
            return found.name if any(p.name == found.name for p in parameters) else None
        number = found.name
        if (
            self._program.is_method(target.ref)
            and parameters
            and parameters[0].name in {"self", "cls"}
        ):
            number += 1
        return parameters[number].name if number < len(parameters) else None
