"""Bedrock invoke: each model answers in its own format, and Bedrock adds its own counts.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InvokeModel.html (the counts
are in the headers `X-Amzn-Bedrock-Input-Token-Count` and `-Output-Token-Count`, and so are the
service tier that was used and the latency)
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_PayloadPart.html (a `chunk` of a
stream holds an event of the model's own; the last one has `amazon-bedrock-invocationMetrics`)
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from typing import Any

from ..usage import Usage
from .anthropic import MessagesReader
from .bedrock_converse import ConverseReader
from .bedrock_families import FamiliesReader
from .cohere import CohereReader
from .one_of import OneOf
from .openai_chat import ChatReader
from .reader import error_text, mapping, text, total

_NUMBER = re.compile(r"[0-9]{1,18}")
_METRICS = "amazon-bedrock-invocationMetrics"
_HEADERS = {
    "x-amzn-bedrock-input-token-count": "inputTokenCount",
    "x-amzn-bedrock-output-token-count": "outputTokenCount",
    "x-amzn-bedrock-cache-read-input-token-count": "cacheReadInputTokenCount",
    "x-amzn-bedrock-cache-write-input-token-count": "cacheWriteInputTokenCount",
}


class InvokeReader(OneOf):
    """Reads answers of Bedrock invoke: the model's own format and Bedrock's counts."""

    operation = "chat"
    kinds = (MessagesReader, ConverseReader, CohereReader, FamiliesReader, ChatReader)

    def __init__(self) -> None:
        super().__init__()
        #: The counts of Bedrock itself; those of a stream come at its end.
        self._counted = Usage()
        self._ended = False
        #: The service tier and the latency that the headers name.
        self._tier = self._latency = ""

    def head(self, headers: Mapping[str, str]) -> None:
        """Take the headers of the response."""
        super().head(headers)
        self._tier = text(headers.get("x-amzn-bedrock-service-tier"))
        self._latency = text(headers.get("x-amzn-bedrock-performanceconfig-latency"))
        found = ((name, headers.get(header, "")) for header, name in _HEADERS.items())
        self._counted = _usage({name: int(n) for name, n in found if _NUMBER.fullmatch(n)})

    def wants(self, _data: bytes) -> bool:
        """Return True: the content of a frame is in base64."""
        return True

    def event(self, data: dict[str, Any]) -> None:
        """Take one parsed stream event."""
        encoded = mapping(data.get("chunk")).get("bytes")
        if not isinstance(encoded, str):
            self.error = error_text(data) or self.error
            return
        inner = json.loads(base64.b64decode(encoded))
        if not isinstance(inner, dict):
            return
        super().event(inner)
        if isinstance(metrics := inner.get(_METRICS), dict):
            self._counted = _usage(metrics)
            self._ended = True
        if self._ended:
            self.recognised = True
            self._use_counts()

    def body(self, data: dict[str, Any]) -> None:
        """Take a whole answer."""
        super().body(data)
        self._use_counts()

    def _adopt(self) -> None:
        super()._adopt()
        self.service_tier = self._tier or self.service_tier
        if self._latency:
            self.price_facts["speed"] = self._latency

    def _use_counts(self) -> None:
        """Use the counts of Bedrock if the model reports none; its own have more detail."""
        if not self.complete and self._counted.known:
            self.usage, self.complete = self._counted, True


def _usage(metrics: dict[str, Any]) -> Usage:
    plain = metrics.get("inputTokenCount")
    read = metrics.get("cacheReadInputTokenCount")
    written = metrics.get("cacheWriteInputTokenCount")
    return Usage.of(
        {
            "input_tokens": None if plain is None else total(plain, read, written),
            "output_tokens": metrics.get("outputTokenCount"),
            "cache_read_tokens": read,
            "cache_write_tokens": written,
        }
    )
