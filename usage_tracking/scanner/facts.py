"""The facts of one file, without knowledge of other files: small, picklable, cached.

Expressions are nested tuples whose first item is a tag. A scan holds millions of them and passes
them between processes, and tuples are several times smaller and faster to pickle than objects.

    ("name", identifier, position)      ("attr", expression, name)
    ("call", function, arguments, keywords, line, end line)
    ("text", string)                    ("join", parts)           f-strings, +, %
    ("any", options)                    one of them: or, if-else
    ("items", elements)                 tuple, list, set
    ("table", pairs)                    dict
    ("index", expression, key)          ("pipe", left, right)     a | b
    ("element", expression)             what a loop over it yields
    ("entered", expression)             what `with` binds
    ("scope", number)                   a function, lambda or class of this file
    ("import", dotted)                  ("from", dotted, level, name)
    ("typed", annotation)               an instance of what the annotation names
    ("filled", expression)              a container that gets these entries

`None` is an expression without meaning for the scan. `await` and `*` keep their operand.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Expression = tuple[Any, ...] | None

#: The kinds of a `CodeScope`.
MODULE, FUNCTION, CLASS, LAMBDA = "module", "function", "class", "lambda"


@dataclass(slots=True)
class Binding:
    """A name gets a value."""

    position: int
    value: Expression
    #: It is in no branch: all later code sees this value.
    is_unconditional: bool
    #: The scope of the value; after `global name` it is not that of the name.
    scope: int


@dataclass(slots=True)
class Nesting:
    """The `with` statements and branches of a function that a call is in."""

    managers: tuple[Expression, ...]
    #: (number of the statement, its part: "then", "except 0", …)
    branches: tuple[tuple[int, str], ...]


@dataclass(slots=True)
class Mention:
    """A call, or a function that is named without being called."""

    expression: Any
    #: Index in the `nestings` of its scope.
    nesting: int
    line: int
    #: It is an argument of a call, which may call it.
    is_argument: bool = False
    #: It is a call whose result is awaited at once.
    is_awaited: bool = False


@dataclass(slots=True)
class Parameter:
    """A parameter of a function."""

    name: str
    annotation: Expression
    default: Expression
    keyword_only: bool = False


@dataclass(slots=True)
class CodeScope:
    """A module, class, function or lambda."""

    number: int
    kind: str
    name: str
    qualname: str
    #: The number of the scope around, -1 for a module.
    parent: int
    line: int
    end_line: int
    parameters: list[Parameter] = field(default_factory=list)
    decorators: list[Expression] = field(default_factory=list)
    bases: list[Expression] = field(default_factory=list)
    returns_annotation: Expression = None
    #: What it returns or yields.
    returns: list[Expression] = field(default_factory=list)
    bindings: dict[str, list[Binding]] = field(default_factory=dict)
    #: (owner, attribute, value): `self.client = ...`
    attributes: list[tuple[Expression, str, Expression]] = field(default_factory=list)
    calls: list[Mention] = field(default_factory=list)
    mentions: list[Mention] = field(default_factory=list)
    nestings: list[Nesting] = field(default_factory=list)
    global_names: set[str] = field(default_factory=set)
    is_generator: bool = False
    is_async: bool = False
    #: The index of the nesting of each `yield`.
    yields: list[int] = field(default_factory=list)
    #: (line, index of its nesting) of each `return`, `continue` and `break`.
    exits: list[tuple[int, int]] = field(default_factory=list)


@dataclass(slots=True)
class Imports:
    """What a file imports; nothing more is kept of a file that has nothing to do with AI."""

    #: (dotted, level, names)
    modules: list[tuple[str, int, tuple[str, ...]]] = field(default_factory=list)


@dataclass(slots=True)
class Part:
    """A statement of a module."""

    line: int
    end_line: int
    #: The names that it binds.
    names: tuple[str, ...]
    #: All words in its code, also those in texts, with spaces between.
    words: str
    is_import: bool
    #: Whether it has a sign of AI.
    has_sign: bool
    #: Whether it is a function or class.
    is_definition: bool = False
    #: Imported names or names of its module, of objects that it puts something into.
    fills: tuple[str, ...] = ()
    #: Functions that it calls for their effect, and its decorators.
    effects: tuple[str, ...] = ()
    #: The bases of a class.
    bases: tuple[str, ...] = ()
    #: (owner, attribute) of the attributes that it sets: `state`, `llm` of `app.state.llm = …`.
    attributes: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class Problem:
    """A file, or lines of it, that could not be read as Python."""

    path: str
    #: Continues the sentence that begins with the path.
    reason: str
    line: int = 0


@dataclass(slots=True)
class SourceFile:
    """The facts of one file."""

    path: str
    lines: int = 0
    imports: Imports = field(default_factory=Imports)
    #: Empty if only the imports have been read.
    scopes: list[CodeScope] = field(default_factory=list)
    #: Its statements, in order. Empty if only the imports have been read.
    outline: list[Part] = field(default_factory=list)
    #: Constants in capitals in dicts: a site's defaults of its settings.
    defaults: dict[str, list[str]] = field(default_factory=dict)
    star_imports: list[tuple[str, int]] = field(default_factory=list)
    #: Line → the reason to ignore its calls.
    ignores: dict[int, str] = field(default_factory=dict)
    #: Whether the code of the file mentions AI.
    mentions_ai: bool = False
    #: Whether it only builds what may be the body of a request to a model.
    may_build_body: bool = False
    #: Whether the file mentions AI at all, if only in a comment.
    is_about_ai: bool = False
    #: Whether more than its imports has been read, or it cannot be read.
    is_whole: bool = False
    #: Whether it imports an HTTP library.
    sends_http: bool = False
    #: (line, shape, text): calls found in text that is not valid Python for this interpreter.
    text_calls: list[tuple[int, str, str]] = field(default_factory=list)
    problem: Problem | None = None
    #: Of a notebook: (first line, number of the cell).
    cells: list[tuple[int, int]] = field(default_factory=list)
    #: Of a notebook: the lines of its file.
    lines_on_disk: int = 0
