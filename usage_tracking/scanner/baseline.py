"""Old findings that a team has decided to live with for now."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

from .report import COVERED, IGNORED, Report


class BaselineError(ValueError):
    """A baseline that cannot be read; the message names it."""


def write(report: Report, file: Path) -> int:
    """Keeps the findings that escape; returns their number."""
    counts = Counter(
        finding.fingerprint
        for finding in report.findings
        if finding.status not in {COVERED, IGNORED}
    )
    content = {"version": 1, "findings": dict(sorted(counts.items()))}
    file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    return counts.total()


def apply(report: Report, file: Path) -> Report:
    """The report with the findings of the baseline marked as old.

    A finding is known by its file, function and call, so that lines may move; a second call like
    it in the same function is new. Raises `BaselineError` for a file that is no baseline.
    """
    try:
        content = json.loads(file.read_text())
        left = Counter({str(name): int(count) for name, count in content["findings"].items()})
    except OSError as error:
        raise BaselineError(f"{file}: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BaselineError(f"{file} is no baseline; write one with --write-baseline") from error
    findings = []
    for finding in report.findings:
        is_old = finding.status not in {COVERED, IGNORED} and left[finding.fingerprint] > 0
        left[finding.fingerprint] -= is_old
        findings.append(replace(finding, is_old=is_old))
    return replace(report, findings=tuple(findings))
