"""Hugging Face, by the path of a model.

https://huggingface.co/docs/inference-providers/providers/hf-inference (billed by the time of the
computer, which no answer counts)
https://huggingface.co/docs/inference-providers/tasks/text-generation (`details` count tokens, if
the request asks for them)
"""

from __future__ import annotations

from typing import Any

from ..usage import Usage
from .reader import Reader, error_text, mapping


class HuggingFaceReader(Reader):
    """Reads answers of models of Hugging Face."""

    operation = "generate_content"

    usage_key = b'"generated_tokens"'

    def body(self, data: dict[str, Any]) -> None:
        """Take a whole answer, or an event of a stream."""
        if "generated_text" in data:
            self.recognised = True
        self.error = error_text(data) or self.error
        details = mapping(data.get("details"))
        prefill = details.get("prefill")
        read = details.get("input_length")
        if read is None and isinstance(prefill, list) and prefill:
            read = len(prefill)
        counts = {"input_tokens": read, "output_tokens": details.get("generated_tokens")}
        self.use(Usage.of(counts))
