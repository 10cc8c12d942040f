"""What an expression may be: the values that inference works with.

All values are frozen and hashable, so that sets of them can be compared and kept. Their hashes are
the same in every process: the order in which a set is iterated decides which guesses `fixpoint`
makes in a circle, and the findings of a scan must not depend on `PYTHONHASHSEED`. Sets of values
are small, so hashes may be coarse.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, TypeAlias
from zlib import crc32

from .program import Ref

#: The longest text that a container keeps; longer texts are prompts.
_LONGEST_IN_CONTAINER = 300


def _stable_hash(text: str) -> int:
    return crc32(text.encode("utf-8", "surrogatepass"))


@dataclass(frozen=True, slots=True)
class Origin:
    """How an AI object is known: the code that makes it, and where that code is.

    `line` is 0 if the place does not matter, as for an annotation.
    """

    text: str
    file: str
    line: int
    #: Whether its requests go to a host whose calls are recorded, None if that is unknown.
    is_reached: bool | None = True


@dataclass(frozen=True, slots=True)
class AIObject:
    """An object of an AI library, or with a `path` an attribute of it: `client.chat.completions`.

    `type_name` is the name of a `catalog.SDKType`.
    """

    rank: ClassVar = 0

    type_name: str
    path: tuple[str, ...]
    origin: Origin

    def __hash__(self) -> int:
        return self.origin.line ^ len(self.path)


@dataclass(frozen=True, slots=True)
class Class:
    """A class of the project."""

    rank: ClassVar = 1

    ref: Ref

    def __hash__(self) -> int:
        return self.ref[1]


@dataclass(frozen=True, slots=True)
class Function:
    """A function or lambda of the project."""

    rank: ClassVar = 2

    ref: Ref

    def __hash__(self) -> int:
        return self.ref[1]


@dataclass(frozen=True, slots=True)
class HTTPClient:
    """An object that sends HTTP requests, or with a `path` an attribute of it."""

    rank: ClassVar = 3

    transport: str
    #: The URL that its requests are relative to, or "".
    base: str
    path: tuple[str, ...]

    def __hash__(self) -> int:
        return len(self.base)


@dataclass(frozen=True, slots=True)
class Library:
    """An object of a library, by its dotted name: `openai.OpenAI`, `builtins.len`."""

    rank: ClassVar = 4

    dotted: str

    def __hash__(self) -> int:
        return _stable_hash(self.dotted)


@dataclass(frozen=True, slots=True)
class Method:
    """A method of a class of the project."""

    rank: ClassVar = 5

    ref: Ref

    def __hash__(self) -> int:
        return self.ref[1]


@dataclass(frozen=True, slots=True)
class Module:
    """A module of the project."""

    rank: ClassVar = 6

    file: str

    def __hash__(self) -> int:
        return _stable_hash(self.file)


@dataclass(frozen=True, slots=True)
class Instance:
    """An object of a class of the project."""

    rank: ClassVar = 7

    ref: Ref
    #: It may be of a subclass.
    is_open: bool

    def __hash__(self) -> int:
        return self.ref[1]


@dataclass(frozen=True, slots=True)
class Super:
    """`super()` in a class of the project."""

    rank: ClassVar = 8

    ref: Ref

    def __hash__(self) -> int:
        return self.ref[1]


@dataclass(frozen=True, slots=True)
class Text:
    """A string, with "{NAME}" for an unknown part."""

    rank: ClassVar = 9

    text: str

    def __hash__(self) -> int:
        return _stable_hash(self.text)


@dataclass(frozen=True, slots=True)
class Items:
    """A tuple, list or set: what each element may be."""

    rank: ClassVar = 10

    elements: tuple[Values, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A dict: what the key and the value of each entry may be."""

    rank: ClassVar = 10

    entries: tuple[tuple[Values, Values], ...]


Value: TypeAlias = (
    AIObject
    | Class
    | Function
    | HTTPClient
    | Library
    | Method
    | Module
    | Instance
    | Super
    | Text
    | Items
    | Table
)
Values: TypeAlias = frozenset[Value]

NOTHING: Values = frozenset()

# For isinstance().
FUNCTIONS = (Function, Method)
CONTAINERS = (Items, Table)
_KNOWN = (AIObject, Library, Function, Method, Class, HTTPClient)


def is_known(values: Values) -> bool:
    """Return whether inference has found out what an object is."""
    return any(isinstance(value, _KNOWN) for value in values)


def is_reference_to(function: Ref, values: Values) -> bool:
    """Return whether `values` include a function or method of the project."""
    return bool(values) and any(
        isinstance(value, FUNCTIONS) and value.ref == function for value in values
    )


def texts_in(values: Values) -> Values:
    """Return the texts among `values`."""
    return frozenset(value for value in values if isinstance(value, Text))


def order(value: Value) -> tuple[int, str]:
    """Return a sort key: AI objects come first, containers last."""
    if isinstance(value, Items):
        return value.rank, str(len(value.elements))
    if isinstance(value, Table):
        return value.rank, str(len(value.entries))
    return value.rank, repr(value)


def ordered(values: Values) -> Iterable[Value]:
    """Return `values` sorted by `order`."""
    return sorted(values, key=order) if len(values) > 1 else values


def flattened(values: Values) -> Values:
    """Return `values` as a container keeps them.

    A container in a container keeps no containers, and long texts are dropped: without that,
    values could grow from round to round.
    """
    found: list[Value] = []
    for value in values:
        match value:
            case Items(elements):
                found.append(Items(tuple(_without_containers(each) for each in elements)))
            case Table(entries):
                found.append(Table(tuple((key, _without_containers(v)) for key, v in entries)))
            case Text(text) if len(text) > _LONGEST_IN_CONTAINER:
                pass
            case _:
                found.append(value)
    return frozenset(found)


def _without_containers(values: Values) -> Values:
    return frozenset(value for value in values if not isinstance(value, CONTAINERS))
