"""From a file to facts, even if the file is not valid Python.

Python of another version (2, or newer than the interpreter) is repaired line by line until it
parses. Lines that cannot be repaired are searched as text. In both cases the report names the file.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
import warnings
from collections.abc import Iterable

from ..catalog import Catalog
from ..facts import Problem, SourceFile
from . import notebooks
from .imports import read_imports, statements
from .lowering import lower
from .outlines import outline_of
from .signs import Signs

#: A larger file, in bytes, is probably generated; it is searched as text.
LARGEST = 2_000_000
_MOST_REPAIRS = 60
NOTEBOOK = ".ipynb"

_IGNORE = re.compile(r"#\s*ai-usage:\s*ignore\b[ :,-]*(.*)")


def read_text(data: bytes) -> tuple[str, str]:
    """Return the text of a file, and the problem with its encoding or ""."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", errors="replace"), "is UTF-16, not UTF-8"
    encoding = "utf-8"
    if b"coding" in data[:200]:
        try:
            encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        except SyntaxError:
            encoding = "utf-8"
    try:
        return data.decode("utf-8-sig" if encoding.startswith("utf-8") else encoding), ""
    except (UnicodeDecodeError, LookupError):
        return data.decode("latin-1"), f"is not {encoding}; read as latin-1"


def parse(path: str, data: bytes, *, whole: bool, catalog: Catalog, signs: Signs) -> SourceFile:
    """Return the facts of a file: all if `whole` or if it mentions AI, else only its imports."""
    text, problem = read_text(data)
    source = SourceFile(path, lines=text.count("\n") + 1, is_whole=whole)
    if problem:
        source.problem = Problem(path, problem)
    if path.endswith(NOTEBOOK):
        text = _code_of_notebook(source, text, len(data), catalog)
    elif len(data) > LARGEST:
        source.problem = Problem(path, f"has {len(data)} bytes; searched as text")
        source.text_calls = search_text(_lines(text), catalog.unmistakable)
        return source
    if "ai-usage" in text:
        source.ignores = _ignores(text)
    tree, dropped, reason = _tree(text)
    if reason:
        source.problem = Problem(path, *reason)
    if dropped:
        lines = _lines(text)
        kept = [line if number in dropped else "" for number, line in enumerate(lines, 1)]
        source.text_calls += search_text(kept, catalog.unmistakable)
    if tree is None:
        source.is_whole = True
        return source
    try:
        code = "\n".join(_lines(text))
        source.imports = read_imports(tree, text)
        # The URL and the body of a request may have no sign of AI.
        source.sends_http = catalog.sends_http(source.imports)
        imports = _lines_of_ai_imports(tree, catalog)
        found = signs.find(code, tree, is_certain=bool(imports) or source.sends_http)
        sign_lines = found.lines | imports
        source.is_about_ai = found.any
        source.mentions_ai = found.are_certain and bool(sign_lines)
        source.may_build_body = not found.are_certain and bool(sign_lines)
        source.is_whole = whole or source.mentions_ai or source.may_build_body or source.sends_http
        if source.is_whole:
            lower(tree, source)
            source.outline = outline_of(code, tree, sign_lines)
    except RecursionError:
        source.is_whole = True
        search_instead(source, text, catalog)
    return source


def _lines_of_ai_imports(tree: ast.Module, catalog: Catalog) -> set[int]:
    found = set()
    for node in statements(tree):
        if isinstance(node, ast.Import):
            dotted = [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            dotted = [node.module, *(f"{node.module}.{each.name}" for each in node.names)]
        else:
            continue
        if any(map(catalog.is_about_ai, dotted)):
            found.add(node.lineno)
    return found


def _code_of_notebook(source: SourceFile, text: str, size: int, catalog: Catalog) -> str:
    """Return the code of a notebook, whose cells that cannot be parsed are searched as text."""
    try:
        if size > notebooks.LARGEST:
            raise notebooks.NotebookError(f"has {size} bytes; not read")
        notebook = notebooks.read(text)
    except notebooks.NotebookError as error:
        source.problem, source.lines = Problem(source.path, str(error)), 0
        return ""
    source.cells, source.lines_on_disk = notebook.cells, notebook.lines_on_disk
    source.lines = notebook.code_lines
    if notebook.problem:
        source.problem = Problem(source.path, notebook.problem, notebook.problem_line)
        source.text_calls = search_text(notebook.unparsed.split("\n"), catalog.unmistakable)
    return notebook.text


def search_instead(source: SourceFile, text: str, catalog: Catalog) -> None:
    """Replace the facts of a file that is nested too deeply by a search of its text."""
    source.scopes.clear()
    source.problem = Problem(source.path, "is nested too deeply; searched as text")
    source.text_calls = search_text(_lines(text), catalog.unmistakable)


def _lines(text: str) -> list[str]:
    """Return the lines of a text as the parser counts them: a form feed does not end one."""
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _ignores(text: str) -> dict[int, str]:
    """Return line → reason of the comments `# ai-usage: ignore reason`.

    A comment on a line of its own applies to the line below.
    """
    found = {}
    for number, line in enumerate(_lines(text), 1):
        if match := _IGNORE.search(line):
            found[number + line.lstrip().startswith("#")] = match[1].strip()
    return found


def _tree(text: str) -> tuple[ast.Module | None, set[int], tuple[str, int] | None]:
    """Return the tree, the numbers of the lines that it lacks, and the first problem."""
    lines: list[str] | None = None
    dropped: set[int] = set()
    first: tuple[str, int] | None = None
    for _ in range(_MOST_REPAIRS):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # such as invalid escapes: not about this scan
                return ast.parse(text), dropped, first
        except SyntaxError as error:
            line = error.lineno or 1
            if first is None:
                first = (f"is not valid Python for this version: {error.msg}", line)
            if lines is None:
                lines = _lines(text)
            if not _repair(lines, line, error.msg or "", dropped):
                break
            text = "\n".join(lines)
        except (ValueError, RecursionError, MemoryError) as error:
            first = first or (f"cannot be parsed: {error}", 1)
            break
    every = set(range(1, text.count("\n") + 2))
    return None, every, first


_GENERIC = re.compile(r"^(\s*(?:async\s+)?(?:def|class)\s+\w+)\[[^()]*\](?=\s*[(:])")
_REPAIRS: tuple[tuple[re.Pattern[str], str], ...] = (
    # Newer than Python 3.11
    (re.compile(r"^(\s*)type\s+(\w+)(?:\[.*?\])?\s*="), r"\1\2 ="),
    (_GENERIC, r"\1"),
    (re.compile(r"^(\s*except\*?\s+)([\w.]+(?:\s*,\s*[\w.]+)+)\s*:"), r"\1(\2):"),
    # Python 2
    (re.compile(r"^(\s*)print\s+>>\s*[\w.]+\s*,\s*(.*)$"), r"\1print(\2)"),
    (re.compile(r"^(.*?)\bprint\s+(?![=(])(.*?),?\s*(#.*)?$"), r"\1print(\2)"),
    (re.compile(r"^(.*?)\bprint\s+(\(.*\)\s*[%+,].*)$"), r"\1print(\2)"),
    (re.compile(r"^(\s*except\s+.+?)\s*,\s*(\w+)\s*:"), r"\1 as \2:"),
    (re.compile(r"^(\s*raise\s+[\w.]+)\s*,\s*([^,]+).*$"), r"\1(\2)"),
    (re.compile(r"^(\s*)exec\s+(.+?)(?:\s+in\s+.*)?$"), r"\1exec(\2)"),
    (re.compile(r"`([^`]*)`"), r"repr(\1)"),
    (re.compile(r"<>"), "!="),
    (re.compile(r"\bur(['\"])"), r"u\1"),
    (re.compile(r"\b0(\d+)\b"), r"0o\1"),
    (re.compile(r"\b(\d+)[lL]\b"), r"\1"),
)


def _repair(lines: list[str], number: int, message: str, dropped: set[int]) -> bool:
    """Change the line of a syntax error; return False if nothing is left to try."""
    number = min(max(number, 1), len(lines))
    line = lines[number - 1]
    if "unexpected indent" in message or "unindent" in message or "expected an indented" in message:
        return _repair_indent(lines, number, message, dropped)
    if "inconsistent use of tabs" in message:
        if not any("\t" in each for each in lines):
            return False
        lines[:] = [each.expandtabs(8) for each in lines]
        return True
    for pattern, replacement in _REPAIRS:
        repaired = pattern.sub(replacement, line)
        if repaired != line and number not in dropped:
            lines[number - 1] = repaired
            return True
    quoted = _plain_quotes(line)
    if quoted != line and number not in dropped:
        lines[number - 1] = quoted
        return True
    if number in dropped or not line.strip():
        return False
    dropped.add(number)
    indent = line[: len(line) - len(line.lstrip())]
    opens = "if True:" if line.rstrip().endswith(":") else "pass"
    lines[number - 1] = indent + opens
    return True


def _repair_indent(lines: list[str], number: int, message: str, dropped: set[int]) -> bool:
    if "expected an indented" in message:
        # The block before is empty.
        before = number - 2
        while before >= 0 and not lines[before].strip():
            before -= 1
        if before < 0 or not lines[before].rstrip().endswith(":"):
            return False
        lines[before] = lines[before].rstrip() + " pass"
        return True
    if number in dropped:
        return False
    dropped.add(number)
    lines[number - 1] = ""
    return True


_NESTED = re.compile(r"\{[^{}]*\}")


def _plain_quotes(line: str) -> str:
    """Return `f"{x["y"]}"`, which Python 3.12 allows, with the other quotes inside."""
    match = re.search(r"\b[rR]?[fF][rR]?(['\"])", line)
    if match is None:
        return line
    quote = match[1]
    other = "'" if quote == '"' else '"'

    def swapped(field: re.Match[str]) -> str:
        return field[0].replace(quote, other)

    return line[: match.end()] + _NESTED.sub(swapped, line[match.end() :])


_STRING = re.compile(r"(?:'[^'\n]*'|\"[^\"\n]*\")")


def search_text(lines: Iterable[str], shapes: Iterable[str]) -> list[tuple[int, str, str]]:
    """Return (line, shape, call) of each call of an unmistakable shape in unparsable text."""
    choices = "|".join(re.escape(shape) for shape in sorted(shapes, key=len, reverse=True))
    pattern = re.compile(rf"(?<![\w])((?:[\w\]\[()]+\.)*?\.?({choices}))\s*\(")
    found = []
    is_quoted = ""
    for number, line in enumerate(lines, 1):
        for quote in ('"""', "'''"):
            if line.count(quote) % 2 and is_quoted in ("", quote):
                is_quoted = "" if is_quoted else quote
        if is_quoted:
            continue
        code = _STRING.sub("''", line).partition("#")[0]
        match = pattern.search(code)
        if match and "." in match[1] and not re.match(r"\s*(async\s+)?def\b", code):
            found.append((number, match[2], match[1].strip(".")))
    return found
