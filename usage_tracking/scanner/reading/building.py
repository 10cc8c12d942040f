"""The scopes of a file while its syntax tree is read."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import contextmanager

from ..facts import MODULE, Binding, CodeScope, Expression, Mention, Nesting, SourceFile

_COLUMN_BITS = 12
_LAST_COLUMN = (1 << _COLUMN_BITS) - 1
#: Parts of a `try` that always run, unless an exception leaves the function.
_UNCONDITIONAL = {"try", "tried", "finally"}
#: Tags of values that can be a function of the project.
_DEFINITIONS = {"scope", "from", "import"}


def position_of(line: int, column: int) -> int:
    """Return a number by which places in a file are ordered."""
    return line << _COLUMN_BITS | min(column, _LAST_COLUMN)


def start_of(node: ast.stmt | ast.expr | ast.pattern) -> int:
    """Return the position where a node begins."""
    return node.lineno << _COLUMN_BITS | min(node.col_offset, _LAST_COLUMN)


def end_of(node: ast.stmt | ast.expr) -> int:
    """Return the position where a node ends."""
    return position_of(node.end_lineno or node.lineno, node.end_col_offset or 0)


class ScopeBuilder:
    """Adds scopes, bindings and mentions to the facts of a file."""

    def __init__(self, source: SourceFile) -> None:
        self.source = source
        #: The scope that is being read, and what is around the current statement in it.
        self.scope = CodeScope(0, MODULE, "", "", -1, 1, source.lines)
        self.managers: tuple[Expression, ...] = ()
        self.branches: tuple[tuple[int, str], ...] = ()
        #: Whether the current expression is an argument of a call.
        self.is_argument = False
        #: The index of the current nesting; -1 until a mention needs it.
        self._nesting = -1
        source.scopes.append(self.scope)

    def new_scope(self, kind: str, name: str, node: ast.stmt | ast.expr) -> CodeScope:
        """Add a scope inside the current one."""
        parent = self.scope
        qualname = f"{parent.qualname}.{name}" if parent.qualname else name
        number = len(self.source.scopes)
        end = node.end_lineno or node.lineno
        scope = CodeScope(number, kind, name, qualname, parent.number, node.lineno, end)
        self.source.scopes.append(scope)
        return scope

    @contextmanager
    def inside(self, scope: CodeScope, managers: tuple[Expression, ...] = ()) -> Iterator[None]:
        """Make `scope` the current one; `managers` are the `with` statements around its code."""
        before = self.scope, self.managers, self.branches, self._nesting, self.is_argument
        self.scope, self.managers, self.branches, self._nesting = scope, managers, (), -1
        self.is_argument = False
        yield
        self.scope, self.managers, self.branches, self._nesting, self.is_argument = before

    @contextmanager
    def inside_branch(self, statement: int, part: str) -> Iterator[None]:
        """Enter a part of a branching statement."""
        before = self.branches, self._nesting
        self.branches, self._nesting = (*self.branches, (statement, part)), -1
        yield
        self.branches, self._nesting = before

    @contextmanager
    def inside_with(self) -> Iterator[None]:
        """Enter a `with` statement; `enter_manager` adds its context managers."""
        before = self.managers, self._nesting
        yield
        self.managers, self._nesting = before

    @contextmanager
    def outside_with(self) -> Iterator[None]:
        """Leave the `with` statements, for code that runs when they have ended."""
        with self.inside_with():
            self.managers, self._nesting = (), -1
            yield

    def enter_manager(self, manager: Expression) -> None:
        """Add a context manager to the nesting of the code that follows."""
        self.managers, self._nesting = (*self.managers, manager), -1

    def nesting(self) -> int:
        """Return the index of the current nesting in its scope."""
        if self._nesting < 0:
            self._nesting = len(self.scope.nestings)
            self.scope.nestings.append(Nesting(self.managers, self.branches))
        return self._nesting

    def bind(
        self, name: str, value: Expression, position: int, *, is_unconditional: bool | None = None
    ) -> None:
        """Bind a name in the scope that it belongs to."""
        scope = self.scope
        if name in scope.global_names:
            # It belongs to the module or an outer function: the nearest that has it.
            while scope.parent >= 0 and (name in scope.global_names or name not in scope.bindings):
                scope = self.source.scopes[scope.parent]
            position, is_unconditional = 0, False
        if is_unconditional is None:
            is_unconditional = all(part in _UNCONDITIONAL for _, part in self.branches)
        binding = Binding(position, value, is_unconditional, self.scope.number)
        scope.bindings.setdefault(name, []).append(binding)

    def owner(self, name: str) -> CodeScope | None:
        """Return the scope, this one or one around it, in which a name is bound so far."""
        scope = self.scope
        while True:
            if name in scope.bindings or any(each.name == name for each in scope.parameters):
                return scope
            if scope.parent < 0:
                return None
            scope = self.source.scopes[scope.parent]

    def bind_in(self, scope: CodeScope, name: str, value: Expression, position: int) -> None:
        """Bind a name in a scope to one more value."""
        binding = Binding(position, value, is_unconditional=False, scope=self.scope.number)
        scope.bindings.setdefault(name, []).append(binding)

    def mention(self, expression: Expression, node: ast.expr) -> None:
        """Note a name or attribute that may be a function."""
        if isinstance(node, ast.Name) and not self.is_argument and self._is_variable(node.id):
            return
        self.scope.mentions.append(
            Mention(expression, self.nesting(), node.lineno, is_argument=self.is_argument)
        )

    def _is_variable(self, name: str) -> bool:
        """Return whether a name is a variable of a function, and so rarely a function itself."""
        if self.scope.kind == MODULE or name in {"self", "cls"}:
            return self.scope.kind != MODULE
        if any(parameter.name == name for parameter in self.scope.parameters):
            return True
        bindings = self.scope.bindings.get(name, [])
        return any(not each.value or each.value[0] not in _DEFINITIONS for each in bindings)
