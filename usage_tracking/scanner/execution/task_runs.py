"""Where Celery tasks are sent, with the section of the code that sends them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ..facts import CLASS, MODULE, CodeScope, Mention
from ..inference import expression_index as at
from ..inference.engine import Inference
from ..inference.expression_index import Position
from ..program import Program, Ref, last_name
from ..values import FUNCTIONS
from .callbacks import Callbacks
from .run_places import Run, RunPlaces, lost

_DEEPEST = 8
#: Methods of a Celery task that send or run it with the scope of the caller.
_SENDS = {"delay", "apply_async", "apply", "adelay", "aapply_async", "retry"}
_SIGNATURES = {"s", "si", "signature", "subtask"}
#: Functions and methods that combine signatures.
_CANVAS = {
    "chain",
    "group",
    "chord",
    "chunks",
    "xmap",
    "starmap",
    "set",
    "clone",
    "on_error",
    "link",
}
#: Methods of tasks of other queues, whose messages do not carry the scope.
_FOREIGN_SENDS = {"send", "enqueue", "schedule", "async_", "send_with_options", "remote", "spawn"}

_SENT_ELSEWHERE = "is in a signature that is sent elsewhere"


class TaskRuns:
    """The places that send the tasks of a program; `scheduled` are the names of a beat's tasks."""

    def __init__(
        self,
        program: Program,
        inference: Inference,
        places: RunPlaces,
        callbacks: Callbacks,
        scheduled: frozenset[str],
    ) -> None:
        self._program = program
        self._inference = inference
        self._places = places
        self._callbacks = callbacks
        self._scheduled = {name.rpartition(".")[2] for name in scheduled}
        self._sent: dict[Ref, list[tuple[Any, Ref]]] | None = None
        self._strings: dict[str, list[tuple[str, Ref, Mention | None]]] | None = None

    def of(self, task: Ref) -> Iterator[Run]:
        """Yield where a function is sent as a task, by itself or by its name."""
        for attribute, ref in self._sends(task):
            is_sent = attribute[2] != "apply"  # which runs it at once
            yield from (replace(run, is_sent=is_sent) for run in self._of_send(attribute, ref))
        scope = self._program.scope(task)
        if scope.decorators:
            yield from (replace(run, is_sent=True) for run in self._by_name(task, scope))

    def _sends(self, function: Ref) -> list[tuple[Any, Ref]]:
        """Return the attributes `delay`, `s`, … of a function, with their scopes."""
        if self._sent is None:
            self._sent = defaultdict(list)
            for method in _SENDS | _SIGNATURES | _FOREIGN_SENDS:
                found = [
                    (call.expression[1], ref)
                    for ref, call in self._program.calls_named.get(method, ())
                ]
                found += [
                    (call.expression[2][number], ref)
                    for ref, call, number in self._program.passed_named.get(method, ())
                ]
                for attribute, ref in found:
                    if attribute[0] == "attr":
                        for value in self._inference.of(attribute[1], ref):
                            if isinstance(value, FUNCTIONS):
                                self._sent[value.ref].append((attribute, ref))
        return self._sent.get(function, [])

    def _by_name(self, task: Ref, scope: CodeScope) -> Iterator[Run]:
        """Yield where a string names a task: for `send_task`, or in the schedule of a beat."""
        if scope.name in self._scheduled:
            yield lost(task, scope.line, "is in the schedule of the beat")
        for text, ref, call in self._texts().get(scope.name, ()):
            if call and last_name(call.expression[1]) == "send_task":
                yield self._places.call(call, ref)
            elif not text.startswith("__"):
                yield lost(ref, call.line if call else 1, f'is named as "{text}"')

    def _texts(self) -> dict[str, list[tuple[str, Ref, Mention | None]]]:
        """Return the strings in the code of modules and classes, and those given to `send_task`."""
        if self._strings is None:
            self._strings = defaultdict(list)
            for ref, call in self._program.calls_named.get("send_task", ()):
                for argument in call.expression[2][:1]:
                    for text in _texts_in(argument):
                        self._strings[text.rpartition(".")[2]].append((text, ref, call))
            for ref, scope in self._program.scopes():
                if scope.kind in {MODULE, CLASS}:
                    values = [value for _, _, value in scope.attributes]
                    values += [item.value for bound in scope.bindings.values() for item in bound]
                    for value in values:
                        for text in _texts_in(value):
                            self._strings[text.rpartition(".")[2]].append((text, ref, None))
        return self._strings

    def _of_send(self, attribute: Any, ref: Ref) -> Iterator[Run]:
        _, _, method = attribute
        index = self._places.index(ref)
        found = index.position(attribute)
        if found is None:
            return
        if method in _FOREIGN_SENDS:
            yield lost(
                ref, _line_of(found.around), f"is sent by {method}(), which carries no section"
            )
        elif found.role == at.CALLEE:
            call = index.calls[id(found.around)]
            if method in _SENDS:
                yield self._places.call(call, ref)
            else:
                yield from self._of_signature(found.around, ref, call.line)
        else:
            yield from self._callbacks.of_value(attribute, ref, 0)

    def _of_signature(self, signature: Any, ref: Ref, line: int, depth: int = 0) -> Iterator[Run]:
        """Yield where a signature, or what it is combined into, is sent."""
        index = self._places.index(ref)
        found = index.position(signature)
        kind = self._program.scope(ref).kind
        if found is None or depth > _DEEPEST:
            yield lost(ref, line, _SENT_ELSEWHERE)
        elif found.role == at.CALLEE:  # group(…)()
            yield self._places.call(index.calls[id(found.around)], ref)
        elif found.role == at.PART:
            yield from self._of_signature(found.around, ref, line, depth + 1)
        elif found.role == at.BOUND and kind not in {MODULE, CLASS}:
            uses = index.names.get(str(found.name), ())
            for use in uses:
                yield from self._of_signature(use, ref, line, depth + 1)
            if not uses:
                yield lost(ref, line, _SENT_ELSEWHERE)
        else:
            yield from self._of_combination(found, ref, line, depth)

    def _of_combination(self, found: Position, ref: Ref, line: int, depth: int) -> Iterator[Run]:
        """Yield where a signature is sent that is an argument, or whose method is called."""
        index = self._places.index(ref)
        called: Position | None = None
        name: str | int = ""
        if found.role == at.OWNER:
            called, name = index.position(found.around), found.name
        elif found.role == at.ARGUMENT:
            called, name = Position(at.CALLEE, found.around), last_name(found.around[1])
        if called is None or called.role != at.CALLEE:
            yield lost(ref, line, _SENT_ELSEWHERE)
        elif name in _SENDS:  # its own, or `link=` of another
            yield self._places.call(index.calls[id(called.around)], ref)
        elif name in _CANVAS or called.around[1][0] == "call":
            yield from self._of_signature(called.around, ref, line, depth + 1)
        else:
            yield lost(ref, line, _SENT_ELSEWHERE)


def _line_of(expression: Any) -> int:
    return int(expression[4]) if expression and expression[0] == "call" else 0


def _texts_in(expression: Any) -> Iterator[str]:
    """Yield the names in an expression: strings without spaces, but not in calls."""
    waiting = [expression]
    while waiting:
        each = waiting.pop()
        if not isinstance(each, tuple) or not each or each[0] == "call":
            continue
        if each[0] == "text":
            if " " not in each[1]:
                yield each[1]
        else:
            waiting += each
