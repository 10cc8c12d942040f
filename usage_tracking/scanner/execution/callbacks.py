"""Where functions run that are used as values: passed on, kept in a variable or a container."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..facts import CLASS, FUNCTION, LAMBDA, MODULE
from ..inference import expression_index as at
from ..inference.engine import Inference
from ..inference.expression_index import Position
from ..program import Program, Ref, last_name, spelled
from ..values import FUNCTIONS, Class, Function, Instance, Method
from .consumption import LAZY, Consumption
from .library_callers import IN_THREAD, POOL_METHODS, THREADS, LibraryCallers, calls_at_once
from .project_callers import DEEPEST, ProjectCallers
from .routes import ROUTES
from .run_places import Extra, Run, RunPlaces, lost, wrapped

#: Functions that return their first argument, to be called.
_WRAPPERS = {
    *("partial", "sync_to_async", "async_to_sync", "database_sync_to_async", "wraps"),
    *("coroutine", "markcoroutinefunction", "staticmethod", "cache", "lru_cache"),
}


class Callbacks:
    """The runs of functions that code of a program names without calling them."""

    def __init__(
        self,
        program: Program,
        inference: Inference,
        places: RunPlaces,
        consumption: Consumption,
        libraries: LibraryCallers,
    ) -> None:
        self._program = program
        self._inference = inference
        self._places = places
        self._consumption = consumption
        self._libraries = libraries
        self._project = ProjectCallers(program, inference, places, libraries)

    def of_value(
        self,
        value: Any,
        ref: Ref,
        line: int,
        extra: Extra = (),
        depth: int = 0,
    ) -> Iterator[Run]:
        """Yield where a function runs that `value` names; `extra` is called with it before."""
        found = self._places.index(ref).position(value)
        if found is None or depth > DEEPEST:
            yield lost(ref, line, "is named", extra)
            return
        if depth == 0 and self.is_read(value, ref):
            yield self._read(found, ref, line)
            return
        match found.role:
            case at.CALLEE:
                call = self._places.index(ref).calls[id(found.around)]
                yield wrapped(self._places.call(call, ref), extra)
            case at.ARGUMENT:
                for run in self._passed(found, ref, line, extra, depth):
                    yield wrapped(run, extra)
            case at.PART if found.around[0] == "any":
                yield from self.of_value(found.around, ref, line, extra, depth + 1)
            case at.PART:
                yield from self._of_container(found.around, ref, line, extra, depth + 1)
            case at.BOUND if self._program.scope(ref).kind in {FUNCTION, LAMBDA}:
                yield from self._of_name(str(found.name), ref, line, extra, depth)
            case at.OWNER:
                return  # an attribute of the function, such as `short_description`
            case _:
                yield lost(ref, line, "is kept for later", extra)

    def is_read(self, value: Any, ref: Ref) -> bool:
        """Return whether a mention of a function is an attribute with the result of a property."""
        if value[0] != "attr":
            return False
        values = self._inference.of(value, ref)
        return not any(isinstance(each, FUNCTIONS) for each in values) and any(
            isinstance(each, Instance) for each in self._inference.of(value[1], ref)
        )

    def _read(self, found: Position, ref: Ref, line: int) -> Run:
        """Return the run of a property that is read."""
        index = self._places.index(ref)
        if found.role == at.ARGUMENT:
            return self._places.call(index.calls[id(found.around)], ref)
        for mention in self._program.scope(ref).calls:
            if mention.line == line:
                return self._places.call(mention, ref)
        return Run(ref, line)

    def _of_container(
        self,
        container: Any,
        ref: Ref,
        line: int,
        extra: Extra,
        depth: int,
    ) -> Iterator[Run]:
        """Yield where a function runs that a tuple, list or dict holds."""
        index = self._places.index(ref)
        found = index.position(container)
        unknown = lost(ref, line, "is kept in a container", extra)
        if found is None or depth > DEEPEST:
            yield unknown
        elif found.role == at.PART:
            yield from self._of_container(found.around, ref, line, extra, depth + 1)
        elif found.role == at.ELEMENT or (
            found.role == at.OWNER and found.around[0] == "index"
        ):  # for each in (first, second)
            yield from self.of_value(found.around, ref, line, extra, depth + 1)
        elif found.role == at.OWNER and found.name == "get":
            called = index.position(found.around)
            if called and called.role == at.CALLEE:
                yield from self.of_value(called.around, ref, line, extra, depth + 1)
        elif found.role == at.OWNER and found.name == "keys":
            return
        elif found.role == at.BOUND and self._program.scope(ref).kind != CLASS:
            name = str(found.name)
            uses = [
                (use, each)
                for each in (ref, *self._places.nested(ref, name))
                for use in self._places.index(each).names.get(name, ())
            ]
            if (
                self._program.scope(ref).kind == MODULE
                and name in self._places.names_read_elsewhere()
            ):
                yield unknown
            for use, each in uses:
                yield from self._of_container(use, each, line, extra, depth + 1)
            if not uses:
                yield unknown
        else:
            yield unknown

    def _of_name(self, name: str, ref: Ref, line: int, extra: Extra, depth: int) -> Iterator[Run]:
        """Yield the runs of a function that is bound to a variable."""
        for each in (ref, *self._places.nested(ref, name)):
            for use in self._places.index(each).names.get(name, ()):
                yield from self.of_value(use, each, use[2] >> 12 or line, extra, depth + 1)

    # Arguments

    def _passed(
        self, found: Position, ref: Ref, line: int, extra: Extra, depth: int
    ) -> Iterator[Run]:
        """Yield where a function runs that is an argument."""
        call = self._places.index(ref).calls[id(found.around)]
        function = found.around[1]
        name = last_name(function)
        if name in ROUTES:
            return  # an entry point
        if special := self._libraries.special(name, function, call, ref):
            yield from special
        elif name in THREADS and self._libraries.reaches_threads:
            yield from self._libraries.started(found.around, ref, line)
        elif name in LAZY and (function[0] == "name" or name != "map"):
            yield from self._consumption.of(found.around, ref, call, depth + 1)
        elif targets := self._of_project(function, ref):
            for target in targets:
                yield from self._project.runs(target, found, self._places.call(call, ref), depth)
        elif name in _WRAPPERS or function[0] == "call" or self._is_routed(found.around, ref):
            wrapper = ((function, ref),) if function[0] == "call" else ()
            yield from self.of_value(found.around, ref, line, (*extra, *wrapper), depth + 1)
        elif name in POOL_METHODS and self._libraries.is_process(found.around, ref):
            yield lost(ref, line, "runs in another process")
        elif self._libraries.loses_section(found.around, ref):
            yield lost(ref, line, IN_THREAD)
        elif calls_at_once(name) and not name[:1].isupper():
            yield self._places.call(call, ref)
        else:
            yield lost(ref, line, f"is passed to {spelled(function)}")

    def _of_project(self, function: Any, ref: Ref) -> list[Function | Method | Class]:
        values = self._inference.of(function, ref)
        return [value for value in values if isinstance(value, (Function, Method, Class))]

    def _is_routed(self, call: Any, ref: Ref) -> bool:
        """Return whether a call is an argument of a route: it decorates a view there."""
        found = self._places.index(ref).position(call)
        while found and found.role == at.ARGUMENT:
            if last_name(found.around[1]) in ROUTES:
                return True
            found = self._places.index(ref).position(found.around)
        return False
