"""OpenAI realtime: the response in a `response.done` event.

It arrives over a websocket, which no hook sees; the site passes the event to `record`.
https://platform.openai.com/docs/api-reference/realtime-server-events/response/done
"""

from __future__ import annotations

from typing import Any

from ..events import Usage
from .reader import Reader, count, error_text, mapping, text


class RealtimeReader(Reader):
    """Reads responses of OpenAI realtime."""

    operation = "chat"

    def body(self, data: dict[str, Any]) -> None:
        """Take a whole answer."""
        usage = mapping(data.get("usage"))
        details = mapping(usage.get("input_token_details"))
        self.recognised = data.get("object") == "realtime.response"
        self.model = text(data.get("model"))
        self.response_id = text(data.get("id"))
        if data.get("status") == "failed":
            self.error = error_text(data.get("status_details")) or "failed"
        found = Usage(
            prompt_tokens=count(usage.get("input_tokens")),
            completion_tokens=count(usage.get("output_tokens")),
            cached_tokens=count(details.get("cached_tokens")),
        )
        if self.recognised and found.known:
            self.usage, self.complete = found, True
