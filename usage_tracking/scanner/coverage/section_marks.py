"""Which decorators mark a view or consumer with a section: `ai_section`, or one of the project."""

from __future__ import annotations

from ..execution.dotted_names import DottedNames
from ..facts import Expression
from ..inference.engine import Inference
from ..program import Program, Ref, last_name
from ..values import FUNCTIONS
from .package_names import MARK, PackageNames
from .section_values import SectionValues

#: Django's decorator that applies its argument to a method.
DECORATES_METHODS = "method_decorator"


class SectionMarks:
    """The decorators of a program that mark what they decorate with a section."""

    def __init__(
        self,
        program: Program,
        inference: Inference,
        names: DottedNames,
        package: PackageNames,
        values: SectionValues,
    ) -> None:
        self._program = program
        self._inference = inference
        self._names = names
        self._package = package
        self._values = values

    def name(self, expression: Expression, ref: Ref) -> str:
        """Return "ai_section" for a decorator that marks a view with a section, "" for others."""
        if not expression or expression[0] not in {"call", "name", "attr"}:
            return ""
        if expression[0] != "call":
            for value, at in self._names.bindings(expression, ref):
                if value and value[0] == "call" and self.name(value, at):
                    return MARK
            return ""
        _, function, arguments, *_ = expression
        if last_name(function) == DECORATES_METHODS and arguments:
            return self.name(arguments[0], ref)
        if self._package.is_ours(function, ref, MARK):
            return MARK if self._values.has_section(expression, ref) else ""
        for each in self._inference.of(function, ref):
            if isinstance(each, FUNCTIONS) and self._marks(each.ref):
                return self._program.scope(each.ref).name
        return ""

    def _marks(self, function: Ref) -> bool:
        """Return whether a decorator of the project sets `ai_section` of what it decorates."""
        return any(
            name == MARK and value and value != ("text", "")
            for scope in self._program.files[function[0]].scopes
            if scope.number == function[1] or scope.parent == function[1]
            for _, name, value in scope.attributes
        )
