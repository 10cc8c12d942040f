"""Cover places of a Python file by `ai_usage`, and leave every other byte as it is."""

from __future__ import annotations

import ast
import io
import json
import re
import sys
import tokenize
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import takewhile

from .syntax import (
    FUNCTIONS,
    Function,
    blocks,
    bound_names,
    decorator_name,
    first_line,
    is_docstring,
    is_generator,
    is_import_of_ours,
    last_line,
    runs_other_code,
)

#: Decorators that do not read the function below them in a way that a wrapper would change.
_HARMLESS = {
    *("staticmethod", "classmethod", "property", "cached_property", "abstractmethod", "override"),
    *("final", "wraps", "contextmanager", "asynccontextmanager", "lru_cache", "cache", "setter"),
    *("shared_task", "task", "periodic_task", "db_task", "db_periodic_task", "actor", "job"),
    *("api_view", "action", "require_POST", "require_GET", "require_http_methods", "require_safe"),
    *("login_required", "csrf_exempt", "permission_required", "staff_member_required"),
    *("user_passes_test", "never_cache", "cache_page", "method_decorator", "atomic", "receiver"),
    *("permission_classes", "authentication_classes", "throttle_classes", "parser_classes"),
    *("renderer_classes", "extend_schema", "swagger_auto_schema", "xframe_options_exempt"),
    *("retry", "sync_to_async", "async_to_sync", "database_sync_to_async", "display", "filter"),
    *("simple_tag", "inclusion_tag", "command", "timeit", "timed", "traced", "observe"),
}
_BOM = b"\xef\xbb\xbf"


class CannotEditError(Exception):
    """A place cannot be changed safely; the message says why."""


@dataclass(frozen=True, slots=True)
class Edit:
    """A place to cover."""

    section: str
    #: The line of `def`; None for code outside of functions.
    function: int | None
    #: First and last line of each call in the place: of a site, or one that leads to it.
    calls: tuple[tuple[int, int], ...]


class SourceText:
    """A Python file that is edited by lines of bytes.

    Raises:
        CannotEditError: The file cannot be parsed by this version of Python, or its lines have
            other ends than LF or CRLF.
    """

    def __init__(self, data: bytes) -> None:
        self._bom = _BOM if data.startswith(_BOM) else b""
        self.before = data
        if b"\r" in data.replace(b"\r\n", b""):
            raise CannotEditError("the file has carriage returns that end no line")
        self._lines: list[bytes] = re.findall(rb"[^\n]*\n|[^\n]+", data.removeprefix(self._bom))
        try:
            self._tree = ast.parse(data)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise CannotEditError(f"the file cannot be parsed: {error}") from error
        #: Index of a line → what to insert before it, and what to indent it with.
        self._before: dict[int, list[bytes]] = defaultdict(list)
        self._deeper: dict[int, bytes] = {}
        self._name, self._import_line = self._imported_name()
        name, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        self._encoding = name.removesuffix("-sig")  # the BOM is kept apart

    def edit(self, edit: Edit) -> None:
        """Cover a place.

        Raises:
            CannotEditError: That is not safe here. Nothing is changed then.
        """
        if self._import_line > (edit.function or min(first for first, _ in edit.calls)):
            raise CannotEditError(f"ai_usage is imported below it, at line {self._import_line}")
        opens = self._opens(edit.section)
        if edit.function is None:
            # All before any: a place is changed as a whole, or not at all.
            for first, last in self._ranges(edit.calls, self._tree.body):
                self._wrap(first, last, b"with " + opens, self._unit())
            return
        function = self._function(edit.function)
        other = [
            name
            for each in function.decorator_list
            if (name := decorator_name(each)) not in _HARMLESS
        ]
        if runs_other_code(function, self._tree):
            for first, last in self._ranges(edit.calls, function.body):
                self._wrap(first, last, _with(function) + opens, self._unit())
            return
        if not other and function.lineno - 1 in self._deeper:
            raise CannotEditError("another change overlaps it; apply that one first")
        if not other:
            self._insert(function.lineno, b"@" + opens)
        elif is_generator(function):
            raise CannotEditError(f"it is a generator below @{other[0]}, which may read it")
        else:
            self._wrap_body(function, opens, edit)

    def result(self) -> bytes:
        """Return the file with all edits.

        Raises:
            CannotEditError: The result cannot be parsed.
        """
        if not self._import_line and self._before:
            self._add_import()
        parts: list[bytes] = []
        for index, line in enumerate(self._lines):
            parts += self._before.get(index, ())
            # A form feed begins the indentation anew.
            feeds = len(line) - len(line.lstrip(b"\f"))
            parts.append(line[:feeds] + self._deeper.get(index, b"") + line[feeds:])
        data = self._bom + b"".join(parts)
        try:
            ast.parse(data)
        except (SyntaxError, ValueError) as error:
            raise CannotEditError(f"the change does not parse: {error}") from error
        return data

    # The import

    def _imported_name(self) -> tuple[str, int]:
        """Return the expression for `ai_usage` and the line of its import, 0 if it is missing."""
        bound = bound_names(self._tree)
        for node in self._tree.body:
            for alias in node.names if isinstance(node, (ast.Import, ast.ImportFrom)) else ():
                name = alias.asname or alias.name
                if is_import_of_ours(node, alias) and name not in bound:
                    is_module = isinstance(node, ast.Import)
                    return f"{name}.ai_usage" if is_module else name, node.lineno
        if "ai_usage" in bound:
            raise CannotEditError("the name ai_usage has another meaning in this file")
        return "ai_usage", 0

    def _add_import(self) -> None:
        """Insert the import after the first imports of the file, before those of the project."""
        line = b"from usage_tracking import ai_usage"
        body = self._tree.body
        rest = body[1:] if is_docstring(body[0]) else body
        imports = list(takewhile(lambda node: isinstance(node, (ast.Import, ast.ImportFrom)), rest))
        absolute = [each for each in imports if not getattr(each, "level", 0)]
        if not imports:
            if not rest or not self._is_alone(rest[0]):
                raise CannotEditError("there is no line for the import")
            self._insert(first_line(rest[0]), line, b"", indent=b"", at_front=True)
            return
        last = (absolute or imports)[-1]
        end = last_line(last)
        for node in rest:  # `import a; b = (`
            if node.lineno <= end:
                end = max(end, last_line(node))
        if end >= len(self._lines):
            raise CannotEditError("there is no line for the import")
        module = last.module if isinstance(last, ast.ImportFrom) else ast.unparse(last).split()[1]
        # Imports of the standard library are a separate group.
        is_standard = (module or "").partition(".")[0] in {"__future__", *sys.stdlib_module_names}
        lines = [b"", line] if is_standard else [line]
        self._insert(end + 1, *lines, indent=b"", at_front=True)

    def _opens(self, section: str) -> bytes:
        """Return the call of `ai_usage`, with the escapes that the encoding of the file needs."""
        literal = json.dumps(section, ensure_ascii=False)
        try:
            literal.encode(self._encoding)
        except UnicodeEncodeError:
            literal = ascii(section)
        return f"{self._name}(section={literal})".encode(self._encoding)

    # Statements

    def function_at(self, line: int) -> int | None:
        """Return the line of the innermost function that a line is in, None if it is in none."""
        return max(
            (
                node.lineno
                for node in ast.walk(self._tree)
                if isinstance(node, FUNCTIONS) and node.lineno <= line <= last_line(node)
            ),
            default=None,
        )

    def _function(self, line: int) -> Function:
        for node in ast.walk(self._tree):
            if isinstance(node, FUNCTIONS) and node.lineno == line and self._is_alone(node):
                return node
        raise CannotEditError("the function was not found")

    def _statement(self, first: int, last: int, block: list[ast.stmt]) -> ast.stmt:
        """Return the smallest statement of a block that can be indented and has the lines."""
        found: ast.stmt | None = None
        body: list[ast.stmt] | None = block
        while body:
            inside = [
                each for each in body if first_line(each) <= first and last <= last_line(each)
            ]
            if len(inside) != 1:
                break
            (node,) = inside
            if self._is_alone(node) and not self._text(node).startswith(b"elif"):
                found = node
            body = next(
                (
                    block
                    for block in blocks(node)
                    if first_line(block[0]) <= first and last <= last_line(block[-1])
                ),
                None,
            )
        if found is None:
            raise CannotEditError("it shares its line with another statement")
        return found

    def _wrap_body(self, function: Function, opens: bytes, edit: Edit) -> None:
        """Indent the statements with the calls below a `with`."""
        body = function.body[1:] if is_docstring(function.body[0]) else function.body
        chosen = [
            each
            for each in body
            if any(first_line(each) <= first <= last_line(each) for first, _ in edit.calls)
        ]
        if not chosen:
            raise CannotEditError("the call is not in the body of the function")
        if any(isinstance(each, (*FUNCTIONS, ast.ClassDef)) for each in chosen):
            chosen = body  # what is defined in it runs later, where it is called
        first, last = self._range(chosen[0], chosen[-1])
        inside, outside = self._indent_at(first), self._indent_at(function.lineno)
        unit = inside[len(outside) :] if inside.startswith(outside) else inside
        self._wrap(first, last, _with(function) + opens, unit or b"    ")

    def _ranges(
        self, calls: Iterable[tuple[int, int]], body: list[ast.stmt]
    ) -> list[tuple[int, int]]:
        """Return the first and last lines of the statements with the calls, joined if adjacent."""
        found: list[tuple[int, int]] = []
        for statement in dict.fromkeys(self._statement(*call, body) for call in calls):
            found.append(self._range(statement, statement))
        joined: list[tuple[int, int]] = []
        for first, last in sorted(found, key=lambda each: (each[0], -each[1])):
            start, end = joined[-1] if joined else (first, 0)
            if last <= end:
                continue  # it is inside the statement before
            if joined and first == end + 1 and self._indent_at(first) == self._indent_at(start):
                joined[-1] = start, last
            else:
                joined.append((first, last))
        return joined

    def _range(self, first: ast.stmt, last: ast.stmt) -> tuple[int, int]:
        """Return the first and last line of statements if they can be indented."""
        start, end = first_line(first), last_line(last)
        for node in ast.walk(self._tree):
            if isinstance(node, ast.stmt) and last_line(node) >= start and first_line(node) <= end:
                is_inside = start <= first_line(node) and last_line(node) <= end
                is_around = first_line(node) < start and last_line(node) >= end
                if not (is_inside or is_around):
                    raise CannotEditError("it shares its line with another statement")
        if not self._is_alone(first):
            raise CannotEditError("it shares its line with another statement")
        if any(line in self._deeper or line in self._before for line in range(start - 1, end)):
            raise CannotEditError("another change overlaps it; apply that one first")
        return start, end

    def _wrap(self, first: int, last: int, opens: bytes, unit: bytes) -> None:
        inside_strings = set(self._string_lines())
        self._insert(first, opens + b":")
        for line in range(first, last + 1):
            if line not in inside_strings and self._lines[line - 1].strip():
                self._deeper[line - 1] = unit

    def _indent_at(self, line: int) -> bytes:
        text = self._lines[line - 1]
        return text[: len(text) - len(text.lstrip(b" \t\f"))]

    def _insert(
        self, line: int, *texts: bytes, indent: bytes | None = None, at_front: bool = False
    ) -> None:
        """Insert lines before a line, by default with its indentation."""
        if indent is None:
            indent = self._indent_at(line)
        end = b"\r\n" if self._lines[0].endswith(b"\r\n") else b"\n"
        new = [(indent + text if text else b"") + end for text in texts]
        at = self._before[line - 1]
        self._before[line - 1] = [*new, *at] if at_front else [*at, *new]

    def _is_alone(self, node: ast.stmt) -> bool:
        """Return whether only spaces are before a statement on its line."""
        line = first_line(node)
        return line != node.lineno or len(self._indent_at(line)) == node.col_offset

    def _text(self, node: ast.stmt) -> bytes:
        return self._lines[node.lineno - 1].lstrip()

    def _unit(self) -> bytes:
        """Return the indentation of one level in this file."""
        for node in self._tree.body:
            for block in blocks(node):
                if indent := self._indent_at(first_line(block[0])):
                    return indent
        return b"    "

    def _string_lines(self) -> Iterator[int]:
        """Yield the lines that begin inside a string, which indenting would change."""
        starts: list[int] = []
        for token in tokenize.tokenize(io.BytesIO(self.before).readline):
            kind = tokenize.tok_name[token.type]
            if kind in {"FSTRING_START", "TSTRING_START"}:
                starts.append(token.start[0])
            elif kind == "STRING" or (kind in {"FSTRING_END", "TSTRING_END"} and starts):
                start = token.start[0] if kind == "STRING" else starts.pop()
                yield from range(start + 1, token.end[0] + 1)


def _with(function: Function) -> bytes:
    return b"async with " if isinstance(function, ast.AsyncFunctionDef) else b"with "
