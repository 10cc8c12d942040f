"""Mistral conversations.

https://docs.mistral.ai/api/endpoint/beta/conversations (`usage` counts the tools that Mistral ran
in `connectors`; the outputs name the models, the answer itself names none)
A stream ends with the event `conversation.response.done`, which carries the usage.
"""

from __future__ import annotations

from typing import Any

from ..usage import Usage
from .openai_chat import chat_usage, price_facts_of
from .reader import Reader, count, error_text, items, mapping, text

#: Mistral's name of a tool → unit.
_TOOLS = {
    "web_search": "web_searches",
    "web_search_premium": "web_searches",
    "code_interpreter": "code_executions",
    "document_library": "storage_searches",
}


class ConversationsReader(Reader):
    """Reads Mistral conversations."""

    operation = "chat"

    def wants(self, data: bytes) -> bool:
        """Return whether the events may have something to read."""
        return (
            super().wants(data)
            or b"response.error" in data
            or (not self.model and b'"model"' in data)
        )

    def event(self, data: dict[str, Any]) -> None:
        """Take one parsed stream event."""
        kind = text(data.get("type"))
        if kind.startswith("conversation.response."):
            self.recognised = True
        if kind == "conversation.response.error":
            self.error = error_text(data) or text(data.get("code")) or "error"
        self._identify(data)
        self._read(data)

    def body(self, data: dict[str, Any]) -> None:
        """Take a whole answer."""
        self.recognised = data.get("object") == "conversation.response"
        self.error = error_text(data)
        for output in items(data.get("outputs")):
            self._identify(output)
        self._read(data)

    def _identify(self, output: dict[str, Any]) -> None:
        # After a handoff, several models have answered; the tokens of each are not counted. The id
        # of a conversation is that of all its answers.
        if text(output.get("type")).startswith("message.output"):
            self.model = self.model or text(output.get("model"))
            self.response_id = self.response_id or text(output.get("id"))

    def _read(self, data: dict[str, Any]) -> None:
        usage = data.get("usage")
        if not isinstance(usage, dict):
            return
        self.price_facts |= price_facts_of(usage)
        found = chat_usage(usage)
        ran = mapping(usage.get("connectors"))
        tools: dict[str, Any] = {}
        for name, number in ran.items():
            if unit := _TOOLS.get(name):
                tools[unit] = tools.get(unit, 0) + (count(number) or 0)
            elif count(number):
                self.price_facts["tool"] = name
        if count(ran.get("web_search_premium")):
            self.price_facts["search_type"] = "premium"
        self.use(Usage.of(found.units | tools, faults=found.faults))
