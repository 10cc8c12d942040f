"""What variables are set to, for one chain of callers: bindings, parameters, added entries."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..facts import CLASS, Binding, Expression
from ..program import Ref, last_name
from .caller_frames import Argument, Frame

if TYPE_CHECKING:
    from .unfolding import Unfolding

#: Methods that add entries to a dict.
_ADDS_ENTRIES = {"update", "setdefault"}


class Variables:
    """Follows names back to what they are set to."""

    def __init__(self, unfolding: Unfolding) -> None:
        self._unfolding = unfolding
        self._program = unfolding.program
        self._additions: dict[Ref, dict[str, list[Any]]] = {}

    def origins(self, expression: Any, frame: Frame, depth: int) -> Iterator[Argument]:
        """Yield what a name is set to; for a name that nothing is known about, the name."""
        _, name, position = expression
        at: Ref | None = frame.ref
        while at is not None:
            scope = self._program.scope(at)
            if scope.kind != CLASS or at == frame.ref:
                is_parameter = any(each.name == name for each in scope.parameters)
                bindings = scope.bindings.get(name, [])
                if bindings or is_parameter:
                    here = frame.at(at)
                    known, is_complete = _visible(bindings, position if at == frame.ref else 0)
                    if is_parameter and not is_complete:
                        yield from self._of_parameter(name, here, depth)
                    for each in known:
                        source = here if each.scope == at[1] else Frame((at[0], each.scope))
                        yield from self._unfolding.origins(each.value, source, depth)
                    for call in self._added(at, name):
                        yield Argument(call, here)
                    if is_parameter or any(not _is_entry(each) for each in bindings):
                        return
                    break  # `**keywords` with an entry that is set
            at = self._program.parent(at)
        if self._program.scope(frame.ref).kind != CLASS and frame.arguments is None:
            self._unfolding.ask(frame.ref)
        yield Argument(expression, frame)

    def _of_parameter(self, name: str, frame: Frame, depth: int) -> Iterator[Argument]:
        scope = self._program.scope(frame.ref)
        passed = (frame.arguments or {}).get(name)
        if passed is not None:
            yield from self._unfolding.origins(passed.expression, passed.frame, depth)
            return
        parameter = next(each for each in scope.parameters if each.name == name)
        around = Frame(self._program.parent(frame.ref) or frame.ref)
        yield from self._unfolding.origins(parameter.default, around, depth)
        if frame.arguments is None:
            self._unfolding.ask(frame.ref)
            yield Argument(("name", name, 0), frame)

    def _added(self, ref: Ref, name: str) -> list[Any]:
        """Return the calls in a scope that add entries to a dict: `name.update(...)`."""
        if ref not in self._additions:
            found: dict[str, list[Any]] = {}
            for mention in self._program.scope(ref).calls:
                function = mention.expression[1]
                if function and function[0] == "attr" and function[2] in _ADDS_ENTRIES:
                    found.setdefault(last_name(function[1]), []).append(mention.expression)
            self._additions[ref] = found
        return self._additions[ref].get(name, [])

    def is_variadic(self, expression: Expression, frame: Frame) -> bool:
        """Return whether a name is that of the `*arguments` or `**keywords` of a function."""
        if expression is None or expression[0] != "name":
            return False
        scope = self._program.scope(frame.ref)
        name = expression[1]
        bindings = scope.bindings.get(name, ())
        return all(_is_entry(each) for each in bindings) and not any(
            each.name == name for each in scope.parameters
        )


def _visible(bindings: list[Binding], position: int) -> tuple[list[Binding], bool]:
    """Return the bindings that a use at `position` may see, and whether they hide all others."""
    relevant = [each for each in bindings if each.position <= position] if position else bindings
    found: list[Binding] = []
    for each in sorted(relevant or bindings, key=lambda each: each.position, reverse=True):
        found.append(each)
        if position and each.is_unconditional and each.position <= position:
            return found, True
    return found, False


def _is_entry(binding: Binding) -> bool:
    """Return whether a binding only adds an entry: `body["model"] = ...`."""
    value = binding.value
    is_one = value is not None and value[0] == "table" and len(value[1]) == 1
    return is_one and not binding.is_unconditional
