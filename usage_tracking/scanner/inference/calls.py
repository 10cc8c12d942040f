"""What a call returns."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..facts import Expression
from ..program import Program, Ref, last_name, spelled
from ..recorded_urls import reaches
from ..values import (
    NOTHING,
    AIObject,
    Class,
    Function,
    HTTPClient,
    Instance,
    Items,
    Library,
    Method,
    Module,
    Origin,
    Super,
    Text,
    Value,
    Values,
    is_known,
)
from .composites import elements_of
from .conventions import Conventions

if TYPE_CHECKING:
    from ..catalog import Catalog
    from .engine import Inference

#: Parameters of a vector store that take its embedding model.
_EMBEDDINGS = {"embedding", "embeddings", "embedding_function"}
#: Parameters of a client that take the address of its server.
_ADDRESSES = {"base_url", "api_base", "openai_api_base", "server_url", "host"}
#: Functions that return a session of an HTTP library.
_MAKES_SESSION = {"session", "build_opener", "create_scraper"}
#: Builtins whose result counts as their first argument, or as its elements.
_PASSING_BUILTINS = {
    *("next", "iter", "list", "tuple", "set", "reversed", "sorted", "str", "id", "vars"),
}
#: Methods that add steps to a chain.
_EXTENDING = {"pipe", "assign"}
#: Functions of libraries whose result holds what their arguments hold.
_PASSING_FUNCTIONS = {
    *("itertools.cycle", "itertools.chain", "itertools.islice", "collections.deque"),
    *("collections.ChainMap", "collections.OrderedDict", "types.MappingProxyType"),
    *("weakref.ref", "weakref.proxy", "contextvars.copy_context"),
}
#: Functions of libraries that return an element.
_CHOOSING_FUNCTIONS = {"random.choice", "random.SystemRandom.choice", "secrets.choice"}


class Calls:
    """The results of calls."""

    def __init__(self, inference: Inference) -> None:
        self._inference = inference
        self._program: Program = inference.program
        self._catalog: Catalog = inference.catalog
        self.conventions = Conventions(inference)

    def value(self, call: Any, ref: Ref) -> Values:
        """Return what the call expression `call` in the scope `ref` returns."""
        function = call[1]
        if made := self._made_with(call, ref):
            return made
        found: Values = NOTHING
        for value in self._inference.of(function, ref):
            found |= self.result(value, call, ref)
        if not found and function and function[0] in {"name", "attr"}:
            found = self.conventions.result(last_name(function), call, ref)
        return found

    def result(self, value: Value, call: Any, ref: Ref) -> Values:
        """Return what `value` returns when `call` calls it."""
        match value:
            case Library(dotted):
                return self._of_library(dotted, call, ref)
            case AIObject():
                return self._of_ai_object(value, call, ref)
            case HTTPClient(path=()):
                return frozenset([value])
            case Function(function) | Method(function):
                return self._inference.functions.result(function)
            case Class(cls):
                return self._new_object(cls)
            case Instance(cls, is_open):
                methods = self._inference.classes.member(cls, "__call__", is_open=is_open)
                return self._inference.functions.results(methods)
        return NOTHING

    def _of_ai_object(self, value: AIObject, call: Any, ref: Ref) -> Values:
        known = self._catalog.types[value.type_name]
        name = ".".join(value.path)
        if name in _EXTENDING and known.pipes is not None:
            whole = frozenset([AIObject(value.type_name, (), value.origin)])
            added = [self._inference.of(each, ref) for each in _all_arguments(call)]
            return self._inference.composites.chain([whole, *added])
        if name in known.gives:
            needs = self._catalog.types[known.gives[name]].needs
            if needs and not self._is_given(needs, call, ref):
                return NOTHING
            return frozenset([AIObject(known.gives[name], (), value.origin)])
        if name in known.keeps or (name.startswith("from_") and len(value.path) == 1):
            return frozenset([AIObject(value.type_name, (), value.origin)])
        return NOTHING

    def _new_object(self, cls: Ref) -> Values:
        found: Values = frozenset([Instance(cls, is_open=False)])
        # A class whose `__new__` returns a client.
        for each in self._program.methods(cls).get("__new__", ()):
            result = self._inference.functions.result(each)
            found |= frozenset(value for value in result if isinstance(value, AIObject))
        return found

    # Libraries

    def _of_library(self, dotted: str, call: Any, ref: Ref) -> Values:
        if dotted == "builtins.super":
            cls = self._program.class_of(ref)
            return frozenset([Super(cls)]) if cls else NOTHING
        if type_name := self._catalog.type_made_by(dotted):
            needs = self._catalog.types[type_name].needs
            if needs and not self._is_given(needs, call, ref):
                return NOTHING
            made = AIObject(type_name, (), self._origin(type_name, call, ref))
            if self._catalog.types[type_name].gathers:
                return self._gathered(made, call, ref)
            return frozenset([made])
        owner, _, method = dotted.rpartition(".")
        if owner and (of_class := self._of_class_method(owner, method, call, ref)):
            return of_class
        if transport := self._catalog.http_client(dotted):
            return self._of_http_library(dotted, transport, call, ref)
        return self._of_function(dotted, call, ref)

    def _of_function(self, dotted: str, call: Any, ref: Ref) -> Values:
        """Return what a function of a library without AI returns."""
        _, _, arguments, keywords, *_ = call
        owner, _, method = dotted.rpartition(".")
        name = method or dotted
        if dotted in _PASSING_FUNCTIONS or owner == "dependency_injector.providers":
            return self._inference.union(arguments, ref)
        if dotted in _CHOOSING_FUNCTIONS and arguments:
            return elements_of(self._inference.of(arguments[0], ref))
        if owner == "builtins":
            return self._of_builtin(name, call, ref)
        if name == "getenv" or (name == "get" and "environ" in dotted):
            return self.conventions.environment(arguments, keywords, ref)
        if name == "urljoin" and len(arguments) == 2:
            return self._inference.composites.joined(
                (arguments[0], ("text", "/"), arguments[1]), ref
            )
        if name in {"import_module", "import_string"} and arguments:
            return self._imported(name, arguments[0], ref)
        return self.conventions.result(name, call, ref)

    def _imported(self, function: str, argument: Any, ref: Ref) -> Values:
        """Return what Python's `import_module` or Django's `import_string` imports by its name."""
        found: Values = NOTHING
        for text in self._inference.of(argument, ref):
            if not isinstance(text, Text) or "{" in text.text:
                continue
            dotted, _, name = text.text.rpartition(".")
            if function == "import_module":
                path = self._program.resolve(ref[0], text.text)
                found |= {Module(path) if path else Library(text.text)}
            elif path := self._program.resolve(ref[0], dotted):
                found |= self._inference.exported(path, name)
            else:
                found |= {Library(text.text)}
        return found

    def _gathered(self, made: AIObject, call: Any, ref: Ref) -> Values:
        """Return a composition: an object that calls a model if an argument does."""
        types = self._catalog.types
        arguments = [self._inference.of(each, ref) for each in _all_arguments(call)]
        is_model = any(
            isinstance(value, AIObject) and types[value.type_name].pipes
            for value in self._inference.composites.chain(arguments)
        )
        type_name = types[made.type_name].gathers if is_model else made.type_name
        return frozenset([AIObject(type_name, (), made.origin)])

    def _of_class_method(self, owner: str, method: str, call: Any, ref: Ref) -> Values:
        """Return what a method of an AI class itself returns: `Client.from_env()`."""
        type_name = self._catalog.type_made_by(owner)
        if type_name:
            known = self._catalog.types[type_name]
            if method in known.gives:
                return frozenset(
                    [AIObject(known.gives[method], (), self._origin(type_name, call, ref))]
                )
            if method in known.keeps or method.startswith("from_"):
                return frozenset([AIObject(type_name, (), self._origin(type_name, call, ref))])
        return NOTHING

    def _origin(self, type_name: str, call: Any, ref: Ref) -> Origin:
        """Return the origin of a client that a call makes."""
        is_reached = self.is_reached(self._catalog.types[type_name].provider, call, ref)
        return replace(_origin(call, ref), is_reached=is_reached)

    def is_reached(self, provider: str, call: Any, ref: Ref) -> bool | None:
        """Return whether capture records calls to the address in the arguments of a call.

        Without an address, an SDK sends to its provider. None means that the address is unknown.
        """
        tracking = self._catalog.tracking
        given = next((value for name, value in call[3] if name in _ADDRESSES and value), None)
        if given is None or tracking.records_unknown_hosts:
            return True
        # The host of Ollama is known by its port and path.
        path = "/api/chat" if provider == "ollama" else ""
        texts = [each.text for each in self._inference.texts(given, ref) if isinstance(each, Text)]
        found = {reaches(text.rstrip("/") + path, tracking) for text in texts}
        return found.pop() if len(found) == 1 else None

    def _made_with(self, call: Any, ref: Ref) -> Values:
        """Return the client that an argument names: `client("bedrock-runtime")`."""
        _, function, arguments, keywords, *_ = call
        name = last_name(function)
        for methods, values, type_name in self._catalog.made_with:
            if name not in methods:
                continue
            named = [value for keyword, value in keywords if keyword in {"service_name", "service"}]
            for argument in (*arguments[:1], *named):
                if any(
                    isinstance(value, Text) and value.text in values
                    for value in self._inference.of(argument, ref)
                ):
                    return frozenset([AIObject(type_name, (), _origin(call, ref))])
        return NOTHING

    def _is_given(self, type_name: str, call: Any, ref: Ref) -> bool:
        """Return whether an argument is of a type, or is unknown but has a fitting keyword."""
        of = self._inference.of
        for each in _all_arguments(call):
            if any(
                isinstance(value, AIObject)
                and type_name in self._catalog.types[value.type_name].family
                for value in of(each, ref)
            ):
                return True
        return any(
            keyword in _EMBEDDINGS and value and not is_known(of(value, ref))
            for keyword, value in call[3]
        )

    def is_local(self, call: Any, ref: Ref) -> bool:
        """Return whether an argument of a call is a model that runs in the process itself."""
        return any(
            isinstance(value, AIObject) and self._catalog.types[value.type_name].is_local
            for each in _all_arguments(call)
            for value in self._inference.of(each, ref)
        )

    def _of_http_library(self, dotted: str, transport: str, call: Any, ref: Ref) -> Values:
        _, _, arguments, keywords, *_ = call
        leaf = dotted.rpartition(".")[2]
        if leaf.endswith("Request"):
            url = next((value for keyword, value in keywords if keyword == "url"), None)
            return self._inference.texts(arguments[0] if arguments else url, ref)
        if not leaf[0].isupper() and leaf not in _MAKES_SESSION:
            return NOTHING
        bases = [value for keyword, value in keywords if keyword in {"base_url", "host"}]
        if leaf.startswith("HTTP"):
            bases += arguments[:1]
        texts = {
            value.text
            for base in bases
            for value in self._inference.of(base, ref)
            if isinstance(value, Text)
        }
        return frozenset(HTTPClient(transport, text, ()) for text in sorted(texts or {""}))

    # Builtins

    def _of_builtin(self, name: str, call: Any, ref: Ref) -> Values:
        _, _, arguments, keywords, *_ = call
        if name == "dict":
            return self._inference.composites.keyword_table(keywords, ref)
        if name == "getattr" and len(arguments) >= 2:
            return self._of_getattr(arguments, ref)
        if name == "zip":
            iterated = (elements_of(self._inference.of(each, ref)) for each in arguments)
            return _list_of(Items(tuple(iterated)))
        if not arguments:
            return NOTHING
        if name in _PASSING_BUILTINS:
            values = self._inference.of(arguments[0], ref)
            return elements_of(values) if name == "next" else values
        if name in {"min", "max"}:
            values = self._inference.union(arguments, ref)
            return elements_of(values) if len(arguments) == 1 else values
        if name == "type" and len(arguments) == 1:
            values = self._inference.of(arguments[0], ref)
            return frozenset(Class(value.ref) for value in values if isinstance(value, Instance))
        if name == "enumerate":
            inner = elements_of(self._inference.of(arguments[0], ref))
            return _list_of(Items((NOTHING, inner)))
        if name == "__import__":
            values = self._inference.of(arguments[0], ref)
            return frozenset(Library(value.text) for value in values if isinstance(value, Text))
        return NOTHING

    def _of_getattr(self, arguments: Any, ref: Ref) -> Values:
        found: Values = NOTHING
        for value in self._inference.of(arguments[1], ref):
            if isinstance(value, Text) and "{" not in value.text:
                owner = self._inference.of(arguments[0], ref)
                found |= self._inference.attribute_of_any(owner, value.text)
        if len(arguments) > 2 and (default := self._inference.of(arguments[2], ref)):
            known = frozenset(
                value
                for value in found
                if not (isinstance(value, Text) and value.text.startswith("{"))
            )
            return known | default
        return found


def _all_arguments(call: Any) -> tuple[Expression, ...]:
    _, _, arguments, keywords, *_ = call
    return (*arguments, *(value for _, value in keywords))


def _origin(call: Any, ref: Ref) -> Origin:
    _, function, _, _, line, _ = call
    return Origin(f"{spelled(function)}()", ref[0], line)


def _list_of(element: Items) -> Values:
    return frozenset([Items((frozenset([element]),))])
