from __future__ import annotations

import json
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterable
from dataclasses import asdict
from math import nan
from typing import Any

from django.core.management.base import CommandError
from django.db import connections, router

from usage_tracking.health import Finding, Result, Thresholds, diagnose
from usage_tracking.management.arguments import whole_number
from usage_tracking.management.base import CANNOT_RUN, INTERRUPTED, UsageCommand
from usage_tracking.models import AIUsageLog

RULE = "=" * 50
#: Ten years, in hours.
LONGEST = 24 * 3660
MARKS = {"ok": "✅", "note": "-", "warning": "⚠️", "problem": "❌"}


class Command(UsageCommand):
    help = (
        "Says whether AI calls are tracked: sends one the whole way, removes it again, and looks "
        "at the setup, the outbox, the daily rows and the calls of the last hours. "
        "Exit code 0: all is well; 1: there are problems; 2: it could not run."
    )
    # What they would stop at is what this command is there to tell.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--user", help="username or key of the user of the test call")
        parser.add_argument("--keep", action="store_true", help="keep the row of the test call")
        parser.add_argument("--repair", action="store_true", help="mend daily rows from the log")
        parser.add_argument(
            "--skip-sdks", action="store_true", help="leave out the SDKs, which take seconds"
        )
        parser.add_argument("--json", action="store_true", help="print JSON")
        parser.add_argument("--database", help="alias of the database; default: where logs go")
        for name, (kind, text) in THRESHOLDS.items():
            default = getattr(Thresholds(), name)
            parser.add_argument(
                f"--{name.replace('_', '-')}",
                type=kind,
                default=default,
                metavar="N",
                help=f"{text} (default: {default:g})",
            )

    def handle(self, *args: Any, **options: Any) -> None:
        using = options["database"] or router.db_for_write(AIUsageLog)
        if using not in connections:
            raise CommandError(f"There is no database {using!r}.", returncode=CANNOT_RUN)
        # A terminal without emoji shows a question mark; Django's wrapper hides what it writes to.
        if reconfigure := getattr(self.stdout, "reconfigure", None):
            reconfigure(errors="replace")
        results = diagnose(
            using=using,
            user=options["user"],
            keep=options["keep"],
            repair=options["repair"],
            sdks=not options["skip_sdks"],
            limits=Thresholds(**{name: options[name] for name in THRESHOLDS}),
        )
        try:
            told = self._json(results, using) if options["json"] else self._text(results, options)
        except KeyboardInterrupt:
            results.close()  # which removes the test call
            raise CommandError("Interrupted.", returncode=INTERRUPTED) from None
        problems = sum(len(result.problems) for result in told)
        if problems:
            code = _exit_code(told)
            raise CommandError(f"{problems} problem{'s' * (problems > 1)} found.", returncode=code)

    def _text(self, results: Iterable[Result], options: dict[str, Any]) -> list[Result]:
        quiet = options["verbosity"] == 0
        if not quiet:
            self._write(RULE, "AI USAGE TRACKING DIAGNOSTIC SCRIPT", RULE)
        told = []
        for number, result in enumerate(results, 1):
            told.append(result)
            if not quiet:
                self._write("", f"✓ Test {number}: {result.title}...")
            for finding in result.findings:
                if not quiet:
                    self._line(finding, indent="  ")
        problems = [finding for result in told for finding in result.problems]
        if not quiet:
            self._write("", "❌ Problems:" if problems else "✅ AI Usage Tracking is WORKING!")
        for finding in problems:
            self._line(finding, indent="" if quiet else "  ")
        return told

    def _line(self, finding: Finding, *, indent: str) -> None:
        styles = {"problem": self.style.ERROR, "warning": self.style.WARNING}
        line = f"{indent}{MARKS[finding.level]} {finding.text}"
        self._write(styles.get(finding.level, str)(line))
        if finding.fix:
            self._write(f"{indent}   Fix: {finding.fix}")

    def _write(self, *lines: str) -> None:
        for line in lines:
            self.stdout.write(line)

    def _json(self, results: Iterable[Result], using: str) -> list[Result]:
        told = list(results)
        code = _exit_code(told)
        report = {
            "working": code == 0,
            "exit_code": code,
            "database": using,
            "tests": [
                {"number": number, "title": result.title, "ok": not result.problems}
                | {"findings": [asdict(finding) for finding in result.findings]}
                for number, result in enumerate(told, 1)
            ],
            "problems": [asdict(problem) for result in told for problem in result.problems],
        }
        self._write(json.dumps(report, indent=2, ensure_ascii=False))
        return told


def _exit_code(results: Iterable[Result]) -> int:
    told = list(results)
    if any(result.cannot_run for result in told):
        return CANNOT_RUN
    return int(any(result.problems for result in told))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return nan  # which is in no range


def _hours(text: str) -> float:
    if not 0 < (number := _number(text)) <= LONGEST:
        raise ArgumentTypeError(f"must be hours above 0, at most {LONGEST}, not {text!r}")
    return number


def _percent(text: str) -> float:
    if not 0 <= (number := _number(text)) <= 100:
        raise ArgumentTypeError(f"must be a number from 0 to 100, not {text!r}")
    return number


_COUNT = whole_number(10**9)
THRESHOLDS: dict[str, tuple[Any, str]] = {
    "hours": (_hours, "hours whose calls are looked at"),
    "max_silence": (_hours, "hours without a call that are a problem"),
    "max_failure_rate": (_percent, "percent of calls that may fail"),
    "max_unattributed": (_percent, "percent of calls that may have no user"),
    "max_unknown": (_percent, "percent of calls that may report no tokens"),
    "max_unpriced": (_percent, "percent of calls that may have no price"),
    "max_backlog": (_COUNT, "calls that may wait in the outbox"),
    "min_calls": (_COUNT, "calls below which shares are not judged"),
}
