"""Anthropic's old text completions, which count nothing.

https://docs.anthropic.com/en/api/complete
"""

from __future__ import annotations

from typing import Any

from .reader import Reader, error_text, text


class CompleteReader(Reader):
    operation = "text_completion"

    def body(self, data: dict[str, Any]) -> None:
        if data.get("type") == "completion" and isinstance(data.get("completion"), str):
            self.recognised = True
            self.model = text(data.get("model")) or self.model
            self.response_id = text(data.get("id")) or self.response_id
        self.error = error_text(data) or self.error
