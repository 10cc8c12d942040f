"""Tasks that run in this process: each has a scope from its first signal to its last."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from usage_tracking import conf
from usage_tracking.attribution.scope import Scope, Unit, enter, leave
from usage_tracking.attribution.users import CallUser
from usage_tracking.errors import contained
from usage_tracking.places import Place
from usage_tracking.recorder import units

_scopes: dict[str, Scope] = {}


@contained
def begin(
    task_id: str,
    path: str,
    *,
    parent: Scope | None = None,
    section: str = "",
    user: CallUser | None = None,
    home: Place | None = None,
    metadata: Mapping[str, Any],
) -> None:
    """Opens the scope of a task: of its own, or inside `parent`, the code that it runs within.

    `home` is the place of `user`, if it is not that of the thread that begins the task. `path` is
    the dotted name of the task, for `AI_USAGE_SECTION_MAP`.
    """
    inside = parent is not None and parent.unit.open
    scope = Scope(
        parent.unit if parent is not None and inside else Unit(),
        parent if inside else None,
        section=section or conf.mapped_section(path),
        user=user,
        metadata=metadata,
        home=home,
    )
    if not inside:
        scope.unit.begin()
    _scopes[task_id] = scope
    enter(scope)


def end(task_id: str) -> None:
    """Close the scope of a task and deliver its calls; wait for that as AI_USAGE_WAIT says."""
    scope = _scopes.pop(task_id, None)
    if scope is None:
        return
    contained(leave)(scope)
    if scope.parent is None:  # else it ran inside a unit of work that goes on
        units.finish(scope.unit)
