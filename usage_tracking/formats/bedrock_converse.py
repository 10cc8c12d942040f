"""Bedrock converse, one format for all models.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html (the frame
`metadata` carries the usage)
https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html (`inputTokens` exclude
cache reads and writes)
"""

from __future__ import annotations

from typing import Any

from ..events import Usage
from .reader import Reader, added, count, error_text, mapping, text


class ConverseReader(Reader):
    """Reads answers of Bedrock converse."""

    operation = "chat"

    def event(self, data: dict[str, Any]) -> None:
        """Take one parsed stream event."""
        if "role" in mapping(data.get("messageStart")):
            self.recognised = True
        self.error = error_text(data) or self.error
        if isinstance(metadata := data.get("metadata"), dict):
            self._read(metadata)

    def body(self, data: dict[str, Any]) -> None:
        """Take a whole answer."""
        if "role" in mapping(mapping(data.get("output")).get("message")):
            self.recognised = True
        self.error = error_text(data)
        self._read(data)

    def _read(self, data: dict[str, Any]) -> None:
        usage = mapping(data.get("usage"))
        if "inputTokens" in usage:
            self.recognised = True
        tier = mapping(data.get("serviceTier"))
        self.service_tier = text(tier.get("type")) or self.service_tier
        # A prompt router chooses the model.
        router = mapping(mapping(data.get("trace")).get("promptRouter"))
        self.model = model_name(text(router.get("invokedModelId"))) or self.model
        found = converse_usage(usage)
        if found.known:
            self.usage, self.complete = found, True


def converse_usage(usage: dict[str, Any]) -> Usage:
    """Return the usage in a `usage` object of converse."""
    plain, output = count(usage.get("inputTokens")), count(usage.get("outputTokens"))
    # Nova itself uses the longer names.
    read = count(usage.get("cacheReadInputTokens", usage.get("cacheReadInputTokenCount")))
    write = count(usage.get("cacheWriteInputTokens", usage.get("cacheWriteInputTokenCount")))
    return Usage(
        prompt_tokens=None if plain is None else added(plain, read, write),
        completion_tokens=output,
        cached_tokens=read,
        cache_write_tokens=write,
    )


def model_name(identifier: str) -> str:
    """Return the model that a Bedrock identifier names; the identifier may be an ARN.

    From the ARN of a model or of a cross-region profile, only the model remains. Other resources,
    such as application inference profiles, have only a number and keep the kind before it.
    https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonbedrock.html
    """
    if not identifier.startswith("arn:"):
        return identifier
    resource = identifier.split(":", 5)[-1]
    kind, _, name = resource.partition("/")
    return name if kind in {"foundation-model", "inference-profile"} else resource
