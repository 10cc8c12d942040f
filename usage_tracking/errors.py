"""The one place in which errors of ours end, so that they never reach the host site."""

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

#: How often each place failed since the process began; read by the health report.
failures: Counter[str] = Counter()


def contain(error: Exception, where: str) -> None:
    """Log `error` with its traceback and count it; raise it only if AI_USAGE_RAISE_ERRORS.

    An exception that only happened to be raised while our code ran is not ours to contain: it is
    raised again.
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
    """Decorates a function of ours that the host's call runs through: on error it gives None."""

    @functools.wraps(function)
    def inner(*args: P.args, **kwargs: P.kwargs) -> T | None:
        try:
            return function(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 -- this is what the function is for
            contain(error, function.__qualname__)
            return None

    return inner


def was_stopped(error: BaseException | None) -> bool:
    """Whether Ctrl-C is behind it: what it cuts short fails again when it is rolled back."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None
