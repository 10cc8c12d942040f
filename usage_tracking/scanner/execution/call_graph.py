"""Which code reaches a function: its callers and the entry points of the site."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from ..facts import FUNCTION, Mention
from ..inference.engine import Inference
from ..program import Program, Ref
from ..report import EntryPoint, Step
from ..values import is_reference_to
from .entry_points import EntryPoints

#: A chain of callers is followed over at most this many calls.
MOST_STEPS = 8
_MOST_ENTRY_POINTS = 10
_MOST_MENTIONS = 200


@dataclass(frozen=True, slots=True)
class Caller:
    """A call or mention of a function, and the scope that it is in."""

    ref: Ref
    mention: Mention


@dataclass(frozen=True, slots=True)
class _Call:
    """A call of `callee`, or its definition inside another function."""

    callee: Ref
    path: str
    line: int


@dataclass(frozen=True, slots=True)
class _Reach:
    """What reaches a function: for each caller its call on the shortest path."""

    #: None for the function itself.
    calls: dict[Ref, _Call | None]
    entry_points: dict[Ref, EntryPoint]

    def way(self, start: Ref) -> Iterator[Ref]:
        """Yield the functions from one of the callers down."""
        at: _Call | None = _Call(start, "", 0)
        while at is not None:
            yield at.callee
            at = self.calls[at.callee]


class CallGraph:
    """The callers and entry points of the functions of a program."""

    def __init__(self, program: Program, inference: Inference, entries: EntryPoints) -> None:
        self._program = program
        self._inference = inference
        self._entries = entries
        self._callers: dict[Ref, list[Caller]] = {}
        self._reached: dict[Ref, _Reach] = {}

    def function(self, ref: Ref) -> Ref | None:
        """Return the named function that a scope is in; None at module level."""
        at: Ref | None = ref
        while at is not None:
            if self._program.scope(at).kind == FUNCTION:
                return at
            at = self._program.parent(at)
        return None

    def callers(self, function: Ref) -> list[Caller]:
        """Return the calls of a function, and its mentions as an argument or in a function."""
        if function not in self._callers:
            self._callers[function] = []  # for a function that calls itself
            calls = self._inference.functions.callers(function)
            found = [Caller(ref, call) for ref, call in calls]
            known = {id(each.mention) for each in found}
            name = self._program.scope(function).name
            for ref, mention in self._program.mentions_named.get(name, ())[:_MOST_MENTIONS]:
                values = self._inference.of(mention.expression, ref)
                if (
                    id(mention) not in known
                    and is_reference_to(function, values)
                    and (mention.is_argument or self.function(ref) is not None)
                ):
                    found.append(Caller(ref, mention))
            self._callers[function] = found
        return self._callers[function]

    def entry_points(self, ref: Ref) -> tuple[EntryPoint, ...]:
        """Return the entry points that reach the code of a scope."""
        return tuple(self._reach(self.function(ref)).entry_points.values())

    def path(self, ref: Ref, through: Ref | None = None) -> tuple[Step, ...]:
        """Return the path to the code of a scope: the nearest entry point, and calls from there.

        With `through`, prefer a path that passes this function. If no entry point is known, the
        path begins there. Empty if neither is known.
        """
        reach = self._reach(self.function(ref))
        starts = [*reach.entry_points]
        if through in reach.calls:
            starts.append(through)
        ways = [list(reach.way(start)) for start in starts]
        fitting = [way for way in ways if through is None or through in way]
        way = next(iter(fitting or ways), [])
        if not way:
            return ()
        entry, scope = reach.entry_points.get(way[0]), self._program.scope(way[0])
        steps = [Step(entry.name if entry else scope.qualname, way[0][0], scope.line)]
        for caller in way[:-1]:
            if call := reach.calls[caller]:
                name = self._program.scope(call.callee).qualname
                steps.append(Step(name, call.path, call.line))
        return tuple(steps)

    def _reach(self, start: Ref | None) -> _Reach:
        if start is None:
            return _Reach({}, {})
        if start not in self._reached:
            self._reached[start] = self._search(start)
        return self._reached[start]

    def _search(self, start: Ref) -> _Reach:
        """Search upwards from a function, nearest callers first, until the entry points."""
        found = _Reach({start: None}, {})
        waiting = deque([(start, 0)])
        while waiting and len(found.entry_points) < _MOST_ENTRY_POINTS:
            function, depth = waiting.popleft()
            if entry := self.entry_point(function):
                found.entry_points[function] = entry
                continue
            if depth == MOST_STEPS:
                continue
            for caller, line in self._around(function):
                if caller not in found.calls:
                    found.calls[caller] = _Call(function, caller[0], line)
                    waiting.append((caller, depth + 1))
        return found

    def _around(self, function: Ref) -> Iterator[tuple[Ref, int]]:
        """Yield the functions that call another, and that around it, each with a line."""
        for caller in self.callers(function):
            if (calling := self.function(caller.ref)) is not None:
                yield calling, caller.mention.line
        outer = self._program.parent(function)
        if outer and (holder := self.function(outer)):
            yield holder, self._program.scope(function).line

    def entry_point(self, function: Ref) -> EntryPoint | None:
        """Return a function as an entry point, None if it is not one."""
        return self._entries.of(function)
