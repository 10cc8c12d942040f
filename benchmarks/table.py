"""Rows of the table that `benchmarks.run` prints."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

FULL, QUICK = 1.0, 0.1


@dataclass(frozen=True)
class Row:
    """A measured value and its target."""

    what: str
    target: str
    measured: str
    #: None if it was not measured.
    met: bool | None
    #: A count that must meet its target on every machine, unlike a time.
    invariant: bool = False

    def __str__(self) -> str:
        return f"{self.what}: {self.measured} (target {self.target}){_SUFFIXES[self.met]}"


_SUFFIXES = {True: "", False: "  NOT MET", None: ""}


def left_out(what: str, target: str) -> Row:
    """Return a row that was not measured, because it takes long at any size."""
    return Row(what, target, "not measured", met=None)


def scaled(number: int, part: float, least: int = 1) -> int:
    """Return `part` of the number of a full run, at least `least`."""
    return max(least, round(number * part))


def print_rows(rows: Iterable[Row]) -> None:
    """Print each row as soon as it is measured."""
    for row in rows:
        print(row, flush=True)
