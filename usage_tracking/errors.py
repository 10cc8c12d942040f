"""Contain internal errors, so that they never reach the site."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from . import conf
from .log import logger, one_line
from .redaction import clean_error
from .system.interruptions import from_outside

P = ParamSpec("P")
T = TypeVar("T")

#: Number of failures by function since the process began; the health report shows it.
failures: Counter[str] = Counter()


def contain(error: Exception, where: str) -> None:
    """Log `error` with its traceback and count it.

    Args:
        error: The internal error.
        where: The function that failed.

    Raises:
        Exception: `error`, if AI_USAGE_RAISE_ERRORS is set, or if it was thrown into our code from
            outside, for example by a time limit.
    """
    if from_outside(error):
        raise error
    failures[where] += 1
    logger.error(
        "[TRACK_EXCEPTION] ❌ Error tracking AI usage: %s in %s: %s",
        type(error).__name__,
        where,
        one_line(clean_error(error)),
        exc_info=error,
        extra={"where": where, "failures": failures[where]},
    )
    if conf.raise_errors():
        raise error


def contained(function: Callable[P, T]) -> Callable[P, T | None]:
    """Decorate an internal function: contain its errors and return None then."""

    @functools.wraps(function)
    def inner(*args: P.args, **kwargs: P.kwargs) -> T | None:
        try:
            return function(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 -- the purpose of the decorator
            contain(error, function.__qualname__)
            return None

    return inner


def was_stopped(error: BaseException | None) -> bool:
    """Return whether Ctrl-C caused `error`; the rollback after Ctrl-C may raise another error."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None
