"""Many cases in one test: for tables and products whose cases are too cheap for a test each."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable
from typing import Any

import pytest


def check_each(check: Callable[..., object], cases: Iterable[Any]) -> None:
    """Runs `check` with every case, a tuple as its arguments, and fails if it fails for any.

    All cases are run, and the message has the traceback of each that failed.
    """
    cases = list(cases)
    assert cases, "there is nothing to check"
    failed: list[str] = []
    for case in cases:
        try:
            check(*case) if isinstance(case, tuple) else check(case)
        except (Exception, pytest.fail.Exception) as error:  # noqa: BLE001 -- told below
            failed.append(f"{case!r}:\n{''.join(traceback.format_exception(error))}")
    if failed:
        told = "\n".join(failed)
        pytest.fail(f"{len(failed)} of {len(cases)} cases failed\n\n{told}", pytrace=False)
