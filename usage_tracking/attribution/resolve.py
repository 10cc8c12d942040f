"""Resolve the user and the section of a call when the call begins."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, TypeVar, cast

from .. import conf
from ..errors import contained
from ..log import logger
from ..places import NOWHERE, has_many, here
from ..system.site_tests import running_test
from .scope import OUTLIVE, Attribution, Unit, current
from .users import CallUser, Connection, Pending, call_user_of, loaded

F = TypeVar("F", bound=Callable[..., Any])

# Calls outside every scope share a unit if they share a thread or an asyncio task.
_loose: ContextVar[Unit | None] = ContextVar("ai_usage_loose_unit", default=None)


def attribution() -> Attribution:
    """Return the attribution of a call that begins now, without a database query."""
    scope = current()
    if scope is None:
        unit = _loose.get()
        if unit is None or unit.pid != os.getpid() or unit.test is not running_test():
            unit = Unit()
            _loose.set(unit)
        return Attribution(None, None, conf.default_section(), {}, unit, None, here())
    unit = scope.unit
    if unit.is_outlived():
        return _outlived(unit)
    source = scope.user if scope.user is not None else unit.request
    user, pending = (source is not None and _resolve_user(source, unit)) or (None, None)
    section = scope.section or view_section(unit) or conf.default_section()
    # A pool thread belongs to no tenant; the request that submitted the job does.
    place, home = here(unit.request), scope.home
    if place == NOWHERE:
        place = home
    if place == NOWHERE and has_many():
        # Only the user names the tenant, and was loaded after the scope began.
        place = home = here(unit.request, user=loaded(source))
    if place.users != home.users or not place.has_users:
        user = pending = None  # there the same key belongs to another user
    return Attribution(user, pending, section, scope.metadata, unit, scope, place)


def _outlived(unit: Unit) -> Attribution:
    """Return the attribution of a thread that runs long after its request has ended.

    The thread may be a shared worker that one visitor's request happened to start, so its calls are
    unattributed.
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
    """Return the user if it is loaded, else a pending user; `units.finish` resolves that one.

    The request to the provider must not wait for a query. A forked process does not resolve the
    user of its parent's request, because that would use the parent's connections.
    """
    user = loaded(source)
    if isinstance(user, Pending):
        return None, user.during(unit.request) if unit.pid == os.getpid() else None
    return call_user_of(user), None


def ai_section(section: str) -> Callable[[F], F]:
    """Decorate a view, a view class or a consumer class to record its AI calls under `section`.

    Args:
        section: A code of `AI_USAGE_SECTIONS`.
    """

    def mark(view: F) -> F:
        cast(Any, view).ai_section = section
        return view

    return mark


@contained
def view_section(unit: Unit) -> str:
    """Return the section set for the view of a unit's request, "" if there is none."""
    if unit.request is None:
        return ""
    if isinstance(unit.request, Connection):
        return _section_of_view(unit.request.view)
    if unit.view_section is None:
        match = unit.request.resolver_match
        if match is None:
            return ""  # a call by middleware, before the view is resolved
        unit.view_section = _section_of(match)
    return unit.view_section


def _section_of(match: Any) -> str:
    namespaces = [":".join(match.namespaces[:n]) for n in range(len(match.namespaces), 0, -1)]
    return _section_of_view(match.func, match.view_name, *namespaces)


def _section_of_view(function: Any, *names: str) -> str:
    """Return the section of a view, consumer or ASGI application; `names` are its URL names."""
    if function is None:
        return ""
    view = next(filter(None, (getattr(function, name, None) for name in _CLASSES)), function)
    section = getattr(view, "ai_section", "") or getattr(function, "ai_section", "")
    if section:
        return str(section)
    if not hasattr(view, "__qualname__"):
        view = type(view)  # an application that is an instance
    path = f"{getattr(view, '__module__', '')}.{getattr(view, '__qualname__', '')}"
    return conf.mapped_section(path, *names)


#: Attributes in which the function of a class-based view, a REST framework view or a consumer
#: keeps its class.
_CLASSES = ("view_class", "cls", "consumer_class")
