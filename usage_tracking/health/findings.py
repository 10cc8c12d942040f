"""What a test of the site's health finds, and the limits that it is held against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from django.db import DEFAULT_DB_ALIAS

from ..log import one_line

Level = Literal["ok", "note", "warning", "problem"]

#: Codes of findings after which nothing more can be said.
CANNOT_RUN = frozenset({"database_error", "not_migrated", "no_such_user"})


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of a test."""

    level: Level
    #: Stable, for machines.
    code: str
    text: str
    #: A command or a line of the settings, ready to be pasted; "" if there is nothing to mend.
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """One test and all that it found."""

    title: str
    findings: tuple[Finding, ...]

    @property
    def problems(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.level == "problem"]

    @property
    def cannot_run(self) -> bool:
        return any(finding.code in CANNOT_RUN for finding in self.findings)


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From where on a number is a problem. Shares in percent of the calls of the last `hours`."""

    hours: float = 24.0
    #: Hours without a call.
    max_silence: float = 1.0
    max_failure_rate: float = 5.0
    max_unattributed: float = 50.0
    max_unknown: float = 20.0
    max_unpriced: float = 20.0
    #: Calls that wait in the outbox.
    max_backlog: int = 1000
    #: Shares of fewer calls say nothing.
    min_calls: int = 50


def ok(code: str, text: str) -> Finding:
    return Finding("ok", code, one_line(text))


def note(code: str, text: str) -> Finding:
    return Finding("note", code, one_line(text))


def warning(code: str, text: str, fix: str = "") -> Finding:
    return Finding("warning", code, one_line(text), fix)


def problem(code: str, text: str, fix: str) -> Finding:
    return Finding("problem", code, one_line(text), fix)


def manage(command: str, using: str) -> str:
    """A command for the database `using`, as it is typed."""
    other = "" if using == DEFAULT_DB_ALIAS else f" --database {using}"
    return f"python manage.py {command}{other}"


def failed(error: Exception) -> str:
    """An error in one line, for the text of a finding."""
    return f"{type(error).__name__}: {error}".partition("\n")[0].removesuffix(": ")
