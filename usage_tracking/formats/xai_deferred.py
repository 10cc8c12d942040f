"""xAI's deferred chat completions, fetched when they are done.

https://docs.x.ai/developers/advanced-api-usage/deferred-chat-completions
"""

from __future__ import annotations

from typing import Any

from .openai_chat import ChatReader
from .reader import count


class DeferredReader(ChatReader):
    """Reads a completion that anyone may fetch, any number of times."""

    def body(self, data: dict[str, Any]) -> None:
        """Take a whole answer."""
        super().body(data)
        self.background_since = count(data.get("created"))
