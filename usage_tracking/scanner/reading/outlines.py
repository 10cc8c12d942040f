"""The outline of a file: its statements, with the words in each and whether one is a sign of AI."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from ..facts import Part
from .imports import statements

_WORD = re.compile(r"[^\W\d]\w*")
#: Methods that put their argument into an object.
_PUTTING = {
    *("add", "append", "appendleft", "extend", "insert", "put", "put_nowait", "push", "register"),
    *("set", "setdefault", "update"),
}


def outline_of(text: str, tree: ast.Module, signs: set[int]) -> list[Part]:
    """Return the statements of a module; `signs` are the numbers of the lines with a sign."""
    lines = text.split("\n")
    docstrings = docstrings_of(tree)
    bound = [set(_bound_by(node)) for node in tree.body]
    variables = set().union(*bound)
    found = []
    for node, names in zip(tree.body, bound, strict=True):
        decorators = getattr(node, "decorator_list", ())
        start = min([node.lineno, *(each.lineno for each in decorators)])
        end = node.end_lineno or start
        numbers = range(start, end + 1)
        code = "\n".join(lines[number - 1] for number in numbers if number not in docstrings)
        words = " ".join(dict.fromkeys(_WORD.findall(code)))
        filled = variables.intersection(_filled_in(node))
        is_import = isinstance(node, (ast.Import, ast.ImportFrom))
        has_sign = not signs.isdisjoint(numbers)
        found.append(Part(start, end, tuple(names | filled), words, is_import, has_sign))
    return found


def docstrings_of(tree: ast.Module) -> set[int]:
    """Return the numbers of the lines of strings that stand alone."""
    found: set[int] = set()
    for node in statements(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            found.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return found


def _bound_by(statement: ast.stmt) -> Iterator[str]:
    """Yield the names that a statement binds in its scope."""
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        yield statement.name
    elif isinstance(statement, (ast.Import, ast.ImportFrom)):
        yield from (each.asname or each.name.partition(".")[0] for each in statement.names)
    else:
        waiting: list[ast.AST] = [statement]
        while waiting:
            for node in ast.iter_child_nodes(waiting.pop()):
                if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                    yield node.name
                elif isinstance(node, (ast.Import, ast.ImportFrom)):
                    yield from _bound_by(node)
                elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    yield node.id
                else:
                    waiting.append(node)


def _filled_in(statement: ast.stmt) -> Iterator[str]:
    """Yield the variables whose attributes or items are set in a statement."""
    for node in ast.walk(statement):
        match node:
            case ast.Attribute(ctx=ast.Store()) | ast.Subscript(ctx=ast.Store()):
                at: ast.AST = node
            case ast.Call(func=ast.Attribute(attr=method) as at) if method in _PUTTING:
                pass
            case ast.Global(names=names):
                yield from names
                continue
            case _:
                continue
        while isinstance(at, (ast.Attribute, ast.Subscript)):
            at = at.value
        if isinstance(at, ast.Name):
            yield at.id
