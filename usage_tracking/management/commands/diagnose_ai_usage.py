"""The `diagnose_ai_usage` command."""

from __future__ import annotations

import json
import os
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterable
from contextlib import redirect_stdout
from dataclasses import asdict
from math import nan
from typing import Any

from django.core.management.base import CommandError

from ...health import Finding, Result, Thresholds, diagnose
from ..arguments import add_database, add_user, database_alias, whole_number
from ..base import CANNOT_RUN, INTERRUPTED, UsageCommand

RULE = "=" * 50
_WORKING = "✅ AI Usage Tracking is WORKING!"
#: The limit of options in hours, about ten years.
LONGEST = 24 * 3660
MARKS = {"ok": "✅", "note": "-", "warning": "⚠️", "problem": "❌"}


class Command(UsageCommand):
    """Test whether AI calls are tracked."""

    help = (
        "Test whether AI calls are tracked: make a test call and remove it again, and check the "
        "setup, the outbox, the daily rows, the calls of the last hours and the bills. "
        "Exit code 0: no problems; 1: there are problems; 2: the command cannot run."
    )
    # This command reports what the system checks find.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Define the options."""
        add_user(parser, "the user of the test call (default: a superuser, else an active user)")
        parser.add_argument("--keep", action="store_true", help="keep the row of the test call")
        parser.add_argument(
            "--repair",
            action="store_true",
            help="rebuild daily rows that do not match AIUsageLog, and remove deleted users from "
            "AIUsageLog if users are in another database",
        )
        parser.add_argument(
            "--skip-sdks", action="store_true", help="do not test the SDKs, which takes seconds"
        )
        parser.add_argument("--json", action="store_true", help="print JSON")
        add_database(parser)
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
        """Run the tests, and fail if there are problems."""
        using = database_alias(options)
        # A terminal that has no emoji shows question marks. `OutputWrapper` passes this on.
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
            # What SDKs print when they are tried is not part of the report.
            with open(os.devnull, "w") as nothing, redirect_stdout(nothing):
                if options["json"]:
                    shown = self._show_json(results, using)
                else:
                    shown = self._show_text(results, options)
        except KeyboardInterrupt:
            results.close()  # removes the test call
            raise CommandError("Interrupted.", returncode=INTERRUPTED) from None
        problems = sum(len(result.problems) for result in shown)
        if problems:
            code = _exit_code(shown)
            raise CommandError(f"{problems} problem{'s' * (problems > 1)} found.", returncode=code)

    def _show_text(self, results: Iterable[Result], options: dict[str, Any]) -> list[Result]:
        quiet = options["verbosity"] == 0
        if not quiet:
            self._write(RULE, "AI USAGE TRACKING DIAGNOSTIC SCRIPT", RULE)
        shown = []
        for number, result in enumerate(results, 1):
            shown.append(result)
            if not quiet:
                self._write("", f"Test {number}: {result.title}... {MARKS[result.level]}")
            for finding in result.findings:
                if not quiet:
                    self._line(finding, indent="  ")
        problems = [finding for result in shown for finding in result.problems]
        if not quiet:
            last = self.style.ERROR("❌ Problems:") if problems else self.style.SUCCESS(_WORKING)
            self._write("", last)
        for finding in problems:
            self._line(finding, indent="" if quiet else "  ")
        return shown

    def _line(self, finding: Finding, *, indent: str) -> None:
        styles = {"problem": self.style.ERROR, "warning": self.style.WARNING}
        line = f"{indent}{MARKS[finding.level]} {finding.text}"
        self._write(styles.get(finding.level, str)(line))
        if finding.fix:
            fix = finding.fix.replace("\n", f"\n{indent}        ")
            self._write(f"{indent}   Fix: {fix}")

    def _write(self, *lines: str) -> None:
        for line in lines:
            self.stdout.write(line)

    def _show_json(self, results: Iterable[Result], using: str) -> list[Result]:
        shown = list(results)
        code = _exit_code(shown)
        report = {
            "working": code == 0,
            "exit_code": code,
            "database": using,
            "tests": [
                {"number": number, "title": result.title, "ok": not result.problems}
                | {"findings": [asdict(finding) for finding in result.findings]}
                for number, result in enumerate(shown, 1)
            ],
            "problems": [asdict(problem) for result in shown for problem in result.problems],
        }
        self._write(json.dumps(report, indent=2, ensure_ascii=False))
        return shown


def _exit_code(results: Iterable[Result]) -> int:
    shown = list(results)
    if any(result.cannot_run for result in shown):
        return CANNOT_RUN
    return int(any(result.problems for result in shown))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return nan  # outside every range


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
    "hours": (_hours, "hours of calls to check"),
    "max_silence": (
        _hours,
        "hours without a call, or without a successful one, before it is a problem",
    ),
    "max_failure_rate": (_percent, "percent of calls that may fail"),
    "max_unattributed": (_percent, "percent of calls that may have no user"),
    "max_unknown": (_percent, "percent of calls that may have no tokens"),
    "max_unpriced": (_percent, "percent of calls that may have no price"),
    "min_captured": (
        _percent,
        "percent of the requests and tokens of a bill that the log must have",
    ),
    "max_backlog": (_COUNT, "calls that may be in the outbox"),
    "min_calls": (_COUNT, "calls needed to judge the percentages"),
}
