"""Baselines: findings that a team accepts for now."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

from .report import COVERED, IGNORED, Report


class BaselineError(ValueError):
    """A baseline cannot be read; the message names it."""


def write(report: Report, file: Path) -> int:
    """Write the findings that are not covered to `file`; return their number."""
    counts = Counter(
        finding.fingerprint
        for finding in report.findings
        if finding.status not in {COVERED, IGNORED}
    )
    content = {"version": 1, "findings": dict(sorted(counts.items()))}
    file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    return counts.total()


def apply(report: Report, file: Path) -> Report:
    """Return the report with the findings of the baseline marked as old.

    A finding is identified by its file, function and call, so lines may move. A second call like
    it in the same function is new.

    Raises:
        BaselineError: The file cannot be read or is not a baseline.
    """
    try:
        content = json.loads(file.read_text())
        left = Counter({str(name): int(count) for name, count in content["findings"].items()})
    except OSError as error:
        raise BaselineError(f"{file}: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BaselineError(f"{file} is not a baseline; write one with --write-baseline") from error
    findings = []
    for finding in report.findings:
        is_old = finding.status not in {COVERED, IGNORED} and left[finding.fingerprint] > 0
        left[finding.fingerprint] -= is_old
        findings.append(replace(finding, is_old=is_old))
    return replace(report, findings=tuple(findings))
