"""Which files of a scan belong to one project: those that imports connect."""

from __future__ import annotations

from ..program import Program


class ImportGroups:
    """The parts of a program that no import connects."""

    def __init__(self, program: Program) -> None:
        self._program = program
        #: File → the file that represents its part; empty until needed.
        self._heads: dict[str, str] = {}

    def is_one(self, path: str, other: str) -> bool:
        """Return whether imports connect two files, in either direction."""
        if not self._heads:
            self._connect()
        return self._head(path) == self._head(other)

    def _connect(self) -> None:
        self._heads = {path: path for path in self._program.files}
        for imported, importers in self._program.importers().items():
            for importer in importers:
                self._heads[self._head(importer)] = self._head(imported)

    def _head(self, path: str) -> str:
        at = path
        while (up := self._heads.get(at, at)) != at:
            # Shorten the way for the next question.
            self._heads[at] = self._heads.get(up, up)
            at = up
        return at
