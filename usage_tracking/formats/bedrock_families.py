"""The formats of models that exist on Bedrock only, recognised by their shape.

https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters.html
Llama: `generation` with `prompt_token_count` (in a stream only in the first event) and
`generation_token_count` (a running count)
Titan: `inputTextTokenCount` with `results[].tokenCount`, in a stream `totalOutputTextTokenCount`
Mistral's completions, Cohere's Command, AI21's Jurassic, Claude's old completions: no counts
"""

from __future__ import annotations

from typing import Any

from ..usage import Usage
from .reader import Reader, error_text, items, total

_SHAPES = (
    {"generation", "stop_reason"},
    {"inputTextTokenCount"},
    {"outputText", "index"},
    {"completion", "stop_reason"},
    {"generations", "id"},
    {"completions", "prompt"},
)


class FamiliesReader(Reader):
    """Reads the formats that exist on Bedrock only."""

    operation = "chat"

    final_at_end = False

    def __init__(self) -> None:
        super().__init__()
        self._counts: dict[str, Any] = {}

    def event(self, data: dict[str, Any]) -> None:
        """Take one parsed stream event."""
        self._read(data)

    def body(self, data: dict[str, Any]) -> None:
        """Take a whole answer."""
        self._read(data)
        self.error = error_text(data)
        self.complete = self.usage is not None

    def _read(self, data: dict[str, Any]) -> None:
        outputs = items(data.get("outputs"))
        if any(shape <= data.keys() for shape in _SHAPES) or any("text" in one for one in outputs):
            self.recognised = True
        prompt = total(data.get("prompt_token_count"), data.get("inputTextTokenCount"))
        completion = total(
            data.get("generation_token_count"),
            data.get("totalOutputTextTokenCount"),
            *(result.get("tokenCount") for result in items(data.get("results"))),
        )
        # Each event of a stream may have one of them.
        found = {"input_tokens": prompt, "output_tokens": completion}
        self._counts |= {unit: number for unit, number in found.items() if number is not None}
        self.use(Usage.of(self._counts), complete=self.complete)
