"""Celery: the AI calls of a task belong to the user and the section of the code that sent it.

They travel in a header of the message, and so through retries and canvases. A task that was sent
without (by a beat, a script, an older release of the site) has no user, and the section that
`AI_USAGE_SECTION_MAP` gives to its name. The metadata of each call name the task.

https://docs.celeryq.dev/en/stable/userguide/signals.html
"""

from __future__ import annotations

import json
import threading
from types import ModuleType
from typing import Any, cast

from usage_tracking.attribution.resolve import attribution, view_section
from usage_tracking.attribution.users import CallUser, resolve_here
from usage_tracking.delivery import delivery
from usage_tracking.errors import contained
from usage_tracking.places import NOWHERE, Place
from usage_tracking.redaction import clean_metadata

from . import task_scopes

#: One string: a table of AMQP cannot hold every JSON value, and a header that it refuses would
#: fail the site's `delay()`.
HEADER = "ai_usage"

#: The thread in which a beat sends, which may be one of a worker (`celery worker --beat`).
_beat_thread: int | None = None


def connect(signals: ModuleType) -> None:
    """Follows the tasks of this process; called when `celery.signals` is imported."""
    signals.before_task_publish.connect(_send, dispatch_uid="ai_usage")
    signals.beat_init.connect(_note_beat, dispatch_uid="ai_usage")
    signals.task_prerun.connect(_begin, dispatch_uid="ai_usage")
    signals.task_postrun.connect(_end, dispatch_uid="ai_usage")
    # A prefork worker leaves by os._exit, which runs nothing that atexit knows.
    signals.worker_process_shutdown.connect(_leave, dispatch_uid="ai_usage")


def _note_beat(**_: Any) -> None:
    global _beat_thread
    _beat_thread = threading.get_ident()


@contained
def _send(headers: dict[str, Any], **_: Any) -> None:
    here = attribution()
    if here.scope is not None:
        sent: dict[str, Any] = {
            "section": here.scope.section or view_section(here.unit),
            "metadata": clean_metadata(_without_task(here.metadata)),
        }
        # The worker will not have the request: this is the only moment to look the user up.
        user = here.user or (here.pending and resolve_here(here.pending))
        if user:
            sent["user"] = [user.id, user.username]
        if here.scope.home != NOWHERE:
            sent["place"] = here.scope.home
        headers[HEADER] = json.dumps(sent)
    elif _beat_thread == threading.get_ident():
        headers[HEADER] = json.dumps({"metadata": {"celery_beat": True}})


def _without_task(metadata: Any) -> dict[str, Any]:
    """Without what the sending task said of itself: the next one has its own."""
    return {name: value for name, value in metadata.items() if not name.startswith("celery_")}


@contained
def _begin(task_id: str, task: Any, **_: Any) -> None:
    request = task.request
    if request.is_eager:
        return  # it runs inside the code that called it, as a part of it
    sent = _read(request)
    task_scopes.begin(
        task_id,
        task.name,
        section=sent.get("section", ""),
        user=CallUser(*sent["user"]) if "user" in sent else None,
        # Sent from where no tenant was active, also if the worker has one active by now.
        home=Place(*sent.get("place", ())),
        metadata={**sent.get("metadata", {}), "celery_task": task.name, "celery_task_id": task_id},
    )


def _read(request: Any) -> dict[str, Any]:
    sent = contained(json.loads)(getattr(request, HEADER, None) or "{}")
    return cast("dict[str, Any]", sent) if isinstance(sent, dict) else {}


def _end(task_id: str, **_: Any) -> None:
    task_scopes.end(task_id)


def _leave(**_: Any) -> None:
    delivery.stop()
