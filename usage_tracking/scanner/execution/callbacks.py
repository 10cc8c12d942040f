"""Where functions run that are used as values: passed on, kept in a variable or a container."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from ..facts import CLASS, FUNCTION, LAMBDA, MODULE, Expression, Mention
from ..inference import expression_index as at
from ..inference.engine import Inference
from ..inference.expression_index import Position
from ..program import Program, Ref, last_name, spelled
from ..values import FUNCTIONS, Class, Function, Instance, Method
from .consumption import LAZY, Consumption
from .dotted_names import Names
from .routes import ROUTES
from .run_places import LATER, Extra, Places, Run, lost, wrapped

_DEEPEST = 8
#: Functions that return their first argument, to be called.
_WRAPPERS = {
    *("partial", "sync_to_async", "async_to_sync", "database_sync_to_async", "wraps"),
    *("coroutine", "markcoroutinefunction", "staticmethod", "cache", "lru_cache"),
}
_THREADS = {"Thread", "Timer"}
_PROCESSES = re.compile(r"Process|^Pool$")
_POOL_METHODS = {
    *("submit", "map", "imap", "imap_unordered", "starmap", "apply", "apply_async", "map_async"),
    *("starmap_async", "run_in_executor"),
}
#: Parts of the names of functions that call their argument before they return, or carry the
#: scope of their caller to where they call it.
_CALLS_AT_ONCE = re.compile(
    r"retry|attempt|call(?!back|_later|_at|_soon)|^run|^exec|invoke|apply|submit|wait|gather|timed?"
    r"|measure|get_or|safe|^try|spawn|^a?map$|wrap|sorted|^sort$|^min$|^max$|reduce|^any$|^all$"
    r"|^sum$|to_thread|create_task|ensure_future|start_soon|sync|groupby|timeout|shield"
)


class Callbacks:
    """The runs of functions that code of a program names without calling them."""

    def __init__(
        self,
        program: Program,
        inference: Inference,
        names: Names,
        places: Places,
        consumption: Consumption,
    ) -> None:
        self._program = program
        self._inference = inference
        self._names = names
        self._places = places
        self._consumption = consumption

    def of_value(
        self,
        value: Any,
        ref: Ref,
        line: int,
        extra: Extra = (),
        depth: int = 0,
    ) -> Iterator[Run]:
        """Yield where a function runs that `value` names; `extra` is called with it on the way."""
        found = self._places.index(ref).position(value)
        if found is None or depth > _DEEPEST:
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
        if found is None or depth > _DEEPEST:
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
        if special := self._special(name, function, call, ref):
            yield from special
        elif name in _THREADS:
            yield from self._started(found.around, ref, line)
        elif name in LAZY and (function[0] == "name" or name != "map"):
            yield from self._consumption.of(found.around, ref, call, depth + 1)
        elif targets := self._of_project(function, ref):
            for target in targets:
                yield from self._called_by(target, found, self._places.call(call, ref), depth)
        elif name in _WRAPPERS or function[0] == "call" or self._is_routed(found.around, ref):
            wrapper = ((function, ref),) if function[0] == "call" else ()
            yield from self.of_value(found.around, ref, line, (*extra, *wrapper), depth + 1)
        elif name in _POOL_METHODS and self._is_process(found.around, ref):
            yield lost(ref, line, "runs in another process")
        elif _CALLS_AT_ONCE.search(name) and not name[:1].isupper():
            yield self._places.call(call, ref)
        else:
            yield lost(ref, line, f"is passed to {spelled(function)}")

    def _special(self, name: str, function: Any, call: Mention, ref: Ref) -> list[Run]:
        """Return the runs of what is passed to functions that decide when and where it runs."""
        if name == "propagate":
            return [self._places.call(call, ref)]  # it binds the scope to the function
        if name == "on_commit":
            return [self._on_commit(call, ref)]
        if name == "run" and (copied := self._copied_context(function, ref)):
            return [copied]
        if name == "connect" and function[0] == "attr":
            return list(self._signals(function, ref))
        return []

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

    def _on_commit(self, call: Mention, ref: Ref) -> Run:
        """Return the run of what is passed to `on_commit`: when the transaction ends."""
        managers = self._places.managers(call, ref)
        names = [last_name(item[1] if item and item[0] == "call" else item) for item in managers]
        if "atomic" in names:
            outside = managers[: names.index("atomic")]
            return Run(ref, call.line, ((outside, ref),))
        return Run(ref, call.line, when=LATER)

    def _copied_context(self, function: Any, ref: Ref) -> Run | None:
        """Return the place where `copy_context()` made the context in which `run` calls."""
        for value, at_scope in self._names.bindings(
            function[1] if function[0] == "attr" else None, ref
        ):
            if value and value[0] == "call" and last_name(value[1]) == "copy_context":
                call = self._places.index(at_scope).calls.get(id(value))
                return self._places.call(call, at_scope) if call else None
        return None

    def _signals(self, function: Any, ref: Ref) -> Iterator[Run]:
        """Yield where a signal of the project is sent, whose receivers run at once."""
        made = [id(v) for v, _ in self._names.bindings(function[1], ref) if _makes(v, "Signal")]
        for method in ("send", "send_robust", "asend", "asend_robust") if made else ():
            for at_scope, call in self._program.calls_named.get(method, ()):
                owner = call.expression[1]
                if owner[0] == "attr" and any(
                    id(value) in made for value, _ in self._names.bindings(owner[1], at_scope)
                ):
                    yield self._places.call(call, at_scope)

    def _started(self, thread: Any, ref: Ref, line: int) -> Iterator[Run]:
        """Yield where a thread is started, whose scope it inherits."""
        index = self._places.index(ref)
        found = index.position(thread)
        owners: Iterable[Position | None] = ()
        if found and found.role == at.OWNER:
            owners = (found,)
        elif found and found.role == at.BOUND and self._program.scope(ref).kind == FUNCTION:
            owners = (index.position(use) for use in index.names.get(str(found.name), ()))
        is_started = False
        for owner in owners:
            if owner and owner.role == at.OWNER and owner.name == "start":
                called = index.position(owner.around)
                if called and called.role == at.CALLEE:
                    is_started = True
                    yield self._places.call(index.calls[id(called.around)], ref)
        if not is_started:
            yield lost(ref, line, "is the target of a thread, which is started elsewhere")

    def _is_process(self, call: Any, ref: Ref) -> bool:
        """Return whether a pool runs its jobs in other processes."""
        _, function, arguments, *_ = call
        pool = arguments[0] if last_name(function) == "run_in_executor" and arguments else None
        if pool is None and function[0] == "attr":
            pool = function[1]
        makers = [pool, *(value for value, _ in self._names.bindings(pool, ref))]
        for maker in makers:
            if maker and maker[0] == "entered":
                maker = maker[1]
            if maker and maker[0] == "call" and _PROCESSES.search(last_name(maker[1])):
                return True
        return False

    # Functions and classes of the project that get a function

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

    def _called_by(
        self, target: Function | Method | Class, found: Position, here: Run, depth: int
    ) -> Iterator[Run]:
        """Yield where a function of the project calls one of its arguments."""
        if isinstance(target, Class):
            yield from self._called_by_object(target.ref, found, here)
            return
        scope = self._program.scope(target.ref)
        parameter = self._parameter(target, found)
        unknown = replace(here, layers=(), lost=f"is passed to {scope.qualname}")
        if parameter is None or scope.is_generator or depth > _DEEPEST:
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
                        and _CALLS_AT_ONCE.search(last_name(position.around[1]))
                    )
                )
            ):
                managers = self._places.managers(called, target.ref)
                yield replace(here, layers=((managers, target.ref), around, *here.layers))
            else:
                yield unknown

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


def _makes(expression: Expression, name: str) -> bool:
    return expression is not None and expression[0] == "call" and last_name(expression[1]) == name
