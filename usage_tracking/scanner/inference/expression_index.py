"""Where an expression stands in the code of its scope: as an argument, a value, a result."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from ..facts import Binding, CodeScope, Expression, Mention

#: What an expression is for the one around it.
CALLEE, ARGUMENT, OWNER = "callee", "argument", "owner"
BOUND, SET, RETURNED, PART, ELEMENT, ENTERED = (
    *("bound", "set", "returned", "part", "element", "entered"),
)


@dataclass(frozen=True, slots=True)
class Position:
    """The role of an expression, the expression around it, and its name or number there."""

    role: str
    around: Any = None
    name: str | int = ""


@dataclass(slots=True)
class ExpressionIndex:
    """The positions of the expressions of one scope, by identity."""

    positions: dict[int, Position] = field(default_factory=dict)
    #: The mention of each call.
    calls: dict[int, Mention] = field(default_factory=dict)
    #: Name → the expressions that read it.
    names: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))
    #: Number of a function or lambda → the expression that defines it.
    definitions: dict[int, Any] = field(default_factory=dict)

    def position(self, expression: Any) -> Position | None:
        """Return the position of an expression, None if it stands alone."""
        return self.positions.get(id(expression))


def index_of(scope: CodeScope, bindings: dict[str, list[Binding]]) -> ExpressionIndex:
    """Index the expressions of a scope; `bindings` are the names that its code binds."""
    index = ExpressionIndex()
    for name, bound in bindings.items():
        for binding in bound:
            _add(index, binding.value, Position(BOUND, None, name))
    for _, name, value in scope.attributes:
        _add(index, value, Position(SET, None, name))
    for owner, name, _ in scope.attributes:
        _add(index, owner, Position(OWNER, None, name))
    for value in scope.returns:
        _add(index, value, Position(RETURNED))
    for call in scope.calls:
        index.calls[id(call.expression)] = call
    for call in scope.calls:
        _parts(index, call.expression)
    return index


def _add(index: ExpressionIndex, expression: Expression, position: Position) -> None:
    if not expression:
        return
    index.positions.setdefault(id(expression), position)
    if expression[0] == "name":
        index.names[expression[1]].append(expression)
    elif expression[0] == "scope":
        index.definitions[expression[1]] = expression
    elif expression[0] != "call":  # a call has its own entry among the calls of the scope
        _parts(index, expression)


def _parts(index: ExpressionIndex, expression: Any) -> None:
    match expression:
        case ("call", function, arguments, keywords, *_):
            _add(index, function, Position(CALLEE, expression))
            for number, argument in enumerate(arguments):
                _add(index, argument, Position(ARGUMENT, expression, number))
            for name, value in keywords:
                _add(index, value, Position(ARGUMENT, expression, name or "**"))
        case ("attr", owner, name):
            _add(index, owner, Position(OWNER, expression, name))
        case ("element" | "entered" as role, value):
            _add(index, value, Position(role, expression))
        case ("any" | "items" | "join", parts):
            for part in parts:
                _add(index, part, Position(PART, expression))
        case ("table", pairs):
            for part in (part for pair in pairs for part in pair):
                _add(index, part, Position(PART, expression))
        case ("index", container, _):
            _add(index, container, Position(OWNER, expression))
        case ("pipe", left, right):
            _add(index, left, Position(PART, expression))
            _add(index, right, Position(PART, expression))
