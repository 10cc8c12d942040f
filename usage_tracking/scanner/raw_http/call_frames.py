"""The frame of a function that a call calls, and what the function returns in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..facts import Expression
from ..program import Ref, last_name
from ..values import FUNCTIONS
from .caller_frames import Argument, Frame, Receiver

if TYPE_CHECKING:
    from .unfolding import Unfolding

#: Functions of libraries that return their first argument, perhaps wrapped.
_PASSES_ON = {
    *("closing", "aclosing", "nullcontext", "enter_context", "enter_async_context", "wait_for"),
    *("copy", "deepcopy", "run", "ensure_future", "create_task", "shield", "cast"),
}


class CallFrames:
    """Follows calls into the functions of the project, with the arguments that they pass."""

    def __init__(self, unfolding: Unfolding) -> None:
        self._unfolding = unfolding
        self._inference = unfolding.inference
        self._program = unfolding.program

    def origins(self, expression: Any, frame: Frame, depth: int) -> Iterator[Argument]:
        """Yield what a call returns; for a call of unknown code, the call."""
        function, arguments = expression[1], expression[2]
        found: list[Argument] = []
        for callee, receiver in self.callees(function, frame):
            inner = self.frame(callee, expression, frame, receiver)
            for value in self._program.scope(callee).returns:
                found += self._unfolding.origins(value, inner, depth)
        if not found and arguments and last_name(function) in _PASSES_ON:
            found += self._unfolding.origins(arguments[0], frame, depth)
        yield from found or [Argument(expression, frame)]

    def callees(self, function: Expression, frame: Frame) -> list[tuple[Ref, Receiver | None]]:
        """Return the functions of the project that a call calls, with their receivers."""
        found: list[tuple[Ref, Receiver | None]] = []
        for value in self._inference.of(function, frame.ref):
            if isinstance(value, FUNCTIONS):
                found.append((value.ref, None))
        if function is None or function[0] != "attr" or not found:
            return found
        receivers = self._unfolding.attributes.receivers(function[1], frame)
        if not receivers:
            return found
        receiver = receivers[0][0]
        for cls in self._inference.classes.ancestry(receiver.cls):
            if methods := self._program.methods(cls).get(function[2]):
                return [(methods[-1], receiver)]
        return [(callee, receiver) for callee, _ in found]

    def frame(self, function: Ref, call: Any, frame: Frame, receiver: Receiver | None) -> Frame:
        """Return the frame of a function for a call of it in the frame `frame`."""
        scope = self._program.scope(function)
        names = [each.name for each in scope.parameters if not each.keyword_only]
        if self._program.is_method(function) and "staticmethod" not in {
            last_name(item) for item in scope.decorators
        }:
            names = names[1:]
        known = {each.name for each in scope.parameters}
        positional, keywords = self._passed(call, frame, scope.name)
        arguments = dict(zip(names, positional, strict=False))
        more = []
        for keyword, argument in keywords:
            if keyword in known:
                arguments[keyword] = argument
            else:
                more.append((keyword, argument))
        # A function in a function sees what that one was given.
        outer = frame if self._program.parent(function) == frame.ref else None
        rest = tuple(positional[len(names) :])
        return Frame(function, arguments, tuple(more), rest, receiver, outer)

    def _passed(
        self, call: Any, frame: Frame, name: str
    ) -> tuple[list[Argument], list[tuple[str, Argument]]]:
        """Return the arguments of a call of a function, with those that a `partial` has bound."""
        positional = self.positional(call[2], frame)
        keywords = self.keywords(call[3], frame)
        if last_name(call[1]) != name and (bound := self.partial(call[1], frame)):
            made = bound.expression or ()
            positional = self.positional(made[2][1:], bound.frame) + positional
            keywords = self.keywords(made[3], bound.frame) + keywords
        return positional, keywords

    def partial(self, function: Expression, frame: Frame) -> Argument | None:
        """Return the call `partial(...)` that made a function, None if none did."""
        for origin in self._unfolding.origins(function, frame):
            made = origin.expression
            if made and made[0] == "call" and last_name(made[1]) == "partial" and made[2]:
                return origin
        return None

    def positional(self, arguments: Any, frame: Frame) -> list[Argument]:
        """Return positional arguments; `*arguments` gives those of the caller."""
        found: list[Argument] = []
        for each in arguments:
            if frame.more_arguments and self._unfolding.variables.is_variadic(each, frame):
                found += frame.more_arguments
            else:
                found.append(Argument(each, frame))
        return found

    def keywords(self, keywords: Any, frame: Frame) -> list[tuple[str, Argument]]:
        """Return keyword arguments; `**keywords` gives those of the caller or of a dict."""
        found: list[tuple[str, Argument]] = []
        for keyword, value in keywords:
            if keyword is not None:
                found.append((keyword, Argument(value, frame)))
                continue
            for origin in self._unfolding.origins(value, frame):
                found += self._unfolding.dicts.entries(origin)
        return found
