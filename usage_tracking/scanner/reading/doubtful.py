"""Signs that code without AI has too, and how they are used.

`"messages"` is a key of the body of a request to a model, and a variable of a template. In a file
without any other sign, such a word counts if the code is about to ask: it hands a body or a setting
to a call, or uses an object that is named after embeddings. Code that only builds what may be a
body counts near code that sends requests, which `relevance` knows.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from enum import Enum

from ..inference.ai_names import is_role, words

#: Keys of the body of a request.
KEYS = frozenset({"documents", "inputs", "instances", "messages", "prompt", "text_input"})
#: Settings of a request: keys of its body, or keywords of a call.
SETTINGS = frozenset({"max_tokens", "max_new_tokens", "n_predict", "system_prompt"})
#: Words of mathematics, linguistics and linking, too.
WORDS = frozenset({"embedding"})
#: The first words of functions that compute them.
_COMPUTING = {
    *("build", "calculate", "compute", "create", "document", "encode", "fetch", "generate", "get"),
    *("load", "make", "query", "request", "text", "to", "update"),
}
#: Values of `"prompt"` in a request for a login with OAuth.
_OAUTH = {"consent", "login", "none", "select_account"}
#: Libraries of which a function or class may show a dict to people.
_WEB = {
    *("django", "rest_framework", "ninja", "fastapi", "starlette", "litestar", "flask", "quart"),
    *("sanic", "aiohttp", "jinja2"),
}
#: Such functions, classes and methods.
_SHOWING = {
    *("render", "render_to_string", "render_to_response", "TemplateResponse", "JsonResponse"),
    *("HttpResponse", "Response", "ORJSONResponse", "JSONResponse", "Context", "RequestContext"),
    "get_context_data",
}
#: What may have them as methods.
_SHOWERS = {"self", "shortcuts", "super", "template", "templates"}
#: Methods by which a consumer of Channels answers.
_ANSWERING = {"group_send", "send", "send_json"}
_ANSWERERS = {"channel_layer", "self", "super"}
_LOGGING = {"critical", "debug", "error", "exception", "info", "log", "warning"}
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


class Use(Enum):
    """How a file uses words that may be signs."""

    #: It hands a body or a setting to a call, or uses what is named after embeddings.
    ASKS = "asks"
    #: It builds what may be a body, or makes something that is named after embeddings.
    BUILDS = "builds"
    OTHER = "other"


def use_in(tree: ast.Module) -> Use:
    """Return how the code of a file uses words that may be signs."""
    return _Reading(tree).use()


class _Reading:
    def __init__(self, tree: ast.Module) -> None:
        self._tree = tree
        self._nodes = list(ast.walk(tree))
        self._functions = [node for node in self._nodes if isinstance(node, _FUNCTIONS)]
        #: Names that are imported from web frameworks.
        self._of_web = {
            alias.asname or alias.name
            for node in self._nodes
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in _WEB
            for alias in node.names
        }
        self._answers = any(
            _name(base).endswith("Consumer")
            for node in self._nodes
            if isinstance(node, ast.ClassDef)
            for base in node.bases
        )

    def use(self) -> Use:
        if any(_is_of_embedding(node) or _passes_setting(node) for node in self._nodes):
            return Use.ASKS
        bodies = set().union(*map(_holders_of_body, self._nodes))
        # Nothing asks a model while a module is loaded.
        for function in self._functions:
            for node in ast.walk(function):
                if isinstance(node, ast.Call) and not self._shows(node) and not _encodes(node):
                    arguments = list(_arguments(node))
                    if any(map(_has_body, arguments)) or bodies & _named_in(arguments):
                        return Use.ASKS
        rest = set(self._nodes).difference(self._shown(), _tables(self._tree))
        if any(_is_body(node) or _makes_embedding(node) for node in rest):
            return Use.BUILDS
        return Use.OTHER

    def _shown(self) -> Iterator[ast.AST]:
        """Yield what is shown: arguments, and what variables hold that are arguments."""
        for node in self._nodes:
            if isinstance(node, ast.Call) and self._shows(node):
                for argument in _arguments(node):
                    yield from _outside_calls(argument)
        for function in self._functions:
            inner = list(ast.walk(function))
            shown = {
                name
                for node in inner
                if isinstance(node, ast.Call) and self._shows(node) and not _logs(node)
                for name in _named_in(_arguments(node))
            }
            for node in inner:
                if not shown.isdisjoint(_holders_of_body(node)):
                    yield from _outside_calls(node)

    def _shows(self, call: ast.Call) -> bool:
        """Return whether a call shows its arguments to people, and asks no model."""
        match call.func:
            case ast.Name(id=name):
                is_form = name.endswith(("Serializer", "Form"))
                return (name in _SHOWING and name in self._of_web) or is_form or _logs(call)
            case ast.Attribute(attr=name, value=receiver):
                owner = _name(receiver.func if isinstance(receiver, ast.Call) else receiver)
                return (
                    (name in _SHOWING and owner in _SHOWERS)
                    or (self._answers and name in _ANSWERING and owner in _ANSWERERS)
                    or (name.startswith("assert") and owner == "self")
                    or _logs(call)
                )
        return False


def _logs(call: ast.Call) -> bool:
    match call.func:
        case ast.Name(id="print"):
            return True
        case ast.Attribute(attr=name, value=receiver):
            return name in _LOGGING and "log" in _name(receiver).lower()
    return False


def _encodes(call: ast.Call) -> bool:
    """Return whether a call turns a body into text, which is sent or shown elsewhere."""
    return _name(call.func) in {"dumps", "urlencode"}


def _is_of_embedding(node: ast.AST) -> bool:
    """Return whether code imports, subclasses or calls what is named after embeddings."""
    match node:
        case ast.Call(func=ast.Attribute(value=value)):
            return _names_embedding(*_dotted(value))
        case ast.Call(func=ast.Name(id=name)):
            return words(name)[-1:] == ["embeddings"]
        case ast.ClassDef(bases=bases):
            return _names_embedding(*(name for base in bases for name in _dotted(base)))
        case ast.ImportFrom(module=module, names=imported):
            return _names_embedding(module or "", *(each.name for each in imported))
        case ast.Import(names=imported):
            return _names_embedding(*(each.name for each in imported))
    return False


def _makes_embedding(node: ast.AST) -> bool:
    """Return whether code defines or calls what computes embeddings, or keeps them."""
    match node:
        case ast.ClassDef(name=name):
            return _names_embedding(name)
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            return _computes_embedding(name)
        case ast.Call(func=function, keywords=keywords):
            kept = (each.arg for each in keywords if not isinstance(each.value, ast.Constant))
            return _computes_embedding(_name(function)) or _names_embedding(*filter(None, kept))
        case ast.Assign(targets=[ast.Attribute(attr=name, value=owner)], value=ast.Name()):
            return _name(owner) != "self" and _names_embedding(name)
        case ast.Assign(targets=targets, value=value):
            return _is_computed(value) and _names_embedding(*_named_in(targets))
        case ast.For(target=target, iter=value) | ast.comprehension(target=target, iter=value):
            return _is_computed(value) and _names_embedding(*_named_in([target]))
    return False


def _computes_embedding(name: str) -> bool:
    """Return whether a function may compute embeddings: `get_embedding`, `embeddings_of`."""
    match words(name):
        case [word, *others] if _names_embedding(word):
            return not others or others[0] in {"by", "for", "from", "of"}
        case [verb, *_, word]:
            return verb in _COMPUTING and _names_embedding(word)
    return False


def _is_computed(value: ast.expr) -> bool:
    """Return whether a value comes from a call or container, and defines no field of a model."""
    calls = [node for node in ast.walk(value) if isinstance(node, ast.Call)]
    is_field = any(_name(call.func).endswith("Field") for call in calls)
    return not is_field and (bool(calls) or isinstance(value, ast.Subscript))


def _names_embedding(*names: str) -> bool:
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


def _holders_of_body(node: ast.AST) -> set[str]:
    """Return the variables and attributes that a statement gives a body."""
    match node:
        case ast.Assign(targets=targets, value=value):
            pass
        case ast.AnnAssign(target=target, value=ast.expr() as value):
            targets = [target]
        case ast.AugAssign(target=target, value=value) | ast.NamedExpr(target=target, value=value):
            targets = [target]
        case _:
            return set()
    if _has_body(value):
        nodes = (node for target in targets for node in ast.walk(target))
        return {_name(node) for node in nodes if isinstance(getattr(node, "ctx", None), ast.Store)}
    return {
        _name(each.value) for each in targets if isinstance(each, ast.Subscript) and _is_body(each)
    }


def _name(expression: ast.AST) -> str:
    match expression:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def _named_in(expressions: Iterable[ast.expr]) -> set[str]:
    """Return the variables and attributes in expressions."""
    nodes = (node for expression in expressions for node in ast.walk(expression))
    return {_name(node) for node in nodes if isinstance(node, (ast.Name, ast.Attribute))}


def _arguments(call: ast.Call) -> Iterator[ast.expr]:
    yield from call.args
    yield from (each.value for each in call.keywords)


def _has_body(expression: ast.expr) -> bool:
    return any(map(_is_body, _outside_calls(expression)))


def _outside_calls(node: ast.AST) -> Iterator[ast.AST]:
    """Yield a node and what is in it, outside of what it calls or defines."""
    waiting: list[ast.AST] = [node]
    while waiting:
        inner = waiting.pop()
        yield inner
        is_call = isinstance(inner, ast.Call) and not _encodes(inner)
        if not is_call and not isinstance(inner, ast.Lambda):
            waiting += ast.iter_child_nodes(inner)


def _is_body(node: ast.AST) -> bool:
    """Return whether a node is a dict with a key of a body, or sets such a key."""
    match node:
        case ast.Dict(keys=keys, values=values):
            return any(
                _is_key(key) and not (isinstance(value, ast.Constant) and value.value in _OAUTH)
                for key, value in zip(keys, values, strict=True)
            )
        case ast.Subscript(ctx=ast.Store(), slice=key):
            return _is_key(key)
    return False


def _is_key(key: ast.expr | None) -> bool:
    return isinstance(key, ast.Constant) and (key.value in KEYS or key.value in SETTINGS)


def _tables(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield the dicts of a module that hold styles, validators or the like by name."""
    for node in tree.body:
        value = node.value if isinstance(node, (ast.Assign, ast.AnnAssign)) else None
        if isinstance(value, ast.Dict) and all(
            isinstance(each, (ast.Call, ast.Lambda))
            for key, each in zip(value.keys, value.values, strict=True)
            if _is_key(key)
        ):
            yield value
