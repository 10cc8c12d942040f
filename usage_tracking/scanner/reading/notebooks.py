"""From a Jupyter notebook to Python text: formats 3 and 4, any kernel that runs Python.

A line of a cell keeps the number that it has in the file, so that editors and code scanning find
it. Where one line of the file holds several lines of code, as in minified files, the next
numbers follow.
"""

from __future__ import annotations

import ast
import json
import json.scanner
import re
import warnings
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, cast

#: A larger notebook, in bytes, is not read.
LARGEST = 50_000_000
_MOST_MAGICS = 500

#: What kernels call Python.
_PYTHON_LANGUAGES = {"python", "python3", "ipython", "pyspark"}
#: Cell magics whose cell is Python.
_PYTHON_CELLS = {
    *("time", "timeit", "capture", "prun", "python", "python3", "pypy", "debug", "memit"),
    *("mprun", "lprun", "snakeviz", "skip", "heat", "scalene", "ipytest", "run_pytest"),
}
_CELL_MAGIC = re.compile(r"\s*%%(\w*)")
#: What the value of a magic is assigned to, and the options between a magic and its statement.
_TARGETS = r"(?:[\w.,\[\]'\" ]+=\s*)?"
_OPTIONS = r"(?:-(?:[A-Za-z]\s*\d+|[sTD]\s*\S+|[A-Za-z-]+)\s+)*"
#: (a line that only IPython understands, its replacement)
_MAGICS = (
    (re.compile(rf"^(\s*{_TARGETS})%(?:time|timeit|prun|memit)\s+{_OPTIONS}(?!-)(.+)$"), r"\1\2"),
    (re.compile(r"^(\s*)[%!?].*$"), r"\1pass"),
    (re.compile(r"^(\s*)(?![#'\"]).*?\?{1,2}\s*$"), r"\1pass"),
    (re.compile(rf"^(\s*{_TARGETS})[%!].*$"), r"\1None"),
)
_LINE_END = re.compile(r"\r\n|\r|\n")


class NotebookError(ValueError):
    """A file is not a notebook that can be read; the message continues "<path> …"."""


@dataclass(slots=True)
class Notebook:
    """The code of a notebook, at the lines of its file."""

    #: Without magics, and without cells that are not valid Python.
    text: str = ""
    #: Only the cells that are not valid Python.
    unparsed: str = ""
    #: (first line in the text, number of the cell, counted from 1 with those of text)
    cells: list[tuple[int, int]] = field(default_factory=list)
    #: Lines of the file, and lines of code.
    lines_on_disk: int = 0
    code_lines: int = 0
    #: The first cell that is not valid Python, and why; "" if there is none.
    problem: str = ""
    problem_line: int = 0


def read(text: str) -> Notebook:
    """Return the code of a notebook.

    Raises:
        NotebookError: The file is not a notebook, or its format is older than 3.
    """
    line_ends = [match.start() for match in re.finditer("\n", text)]
    notebook = Notebook(lines_on_disk=len(line_ends) + (not text.endswith("\n")))
    code: list[str] = []
    unparsed: list[str] = []
    for number, pieces in _cells(_decoded(text)):
        first = max(len(code) + 1, bisect_right(line_ends, pieces[0].start) + 1)
        cell = _LINE_END.sub("\n", "".join(pieces)).removesuffix("\n")
        python, error = _python(cell)
        lines = python.split("\n")
        for all_lines, own in ((code, python), (unparsed, cell if error else "")):
            all_lines += [""] * (first - 1 - len(all_lines))
            all_lines += own.split("\n") if own else [""] * len(lines)
        notebook.cells.append((first, number))
        notebook.code_lines += len(lines)
        if error and not notebook.problem:
            notebook.problem = f"cell {number} is not valid Python: {error.msg}"
            notebook.problem_line = min(first + (error.lineno or 1) - 1, notebook.lines_on_disk)
    notebook.text = "\n".join(code)
    notebook.unparsed = "\n".join(unparsed) if notebook.problem else ""
    return notebook


class _Located(str):
    """A string of the file and the offset at which it begins there."""

    __slots__ = ("start",)
    start: int


def _decoded(text: str) -> Any:
    decoder = cast(Any, json.JSONDecoder())
    plain = decoder.parse_string

    def located(source: str, begin: int, strict: bool) -> tuple[_Located, int]:  # noqa: FBT001
        value, end = plain(source, begin, strict)
        found = _Located(value)
        found.start = begin
        return found, end

    decoder.parse_string = located
    decoder.scan_once = cast(Any, json.scanner).py_make_scanner(decoder)
    try:
        return decoder.decode(text)
    except RecursionError:
        raise NotebookError("is not a notebook: its JSON is nested too deeply") from None
    except ValueError as error:
        raise NotebookError(f"is not a notebook: {error}") from None


def _cells(data: Any) -> Iterator[tuple[int, list[_Located]]]:
    """Yield the number and the source of each cell of Python that is not empty."""
    if not isinstance(data, dict):
        raise NotebookError("is not a notebook: it is not a JSON object")
    holders = data["worksheets"] if isinstance(data.get("worksheets"), list) else [data]
    lists: list[Any] = [holder.get("cells") for holder in holders if isinstance(holder, dict)]
    if not all(isinstance(each, list) for each in lists):
        raise NotebookError("is not a notebook of format 3 or 4: it has no list of cells")
    language = _language(data)
    for number, cell in enumerate(chain.from_iterable(lists), 1):
        if not isinstance(cell, dict) or cell.get("cell_type") != "code":
            continue
        if str(cell.get("language", language)).lower() not in _PYTHON_LANGUAGES:
            continue
        source = cell.get("source", cell.get("input"))
        pieces = source if isinstance(source, list) else [source]
        texts = [piece for piece in pieces if isinstance(piece, _Located)]
        if any(texts):
            yield number, texts


def _language(data: dict[str, Any]) -> str:
    metadata = data.get("metadata")
    for part, key in (("language_info", "name"), ("kernelspec", "language")):
        found = metadata.get(part) if isinstance(metadata, dict) else None
        if isinstance(found, dict) and isinstance(found.get(key), str):
            return str(found[key])
    return "python"


def _python(cell: str) -> tuple[str, SyntaxError | None]:
    """Return a cell as Python with as many lines; empty, with the error, if that fails."""
    lines = cell.split("\n")
    if magic := _CELL_MAGIC.match(cell):
        start = cell[: magic.end()].count("\n")
        if magic[1] not in _PYTHON_CELLS:
            return "\n" * (len(lines) - 1), None
        lines[start] = ""
    for _ in range(_MOST_MAGICS):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                ast.parse("\n".join(lines))
        except SyntaxError as error:
            if not _neutralise(lines, min(error.lineno or 1, len(lines)) - 1):
                return "\n" * (len(lines) - 1), error
        except (ValueError, RecursionError, MemoryError) as error:
            return "\n" * (len(lines) - 1), SyntaxError(str(error))
        else:
            break
    return "\n".join(lines), None


def _neutralise(lines: list[str], index: int) -> bool:
    """Replace the magic in a line, or in the lines that it continues; False if there is none."""
    while index and lines[index - 1].endswith("\\"):
        index -= 1
    for pattern, replacement in _MAGICS:
        replaced = pattern.sub(replacement, lines[index])
        if replaced != lines[index]:
            continues = lines[index].endswith("\\")
            lines[index] = replaced
            while continues and index + 1 < len(lines):
                index += 1
                continues = lines[index].endswith("\\")
                lines[index] = ""
            return True
    return False
