"""Colour for a terminal, by ANSI escape codes."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import IO

#: https://en.wikipedia.org/wiki/ANSI_escape_code#Select_Graphic_Rendition_parameters
_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33"}


def wants_colour(*, no_color: bool, force_color: bool, is_terminal: bool) -> bool:
    """Return whether to print in colour; `NO_COLOR` wins over `--force-color`."""
    if no_color or os.environ.get("NO_COLOR"):
        return False
    return force_color or is_terminal


def print_lines(lines: Iterable[Iterable[tuple[str, str]]], out: IO[str]) -> None:
    """Write lines of (text, style) pairs to `out`; a style is words of `_CODES`, or empty."""
    for line in lines:
        out.write("".join(_styled(text, style) for text, style in line) + "\n")


def _styled(text: str, style: str) -> str:
    codes = ";".join(_CODES[word] for word in style.split())
    return f"\x1b[{codes}m{text}\x1b[0m" if codes and text else text
