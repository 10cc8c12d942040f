"""The statements of a file, and its imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..facts import Imports


def read_imports(tree: ast.Module) -> Imports:
    """Return the imports of a file, wherever in it they are."""
    found = Imports()
    for node in statements(tree):
        if isinstance(node, ast.Import):
            found.modules += [(alias.name, 0, ()) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = tuple(alias.name for alias in node.names)
            found.modules.append((node.module or "", node.level, names))
    return found


def statements(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield the statements of a file, and the handlers and cases in them."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        for block in ("body", "orelse", "finalbody", "handlers", "cases"):
            inner = getattr(node, block, None)
            if isinstance(inner, list):
                yield from inner
                waiting += inner
