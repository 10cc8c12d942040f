"""Where the parts of a request come from, for one chain of callers.

`Inference` says what an expression may be for all callers together. For a helper that serves many
services, that is everything they pass. `Unfolding` follows an expression back to the expressions
that make it, in a `Frame`: one call of a function, with the arguments that this call passes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ..facts import Expression
from ..inference.engine import Inference
from ..program import Ref
from .attributes import Attributes
from .call_frames import CallFrames
from .caller_frames import Argument, Frame
from .dict_entries import DictEntries
from .variables import Variables

#: An expression is followed over at most this many steps, and this many in one chain.
_MOST_STEPS = 1500
_DEEPEST = 30


@dataclass(slots=True)
class _Budget:
    steps: int = 0
    #: Functions whose unknown arguments or receiver were asked for.
    asked: set[Ref] = field(default_factory=set)
    #: An entry of a dict was asked for by a key that only callers know.
    is_guess: bool = False


class Unfolding:
    """Follows expressions back to what makes them."""

    def __init__(self, inference: Inference) -> None:
        self.inference = inference
        self.program = inference.program
        self.variables = Variables(self)
        self.attributes = Attributes(self)
        self.calls = CallFrames(self)
        self.dicts = DictEntries(self)
        self._budget = _Budget()

    def start(self) -> None:
        """Forget what was asked for, before the next request is judged."""
        self._budget = _Budget()

    @property
    def asked(self) -> set[Ref]:
        """The functions on whose callers the results since `start` depend."""
        return self._budget.asked

    @property
    def is_guess(self) -> bool:
        """Whether the results since `start` are those of callers who pass different keys."""
        return self._budget.is_guess

    def ask(self, function: Ref) -> None:
        """Note that the results depend on the callers of a function."""
        self._budget.asked.add(function)

    def origins(self, expression: Expression, frame: Frame, depth: int = 0) -> Iterator[Argument]:
        """Yield the expressions that make `expression`, each with its frame.

        For a name that nothing is known about, yield the name.
        """
        self._budget.steps += 1
        if expression is None or depth > _DEEPEST or self._budget.steps > _MOST_STEPS:
            return
        match expression[0]:
            case "name":
                found: Iterable[Argument] = self.variables.origins(expression, frame, depth + 1)
            case "attr":
                found = self.attributes.origins(expression, frame, depth + 1)
            case "call":
                found = self.calls.origins(expression, frame, depth + 1)
            case "any":
                found = self._of_all(((part, frame) for part in expression[1]), depth + 1)
            case "entered":
                found = self.origins(expression[1], frame, depth + 1)
            case "from":
                found = self._of_import(expression, frame, depth + 1)
            case "index" if isinstance(expression[2], tuple):
                found = self._of_item(expression, frame, depth + 1)
            case _:
                found = [Argument(expression, frame)]
        yield from found

    def _of_all(self, parts: Iterable[tuple[Expression, Frame]], depth: int) -> Iterator[Argument]:
        for part, frame in parts:
            yield from self.origins(part, frame, depth)

    def _of_item(self, expression: Any, frame: Frame, depth: int) -> Iterator[Argument]:
        """Yield the entry of a dict whose key the caller passes: `ROUTES[route]`."""
        _, container, key = expression
        keys = [each.expression for each in self.origins(key, frame, depth)]
        found: list[Argument] = []
        if keys:
            for origin in self.origins(container, frame, depth):
                found += [
                    value for name, value in self.dicts.entries(origin) if ("text", name) in keys
                ]
                if found or origin.expression is None or origin.expression[0] != "table":
                    continue
                # Any entry, as long as no caller passes the key.
                self._budget.is_guess |= any(each and each[0] == "name" for each in keys)
        for value in found:
            yield from self.origins(value.expression, value.frame, depth)
        if not found:
            yield Argument(expression, frame)

    def _of_import(self, expression: Any, frame: Frame, depth: int) -> Iterator[Argument]:
        _, dotted, level, name = expression
        file = self.program.resolve(frame.ref[0], dotted, level)
        found = list(self.exported(file, name, depth)) if file and file != frame.ref[0] else []
        yield from found or [Argument(expression, frame)]

    def exported(self, file: str, name: str, depth: int) -> Iterator[Argument]:
        """Yield what a name of a module is set to."""
        source = self.program.files.get(file)
        for each in source.scopes[0].bindings.get(name, ()) if source and source.scopes else ():
            yield from self.origins(each.value, Frame((file, each.scope)), depth)
