"""What a scan found, as data that every format prints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from .facts import Problem

COVERED, CAPTURED, INVISIBLE, IGNORED = "covered", "captured", "invisible", "ignored"
STATUSES = (COVERED, CAPTURED, INVISIBLE, IGNORED)

#: `--fail-on` → the statuses that fail. "any" takes covered sites with a warning too.
FAILING = {
    "never": frozenset[str](),
    "invisible": frozenset({INVISIBLE}),
    "captured": frozenset({INVISIBLE, CAPTURED}),
    "any": frozenset({INVISIBLE, CAPTURED}),
}


@dataclass(frozen=True, slots=True)
class EntryPoint:
    """How the outside reaches a site."""

    #: view, task or command
    kind: str
    name: str
    path: str
    line: int


@dataclass(frozen=True, slots=True)
class Finding:
    """One call site."""

    path: str
    line: int
    end_line: int
    status: str
    provider: str
    kind: str
    call: str
    function: str
    confidence: str
    #: How it is known that this asks a model.
    reason: str
    #: Why it has its status.
    coverage: str
    fix: str
    transport: str
    app: str
    warnings: tuple[str, ...] = ()
    entry_points: tuple[EntryPoint, ...] = ()
    #: It was there when the baseline was written.
    is_old: bool = False

    @property
    def fingerprint(self) -> str:
        """What stays when lines move."""
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
    #: Files of which more than the imports was looked at.
    analysed: int = 0
    #: Sections of the site that never produced a log; None if nobody looked.
    silent_sections: tuple[str, ...] | None = None
    skipped: dict[str, int] = field(default_factory=dict)

    def count(self, status: str) -> int:
        return sum(finding.status == status for finding in self.findings)

    @property
    def coverage(self) -> float | None:
        """Percent of the sites that are covered; None without any."""
        counted = [finding for finding in self.findings if finding.status != IGNORED]
        if not counted:
            return None
        return 100 * sum(finding.status == COVERED for finding in counted) / len(counted)

    def failing(self, fail_on: str) -> list[Finding]:
        """The findings above the threshold, without those of the baseline."""
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
            **(
                {}
                if self.silent_sections is None
                else {"silent_sections": list(self.silent_sections)}
            ),
        }


def _finding(finding: Finding) -> dict[str, Any]:
    data = asdict(finding)
    data["fingerprint"] = finding.fingerprint
    return data


def by_app(findings: Sequence[Finding]) -> dict[str, list[Finding]]:
    """The findings of each app, in the order of their files."""
    found: dict[str, list[Finding]] = {}
    for finding in findings:
        found.setdefault(finding.app, []).append(finding)
    return found
