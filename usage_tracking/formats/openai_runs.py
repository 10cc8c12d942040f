"""Runs of assistants on threads: OpenAI, Azure OpenAI and the agents of Azure AI Foundry.

https://platform.openai.com/docs/api-reference/runs/object (`usage` is null before the run has
ended; a run that requires an action goes on once its tools' outputs have been submitted)
https://platform.openai.com/docs/api-reference/assistants-streaming/events (each `thread.run.*`
event carries the whole run, while the steps of a run repeat parts of its usage)
https://learn.microsoft.com/rest/api/aifoundry/aiagents/runs
"""

from __future__ import annotations

from typing import Any

from .openai_chat import chat_usage
from .reader import Job, Reader, error_text, mapping, moment, text

_RUN = b'"thread.run"'
_ENDED = frozenset({"completed", "failed", "cancelled", "expired", "incomplete"})


class RunsReader(Reader):
    """Reads runs of assistants."""

    operation = "invoke_agent"
    dates_jobs = True
    in_progress = "the run goes on; its end was not seen yet"

    def wants(self, data: bytes) -> bool:
        """Return whether the events may have something to read."""
        return super().wants(data) or _RUN in data

    def event(self, data: dict[str, Any]) -> None:
        """Take one parsed stream event."""
        if "object" in data:
            self.body(data)
        else:
            self.error = error_text(data) or self.error

    def body(self, data: dict[str, Any]) -> None:
        """Take a whole answer."""
        if data.get("object") != "thread.run":
            self.error = _said(data) or self.error
            return
        status = text(data.get("status")).lower()
        self.recognised = True
        self.model = text(data.get("model")) or self.model
        self.response_id = text(data.get("id")) or self.response_id
        self.job = Job(self.response_id, status in _ENDED, moment(data.get("created_at")))
        self.error = error_text({"error": data.get("last_error")}) or self.error
        if status in {"failed", "expired"} and not self.error:
            self.error = status
        # Some of what a run counts before its end is not final.
        if self.job.ended:
            self.use(chat_usage(mapping(data.get("usage")), self.model))


def _said(data: dict[str, Any]) -> str:
    return error_text(data) if "error" in data else ""
