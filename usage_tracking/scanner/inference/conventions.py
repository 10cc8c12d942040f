"""What a function returns whose code is unknown, judged by its name.

These are heuristics: names that Django sites, async code and AI libraries use in the same way.
They apply only where the code of a function is not part of the scan.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ..facts import Expression
from ..program import Ref, chain, last_name, spelled
from ..values import (
    FUNCTIONS,
    NOTHING,
    AIObject,
    Class,
    Instance,
    Items,
    Library,
    Origin,
    Table,
    Text,
    Values,
    is_known,
    texts_in,
)
from .ai_names import is_ai
from .annotations import BY_NAME
from .composites import elements_of, entries_of

if TYPE_CHECKING:
    from .engine import Inference

#: Function that returns one of its arguments, perhaps wrapped → the argument's index.
_RETURNS_ARGUMENT = {
    **dict.fromkeys(
        (
            *("sync_to_async", "async_to_sync", "database_sync_to_async", "lru_cache", "cache"),
            *("partial", "wraps", "copy", "deepcopy", "wait_for", "run", "run_until_complete"),
            *("ensure_future", "create_task", "shield", "await_sync", "traceable", "observe"),
            *("enter_context", "enter_async_context", "aclosing", "closing", "nullcontext"),
            *("cached", "cached_property", "classproperty", "staticmethod", "classmethod", "op"),
            "dumps",
        ),
        0,
    ),
    "cast": 1,
}
#: Function that calls one of its arguments and returns the result → the argument's index.
_CALLS_ARGUMENT = {
    **dict.fromkeys(
        ("to_thread", "SimpleLazyObject", "LazyObject", "Depends", "lazy", "run_sync"), 0
    ),
    "run_in_executor": 1,
    "get_or_set": 1,
}
#: Keywords that take a function which makes the object.
_FACTORIES = {"default_factory", "factory"}
#: Keywords whose argument the result calls for each request.
_WRAPPED = {"embedding_function"}
#: Functions that read a setting.
_ENVIRONMENT = {"get", "getenv", "env", "config", "str", "url", "get_env", "get_setting"}
#: Functions that return an object of a Django model.
_ROW_GETTERS = {
    *("get", "aget", "first", "afirst", "last", "alast", "latest", "earliest", "create", "acreate"),
    "get_object_or_404",
}
#: Methods that return an entry of a dict.
_ENTRY_GETTERS = {"get", "pop", "setdefault", "__getitem__"}
#: Methods that return an element of a queue, a deque or a context variable.
_ELEMENT_GETTERS = {"get", "get_nowait", "pop", "popleft"}
#: Methods of strings, paths and URLs whose result counts as the string.
_TEXT_METHODS = {
    *("rstrip", "strip", "lstrip", "lower", "replace", "removesuffix", "format", "decode"),
    *("encode", "unicode_string", "format_map"),
}
#: Names of functions that return a client.
_CLIENT_GETTER = re.compile(r"_*(?:get|make|create|build|init|load|new)_(?:async_)?(\w+)$")
#: Names of functions and classes that return an object which others configure.
_MAKER = re.compile(
    r"_*(?:get|make|create|build|init|load|new|open|resolve|for|from|current|default|instance)"
    r"(?:_|$)|_*[A-Z][a-z]|_*[A-Z]+[a-z]"
)
#: The name of a method identifies its class if at most this many classes have it.
_MOST_CLASSES = 2


class Conventions:
    """The results of functions by their names."""

    def __init__(self, inference: Inference) -> None:
        self._inference = inference

    def result(self, name: str, call: Any, ref: Ref) -> Values:
        """Return what `call` of an unknown function `name` in the scope `ref` returns."""
        function, arguments = call[1], call[2]
        is_method = bool(function) and function[0] == "attr"
        receiver = self._inference.of(function[1], ref) if is_method else NOTHING
        is_entry = name in _ENTRY_GETTERS and bool(entries_of(receiver))
        found = None if is_entry else self._of_arguments(name, call, ref)
        if found is not None:
            return found
        if name in _ROW_GETTERS and (rows := self._row(name, function, arguments, ref)):
            return rows
        found = self._of_receiver(name, receiver, arguments, ref)
        if found is not None:
            return found
        if is_method and not is_known(receiver):
            if by_name := self._by_rare_name(name, ref):
                return by_name
            if made := self._made_by_models(name, call, ref):
                return made
        if name[:1].islower() and (wrapped := self._wrapped(call, ref)):
            return wrapped
        return self._named_after(name, call, ref)

    def environment(self, arguments: Any, keywords: Any, ref: Ref) -> Values:
        """Return the default of a setting that is read, or "{NAME}" if it has none.

        Nothing if the first argument is not the name of a setting.
        """
        if not arguments or not arguments[0] or arguments[0][0] != "text":
            return NOTHING
        defaults = [self._inference.of(each, ref) for each in arguments[1:2]]
        defaults += [
            self._inference.of(value, ref) for keyword, value in keywords if keyword == "default"
        ]
        found = frozenset(
            value
            for values in defaults
            for value in values
            if isinstance(value, Text) and value.text
        )
        return found or frozenset([Text(f"{{{arguments[0][1]}}}")])

    def _of_arguments(self, name: str, call: Any, ref: Ref) -> Values | None:
        """Return what a call returns that uses an argument; None for other calls."""
        _, _, arguments, keywords, *_ = call
        if name in _RETURNS_ARGUMENT and len(arguments) > _RETURNS_ARGUMENT[name]:
            passed = self._inference.of(arguments[_RETURNS_ARGUMENT[name]], ref)
            # A method that is passed is a site where it is passed.
            is_request = self._inference.functions.is_request
            return frozenset(value for value in passed if not is_request(value))
        if name in _CALLS_ARGUMENT and len(arguments) > _CALLS_ARGUMENT[name]:
            return self._called(arguments[_CALLS_ARGUMENT[name]], call[1], call, ref)
        for keyword, value in keywords:
            if keyword in _FACTORIES:
                return self._called(value, value, call, ref)
            if keyword == "default" and name in {"Field", "field"}:
                return self._inference.of(value, ref)
        if name in _ENVIRONMENT or name.startswith(("env", "get_env")):
            return self.environment(arguments, keywords, ref) or None
        return None

    def _called(self, function: Expression, shown: Expression, call: Any, ref: Ref) -> Values:
        """Return what `function` returns without arguments; its origin is `shown`."""
        *_, line, end_line = call
        without_arguments = ("call", shown, (), (), line, end_line)
        found: Values = NOTHING
        for value in self._inference.of(function, ref):
            if not isinstance(value, AIObject):
                found |= self._inference.calls.result(value, without_arguments, ref)
        return found

    def _of_receiver(self, name: str, receiver: Values, arguments: Any, ref: Ref) -> Values | None:
        """Return what methods of strings, dicts and chains return; None for other names."""
        if name in _ELEMENT_GETTERS and any(isinstance(value, Items) for value in receiver):
            return NOTHING.union(
                *(elements_of(frozenset([v])) for v in receiver if isinstance(v, Items))
            )
        if name in _ENTRY_GETTERS:
            return entries_of(receiver) | self._inference.union(arguments[1:], ref)
        if name == "values" and (held := entries_of(receiver)):
            return frozenset([Items((held,))])
        if name == "copy" and not arguments:
            return frozenset(value for value in receiver if isinstance(value, (Items, Table)))
        if name == "get_app_config":
            return self._app_config(arguments, ref)
        if name == "items":
            pair = Items((NOTHING, entries_of(receiver)))
            return frozenset([Items((frozenset([pair]),))])
        if name == "format":
            return frozenset(
                Text(re.sub(r"\{[^}]*\}", "{}", value.text))
                for value in receiver
                if isinstance(value, Text)
            )
        if name in _TEXT_METHODS:
            return texts_in(receiver)
        if name == "pipe":
            sides = [self._inference.of(each, ref) for each in arguments]
            return self._inference.composites.chain([receiver, *sides])
        return None

    def _app_config(self, arguments: Any, ref: Ref) -> Values:
        """Return the configuration of a Django app, by its label."""
        program, found = self._inference.program, []
        labels = self._inference.union(arguments[:1], ref)
        for cls in program.classes_by_base_name.get("AppConfig", ()):
            for field in ("label", "name"):
                for text in texts_in(self._inference.classes.member(cls, field, is_open=False)):
                    if isinstance(text, Text) and Text(text.text.rpartition(".")[2]) in labels:
                        found.append(Instance(cls, is_open=False))
        return frozenset(found)

    def _wrapped(self, call: Any, ref: Ref) -> Values:
        """Return the AI object that a call wraps: `instructor.from_openai(client)`."""
        _, _, arguments, keywords, *_ = call
        given = [value for keyword, value in keywords if keyword in _WRAPPED]
        return frozenset(
            value
            for each in (*arguments[:1], *given)
            for value in self._inference.of(each, ref)
            if isinstance(value, AIObject) and not value.path
        )

    def _by_rare_name(self, name: str, ref: Ref) -> Values:
        """Return the result of a method whose name only one or two classes of the project have."""
        program = self._inference.program
        is_one = self._inference.import_groups.is_one
        methods = [
            each for each in program.functions_named.get(name, ()) if is_one(each[0], ref[0])
        ]
        found: Values = NOTHING
        for method in methods if len(methods) <= _MOST_CLASSES else ():
            if program.is_method(method):
                result = self._inference.functions.result(method)
                found |= frozenset(v for v in result if isinstance(v, (AIObject, Instance)))
        return found

    def _made_by_models(self, name: str, call: Any, ref: Ref) -> Values:
        """Return what a method returns that almost only models and indexes have."""
        types = self._inference.catalog.types
        made = types["unknown.client"].gives.get(name)
        if not made or self._inference.program.functions_named.get(name):
            return NOTHING
        return frozenset([AIObject(made, (), Origin(f"{spelled(call[1])}()", ref[0], call[4]))])

    def _row(self, name: str, function: Any, arguments: Any, ref: Ref) -> Values:
        """Return a Django object: `Model.objects.get(...)`, `get_object_or_404(Model, ...)`."""
        model: Expression = None
        if name == "get_object_or_404" and arguments:
            model = arguments[0]
        elif function[0] == "attr":
            # Skip the filters between the manager and the getter.
            at = function[1]
            while at and at[0] in {"call", "attr"} and not (at[0] == "attr" and at[2] == "objects"):
                at = at[1]
            model = at[1] if at and at[0] == "attr" else None
        return frozenset(
            Instance(value.ref, is_open=True)
            for value in self._inference.of(model, ref)
            if isinstance(value, Class)
        )

    def _named_after(self, name: str, call: Any, ref: Ref) -> Values:
        """Return what `get_llm()` returns, judged by names alone."""
        catalog = self._inference.catalog
        origin = Origin(f"{BY_NAME} {name}()", ref[0], call[4])
        match = _CLIENT_GETTER.match(name)
        types = catalog.types_named(match[1]) if match else ()
        if not types and is_ai(name):
            types = catalog.types_named(name)
        if not (types and is_ai(name)) and self._makes_client(name, call, ref):
            types = (*types, catalog.types["unknown.client"])
        return frozenset(AIObject(each.name, (), origin) for each in types)

    def _makes_client(self, name: str, call: Any, ref: Ref) -> bool:
        """Return whether the name, package or an argument of a function says that it makes one."""
        if not _MAKER.match(name):
            return False
        function = call[1]
        if self._is_of_project(function, ref):
            return False
        libraries = [v for v in self._inference.of(function, ref) if isinstance(v, Library)]
        if any(self._inference.catalog.is_about_ai(value.dotted) for value in libraries):
            return False  # the catalog knows what its functions make
        named = [".".join(chain(function)), *(value.dotted for value in libraries)]
        if any(map(is_ai, named)):
            return True
        return any(is_ai(last_name(argument)) for argument in call[2][:1])

    def _is_of_project(self, function: Expression, ref: Ref) -> bool:
        """Return whether the code of a function is in the scan, even if it has not been read."""
        program = self._inference.program
        if any(isinstance(v, (*FUNCTIONS, Class)) for v in self._inference.of(function, ref)):
            return True
        while function and function[0] == "attr":
            function = function[1]
        at: Ref | None = ref
        while at is not None and function and function[0] == "name":
            for binding in program.scope(at).bindings.get(function[1], ()):
                match binding.value:
                    case ("from", dotted, level, name):
                        inner = f"{dotted}.{name}" if dotted else name
                        if program.resolve(ref[0], dotted, level) or program.resolve(
                            ref[0], inner, level
                        ):
                            return True
                    case ("import", dotted):
                        if program.resolve(ref[0], dotted):
                            return True
            at = program.parent(at)
        return False
