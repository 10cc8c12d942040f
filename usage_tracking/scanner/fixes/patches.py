"""A patch that covers the uncovered sites of a report; applying it is left to the reader."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..reading.parsing import NOTEBOOK
from ..report import INVISIBLE, UNKNOWN, Block, Finding, Report, by_block
from .advice import is_in_lambda, line_in_block
from .rewriting import CannotEditError, Edit, SourceText
from .section_names import proposed


@dataclass(frozen=True, slots=True)
class Patch:
    """A unified diff with paths relative to `root`, for `patch -p1` and `git apply`."""

    root: str
    diff: bytes
    #: The sites that it covers.
    covered: tuple[Finding, ...]
    #: The sites that are left as they are, and why.
    left: tuple[tuple[Finding, str], ...]
    #: The sections that it names.
    sections: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Change:
    block: Block
    findings: Sequence[Finding]
    section: str

    def edit(self) -> Edit:
        """Return the change as an edit of the block's file."""
        return Edit(
            self.section,
            None if self.block.kind == "module" else self.block.line,
            tuple(self._lines(finding) for finding in self.findings),
        )

    def _lines(self, finding: Finding) -> tuple[int, int]:
        """Return the lines of a site, or of the call in the block that leads to it."""
        line, _ = line_in_block(finding)
        is_site = (finding.path, finding.line) == (self.block.path, line)
        return (line, finding.end_line) if is_site else (line, line)


def propose(report: Report, paths: Iterable[str], sections: Collection[str] = ()) -> Patch:
    """Return the patch for the sites of a report that no section covers.

    Args:
        report: A scan of `paths` from the same working directory.
        paths: What was scanned. The paths of the patch are relative to it.
        sections: The codes of the site's sections.

    Raises:
        OSError: A file cannot be read.
    """
    left: list[tuple[Finding, str]] = []
    changes: list[_Change] = []
    for block, findings in by_block(each for each in report.findings if each.is_open).items():
        possible = []
        for finding in findings:
            if reason := _obstacle(finding):
                left.append((finding, reason))
            else:
                possible.append(finding)
        if block is not None and possible:
            changes.append(_Change(block, possible, proposed(block, sections)))
    files = _Files()
    for change in sorted(changes, key=lambda each: (each.block.path, each.block.line)):
        if reason := files.refusal(change):
            left += _narrowed(change, reason, files, sections)
    root = _root(paths)
    diff = b"".join(files.diffs(root))
    left += [(finding, why) for change, why in files.refused for finding in change.findings]
    return Patch(
        root=root,
        diff=diff,
        covered=tuple(finding for change in files.done for finding in change.findings),
        left=tuple(left),
        sections=tuple(dict.fromkeys(change.section for change in files.done)),
    )


def _narrowed(
    change: _Change, reason: str, files: _Files, sections: Collection[str]
) -> Iterator[tuple[Finding, str]]:
    """Cover the sites of a refused change in their own functions; yield the remaining ones."""
    for finding in change.findings:
        line = files.function_at(finding.path, finding.line)
        if line in {None, change.block.line} or is_in_lambda(finding):
            yield finding, reason
            continue
        block = Block("function", finding.function, finding.path, line)
        inside = replace(finding, block=block)
        why = files.refusal(_Change(block, [inside], proposed(block, sections)))
        if why:
            yield finding, why


class _Files:
    """The files that a patch changes."""

    def __init__(self) -> None:
        self._sources: dict[str, SourceText | CannotEditError] = {}
        self.done: list[_Change] = []
        self.refused: list[tuple[_Change, str]] = []

    def refusal(self, change: _Change) -> str:
        """Make a change, or return why that is not safe."""
        try:
            self._source(change.block.path).edit(change.edit())
        except CannotEditError as error:
            return str(error)
        self.done.append(change)
        return ""

    def function_at(self, path: str, line: int) -> int | None:
        """Return the line of the function that a line is in, None if it is in none."""
        try:
            return self._source(path).function_at(line)
        except CannotEditError:
            return None

    def diffs(self, root: str) -> Iterator[bytes]:
        """Yield the diff of each file, relative to `root`."""
        for path, source in sorted(self._sources.items()):
            if isinstance(source, SourceText):
                try:
                    yield _diff(source, path, root)
                except CannotEditError as error:
                    here = [change for change in self.done if change.block.path == path]
                    self.done = [change for change in self.done if change not in here]
                    self.refused += [(change, str(error)) for change in here]

    def _source(self, path: str) -> SourceText:
        if path not in self._sources:
            try:
                self._sources[path] = SourceText(Path(path).read_bytes())
            except CannotEditError as error:
                self._sources[path] = error
        source = self._sources[path]
        if isinstance(source, CannotEditError):
            raise source
        return source


def _obstacle(finding: Finding) -> str:
    """Return why a block cannot be proposed for a site, "" if it can."""
    if finding.status in {INVISIBLE, UNKNOWN} or finding.block is None:
        return f"{finding.coverage}; {finding.fix}"
    if finding.block.path.endswith(NOTEBOOK):
        return "patches of notebooks are not offered"
    return ""


def _diff(source: SourceText, path: str, root: str) -> bytes:
    inside = os.path.relpath(path, root).replace(os.sep, "/")
    after = source.result()
    if not inside.isprintable() or re.search(r'["\\]', inside):
        raise CannotEditError("its path has characters that patches cannot hold")
    end = b"\t" if " " in inside else b""  # where the name ends, for `patch`
    one, two = (re.findall(rb"[^\n]*\n|[^\n]+", data) for data in (source.before, after))
    name = inside.encode("utf-8", "surrogateescape")
    lines = difflib.diff_bytes(
        difflib.unified_diff, one, two, b"a/" + name + end, b"b/" + name + end, lineterm=b"\n"
    )
    no_end = b"\n\\ No newline at end of file\n"
    return b"".join(line if line.endswith(b"\n") else line + no_end for line in lines)


def _root(paths: Iterable[str]) -> str:
    """Return the directory that is common to all paths."""
    directories = {
        os.path.abspath(path if os.path.isdir(path) else os.path.dirname(path)) for path in paths
    }
    return os.path.relpath(os.path.commonpath(directories))
