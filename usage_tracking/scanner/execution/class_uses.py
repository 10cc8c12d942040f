"""Where the project uses a class whose methods a framework calls: such as a form."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from ..facts import CLASS, FUNCTION, Expression
from ..inference.engine import Inference
from ..program import Program, Ref, last_name
from ..values import Class
from .run_places import LATER, Run


class ClassUses:
    """The uses of the classes of a program: by other classes, and by code that makes objects."""

    def __init__(self, program: Program, inference: Inference) -> None:
        self._program = program
        self._inference = inference
        self._named: dict[str, list[tuple[Expression, Ref]]] | None = None

    def of(self, cls: Ref) -> tuple[list[Ref], list[Run]]:
        """Return the classes in whose body a class is named, and the places that use it."""
        users: list[Ref] = []
        runs: list[Run] = []
        for each in (cls, *self._inference.classes.descendants(cls)):
            name = self._program.scope(each).name
            for value, ref in self._mentions().get(name, ()):
                if not self._is(value, ref, each):
                    continue
                if self._program.scope(ref).kind == CLASS:
                    users.append(ref)
                else:
                    runs.append(Run(ref, self._program.scope(ref).line, when=LATER))
            for ref, call in self._program.calls_named.get(name, ()):
                if self._is(call.expression[1], ref, each):
                    runs.append(Run(ref, call.line, when=LATER))
            for ref, call, number in self._program.passed_named.get(name, ()):
                if self._is(call.expression[2][number], ref, each):
                    runs.append(Run(ref, call.line, lost="is passed on with its class"))
        return users, runs

    def _is(self, value: Expression, ref: Ref, cls: Ref) -> bool:
        return any(
            isinstance(each, Class) and each.ref == cls for each in self._inference.of(value, ref)
        )

    def _mentions(self) -> dict[str, list[tuple[Expression, Ref]]]:
        """Return what class bodies bind and functions return, by last name."""
        if self._named is None:
            self._named = defaultdict(list)
            for ref, scope in self._program.scopes():
                values: list[Expression] = []
                if scope.kind == CLASS:
                    values = [item.value for bound in scope.bindings.values() for item in bound]
                elif scope.kind == FUNCTION:
                    values = scope.returns
                for value in values:
                    for each in _flat(value):
                        if name := last_name(each):
                            self._named[name].append((each, ref))
        return self._named


def _flat(value: Expression) -> Iterator[Expression]:
    if value and value[0] in {"items", "any"}:
        for each in value[1]:
            yield from _flat(each)
    elif value and value[0] == "table":
        for _, each in value[1]:
            yield from _flat(each)
    else:
        yield value
