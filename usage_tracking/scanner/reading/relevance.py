"""Which files can have to do with AI calls, so that only those are analysed.

Signs of AI (`signs`) are where this begins. It follows names from statement to statement of
modules:

- *Upwards*: a statement with a sign is relevant. So is each statement that has a name which a
  relevant statement of its module binds, or which its module imports from there. A client
  reaches the code that uses it in this way, and a call site the code that calls it.
- *Downwards*: of a relevant statement, the definitions that it uses are needed too: the function
  that it passes a client to, the base of its class. These are followed two imports far, because
  what such definitions use in turn hardly says anything about the call.

A file that imports an HTTP library is relevant as a whole, but not what imports it.

Words stand for names here, whatever they mean in the code. This finds too much rather than too
little, and needs no analysis.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator

from ..facts import Part
from ..program import Program

_DEEPEST = 2

#: Reads files in full, if they were not yet.
ReadInFull = Callable[[Collection[str]], None]
#: Returns the statements of a file that was read in full.
OutlineOf = Callable[[str], list[Part]]


def relevant_lines(
    program: Program, read_in_full: ReadInFull, outline_of: OutlineOf
) -> dict[str, int]:
    """Return for each file to analyse its relevant lines, perhaps none, as bits of a number."""
    relevant = _Upwards(program, read_in_full, outline_of).follow()
    found = {path: _lines_of(parts) for path, parts in relevant.items()}
    for path, source in program.files.items():
        if source.sends_http:
            found[path] = (2 << source.lines) - 1
    using = relevant
    for distance in range(_DEEPEST):
        using = _definitions_used(program, using, read_in_full, outline_of)
        for path, parts in using.items():
            # A function may call the client that it is passed.
            lines = _lines_of(parts) if distance == 0 else 0
            found[path] = found.get(path, 0) | lines
    return found


def _lines_of(parts: Iterable[Part]) -> int:
    """Return the lines of statements as the bits of a number, bit 1 for the first line."""
    lines = 0
    for part in parts:
        lines |= (2 << part.end_line) - (1 << part.line)
    return lines


class _Upwards:
    def __init__(self, program: Program, read_in_full: ReadInFull, outline_of: OutlineOf) -> None:
        self._program = program
        self._read_in_full = read_in_full
        self._outline_of = outline_of
        #: File → its statements.
        self._outlines: dict[str, list[Part]] = {}
        #: File → words that stand for names of relevant statements, of it or of what it imports.
        self._words: dict[str, set[str]] = defaultdict(set)
        #: File → the indexes of its relevant statements.
        self._relevant: dict[str, set[int]] = defaultdict(set)

    def follow(self) -> dict[str, list[Part]]:
        """Return the relevant statements of each file that has any."""
        users = self._program.users
        waiting: dict[str, set[str]] = {
            path: set() for path, source in self._program.files.items() if source.mentions_ai
        }
        while waiting:
            self._read_in_full(waiting)
            further: dict[str, set[str]] = defaultdict(set)
            for path, words in waiting.items():
                names = self._spread(path, words)
                bound = {name for part in self._outlines[path] for name in part.names}
                for user, imported in users.get(path, ()):
                    # A name that the module does not bind may be anything that it has.
                    is_known = imported is not None and imported <= bound
                    reached = names & imported if imported and is_known else names
                    if not reached <= self._words.get(user, set()):
                        further[user] |= reached
            waiting = further
        return {
            path: [self._outlines[path][index] for index in sorted(indexes)]
            for path, indexes in self._relevant.items()
            if indexes
        }

    def _spread(self, path: str, words: set[str]) -> set[str]:
        """Add `words` to those of a file; return the names of its relevant statements."""
        if path not in self._outlines:
            self._outlines[path] = self._outline_of(path)
        outline = self._outlines[path]
        known, relevant = self._words[path], self._relevant[path]
        known |= words
        while found := {
            index
            for index, part in enumerate(outline)
            if index not in relevant and (part.has_sign or not known.isdisjoint(part.words.split()))
        }:
            relevant |= found
            known.update(name for index in found for name in outline[index].names)
        return {name for index in relevant for name in outline[index].names}


def _definitions_used(
    program: Program,
    using: dict[str, list[Part]],
    read_in_full: ReadInFull,
    outline_of: OutlineOf,
) -> dict[str, list[Part]]:
    """Return the statements that bind what other statements use, by file."""
    asked: dict[str, set[str]] = defaultdict(set)
    for path, parts in using.items():
        for module, names in _used(program, path, parts, outline_of(path)):
            asked[module] |= names
    read_in_full(asked)
    return {
        path: [part for part in outline_of(path) if not names.isdisjoint(part.names)]
        for path, names in asked.items()
    }


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
