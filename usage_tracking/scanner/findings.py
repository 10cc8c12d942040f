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

from . import fixes
from .catalog import Catalog
from .coverage import Verdict
from .evidence import LIKELY
from .facts import SourceFile
from .program import Program
from .report import COVERED, IGNORED, UNKNOWN, Block, EntryPoint, Finding, Step
from .sites import Site

_NO_REASON = "`# ai-usage: ignore` gives no reason and is not applied; write the reason behind it"

P = TypeVar("P", Block, EntryPoint, Finding, Step)


def findings_of(
    program: Program, catalog: Catalog, sites: Iterable[Site], verdicts: Iterable[Verdict]
) -> Iterator[Finding]:
    """Yield the finding of each site, then those in lines that could not be parsed."""
    places = _Places(program)
    for site, verdict in zip(sites, verdicts, strict=True):
        yield _of_site(site, verdict, program, places)
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
    fix = ""
    if is_open and status != COVERED:
        fix = fixes.for_site(status, block, call_path, is_named=verdict.is_named)
    end_line = min(site.end_line, source.lines_on_disk) if source.cells else site.end_line
    return places.shown(
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
            fix=fix,
            transport=site.transport,
            app=_app(path),
            warnings=tuple(places.reason(warning, path) for warning in warnings),
            entry_points=tuple(map(places.shown, verdict.entry_points)),
            block=block,
            call_path=call_path,
        )
    )


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
                coverage=reason or "coverage is unknown for lines that cannot be parsed",
                fix="" if reason else "check it by hand",
                transport=kind.transport,
                app=_app(path),
                warnings=(_NO_REASON,) if reason == "" else (),
                call_path=(places.shown(Step(call, path, line)),),
            )
        )


def _app(path: str) -> str:
    """Return the directory of a file: the Django app that it belongs to."""
    return os.path.dirname(relative(path)) or "."
