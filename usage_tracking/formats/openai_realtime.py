"""OpenAI realtime: the response in a `response.done` event.

It arrives over a websocket (`capture/events_session`); a site may pass the event to `record` too.
https://platform.openai.com/docs/api-reference/realtime-server-events/response/done
xAI bills seconds and messages: https://docs.x.ai/docs/guides/voice
"""

from __future__ import annotations

from typing import Any

from ..usage import Usage
from .reader import Reader, cost, error_text, input_units, mapping, output_units, text


class RealtimeReader(Reader):
    """Reads responses of OpenAI realtime."""

    operation = "chat"

    def body(self, data: dict[str, Any]) -> None:
        """Take a whole answer."""
        usage = mapping(data.get("usage"))
        self.recognised = data.get("object") == "realtime.response"
        self.model = text(data.get("model"))
        self.response_id = text(data.get("id"))
        if data.get("status") == "failed":
            self.error = error_text(data.get("status_details")) or "failed"
        faults: dict[str, str] = {}
        counts = {
            "input_tokens": usage.get("input_tokens"),
            "output_tokens": usage.get("output_tokens"),
            **input_units(mapping(usage.get("input_token_details"))),
            **output_units(mapping(usage.get("output_token_details"))),
            "audio_seconds": usage.get("billable_audio_seconds"),
            "input_text_messages": usage.get("input_text_messages"),
        }
        if self.recognised:
            self.use(Usage.of(counts, cost=cost(usage, faults), faults=faults))
