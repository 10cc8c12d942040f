"""A report for people: lines of pieces, each with a style that a terminal can show."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .report import CAPTURED, COVERED, IGNORED, INVISIBLE, Finding, Report, by_app

#: (text, style); a style is words such as "bold red", or empty: see `terminal`.
Piece = tuple[str, str]

STYLES = {COVERED: "green", CAPTURED: "yellow", INVISIBLE: "bold red", IGNORED: "dim"}
_MOST_PROBLEMS = 20


def escaped(text: str) -> str:
    """Return `text` with control characters, line separators and undecodable bytes escaped.

    File names may contain them, and a terminal would act on them.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def lines(report: Report, *, verbosity: int = 1) -> Iterator[list[Piece]]:
    """Yield the lines of a report.

    Verbosity 0: one line for each site that is not covered; 1: all sites, with reasons; 2: also
    all problems.
    """
    for line in _lines(report, verbosity):
        yield [(escaped(text), style) for text, style in line]


def _lines(report: Report, verbosity: int) -> Iterator[list[Piece]]:
    if verbosity == 0:
        for finding in report.findings:
            if finding.status in {CAPTURED, INVISIBLE} and not finding.is_old:
                yield _headline(finding, "")
        return
    for app, findings in by_app(report.findings).items():
        yield [(app, "bold")]
        for finding in findings:
            yield _headline(finding, "  ")
            if (finding.status in {CAPTURED, INVISIBLE} and not finding.is_old) or finding.warnings:
                yield from _details(finding)
        yield []
    yield from _problems(report, verbosity)
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
        f"{report.count(status)} {status}" for status in (COVERED, CAPTURED, INVISIBLE)
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


def _headline(finding: Finding, indent: str) -> list[Piece]:
    mark = " (baseline)" if finding.is_old else ""
    return [
        (f"{indent}{finding.path}:{finding.line}  ", ""),
        (finding.status + mark, STYLES[finding.status]),
        (f"  {finding.provider} {finding.kind}  ", ""),
        (finding.call, "bold" if finding.status != COVERED else ""),
        (f"  in {finding.function}  {finding.confidence}: {finding.reason}", "dim"),
    ]


def _details(finding: Finding) -> Iterator[list[Piece]]:
    if finding.status != COVERED:
        yield [(f"      {finding.coverage}", "")]
    for warning in finding.warnings:
        yield [(f"      warning: {warning}", "yellow")]
    if finding.entry_points:
        reached = ", ".join(
            f"{entry.kind} {entry.name} ({entry.path}:{entry.line})"
            for entry in finding.entry_points[:5]
        )
        more = len(finding.entry_points) - 5
        yield [(f"      reached from {reached}" + (f" and {more} more" if more > 0 else ""), "")]
    if finding.fix:
        yield [("      fix: ", "bold"), (finding.fix, "")]


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
