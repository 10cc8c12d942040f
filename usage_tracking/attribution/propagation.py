"""`propagate`: a function that takes the scope in force along, to where it is called."""

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
    """Return `function` so that it runs in the scope that is current now, wherever it is called.

    For threads, executors and callbacks that are not patched, and for the jobs of a process pool.
    It carries our variable and no other. Pickled, it takes along the user if loaded, the section
    and the metadata; a process that it reaches by a fork alone has the same scope.
    """
    return cast(F, _Propagated(function, current()))


class _Propagated:
    """A function and the scope that it runs in."""

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
    """What another process is told of `scope`; a user that is not loaded is not looked up."""
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
