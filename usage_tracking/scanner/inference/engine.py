"""What an expression may be: an AI client, a function of the project, a URL, or unknown.

A *value* (`values`) is one possibility: an object of an AI library and the code that made it, an
object of another library by its dotted name, a class or function of the project, an HTTP client,
a text. The result for an expression is a set of values, because names are rebound, branches
differ and functions have several callers. An empty set means that nothing is known.

The value of an expression depends on other values. A name has the values of its bindings, a
parameter those of the arguments at every call, a call those of the function's `return`s, and an
attribute those of every assignment to it. These dependencies form circles: functions call each
other, and a parameter's value depends on calls whose functions depend on that parameter.

`Inference` therefore computes a *fixpoint*: an assignment of values to expressions that
evaluating once more does not change. It works on demand and in rounds (`fixpoint`):

- A round evaluates each wanted expression, and on the way whatever that one depends on. Each
  expression, attribute, result and parameter is a key that is evaluated at most once a round.
- An evaluation that comes back to a key which is still being evaluated has closed a circle. It
  takes the key's value of the round before (in the first round: nothing) as a guess.
- A result that depends on no guess is final, and so is one that only guessed itself: such a key
  is a union of sets, and adding a set to itself changes nothing. Every other result is
  provisional, and so is everything that uses it.
- After a round, the provisional results are compared with those of the round before. If they
  are equal, the guesses were right and all results become final. If not, the next round evaluates
  the provisional keys again with better guesses.

Why it ends: a round evaluates each of finitely many keys at most once, and a chain of
dependencies that is too deep is treated as a circle. There are at most three rounds. The rules
are not monotonic (some apply only where another finds nothing, and sets are cut to the most
telling values), so equal rounds are not guaranteed. After the third round the results are taken
as they are; in practice a guess that still changes then does not decide whether a call is a site.
The values themselves cannot grow without end: a set holds 24 values at most, a path six
attributes, and a container in a container holds no containers (`values.flattened`).

The rules are in modules of their own: `classes` (attributes and inheritance), `functions`
(results, parameters, callers), `annotations`, `composites` (containers, strings, pipes), `calls`,
and `conventions`, which guesses by the names of unknown functions. `Inference` resolves names and
imports, and passes each kind of expression to its rule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ..catalog import Catalog
from ..facts import CLASS, Binding, Expression
from ..program import Program, Ref
from ..values import (
    NOTHING,
    AIObject,
    Class,
    Function,
    HTTPClient,
    Instance,
    Items,
    Library,
    Module,
    Super,
    Table,
    Text,
    Value,
    Values,
    texts_in,
)
from .annotations import Annotations
from .calls import Calls
from .classes import Classes
from .composites import Composites
from .fixpoint import Fixpoint
from .functions import Functions
from .import_groups import ImportGroups

_LONGEST_PATH = 6
_MOST_DEFAULTS = 4

#: Attributes of a client that change the form of its answer, not the request.
_TRANSPARENT = {"with_raw_response", "with_streaming_response"}


class Inference:
    """The values of the expressions of a program."""

    def __init__(self, program: Program, catalog: Catalog) -> None:
        self.program = program
        self.catalog = catalog
        #: File → an exception that its code caused in the scanner.
        self.faults: dict[str, str] = {}
        self.import_groups = ImportGroups(program)
        self.annotations = Annotations(self)
        self.calls = Calls(self)
        self.classes = Classes(self)
        self.composites = Composites(self)
        self.functions = Functions(self)
        self._fixpoint = Fixpoint()
        #: Evaluates a function at most once a round.
        self.once = self._fixpoint.once
        self._settings = list(filter(program.is_settings, program.files))
        self._rules: dict[str, Callable[[Any, Ref], Values]] = {
            "any": self._any,
            "attr": self._attribute,
            "call": self.calls.value,
            "element": self.composites.element,
            "entered": self.composites.entered,
            "filled": self.composites.filled,
            "from": self._imported_name,
            "import": self._imported_module,
            "index": self.composites.index,
            "items": self.composites.items,
            "join": self.composites.join,
            "name": self._name,
            "pipe": self.composites.pipe,
            "scope": self._definition,
            "table": self.composites.table,
            "typed": self._typed,
        }

    def solve(self, wanted: list[tuple[Expression, Ref]]) -> None:
        """Evaluate `wanted` until nothing changes any more."""

        def evaluate_all() -> None:
            for expression, ref in wanted:
                try:
                    self.of(expression, ref)
                except Exception as error:  # noqa: BLE001 -- the report names it
                    self.faults[ref[0]] = f"{type(error).__name__}: {error}"

        self._fixpoint.run(evaluate_all)

    def close(self) -> None:
        """Let go of the program.

        The rules and `Inference` refer to each other. Without this, all facts would stay in
        memory until the garbage collector has walked them.
        """
        vars(self).clear()

    def of(self, expression: Expression, ref: Ref) -> Values:
        """Return what `expression`, which is in the scope `ref`, may be."""
        if expression is None:
            return NOTHING
        if expression[0] == "text":
            return frozenset([Text(expression[1])])
        # Expressions live as long as the program: their identity is a key.
        return self.once(id(expression), self._rules[expression[0]], expression, ref)

    def texts(self, expression: Expression, ref: Ref) -> Values:
        """Return the texts that `expression` may be."""
        return texts_in(self.of(expression, ref))

    def union(self, expressions: Iterable[Expression], ref: Ref) -> Values:
        """Return what any of `expressions` may be."""
        found: Values = NOTHING
        for expression in expressions:
            found |= self.of(expression, ref)
        return found

    # Names and imports

    def _any(self, expression: Any, ref: Ref) -> Values:
        return self.union(expression[1], ref)

    def _typed(self, expression: Any, ref: Ref) -> Values:
        return self.annotations.instance(expression[1], ref)

    def _definition(self, expression: Any, ref: Ref) -> Values:
        here = ref[0], expression[1]
        is_class = self.program.scope(here).kind == CLASS
        return frozenset([Class(here) if is_class else Function(here)])

    def _name(self, expression: Any, ref: Ref) -> Values:
        _, name, position = expression
        at: Ref | None = ref
        while at is not None:
            scope = self.program.scope(at)
            if scope.kind != CLASS or at == ref:
                parameter = next((p for p in scope.parameters if p.name == name), None)
                bindings = scope.bindings.get(name)
                if bindings or parameter:
                    found, is_complete = self.bound(
                        bindings or [], position if at == ref else 0, at
                    )
                    if parameter and not is_complete:
                        found |= self.functions.parameter(at, name)
                    return found
            at = self.program.parent(at)
        return self._star_imported(name, ref[0])

    def _star_imported(self, name: str, file: str) -> Values:
        """Return what `name` is by a star import, else the builtin."""
        for dotted, level in self.program.files[file].star_imports:
            path = self.program.resolve(file, dotted, level)
            if path is None:
                if dotted and self.catalog.is_about_ai(dotted):
                    return frozenset([Library(f"{dotted}.{name}")])
            elif path != file and (found := self.exported(path, name)):
                return found
        return frozenset([Library(f"builtins.{name}")])

    def bound(self, bindings: list[Binding], position: int, at: Ref) -> tuple[Values, bool]:
        """Return what is bound before `position` (0: anywhere), and whether that is complete."""
        if position:
            before = [each for each in bindings if each.position <= position]
            # In a loop, a binding further down has happened too.
            relevant = before or bindings
        else:
            relevant = bindings
        found: Values = NOTHING
        for binding in sorted(relevant, key=lambda each: each.position, reverse=True):
            found |= self.of(binding.value, (at[0], binding.scope))
            if position and binding.is_unconditional and binding.position <= position:
                return found, True
        return found, False

    def exported(self, path: str, name: str) -> Values:
        """Return what `name` is in the module of a file."""
        return self.once(("export", path, name), self._exported, path, name)

    def _exported(self, path: str, name: str) -> Values:
        source = self.program.files.get(path)
        if source is None:
            return NOTHING
        if source.scopes:
            bindings = source.scopes[0].bindings.get(name)
            if bindings:
                found, _ = self.bound(bindings, 0, (path, 0))
                if found:
                    return found
            for dotted, level in source.star_imports:
                inner = self.program.resolve(path, dotted, level)
                if inner and inner != path and (found := self.exported(inner, name)):
                    return found
            # The module `__getattr__` of a lazy package is not followed.
        submodule = self.program.submodule(path, name)
        return frozenset([Module(submodule)]) if submodule else NOTHING

    def _imported_module(self, expression: Any, ref: Ref) -> Values:
        _, dotted = expression
        path = self.program.resolve(ref[0], dotted)
        return frozenset([Module(path) if path else Library(dotted)])

    def _imported_name(self, expression: Any, ref: Ref) -> Values:
        _, dotted, level, name = expression
        path = self.program.resolve(ref[0], dotted, level)
        if path is not None:
            if path == ref[0]:
                inner = self.program.submodule(path, name)
                return frozenset([Module(inner)]) if inner else NOTHING
            return self.exported(path, name)
        inner = self.program.resolve(ref[0], f"{dotted}.{name}" if dotted else name, level)
        if inner is not None:
            return frozenset([Module(inner)])
        return NOTHING if level else frozenset([Library(f"{dotted}.{name}")])

    # Attributes

    def _attribute(self, expression: Any, ref: Ref) -> Values:
        _, owner, name = expression
        values = self.of(owner, ref)
        found = self.attribute_of_any(values, name)
        if not found and not values:
            found = self.classes.set_on_unknown(owner, name, ref)
        if name.isupper() and all(isinstance(value, Library) for value in found):
            return found | self._constant(name)
        return found

    def attribute_of_any(self, values: Values, name: str) -> Values:
        """Return what the attribute `name` of any of `values` may be."""
        found: Values = NOTHING
        for value in values:
            found |= self.attribute_of(value, name)
        return found

    def attribute_of(self, value: Value, name: str) -> Values:
        """Return what the attribute `name` of `value` may be."""
        match value:
            case Library("django.conf.settings"):
                return self._setting(name)
            case Library(dotted):
                return frozenset([Library(f"{dotted}.{name}")])
            case AIObject():
                return frozenset([self._attribute_of_ai(value, name)])
            case HTTPClient(transport, base, path):
                return frozenset([HTTPClient(transport, base, (*path, name))])
            case Module(file):
                return self.exported(file, name)
            case Class(ref):
                return self.classes.member(ref, name, is_open=False)
            case Instance(ref, is_open):
                return self.classes.member(ref, name, is_open=is_open)
            case Super(ref):
                return self.classes.inherited(ref, name)
            case Text():
                return frozenset([Library(f"builtins.text.{name}")])
            case Items():
                return frozenset([Library(f"builtins.items.{name}")])
            case Table():
                return frozenset([Library(f"builtins.table.{name}")])
        return NOTHING

    def _attribute_of_ai(self, value: AIObject, name: str) -> AIObject:
        if name in _TRANSPARENT:
            return value
        attributes = self.catalog.types[value.type_name].attributes
        if not value.path and name in attributes:
            return AIObject(attributes[name], (), value.origin)
        return AIObject(value.type_name, (*value.path, name)[-_LONGEST_PATH:], value.origin)

    def _setting(self, name: str) -> Values:
        found: Values = NOTHING
        for path in self._settings:
            found |= self.exported(path, name)
        return found or self._constant(name)

    def _constant(self, name: str) -> Values:
        """Return the defaults of a setting, or "{NAME}" if there are none."""
        texts = sorted(filter(None, self.program.defaults.get(name, ())))[:_MOST_DEFAULTS]
        return frozenset(Text(text) for text in texts or [f"{{{name}}}"])
