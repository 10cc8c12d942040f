"""Attribute the AI calls of a Celery task to the user and section of the code that sent it.

The attribution is in a header of the message, which retries and canvases keep. A task without the
header (sent by a beat, a script, or an older release of the site) has no user; its section is the
one that `AI_USAGE_SECTION_MAP` gives to its name. The metadata of each call contain the task.

https://docs.celeryq.dev/en/stable/userguide/signals.html
"""

from __future__ import annotations

import json
import threading
from types import ModuleType
from typing import Any, cast

from ..attribution.resolve import attribution, view_section
from ..attribution.users import CallUser, resolve_here
from ..delivery import delivery
from ..errors import contained
from ..places import NOWHERE, Place
from ..redaction import clean_metadata
from . import task_scopes

#: The header. Its value is one string, because an AMQP table cannot hold every JSON value, and a
#: header that AMQP refuses would make the site's `delay()` fail.
HEADER = "ai_usage"

#: The thread in which a beat sends; it may be in a worker process (`celery worker --beat`).
_beat_thread: int | None = None


def connect(signals: ModuleType) -> None:
    """Connect to the task signals; called when `celery.signals` is imported."""
    signals.before_task_publish.connect(_send, dispatch_uid="ai_usage")
    signals.beat_init.connect(_note_beat, dispatch_uid="ai_usage")
    signals.task_prerun.connect(_begin, dispatch_uid="ai_usage")
    signals.task_postrun.connect(_end, dispatch_uid="ai_usage")
    # A prefork worker ends with os._exit, which skips atexit functions.
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
        # The worker will not have the request, so the user must be looked up here.
        user = here.user or (here.pending and resolve_here(here.pending))
        if user:
            sent["user"] = [user.id, user.username]
        if here.scope.home != NOWHERE:
            sent["place"] = here.scope.home
        headers[HEADER] = json.dumps(sent)
    elif _beat_thread == threading.get_ident():
        headers[HEADER] = json.dumps({"metadata": {"celery_beat": True}})


def _without_task(metadata: Any) -> dict[str, Any]:
    """Return `metadata` without those of the sending task; the next task has its own."""
    return {name: value for name, value in metadata.items() if not name.startswith("celery_")}


@contained
def _begin(task_id: str, task: Any, **_: Any) -> None:
    request = task.request
    if request.is_eager:
        return  # it runs as part of the code that called it
    sent = _read(request)
    task_scopes.begin(
        task_id,
        task.name,
        section=sent.get("section", ""),
        user=CallUser(*sent["user"]) if "user" in sent else None,
        # NOWHERE if no tenant was active in the sender, even if one is active in the worker.
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
