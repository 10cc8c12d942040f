"""A patch that covers the uncovered sites of a report; applying it is left to the reader."""

from __future__ import annotations

import difflib
import os
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .parsing import NOTEBOOK
from .report import INVISIBLE, UNKNOWN, Block, Finding, Report, by_block
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
        inside = [each for each in self.findings if self._is_inside(each)]
        return Edit(
            self.section,
            None if self.block.kind == "module" else self.block.line,
            tuple((each.line, each.end_line) for each in inside),
            is_whole=len(inside) < len(self.findings),
        )

    def _is_inside(self, finding: Finding) -> bool:
        """Return whether a site is in the function of the block itself, not in one it calls."""
        block = self.block
        return block.kind == "module" or (
            finding.path == block.path and finding.function.removesuffix(".<lambda>") == block.name
        )


def propose(report: Report, paths: Iterable[str], sections: Collection[str] = ()) -> Patch:
    """Return the patch for the sites of a report that no section covers.

    Args:
        report: A scan of `paths` from the same working directory.
        paths: What was scanned. The paths of the patch are relative to it.
        sections: The codes of the site's sections.

    Raises:
        OSError: A file cannot be read.
    """
    root = _root(paths)
    left: list[tuple[Finding, str]] = []
    changes: dict[str, list[_Change]] = defaultdict(list)
    for block, findings in by_block(each for each in report.findings if each.is_open).items():
        possible = []
        for finding in findings:
            if reason := _obstacle(finding):
                left.append((finding, reason))
            else:
                possible.append(finding)
        if block is not None and possible:
            changes[block.path].append(_Change(block, possible, proposed(block, sections)))
    diffs: list[bytes] = []
    done: list[_Change] = []
    for path, of_file in sorted(changes.items()):
        try:
            diff, applied, refused = _of_file(path, of_file, root)
        except CannotEditError as error:
            diff, applied, refused = b"", [], [(change, str(error)) for change in of_file]
        diffs.append(diff)
        done += applied
        left += [(finding, reason) for change, reason in refused for finding in change.findings]
    return Patch(
        root=root,
        diff=b"".join(diffs),
        covered=tuple(finding for change in done for finding in change.findings),
        left=tuple(left),
        sections=tuple(dict.fromkeys(change.section for change in done)),
    )


def _obstacle(finding: Finding) -> str:
    """Return why a block cannot be proposed for a site, "" if it can."""
    if finding.status in {INVISIBLE, UNKNOWN}:
        return f"{finding.coverage}; call usage.record(response) behind it"
    if (finding.block or finding).path.endswith(NOTEBOOK):
        return "patches of notebooks are not offered"
    if finding.block is None:
        return f"{finding.coverage}; {finding.fix}"
    return ""


def _of_file(
    path: str, changes: Sequence[_Change], root: str
) -> tuple[bytes, list[_Change], list[tuple[_Change, str]]]:
    before = Path(path).read_bytes()
    source = SourceText(before)
    done, refused = [], []
    for change in sorted(changes, key=lambda each: each.block.line):
        try:
            source.edit(change.edit())
            done.append(change)
        except CannotEditError as error:
            refused.append((change, str(error)))
    after = source.result()
    inside = os.path.relpath(path, root).replace(os.sep, "/")
    if not inside.isprintable() or re.search(r'["\\]', inside):
        raise CannotEditError("its path has characters that patches cannot hold")
    return b"".join(_diff(before, after, inside)), done, refused


def _diff(before: bytes, after: bytes, path: str) -> Iterator[bytes]:
    end = b"\t" if " " in path else b""  # where the name ends, for `patch`
    one, two = (re.findall(rb"[^\n]*\n|[^\n]+", data) for data in (before, after))
    name = path.encode("utf-8", "surrogateescape")
    for line in difflib.diff_bytes(
        difflib.unified_diff, one, two, b"a/" + name + end, b"b/" + name + end, lineterm=b"\n"
    ):
        yield line
        if not line.endswith(b"\n"):
            yield b"\n\\ No newline at end of file\n"


def _root(paths: Iterable[str]) -> str:
    """Return the directory that is common to all paths."""
    directories = {
        os.path.abspath(path if os.path.isdir(path) else os.path.dirname(path)) for path in paths
    }
    return os.path.relpath(os.path.commonpath(directories))
