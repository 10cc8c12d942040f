"""A report for people: lines of pieces, each with a style that a terminal can show."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ..fixes import advice
from ..report import (
    CAPTURED,
    COVERED,
    IGNORED,
    INVISIBLE,
    UNKNOWN,
    Block,
    EntryPoint,
    Finding,
    Report,
    StaleEntry,
    Step,
    by_app,
    by_block,
)
from .terminal import Piece

STYLES = {
    COVERED: "green",
    CAPTURED: "yellow",
    UNKNOWN: "magenta",
    INVISIBLE: "bold red",
    IGNORED: "dim",
}
_MOST_PROBLEMS = 20
_MOST_ENTRY_POINTS = 5
_MOST_SDKS = 5


def escaped(text: str) -> str:
    """Return `text` with control characters, line separators and undecodable bytes escaped.

    File names may contain them, and a terminal would act on them.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def lines(
    report: Report, *, verbosity: int = 1, fail_on: str = "captured", is_strict: bool = False
) -> Iterator[list[Piece]]:
    """Yield the lines of a report.

    Verbosity 0: one line for each site that `fail_on` rejects, and if `is_strict`, for each entry
    of the baseline that is out of date; 1: all sites; 2: also the reason of each status, and all
    problems.
    """
    shown = (
        _lines(report, verbosity) if verbosity else _failures(report, fail_on, is_strict=is_strict)
    )
    for line in shown:
        yield [(escaped(text), style) for text, style in line]


def where(item: Finding | Step | EntryPoint | Block) -> str:
    """Return the path and line, or in a notebook the cell and its line."""
    return f"{item.path}:{item.cell or item.line}"


def _failures(report: Report, fail_on: str, *, is_strict: bool) -> Iterator[list[Piece]]:
    for finding in report.failing(fail_on):
        yield _headline(finding, "")
    for entry in (report.stale or ()) if is_strict else ():
        yield [(stale_line(entry), "yellow")]


def _lines(report: Report, verbosity: int) -> Iterator[list[Piece]]:
    for block, findings in by_block(each for each in report.findings if each.is_open).items():
        yield from _group(block, findings, verbosity)
        yield []
    for app, findings in by_app(each for each in report.findings if not each.is_open).items():
        yield [(app, "bold")]
        for finding in findings:
            yield _headline(finding, "  ")
            if finding.warnings or verbosity > 1:
                yield from _details(finding, verbosity)
        yield []
    yield from _sdks(report, verbosity)
    yield from _problems(report, verbosity)
    yield from _stale(report)
    if report.silent_sections:
        yield [
            ("Sections without rows: ", ""),
            (", ".join(report.silent_sections), "yellow"),
        ]
    yield [(count_line(report), "bold")]


def count_line(report: Report) -> str:
    """Return the number of sites by status, and of the files and lines that were read."""
    number = len(report.findings)
    counts = ", ".join(
        f"{report.count(status)} {status}"
        for status in (COVERED, CAPTURED, UNKNOWN, INVISIBLE)
        if status != UNKNOWN or report.count(status)
    )
    if ignored := report.count(IGNORED):
        counts += f", {ignored} ignored"
    if old := sum(finding.is_old for finding in report.findings):
        counts += f" ({old} of them in the baseline)"
    share = "" if report.coverage is None else f"; {report.coverage:.1f} % covered"
    how = "from the cache" if report.from_cache else f"{report.seconds:.1f} s"
    return (
        f"{number} AI call site{'' if number == 1 else 's'}: {counts}{share}"
        f" — {report.files} files, {report.lines:,} lines, {how}"
    )


def _group(block: Block | None, findings: list[Finding], verbosity: int) -> Iterator[list[Piece]]:
    """Yield the sites that one block covers, below the place of the block."""
    missing = [finding for finding in findings if finding.status == CAPTURED]
    if block is None:
        yield [("No block can be proposed  ", "bold"), (_sites(findings), "")]
    elif block.kind == "module":
        yield [(f"{block.path}  ", "bold"), (f"{_sites(findings)} outside of functions", "")]
    else:
        effect = (
            f"one block here covers {_sites(missing)}"
            if missing
            else f"{_sites(findings)} to record by hand"
        )
        yield [(f"{block.kind} {block.name}  {where(block)}  ", "bold"), (effect, "")]
    if block and missing:
        yield [("  fix: ", "bold"), (advice.for_block(missing), "")]
    for finding in findings:
        yield _headline(finding, "  ")
        yield from _details(finding, verbosity)


def _sites(findings: Sequence[Finding]) -> str:
    return f"{len(findings)} call site{'' if len(findings) == 1 else 's'}"


def _headline(finding: Finding, indent: str) -> list[Piece]:
    mark = " (baseline)" if finding.is_old else ""
    return [
        (f"{indent}{where(finding)}  ", ""),
        (finding.status + mark, STYLES[finding.status]),
        (f"  {finding.provider} {finding.kind}  ", ""),
        (finding.call, "bold" if finding.status != COVERED else ""),
        (f"  in {finding.function}  {finding.confidence}: {finding.reason}", "dim"),
    ]


def _details(finding: Finding, verbosity: int) -> Iterator[list[Piece]]:
    for warning in finding.warnings:
        yield [(f"      warning: {warning}", "yellow")]
    block, path = finding.block, finding.call_path
    if len(path) > 2 or (len(path) == 2 and not (block and where(block) == where(path[0]))):
        places = list(map(where, path))
        width = max(map(len, places))
        for number, (step, place) in enumerate(zip(path, places, strict=True)):
            lead, arrow = ("            ", "→ ") if number else ("      path: ", "")
            yield [(f"{lead}{place:<{width}}  {arrow}{step.name}", "")]
    if others := [each for each in finding.entry_points if where(each) != where(path[0])]:
        shown = [f"{entry.kind} {_step(entry)}" for entry in others[:_MOST_ENTRY_POINTS]]
        more = len(others) - len(shown)
        yield [(f"      also from {', '.join(shown)}" + f" and {more} more" * bool(more), "")]
    # What a block fixes is said once, at the block.
    is_alone = finding.status != CAPTURED or block is None
    if is_alone or verbosity > 1:
        yield [(f"      {finding.coverage}", "")]
    if is_alone and finding.fix:
        yield [("      fix: ", "bold"), (finding.fix, "")]


def _step(step: Step | EntryPoint) -> str:
    return f"{step.name} ({where(step)})"


def stale_line(entry: StaleEntry) -> str:
    """Return an entry of the baseline and why it is out of date."""
    times = f" ({entry.count} times)" if entry.count > 1 else ""
    return f"{entry.path}  {entry.call}  in {entry.function}{times}: {entry.reason}"


def _stale(report: Report) -> Iterator[list[Piece]]:
    if not report.stale:
        return
    number = len(report.stale)
    entries = "1 entry" if number == 1 else f"{number} entries"
    it = "it" if number == 1 else "them"
    yield [(f"{entries} of the baseline out of date; remove {it} with --write-baseline:", "yellow")]
    yield from ([(f"  {stale_line(entry)}", "")] for entry in report.stale)
    yield []


def _sdks(report: Report, verbosity: int) -> Iterator[list[Piece]]:
    if not report.sdks:
        return
    shown = report.sdks if verbosity > 1 else report.sdks[:_MOST_SDKS]
    more = len(report.sdks) - len(shown)
    names = ", ".join(shown) + f" and {more} more (-v 2 lists them)" * bool(more)
    yield [("Not searched, because they are SDKs: ", ""), (names, "")]
    yield []


def _problems(report: Report, verbosity: int) -> Iterable[list[Piece]]:
    if not report.problems:
        return
    number = len(report.problems)
    yield [(f"{number} file{'' if number == 1 else 's'} could not be read completely:", "yellow")]
    shown = report.problems if verbosity > 1 else report.problems[:_MOST_PROBLEMS]
    for problem in shown:
        where = f"{problem.path}:{problem.line}" if problem.line else problem.path
        yield [(f"  {where} {problem.reason}", "")]
    if number > len(shown):
        yield [(f"  and {number - len(shown)} more (-v 2 lists them)", "")]
    yield []
