"""Paths that OpenAI, Gemini and xAI share: the shape of the answer decides whose batch it is."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..reader import Reader
from .gemini import GeminiBatchReader, LongBatch
from .openai import OpenAIBatchReader
from .reader import BatchReader
from .rows import Batch
from .xai import XAIBatchReader

_BATCH = re.compile(r"/batches/([^/:]+)/?$")


class AnyBatchReader(BatchReader):
    """Reads a batch of OpenAI, Gemini or xAI."""

    def __init__(self) -> None:
        super().__init__()
        self._long = LongBatch()
        self._is_cut = False

    def take(self, data: dict[str, Any]) -> None:
        """Take an answer that may name a batch."""
        for reader in (OpenAIBatchReader(), GeminiBatchReader(), XAIBatchReader()):
            reader.take(data)
            if reader.batch is not None:
                self.batch, self.ended, self.files = reader.batch, reader.ended, reader.files
                self.sums, self.usage = reader.sums, reader.usage
                return

    def dropped(self, part: bytes | bytearray, end: int) -> None:
        """Take a part of an answer that is too long to be kept."""
        self._long.take(part, end)

    def cut(self, head: bytes) -> bool:
        """Take the beginning of an answer that is too long to be kept; return whether it is read.

        Only Gemini's has the results with it.
        """
        self._is_cut = True
        if self._long.sums is None or not self._long.sums.completed:
            return False
        self.batch, self.sums = self._long.batch, self._long.sums
        self.recognised = self.ended = True
        return True

    @property
    def parts(self) -> Sequence[Reader]:
        """The rows of the batch."""
        parts = super().parts
        if self._long.is_more_billed:
            for part in parts:
                part.price_facts["answer"] = "too_long"
        return parts

    def asked(self, path: str, body: bytes | Mapping[str, Any] | None) -> None:
        """Take the request: of a long answer, which has the results with it, it names the batch."""
        if self._is_cut and self.batch is None and (found := _BATCH.search(path)):
            self.batch, self.ended = Batch(found[1]), True
