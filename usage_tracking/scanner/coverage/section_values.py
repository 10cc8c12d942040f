"""Whether an expression is certainly a section: neither empty nor None."""

from __future__ import annotations

from typing import Any

from ..execution.dotted_names import DottedNames
from ..facts import Expression
from ..inference.engine import Inference
from ..program import Program, Ref, last_name
from ..values import Text, Values

_DEEPEST = 6
#: Methods that take entries out of a dict, or may replace them.
_CHANGES = {"pop", "popitem", "clear", "update", "__delitem__"}


class SectionValues:
    """The sections that calls of `ai_usage` and `ai_section` are given."""

    def __init__(self, program: Program, inference: Inference, names: DottedNames) -> None:
        self._program = program
        self._inference = inference
        self._names = names

    def has_section(self, call: Any, ref: Ref) -> bool:
        """Return whether a call of `ai_usage` or `ai_section` is given a section."""
        _, _, arguments, keywords, *_ = call
        for keyword, value in keywords:
            if keyword == "section":
                return self.is_section(value, ref)
            if keyword is None:
                return self._options_have_section(value, ref)
        return bool(arguments) and self.is_section(arguments[0], ref)

    def _options_have_section(self, options: Expression, ref: Ref) -> bool:
        """Return whether `**options` contains a section, which no code takes out again."""
        if self._is_changed(options, ref):
            return False
        values = [options, *(value for value, _ in self._names.bindings(options, ref))]
        sections = [
            entry
            for value in values
            if value and value[0] == "table"
            for key, entry in value[1]
            if key == ("text", "section")
        ]
        return bool(sections) and all(self.is_section(each, ref) for each in sections)

    def _is_changed(self, options: Expression, ref: Ref) -> bool:
        """Return whether code of the scope takes entries out of a dict, or may replace them."""
        if not (name := last_name(options)):
            return False
        functions = (call.expression[1] for call in self._program.scope(ref).calls)
        return any(
            function
            and function[0] == "attr"
            and function[2] in _CHANGES
            and last_name(function[1]) == name
            for function in functions
        )

    def is_section(self, expression: Expression, ref: Ref, depth: int = 0) -> bool:
        """Return whether an expression is certainly a section: neither empty nor None."""
        if not expression or depth > _DEEPEST:
            return False
        match expression[0]:
            case "text":
                return bool(expression[1])
            case "any":
                parts = [self.is_section(each, ref, depth + 1) for each in expression[1]]
                return bool(parts) and (all(parts) or self._is_fallback(expression, parts))
            case "call":
                values = self._inference.of(expression, ref)
                return _is_known_text(values)
            case "name" | "attr":
                return self._is_section_name(expression, ref, depth)
            case "element" if expression[1] and expression[1][0] == "items":
                return all(self.is_section(each, ref, depth + 1) for each in expression[1][1])
        return expression[0] in {"element", "join", "index", "typed"}

    @staticmethod
    def _is_fallback(expression: Any, parts: list[bool]) -> bool:
        """Return whether the last operand of `a or "chat"` is a section."""
        return parts[-1] and all(each and each[0] != "text" for each in expression[1][:-1])

    def _is_section_name(self, expression: Any, ref: Ref, depth: int) -> bool:
        name = last_name(expression)
        if expression[0] == "name" and (owner := self._owner_of_parameter(name, ref)):
            return self._is_given(name, owner, depth)
        bound = self._names.bindings(expression, ref)
        if bound:
            return all(
                value != expression and self.is_section(value, at, depth + 1) for value, at in bound
            )
        return _is_text(self._inference.of(expression, ref))

    def _owner_of_parameter(self, name: str, ref: Ref) -> Ref | None:
        at: Ref | None = ref
        while at is not None:
            scope = self._program.scope(at)
            if any(parameter.name == name for parameter in scope.parameters):
                return at
            if name in scope.bindings:
                return None
            at = self._program.parent(at)
        return None

    def _is_given(self, name: str, function: Ref, depth: int) -> bool:
        """Return whether every caller of a function gives it a section as a parameter."""
        scope = self._program.scope(function)
        index = next(i for i, each in enumerate(scope.parameters) if each.name == name)
        default = scope.parameters[index].default
        callers = self._inference.functions.callers(function)
        number = index - self._program.is_method(function)
        for ref, call in callers:
            _, _, arguments, keywords, *_ = call.expression
            given: Expression = dict(keywords).get(name)
            if given is None and number < len(arguments):
                given = arguments[number]
            if not self.is_section(given or default, ref if given else function, depth + 1):
                return False
        return bool(callers)


def _is_text(values: Values) -> bool:
    return bool(values) and all(isinstance(value, Text) and bool(value.text) for value in values)


def _is_known_text(values: Values) -> bool:
    """Return whether values are texts without unknown parts."""
    return _is_text(values) and not any("{" in str(value) for value in values)
