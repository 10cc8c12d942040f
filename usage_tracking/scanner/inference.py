"""What an expression may be: an AI client, a function of the project, a URL, or nothing known.

Values are sets of tuples:

    ("lib", dotted)                      something of a library
    ("ai", type, path, origin)           an object of an AI library, or an attribute path of it
    ("http", transport, base, path)      something that sends HTTP
    ("module", file)  ("class", ref)  ("object", ref, open)  ("function", ref)  ("method", ref)
    ("super", ref)                       `super()` in a class
    ("text", string)                     "{}" stands for what is not known of it
    ("items", values…)  ("table", pairs…)

They are worked out on demand, and again until nothing changes: functions may call each other.
`origin` is (text, file, line) of where an AI object was made.
"""

from __future__ import annotations

import re
from typing import Any

from .catalog import Catalog
from .facts import CLASS, FUNCTION, LAMBDA, Binding, Expression, Scope
from .program import Program, Ref, last_name, spelled

Values = frozenset[tuple[Any, ...]]
NOTHING: Values = frozenset()

_MOST_VALUES = 24
_MOST_ELEMENTS = 60
_FEW = 2
_MOST_CALLERS = 80
_LONGEST_HELD = 300
_MOST_DEFAULTS = 4
_DEEPEST = 160
_ROUNDS = 3
_NO_CUT = 1 << 30

#: Attributes of a client that change how it answers, not what it asks.
_TRANSPARENT = {"with_raw_response", "with_streaming_response"}

#: Functions that hand on what they are given: number of the argument.
_HANDS_ON = {
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
#: Functions that call what they are given and give its result.
_CALLS_IT = {
    **dict.fromkeys(
        ("to_thread", "SimpleLazyObject", "LazyObject", "Depends", "lazy", "run_sync"), 0
    ),
    "run_in_executor": 1,
    "get_or_set": 1,
}
#: What the embedding model of a vector store is called among its arguments.
_EMBEDDINGS = {"embedding", "embeddings", "embedding_function"}
_FACTORIES = {"default_factory", "factory"}
_PROPERTIES = {"property", "cached_property", "classproperty", "hybrid_property", "lazy_property"}
_TEXT_METHODS = {
    "rstrip",
    "strip",
    "lstrip",
    "lower",
    "replace",
    "removesuffix",
    "format",
    "decode",
    "encode",
    "unicode_string",
    "format_map",
}
#: How a row of a table becomes an object.
_ROW_GETTERS = {
    *("get", "aget", "first", "afirst", "last", "alast", "latest", "earliest", "create", "acreate"),
    "get_object_or_404",
}
#: How functions that give a client are called.
_GIVES = re.compile(r"_*(?:get|make|create|build|init|load|new)_(?:async_)?(\w+)$")
#: What an origin begins with that is told by a name alone.
BY_NAME = "the name"
_ENVIRONMENT = {"get", "getenv", "env", "config", "str", "url", "get_env", "get_setting"}


class Inference:
    """The values of expressions of a program."""

    def __init__(self, program: Program, catalog: Catalog) -> None:
        self.program = program
        self.catalog = catalog
        #: Worked out for good.
        self._settled: dict[Any, Values] = {}
        #: Worked out while something that it depends on was not: of this round and the last.
        self._open: dict[Any, Values] = {}
        self._before: dict[Any, Values] = {}
        #: What is being worked out → how deep it stands.
        self._active: dict[Any, int] = {}
        #: The least deep of what had to be taken as it was before.
        self._cut = _NO_CUT
        #: File → a fault of ours that its code has brought out.
        self.faults: dict[str, str] = {}
        self._mro: dict[Ref, list[Ref]] = {}
        self._descendants: dict[Ref, list[Ref]] = {}
        self._settings = [
            path for path in program.files if re.search(r"(^|[/\\])(settings|config)", path)
        ]

    def settle(self, wanted: list[tuple[Expression, Ref]]) -> None:
        """Works out `wanted` until nothing changes any more."""
        for _ in range(_ROUNDS):
            for expression, ref in wanted:
                try:
                    self.of(expression, ref)
                except Exception as error:  # noqa: BLE001 -- told in the report
                    self.faults[ref[0]] = f"{type(error).__name__}: {error}"
            if self._open == self._before:
                break
            self._before, self._open = self._open, {}
        self._settled |= self._open or self._before

    # Expressions

    def of(self, expression: Expression, ref: Ref) -> Values:
        """What `expression`, which stands in the scope `ref`, may be."""
        if expression is None:
            return NOTHING
        if expression[0] == "text":
            return frozenset([expression])
        return self._once(id(expression), self._evaluate, expression, ref)

    def _once(self, key: Any, function: Any, *arguments: Any) -> Values:
        """`function(*arguments)`, remembered; what it gave before where it needs itself."""
        if key in self._settled:
            return self._settled[key]
        if key in self._open:
            self._cut = 0
            return self._open[key]
        depth = len(self._active)
        if key in self._active or depth > _DEEPEST:
            self._cut = min(self._cut, self._active.get(key, 0))
            return self._before.get(key, NOTHING)
        self._active[key] = depth
        cut, self._cut = self._cut, _NO_CUT
        try:
            found: Values = function(*arguments)
        finally:
            del self._active[key]
        if len(found) > _MOST_VALUES:
            # What may be an AI object is worth more than texts.
            found = frozenset(sorted(found, key=order)[:_MOST_VALUES])
        if self._cut >= depth:
            self._settled[key] = found
            self._cut = cut
        else:
            self._open[key] = found
            self._cut = min(cut, self._cut)
        return found

    def _evaluate(self, expression: Any, ref: Ref) -> Values:
        match expression[0]:
            case "name":
                return self.name(expression[1], expression[2], ref)
            case "attr":
                found = self._attribute_of(self.of(expression[1], ref), expression[2])
                if expression[2].isupper() and all(value[0] == "lib" for value in found):
                    return found | self._constant(expression[2])
                return found
            case "call":
                return self._call(expression, ref)
            case "any":
                return self._union(expression[1], ref)
            case "join":
                return self._join(expression[1], ref)
            case "items":
                elements = [_flat(self.of(each, ref)) for each in expression[1][:_MOST_ELEMENTS]]
                return frozenset([("items", *elements)])
            case "table":
                pairs = [
                    (self.texts(key, ref), _flat(self.of(value, ref)))
                    for key, value in expression[1][:_MOST_ELEMENTS]
                ]
                return frozenset([("table", *pairs)])
            case "index":
                return self._index(expression, ref)
            case "pipe":
                return self._pipe(expression, ref)
            case "element":
                return self._elements(self.of(expression[1], ref))
            case "entered":
                return self._entered(self.of(expression[1], ref))
            case "scope":
                scope = self.program.files[ref[0]].scopes[expression[1]]
                kind = "class" if scope.kind == CLASS else "function"
                return frozenset([(kind, (ref[0], expression[1]))])
            case "import":
                path = self.program.resolve(ref[0], expression[1])
                return frozenset([("module", path) if path else ("lib", expression[1])])
            case "from":
                return self._imported(expression, ref)
            case "typed":
                return self.instance(expression[1], ref)
        return NOTHING

    def _union(self, options: Any, ref: Ref) -> Values:
        found: Values = NOTHING
        for option in options:
            found |= self.of(option, ref)
        return found

    # Names

    def name(self, name: str, position: int, ref: Ref) -> Values:
        at: Ref | None = ref
        while at is not None:
            scope = self.program.scope(at)
            if scope.kind != CLASS or at == ref:
                parameter = next((p for p in scope.parameters if p.name == name), None)
                bindings = scope.bindings.get(name)
                if bindings or parameter:
                    found, is_settled = self._bound(
                        bindings or [], position if at == ref else 0, at
                    )
                    if parameter and not is_settled:
                        found |= self.parameter(at, name)
                    return found
            at = self.program.parent(at)
        source = self.program.files[ref[0]]
        for dotted, level in source.star_imports:
            path = self.program.resolve(ref[0], dotted, level)
            if path is None:
                if dotted and self.catalog.is_about_ai(dotted):
                    return frozenset([("lib", f"{dotted}.{name}")])
            elif path != ref[0] and (found := self.exported(path, name)):
                return found
        return frozenset([("lib", f"builtins.{name}")])

    def _bound(self, bindings: list[Binding], position: int, at: Ref) -> tuple[Values, bool]:
        """What is bound before `position` (anywhere if it is 0), and whether that is all."""
        if position:
            before = [each for each in bindings if each.position <= position]
            # In a loop what stands below has been bound too.
            relevant = before or bindings
        else:
            relevant = bindings
        found: Values = NOTHING
        for binding in sorted(relevant, key=lambda each: each.position, reverse=True):
            found |= self.of(binding.value, (at[0], binding.scope))
            if position and binding.always and binding.position <= position:
                return found, True
        return found, False

    def exported(self, path: str, name: str) -> Values:
        """What `name` is in the module of a file."""
        return self._once(("export", path, name), self._exported, path, name)

    def _exported(self, path: str, name: str) -> Values:
        source = self.program.files.get(path)
        if source is None:
            return NOTHING
        if source.scopes:
            bindings = source.scopes[0].bindings.get(name)
            if bindings:
                found, _ = self._bound(bindings, 0, (path, 0))
                if found:
                    return found
            for dotted, level in source.star_imports:
                inner = self.program.resolve(path, dotted, level)
                if inner and inner != path and (found := self.exported(inner, name)):
                    return found
            # `def __getattr__` of a lazy package is not followed.
        submodule = self.program.submodule(path, name)
        return frozenset([("module", submodule)]) if submodule else NOTHING

    def _imported(self, expression: Any, ref: Ref) -> Values:
        _, dotted, level, name = expression
        path = self.program.resolve(ref[0], dotted, level)
        if path is not None:
            if path == ref[0]:
                inner = self.program.submodule(path, name)
                return frozenset([("module", inner)]) if inner else NOTHING
            return self.exported(path, name)
        inner = self.program.resolve(ref[0], f"{dotted}.{name}" if dotted else name, level)
        if inner is not None:
            return frozenset([("module", inner)])
        return NOTHING if level else frozenset([("lib", f"{dotted}.{name}")])

    # Attributes

    def _attribute_of(self, values: Values, name: str) -> Values:
        found: Values = NOTHING
        for value in values:
            found |= self._attribute(value, name)
        return found

    def _attribute(self, value: tuple[Any, ...], name: str) -> Values:
        match value[0]:
            case "lib":
                if value[1] == "django.conf.settings":
                    return self._setting(name)
                return frozenset([("lib", f"{value[1]}.{name}")])
            case "ai":
                _, type_name, path, origin = value
                if name in _TRANSPARENT:
                    return frozenset([value])
                if not path and name in self.catalog.types[type_name].attributes:
                    inner = self.catalog.types[type_name].attributes[name]
                    return frozenset([("ai", inner, (), origin)])
                return frozenset([("ai", type_name, (*path, name)[-6:], origin)])
            case "http":
                return frozenset([("http", value[1], value[2], (*value[3], name))])
            case "module":
                return self.exported(value[1], name)
            case "class":
                return self.member(value[1], name, is_open=False)
            case "object":
                return self.member(value[1], name, is_open=value[2])
            case "super":
                return self._inherited(value[1], name)
            case "table" | "items" | "text":
                return frozenset([("lib", f"builtins.{value[0]}.{name}")])
        return NOTHING

    def member(self, cls: Ref, name: str, *, is_open: bool) -> Values:
        """An attribute of a class or of its objects; `is_open`: they may be of a subclass."""
        return self._once(("member", cls, name, is_open), self._member, cls, name, is_open)

    def _member(self, cls: Ref, name: str, is_open: bool) -> Values:  # noqa: FBT001
        found: Values = NOTHING
        for each in self.ancestry(cls):
            found |= self._own_member(each, name)
            if found:
                break
        if not any(value[0] == "method" for value in found):
            # Not there, or set over what the library has, as a fake in some cases is.
            found |= self._of_library_bases(cls, name)
        if is_open or not found:
            for each in self.descendants(cls):
                found |= self._own_member(each, name)
        if not found:
            found = self._set_from_outside(cls, name)
        if not found and not name.startswith("__"):
            found = self._delegated(cls, name)
        return found

    def _delegated(self, cls: Ref, name: str) -> Values:
        """Of a proxy, whose `__getattr__` asks what it stands for."""
        found: Values = NOTHING
        for each in self.ancestry(cls):
            for method in self.program.methods(each).get("__getattr__", ()):
                asked = {parameter.name for parameter in self.program.scope(method).parameters[1:]}
                for call in self.program.scope(method).calls:
                    _, function, arguments, *_ = call.expression
                    if (
                        last_name(function) == "getattr"
                        and last_name(arguments[1:2] and arguments[1]) in asked
                    ):
                        found |= self._attribute_of(self.of(arguments[0], method), name)
        return found

    def _inherited(self, cls: Ref, name: str) -> Values:
        for each in self.ancestry(cls)[1:]:
            if found := self._own_member(each, name):
                return found
        return self._of_library_bases(cls, name)

    def _own_member(self, cls: Ref, name: str) -> Values:
        return self._once(("own", cls, name), self._find_own_member, cls, name)

    def _find_own_member(self, cls: Ref, name: str) -> Values:
        found: Values = NOTHING
        scope = self.program.scope(cls)
        for binding in scope.bindings.get(name, ()):
            value = binding.value
            if value and value[0] == "scope":
                inner = (cls[0], value[1])
                function = self.program.scope(inner)
                if function.kind == FUNCTION:
                    if _is_property(function):
                        found |= self.result(inner)
                    else:
                        found |= {("method", inner)}
                    continue
            found |= self.of(value, cls)
        for ref, number in self.program.set_attributes.get(name, ()):
            if ref[0] == cls[0] and self.program.class_of(ref) == cls:
                owner, _, value = self.program.scope(ref).attributes[number]
                if owner and owner[0] == "name" and self._is_self(owner[1], ref):
                    found |= self.of(value, ref)
        return found

    def _is_self(self, name: str, ref: Ref) -> bool:
        if name in {"self", "cls"}:
            return True
        scope = self.program.scope(ref)
        return bool(scope.parameters) and scope.parameters[0].name == name

    def _set_from_outside(self, cls: Ref, name: str) -> Values:
        found: Values = NOTHING
        family = {cls, *self.ancestry(cls)}
        for ref, number in self.program.set_attributes.get(name, ())[:_MOST_CALLERS]:
            owner, _, value = self.program.scope(ref).attributes[number]
            if any(
                each[0] in {"object", "class"} and each[1] in family for each in self.of(owner, ref)
            ):
                found |= self.of(value, ref)
        return found

    def _of_library_bases(self, cls: Ref, name: str) -> Values:
        found: Values = NOTHING
        for type_name, origin in self.library_types(cls):
            value = ("ai", type_name, (), origin)
            found |= self._attribute(value, name)
        return found

    def library_types(self, cls: Ref) -> list[tuple[str, Any]]:
        """The AI types that a class of the project derives from."""
        found = []
        for each in self.ancestry(cls):
            scope = self.program.scope(each)
            for base in scope.bases:
                for value in self.of(base, self.program.parent(each) or (each[0], 0)):
                    if value[0] == "lib" and (made := self.catalog.type_made_by(value[1])):
                        found.append((made, (f"class {scope.name}", each[0], scope.line)))
        return found

    def ancestry(self, cls: Ref) -> list[Ref]:
        """A class and its bases in the project, nearest first."""
        if cls in self._mro:
            return self._mro[cls]
        self._mro[cls] = [cls]  # a class that derives from itself
        found = [cls]
        for base in self.program.scope(cls).bases:
            around = self.program.parent(cls) or (cls[0], 0)
            if base and base[0] == "index":
                base = base[1]
            for value in self.of(base, around):
                if value[0] == "class":
                    found += [each for each in self.ancestry(value[1]) if each not in found]
        self._mro[cls] = found
        return found

    def descendants(self, cls: Ref) -> list[Ref]:
        """The classes of the project that derive from a class."""
        if cls not in self._descendants:
            self._descendants[cls] = []
            name = self.program.scope(cls).name
            found: list[Ref] = []
            for each in self.program.classes_by_base_name.get(name, ()):
                if each != cls and cls in self.ancestry(each) and each not in found:
                    found.append(each)
                    found += [one for one in self.descendants(each) if one not in found]
            self._descendants[cls] = found
        return self._descendants[cls]

    def _setting(self, name: str) -> Values:
        found: Values = NOTHING
        for path in self._settings:
            found |= self.exported(path, name)
        return found or self._constant(name)

    def _constant(self, name: str) -> Values:
        """What the defaults of the site say of a setting, else only what it is called."""
        texts = sorted(filter(None, self.program.defaults.get(name, ())))[:_MOST_DEFAULTS]
        return frozenset(("text", text) for text in texts or [f"{{{name}}}"])

    # Functions

    def result(self, function: Ref) -> Values:
        """What a function gives."""
        return self._once(("result", function), self._result, function)

    def _result(self, function: Ref) -> Values:
        scope = self.program.scope(function)
        found = self._union(scope.returns, function)
        if not any(
            value[0] in {"ai", "object", "http", "class", "items", "table"} for value in found
        ):
            found |= self.instance(
                scope.returns_annotation, self.program.parent(function) or function
            )
        return found

    def parameter(self, function: Ref, name: str) -> Values:
        """What a parameter of a function may be."""
        return self._once(("parameter", function, name), self._parameter, function, name)

    def _parameter(self, function: Ref, name: str) -> Values:
        scope = self.program.scope(function)
        if self.program.is_method(function) and scope.parameters[0].name == name:
            cls = self.program.parent(function)
            names = {last_name(item) for item in scope.decorators}
            if "staticmethod" not in names:
                if "classmethod" in names or name == "cls":
                    return frozenset([("class", cls)])
                return frozenset([("object", cls, True)])
        parameter = next(each for each in scope.parameters if each.name == name)
        around = self.program.parent(function) or function
        found = self.instance(parameter.annotation, around)
        found |= self.of(parameter.default, around)
        if any(value[0] in {"ai", "http"} for value in found):
            return found
        if scope.kind == LAMBDA:
            return found
        return found | self._handed_in(function, scope, name)

    def _handed_in(self, function: Ref, scope: Scope, name: str) -> Values:
        """What the callers of a function hand in."""
        index = next(i for i, each in enumerate(scope.parameters) if each.name == name)
        keyword_only = scope.parameters[index].keyword_only
        if self.program.is_method(function):
            index -= "staticmethod" not in {last_name(item) for item in scope.decorators}
        found: Values = NOTHING
        for ref, call, _ in self.callers(function):
            _, _, arguments, keywords, *_ = call.expression
            for keyword, value in keywords:
                if keyword == name:
                    found |= self.of(value, ref)
            if not keyword_only and index < len(arguments):
                found |= self.of(arguments[index], ref)
        # run(function, client): what stands behind a function is handed to it as a rule.
        for ref, call, position in self.program.handed_named.get(scope.name, ())[:_MOST_CALLERS]:
            arguments = call.expression[2][position + 1 :]
            if index >= len(arguments) or keyword_only or index < 0:
                continue
            values = self.of(call.expression[2][position], ref)
            if any(v[0] in {"function", "method"} and v[1] == function for v in values):
                found |= self.of(arguments[index], ref)
        if not found and not self.program.is_method(function):
            # A function in a function that takes what is called so around it.
            around = self.program.parent(function)
            while around is not None and around[1] > 0:
                outer = self.program.scope(around)
                if name in outer.bindings:
                    found |= self._bound(outer.bindings[name], 0, around)[0]
                around = self.program.parent(around)
        # What is handed on, a method or a function that asks, keeps its place there.
        return frozenset(
            value
            for value in found
            if not (value[0] == "ai" and value[2])
            and not (value[0] == "lib" and self.catalog.function(value[1]))
        )

    def callers(self, function: Ref) -> list[tuple[Ref, Any, bool]]:
        """The calls of a function: (where, call, whether the receiver is certain)."""
        scope = self.program.scope(function)
        candidates = self.program.calls_named.get(scope.name, [])
        cls = self.program.parent(function) if self.program.is_method(function) else None
        if cls and scope.name in {"__init__", "__new__", "__call__"}:
            candidates = []
            for each in (cls, *self.descendants(cls)) if scope.name != "__call__" else ():
                candidates += self.program.calls_named.get(self.program.scope(each).name, ())
                candidates += self.program.making.get(each, ())
        found = []
        is_unique = len(self.program.functions_named.get(scope.name, ())) == 1
        if len(candidates) > _MOST_CALLERS:
            # A name that everything has: whoever calls this very function is near it.
            candidates = [each for each in candidates if self._is_near(each[0][0], function[0])]
        for ref, call in candidates[:_MOST_CALLERS]:
            values = self.of(call.expression[1], ref)
            if self._calls(values, function, cls):
                found.append((ref, call, True))
            elif is_unique and cls and call.expression[1][0] == "attr" and not _is_known(values):
                found.append((ref, call, False))
        return found

    def _is_near(self, caller: str, path: str) -> bool:
        """Whether one file imports the other, or is it."""
        return caller == path or path in self.program.imported_by(caller)

    def _calls(self, values: Values, function: Ref, cls: Ref | None) -> bool:
        for value in values:
            if value[0] in {"function", "method"} and value[1] == function:
                return True
            if (
                cls
                and value[0] == "class"
                and (
                    value[1] == cls
                    or (cls in self.ancestry(value[1]) and self._makes(value[1]) == function)
                )
            ):
                return self.program.scope(function).name in {"__init__", "__new__"}
        return False

    def _makes(self, cls: Ref) -> Ref | None:
        for each in self.ancestry(cls):
            if found := self.program.methods(each).get("__init__"):
                return found[-1]
        return None

    def instance(self, annotation: Expression, ref: Ref) -> Values:
        """An object of what an annotation names."""
        if annotation is None:
            return NOTHING
        match annotation[0]:
            case "any" | "items":
                found: Values = NOTHING
                for option in annotation[1]:
                    found |= self.instance(option, ref)
                return found
            case "index":
                outer = last_name(annotation[1])
                if outer in {
                    "Optional",
                    "Union",
                    "Annotated",
                    "Final",
                    "ClassVar",
                    "Iterator",
                    "Generator",
                    "AsyncIterator",
                    "AsyncGenerator",
                    "Awaitable",
                    "Coroutine",
                    "ContextManager",
                    "AbstractContextManager",
                    "AbstractAsyncContextManager",
                }:
                    return self.instance(annotation[2], ref)
                if outer in {"type", "Type"}:
                    return self.of(annotation[2], ref)
                if outer in {"list", "List", "Sequence", "Iterable", "set", "tuple", "Tuple"}:
                    return frozenset([("items", self.instance(annotation[2], ref))])
                if outer in {"dict", "Dict", "Mapping"}:
                    inner = annotation[2]
                    if inner and inner[0] == "items" and len(inner[1]) == 2:
                        pair = (NOTHING, self.instance(inner[1][1], ref))
                        return frozenset([("table", pair)])
                    return NOTHING
                if outer == "Callable":
                    return NOTHING
                return self.instance(annotation[1], ref)
            case "name" | "attr":
                found = NOTHING
                for value in self.of(annotation, ref):
                    if value[0] == "lib":
                        if made := self.catalog.type_made_by(value[1]):
                            origin = (f"annotation {spelled(annotation)}", ref[0], 0)
                            found |= {("ai", made, (), origin)}
                        elif transport := self.catalog.http_client(value[1]):
                            found |= {("http", transport, "", ())}
                    elif value[0] == "class":
                        found |= {("object", value[1], True)}
                    elif value[0] in {"ai", "object"}:
                        found |= {value}  # the name of a type alias
                return found
        return NOTHING

    # Calls

    def _call(self, expression: Any, ref: Ref) -> Values:
        _, function, arguments, keywords, line, _ = expression
        made = self._made_with(function, arguments, keywords, ref, line)
        if made:
            return made
        found: Values = NOTHING
        for value in self.of(function, ref):
            found |= self._called(value, expression, ref)
        if not found and function and function[0] in {"name", "attr"}:
            found = self._by_name(last_name(function), expression, ref)
        return found

    def _called(self, value: tuple[Any, ...], expression: Any, ref: Ref) -> Values:
        _, function, _arguments, _keywords, line, _ = expression
        origin = (f"{spelled(function)}()", ref[0], line)
        match value[0]:
            case "lib":
                return self._library_call(value[1], expression, ref, origin)
            case "ai":
                _, type_name, path, made_at = value
                known = self.catalog.types[type_name]
                name = ".".join(path)
                if name in known.gives:
                    return frozenset([("ai", known.gives[name], (), made_at)])
                if name in known.keeps:
                    return frozenset([("ai", type_name, (), made_at)])
                if name.startswith("from_") and len(path) == 1:
                    return frozenset([("ai", type_name, (), made_at)])
                return NOTHING
            case "http":
                if not value[3]:
                    return frozenset([value])
                return NOTHING
            case "function":
                return self.result(value[1])
            case "method":
                return self.result(value[1])
            case "class":
                return self._constructed(value[1], expression, ref)
            case "object":
                return self._union_of_calls(
                    self.member(value[1], "__call__", is_open=value[2]), expression, ref
                )
        return NOTHING

    def _union_of_calls(self, values: Values, expression: Any, ref: Ref) -> Values:
        found: Values = NOTHING
        for value in values:
            if value[0] in {"function", "method"}:
                found |= self.result(value[1])
        return found

    def _constructed(self, cls: Ref, expression: Any, ref: Ref) -> Values:
        found: Values = frozenset([("object", cls, False)])
        # A class whose `__new__` gives a client.
        for each in self.program.methods(cls).get("__new__", ()):
            found |= frozenset(v for v in self.result(each) if v[0] == "ai")
        return found

    def _library_call(self, dotted: str, expression: Any, ref: Ref, origin: Any) -> Values:
        _, _function, arguments, keywords, _line, _ = expression
        if dotted == "builtins.super":
            cls = self.program.class_of(ref)
            return frozenset([("super", cls)]) if cls else NOTHING
        type_name = self.catalog.type_made_by(dotted)
        if type_name:
            known = self.catalog.types[type_name]
            if known.needs and not self._is_given(known.needs, arguments, keywords, ref):
                return NOTHING
            return frozenset([("ai", type_name, (), origin)])
        owner, _, method = dotted.rpartition(".")
        if owner and (type_name := self.catalog.type_made_by(owner)):
            # A method of the class itself.
            known = self.catalog.types[type_name]
            if method in known.gives:
                return frozenset([("ai", known.gives[method], (), origin)])
            if method in known.keeps or method.startswith("from_"):
                return frozenset([("ai", type_name, (), origin)])
        if transport := self.catalog.http_client(dotted):
            return self._http_client(dotted, transport, expression, ref)
        name = method or dotted
        if owner == "builtins":
            if name == "dict":
                held = ((("text", key), value) for key, value in keywords if key)
                pairs = [(frozenset([key]), _flat(self.of(value, ref))) for key, value in held]
                return frozenset([("table", *pairs)])
            return self._builtin(name, arguments, ref)
        if (
            name in {"getenv", "get"} and "environ" in dotted + "getenv"[: len(name)]
        ) or name == "getenv":
            return self._from_environment(arguments, keywords, ref)
        if name == "urljoin" and len(arguments) == 2:
            return self._join((arguments[0], ("text", "/"), arguments[1]), ref)
        if name == "import_module" and arguments:
            texts = [value[1] for value in self.of(arguments[0], ref) if value[0] == "text"]
            return frozenset(("lib", text) for text in texts if "{" not in text)
        return self._by_name(name, expression, ref)

    def _by_name(self, name: str, expression: Any, ref: Ref) -> Values:
        """What is told by the name of a function that is not known."""
        _, function, arguments, keywords, line, _ = expression
        if name in _HANDS_ON and len(arguments) > _HANDS_ON[name]:
            handed = self.of(arguments[_HANDS_ON[name]], ref)
            # A method that is handed on is a site where it is handed on.
            return frozenset(v for v in handed if not (v[0] == "ai" and v[2]))
        if name in _CALLS_IT and len(arguments) > _CALLS_IT[name]:
            return self._results(self.of(arguments[_CALLS_IT[name]], ref), expression, ref)
        for keyword, value in keywords:
            if keyword in _FACTORIES:
                return self._results(self.of(value, ref), ("call", value, (), (), line, line), ref)
            if keyword == "default" and name in {"Field", "field"}:
                return self.of(value, ref)
        reads_environment = name in _ENVIRONMENT or name.startswith(("env", "get_env"))
        if reads_environment and (texts := self._from_environment(arguments, keywords, ref)):
            return texts
        receiver = self.of(function[1], ref) if function and function[0] == "attr" else NOTHING
        if name in _ROW_GETTERS and (rows := self._row(name, function, arguments, ref)):
            return rows
        if name in {"values", "get", "pop", "setdefault", "__getitem__"}:
            found = self._held(receiver)
            for argument in arguments[1:]:
                found |= self.of(argument, ref)
            return found
        if name == "items":
            return frozenset([("items", frozenset([("items", NOTHING, self._held(receiver))]))])
        if name in _TEXT_METHODS:
            if name == "format":
                return frozenset(
                    ("text", re.sub(r"\{[^}]*\}", "{}", v[1])) for v in receiver if v[0] == "text"
                )
            return frozenset(v for v in receiver if v[0] == "text")
        if name == "pipe":
            return self._piped([receiver, *(self.of(each, ref) for each in arguments)])
        if function and function[0] == "attr" and not _is_known(receiver):
            # A method whose name only one or two classes of the project have.
            found = NOTHING
            methods = self.program.functions_named.get(name, ())
            for method in methods if len(methods) <= _FEW else ():
                if self.program.is_method(method):
                    found |= frozenset(v for v in self.result(method) if v[0] in {"ai", "object"})
            if found:
                return found
        if arguments and name[:1].islower():
            # Wrappers of clients: instructor.from_openai(client), wrap_openai(client).
            wrapped = frozenset(v for v in self.of(arguments[0], ref) if v[0] == "ai" and not v[2])
            if wrapped:
                return wrapped
        return self._named_after(name, ref, line)

    def _named_after(self, name: str, ref: Ref, line: int) -> Values:
        """What `get_llm()` gives, wherever it comes from: its name says so."""
        match = _GIVES.match(name)
        types = self.catalog.types_named(match[1]) if match else ()
        origin = (f"{BY_NAME} {name}()", ref[0], line)
        return frozenset(("ai", each.name, (), origin) for each in types)

    def _row(self, name: str, function: Any, arguments: Any, ref: Ref) -> Values:
        """An object of a model: `Model.objects.get(...)`, `get_object_or_404(Model, ...)`."""
        owner: Expression = None
        if name == "get_object_or_404" and arguments:
            owner = arguments[0]
        elif function[0] == "attr":
            # Whatever stands between the manager and the end of a query.
            at = function[1]
            while at and at[0] in {"call", "attr"} and not (at[0] == "attr" and at[2] == "objects"):
                at = at[1]
            owner = at[1] if at and at[0] == "attr" else None
        return frozenset(
            ("object", value[1], True) for value in self.of(owner, ref) if value[0] == "class"
        )

    def _results(self, values: Values, expression: Any, ref: Ref) -> Values:
        found: Values = NOTHING
        for value in values:
            if value[0] != "ai":
                found |= self._called(
                    value, ("call", expression[1], (), (), expression[4], expression[5]), ref
                )
        return found

    def _builtin(self, name: str, arguments: Any, ref: Ref) -> Values:
        if name == "getattr" and len(arguments) >= 2:
            found: Values = NOTHING
            for value in self.of(arguments[1], ref):
                if value[0] == "text" and "{" not in value[1]:
                    found |= self._attribute_of(self.of(arguments[0], ref), value[1])
            if len(arguments) > 2:
                default = self.of(arguments[2], ref)
                found = (
                    frozenset(v for v in found if v[0] != "text" or not v[1].startswith("{"))
                    | default
                    if default
                    else found
                )
            return found
        if (
            name
            in {"next", "iter", "list", "tuple", "set", "reversed", "sorted", "str", "id", "vars"}
            and arguments
        ):
            values = self.of(arguments[0], ref)
            return self._elements(values) if name == "next" else values
        if name == "type" and len(arguments) == 1:
            return frozenset(
                ("class", v[1]) for v in self.of(arguments[0], ref) if v[0] == "object"
            )
        if name == "enumerate" and arguments:
            inner = self._elements(self.of(arguments[0], ref))
            return frozenset([("items", frozenset([("items", NOTHING, inner)]))])
        if name == "zip":
            each = tuple(self._elements(self.of(argument, ref)) for argument in arguments)
            return frozenset([("items", frozenset([("items", *each)]))])
        if name == "__import__" and arguments:
            return frozenset(("lib", v[1]) for v in self.of(arguments[0], ref) if v[0] == "text")
        return NOTHING

    def _from_environment(self, arguments: Any, keywords: Any, ref: Ref) -> Values:
        if not arguments or not arguments[0] or arguments[0][0] != "text":
            return NOTHING
        defaults = [self.of(each, ref) for each in arguments[1:2]]
        defaults += [self.of(value, ref) for keyword, value in keywords if keyword == "default"]
        found = frozenset(v for values in defaults for v in values if v[0] == "text" and v[1])
        return found or frozenset([("text", f"{{{arguments[0][1]}}}")])

    def _made_with(
        self, function: Any, arguments: Any, keywords: Any, ref: Ref, line: int
    ) -> Values:
        name = last_name(function)
        for methods, values, type_name in self.catalog.made_with:
            if name not in methods:
                continue
            named = [value for keyword, value in keywords if keyword in {"service_name", "service"}]
            for argument in (*arguments[:1], *named):
                if any(v[0] == "text" and v[1] in values for v in self.of(argument, ref)):
                    return frozenset(
                        [("ai", type_name, (), (f"{spelled(function)}()", ref[0], line))]
                    )
        return NOTHING

    def _is_given(self, type_name: str, arguments: Any, keywords: Any, ref: Ref) -> bool:
        """Whether an argument is of a type, or may be by its keyword and nothing is known of it."""
        for each in (*arguments, *(value for _, value in keywords)):
            if any(v[0] == "ai" and v[1] == type_name for v in self.of(each, ref)):
                return True
        return any(
            keyword in _EMBEDDINGS and value and not _is_known(self.of(value, ref))
            for keyword, value in keywords
        )

    def is_local(self, call: Any, ref: Ref) -> bool:
        """Whether a call is given a model that runs in the process itself."""
        _, _, arguments, keywords, *_ = call
        given = (*arguments, *(value for _, value in keywords))
        return any(
            v[0] == "ai" and self.catalog.types[v[1]].is_local
            for each in given
            for v in self.of(each, ref)
        )

    def _http_client(self, dotted: str, transport: str, expression: Any, ref: Ref) -> Values:
        _, _, arguments, keywords, _, _ = expression
        leaf = dotted.rpartition(".")[2]
        if leaf == "Request":
            url = next((value for keyword, value in keywords if keyword == "url"), None)
            return self.texts(arguments[0] if arguments else url, ref)
        if not leaf[0].isupper() and leaf != "session":
            return NOTHING
        bases = [value for keyword, value in keywords if keyword in {"base_url", "host"}]
        if leaf.startswith("HTTP"):
            bases += arguments[:1]
        texts = {value[1] for base in bases for value in self.texts(base, ref)}
        return frozenset(("http", transport, text, ()) for text in texts or {""})

    # Containers and compositions

    def _index(self, expression: Any, ref: Ref) -> Values:
        _, container, key = expression
        found: Values = NOTHING
        for value in self.of(container, ref):
            if value[0] == "items":
                elements = value[1:]
                if isinstance(key, int) and -len(elements) <= key < len(elements):
                    found |= elements[key]
                else:
                    found |= frozenset().union(*elements)
            elif value[0] == "table":
                wanted = self.of(key, ref) if isinstance(key, tuple) else NOTHING
                texts = {v for v in wanted if v[0] == "text"}
                fitting = [held for keys, held in value[1:] if texts and texts & keys]
                found |= frozenset().union(*(fitting or [held for _, held in value[1:]]))
            elif value[0] == "lib" and value[1].endswith("environ"):
                found |= self._from_environment((key,), (), ref)
            elif value[0] in {"class", "lib"}:
                found |= {value}  # Generic[T]
            elif value[0] == "object":
                found |= self._union_of_calls(
                    self.member(value[1], "__getitem__", is_open=value[2]), expression, ref
                )
        return found

    def _held(self, values: Values) -> Values:
        found: Values = NOTHING
        for value in values:
            if value[0] == "table":
                found |= frozenset().union(*(held for _, held in value[1:]))
        return found

    def _elements(self, values: Values) -> Values:
        found: Values = NOTHING
        for value in values:
            if value[0] == "items":
                found |= frozenset().union(*value[1:])
            elif value[0] == "table":
                found |= frozenset().union(*(keys for keys, _ in value[1:]))
        return found

    def _entered(self, values: Values) -> Values:
        found: Values = NOTHING
        for value in values:
            if value[0] == "object":
                for name in ("__enter__", "__aenter__"):
                    methods = self.member(value[1], name, is_open=False)
                    found |= self._union_of_calls(methods, None, value[1])
            found |= {value}
        return found

    def _pipe(self, expression: Any, ref: Ref) -> Values:
        return self._piped([self.of(expression[1], ref), self.of(expression[2], ref)])

    def _piped(self, sides: list[Values]) -> Values:
        """`prompt | model`: a chain if any part of it is a model."""
        parts: list[tuple[Any, ...]] = []
        for side in sides:
            for value in side:
                if value[0] == "table":
                    parts += [v for _, held in value[1:] for v in held]
                else:
                    parts.append(value)
        found: Values = NOTHING
        plain = None
        for value in parts:
            if value[0] == "object":
                for type_name, origin in self.library_types(value[1]):
                    if self.catalog.types[type_name].pipes:
                        found |= {("ai", self.catalog.types[type_name].pipes, (), origin)}
            if value[0] != "ai" or value[2]:
                continue
            pipes = self.catalog.types[value[1]].pipes
            if pipes:
                found |= {("ai", pipes, (), value[3])}
            elif pipes == "":
                plain = value
        return found or (frozenset([plain]) if plain else NOTHING)

    # Texts

    def texts(self, expression: Expression, ref: Ref) -> Values:
        return frozenset(v for v in self.of(expression, ref) if v[0] == "text")

    def _join(self, parts: Any, ref: Ref) -> Values:
        """Strings one behind the other; "{name}" for a part that is not known."""
        found = [""]
        extra: Values = NOTHING
        for part in parts:
            values = self.of(part, ref)
            texts = sorted({v[1] for v in values if v[0] == "text"})[:6]
            if not texts:
                extra |= frozenset(v for v in values if v[0] == "items")
                texts = [f"{{{_name_in(part)}}}"]
            found = [head + text for head in found for text in texts][:_MOST_VALUES]
        if extra:
            return extra
        return frozenset(("text", text[:2000]) for text in found)


def order(value: tuple[Any, ...]) -> tuple[str, str]:
    """What a sort of values goes by: AI objects first, containers last."""
    if value[0] in _CONTAINERS:
        return "z", str(len(value))
    return value[0], repr(value)


_CONTAINERS = {"items", "table"}


def _flat(values: Values) -> Values:
    """Values as a container holds them: containers in it hold none themselves."""
    found = []
    for value in values:
        if value[0] == "items":
            value = (
                "items",
                *(frozenset(v for v in part if v[0] not in _CONTAINERS) for part in value[1:]),
            )
        elif value[0] == "table":
            value = (
                "table",
                *(
                    (k, frozenset(v for v in held if v[0] not in _CONTAINERS))
                    for k, held in value[1:]
                ),
            )
        elif value[0] == "text" and len(value[1]) > _LONGEST_HELD:
            continue  # prompts
        found.append(value)
    return frozenset(found)


def _name_in(expression: Expression) -> str:
    """What a part of a URL that is not known is called: `OLLAMA` of `config("OLLAMA")` too."""
    if not expression:
        return ""
    return last_name(expression) or (last_name(expression[1]) if len(expression) > 1 else "")


def _is_property(function: Scope) -> bool:
    return any(
        last_name(item if item and item[0] != "call" else item and item[1]) in _PROPERTIES
        for item in function.decorators
    )


def _is_known(values: Values) -> bool:
    return any(value[0] in {"ai", "lib", "function", "method", "class", "http"} for value in values)
