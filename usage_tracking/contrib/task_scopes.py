"""Scopes of the tasks that run in this process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import conf
from ..attribution.scope import Scope, Unit, enter, leave
from ..attribution.users import CallUser
from ..errors import contained
from ..places import Place
from ..recorder import units

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
    """Open the scope of a task.

    Args:
        task_id: Identifies the task for `end`.
        path: The dotted name of the task, looked up in `AI_USAGE_SECTION_MAP`.
        parent: The scope of the code that runs the task, if its unit is open.
        section: The section code; takes precedence over `AI_USAGE_SECTION_MAP`.
        user: The user of the task's calls.
        home: The place of `user`, if it differs from that of the current thread.
        metadata: Metadata of the task's calls.
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
    """Close the scope of a task and deliver its calls; wait up to AI_USAGE_WAIT seconds."""
    scope = _scopes.pop(task_id, None)
    if scope is None:
        return
    contained(leave)(scope)
    if scope.parent is None:  # else it ran inside a unit of work that continues
        units.finish(scope.unit)
