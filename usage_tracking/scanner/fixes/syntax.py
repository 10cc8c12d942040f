"""Questions about a syntax tree that is to be edited."""

from __future__ import annotations

import ast
from collections.abc import Iterator

Function = ast.FunctionDef | ast.AsyncFunctionDef
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def bound_names(tree: ast.Module) -> set[str]:
    """Return the names that a file binds anywhere, without its imports of `ai_usage`."""
    found: set[str | None] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                found.add(name)
            case ast.arg(arg=name):
                found.add(name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                found.add(name)
            case ast.ClassDef(name=name) | ast.ExceptHandler(name=name):
                found.add(name)
            case ast.MatchAs(name=name) | ast.MatchStar(name=name):
                found.add(name)
            case ast.Import() | ast.ImportFrom():
                found.update(
                    (alias.asname or alias.name).partition(".")[0]
                    for alias in node.names
                    if not is_import_of_ours(node, alias)
                )
    return {name for name in found if name}


def first_line(node: ast.stmt) -> int:
    """Return the line where a statement begins, or its first decorator."""
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([node.lineno, *(each.lineno for each in decorators)])


def last_line(node: ast.stmt) -> int:
    """Return the line where a statement ends."""
    return node.end_lineno or node.lineno


def blocks(node: ast.AST) -> Iterator[list[ast.stmt]]:
    """Yield the lists of statements that run as part of a statement."""
    if isinstance(node, FUNCTIONS):
        return
    for name in ("body", "orelse", "finalbody"):
        if block := getattr(node, name, None):
            yield block
    for name in ("handlers", "cases"):
        for part in getattr(node, name, ()):
            yield part.body


def is_docstring(node: ast.stmt) -> bool:
    """Return whether a statement is a docstring if it comes first."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def is_import_of_ours(node: ast.stmt, alias: ast.alias) -> bool:
    """Return whether an import binds `ai_usage`, or the package that holds it."""
    if isinstance(node, ast.Import):
        return alias.name == "usage_tracking"
    return (
        isinstance(node, ast.ImportFrom)
        and node.module == "usage_tracking"
        and node.level == 0
        and alias.name == "ai_usage"
    )


def decorator_name(decorator: ast.expr) -> str:
    """Return the last name of a decorator."""
    node = decorator.func if isinstance(decorator, ast.Call) else decorator
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else "…"


def is_generator(function: Function) -> bool:
    """Return whether a function yields."""
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.Yield, ast.YieldFrom)):
            return True
        if not isinstance(node, (*FUNCTIONS, ast.Lambda, ast.ClassDef)):
            waiting += ast.iter_child_nodes(node)
    return False


def runs_other_code(function: Function, tree: ast.Module) -> bool:
    """Return whether a function runs code that it was given, such as the views below middleware.

    That code has its own sections.
    """
    given = {
        node.arg
        for outer in ast.walk(tree)
        if isinstance(outer, FUNCTIONS) and outer.lineno < function.lineno <= last_line(outer)
        for node in ast.walk(outer.args)
        if isinstance(node, ast.arg)
    }
    called = [node.func for node in ast.walk(function) if isinstance(node, ast.Call)]
    return function.name in {"__call__", "__acall__"} or any(
        (isinstance(each, ast.Name) and each.id in given)
        or (isinstance(each, ast.Attribute) and each.attr == "get_response")
        for each in called
    )
