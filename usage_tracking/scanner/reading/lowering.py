"""From Python's syntax tree to facts: modules, functions, classes and statements."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ..facts import CLASS, FUNCTION, Expression, SourceFile
from .building import end_of, position_of, start_of
from .expressions import ExpressionReader


def lower(tree: ast.Module, source: SourceFile) -> None:
    """Fill `source` with all facts of its tree."""
    _StatementReader(source).statements(tree.body)


class _StatementReader(ExpressionReader):
    def __init__(self, source: SourceFile) -> None:
        super().__init__(source)
        self._number = 0

    def statements(self, body: Iterable[ast.stmt]) -> None:
        for statement in body:
            _READERS.get(type(statement), _StatementReader.other)(self, statement)

    # Definitions

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        decorators = [self.expression(item) for item in node.decorator_list]
        scope = self.new_scope(FUNCTION, node.name, node)
        scope.decorators = decorators
        scope.is_async = isinstance(node, ast.AsyncFunctionDef)
        scope.returns_annotation = self.annotation(node.returns)
        self.parameters(node.args, scope)
        with self.inside(scope):
            self.statements(node.body)
        self.bind(node.name, ("scope", scope.number), position_of(node.lineno, 0))

    def _class(self, node: ast.ClassDef) -> None:
        decorators = [self.expression(item) for item in node.decorator_list]
        bases = [self.expression(item) for item in node.bases]
        scope = self.new_scope(CLASS, node.name, node)
        scope.decorators, scope.bases = decorators, bases
        with self.inside(scope, self.managers):
            self.statements(node.body)
        self.bind(node.name, ("scope", scope.number), position_of(node.lineno, 0))

    def _return(self, node: ast.Return) -> None:
        self.scope.returns.append(self.expression(node.value))
        self._exit(node)

    def _exit(self, node: ast.Return | ast.Continue | ast.Break) -> None:
        self.scope.exits.append((node.lineno, self.nesting()))

    def _global(self, node: ast.Global | ast.Nonlocal) -> None:
        self.scope.global_names.update(node.names)

    # Assignments

    def _assignment(self, node: ast.Assign) -> None:
        value = self.expression(node.value)
        for target in node.targets:
            self.assign(target, value, end_of(node))

    def _annotated_assignment(self, node: ast.AnnAssign) -> None:
        typed: Expression = ("typed", self.annotation(node.annotation))
        value = self.expression(node.value)
        both: Expression = ("any", (value, typed)) if node.value else typed
        self.assign(node.target, both, end_of(node))

    def _augmented_assignment(self, node: ast.AugAssign) -> None:
        value = self.expression(node.value)
        match node.op:
            case ast.Add():
                joined: Expression = ("join", (self.expression(node.target), value))
            case ast.BitOr():
                joined = ("pipe", self.expression(node.target), value)
            case _:
                return
        self.assign(node.target, joined, end_of(node))

    def _delete(self, node: ast.Delete) -> None:
        """Leave the names bound: the scan is about what they were before."""

    # Branches

    def _branch(self, statement: int, part: str, body: Iterable[ast.stmt]) -> None:
        with self.inside_branch(statement, part):
            self.statements(body)

    def _new_statement(self) -> int:
        self._number += 1
        return self._number

    def _if(self, node: ast.If) -> None:
        self.expression(node.test)
        number = self._new_statement()
        self._branch(number, "then", node.body)
        self._branch(number, "else", node.orelse)

    def _for(self, node: ast.For | ast.AsyncFor) -> None:
        iterated = self.expression(node.iter)
        self.assign(node.target, ("element", iterated), end_of(node.iter))
        self._loop(node)

    def _while(self, node: ast.While) -> None:
        self.expression(node.test)
        self._loop(node)

    def _loop(self, node: ast.For | ast.AsyncFor | ast.While) -> None:
        number = self._new_statement()
        self._branch(number, "loop", node.body)
        self._branch(number, "after", node.orelse)

    def _try(self, node: ast.Try | ast.TryStar) -> None:
        number = self._new_statement()
        self._branch(number, "try" if node.handlers else "tried", node.body)
        for index, handler in enumerate(node.handlers):
            self.expression(handler.type)
            self._branch(number, f"except {index}", handler.body)
        self._branch(number, "no error", node.orelse)
        self._branch(number, "finally", node.finalbody)

    def _match(self, node: ast.Match) -> None:
        subject = self.expression(node.subject)
        number = self._new_statement()
        for index, case in enumerate(node.cases):
            for name in _captures(case.pattern):
                self.bind(name, subject, position_of(case.pattern.lineno, 0))
            self.expression(case.guard)
            self._branch(number, f"case {index}", case.body)

    def _with(self, node: ast.With | ast.AsyncWith) -> None:
        with self.inside_with():
            for item in node.items:
                manager = self.expression(item.context_expr)
                if item.optional_vars is not None:
                    entered: Expression = ("entered", manager)
                    self.assign(item.optional_vars, entered, end_of(item.context_expr))
                self.enter_manager(manager)
            self.statements(node.body)

    # Imports

    def _import(self, node: ast.Import) -> None:
        for alias in node.names:
            first = alias.name.partition(".")[0]
            name, dotted = (alias.asname, alias.name) if alias.asname else (first, first)
            self.bind(name, ("import", dotted), start_of(node))

    def _import_from(self, node: ast.ImportFrom) -> None:
        module = node.module or ""
        for alias in node.names:
            if alias.name == "*":
                self.source.star_imports.append((module, node.level))
            else:
                value = ("from", module, node.level, alias.name)
                self.bind(alias.asname or alias.name, value, start_of(node))


_READERS: dict[type[ast.AST], Callable[[_StatementReader, Any], None]] = {
    ast.AnnAssign: _StatementReader._annotated_assignment,
    ast.Assign: _StatementReader._assignment,
    ast.AsyncFor: _StatementReader._for,
    ast.AsyncFunctionDef: _StatementReader._function,
    ast.AsyncWith: _StatementReader._with,
    ast.AugAssign: _StatementReader._augmented_assignment,
    ast.Break: _StatementReader._exit,
    ast.ClassDef: _StatementReader._class,
    ast.Continue: _StatementReader._exit,
    ast.Delete: _StatementReader._delete,
    ast.For: _StatementReader._for,
    ast.FunctionDef: _StatementReader._function,
    ast.Global: _StatementReader._global,
    ast.If: _StatementReader._if,
    ast.Import: _StatementReader._import,
    ast.ImportFrom: _StatementReader._import_from,
    ast.Match: _StatementReader._match,
    ast.Nonlocal: _StatementReader._global,
    ast.Return: _StatementReader._return,
    ast.Try: _StatementReader._try,
    ast.TryStar: _StatementReader._try,
    ast.While: _StatementReader._while,
    ast.With: _StatementReader._with,
}


def _captures(pattern: ast.pattern) -> Iterator[str]:
    for part in ast.walk(pattern):
        if isinstance(part, (ast.MatchAs, ast.MatchStar)) and part.name:
            yield part.name
