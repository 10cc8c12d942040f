"""Print a table of the package's targets and the measured values.

    python -m benchmarks.run [--only TEXT] [--quick] [--markdown FILE]

Runs each module in `MEASURES` in a separate process, on SQLite and on a private PostgreSQL server.
Exits with 1 if a count misses its target (lost calls, duplicate rows, too many statements). Times
depend on the machine; if one misses its target, the table shows it, and the exit code stays 0.
"""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import os
import platform
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TypeVar

import django

from benchmarks.site import site
from benchmarks.table import FULL, QUICK, Row
from tests.databases import LocalPostgres

SQLITE, POSTGRES, ONCE = "SQLite", "PostgreSQL", "once"
T = TypeVar("T")

#: Modules in the order of the table, and the databases on which each runs. Modules without a
#: database run once.
MEASURES: dict[str, tuple[str, ...]] = {
    "capture": (ONCE,),
    "put": (ONCE,),
    "statements": (SQLITE, POSTGRES),
    "delivery": (SQLITE, POSTGRES),
    "connections": (POSTGRES,),
    "latency": (SQLITE, POSTGRES),
    "processes": (SQLITE, POSTGRES),
    "counts": (SQLITE, POSTGRES),
    "faults": (SQLITE, POSTGRES),
    "outage": (POSTGRES,),
    "wait": (POSTGRES,),
    "locks": (SQLITE, POSTGRES),
    "pages": (POSTGRES,),
    "stream": (ONCE,),
    "setup": (ONCE,),
}
#: Markers in the file of --markdown. The table replaces the text between them.
BEGIN, END = "<!-- measured -->\n", "<!-- /measured -->\n"


def main(argv: list[str] | None = None) -> int:
    """Print or write the table, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run")
    parser.add_argument("--only", default="", help="run only modules whose name contains this")
    parser.add_argument(
        "--quick", action="store_true", help="run a tenth of everything, without the long waits"
    )
    parser.add_argument("--markdown", type=Path, help="file in which to replace the table")
    options = parser.parse_args(argv)
    names = [name for name in MEASURES if options.only in name]
    if not names:
        parser.error(f"--only must be part of one of {', '.join(MEASURES)}, not {options.only!r}")
    if options.markdown and (options.only or options.quick):
        parser.error("--markdown cannot be combined with --only or --quick")
    part = QUICK if options.quick else FULL
    server = LocalPostgres()
    try:
        urls = {SQLITE: "", POSTGRES: server.url, ONCE: ""}
        table = Table(environment(urls))
        for name in names:
            for database in MEASURES[name]:
                started = time.monotonic()
                table.add(measure(name, urls[database], part), database)
                seconds = time.monotonic() - started
                print(f"{name}, {database}: {seconds:.0f} s", file=sys.stderr, flush=True)
    finally:
        server.remove()
    print(table)
    if options.markdown:
        replace(options.markdown, str(table))
    return table.exit_code()


def measure(name: str, url: str, part: float) -> list[Row]:
    """Run a module on the database of `url`, or on SQLite if `url` is empty."""
    try:
        return in_separate_process(rows_of, name, url, part)
    except Exception:  # noqa: BLE001 -- the other modules still run
        traceback.print_exc()
        return [Row(f"benchmarks.{name}", "a figure", "an error", met=False, invariant=True)]


def rows_of(name: str, url: str, part: float) -> list[Row]:
    """Return the rows of a module, in the current process."""
    use_database(url)
    return list(importlib.import_module(f"benchmarks.{name}").measure(part))


def environment(urls: Mapping[str, str]) -> str:
    """Describe the versions and the machine."""
    databases = (
        f"{name} {in_separate_process(version, urls[name])}" for name in (SQLITE, POSTGRES)
    )
    return ", ".join(
        (
            f"Python {platform.python_version()}",
            f"Django {django.__version__}",
            *databases,
            f"{platform.system()} {platform.machine()}",
            f"{os.cpu_count()} cores",
        )
    )


def version(url: str) -> str:
    """Return the version of the database server."""
    use_database(url)
    with site():
        from django.db import connection

        return ".".join(map(str, connection.get_database_version()))


def use_database(url: str) -> None:
    """Set DATABASE_URL for the benchmark site."""
    os.environ.pop("DATABASE_URL", None)
    if url:
        os.environ["DATABASE_URL"] = url


def in_separate_process(function: Callable[..., T], *arguments: object) -> T:
    """Call `function` in a new process, and return its result."""
    # Spawned, not forked, because each process sets up Django.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as executor:
        return executor.submit(function, *arguments).result()


class Table:
    """Rows by name, with a column for each database."""

    def __init__(self, environment: str) -> None:
        self.environment = environment
        self.rows: dict[str, dict[str, Row]] = {}

    def add(self, rows: Iterable[Row], column: str) -> None:
        """Add rows, measured on the database `column`."""
        for row in rows:
            self.rows.setdefault(row.what, {})[column] = row

    def exit_code(self) -> int:
        """Return 1 if a count misses its target, else 0."""
        return any(
            row.invariant and row.met is False
            for by_column in self.rows.values()
            for row in by_column.values()
        )

    def __str__(self) -> str:
        """Return the table in Markdown."""
        lines = [
            self.environment,
            "",
            f"| what | target | {SQLITE} | {POSTGRES} | met |",
            "| --- | --- | --- | --- | --- |",
        ]
        for what, by_column in self.rows.items():
            if ONCE in by_column:
                measured = [by_column[ONCE].measured, "the same"]
            else:
                measured = [
                    by_column[column].measured if column in by_column else "-"
                    for column in (SQLITE, POSTGRES)
                ]
            target = next(iter(by_column.values())).target
            lines.append(f"| {' | '.join((what, target, *measured, status(by_column)))} |")
        return "\n".join(lines) + "\n"


def status(by_column: Mapping[str, Row]) -> str:
    """Return whether a row's target is met, as text."""
    missed = [column for column, row in by_column.items() if row.met is False]
    if not missed:
        return "not measured" if all(row.met is None for row in by_column.values()) else "yes"
    if len(missed) == len(by_column):
        return "**not met**"
    return f"**not met** on {missed[0]}"


def replace(file: Path, table: str) -> None:
    """Replace the table between the markers in `file`."""
    before, begin, rest = file.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{file} must contain the lines {BEGIN.strip()} and {END.strip()}")
    file.write_text(f"{before}{begin}{table}{end}{after}")


if __name__ == "__main__":
    sys.exit(main())
