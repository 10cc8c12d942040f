"""The files of a scan together: which imports which, and where names are used."""

from __future__ import annotations

import os
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cached_property

from .facts import CLASS, FUNCTION, LAMBDA, MODULE, CodeScope, Mention, SourceFile

_SETTINGS = re.compile(r"(^|[/\\])(settings|config)")
#: A scope: the path of its file and its number there.
Ref = tuple[str, int]


class Program:
    """All files by path, and indexes of their names. Imports are resolved by path, never run."""

    def __init__(self, paths: Iterable[str], libraries: Iterable[str]) -> None:
        self.files: dict[str, SourceFile] = {}
        #: Names of libraries, which files of the project do not hide.
        self._libraries = {name.partition(".")[0].strip("*") for name in libraries}
        #: Last part of a module's name → its files.
        self._named: dict[str, list[str]] = defaultdict(list)
        self._packages: set[str] = set()
        for path in paths:
            directory, name = os.path.split(path)
            if name == "__init__.py":
                self._packages.add(directory)
                name = os.path.basename(directory)
            self._named[name.removesuffix(".py")].append(path)
        self._resolved: dict[tuple[str, str], str | None] = {}
        self._imported: dict[str, frozenset[str]] = {}
        self._methods: dict[Ref, dict[str, list[Ref]]] = {}
        #: File → the lines that can have to do with AI calls, as bits; see `reading.relevance`.
        self.relevant_lines: dict[str, int] = {}
        # Filled by `index`:
        self.calls_named: dict[str, list[tuple[Ref, Mention]]] = defaultdict(list)
        #: Class → the calls in it of `cls(...)` and of `super().__init__(...)`.
        self.making: dict[Ref, list[tuple[Ref, Mention]]] = defaultdict(list)
        #: Function that is an argument of a call → (where, call, index of the argument).
        self.passed_named: dict[str, list[tuple[Ref, Mention, int]]] = defaultdict(list)
        self.mentions_named: dict[str, list[tuple[Ref, Mention]]] = defaultdict(list)
        self.functions_named: dict[str, list[Ref]] = defaultdict(list)
        self.classes_by_base_name: dict[str, list[Ref]] = defaultdict(list)
        #: Attribute → (where it is assigned, index in the `attributes` of that scope).
        self.set_attributes: dict[str, list[tuple[Ref, int]]] = defaultdict(list)
        #: Setting → its defaults, of all files.
        self.defaults: dict[str, set[str]] = defaultdict(set)

    # Modules

    def resolve(self, importer: str, dotted: str, level: int = 0) -> str | None:
        """Return the file of a module as `importer` names it; None if it is not in the scan."""
        key = (importer if level else os.path.dirname(importer), f"{level}:{dotted}")
        if key not in self._resolved:
            found = (
                self._relative(importer, dotted, level)
                if level
                else self._absolute(importer, dotted)
            )
            self._resolved[key] = found
        return self._resolved[key]

    def _relative(self, importer: str, dotted: str, level: int) -> str | None:
        directory = os.path.dirname(importer)
        for _ in range(level - 1):
            directory = os.path.dirname(directory)
        if not dotted:
            return self._known(os.path.join(directory, "__init__.py"))
        return self._module_at(os.path.join(directory, *dotted.split(".")))

    def _absolute(self, importer: str, dotted: str) -> str | None:
        parts = dotted.split(".")
        tail = os.path.join(*parts)
        endings = (tail + ".py", os.path.join(tail, "__init__.py"))
        best, best_rank = None, -1
        # `import http` is not the module of a package that happens to be called http.
        is_standard = len(parts) == 1 and dotted in sys.stdlib_module_names
        for path in self._named.get(parts[-1], ()):
            for ending in endings:
                if path != ending and not path.endswith(os.sep + ending):
                    continue
                base = path[: -len(ending)].rstrip(os.sep)
                if parts[0] in self._libraries and not (
                    len(parts) > 1 and self._is_root(base) and base + os.sep in importer
                ):
                    continue
                if is_standard and base in self._packages:
                    continue
                rank = len(
                    os.path.commonpath([base or ".", os.path.dirname(importer) or "."])
                    if base and os.path.isabs(base) == os.path.isabs(importer)
                    else ""
                )
                # A directory that imports start from is not itself a package.
                if base in self._packages:
                    rank -= 1000
                if rank >= best_rank or best is None:
                    best, best_rank = path, rank
        return best if best_rank > -1000 or (best and len(parts) > 1) else None

    def _is_root(self, directory: str) -> bool:
        return directory not in self._packages

    def _module_at(self, stem: str) -> str | None:
        return self._known(stem + ".py") or self._known(os.path.join(stem, "__init__.py"))

    def _known(self, path: str) -> str | None:
        path = os.path.normpath(path)
        name = os.path.basename(path)
        if name == "__init__.py":
            name = os.path.basename(os.path.dirname(path))
        return path if path in self._named.get(name.removesuffix(".py"), ()) else None

    def submodule(self, package: str, name: str) -> str | None:
        """Return the file of a module in the package whose `__init__.py` is `package`."""
        if name not in self._named or os.path.basename(package) != "__init__.py":
            return None
        return self._module_at(os.path.join(os.path.dirname(package), name))

    def imported_module(
        self, importer: str, of: tuple[str, int], package: str | None, name: str
    ) -> str | None:
        """Return the file of `name` if `from package import name` imports a module."""
        dotted, level = of
        if package:
            return self.submodule(package, name)
        if name not in self._named:
            return None
        return self.resolve(importer, f"{dotted}.{name}" if dotted else name, level)

    @cached_property
    def users(self) -> dict[str, list[tuple[str, frozenset[str] | None]]]:
        """For each file the files that import it, with the names; None: the module."""
        found: dict[str, list[tuple[str, frozenset[str] | None]]] = defaultdict(list)
        for path, source in self.files.items():
            for dotted, level, names in source.imports.modules:
                module = self.resolve(path, dotted, level)
                if module:
                    is_whole = not names or "*" in names
                    found[module].append((path, None if is_whole else frozenset(names)))
                for name in names:
                    if inner := self.imported_module(path, (dotted, level), module, name):
                        found[inner].append((path, None))
        return found

    def importers(self) -> dict[str, set[str]]:
        """Return for each file the files that import it."""
        return {path: {user for user, _ in users} for path, users in self.users.items()}

    def imported_by(self, path: str) -> frozenset[str]:
        """Return the files that a file imports."""
        if path not in self._imported:
            found: set[str | None] = set()
            for dotted, level, names in self.files[path].imports.modules:
                module = self.resolve(path, dotted, level)
                found.add(module)
                found |= {
                    self.imported_module(path, (dotted, level), module, name) for name in names
                }
            self._imported[path] = frozenset(each for each in found if each)
        return self._imported[path]

    def is_settings(self, path: str) -> bool:
        """Return whether a file holds settings, by its name."""
        return bool(_SETTINGS.search(path))

    # Scopes

    def scope(self, ref: Ref) -> CodeScope:
        """Return the facts of a scope."""
        return self.files[ref[0]].scopes[ref[1]]

    def parent(self, ref: Ref) -> Ref | None:
        """Return the scope around another; None for a module."""
        number = self.scope(ref).parent
        return (ref[0], number) if number >= 0 else None

    def class_of(self, ref: Ref) -> Ref | None:
        """Return the class whose method a function is, or is nested in."""
        at: Ref | None = ref
        while at is not None:
            scope = self.scope(at)
            up = self.parent(at)
            if scope.kind in (FUNCTION, LAMBDA) and up and self.scope(up).kind == CLASS:
                return up
            at = up
        return None

    def is_method(self, ref: Ref) -> bool:
        """Return whether a scope is a function that is defined in a class."""
        up = self.parent(ref)
        return self.scope(ref).kind == FUNCTION and up is not None and self.scope(up).kind == CLASS

    def scopes(self) -> Iterator[tuple[Ref, CodeScope]]:
        """Yield every scope of every file."""
        for path, source in self.files.items():
            for scope in source.scopes:
                yield (path, scope.number), scope

    def relevant(self, mentions: Iterable[Mention], ref: Ref) -> list[Mention]:
        """Return those of the mentions in a scope that can have to do with AI calls."""
        return [mention for mention in mentions if self.is_relevant(ref, mention)]

    def is_relevant(self, ref: Ref, mention: Mention) -> bool:
        """Return whether a mention in a scope can have to do with AI calls."""
        return self.is_relevant_line(ref[0], mention.line)

    def is_relevant_line(self, path: str, line: int) -> bool:
        """Return whether a line can have to do with AI calls."""
        return bool(self.relevant_lines[path] >> line & 1)

    # Names

    def index(self) -> None:
        """Fill the indexes, once all scopes are there."""
        for index in (
            *(self._methods, self.calls_named, self.making, self.passed_named),
            *(self.mentions_named, self.functions_named, self.classes_by_base_name),
            *(self.set_attributes, self.defaults),
        ):
            index.clear()
        for source in self.files.values():
            for name, texts in source.defaults.items():
                self.defaults[name].update(texts)
        for ref, scope in self.scopes():
            self._index_definition(ref, scope)
            self._index_calls(ref, scope)
            # The statement of a module's assignment is not known.
            if scope.kind == MODULE or self.is_relevant_line(ref[0], scope.line):
                for number, (_, name, _) in enumerate(scope.attributes):
                    self.set_attributes[name].append((ref, number))
        for ref, scope in self.scopes():
            self._index_mentions(ref, scope)

    def _index_definition(self, ref: Ref, scope: CodeScope) -> None:
        if scope.kind == FUNCTION:
            self.functions_named[scope.name].append(ref)
        elif scope.kind == CLASS:
            for base in scope.bases:
                for name in self._names(ref, last_name(base)):
                    self.classes_by_base_name[name].append(ref)

    def _index_calls(self, ref: Ref, scope: CodeScope) -> None:
        for call in scope.calls:
            name = last_name(call.expression[1])
            for each in self._names(ref, name):
                self.calls_named[each].append((ref, call))
            if name in {"cls", "__init__"} and (cls := self.class_of(ref)):
                self.making[cls].append((ref, call))
            for number, argument in enumerate(call.expression[2]):
                if name := last_name(argument):
                    self.passed_named[name].append((ref, call, number))

    def _index_mentions(self, ref: Ref, scope: CodeScope) -> None:
        for mention in scope.mentions:
            for name in self._names(ref, last_name(mention.expression)):
                if name in self.functions_named:
                    self.mentions_named[name].append((ref, mention))
        # Other mentions, of what is not an argument, are not needed again.
        scope.mentions = [mention for mention in scope.mentions if mention.is_argument]

    def _names(self, ref: Ref, name: str) -> tuple[str, ...]:
        """Return a name and the one that it is an import alias of; nothing for ""."""
        if not name:
            return ()
        bindings = self.files[ref[0]].scopes[0].bindings.get(name, ())
        for binding in bindings:
            if binding.value and binding.value[0] == "from" and binding.value[3] != name:
                return name, binding.value[3]
        return (name,)

    def methods(self, cls: Ref) -> dict[str, list[Ref]]:
        """Return the functions that are defined in a class, by name."""
        if cls not in self._methods:
            found: dict[str, list[Ref]] = defaultdict(list)
            for scope in self.files[cls[0]].scopes:
                if scope.parent == cls[1] and scope.kind == FUNCTION:
                    found[scope.name].append((cls[0], scope.number))
            self._methods[cls] = dict(found)
        return self._methods[cls]


def last_name(expression: object) -> str:
    """Return the last name of an expression: `create` of `client.messages.create`."""
    if isinstance(expression, tuple) and expression:
        if expression[0] == "name":
            return str(expression[1])
        if expression[0] == "attr":
            return str(expression[2])
    return ""


def chain(expression: object) -> list[str]:
    """Return the names at the end of an expression: b, c of `a().b.c`; a, b of `a.b`."""
    found: list[str] = []
    while isinstance(expression, tuple) and expression[0] == "attr":
        found.append(expression[2])
        expression = expression[1]
    if isinstance(expression, tuple) and expression[0] == "name":
        found.append(expression[1])
    return found[::-1]


def spelled(expression: object) -> str:
    """Return the code of an expression, shortened, for messages."""
    if not isinstance(expression, tuple):
        return "…"
    match expression[0]:
        case "name":
            return str(expression[1])
        case "attr":
            return f"{spelled(expression[1])}.{expression[2]}"
        case "call":
            return f"{spelled(expression[1])}({'…' if expression[2] or expression[3] else ''})"
        case "index":
            return f"{spelled(expression[1])}[…]"
        case "pipe":
            return f"({spelled(expression[1])} | {spelled(expression[2])})"
        case "any":
            return spelled(next((part for part in expression[1] if part), None))
    return "…"
