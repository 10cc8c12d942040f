"""Recognize exceptions that are thrown into running code from outside, for example time limits.

They may surface in any line of this package, and must reach the site's code. rq's `job_timeout` and
Celery's soft limit raise in a signal handler, `PyThreadState_SetAsyncExc` sets an exception in
another thread. https://docs.python.org/3/library/signal.html
"""

from __future__ import annotations

import functools
import signal
import sys
from traceback import walk_tb
from types import CodeType
from typing import Any

_PACKAGE = __name__.partition(".")[0]
#: Packages that define the exceptions which our code, or C code that it calls, may raise.
_OURS = sys.stdlib_module_names | {"asgiref", "django", "psycopg", "psycopg2", _PACKAGE}


def by_signal(error: BaseException) -> bool:
    """Return whether a signal handler raised `error`."""
    handlers = {_code(signal.getsignal(number)) for number in signal.valid_signals()}
    return any(frame.f_code in handlers for frame, _ in walk_tb(error.__traceback__))


def from_outside(error: BaseException) -> bool:
    """Return whether a signal handler raised `error` or another thread set it.

    An exception set by another thread is raised in our code and has a class that our code never
    raises.
    """
    module = ""
    for frame, _ in walk_tb(error.__traceback__):
        module = str(frame.f_globals.get("__name__", ""))
    is_put_here = _root(module) == _PACKAGE and _root(type(error).__module__) not in _OURS
    return is_put_here or by_signal(error)


def _root(module: str) -> str:
    return module.partition(".")[0]


def _code(handler: Any) -> CodeType | None:
    """Return the code of a signal handler (a function, a method, a partial or an object)."""
    while isinstance(handler, functools.partial):
        handler = handler.func
    for function in (handler, getattr(handler, "__func__", None), _call_of(handler)):
        if isinstance(code := getattr(function, "__code__", None), CodeType):
            return code
    return None


def _call_of(handler: Any) -> Any:
    return type(handler).__dict__.get("__call__")
