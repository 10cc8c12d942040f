"""The `usage_report` command."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from difflib import get_close_matches
from io import TextIOWrapper
from itertools import takewhile
from pathlib import Path
from typing import Any, TextIO, cast

from django.core.management.base import CommandError, OutputWrapper

from ... import checks, conf
from ...days import DayRange
from ...exports.files import WRITERS, write_file
from ...exports.rows import Rows, stored_rows
from ...reports import (
    DIMENSIONS,
    NotFound,
    Selection,
    breakdown_lines,
    find_section,
)
from ...system import stdio
from ..arguments import add_database, add_user, database_alias, explained, find_user
from ..base import CANNOT_RUN, UsageCommand
from ..periods import add_period, period_of
from ..report_files import whole_file
from ..report_lines import lines_as_rows, tables
from ..tables import Table, shown, write_tables

#: The `--by` of single calls.
CALL = "call"
_TABLE = "table"


class Command(UsageCommand):
    """Add up calls by user, model, section, provider, day or hour."""

    help = (
        "Add up the calls of a period by user, model, section, provider, day or hour, or list the "
        "calls, as a table, CSV or JSON."
    )
    requires_system_checks = [checks.TAG]

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Define the options."""
        add_period(parser, default="this-month")
        parser.add_argument(
            "--by",
            type=_dimensions,
            default=("user",),
            metavar="NAMES",
            help=f"one or more of {','.join(DIMENSIONS)}, or {CALL} for a line per call "
            "(default: user)",
        )
        parser.add_argument(
            "--format",
            choices=(_TABLE, *WRITERS),
            help=f"default: by the name of the --output file, else {_TABLE}",
        )
        add_user(parser, "only the calls of this user")
        parser.add_argument("--section", metavar="CODE", help="only the calls of this section")
        parser.add_argument("--provider", metavar="NAME", help="only the calls to this provider")
        parser.add_argument("--model", metavar="NAME", help="only the calls of this model")
        parser.add_argument(
            "--output",
            metavar="FILE",
            help="write to this file, which is replaced when the report is complete",
        )
        add_database(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Write the report to the output or to a file."""
        by, output = _by(options), options["output"]
        file_format = _format(options, by)
        days = period_of(options, default="this-month")
        using = database_alias(options, for_reading=True)
        outcome = "The output is incomplete." if output is None else f"{output} was not written."
        with explained("The report", outcome, using=using):
            selection = _selection(options, days, using)
            if file_format == _TABLE:
                heading = _heading(options, days, by) if options["verbosity"] else ""
                lines = breakdown_lines(selection, by, using=using)
                self._write_tables(tables(lines, by), options, heading)
            else:
                self._write_rows(_rows(selection, by, using), file_format, output)

    def _write_rows(self, rows: Rows, file_format: str, output: str | None) -> None:
        if output is None:
            self.stdout.ending = ""
            read = takewhile(self._is_read, rows.chunks)
            WRITERS[file_format](replace(rows, chunks=read), cast("TextIO", self.stdout))
        else:
            with whole_file(output) as file:
                write_file(rows, file, file_format)

    def _write_tables(self, parts: Iterable[Table], options: dict[str, Any], heading: str) -> None:
        with ExitStack() as stack:
            out = self.stdout
            if options["output"] is not None:
                file = stack.enter_context(whole_file(options["output"]))
                text = TextIOWrapper(file, encoding="utf-8")
                stack.callback(text.detach)
                out = OutputWrapper(text)
            number = 0
            for number, table in enumerate(takewhile(self._is_read, parts), 1):
                if number > 1:
                    out.write("")
                write_tables([table], out, options, heading=heading if number == 1 else "")
        if not number and options["verbosity"]:
            hint = "No AI call was recorded in this period, or none matches the options."
            self.stderr.write(hint, self.style.NOTICE)

    def _is_read(self, _: object) -> bool:
        self.stdout.flush()
        return not stdio.is_closed(self.stdout)


def _dimensions(text: str) -> tuple[str, ...]:
    """Parse NAME,NAME for argparse."""
    names = tuple(name.strip() for name in text.split(","))
    known = (*DIMENSIONS, CALL)
    for name in names:
        if name not in known:
            near = get_close_matches(name.lower(), known, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"Use {', '.join(known)}."
            raise ArgumentTypeError(f"{name!r} is not a valid choice. {hint}")
        if names.count(name) > 1:
            raise ArgumentTypeError(f"{name!r} is given more than once in {text!r}")
    if CALL in names and len(names) > 1:
        raise ArgumentTypeError(f"{CALL!r} cannot be combined, as in {text!r}")
    return names


def _by(options: dict[str, Any]) -> tuple[str, ...]:
    """Return the dimensions of `--by`, which `call_command` does not parse."""
    by: str | tuple[str, ...] = options["by"]
    try:
        return _dimensions(by) if isinstance(by, str) else by
    except ArgumentTypeError as error:
        raise CommandError(str(error), returncode=CANNOT_RUN) from error


def _rows(selection: Selection, by: Sequence[str], using: str) -> Rows:
    if by == (CALL,):
        return stored_rows(selection.logs(using))
    return lines_as_rows(breakdown_lines(selection, by, using=using), by)


def _format(options: dict[str, Any], by: Sequence[str]) -> str:
    suffix = Path(options["output"] or "").suffix.removeprefix(".").lower()
    if suffix == "xlsx" and options["format"] is None:
        raise CommandError(
            f"usage_report writes {', '.join(WRITERS)}, not workbooks. Excel opens CSV: use an "
            f"--output that ends with .csv, not {options['output']!r}.",
            returncode=CANNOT_RUN,
        )
    chosen: str = options["format"] or (suffix if suffix in WRITERS else _TABLE)
    if by == (CALL,) and chosen == _TABLE:
        raise CommandError(
            f"--by {CALL} needs --format {', '.join(WRITERS)}: a call has too many columns for a "
            "table.",
            returncode=CANNOT_RUN,
        )
    return chosen


def _selection(options: dict[str, Any], days: DayRange, using: str) -> Selection:
    section = options["section"]
    if section is not None:
        try:
            section = find_section(section, using=using)
        except NotFound as error:
            raise CommandError(str(error), returncode=CANNOT_RUN) from error
    return Selection(
        days.first,
        days.last,
        user=None if options["user"] is None else find_user(options, using=using),
        section=section,
        provider=options["provider"],
        model_name=options["model"],
    )


def _heading(options: dict[str, Any], days: DayRange, by: Sequence[str]) -> str:
    first, last = days.first, days.last
    period = (
        (f"{first} to {last}" if first != last else str(first))
        if first and last
        else f"{first} and later"
        if first
        else f"all days until {last}"
        if last
        else "all days"
    )
    filters = [
        f"{name} {shown(options[name])}"
        for name in ("user", "section", "provider", "model")
        if options[name] is not None
    ]
    parts = (f"AI usage of {period} ({conf.day_timezone()})", f"by {' and '.join(by)}", *filters)
    return ", ".join(parts)
