"""Tasks of Runway and Luma, which make videos, pictures and sound.

https://docs.dev.runwayml.com/api (a task that has ended says how many credits it cost)
https://docs.lumalabs.ai/reference (reports no usage)

Credits have no price that answers tell, so that they are a fact.
"""

from __future__ import annotations

from typing import Any

from .reader import Job, Reader, mapping, moment, seconds, text

_RUNWAY = frozenset({"PENDING", "THROTTLED", "RUNNING", "SUCCEEDED", "FAILED", "CANCELLED"})
_LUMA = frozenset({"queued", "dreaming", "completed", "failed"})
_ENDED = frozenset({"SUCCEEDED", "FAILED", "CANCELLED", "completed", "failed"})


class MediaTasksReader(Reader):
    """Reads tasks of Runway and Luma."""

    operation = "video_generation"

    def body(self, data: dict[str, Any]) -> None:
        """Take a whole answer."""
        task_id, status = text(data.get("id")), text(data.get("status") or data.get("state"))
        self.model = text(data.get("model"))
        begun = "estimatedCost" in data and not status
        self.recognised = bool(task_id) and (
            begun
            or (status in _RUNWAY and "createdAt" in data)
            or (status in _LUMA and "assets" in data)
        )
        if not self.recognised:
            return
        self.response_id = task_id
        began = moment(data.get("createdAt") or data.get("created_at"))
        self.job = Job(task_id, status in _ENDED, began)
        if status in {"FAILED", "failed"}:
            self.error = text(data.get("failure")) or text(data.get("failure_reason")) or "failed"
        if (credits := seconds(mapping(data.get("cost")).get("credits"))) is not None:
            self.facts["credits"] = credits
