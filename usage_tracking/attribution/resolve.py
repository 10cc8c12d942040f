"""Whose call it is: the user and the section, decided when the call begins."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, TypeVar, cast

from .. import conf
from ..errors import contained
from ..log import logger
from ..places import NOWHERE, has_many, here
from ..system.test_runs import running_test
from .scope import OUTLIVE, Attribution, Scope, Unit, current
from .users import CallUser, Connection, Pending, call_user_of, loaded

F = TypeVar("F", bound=Callable[..., Any])

# Calls outside every scope still belong together where they share a thread or an asyncio task.
_loose: ContextVar[Unit | None] = ContextVar("ai_usage_loose_unit", default=None)


def attribution() -> Attribution:
    """Reads the scope in force, without surprises for the host: see `_resolve_user`."""
    scope = current()
    if scope is None:
        unit = _loose.get()
        if unit is None or unit.pid != os.getpid() or unit.test is not running_test():
            unit = Unit()
            _loose.set(unit)
        return Attribution(None, None, conf.default_section(), {}, unit, None, here())
    unit = scope.unit
    if unit.is_outlived():
        return _outlived(unit, scope)
    source = scope.user if scope.user is not None else unit.request
    user, pending = (source is not None and _resolve_user(source, unit)) or (None, None)
    section = scope.section or view_section(unit) or conf.default_section()
    # A thread of a pool belongs to no tenant, the request that has given it work does.
    place, home = here(unit.request), scope.home
    if place == NOWHERE:
        place = home
    if place == NOWHERE and has_many():
        # Nothing names a tenant but the user, who was loaded after the scope began.
        place = home = here(unit.request, user=loaded(source))
    if place.users != home.users or not place.has_users:
        user = pending = None  # the same key would be another person there
    return Attribution(user, pending, section, scope.metadata, unit, scope, place)


def _outlived(unit: Unit, scope: Scope) -> Attribution:
    """The attribution of a thread that goes on long after its request.

    It may be a worker that serves everybody and was only started by one visitor's request: what
    it calls is nobody's, rather than that visitor's.
    """
    global _warned_of_outliving
    if not _warned_of_outliving:
        _warned_of_outliving = True
        logger.warning(
            "[TRACK_WARNING] A thread or task makes AI calls %d s after the request that started "
            "it; they are unattributed. Name their user there: with ai_usage(user=..., "
            "section=...)",
            OUTLIVE,
        )
    return Attribution(None, None, conf.default_section(), {}, unit, None, here())


_warned_of_outliving = False


@contained
def _resolve_user(source: Any, unit: Unit) -> tuple[CallUser | None, Pending | None]:
    """Return the user if somebody has loaded it, else the pending one; see `recorder.finish`.

    The request to the provider must not wait for a query. A forked process leaves the user of its
    parent's request alone: to load it would take the parent's connections.
    """
    user = loaded(source)
    if isinstance(user, Pending):
        return None, user.during(unit.request) if unit.pid == os.getpid() else None
    return call_user_of(user), None


def ai_section(section: str) -> Callable[[F], F]:
    """Decorates a view, or the class of one or of a consumer, whose AI calls go to `section`."""

    def mark(view: F) -> F:
        cast(Any, view).ai_section = section
        return view

    return mark


@contained
def view_section(unit: Unit) -> str:
    """Return the section that the view of a unit's request asks for, "" if it asks for none."""
    if unit.request is None:
        return ""
    if isinstance(unit.request, Connection):
        return _section_of_view(unit.request.view)
    if unit.view_section is None:
        match = unit.request.resolver_match
        if match is None:
            return ""  # a middleware's call, before the view is known
        unit.view_section = _section_of(match)
    return unit.view_section


def _section_of(match: Any) -> str:
    namespaces = [":".join(match.namespaces[:n]) for n in range(len(match.namespaces), 0, -1)]
    return _section_of_view(match.func, match.view_name, *namespaces)


def _section_of_view(function: Any, *names: str) -> str:
    """The section of a view, a consumer or an ASGI application; `names` are those of its URL."""
    if function is None:
        return ""
    view = next(filter(None, (getattr(function, name, None) for name in _CLASSES)), function)
    section = getattr(view, "ai_section", "") or getattr(function, "ai_section", "")
    if section:
        return str(section)
    if not hasattr(view, "__qualname__"):
        view = type(view)  # an application that is an object
    path = f"{getattr(view, '__module__', '')}.{getattr(view, '__qualname__', '')}"
    return conf.mapped_section(path, *names)


#: Where the function that serves a class-based view, one of REST framework or a consumer names it.
_CLASSES = ("view_class", "cls", "consumer_class")
