"""What one file says, without any knowledge of other files: small, picklable, cached.

Expressions are nested tuples whose first item is a tag:

    ("name", identifier, position)      ("attr", expression, name)
    ("call", function, arguments, keywords, line, end line)
    ("text", string)                    ("join", parts)           f-strings, +, %
    ("any", options)                    one of them: or, if-else, await keeps its operand
    ("items", elements)                 tuple, list, set
    ("table", pairs)                    dict
    ("index", expression, key)          ("pipe", left, right)     a | b
    ("element", expression)             what a loop over it yields
    ("entered", expression)             what `with` binds
    ("scope", number)                   a function, lambda or class of this file
    ("import", dotted)                  ("from", dotted, level, name)
    ("typed", annotation)               an instance of what the annotation names

`None` is an expression that says nothing to us.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Expression = tuple[Any, ...] | None

MODULE, FUNCTION, CLASS, LAMBDA = "module", "function", "class", "lambda"


@dataclass(slots=True)
class Binding:
    """A name gets a value."""

    position: int
    value: Expression
    #: Whatever runs behind it has seen it: it stands in no branch.
    always: bool
    #: The scope that the value stands in: not the one of the name after `global name`.
    scope: int


@dataclass(slots=True)
class Place:
    """Where in a function a call stands."""

    #: The context managers around it.
    withs: tuple[Expression, ...]
    #: The branches that it stands in: (number of the statement, which of its blocks).
    blocks: tuple[tuple[int, str], ...]


@dataclass(slots=True)
class Mention:
    """A call, or a function that is named without being called."""

    expression: Any
    place: int
    line: int
    #: It is handed to a call, which may call it.
    handed: bool = False


@dataclass(slots=True)
class Parameter:
    name: str
    annotation: Expression
    default: Expression
    keyword_only: bool = False


@dataclass(slots=True)
class Scope:
    """A module, a class, a function or a lambda."""

    number: int
    kind: str
    name: str
    qualname: str
    parent: int
    line: int
    end_line: int
    parameters: list[Parameter] = field(default_factory=list)
    rest: str = ""
    decorators: list[Expression] = field(default_factory=list)
    bases: list[Expression] = field(default_factory=list)
    returns_annotation: Expression = None
    returns: list[Expression] = field(default_factory=list)
    bindings: dict[str, list[Binding]] = field(default_factory=dict)
    #: (owner, attribute, value): `self.client = ...`
    attributes: list[tuple[Expression, str, Expression]] = field(default_factory=list)
    calls: list[Mention] = field(default_factory=list)
    mentions: list[Mention] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)
    global_names: set[str] = field(default_factory=set)
    is_async: bool = False
    is_generator: bool = False


@dataclass(slots=True)
class Imports:
    """What a file imports: all that is known of files that have nothing to do with AI."""

    #: (dotted, level, names)
    modules: list[tuple[str, int, tuple[str, ...]]] = field(default_factory=list)


@dataclass(slots=True)
class Problem:
    """A file, or lines of it, that could not be read as Python."""

    path: str
    reason: str
    line: int = 0


@dataclass(slots=True)
class SourceFile:
    """The facts of one file."""

    path: str
    lines: int = 0
    imports: Imports = field(default_factory=Imports)
    #: Empty while nobody has asked for more than the imports.
    scopes: list[Scope] = field(default_factory=list)
    #: Constants in capitals that dicts hold: a site's defaults of its settings.
    defaults: dict[str, list[str]] = field(default_factory=dict)
    star_imports: list[tuple[str, int]] = field(default_factory=list)
    #: Line → why it is to be ignored.
    ignores: dict[int, str] = field(default_factory=dict)
    #: Whether the file speaks of AI by itself.
    speaks_of_ai: bool = False
    #: (line, shape, text): calls found in text that is no Python for this interpreter.
    text_calls: list[tuple[int, str, str]] = field(default_factory=list)
    problem: Problem | None = None
