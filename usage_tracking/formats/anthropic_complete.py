"""Anthropic's old text completions, which report no counts.

https://docs.anthropic.com/en/api/complete
"""

from __future__ import annotations

from typing import Any

from .reader import Reader, error_text, text


class CompleteReader(Reader):
    """Reads Anthropic's old text completions."""

    operation = "text_completion"

    def body(self, data: dict[str, Any]) -> None:
        """Take a whole answer."""
        if data.get("type") == "completion" and isinstance(data.get("completion"), str):
            self.recognised = True
            self.model = text(data.get("model")) or self.model
            self.response_id = text(data.get("id")) or self.response_id
        self.error = error_text(data) or self.error
