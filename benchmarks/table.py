"""A row of the table that `benchmarks.run` prints, and the table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

FULL, QUICK = 1.0, 0.1


@dataclass(frozen=True)
class Row:
    """What was measured, beside its target."""

    what: str
    target: str
    measured: str
    #: None if it was left out.
    met: bool | None
    #: A count that has to be right on every machine, which no time is.
    invariant: bool = False

    def __str__(self) -> str:
        return f"{self.what}: {self.measured} (target {self.target}){_SAID[self.met]}"


_SAID = {True: "", False: "  NOT MET", None: ""}


def left_out(what: str, target: str) -> Row:
    """For what takes long whatever the size."""
    return Row(what, target, "left out", met=None)


def scaled(number: int, part: float, least: int = 1) -> int:
    """`part` of what a full run does, and no less than `least`."""
    return max(least, round(number * part))


def print_rows(rows: Iterable[Row]) -> None:
    for row in rows:
        print(row, flush=True)
