"""Tasks of Runway, Luma and Black Forest Labs, which make videos, pictures and sound.

https://docs.dev.runwayml.com/api (a task that has ended says how many credits it cost)
https://docs.lumalabs.ai/reference (reports no usage)
https://docs.bfl.ai/api_integration/integration_guidelines (the answer that begins a task says what
it costs, and only the path names the model)

Credits have no price that answers tell, so that they are a fact.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .reader import Job, Reader, mapping, moment, seconds, text

_RUNWAY = frozenset({"PENDING", "THROTTLED", "RUNNING", "SUCCEEDED", "FAILED", "CANCELLED"})
#: Members of a task of Runway that has ended; sites have tasks of their own.
_OF_RUNWAY = frozenset({"cost", "output", "failure", "failureCode"})
_LUMA = frozenset({"queued", "dreaming", "completed", "failed"})
_FLUX = frozenset({"Pending", "Ready", "Request Moderated", "Content Moderated", "Error"})
_GOING_ON = frozenset({"", "PENDING", "THROTTLED", "RUNNING", "queued", "dreaming", "Pending"})
_FAILED = frozenset({"FAILED", "failed", "Request Moderated", "Content Moderated", "Error"})
_MODEL = re.compile(r"/v1/(flux-[^/]+)/?$")


class MediaTasksReader(Reader):
    """Reads tasks of Runway, Luma and Black Forest Labs."""

    operation = "video_generation"

    def asked(self, path: str, body: bytes | Mapping[str, Any] | None) -> None:
        """Take the request, whose path may name the model."""
        if not self.model and (found := _MODEL.search(path)):
            self.model = found[1]

    def body(self, data: dict[str, Any]) -> None:
        """Take a whole answer."""
        task_id, status = text(data.get("id")), text(data.get("status") or data.get("state"))
        self.model = text(data.get("model"))
        is_task = bool(task_id) and (
            (not status and ("estimatedCost" in data or "polling_url" in data))
            or (status in _RUNWAY and "createdAt" in data)
            or (status in _LUMA and "assets" in data)
            or (status in _FLUX and "result" in data)
        )
        if not is_task:
            return
        self.recognised = status not in _RUNWAY or not _OF_RUNWAY.isdisjoint(data)
        self.response_id = task_id
        began = moment(data.get("createdAt") or data.get("created_at"))
        self.job = Job(task_id, status not in _GOING_ON, began)
        if status in _FAILED:
            said = data.get("failure") or data.get("failure_reason")
            self.error = text(said) or status.lower()
        cost = data.get("cost")
        if (credits := seconds(mapping(cost).get("credits", cost))) is not None:
            self.facts["credits"] = credits
