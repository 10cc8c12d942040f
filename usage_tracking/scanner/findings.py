"""From judged sites to findings: what a reader sees, with paths relative to the working directory.

A line of a notebook is shown by its cell: the lines of the JSON file mean nothing to a reader.
"""

from __future__ import annotations

import os
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TypeVar

from .catalog import Catalog
from .coverage.verdicts import Verdict
from .evidence.confidence import LIKELY
from .facts import SourceFile
from .fixes import advice
from .program import Program
from .report import COVERED, IGNORED, UNKNOWN, Block, EntryPoint, Finding, Step
from .sites import Site

_NO_REASON = "`# ai-usage: ignore` has no effect without a reason; write the reason after it"

P = TypeVar("P", Block, EntryPoint, Finding, Step)


def findings_of(
    program: Program, sites: Iterable[Site], verdicts: Iterable[Verdict]
) -> Iterator[Finding]:
    """Yield the finding of each site."""
    places = _Places(program)
    for site, verdict in zip(sites, verdicts, strict=True):
        yield _of_site(site, verdict, program, places)


def findings_in_text(program: Program, catalog: Catalog) -> Iterator[Finding]:
    """Yield the calls in lines that could not be parsed."""
    places = _Places(program)
    for path, source in program.files.items():
        yield from _of_text(path, source, catalog, places)


def relative(path: str) -> str:
    """Return a path below the working directory relative to it."""
    inside = os.path.relpath(path)
    return path if inside.startswith("..") else inside.replace(os.sep, "/")


class _Places:
    """The places of a program as a report shows them."""

    def __init__(self, program: Program) -> None:
        self._files = program.files

    def shown(self, item: P) -> P:
        """Return `item` with the path and line that a reader knows."""
        source = self._files[item.path]
        path = relative(item.path)
        if not source.cells:
            return replace(item, path=path)
        cell = self._cell(source, item.line)
        return replace(item, path=path, line=min(item.line, source.lines_on_disk), cell=cell)

    def reason(self, text: str, path: str) -> str:
        """Return a reason with relative paths, and with cells for the lines of notebooks."""
        text = text.replace(os.getcwd() + os.sep, "")
        source = self._files[path]
        if not source.cells:
            return text
        return re.sub(
            r"\bat line (\d+)", lambda found: f"at {self._cell(source, int(found[1]))}", text
        )

    @staticmethod
    def _cell(source: SourceFile, line: int) -> str:
        index = bisect_right(source.cells, (line, 1 << 30)) - 1
        if index < 0:
            return ""
        first, number = source.cells[index]
        return f"cell {number}:{line - first + 1}"


def _of_site(site: Site, verdict: Verdict, program: Program, places: _Places) -> Finding:
    path = site.ref[0]
    source = program.files[path]
    status, coverage, warnings = verdict.status, verdict.reason, verdict.warnings
    ignores = [
        source.ignores[n] for n in range(site.line, site.end_line + 1) if n in source.ignores
    ]
    if any(ignores):
        status, coverage = IGNORED, next(filter(None, ignores))
    elif ignores:
        warnings = (*warnings, _NO_REASON)
    is_open = status != IGNORED
    call_path = tuple(map(places.shown, (*verdict.path, Step(site.call, path, site.line))))
    block = places.shown(verdict.block) if verdict.block and is_open else None
    end_line = min(site.end_line, source.lines_on_disk) if source.cells else site.end_line
    finding = places.shown(
        Finding(
            path=path,
            line=site.line,
            end_line=end_line,
            status=status,
            provider=site.provider,
            kind=site.kind,
            call=site.call,
            function=program.scope(site.ref).qualname or "<module>",
            confidence=site.confidence,
            reason=places.reason(site.reason, path),
            coverage=places.reason(coverage, path) if is_open else coverage,
            fix="",
            transport=site.transport,
            app=_app(path),
            warnings=tuple(places.reason(warning, path) for warning in warnings),
            entry_points=tuple(map(places.shown, verdict.entry_points)),
            block=block,
            call_path=call_path,
        )
    )
    if is_open and status != COVERED:
        return replace(finding, fix=advice.for_site(finding))
    return finding


def _of_text(path: str, source: SourceFile, catalog: Catalog, places: _Places) -> Iterator[Finding]:
    for line, shape, call in source.text_calls:
        kind = catalog.unmistakable[shape]
        reason = source.ignores.get(line)
        yield places.shown(
            Finding(
                path=path,
                line=line,
                end_line=line,
                status=IGNORED if reason else UNKNOWN,
                provider=kind.provider,
                kind=kind.kind,
                call=call,
                function="<text>",
                confidence=LIKELY,
                reason="found as text: these lines could not be parsed",
                coverage=reason or "the status of calls in lines that cannot be parsed is unknown",
                fix="" if reason else "check by hand whether it is in a block",
                transport=kind.transport,
                app=_app(path),
                warnings=(_NO_REASON,) if reason == "" else (),
                call_path=(places.shown(Step(call, path, line)),),
            )
        )


def _app(path: str) -> str:
    """Return the directory of a file: the Django app that it belongs to."""
    return os.path.dirname(relative(path)) or "."
