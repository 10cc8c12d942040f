"""Many cases in one test, for tables and products with cases too cheap for a test each."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable
from typing import Any

import pytest


def check_each(check: Callable[..., object], cases: Iterable[Any]) -> None:
    """Run `check` with every case and fail if any case fails.

    A tuple is passed as positional arguments. The message has the traceback of each failed case.
    """
    cases = list(cases)
    assert cases, "there is nothing to check"
    failed: list[str] = []
    for case in cases:
        try:
            check(*case) if isinstance(case, tuple) else check(case)
        except (Exception, pytest.fail.Exception) as error:  # noqa: BLE001 -- reported below
            failed.append(f"{case!r}:\n{''.join(traceback.format_exception(error))}")
    if failed:
        report = "\n".join(failed)
        pytest.fail(f"{len(failed)} of {len(cases)} cases failed\n\n{report}", pytrace=False)
