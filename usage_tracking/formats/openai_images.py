"""OpenAI images.

https://platform.openai.com/docs/api-reference/images/object (GPT Image models report
tokens, DALL-E reports nothing)
https://platform.openai.com/docs/api-reference/images-streaming (the events
`image_generation.completed` and `image_edit.completed` carry the usage of one image)
xAI reports only the cost: https://docs.x.ai/developers/cost-tracking
"""

from __future__ import annotations

from typing import Any

from ..events import Usage
from .reader import Reader, added, cost, count, error_text, items, mapping, text

_EVENTS = ("image_generation.", "image_edit.")


class ImagesReader(Reader):
    """Reads OpenAI images."""

    operation = "image_generation"

    def feed(self, data: bytes) -> None:
        """Take the data of one stream event."""
        # An event before the last holds a whole image: megabytes that need not be parsed.
        if any(f'"{event}'.encode() in data for event in _EVENTS):
            self.recognised = True
        super().feed(data)

    def event(self, data: dict[str, Any]) -> None:
        """Take one parsed stream event."""
        kind = text(data.get("type"))
        self.error = error_text(data) or self.error
        if kind.startswith(_EVENTS):
            self.recognised = True
        if kind.endswith(".completed"):
            self._count(data.get("usage"))

    def body(self, data: dict[str, Any]) -> None:
        """Take a whole answer."""
        usage, images = data.get("usage"), items(data.get("data"))
        counted = isinstance(usage, dict) and "input_tokens" in usage
        self.recognised = any("b64_json" in image or "url" in image for image in images) or (
            data.get("data") == [] and counted
        )
        self.model = text(data.get("model"))
        self.error = error_text(data)
        self._count(usage)
        if self.recognised and self.usage is None and images:
            self.facts["images"] = len(images)

    def _count(self, value: object) -> None:
        usage = mapping(value)
        found = Usage(
            # With several images, each event counts its own.
            prompt_tokens=self._plus("prompt_tokens", usage.get("input_tokens")),
            completion_tokens=self._plus("completion_tokens", usage.get("output_tokens")),
            cached_tokens=count(mapping(usage.get("input_tokens_details")).get("cached_tokens")),
            cost=cost(usage),
        )
        if found.known or found.cost is not None:
            self.usage, self.complete = found, True

    def _plus(self, name: str, value: object) -> int | None:
        return added(getattr(self.usage, name, None), count(value))
