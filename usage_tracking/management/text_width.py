"""How many columns of a terminal a text takes.

Terminals differ in rare scripts. This follows most of them for wide characters, combining marks and
emoji.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

_ELLIPSIS = "…"
_JOINER = "\u200d"
#: After a symbol or a digit: show it as an emoji, which is wide.
_AS_EMOJI = "\ufe0f"
_SKIN_TONES = range(0x1F3FB, 0x1F400)
#: Vowels and final consonants of Hangul, which join the consonant before them.
_HANGUL = (*range(0x1160, 0x1200), *range(0xD7B0, 0xD800))


def width_of(text: str) -> int:
    """Return the columns of `text`, which has no control characters."""
    return len(text) if text.isascii() else sum(width for _, width in _clusters(text))


def pad(text: str, width: int) -> str:
    """Fill `text` with spaces on the right, or on the left for a negative `width`."""
    spaces = " " * (abs(width) - width_of(text))
    return text + spaces if width > 0 else spaces + text


def cut(text: str, width: int) -> str:
    """Shorten `text` to at most `width` columns, and end it with an ellipsis if it was longer."""
    if width_of(text) <= width:
        return text
    kept, room = "", width - 1
    for cluster, columns in _clusters(text):
        room -= columns
        if room < 0:
            break
        kept += cluster
    return kept.rstrip() + _ELLIPSIS


def _clusters(text: str) -> Iterator[tuple[str, int]]:
    """Yield the characters of `text` with those that join them, and the columns of each."""
    cluster, width = "", 0
    for char in text:
        if char == _AS_EMOJI and width == 1:
            cluster, width = cluster + char, 2
        elif cluster and _joins(cluster, char):
            cluster += char
        else:
            if cluster:
                yield cluster, width
            cluster, width = char, _columns(char)
    if cluster:
        yield cluster, width


def _joins(cluster: str, char: str) -> bool:
    """Return whether `char` takes no column of its own after `cluster`."""
    if cluster[-1] == _JOINER:
        return unicodedata.category(char) == "So"  # parts of one emoji
    return _columns(char) == 0 or (
        ord(char) in _SKIN_TONES and unicodedata.category(cluster[0]) == "So"
    )


def _columns(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me", "Cf") or ord(char) in _HANGUL:
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
