"""Run management commands as `manage.py` does."""

from __future__ import annotations

from io import StringIO
from typing import Any, NamedTuple

from django.core.management import CommandError, call_command


class Ended(NamedTuple):
    """The exit code and output of a command."""

    code: int
    out: str
    err: str


def run_command(name: str, *arguments: str, **options: Any) -> Ended:
    out, err = StringIO(), StringIO()
    try:
        call_command(name, *arguments, stdout=out, stderr=err, no_color=True, **options)
    except CommandError as error:
        return Ended(error.returncode, out.getvalue(), f"{err.getvalue()}{error}\n")
    return Ended(0, out.getvalue(), err.getvalue())
