"""Reports for machines: JSON, GitHub annotations, SARIF 2.1.0."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

from ..report import CAPTURED, COVERED, IGNORED, INVISIBLE, UNKNOWN, Finding, Report
from .text import count_line, escaped, stale_line, where

_LEVELS = {
    INVISIBLE: "error",
    UNKNOWN: "warning",
    CAPTURED: "warning",
    COVERED: "note",
    IGNORED: "note",
}
_RULES = {
    INVISIBLE: (
        "ai-call-invisible",
        "AI call that nothing records",
        "Its transport is not hooked, or capture does not record such a request, and no tracker "
        "follows it.",
    ),
    UNKNOWN: (
        "ai-call-unknown",
        "AI call that may not be recorded",
        "The scan cannot tell whether the call is recorded.",
    ),
    CAPTURED: (
        "ai-call-without-section",
        "AI call without a section",
        "The call is recorded, but at least one path to it names no section.",
    ),
    COVERED: (
        "ai-call-covered-in-part",
        "AI call whose tracking has a gap",
        "The call is tracked, but not if it fails, or several calls share its tracker.",
    ),
}
_STALE = "Baseline out of date"


def as_json(report: Report) -> str:
    """Return a report as JSON; docs/scanner.md lists its keys."""
    return _dump(report.as_dict())


def _dump(data: Any) -> str:
    """Return JSON in which control characters and undecodable bytes are escaped."""
    text = json.dumps(data, indent=2, ensure_ascii=False)
    return "".join(map(_json_escaped, text))


def _json_escaped(character: str) -> str:
    if character.isprintable() or character == "\n":
        return character  # line breaks in strings are already escaped
    return json.dumps(character)[1:-1]


def as_github(report: Report) -> Iterator[str]:
    """Yield a workflow command for each finding that is not covered, then the count line.

    https://docs.github.com/en/actions/reference/workflow-commands-for-github-actions
    """
    for finding in _reported(report):
        level = {"note": "notice"}.get(_LEVELS[finding.status], _LEVELS[finding.status])
        properties = {
            "file": finding.path,
            "line": finding.line,
            "endLine": finding.end_line,
            "title": _RULES[finding.status][1],
        }
        settings = ",".join(f"{name}={_property(str(value))}" for name, value in properties.items())
        yield f"::{level} {settings}::{_data(_message(finding))}"
    for problem in report.problems:
        yield (
            f"::notice file={_property(problem.path)},line={problem.line or 1}::"
            f"{_data(f'{problem.path} {problem.reason}')}"
        )
    for entry in report.stale or ():
        yield f"::warning title={_STALE}::{_data(stale_line(entry))}"
    yield count_line(report)


def as_sarif(report: Report, version: str) -> str:
    """Return a log for code scanning.

    https://docs.oasis-open.org/sarif/sarif/v2.1.0/
    """
    findings = [*_reported(report, old=True)]
    used = [status for status in _RULES if any(f.status == status for f in findings)]
    rules = [
        {
            "id": _RULES[status][0],
            "name": "".join(word.title() for word in _RULES[status][0].split("-")),
            "shortDescription": {"text": _RULES[status][1]},
            "fullDescription": {"text": _RULES[status][2]},
            "defaultConfiguration": {"level": _LEVELS[status]},
        }
        for status in used
    ]
    run: dict[str, Any] = {
        "tool": {
            "driver": {
                "name": "usage_tracking.scanner",
                "version": version,
                "rules": rules,
            }
        },
        "columnKind": "unicodeCodePoints",
        "results": [_result(finding, used.index(finding.status)) for finding in findings],
        "invocations": [
            {
                "executionSuccessful": True,
                "toolExecutionNotifications": [
                    {
                        "level": "note",
                        "message": {"text": f"{problem.path} {problem.reason}"},
                        "locations": [_location(problem.path, problem.line or 1, None)],
                    }
                    for problem in report.problems
                ]
                + [
                    {"level": "warning", "message": {"text": f"{_STALE}: {stale_line(entry)}"}}
                    for entry in report.stale or ()
                ],
            }
        ],
    }
    log = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [run],
    }
    return _dump(log)


def _reported(report: Report, *, old: bool = False) -> Iterator[Finding]:
    for finding in report.findings:
        if finding.status == IGNORED or (finding.is_old and not old):
            continue
        if finding.status != COVERED or finding.warnings:
            yield finding


def _message(finding: Finding) -> str:
    cell = f" in {finding.cell}" if finding.cell else ""
    parts = [f"{finding.provider} {finding.kind} call {finding.call}{cell}: {finding.coverage}."]
    parts += [f"Warning: {warning}." for warning in finding.warnings]
    if finding.fix:
        parts.append(f"Fix: {finding.fix}.")
    return " ".join(parts)


def _result(finding: Finding, rule: int) -> dict[str, Any]:
    identity = hashlib.sha256(finding.fingerprint.encode("utf-8", "surrogateescape")).hexdigest()
    result: dict[str, Any] = {
        "ruleId": _RULES[finding.status][0],
        "ruleIndex": rule,
        "level": _LEVELS[finding.status],
        "message": {"text": _message(finding)},
        "locations": [_location(finding.path, finding.line, finding.end_line)],
        "partialFingerprints": {"usageTrackingSite/v1": identity},
        "properties": {
            "provider": finding.provider,
            "kind": finding.kind,
            "confidence": finding.confidence,
            "reason": finding.reason,
            "function": finding.function,
            **({"block": where(finding.block)} if finding.block else {}),
        },
        "baselineState": "unchanged" if finding.is_old else "new",
    }
    related = [
        {
            "id": number,
            "message": {"text": f"{entry.kind} {entry.name}"},
            **_location(entry.path, entry.line, None),
        }
        for number, entry in enumerate(finding.entry_points)
    ]
    if related:
        result["relatedLocations"] = related
    if len(finding.call_path) > 1:
        steps = [
            {"location": {"message": {"text": step.name}, **_location(step.path, step.line, None)}}
            for step in finding.call_path
        ]
        result["codeFlows"] = [{"threadFlows": [{"locations": steps}]}]
    return result


def _location(path: str, line: int, end_line: int | None) -> dict[str, Any]:
    is_relative = not PurePosixPath(path).is_absolute()
    artifact = {"uri": quote(path, errors="surrogateescape")} | (
        {"uriBaseId": "%SRCROOT%"} if is_relative else {}
    )
    if not is_relative:
        artifact["uri"] = f"file://{artifact['uri']}"
    region = {"startLine": line} | ({"endLine": end_line} if end_line else {})
    return {"physicalLocation": {"artifactLocation": artifact, "region": region}}


def _data(text: str) -> str:
    text = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return escaped(text)  # GitHub decodes no other characters


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
