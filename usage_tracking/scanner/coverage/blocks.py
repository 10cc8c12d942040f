"""Whether a context manager or decorator opens a block of `ai_usage` that names a section."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..execution.dotted_names import DottedNames
from ..facts import Expression
from ..inference.engine import Inference
from ..program import Program, Ref, last_name
from ..values import FUNCTIONS, Class
from .block_wrappers import DEEPEST, BlockWrappers
from .entered_blocks import ENTERS, EnteredBlocks
from .package_names import BLOCK, TRACKER, PackageNames
from .section_marks import DECORATES_METHODS
from .section_values import SectionValues


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of an expression: a block, or a block with a section."""

    needs_section: bool
    depth: int = 0

    def deeper(self) -> Asked:
        """Return the same question about a part of the expression."""
        return Asked(self.needs_section, self.depth + 1)


class Blocks:
    """The blocks of a program; `trackers` are further names that count as opening one."""

    def __init__(
        self,
        program: Program,
        inference: Inference,
        names: DottedNames,
        package: PackageNames,
        values: SectionValues,
        trackers: frozenset[str],
    ) -> None:
        self.wrappers = BlockWrappers(program, inference, package, values, self)
        self.entered = EnteredBlocks(program, names, self)
        self._program = program
        self._inference = inference
        self._names = names
        self._package = package
        self._trackers = trackers
        self._values = values
        self._opened: dict[tuple[int, bool], str] = {}

    def name(self, expression: Expression, ref: Ref, *, needs_section: bool = True) -> str:
        """Return the name of a context manager or decorator that opens a block, "" for others.

        `ai_usage` of `ai_usage(section="chat")` and of `method_decorator(ai_usage("chat"))`. With
        `needs_section`, a block that may have no section does not count.
        """
        key = id(expression), needs_section
        if key not in self._opened:
            self._opened[key] = ""  # for a context manager that uses itself
            self._opened[key] = self.opened_by(expression, ref, Asked(needs_section=needs_section))
        return self._opened[key]

    def opened_by(self, expression: Expression, ref: Ref, asked: Asked) -> str:
        """Return the name of what opens a block; `name` remembers it."""
        if not expression or asked.depth > DEEPEST:
            return ""
        match expression[0]:
            case "any":
                names = [self.opened_by(each, ref, asked.deeper()) for each in expression[1]]
                return names[0] if names and all(names) else ""
            case "items":
                names = [self.opened_by(each, ref, asked.deeper()) for each in expression[1]]
                return next(filter(None, names), "")
            case "call":
                return self._of_call(expression, ref, asked)
            case "name" | "attr":
                return self._of_name(expression, ref, asked)
            case "element" if expression[1] and expression[1][0] == "items":
                return self.opened_by(expression[1], ref, asked.deeper())
            case "entered":
                return self.opened_by(expression[1], ref, asked.deeper())
        return ""

    def _of_call(self, call: Any, ref: Ref, asked: Asked) -> str:
        _, function, arguments, *_ = call
        name = last_name(function)
        if (name == DECORATES_METHODS or name in ENTERS) and arguments:
            return self.opened_by(arguments[0], ref, asked.deeper())
        if name in self._trackers:
            return name
        if self._package.is_ours(function, ref, TRACKER):
            return TRACKER
        if self._package.is_ours(function, ref, BLOCK) and (
            not asked.needs_section or self._values.has_section(call, ref)
        ):
            return BLOCK
        for value in self._inference.of(function, ref):
            if isinstance(value, FUNCTIONS) and self.wrappers.opens(value.ref, asked):
                return self._program.scope(value.ref).name
            if isinstance(value, Class) and (
                self.wrappers.class_opens(value.ref, call, ref, asked)
                or self.wrappers.object_decorates(value.ref, asked)
            ):
                return self._program.scope(value.ref).name
        # A partial, or a stored decorator.
        for bound, at in self._names.bindings(function, ref):
            if bound and bound[0] == "call" and last_name(bound[1]) == "partial" and bound[2]:
                merged = (
                    "call",
                    bound[2][0],
                    bound[2][1:] + arguments,
                    bound[3] + call[3],
                    *call[4:],
                )
                return self._of_call(merged, at, asked.deeper())
        return ""

    def _of_name(self, expression: Any, ref: Ref, asked: Asked) -> str:
        if last_name(expression) in self._trackers:
            return last_name(expression)
        for value in self._inference.of(expression, ref):
            if isinstance(value, FUNCTIONS):
                opens = self.wrappers.opens(value.ref, asked)
                return self._program.scope(value.ref).name if opens else ""
            if isinstance(value, Class) and self.wrappers.class_decorates(value.ref, asked):
                return self._program.scope(value.ref).name
        bound = self._names.bindings(expression, ref)
        names = [
            self.opened_by(value, at, asked.deeper()) if value != expression else ""
            for value, at in bound
        ]
        return names[0] if names and all(names) else ""
