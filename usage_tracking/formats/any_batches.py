"""Paths that OpenAI, Gemini and xAI share: the shape of the answer decides whose batch it is."""

from __future__ import annotations

from typing import Any

from .batches import BatchReader
from .gemini_batches import GeminiBatchReader
from .openai_batches import OpenAIBatchReader
from .xai_batches import XAIBatchReader


class AnyBatchReader(BatchReader):
    """Reads a batch of OpenAI, Gemini or xAI."""

    def take(self, data: dict[str, Any]) -> None:
        """Take an answer that may name a batch."""
        for reader in (OpenAIBatchReader(), GeminiBatchReader(), XAIBatchReader()):
            reader.take(data)
            if reader.batch is not None:
                self.batch, self.ended, self.files = reader.batch, reader.ended, reader.files
                self.sums, self.usage = reader.sums, reader.usage
                return
