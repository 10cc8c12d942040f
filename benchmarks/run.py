"""The table of what the package promises: each target beside what was measured.

    python -m benchmarks.run [--only TEXT] [--quick] [--markdown FILE]

Measures on SQLite and on a private PostgreSQL, each module of `benchmarks` that is named below in a
process of its own. Ends with exit code 1 if a count is wrong (calls lost, rows doubled, statements
too many); of times, which differ from machine to machine, it only says so.
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

#: The modules, in the order of the table, and on which databases each is run. What no database
#: takes part in is measured once.
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
#: The table replaces what stands between them in the file of --markdown.
BEGIN, END = "<!-- measured -->\n", "<!-- /measured -->\n"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run")
    parser.add_argument("--only", default="", help="part of the name of a module")
    parser.add_argument(
        "--quick", action="store_true", help="a tenth of everything, without the long waits"
    )
    parser.add_argument("--markdown", type=Path, help="file whose table is to be replaced")
    options = parser.parse_args(argv)
    names = [name for name in MEASURES if options.only in name]
    if not names:
        parser.error(f"--only {options.only}: no such module; there are {', '.join(MEASURES)}")
    if options.markdown and (options.only or options.quick):
        parser.error("--markdown is for the whole table")
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
    """The rows of a module, on the database of that URL or, without one, on an SQLite."""
    try:
        return in_process_of_its_own(rows_of, name, url, part)
    except Exception:  # noqa: BLE001 -- the others are to be measured all the same
        traceback.print_exc()
        return [Row(f"benchmarks.{name}", "a figure", "an error", met=False, invariant=True)]


def rows_of(name: str, url: str, part: float) -> list[Row]:
    use_database(url)
    return list(importlib.import_module(f"benchmarks.{name}").measure(part))


def environment(urls: Mapping[str, str]) -> str:
    """What it is measured with."""
    databases = (
        f"{name} {in_process_of_its_own(version, urls[name])}" for name in (SQLITE, POSTGRES)
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
    use_database(url)
    with site():
        from django.db import connection

        return ".".join(map(str, connection.get_database_version()))


def use_database(url: str) -> None:
    os.environ.pop("DATABASE_URL", None)
    if url:
        os.environ["DATABASE_URL"] = url


def in_process_of_its_own(function: Callable[..., T], *arguments: object) -> T:
    # Started anew and not forked: each sets Django up for itself.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as executor:
        return executor.submit(function, *arguments).result()


class Table:
    """Rows by what they measure; each has a column for either database."""

    def __init__(self, environment: str) -> None:
        self.environment = environment
        self.rows: dict[str, dict[str, Row]] = {}

    def add(self, rows: Iterable[Row], column: str) -> None:
        for row in rows:
            self.rows.setdefault(row.what, {})[column] = row

    def exit_code(self) -> int:
        return any(
            row.invariant and row.met is False
            for by_column in self.rows.values()
            for row in by_column.values()
        )

    def __str__(self) -> str:
        """In Markdown."""
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
            lines.append(f"| {' | '.join((what, target, *measured, told(by_column)))} |")
        return "\n".join(lines) + "\n"


def told(by_column: Mapping[str, Row]) -> str:
    """Whether a row's target is met."""
    missed = [column for column, row in by_column.items() if row.met is False]
    if not missed:
        return "left out" if all(row.met is None for row in by_column.values()) else "yes"
    if len(missed) == len(by_column):
        return "**not met**"
    return f"**not met** on {missed[0]}"


def replace(file: Path, table: str) -> None:
    before, begin, rest = file.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{file} lacks the lines {BEGIN.strip()} and {END.strip()}")
    file.write_text(f"{before}{begin}{table}{end}{after}")


if __name__ == "__main__":
    sys.exit(main())
