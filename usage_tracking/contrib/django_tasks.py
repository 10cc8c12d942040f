"""Give each Django task a scope: its calls name the task and are delivered when it ends.

For `django.tasks` (Django 6.0 and newer) and for the `django_tasks` package. Their messages cannot
carry the sender. In a worker a call therefore has no user unless the task sets one
(`with ai_usage(user=...)`). Its section is the task's own or the one that `AI_USAGE_SECTION_MAP`
gives to its path. A task that runs at once (`ImmediateBackend`) belongs to the code that enqueued
it.

https://docs.djangoproject.com/en/stable/ref/tasks/
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from ..attribution.scope import current
from . import task_scopes


def connect(signals: ModuleType) -> None:
    """Connect to the task signals; called when their module is imported."""
    signals.task_started.connect(_begin, dispatch_uid="ai_usage")
    signals.task_finished.connect(_end, dispatch_uid="ai_usage")


def _begin(task_result: Any, **_: Any) -> None:
    path = task_result.task.module_path
    task_scopes.begin(
        str(task_result.id),
        path,
        parent=current(),
        metadata={"django_task": path, "django_task_id": str(task_result.id)},
    )


def _end(task_result: Any, **_: Any) -> None:
    task_scopes.end(str(task_result.id))
