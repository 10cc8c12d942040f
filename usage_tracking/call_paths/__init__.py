"""Finds the paths of AI calls: capture records what is found here, the scanner judges by it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from .table import (
    CALLS,
    CALLS_OF,
    DEPLOYMENT,
    MODEL,
    NEED_MODEL,
    NO_MODELS,
    POLLS,
    POLLS_OF,
    POSTED_POLLS,
    SOCKETS,
    Kind,
)

__all__ = ["DEPLOYMENT", "MODEL", "Kind", "Match", "Paths", "fits"]


class Match(NamedTuple):
    """What a path ends with."""

    ending: str
    format: str
    operation: str
    #: The only provider that has such a path, "" if several have.
    owner: str = ""
    #: The request asks about a job that another request began.
    polls: bool = False


#: Words at the end of a path that are looked up: more than any template has.
_MOST_WORDS = 16

#: Endings by their last word, the longest first, and templates by their first word.
_Table = tuple[dict[str, list[Match]], dict[str, list[tuple[re.Pattern[str], Match]]]]


class Paths:
    """The paths of this table and `own` ones: path ending → wire format and operation."""

    def __init__(self, own: Mapping[str, Kind] | None = None) -> None:
        rooted = {
            ending if ending.startswith(":") else "/" + ending.strip("/"): kind
            for ending, kind in (own or {}).items()
        }
        #: The endings of the own paths.
        self.own = frozenset(rooted)
        self._tables: dict[str, _Table] = {"POST": _table(_posted(rooted)), "GET": _table(_got())}
        self._sockets = [
            (_compiled(ending), name)
            for ending, name in (
                {ending: name for ending, (name, _) in rooted.items() if name in SOCKETS.values()}
                | SOCKETS
            ).items()
        ]
        self._endings = (*CALLS, *rooted, *SOCKETS, *POSTED_POLLS)

    def find(self, method: str, path: str) -> Match | None:
        """Return what a path ends with, None if no such request begins or polls a call.

        Every request of the site is searched: most paths have none of the words.

        Args:
            method: "GET" or "POST".
            path: The raw path, percent-encoded, without the query.
        """
        endings, templates = self._tables[method]
        if path[-1:] == "/":
            path = path[:-1]
        word = path[path.rfind("/") + 1 :]
        if (found := endings.get(_word(word) if ":" in word else word)) is not None:
            for match in found:
                if path.endswith(match.ending):
                    return match
        words = path.rsplit("/", _MOST_WORDS)
        if templates.keys().isdisjoint(words):
            return None
        for word in words:
            for pattern, match in templates.get(word, ()):
                if pattern.search(path):
                    return match
        return None

    def find_socket(self, path: str) -> str:
        """Return the wire format of a websocket, "" if it is none of AI calls.

        Args:
            path: The raw path, percent-encoded, without the query.
        """
        path = path.rstrip("/")
        return next((name for pattern, name in self._sockets if pattern.search(path)), "")

    def may_end_with(self, tail: str) -> bool:
        """Return whether a path of a call may end so if more comes before it."""
        return any(ending.endswith(tail) for ending in self._endings)


def fits(match: Match, model: str, provider: str | None) -> bool:
    """Return whether a path that matches is one of a call.

    Args:
        match: What the path ends with.
        model: The model that the path names, else "".
        provider: The provider behind the host, None if it is unknown.
    """
    if (match.ending in NEED_MODEL and not model) or model in NO_MODELS:
        return False
    return match.owner in {"", provider or match.owner}


def _posted(own: Mapping[str, Kind]) -> Iterator[Match]:
    for ending, kind in {**CALLS, **own}.items():
        yield Match(ending, *kind)
    for owner, paths in CALLS_OF.items():
        for ending, kind in paths.items():
            yield Match(ending, *kind, owner)
    for ending, kind in POSTED_POLLS.items():
        yield Match(ending, *kind, polls=True)


def _got() -> Iterator[Match]:
    for ending, kind in POLLS.items():
        yield Match(ending, *kind, polls=True)
    for owner, paths in POLLS_OF.items():
        for ending, kind in paths.items():
            yield Match(ending, *kind, owner, polls=True)


def _table(matches: Iterator[Match]) -> _Table:
    endings: dict[str, list[Match]] = {}
    templates: dict[str, list[tuple[re.Pattern[str], Match]]] = {}
    for match in sorted(matches, key=lambda match: len(match.ending), reverse=True):
        if match.owner or "{" in match.ending:
            templates.setdefault(_first_word(match.ending), []).append(
                (_compiled(match.ending), match)
            )
        else:
            endings.setdefault(_word(match.ending), []).append(match)
    return endings, templates


def _first_word(template: str) -> str:
    """Return the first word of a template, but not a version, which begins the paths of others."""
    words = template.split("/")[1:]
    word = words[1] if words[0] == "v1" and "{" not in words[1] else words[0]
    return word.partition(":")[0]


def _word(path: str) -> str:
    """Return what follows the last slash or colon."""
    return path[max(path.rfind("/"), path.rfind(":")) + 1 :]


def _compiled(template: str) -> re.Pattern[str]:
    pattern = re.escape(template).replace(r"\{\*\}", ".+").replace(r"\{\}", "[^/:]+")
    return re.compile(pattern + "$")
