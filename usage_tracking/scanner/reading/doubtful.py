"""Signs that code without AI has too, and how they are used.

`"messages"` is a key of the body of a request to a model, and a variable of a template. In a file
without any other sign, such a word counts only if the code is about to ask: it hands a body or a
setting to a call, or uses an object that is named after embeddings.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from enum import Enum

from ..inference.ai_names import is_role, words

#: Settings of a request: they are handed to a call.
SETTINGS = frozenset({"max_tokens", "max_new_tokens", "n_predict", "system_prompt"})
#: Keys of the body of a request.
KEYS = frozenset({"documents", "inputs", "instances", "messages", "prompt", "text_input"})
#: Words of mathematics, linguistics and linking, too.
WORDS = frozenset({"embedding"})
#: What shows a dict to people or to the caller of a view.
_SHOWING = {
    *("render", "render_to_string", "render_to_response", "TemplateResponse", "JsonResponse"),
    *("HttpResponse", "Response", "ORJSONResponse", "JSONResponse", "Context", "RequestContext"),
    *("get_context_data", "log", "debug", "info", "warning", "error", "exception", "print"),
}
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


class Use(Enum):
    """How a file uses words that may be signs."""

    #: It hands a body or a setting to a call, or uses what is named after embeddings.
    ASKS = "asks"
    #: It builds what may be a body, and hands it to no call.
    BUILDS = "builds"
    OTHER = "other"


def use_in(tree: ast.Module) -> Use:
    """Return how the code of a file uses words that may be signs."""
    nodes = list(ast.walk(tree))
    if any(_is_of_embedding(node) or _passes_setting(node) for node in nodes):
        return Use.ASKS
    # Nothing asks a model while a module is loaded.
    run_later = [
        inner for node in nodes if isinstance(node, _FUNCTIONS) for inner in ast.walk(node)
    ]
    calls = [node for node in run_later if isinstance(node, ast.Call)]
    holders = {node: set(_holders_of_body(node)) for node in nodes}
    named = set().union(*holders.values())
    for call in calls:
        if not _shows(call) and (any(map(_has_body, _arguments(call))) or named & _passed(call)):
            return Use.ASKS
    shown = set().union(*(_passed(call) for call in calls if _shows(call)))
    others = [node for node in nodes if _shows(node) or holders[node] & shown]
    others += [node for node in tree.body if _is_table(node)]
    excluded = {inner for node in others for inner in ast.walk(node)}
    return Use.BUILDS if any(map(_is_body, set(nodes) - excluded)) else Use.OTHER


def _is_of_embedding(node: ast.AST) -> bool:
    """Return whether code imports, subclasses or calls what is named after embeddings."""
    names: Iterable[str] = ()
    match node:
        case ast.Call(func=ast.Attribute(value=value)):
            names = _dotted(value)
        case ast.Call(func=ast.Name(id=name)) if words(name)[-1:] == ["embeddings"]:
            return True
        case ast.ClassDef(bases=bases):
            names = (name for base in bases for name in _dotted(base))
        case ast.ImportFrom(module=module, names=imported):
            names = (module or "", *(each.name for each in imported))
        case ast.Import(names=imported):
            names = (each.name for each in imported)
    return any(word.removesuffix("s") in WORDS for name in names for word in words(name))


def _dotted(expression: ast.expr) -> Iterator[str]:
    while isinstance(expression, ast.Attribute):
        yield expression.attr
        expression = expression.value
    if isinstance(expression, ast.Name):
        yield expression.id


def _passes_setting(node: ast.AST) -> bool:
    """Return whether a call gets a setting of a request, or hands one on to what may be a model."""
    if not isinstance(node, ast.Call):
        return False
    function = node.func
    may_be_model = isinstance(function, ast.Attribute) and is_role(_name(function.value))
    return any(
        keyword.arg in SETTINGS and (may_be_model or _name(keyword.value) != keyword.arg)
        for keyword in node.keywords
    )


def _holders_of_body(node: ast.AST) -> Iterator[str]:
    """Yield the variables and attributes that a statement gives a body."""
    match node:
        case ast.Assign(targets=targets, value=value):
            for target in targets:
                if isinstance(target, ast.Subscript):
                    if _is_body(target):
                        yield _name(target.value)
                elif _has_body(value):
                    yield _name(target)
        case ast.AnnAssign(target=target, value=ast.expr() as value) if _has_body(value):
            yield _name(target)


def _name(expression: ast.expr) -> str:
    match expression:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def _passed(call: ast.Call) -> set[str]:
    """Return the variables and attributes that a call gets."""
    nodes = (node for argument in _arguments(call) for node in ast.walk(argument))
    return {_name(node) for node in nodes if isinstance(node, (ast.Name, ast.Attribute))}


def _arguments(call: ast.Call) -> Iterator[ast.expr]:
    yield from call.args
    yield from (each.value for each in call.keywords)


def _has_body(expression: ast.expr) -> bool:
    """Return whether an expression holds what may be a body, outside what it calls or defines."""
    waiting: list[ast.AST] = [expression]
    while waiting:
        node = waiting.pop()
        if _is_body(node):
            return True
        if not isinstance(node, (ast.Call, ast.Lambda)):
            waiting += ast.iter_child_nodes(node)
    return False


def _is_body(node: ast.AST) -> bool:
    """Return whether a node is a dict with a key of a body, or sets such a key."""
    match node:
        case ast.Dict(keys=keys):
            return any(isinstance(key, ast.Constant) and key.value in KEYS for key in keys)
        case ast.Subscript(ctx=ast.Store(), slice=ast.Constant(value=key)):
            return key in KEYS
    return False


def _is_table(node: ast.AST) -> bool:
    """Return whether a statement of a module defines styles, validators or the like by name."""
    value = node.value if isinstance(node, (ast.Assign, ast.AnnAssign)) else None
    return isinstance(value, ast.Dict) and any(
        isinstance(each, (ast.Call, ast.Lambda)) for each in value.values
    )


def _shows(node: ast.AST) -> bool:
    """Return whether a call shows its arguments to people."""
    match node:
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
            return name in _SHOWING
    return False
