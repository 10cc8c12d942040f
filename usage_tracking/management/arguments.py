"""What the commands of this package share: arguments, and progress on a terminal."""

from __future__ import annotations

import datetime as dt
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management.base import CommandError
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections, router

from usage_tracking.errors import was_stopped
from usage_tracking.models import AIUsageLog

_WIDTH = 30


def add_database(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--database",
        choices=tuple(connections),
        help="the database of the tables (default: the one that the site's routers name)",
    )


def database(options: dict[str, Any]) -> str:
    return options["database"] or router.db_for_write(AIUsageLog) or DEFAULT_DB_ALIAS


def day(text: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no date (YYYY-MM-DD)") from None


def whole_number(highest: int) -> Callable[[str], int]:
    """The argparse type of numbers from 0 to `highest`."""

    def parse(text: str) -> int:
        # int() refuses thousands of digits with an error of its own.
        number = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else -1
        if not 0 <= number <= highest:
            raise ArgumentTypeError(f"must be a whole number from 0 to {highest}, not {text!r}")
        return number

    return parse


@contextmanager
def explained(doing: str, undone: str) -> Iterator[None]:
    """Says what a failure or Ctrl-C of the operator leaves behind, instead of a traceback."""
    try:
        yield
    except DatabaseError as error:
        if was_stopped(error):
            raise CommandError(f"Stopped. {undone}", returncode=130) from None
        text = str(error).strip().partition("\n")[0]
        raise CommandError(f"{doing} failed: {text}. {undone}", returncode=2) from error
    except KeyboardInterrupt:
        raise CommandError(f"Stopped. {undone}", returncode=130) from None


class Progress:
    """A bar on a terminal; nothing in a pipe, a file or at verbosity 0."""

    def __init__(self, stderr: Any, total: int, options: dict[str, Any]) -> None:
        self._out, self._total, self._done = stderr, total, 0
        self._shown = bool(total and options["verbosity"] and stderr.isatty())

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown:
            self._write("\r\x1b[K")

    def advance(self, count: int) -> None:
        self._done += count
        if self._shown:
            # More may come than was counted: the site goes on.
            share = min(self._done / self._total, 1)
            bar = ("#" * round(_WIDTH * share)).ljust(_WIDTH, ".")
            self._write(f"\r{bar} {share:4.0%} {self._done}/{self._total}")

    def _write(self, text: str) -> None:
        self._out.write(text, lambda x: x, ending="")
        self._out.flush()
