"""Perplexity's chat completions that are fetched later.

https://docs.perplexity.ai/api-reference/async-sonar-post
https://docs.perplexity.ai/api-reference/async-sonar-request-get (`response` is the chat completion)
"""

from __future__ import annotations

from typing import Any

from .openai_chat import ChatReader
from .reader import Job, moment, text

_STATUSES = frozenset({"CREATED", "IN_PROGRESS", "COMPLETED", "FAILED"})


class AsyncChatReader(ChatReader):
    """Reads requests for a chat completion that is fetched later."""

    dates_jobs = True

    def body(self, data: dict[str, Any]) -> None:
        """Take a whole answer."""
        status, job_id = text(data.get("status")), text(data.get("id"))
        if isinstance(response := data.get("response"), dict):
            super().body(response)
        self.recognised = bool(job_id) and status in _STATUSES and "created_at" in data
        self.model = text(data.get("model")) or self.model
        if self.recognised:
            self.response_id = job_id
            ended = status in {"COMPLETED", "FAILED"}
            self.job = Job(job_id, ended, moment(data.get("created_at")))
        if status == "FAILED":
            self.error = text(data.get("error_message")) or self.error or "failed"
