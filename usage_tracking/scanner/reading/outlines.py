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
#: Those of them that fill a registry, if a function passes them a key and what it stands for.
_REGISTERING = {"add", "append", "insert", "register", "setdefault"}
#: Objects that a framework hands to code in all files of a site.
_SHARED = {"app", "current_app", "g", "request", "state"}
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
#: What may be a client, unlike a text.
_OBJECTS = (ast.Attribute, ast.Await, ast.BoolOp, ast.Call, ast.IfExp, ast.Name, ast.Subscript)


def outline_of(text: str, tree: ast.Module, signs: set[int]) -> list[Part]:
    """Return the statements of a module; `signs` are the numbers of the lines with a sign."""
    lines = text.split("\n")
    docstrings = docstrings_of(tree)
    bound = [set(_bound_by(node)) for node in tree.body]
    variables = set().union(*bound)
    known = variables.union(*map(_bound_by_import, statements(tree)))
    found = []
    for node, names in zip(tree.body, bound, strict=True):
        decorators = getattr(node, "decorator_list", ())
        start = min([node.lineno, *(each.lineno for each in decorators)])
        end = node.end_lineno or start
        numbers = range(start, end + 1)
        code = "\n".join(lines[number - 1] for number in numbers if number not in docstrings)
        effects = _Effects(node)
        bases = node.bases if isinstance(node, ast.ClassDef) else []
        part = Part(
            start,
            end,
            names=tuple(names | (variables & effects.filled)),
            words=" ".join(dict.fromkeys(_WORD.findall(code))),
            is_import=isinstance(node, (ast.Import, ast.ImportFrom)),
            has_sign=not signs.isdisjoint(numbers),
            is_definition=isinstance(node, _DEFINITIONS),
            fills=tuple(known & effects.filled_for_all),
            effects=tuple(known & effects.called),
            bases=tuple(known.intersection(map(_last_name, bases))),
            attributes=tuple(effects.attributes),
        )
        found.append(part)
    return found


def docstrings_of(tree: ast.Module) -> set[int]:
    """Return the numbers of the lines that hold nothing but strings that stand alone."""
    found: set[int] = set()
    others: set[int] = set()
    for node in statements(tree):
        match node:
            case ast.Expr(value=ast.Constant(value=str())):
                found.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
            case ast.stmt(lineno=first, end_lineno=last):
                others |= {first} if hasattr(node, "body") else {first, last or first}
    return found - others


def _bound_by(statement: ast.stmt) -> Iterator[str]:
    """Yield the names that a statement binds in its scope."""
    if isinstance(statement, _DEFINITIONS):
        yield statement.name
    elif isinstance(statement, (ast.Import, ast.ImportFrom)):
        yield from _bound_by_import(statement)
    else:
        waiting: list[ast.AST] = [statement]
        while waiting:
            for node in ast.iter_child_nodes(waiting.pop()):
                if isinstance(node, _DEFINITIONS):
                    yield node.name
                elif isinstance(node, (ast.Import, ast.ImportFrom)):
                    yield from _bound_by_import(node)
                elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    yield node.id
                else:
                    waiting.append(node)


def _bound_by_import(statement: ast.AST) -> Iterator[str]:
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        yield from (each.asname or each.name.partition(".")[0] for each in statement.names)


class _Effects:
    """What a statement of a module changes, by names."""

    def __init__(self, statement: ast.stmt) -> None:
        #: Variables whose attributes or items are set.
        self.filled: set[str] = set()
        #: Those of them that are filled when the module is loaded, or that are registries.
        self.filled_for_all: set[str] = set()
        #: Functions that are called when the module is loaded, and whose result is not kept.
        self.called: set[str] = set()
        self.attributes: set[tuple[str, str]] = set()
        is_definition = isinstance(statement, _DEFINITIONS)
        for node in ast.walk(statement):
            self._add(node, runs_later=is_definition)
        for decorator in getattr(statement, "decorator_list", ()):
            self._add_effect(decorator)

    def _add(self, node: ast.AST, *, runs_later: bool) -> None:
        match node:
            case ast.Attribute(ctx=ast.Store()) | ast.Subscript(ctx=ast.Store()):
                self._fill(node, for_all=True)
            case ast.Call(func=ast.Attribute(attr=method) as at) if method in _PUTTING:
                registers = method in _REGISTERING and len(node.args) > 1
                self._fill(at, for_all=registers or not runs_later)
            case ast.Assign(targets=targets, value=value) if isinstance(value, _OBJECTS):
                for target in targets:
                    self._set(target)
            case ast.AnnAssign(target=target, value=value) if isinstance(value, _OBJECTS):
                self._set(target)
            case ast.Expr(value=ast.Call() as call) if not runs_later:
                self._add_effect(call)
            case ast.Global(names=names):
                self.filled.update(names)

    def _fill(self, at: ast.AST, *, for_all: bool) -> None:
        while isinstance(at, (ast.Attribute, ast.Subscript)):
            at = at.value
        if isinstance(at, ast.Name):
            self.filled.add(at.id)
            if for_all:
                self.filled_for_all.add(at.id)

    def _set(self, target: ast.expr) -> None:
        if isinstance(target, ast.Attribute):
            owner = _last_name(target.value)
            if owner in _SHARED:
                self.attributes.add((owner, target.attr))

    def _add_effect(self, expression: ast.expr) -> None:
        function = expression.func if isinstance(expression, ast.Call) else expression
        if isinstance(function, ast.Name):
            self.called.add(function.id)
        elif isinstance(function, ast.Attribute) and function.attr in _PUTTING:
            self._fill(function, for_all=True)


def _last_name(expression: ast.expr) -> str:
    match expression:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.Subscript(value=value):
            return _last_name(value)
    return ""
