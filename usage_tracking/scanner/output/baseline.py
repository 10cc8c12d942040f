"""Baselines: findings that a team accepts for now.

An entry is identified by its file, function and call, so lines may move. Its path is relative to
the directory of the baseline, so the working directory does not matter.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from ..evidence.confidence import NAME_ONLY
from ..reading.discovery import would_find
from ..report import COVERED, IGNORED, Finding, Report, StaleEntry
from ..scan import Options

#: 1: paths relative to the working directory; 2: to the directory of the baseline.
_VERSION = 2


class BaselineError(ValueError):
    """A baseline cannot be read; the message names it."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """Equal calls in one function."""

    path: str
    function: str
    call: str

    def __str__(self) -> str:
        return f"{self.path}::{self.function}::{self.call}"

    @classmethod
    def parse(cls, text: str) -> _Entry:
        path, _, rest = text.partition("::")
        function, _, call = rest.partition("::")
        return cls(path, function, call)


class Baseline:
    """The entries of a baseline file; empty if the file is to be written.

    Raises:
        BaselineError: The file cannot be read or is not a baseline.
    """

    def __init__(self, file: Path, options: Options, *, is_new: bool = False) -> None:
        self._file = file
        self._options = options
        self._root = os.path.realpath(file.parent)
        has_content = file.exists() and (file.stat().st_size > 0 or not is_new)
        version, counts = _read(file) if has_content or not is_new else (_VERSION, {})
        self._counts: Counter[_Entry] = Counter()
        for name, count in counts.items():
            entry = _Entry.parse(name)
            if version < _VERSION and (
                os.path.exists(entry.path) or not os.path.exists(file.parent / entry.path)
            ):
                entry = replace(entry, path=self._path(entry.path))
            self._counts[entry] += count

    def apply(self, report: Report) -> Report:
        """Return the report with the findings of the baseline marked as old.

        A second call like an accepted one, in the same function, is new.
        """
        left = self._counts.copy()
        findings = []
        for finding in report.findings:
            entry = self._entry(finding)
            is_old = finding.status not in {COVERED, IGNORED} and left[entry] > 0
            left[entry] -= is_old
            findings.append(replace(finding, is_old=is_old))
        return replace(report, findings=tuple(findings), stale=tuple(self._stale(report, +left)))

    def write(self, report: Report) -> None:
        """Write the findings that are not covered, and the entries that were not scanned.

        Raises:
            OSError: The file cannot be written.
        """
        unread = self._unread(report)
        counts = Counter({e: n for e, n in self._counts.items() if not self._is_known(e, unread)})
        counts.update(
            self._entry(finding)
            for finding in report.findings
            if finding.status not in {COVERED, IGNORED}
        )
        names = {str(entry): count for entry, count in counts.items()}
        content = {"version": _VERSION, "findings": dict(sorted(names.items()))}
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        self._file.write_text(text, encoding="utf-8", errors="surrogateescape")
        self._counts = counts

    def _stale(self, report: Report, left: Counter[_Entry]) -> Iterator[StaleEntry]:
        if self._options.min_confidence != NAME_ONLY:
            return  # the entry may match a finding that is hidden
        unread = self._unread(report)
        done = {self._entry(each) for each in report.findings if each.status in {COVERED, IGNORED}}
        for entry, count in sorted(left.items(), key=lambda each: str(each[0])):
            if self._is_known(entry, unread):
                if entry in done:
                    reason = "it is covered or ignored now"
                elif os.path.exists(os.path.join(self._root, entry.path)):
                    reason = "the function has no such call"
                else:
                    reason = "the file does not exist"
                yield StaleEntry(entry.path, entry.function, entry.call, count, reason)

    def _unread(self, report: Report) -> set[str]:
        """Return the files that could be read only in part, and the directories of SDKs."""
        paths = (*(problem.path for problem in report.problems), *report.sdks)
        return set(map(self._path, paths))

    def _is_known(self, entry: _Entry, unread: set[str]) -> bool:
        """Return whether the scan read the file of an entry, or would have if it existed."""
        options = self._options
        around = map(str, PurePosixPath(entry.path).parents)
        return unread.isdisjoint((entry.path, *around)) and would_find(
            os.path.join(self._root, entry.path),
            options.paths,
            include=options.include,
            exclude=options.exclude,
        )

    def _entry(self, finding: Finding) -> _Entry:
        return _Entry(self._path(finding.path), finding.function, finding.call)

    def _path(self, path: str) -> str:
        """Return a path relative to the directory of the baseline."""
        directory, name = os.path.split(os.path.abspath(path))
        real = os.path.join(os.path.realpath(directory), name)
        try:
            return os.path.relpath(real, self._root).replace(os.sep, "/")
        except ValueError:  # on another drive
            return real.replace(os.sep, "/")


def _read(file: Path) -> tuple[int, dict[str, int]]:
    """Return the version of a baseline, and how often it has each entry."""
    try:
        content = json.loads(file.read_text(encoding="utf-8", errors="surrogateescape"))
    except OSError as error:
        raise BaselineError(f"{file}: {error.strerror}") from error
    except (ValueError, RecursionError):
        content = None
    match content:
        case {"findings": dict(counts)} if all(map(_is_entry, counts, counts.values())):
            version = content.get("version", 1)
        case _:
            raise BaselineError(f"{file} is not a baseline; write one with --write-baseline")
    if version not in range(1, _VERSION + 1):
        raise BaselineError(f"{file} has version {version!r}; this release reads up to {_VERSION}")
    return version, counts


def _is_entry(name: str, count: Any) -> bool:
    return name.count("::") >= 2 and "\0" not in name and type(count) is int and count > 0
