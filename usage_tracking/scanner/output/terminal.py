"""Lines for a terminal: colour by ANSI escape codes, and long lines wrapped."""

from __future__ import annotations

import os
import re
import shutil
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import IO, Any

#: (text, style); a style is words of `_CODES`, or empty.
Piece = tuple[str, str]

#: https://en.wikipedia.org/wiki/ANSI_escape_code#Select_Graphic_Rendition_parameters
_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33"}
#: How much deeper than its first line a wrapped line is indented.
_HANGING = 4
_NARROWEST = 40


def printer(
    out: Any, *, is_terminal: bool, no_color: bool, force_color: bool
) -> Callable[[Iterable[list[Piece]]], None] | None:
    """Return what prints lines on `out`; None if they are to be printed as they are.

    Lines are wrapped on a terminal only.
    """
    has_colour = wants_colour(is_terminal=is_terminal, no_color=no_color, force_color=force_color)
    if not has_colour and not is_terminal:
        return None
    width = max(_NARROWEST, shutil.get_terminal_size().columns) if is_terminal else None
    return partial(print_lines, out=out, width=width, has_colour=has_colour)


def wants_colour(*, is_terminal: bool, no_color: bool, force_color: bool) -> bool:
    """Return whether to print colours: `NO_COLOR` wins over `--force-color`."""
    return (force_color or is_terminal) and not (no_color or os.environ.get("NO_COLOR"))


def print_lines(
    lines: Iterable[list[Piece]], out: IO[str], *, width: int | None, has_colour: bool
) -> None:
    """Write lines of pieces to `out`, each in at most `width` columns."""
    for line in lines:
        for part in wrapped(line, width) if width else (line,):
            out.write("".join(_styled(*piece) if has_colour else piece[0] for piece in part) + "\n")


def wrapped(line: list[Piece], width: int) -> Iterator[list[Piece]]:
    """Yield a line as lines of at most `width` columns; those after the first are indented."""
    text = "".join(text for text, _ in line)
    indent = min(len(text) - len(text.lstrip(" ")) + _HANGING, width // 2)
    current: list[Piece] = []
    used = 0
    for word, style in _words(line, width - indent):
        columns = _columns(word)
        if used + columns > width and current:
            yield _stripped(current)
            current, used = [(" " * indent, "")], indent
            if word.isspace():
                continue
        current.append((word, style))
        used += columns
    yield _stripped(current)


def _words(line: list[Piece], most: int) -> Iterator[Piece]:
    """Yield words and spaces; a word of more than `most` columns in parts."""
    for text, style in line:
        for word in re.findall(r" +|[^ ]+", text):
            part = ""
            for character in word:
                if _columns(part + character) > most:
                    yield part, style
                    part = ""
                part += character
            yield part, style


def _stripped(line: list[Piece]) -> list[Piece]:
    while line and not line[-1][0].strip(" "):
        line = line[:-1]
    return line


def _columns(text: str) -> int:
    """Return the columns of a terminal that a text takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(each) else 1 + (unicodedata.east_asian_width(each) in "WF")
        for each in text
    )


def _styled(text: str, style: str) -> str:
    codes = ";".join(_CODES[word] for word in style.split())
    return f"\x1b[{codes}m{text}\x1b[0m" if codes and text else text
