"""Which files can have to do with AI calls, so that only those are analysed.

Signs of AI (`signs`) are where this begins. It follows names from statement to statement of
modules:

- *Upwards*: a statement with a sign is relevant. So is each statement that has a name which a
  relevant statement of its module binds, or which its module imports from there, also through
  the modules between them. A client reaches the code that uses it in this way, and a call site
  the code that calls it. The signs of a file that only builds what may be the body of a request
  count near code that sends HTTP.
- *Sideways*: what a relevant statement fills is relevant too, such as a registry of another
  module. So is the interface that a class implements, because code that calls the interface
  calls the class.
- *By attributes and settings*: `app.state.llm` and `settings.LLM_URL` reach files that do not
  import the one that sets them.
- *Downwards*: of a relevant statement, the definitions that it uses are needed too: the function
  that it passes a client to, the base of its class. These are followed a few imports far, less far
  in files that do not mention AI, because what such definitions use in turn hardly says anything
  about the call.

A file that imports an HTTP library is relevant as a whole. What imports it is not, unless the
analysis finds a call in the file: then it is repeated, and the call counts as a sign. Sideways and
by attributes, names lead only to files that mention AI somewhere, at least in a comment.

Words stand for names here, whatever they mean in the code. This finds too much rather than too
little, and needs no analysis.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from ..facts import Part
from ..program import Program

#: Definitions are followed at most so many imports down: in files that mention AI, and in others.
_DEEPEST = 6
_DEEPEST_ELSEWHERE = 3
#: At most so many modules build a body, and at most so many hand it on until it is sent.
_MOST_HOPS = 4
#: At most this often, files are searched for the attributes that the files found before set.
_MOST_SEARCHES = 3
#: Words of an interface, whose methods other classes implement.
_INTERFACE = {"ABC", "ABCMeta", "NotImplementedError", "abstractmethod"}
#: Words of code that reads what a module has by a computed name.
_READING = {"__dict__", "attrgetter", "getattr", "globals", "import_module", "vars"}
#: In a statement with more words, such a word and a module have hardly to do with each other.
_LONG = 40
_PACKAGE = "__init__.py"


class Reader(Protocol):
    """Reads what has not been read of files."""

    def read_in_full(self, paths: Collection[str]) -> None:
        """Read in full those of the files that were not."""

    def outline(self, path: str) -> list[Part]:
        """Return the statements of a file that was read in full."""

    def search(
        self, paths: Iterable[str], attributes: Mapping[str, Collection[str]]
    ) -> Iterator[tuple[str, set[int]]]:
        """Yield the files with one of the `attributes` by owner, and the numbers of the lines."""


@dataclass(frozen=True, slots=True)
class Relevance:
    """Relevant lines, by file, as the bits of a number: bit 1 for the first line."""

    #: Each file to analyse, and its relevant lines, perhaps none.
    lines: dict[str, int]
    #: Those of them from which names have been followed to their users.
    followed: dict[str, int]


def relevance_of(
    program: Program, reader: Reader, sites: Mapping[str, Collection[int]] | None = None
) -> Relevance:
    """Return what of a program can have to do with AI calls.

    `sites` are lines, by file, that are relevant without a sign, because a call is known there.
    """
    relevant = _Upwards(program, reader, sites or {}).follow()
    needed = _follow_downwards(program, relevant, reader)
    followed = {path: _lines_of(parts) for path, parts in relevant.items()}
    lines = dict(followed)
    for path, parts in needed.items():
        lines[path] = lines.get(path, 0) | _lines_of(parts)
    for path, source in program.files.items():
        if source.sends_http:
            lines[path] = (2 << source.lines) - 1
    return Relevance(lines, followed)


def _lines_of(parts: Iterable[Part]) -> int:
    """Return the lines of statements as the bits of a number."""
    lines = 0
    for part in parts:
        lines |= (2 << part.end_line) - (1 << part.line)
    return lines


class _Upwards:
    def __init__(
        self, program: Program, reader: Reader, sites: Mapping[str, Collection[int]]
    ) -> None:
        self._sites = sites
        self._program = program
        self._reader = reader
        self._users = program.users
        #: File → its statements.
        self._outlines: dict[str, list[Part]] = {}
        #: File → words that stand for names of relevant statements, of it or of what it imports.
        self._words: dict[str, set[str]] = defaultdict(set)
        #: File → names of relevant statements of the modules that it imports as a whole.
        self._through: dict[str, set[str]] = defaultdict(set)
        #: File → the names that it may give those modules.
        self._modules: dict[str, set[str]] = defaultdict(set)
        #: File → the indexes of its relevant statements.
        self._relevant: dict[str, set[int]] = defaultdict(set)
        #: File → the indexes of those whose effects have been followed.
        self._followed: dict[str, set[int]] = defaultdict(set)
        #: Owner → attributes that statements with a sign set, and those of them searched for.
        self._attributes: dict[str, set[str]] = defaultdict(set)
        self._searched: set[tuple[str, str]] = set()

    def follow(self) -> dict[str, list[Part]]:
        """Return the relevant statements of each file that has any."""
        files = self._program.files
        waiting: dict[str, set[str]] = {
            path: set() for path, source in files.items() if source.mentions_ai
        }
        if builders := {path for path, source in files.items() if source.may_build_body}:
            near = _near_senders(self._program)
            for path in builders:
                if path in near or self._program.is_settings(path):
                    waiting[path] = set()
        known = {path: lines for path, lines in self._sites.items() if path in files}
        self._reader.read_in_full(known)
        for path, lines in known.items():
            self._mark(path, lines)
            waiting[path] = set()
        for _ in range(_MOST_SEARCHES):
            self._follow_names(waiting)
            waiting = self._search()
        self._follow_names(waiting)
        return {
            path: [self._outline(path)[index] for index in sorted(indexes)]
            for path, indexes in self._relevant.items()
            if indexes
        }

    def _outline(self, path: str) -> list[Part]:
        if path not in self._outlines:
            self._outlines[path] = self._reader.outline(path)
        return self._outlines[path]

    def _follow_names(self, waiting: dict[str, set[str]]) -> None:
        while waiting:
            self._reader.read_in_full(waiting)
            further: dict[str, set[str]] = defaultdict(set)
            for path, words in waiting.items():
                names = self._spread(path, words)
                for user, reached, is_new in self._reached(path, names):
                    if is_new or not reached <= self._words[user]:
                        further[user] |= reached
            self._follow_effects(waiting, further)
            waiting = further

    def _spread(self, path: str, words: set[str]) -> set[str]:
        """Add `words` to those of a file; return the names of its relevant statements."""
        known, relevant = self._words[path], self._relevant[path]
        known |= words
        outline = self._outline(path)
        known.update(name for index in relevant for name in outline[index].names)
        modules = self._modules[path]
        while found := {
            index
            for index, part in enumerate(outline)
            if index not in relevant and _is_reached(part, known, modules)
        }:
            relevant |= found
            known.update(name for index in found for name in outline[index].names)
        return {name for index in relevant for name in outline[index].names}

    def _reached(self, path: str, names: set[str]) -> Iterator[tuple[str, set[str], bool]]:
        """Yield the files that import any of `names` or of what a file passes on, with these.

        The last item tells whether such a file passes on something new.
        """
        outline = self._outline(path)
        bound = {name for part in outline for name in part.names}
        through = self._through[path]
        modules = {
            name
            for part in outline
            if part.is_import and not self._modules[path].isdisjoint(part.words.split())
            for name in part.names
        }
        # A package or `import *` passes on what it imports, other modules hardly do.
        is_open = os.path.basename(path) == _PACKAGE or "*" in bound
        for user, imported in self._users.get(path, ()):
            is_new = False
            if imported is None:
                reached = names | through if is_open else names
                is_new = self._pass_on(path, user, reached)
            elif not imported <= bound:
                reached = names | through  # it may be anything that the module has
            else:
                reached = names & imported
                if through and not imported.isdisjoint(modules):
                    reached |= through
                    is_new = self._pass_on(path, user, through)
            yield user, reached, is_new

    def _pass_on(self, path: str, user: str, names: set[str]) -> bool:
        """Note that a file imports a module with `names`; return whether that is new."""
        if not names:
            return False
        directory, file = os.path.split(path)
        stem = os.path.basename(directory) if file == _PACKAGE else file.removesuffix(".py")
        is_new = stem not in self._modules[user] or not names <= self._through[user]
        self._modules[user].add(stem)
        self._through[user] |= names
        return is_new

    def _follow_effects(self, paths: Iterable[str], further: dict[str, set[str]]) -> None:
        """Add what relevant statements of files fill or implement to the words of its module."""
        files = self._program.files
        asked: dict[str, set[str]] = defaultdict(set)
        bases: dict[str, set[str]] = defaultdict(set)
        for path in paths:
            outline = self._outline(path)
            for index in self._relevant[path] - self._followed[path]:
                part = outline[index]
                if part.has_sign:
                    for owner, name in part.attributes:
                        self._attributes[owner].add(name)
                if part.has_sign and self._program.is_settings(path):
                    self._attributes["settings"].update(filter(str.isupper, part.names))
                for module, name in self._origins(path, {*part.fills, *part.effects}):
                    asked[module].add(name)
                for module, name in self._origins(path, {*part.bases}):
                    bases[module].add(name)
            self._followed[path] |= self._relevant[path]
        modules = [path for path in {*asked, *bases} if files[path].is_about_ai]
        self._reader.read_in_full(modules)
        for module in modules:
            words = {
                name
                for part in self._outline(module)
                for name in part.names
                if (name in asked[module] and _is_filled(part))
                or (name in bases[module] and not _INTERFACE.isdisjoint(part.words.split()))
            }
            words &= asked[module] | bases[module]
            if not words <= self._words[module]:
                further[module] |= words

    def _origins(self, path: str, names: set[str]) -> Iterator[tuple[str, str]]:
        """Yield the modules that bind names of a file, with the names that they have there."""
        if not names:
            return
        source = self._program.files[path]
        yield from ((path, name) for name in names)
        words = set(names)
        for part in self._outline(path):
            if part.is_import and not names.isdisjoint(part.names):
                words.update(part.words.split())
        for dotted, level, imported in source.imports.modules:
            if not words.isdisjoint(imported):
                module = self._program.resolve(path, dotted, level)
                if module:
                    yield from ((module, name) for name in words.intersection(imported))

    def _search(self) -> dict[str, set[str]]:
        """Return the files with attributes that relevant statements set, and note where."""
        wanted: dict[str, set[str]] = {}
        for owner, names in self._attributes.items():
            if fresh := {name for name in names if (owner, name) not in self._searched}:
                wanted[owner] = fresh
                self._searched |= {(owner, name) for name in fresh}
        if not wanted:
            return {}
        files = [
            path
            for path, source in self._program.files.items()
            if source.is_about_ai or path in self._words
        ]
        found = dict(self._reader.search(files, wanted))
        self._reader.read_in_full(found)
        for path, lines in found.items():
            self._mark(path, lines)
        return {path: set() for path in found}

    def _mark(self, path: str, lines: Collection[int]) -> None:
        """Note that the statements at some lines of a file are relevant."""
        for index, part in enumerate(self._outline(path)):
            if any(part.line <= line <= part.end_line for line in lines):
                self._relevant[path].add(index)


def _near_senders(program: Program) -> set[str]:
    """Return the files from which a body may reach code that sends HTTP."""
    importers = program.importers()
    found = {path for path, source in program.files.items() if source.sends_http}
    for _ in range(_MOST_HOPS):
        found = found.union(*(importers.get(path, ()) for path in found))
    for _ in range(_MOST_HOPS):
        found = found.union(*map(program.imported_by, found))
    return found


def _is_reached(part: Part, known: set[str], modules: set[str]) -> bool:
    """Return whether a statement has a sign, a known name, or may read any name of a module."""
    words = part.words.split()
    if part.has_sign or not known.isdisjoint(words):
        return True
    return len(words) < _LONG and not (_READING.isdisjoint(words) or modules.isdisjoint(words))


def _is_filled(part: Part) -> bool:
    """Return whether a statement binds a variable, or a function that fills one."""
    return not part.is_definition or len(part.names) > 1


def _follow_downwards(
    program: Program, relevant: dict[str, list[Part]], reader: Reader
) -> dict[str, list[Part]]:
    """Return the definitions that relevant statements use, by file.

    Calls in those far down are judged only in files that are about AI.
    """
    needed: dict[str, set[str]] = defaultdict(set)
    found: dict[str, list[Part]] = defaultdict(list)
    using = relevant
    for level in range(_DEEPEST):
        asked: dict[str, set[str]] = defaultdict(set)
        for path, parts in using.items():
            for module, names in _used(program, path, parts, reader.outline(path)):
                asked[module] |= names - needed[module]
        asked = {path: names for path, names in asked.items() if names}
        reader.read_in_full(asked)
        using = {}
        for path, names in asked.items():
            needed[path] |= names
            bound = names | {"*"}  # `import *` may bind any of them
            using[path] = [
                part for part in reader.outline(path) if not bound.isdisjoint(part.names)
            ]
            if using[path]:
                is_about_ai = program.files[path].is_about_ai
                found[path] += using[path] if level == 0 or is_about_ai else []
                if level + 1 >= _DEEPEST_ELSEWHERE and not is_about_ai:
                    del using[path]
    return found


def _used(
    program: Program, path: str, parts: Iterable[Part], outline: Iterable[Part]
) -> Iterator[tuple[str, set[str]]]:
    """Yield the modules that statements of a file use, with the names that they use of each."""
    words = {word for part in parts for word in part.words.split()}
    for part in outline:
        if part.is_import and not words.isdisjoint(part.names):
            words.update(part.words.split())  # also the name that it has there, without `as`
    yield path, words
    for dotted, level, names in program.files[path].imports.modules:
        module = program.resolve(path, dotted, level)
        is_module = not names and not words.isdisjoint(dotted.split("."))
        if module and (is_module or "*" in names):
            yield module, words
        for name in words.intersection(names):
            inner = program.imported_module(path, (dotted, level), module, name)
            if inner:
                yield inner, words
            elif module:
                yield module, {name}
