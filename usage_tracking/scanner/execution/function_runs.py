"""Where the code of a function runs: at its calls, or where something calls it later.

A function may be called, sent to a worker, passed on, kept for later, or be a generator or a
coroutine function whose code runs when its result is consumed. A *run* is such a place. What is
around it there decides whether a section is named. If the place is unknown, the run says why.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..facts import LAMBDA, Mention
from ..inference.engine import Inference
from ..program import Program, Ref, last_name
from ..values import Instance, is_reference_to
from .callbacks import Callbacks
from .consumption import Consumption
from .dotted_names import DottedNames
from .dynamic_reads import DynamicReads
from .library_callers import IN_THREAD, LibraryCallers
from .run_places import Run, RunPlaces, lost
from .task_runs import TaskRuns

_MOST_MENTIONS = 200
#: Methods of clients whose request begins when their result is entered or iterated over.
_STREAMING = {"stream", "astream", "astream_events"}


class FunctionRuns:
    """The runs of the functions of a program."""

    def __init__(
        self,
        program: Program,
        inference: Inference,
        names: DottedNames,
        scheduled: frozenset[str],
        *,
        reaches_threads: bool,
    ) -> None:
        self._program = program
        self._inference = inference
        self._places = places = RunPlaces(program)
        self._consumption = Consumption(program, inference, places)
        self._libraries = LibraryCallers(program, names, places, reaches_threads=reaches_threads)
        self._callbacks = Callbacks(program, inference, places, self._consumption, self._libraries)
        self._tasks = TaskRuns(program, inference, places, self._callbacks, scheduled)
        self._dynamic = DynamicReads(program, inference, places)
        self._runs: dict[Ref, tuple[Run, ...]] = {}

    def of(self, function: Ref) -> tuple[Run, ...]:
        """Return the runs of a function or lambda."""
        if function not in self._runs:
            self._runs[function] = ()  # for a function that calls itself
            scope = self._program.scope(function)
            runs = self._of_lambda if scope.kind == LAMBDA else self._of_function
            self._runs[function] = tuple(runs(function))
        return self._runs[function]

    def of_site(self, mention: Mention, ref: Ref, *, is_lazy: bool) -> tuple[Run, ...]:
        """Return the runs of a call; if it is passed on uncalled, of the method.

        With `is_lazy`, the result of the call is a coroutine.
        """
        if mention.expression[0] != "call":
            return tuple(self._callbacks.of_value(mention.expression, ref, mention.line))
        if self._libraries.loses_section(mention.expression, ref, is_request=True):
            return (lost(ref, mention.line, IN_THREAD),)
        if is_lazy or last_name(mention.expression[1]) in _STREAMING:
            return tuple(self._consumption.of(mention.expression, ref, mention))
        return (self._consumption.of_call(mention, ref),)

    def of_call(self, mention: Mention, ref: Ref) -> tuple[Run]:
        """Return the run of code that runs during a call."""
        return (self._consumption.of_call(mention, ref),)

    def _of_function(self, function: Ref) -> Iterator[Run]:
        scope = self._program.scope(function)
        is_lazy = (scope.is_generator or scope.is_async) and not any(
            "contextmanager" in last_name(item) for item in scope.decorators
        )
        known = set()
        for ref, call in self._inference.functions.callers(function):
            known.add(id(call.expression[1]))
            if is_lazy:
                yield from self._consumption.of(call.expression, ref, call)
            else:
                yield self._consumption.of_call(call, ref)
        for ref, mention in self._mentions(function, scope.name):
            if id(mention.expression) not in known:
                yield from self._callbacks.of_value(mention.expression, ref, mention.line)
                if self._callbacks.is_read(mention.expression, ref) and (
                    scope.name in self._places.names_read_elsewhere()
                ):
                    yield lost(ref, mention.line, "is read elsewhere too")
        if len(
            self._program.mentions_named.get(scope.name, ())
        ) > _MOST_MENTIONS or self._inference.functions.may_have_more_callers(function):
            yield lost(function, scope.line, "has the name of too many other functions")
        yield from self._tasks.of(function)
        yield from self._dynamic.of(function)
        if scope.name == "run" and (cls := self._program.class_of(function)):
            yield from self._starts(cls)

    def _starts(self, cls: Ref) -> Iterator[Run]:
        """Yield where the objects of a subclass of `Thread` are started."""
        for ref, call in self._program.calls_named.get("start", ()):
            owner = call.expression[1]
            if owner[0] == "attr" and any(
                isinstance(value, Instance) and cls in self._inference.classes.ancestry(value.ref)
                for value in self._inference.of(owner[1], ref)
            ):
                if self._libraries.reaches_threads:
                    yield self._consumption.of_call(call, ref)
                else:
                    yield lost(ref, call.line, IN_THREAD)

    def _mentions(self, function: Ref, name: str) -> Iterator[tuple[Ref, Mention]]:
        for ref, mention in self._program.mentions_named.get(name, ())[:_MOST_MENTIONS]:
            values = self._inference.of(mention.expression, ref)
            if is_reference_to(function, values) or self._reads_property(function, mention, ref):
                yield ref, mention

    def _reads_property(self, function: Ref, mention: Mention, ref: Ref) -> bool:
        """Return whether an attribute of an object is the result of a property."""
        cls = self._program.parent(function)
        if mention.expression[0] != "attr" or cls is None:
            return False
        return any(
            isinstance(value, Instance) and cls in self._inference.classes.ancestry(value.ref)
            for value in self._inference.of(mention.expression[1], ref)
        )

    def _of_lambda(self, function: Ref) -> Iterator[Run]:
        around = self._program.parent(function) or (function[0], 0)
        expression = self._places.index(around).definitions.get(function[1])
        line = self._program.scope(function).line
        if expression is None:
            yield lost(around, line, "is defined")
        else:
            yield from self._callbacks.of_value(expression, around, line)
