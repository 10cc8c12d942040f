"""Ollama chat, generate and embed.

https://docs.ollama.com/api/usage (`prompt_eval_count` and `eval_count` are in the last line of a
stream, the one with `"done": true`; either may be missing)
https://docs.ollama.com/api/streaming
"""

from __future__ import annotations

from typing import Any

from ..usage import Usage
from .reader import Reader, error_text, text


class OllamaReader(Reader):
    """Reads Ollama chat, generate and embed."""

    operation = "chat"

    usage_key = b'eval_count"'  # either of the two

    def body(self, data: dict[str, Any]) -> None:
        """Take a whole answer."""
        is_answer = isinstance(data.get("done"), bool) and "created_at" in data
        has_words = isinstance(data.get("message"), dict) or isinstance(data.get("response"), str)
        has_vectors = isinstance(data.get("embeddings"), list) and "total_duration" in data
        if text(data.get("model")) and ((is_answer and has_words) or has_vectors):
            self.recognised = True
        self.model = text(data.get("model")) or self.model
        self.error = error_text(data) or self.error
        counts = {
            "input_tokens": data.get("prompt_eval_count"),
            "output_tokens": data.get("eval_count"),
            "cache_read_tokens": data.get("prompt_eval_cached_count"),
        }
        self.use(Usage.of(counts), complete=data.get("done") is not False)
