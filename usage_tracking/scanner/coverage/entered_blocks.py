"""Which blocks code enters without `with`: by an `ExitStack`, or by calling `__enter__`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..execution.dotted_names import DottedNames
from ..facts import Expression, Mention, Nesting
from ..program import Program, Ref, last_name

if TYPE_CHECKING:
    from .blocks import Blocks

#: Methods that enter the context manager which is their first argument, or that they belong to.
ENTERS = {"enter_context", "enter_async_context", "__enter__", "__aenter__"}
_LEAVES = {"__exit__", "__aexit__", "close", "aclose", "pop_all"}


class EnteredBlocks:
    """The blocks that calls of a program enter."""

    def __init__(self, program: Program, names: DottedNames, blocks: Blocks) -> None:
        self._program = program
        self._names = names
        self._blocks = blocks

    def before(self, ref: Ref, call: Mention) -> str:
        """Return the name of a block that code of a scope enters before a call, "" if none."""
        scope = self._program.scope(ref)
        nesting = scope.nestings[call.nesting]
        found = ""
        for each in scope.calls:
            _, function, arguments, *_ = each.expression
            name = last_name(function)
            if each.line > call.line or not function or function[0] != "attr":
                continue
            if name in _LEAVES:
                found = ""
            if name in ENTERS:
                entered = arguments[0] if arguments else function[1]
                if self._is_around(scope.nestings[each.nesting], nesting, entered, ref):
                    found = self._blocks.name(entered, ref) or found
        return found

    def _is_around(self, enters: Nesting, nesting: Nesting, entered: Expression, ref: Ref) -> bool:
        """Return whether a place is in the same statements as one where a block is entered."""
        branches = {*enters.branches}
        if self._is_element(entered, ref):
            branches -= {each for each in branches if each[1] == "loop"}
        is_in_with = nesting.managers[: len(enters.managers)] == enters.managers
        return is_in_with and branches <= {*nesting.branches}

    def enters(self, method: Ref, *, needs_section: bool) -> bool:
        """Return whether a method such as `__enter__` enters a block and leaves it open."""
        calls = self._program.scope(method).calls
        left = [last_name(call.expression[1]) for call in calls]
        for number, call in enumerate(calls):
            _, function, arguments, *_ = call.expression
            if last_name(function) in ENTERS and function[0] == "attr":
                if self._is_left(function[1], method, left[number + 1 :]):
                    continue
                entered = arguments[0] if arguments else function[1]
                if self._blocks.name(entered, method, needs_section=needs_section):
                    return True
        return False

    def _is_left(self, stack: Expression, method: Ref, later: list[str]) -> bool:
        """Return whether a method leaves what it enters: at the end of a `with`, or by a call."""
        if "pop_all" in later:
            return False
        bound = self._names.bindings(stack, method)
        return bool(_LEAVES & {*later}) or any(
            value and value[0] == "entered" for value, _ in bound
        )

    def _is_element(self, expression: Expression, ref: Ref) -> bool:
        """Return whether a name is set to each element of a tuple or list in turn."""
        bound = self._names.bindings(expression, ref)
        return bool(bound) and all(value and value[0] == "element" for value, _ in bound)
