"""Where one `ai_usage` block covers a call site: the topmost function on every path to it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

from ..execution.call_graph import CallGraph
from ..program import Program, Ref
from ..report import Block
from ..sites import Site
from .block_kinds import kind_of_view
from .entry_sections import EntrySections
from .sections import Sections

#: Functions from the topmost down; None if every path to the last is in a section already.
_Chain = tuple[Ref, ...] | None


class Placement:
    """The blocks for the sites of a program."""

    def __init__(
        self,
        program: Program,
        graph: CallGraph,
        sections: Sections,
        entry_sections: EntrySections,
    ) -> None:
        self._program = program
        self._graph = graph
        self._sections = sections
        self._entry_sections = entry_sections
        self._chains: dict[Ref, _Chain] = {}

    def function(self, site: Site) -> Ref | None:
        """Return the function whose decoration covers a site; None for code of a module."""
        own = self._graph.function(site.ref)
        if own is None:
            return None
        for function in self._chain(own) or ():
            if self._sections.would_cover(function, site.ref, site.mention):
                return function
        return own

    def block(self, function: Ref | None, path: str) -> Block:
        """Return the block of a function, or of the code of the module `path`."""
        if function is None:
            return Block("module", "<module>", path, 1)
        scope = self._program.scope(function)
        if entry := self._graph.entry_point(function):
            kind = entry.kind
            if kind == "view":
                sections = self._entry_sections
                is_read = sections.reads_views and not sections.is_hidden(function)
                kind = kind_of_view(function, self._program, reads_views=is_read)
            return Block(kind, entry.name, function[0], scope.line)
        kind = "method" if self._program.is_method(function) else "function"
        return Block(kind, scope.qualname, function[0], scope.line)

    def _chain(self, function: Ref) -> _Chain:
        """Return the functions that every path to `function` passes and that name no section.

        These are the dominators of the function in the graph of calls. The callers of some
        functions are not followed: of a generator or a function that is passed on, because their
        code may run when the caller has ended; and in a circle of calls, as in `Sections`.
        """
        if function not in self._chains:
            self._chains[function] = (function,)  # while its callers are followed
            self._chains[function] = self._with_callers(function)
        return self._chains[function]

    def _with_callers(self, function: Ref) -> _Chain:
        callers = [
            each
            for each in self._graph.callers(function)
            if self._graph.function(each.ref) != function
        ]
        is_run_elsewhere = self._program.scope(function).is_generator or any(
            each.mention.expression[0] != "call" for each in callers
        )
        if not callers or is_run_elsewhere or self._graph.entry_point(function) is not None:
            return (function,)
        chains: list[tuple[Ref, ...]] = []
        for caller in callers:
            if self._sections.names_section_at(caller.ref, caller.mention):
                continue
            above = self._graph.function(caller.ref)
            chain = self._chain(above) if above is not None else ()
            if chain is not None:
                chains.append(chain)
        return (*_common_start(chains), function) if chains else None


def _common_start(chains: Sequence[tuple[Ref, ...]]) -> tuple[Ref, ...]:
    same = takewhile(lambda refs: len(set(refs)) == 1, zip(*chains, strict=False))
    return tuple(refs[0] for refs in same)
