"""The path of a poll that OpenAI and Gemini share: the shape of the answer decides whose it is."""

from __future__ import annotations

from typing import Any

from .batches import BatchReader
from .gemini_batches import GeminiBatchReader
from .openai_batches import OpenAIBatchReader


class PolledBatchReader(BatchReader):
    """Reads the answer to a poll for a batch of OpenAI or Gemini."""

    def take(self, data: dict[str, Any]) -> None:
        """Take an answer that may name a batch."""
        for reader in (OpenAIBatchReader(), GeminiBatchReader()):
            reader.take(data)
            if reader.batch is not None:
                self.batch, self.ended, self.files = reader.batch, reader.ended, reader.files
                self.sums, self.usage = reader.sums, reader.usage
                return
