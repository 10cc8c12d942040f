"""Places where code runs, and what is around them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

from ..facts import LAMBDA, Expression, Mention
from ..inference.expression_index import ExpressionIndex, index_of
from ..program import Program, Ref

#: When code runs: while the code around its place does, while the response of the request is
#: sent, or at some time in the same request or task.
NOW, STREAM, LATER = 0, 1, 2

#: What is called with a function before it runs: decorators, each with its scope.
Extra: TypeAlias = tuple[tuple[Expression, Ref], ...]


@dataclass(frozen=True, slots=True)
class Run:
    """A place where code runs, and the context managers around it with their scopes."""

    ref: Ref
    line: int
    layers: tuple[tuple[tuple[Expression, ...], Ref], ...] = ()
    when: int = NOW
    #: The call, if it is certain that the code runs during it.
    call: Mention | None = None
    #: Why the place is unknown, "" if it is known. It continues the name of the function.
    lost: str = ""
    #: A worker runs the code, with the section of the sender if that has one.
    is_sent: bool = False


def lost(ref: Ref, line: int, why: str, extra: Extra = ()) -> Run:
    """Return a run at an unknown place."""
    return wrapped(Run(ref, line, lost=why), extra)


def wrapped(run: Run, extra: Extra) -> Run:
    """Return a run of code that decorators are around."""
    return replace(run, layers=(*(((each,), ref) for each, ref in extra), *run.layers))


class RunPlaces:
    """The places in a program."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._indexes: dict[Ref, ExpressionIndex] = {}
        self._read_elsewhere: frozenset[str] | None = None

    def index(self, ref: Ref) -> ExpressionIndex:
        """Return the positions of the expressions of a scope."""
        if ref not in self._indexes:
            scope = self._program.scope(ref)
            self._indexes[ref] = index_of(scope, scope.bindings)
        return self._indexes[ref]

    def call(self, call: Mention, ref: Ref, when: int = NOW) -> Run:
        """Return the run of code that runs during a call."""
        return Run(ref, call.line, ((self.managers(call, ref), ref),), when, call)

    def managers(self, call: Mention, ref: Ref) -> tuple[Expression, ...]:
        """Return the `with` statements around a call; a lambda runs outside of those around it."""
        scope = self._program.scope(ref)
        return () if scope.kind == LAMBDA else scope.nestings[call.nesting].managers

    def is_still_inside(self, mention: Mention, line: int, ref: Ref) -> bool:
        """Return whether a line is in the same `with` statements as a call above it."""
        scope = self._program.scope(ref)
        managers = scope.nestings[mention.nesting].managers
        later = [call.nesting for call in scope.calls if call.line >= line]
        later += [nesting for at_line, nesting in scope.exits if at_line >= line]
        return any(scope.nestings[each].managers[: len(managers)] == managers for each in later)

    def nested(self, ref: Ref, name: str) -> Iterator[Ref]:
        """Yield the functions inside another that can read its variable `name`."""
        for scope in self._program.files[ref[0]].scopes:
            around: Ref | None = (ref[0], scope.number)
            while around is not None and around != ref:
                inner = self._program.scope(around)
                if name in inner.bindings or any(p.name == name for p in inner.parameters):
                    break
                around = self._program.parent(around)
            if around == ref and scope.number != ref[1]:
                yield ref[0], scope.number

    def names_read_elsewhere(self) -> frozenset[str]:
        """Return the names that are imported from modules, and the attributes of called objects."""
        if self._read_elsewhere is None:
            found = {
                name
                for source in self._program.files.values()
                for _, _, names in source.imports.modules
                for name in names
            }
            for _, scope in self._program.scopes():
                for call in scope.calls:
                    function = call.expression[1]
                    while function and function[0] in {"attr", "index", "call"}:
                        function = function[1]
                        if function and function[0] == "attr":
                            found.add(function[2])
            self._read_elsewhere = frozenset(found)
        return self._read_elsewhere
