"""Values made of values: containers, their elements, strings and chains."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ..facts import Expression
from ..program import Ref, last_name
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
    Origin,
    Table,
    Text,
    Value,
    Values,
    flattened,
    ordered,
    texts_in,
)
from .fixpoint import MOST_VALUES

if TYPE_CHECKING:
    from .engine import Inference

#: At most this many elements of a literal are looked at.
_MOST_ELEMENTS = 60
#: At most this many texts of one part of a string are looked at.
_MOST_PARTS = 6
_LONGEST_TEXT = 2000
#: A part that nothing is known about.
_UNKNOWN_PART = Text("{part}")
#: What a container must hold to be worth following.
_TELLING = (AIObject, HTTPClient, Instance, Class, Function, Method)


class Composites:
    """The values of expressions that make containers, take from them, or join strings."""

    def __init__(self, inference: Inference) -> None:
        self._inference = inference

    # Containers

    def items(self, expression: Any, ref: Ref) -> Values:
        """Return a tuple, list or set."""
        of = self._inference.of
        elements = expression[1][:_MOST_ELEMENTS]
        return frozenset([Items(tuple(flattened(of(each, ref)) for each in elements))])

    def table(self, expression: Any, ref: Ref) -> Values:
        """Return a dict."""
        entries = expression[1][:_MOST_ELEMENTS]
        return frozenset([self._table(entries, ref)])

    def _table(self, entries: Any, ref: Ref) -> Table:
        inference = self._inference
        found: list[tuple[Values, Values]] = []
        for key, value in entries:
            held = inference.of(value, ref)
            if key is None:  # `**other`, or a key without meaning
                tables = [each for each in held if isinstance(each, Table)]
                found += [entry for table in tables for entry in table.entries]
                held = frozenset(each for each in held if not isinstance(each, Table))
            found.append((inference.texts(key, ref), flattened(held)))
        return Table(tuple(found[:_MOST_ELEMENTS]))

    def filled(self, expression: Any, ref: Ref) -> Values:
        """Return a container with what a method adds to it; nothing if that is unknown."""
        return frozenset(
            value
            for value in self._inference.of(expression[1], ref)
            if any(isinstance(each, _TELLING) for each in _parts([frozenset([value])]))
        )

    def keyword_table(self, keywords: Any, ref: Ref) -> Values:
        """Return `dict(key=value)`."""
        entries = [(("text", key), value) for key, value in keywords if key]
        return frozenset([self._table(entries, ref)])

    def index(self, expression: Any, ref: Ref) -> Values:
        """Return `container[key]`."""
        _, container, key = expression
        inference = self._inference
        found: Values = NOTHING
        for value in inference.of(container, ref):
            match value:
                case Items(elements):
                    if isinstance(key, int) and -len(elements) <= key < len(elements):
                        found |= elements[key]
                    else:
                        found |= NOTHING.union(*elements)
                case Table(entries):
                    wanted = inference.texts(key, ref) if isinstance(key, tuple) else NOTHING
                    fitting = [v for keys, v in entries if wanted and wanted & keys]
                    found |= NOTHING.union(*(fitting or [v for _, v in entries]))
                case Library(dotted) if dotted.endswith("environ"):
                    found |= inference.calls.conventions.environment((key,), (), ref)
                case Class() | Library():
                    found |= {value}  # Generic[T]
                case Instance(cls, is_open):
                    getters = inference.classes.member(cls, "__getitem__", is_open=is_open)
                    found |= inference.functions.results(getters)
                    if not getters and isinstance(key, tuple):
                        for text in texts_in(inference.of(key, ref)):
                            if isinstance(text, Text):  # a TypedDict
                                found |= inference.attribute_of(value, text.text)
        return found

    def element(self, expression: Any, ref: Ref) -> Values:
        """Return what a loop over an expression binds."""
        return elements_of(self._inference.of(expression[1], ref))

    def entered(self, expression: Any, ref: Ref) -> Values:
        """Return what `with` binds: the manager itself, unless it is known to enter another."""
        inference = self._inference
        values = inference.of(expression[1], ref)
        found = values
        for value in values:
            if isinstance(value, Instance):
                for name in ("__enter__", "__aenter__"):
                    methods = inference.classes.member(value.ref, name, is_open=False)
                    found |= inference.functions.results(methods)
        return found

    # Chains

    def pipe(self, expression: Any, ref: Ref) -> Values:
        """Return `left | right`."""
        _, left, right = expression
        sides = [self._inference.of(left, ref), self._inference.of(right, ref)]
        both = NOTHING.union(*sides)
        if both and all(isinstance(value, Table) for value in both):
            return both
        return self.chain(sides)

    def chain(self, sides: list[Values]) -> Values:
        """Return what `prompt | model` makes: a chain if any part of it is a model."""
        types = self._inference.catalog.types
        found: Values = NOTHING
        without_model = None
        for part in _parts(sides):
            if isinstance(part, Instance):
                for value in self._inference.classes.library_objects(part.ref):
                    if pipes := types[value.type_name].pipes:
                        found |= {AIObject(pipes, (), value.origin)}
            elif isinstance(part, AIObject) and not part.path:
                pipes = types[part.type_name].pipes
                if pipes:
                    found |= {AIObject(pipes, (), part.origin)}
                elif pipes == "":
                    without_model = part
        return found or (frozenset([without_model]) if without_model else NOTHING)

    def calls_model(self, value: AIObject) -> bool:
        """Return whether an object calls a model itself: a graph of functions does not."""
        methods = self._inference.catalog.types[value.type_name].parts
        origin = value.origin
        if not methods or not origin.line:
            return True
        parts = self._inference.once(
            ("parts", origin.file, origin.line, value.type_name), self._added_parts, origin, methods
        )
        return not parts or any(
            part == _UNKNOWN_PART or (isinstance(part, AIObject) and self._is_model(part, origin))
            for part in parts
        )

    def _is_model(self, part: AIObject, origin: Origin) -> bool:
        if part.path or not self._inference.catalog.types[part.type_name].calls:
            return False
        return part.origin == origin or self.calls_model(part)

    def _added_parts(self, origin: Origin, methods: frozenset[str]) -> Values:
        """Return the parts of the object that the code at `origin` makes."""
        inference = self._inference
        found: Values = NOTHING
        for method in sorted(methods):
            for ref, call in inference.program.calls_named.get(method, ()):
                _, function, arguments, keywords, *_ = call.expression
                if ref[0] != origin.file or function[0] != "attr":
                    continue
                owners = inference.of(function[1], ref)
                if any(isinstance(each, AIObject) and each.origin == origin for each in owners):
                    # The first of several arguments is the name of the part.
                    named = [value for name, value in keywords if name != "name"]
                    for part in (*(arguments[1:] or arguments), *named):
                        found |= self._part(part, ref)
        return found

    def _part(self, expression: Expression, ref: Ref) -> Values:
        found = _parts([self._inference.of(expression, ref)])
        if not found and expression and expression[0] == "call":
            # Perhaps a component of the framework that calls no model.
            found = list(self._inference.of(expression[1], ref))
        is_about_ai = self._inference.catalog.is_about_ai
        known = frozenset(
            value
            for value in found
            if not isinstance(value, (Text, Library))
            or (isinstance(value, Library) and is_about_ai(value.dotted))
        )
        return known or frozenset([_UNKNOWN_PART])

    # Strings

    def join(self, expression: Any, ref: Ref) -> Values:
        """Return concatenated strings, with "{NAME}" for an unknown part."""
        return self.joined(expression[1], ref)

    def joined(self, parts: Any, ref: Ref) -> Values:
        """Return `parts` as `join` does; lists that are added give a list."""
        found = [""]
        lists: Values = NOTHING
        for part in parts:
            values = self._inference.of(part, ref)
            texts = sorted({v.text for v in values if isinstance(v, Text)})[:_MOST_PARTS]
            if not texts:
                lists |= frozenset(v for v in values if isinstance(v, Items))
                texts = [f"{{{_name_in(part)}}}"]
            found = [head + text for head in found for text in texts][:MOST_VALUES]
        if lists:
            return lists
        return frozenset(Text(text[:_LONGEST_TEXT]) for text in found)


def elements_of(values: Values) -> Values:
    """Return what iteration over any of `values` gives."""
    found: Values = NOTHING
    for value in values:
        if isinstance(value, Items):
            found |= NOTHING.union(*value.elements)
        elif isinstance(value, Table):
            found |= NOTHING.union(*(keys for keys, _ in value.entries))
    return found


def entries_of(values: Values) -> Values:
    """Return the values that any dict among `values` holds."""
    found: Values = NOTHING
    for value in values:
        if isinstance(value, Table):
            found |= NOTHING.union(*(held for _, held in value.entries))
    return found


def _parts(sides: Iterable[Values]) -> list[Value]:
    """Return the parts of a chain; a dict or list in it runs each of its values."""
    parts: list[Value] = []
    for value in (each for side in sides for each in ordered(side)):
        match value:
            case Table(entries):
                parts += _parts(held for _, held in entries)
            case Items(elements):
                parts += _parts(elements)
            case _:
                parts.append(value)
    return parts


def _name_in(expression: Expression) -> str:
    """Return the name of an unknown part of a string, or of what it is taken from."""
    if not expression:
        return ""
    return last_name(expression) or (last_name(expression[1]) if len(expression) > 1 else "")
