"""The result of a scan, as data that every output format prints."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from .facts import Problem

COVERED, CAPTURED, UNKNOWN = "covered", "captured", "unknown"
INVISIBLE, IGNORED = "invisible", "ignored"
STATUSES = (COVERED, CAPTURED, UNKNOWN, INVISIBLE, IGNORED)

#: Why no call is recorded at all.
DISABLED = "AI_USAGE_ENABLED is False"

#: `--fail-on` → the statuses that fail. With "any", covered sites with a warning fail too.
FAILING = {
    "never": frozenset[str](),
    "invisible": frozenset({INVISIBLE}),
    "unknown": frozenset({INVISIBLE, UNKNOWN}),
    "captured": frozenset({INVISIBLE, UNKNOWN, CAPTURED}),
    "any": frozenset({INVISIBLE, UNKNOWN, CAPTURED}),
}


@dataclass(frozen=True, slots=True)
class EntryPoint:
    """A view, task, command or other code that a framework calls, and that reaches a site."""

    #: "view", "task", "command" or another kind; see `entry_points`.
    kind: str
    name: str
    path: str
    line: int
    #: In a notebook, "cell 3:5": the fifth line of the third cell.
    cell: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """A line on the path to a site: the entry point, a call, or the site itself."""

    name: str
    path: str
    line: int
    cell: str = ""


@dataclass(frozen=True, slots=True)
class Block:
    """The function, or the code of a module, where one `ai_usage` block covers a site.

    Sites with the same block need only one.
    """

    #: "view" or "view method" if a section is read from it, or the kind of another entry point, or
    #: "method", "function" or "module".
    kind: str
    name: str
    path: str
    #: Where the function is defined.
    line: int
    cell: str = ""


@dataclass(frozen=True, slots=True)
class StaleEntry:
    """An entry of the baseline that no longer matches a finding."""

    path: str
    function: str
    call: str
    count: int
    reason: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One call site."""

    path: str
    #: In a notebook, the line of its file.
    line: int
    end_line: int
    status: str
    provider: str
    kind: str
    call: str
    function: str
    confidence: str
    #: How it is known that this call calls a model.
    reason: str
    #: The reason for its status.
    coverage: str
    fix: str
    transport: str
    app: str
    warnings: tuple[str, ...] = ()
    entry_points: tuple[EntryPoint, ...] = ()
    #: It is in the baseline.
    is_old: bool = False
    #: In a notebook, "cell 3:5".
    cell: str = ""
    #: Where a block covers it; None if it is covered, or if no block can be proposed.
    block: Block | None = None
    #: From an entry point to the site; only the site if no caller is known.
    call_path: tuple[Step, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether something is left to do: it is neither covered, ignored nor in the baseline."""
        return self.status in {CAPTURED, UNKNOWN, INVISIBLE} and not self.is_old

    @property
    def fingerprint(self) -> str:
        """The identity of the finding, which stays the same when lines move."""
        return f"{self.path}::{self.function}::{self.call}"


@dataclass(frozen=True, slots=True)
class Report:
    """All call sites of a scan."""

    findings: tuple[Finding, ...]
    problems: tuple[Problem, ...]
    files: int
    lines: int
    seconds: float = 0.0
    from_cache: bool = False
    #: Number of files that were read in full, not only for their imports.
    analysed: int = 0
    #: Directories of SDKs, whose own code was not searched.
    sdks: tuple[str, ...] = ()
    #: Sections of the site without rows; None if they were not looked up.
    silent_sections: tuple[str, ...] | None = None
    #: Entries of the baseline to remove; None without a baseline.
    stale: tuple[StaleEntry, ...] | None = None

    def count(self, status: str) -> int:
        """Return the number of sites with a status."""
        return sum(finding.status == status for finding in self.findings)

    @property
    def coverage(self) -> float | None:
        """The percentage of sites that are covered, without ignored ones; None without sites."""
        counted = [finding for finding in self.findings if finding.status != IGNORED]
        if not counted:
            return None
        return 100 * sum(finding.status == COVERED for finding in counted) / len(counted)

    def failing(self, fail_on: str) -> list[Finding]:
        """Return the findings that `--fail-on` rejects, without those of the baseline."""
        return [
            finding
            for finding in self.findings
            if not finding.is_old
            and (
                finding.status in FAILING[fail_on]
                or (fail_on == "any" and finding.status == COVERED and finding.warnings)
            )
        ]

    def as_dict(self) -> dict[str, Any]:
        """Return the report as data for JSON."""
        return {
            "version": 1,
            "summary": {
                "sites": len(self.findings),
                **{status: self.count(status) for status in STATUSES},
                "coverage": None if self.coverage is None else round(self.coverage, 1),
                "files": self.files,
                "lines": self.lines,
            },
            "findings": [_finding(finding) for finding in self.findings],
            "problems": [asdict(problem) for problem in self.problems],
            "sdks": list(self.sdks),
            **(
                {}
                if self.silent_sections is None
                else {"silent_sections": list(self.silent_sections)}
            ),
            **(
                {}
                if self.stale is None
                else {"stale_baseline": [asdict(entry) for entry in self.stale]}
            ),
        }


def _finding(finding: Finding) -> dict[str, Any]:
    data = asdict(finding)
    data["fingerprint"] = finding.fingerprint
    return data


def by_app(findings: Iterable[Finding]) -> dict[str, list[Finding]]:
    """Return app → its findings, in the order of their files."""
    found: dict[str, list[Finding]] = {}
    for finding in findings:
        found.setdefault(finding.app, []).append(finding)
    return found


def by_block(findings: Iterable[Finding]) -> dict[Block | None, list[Finding]]:
    """Return block → the findings that it covers; the blocks that cover most come first."""
    found: dict[Block | None, list[Finding]] = {}
    for finding in findings:
        found.setdefault(finding.block, []).append(finding)
    return dict(sorted(found.items(), key=lambda each: (each[0] is None, -len(each[1]))))
