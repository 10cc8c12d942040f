"""`propagate`: make a function run in the current scope wherever it is called."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

from ..errors import contained
from ..redaction import clean_metadata
from .resolve import attribution, view_section
from .scope import Scope, Steps, Unit, current

F = TypeVar("F", bound=Callable[..., Any])


def propagate(function: F) -> F:
    """Return a wrapper that runs `function` in the scope that is current now.

    Use it for threads, executors and callbacks that are not patched, and for the jobs of a process
    pool. The wrapper carries only this package's context variable. When it is pickled, it keeps the
    section, the metadata, and the user if the user is loaded. In a forked process it keeps the
    whole scope.
    """
    return cast(F, _Propagated(function, current()))


class _Propagated:
    """A function bound to the scope that it runs in."""

    def __init__(self, function: Callable[..., Any], scope: Scope | None) -> None:
        functools.update_wrapper(self, function)
        self._ai_usage = function, scope

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        function, scope = self._ai_usage
        with Steps(scope):
            return function(*args, **kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        function, scope = self._ai_usage
        return _unpickled, (function, _sent(scope))


@contained
def _sent(scope: Scope | None) -> dict[str, Any] | None:
    """Return the picklable parts of `scope`; do not look up a user that is not loaded."""
    with Steps(scope):
        seen = attribution()
    if seen.scope is None:
        return None
    section = seen.scope.section or view_section(seen.unit)
    return {
        "section": section,
        "user": seen.user,
        "metadata": clean_metadata(dict(seen.metadata)),
        "home": seen.scope.home,
    }


def _unpickled(function: Callable[..., Any], sent: dict[str, Any] | None) -> _Propagated:
    return _Propagated(function, None if sent is None else Scope(Unit(), **sent))
