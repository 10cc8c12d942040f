"""OpenAI images.

https://platform.openai.com/docs/api-reference/images/object (GPT Image models report
tokens, DALL-E reports nothing)
https://platform.openai.com/docs/api-reference/images-streaming (the events
`image_generation.completed` and `image_edit.completed` carry the usage of one image, whose
`output_tokens` are image tokens)
xAI reports only the cost: https://docs.x.ai/developers/cost-tracking
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from ..usage import Usage
from .reader import Reader, cost, error_text, input_units, items, mapping, output_units, text, total

_EVENTS = ("image_generation.", "image_edit.")


class ImagesReader(Reader):
    """Reads OpenAI images."""

    operation = "image_generation"

    def __init__(self) -> None:
        super().__init__()
        #: What all events counted together.
        self._counts: dict[str, Any] = {}
        self._cost: Decimal | None = None
        self._faults: dict[str, str] = {}

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
            usage = mapping(data.get("usage"))
            counts = image_units(usage)
            if "output_tokens" in counts and "output_tokens_details" not in usage:
                # In an event, these are the tokens of the picture alone.
                counts["output_image_tokens"] = counts["output_tokens"]
            self._count(usage, counts)

    def body(self, data: dict[str, Any]) -> None:
        """Take a whole answer."""
        usage, images = data.get("usage"), items(data.get("data"))
        counted = isinstance(usage, dict) and "input_tokens" in usage
        self.recognised = any("b64_json" in image or "url" in image for image in images) or (
            data.get("data") == [] and counted
        )
        self.model = text(data.get("model"))
        self.error = error_text(data)
        iterations = []
        counts = image_units(mapping(usage))
        # The text model that writes an SVG, which is counted beside the image model.
        if model := text((svg := mapping(data.get("svg_usage"))).get("model")):
            written = {
                "input_tokens": svg.get("input_tokens"),
                "output_tokens": svg.get("output_tokens"),
                "output_reasoning_tokens": svg.get("reasoning_tokens"),
            }
            counts |= {unit: total(counts.get(unit), n) for unit, n in written.items()}
            iterations.append({**written, "model": model})
        self._count(mapping(usage), counts, iterations)
        if self.recognised and self.usage is None and images:
            self.facts["images"] = len(images)

    def _count(
        self,
        usage: dict[str, Any],
        counts: dict[str, Any],
        iterations: Sequence[dict[str, Any]] = (),
    ) -> None:
        # With several images, each event counts its own.
        for unit, value in counts.items():
            self._counts[unit] = total(self._counts.get(unit), value)
        amount = cost(usage, self._faults)
        if amount is not None:
            self._cost = amount + (self._cost or 0)
        self.use(
            Usage.of(
                self._counts, iterations=iterations, cost=self._cost, faults=dict(self._faults)
            )
        )


def image_units(usage: dict[str, Any]) -> dict[str, Any]:
    """Return the units in the usage of OpenAI's image models."""
    details = mapping(usage.get("input_tokens_details"))
    cached: dict[str, Any] = {
        name: usage[name] for name in ("cached_tokens", "cached_tokens_details") if name in usage
    }
    counts = {
        "input_tokens": usage.get("input_tokens"),
        "output_tokens": usage.get("output_tokens"),
        **input_units({**cached, **details}),
        **output_units(mapping(usage.get("output_tokens_details"))),
    }
    return {unit: value for unit, value in counts.items() if value is not None}
