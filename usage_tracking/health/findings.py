"""The findings of a health test, and the thresholds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from django.db import DEFAULT_DB_ALIAS

from ..log import one_line

Level = Literal["ok", "note", "warning", "problem"]

_WORST_FIRST: tuple[Level, ...] = ("problem", "warning", "ok", "note")

#: Codes of findings after which the remaining tests cannot run.
CANNOT_RUN = frozenset({"database_error", "not_migrated", "no_such_user"})


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of a test."""

    level: Level
    #: Stable, for machines.
    code: str
    text: str
    #: Commands or settings to paste, each on a line, or a sentence; "" if there is nothing to fix.
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """One test and its findings."""

    title: str
    findings: tuple[Finding, ...]

    @property
    def level(self) -> Level:
        """The worst level of the findings; "note" if the test did not judge anything."""
        found = {finding.level for finding in self.findings}
        return next((level for level in _WORST_FIRST if level in found), "note")

    @property
    def problems(self) -> list[Finding]:
        """The findings of level "problem"."""
        return [finding for finding in self.findings if finding.level == "problem"]

    @property
    def cannot_run(self) -> bool:
        """Whether the remaining tests cannot run."""
        return any(finding.code in CANNOT_RUN for finding in self.findings)


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The limits above which a number is a problem. Shares are percent of the last `hours`."""

    hours: float = 24.0
    #: Hours without a call.
    max_silence: float = 1.0
    max_failure_rate: float = 5.0
    max_unattributed: float = 50.0
    max_unknown: float = 20.0
    max_unpriced: float = 20.0
    #: The least share of a provider's bill, of settled days; below it is a warning.
    min_captured: float = 98.0
    #: Calls in the outbox.
    max_backlog: int = 1000
    #: Shares of fewer calls are not judged.
    min_calls: int = 50


def ok(code: str, text: str) -> Finding:
    """Return a finding of level "ok"."""
    return Finding("ok", code, one_line(text))


def note(code: str, text: str) -> Finding:
    """Return a finding that is neither good nor bad."""
    return Finding("note", code, one_line(text))


def warning(code: str, text: str, fix: str = "") -> Finding:
    """Return a finding that does not change the exit code."""
    return Finding("warning", code, one_line(text), fix)


def problem(code: str, text: str, fix: str) -> Finding:
    """Return a finding that makes the exit code 1, or 2 for a code of `CANNOT_RUN`."""
    return Finding("problem", code, one_line(text), fix)


def manage(command: str, using: str) -> str:
    """Return the command line of a management command for the database `using`."""
    other = "" if using == DEFAULT_DB_ALIAS else f" --database {using}"
    return f"python manage.py {command}{other}"


def failed(error: Exception) -> str:
    """Return an error as one line, for the text of a finding."""
    return f"{type(error).__name__}: {error}".partition("\n")[0].removesuffix(": ")
