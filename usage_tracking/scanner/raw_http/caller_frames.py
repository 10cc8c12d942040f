"""The code of a function as one caller runs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..facts import Expression
from ..program import Ref


@dataclass(frozen=True, slots=True, eq=False)
class Argument:
    """An expression in the frame of a caller."""

    expression: Expression
    frame: Frame


@dataclass(frozen=True, slots=True, eq=False)
class Receiver:
    """The object whose method is called: its class, and the call that makes it, if known."""

    cls: Ref
    made: Argument | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """The code of a scope, run for one caller."""

    ref: Ref
    #: What the caller passes; None: the caller is unknown.
    arguments: Mapping[str, Argument] | None = None
    #: What it passes for `**keywords` and `*arguments`.
    more_keywords: tuple[tuple[str, Argument], ...] = ()
    more_arguments: tuple[Argument, ...] = ()
    receiver: Receiver | None = None
    #: The frame of a function around this one.
    outer: Frame | None = None

    def at(self, ref: Ref) -> Frame:
        """Return the frame of this scope or of one around it."""
        frame: Frame | None = self
        while frame is not None:
            if frame.ref == ref:
                return frame
            frame = frame.outer
        return Frame(ref)
