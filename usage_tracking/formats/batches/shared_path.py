"""Paths that OpenAI, Gemini and xAI share: the shape of the answer decides whose batch it is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .gemini import GeminiBatchReader
from .openai import OpenAIBatchReader
from .reader import BatchReader
from .rows import Batch
from .xai import XAIBatchReader

_BATCH = re.compile(r"/batches/([^/:]+)/?$")


class AnyBatchReader(BatchReader):
    """Reads a batch of OpenAI, Gemini or xAI."""

    _is_cut = False

    def take(self, data: dict[str, Any]) -> None:
        """Take an answer that may name a batch."""
        for reader in (OpenAIBatchReader(), GeminiBatchReader(), XAIBatchReader()):
            reader.take(data)
            if reader.batch is not None:
                self.batch, self.ended, self.files = reader.batch, reader.ended, reader.files
                self.sums, self.usage = reader.sums, reader.usage
                return

    def cut(self, head: bytes) -> bool:
        """Take the beginning of an answer that is too long to be kept; it does not say all."""
        self._is_cut = True
        return False

    def asked(self, path: str, body: bytes | Mapping[str, Any] | None) -> None:
        """Take the request: of a long answer, which has the results with it, it names the batch."""
        if self._is_cut and (found := _BATCH.search(path)):
            self.batch, self.ended = Batch(found[1]), True
