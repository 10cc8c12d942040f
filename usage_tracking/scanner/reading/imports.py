"""The statements of a file, and its imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..facts import Imports

#: Functions that import a module by its name, and whether the name ends with one of the module.
_IMPORTERS = {"__import__": False, "import_module": False, "import_string": True}


def read_imports(tree: ast.Module, text: str) -> Imports:
    """Return the imports of a file, wherever in it they are; `tree` is the code of `text`."""
    found = Imports()
    for node in statements(tree):
        if isinstance(node, ast.Import):
            found.modules += [(alias.name, 0, ()) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = tuple(alias.name for alias in node.names)
            found.modules.append((node.module or "", node.level, names))
    if any(importer in text for importer in _IMPORTERS):
        found.modules += _imported_by_name(tree)
    return found


def _imported_by_name(tree: ast.Module) -> Iterator[tuple[str, int, tuple[str, ...]]]:
    """Yield the modules of calls such as `import_module("shop.ai")`."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(
                func=ast.Name(id=name) | ast.Attribute(attr=name),
                args=[ast.Constant(value=str(text)), *_],
            ) if name in _IMPORTERS:
                dotted = text.lstrip(".")
                if _IMPORTERS[name]:
                    dotted, _, last = dotted.rpartition(".")
                    yield dotted, 0, (last,)
                else:
                    yield dotted, len(text) - len(dotted), ()


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
