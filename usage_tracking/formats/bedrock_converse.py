"""Bedrock converse, one format for all models.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html (the frame
`metadata` carries the usage)
https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html (`inputTokens` exclude
cache reads and writes)
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_TokenUsage.html (`cacheDetails`:
the cache writes by their lifetime)
https://docs.aws.amazon.com/bedrock/latest/userguide/latency-optimized-inference.html
(`performanceConfig`: a model that runs optimized has a price of its own)
"""

from __future__ import annotations

from typing import Any

from ..usage import Usage
from .reader import Reader, count, error_text, items, mapping, text, total


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
        if latency := text(mapping(data.get("performanceConfig")).get("latency")):
            self.price_facts["speed"] = latency
        # A prompt router chooses the model.
        router = mapping(mapping(data.get("trace")).get("promptRouter"))
        self.model = model_name(text(router.get("invokedModelId"))) or self.model
        self.use(converse_usage(usage))


#: `ttl` of an item of `cacheDetails` → unit.
_LIFETIMES = {"5m": "cache_write_5m_tokens", "1h": "cache_write_1h_tokens"}


def converse_usage(usage: dict[str, Any]) -> Usage:
    """Return the usage in a `usage` object of converse."""
    # Nova itself uses the longer names.
    read = usage.get("cacheReadInputTokens", usage.get("cacheReadInputTokenCount"))
    written = usage.get("cacheWriteInputTokens", usage.get("cacheWriteInputTokenCount"))
    details: dict[str, Any] = {}
    for detail in items(usage.get("cacheDetails")):
        if unit := _LIFETIMES.get(text(detail.get("ttl"))):
            details[unit] = total(details.get(unit), detail.get("inputTokens"))
    parts = total(*details.values())
    faults = {}
    if written is None:
        written = parts
    elif usage.get("cacheDetails") and (count(parts) or 0) < (count(written) or 0):
        faults["cache_write_tokens"] = "more than its parts"
    plain = usage.get("inputTokens")
    counts = {
        "input_tokens": None if plain is None else total(plain, read, written),
        "output_tokens": usage.get("outputTokens"),
        "cache_read_tokens": read,
        "cache_write_tokens": written,
    }
    return Usage.of(counts | details, faults=faults)


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
