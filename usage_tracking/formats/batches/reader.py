"""What the readers of all batches have in common."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

from ...usage import MIXED, Usage
from ..excerpts import member
from ..gemini import GenerateContentReader
from ..mistral_ocr import OCRReader
from ..openai_responses import ResponsesReader
from ..reader import Reader, error_text
from ..streams import Splitter
from .long_lines import LongLines, is_cut
from .rows import Batch, Share, Sums, Unread, named_parts

#: In a longer line, only what is needed is parsed: vectors would cost a millisecond.
_LONG = 16 * 1024
#: Stands for a number of requests that is not known.
_SEVERAL = 2
#: The bytes that name what is billed beside the usage of any format.
BILLED = (
    *ResponsesReader.beside_usage,
    *GenerateContentReader.beside_usage,
    *OCRReader.beside_usage,
)


class BatchReader(Reader):
    """Reads the answers that name a batch: to its submission, to a poll and to its cancellation.

    A subclass fills `batch`, `ended` and, if the answer says what was used, `sums` or `usage` from
    the answer, in `take`.
    """

    operation = "batch"
    #: Not there: the usage at the end of a long answer is that of the last request.
    usage_key = b'"usage of the batch"'

    def __init__(self) -> None:
        super().__init__()
        self.batch: Batch | None = None
        self.ended = False
        #: The models that the submission named.
        self.requested: Sequence[str] = ()
        #: The ids of the files with the results.
        self.files: tuple[str, ...] = ()
        #: What the requests used, if the answer has their results.
        self.sums: Sums | None = None
        self._is_other = False

    def body(self, data: dict[str, Any]) -> None:
        """Take a whole answer."""
        self.take(data)
        self.recognised = self.batch is not None
        if self.batch is None:
            self.error = error_text(data)
            self._is_other = not self.error

    def take(self, data: dict[str, Any]) -> None:
        """Take an answer that may name a batch."""
        raise NotImplementedError

    @property
    def parts(self) -> Sequence[Reader]:
        """The rows of the batch; none if the answer names none, or one for a failed request."""
        if self.batch is None:
            return () if self._is_other else (self,)
        if self.sums is not None and self.ended:
            return self.sums.shares(self.batch, self.requested)
        batch, kind = self.batch, Share
        if self.ended:
            batch = batch.judged()
            kind = Unread if self.usage is None and batch.completed != 0 else Share
        named = named_parts(self.requested or [self.model or batch.model])
        shares = [kind(batch, model, part=part, ended=self.ended) for part, model in named.items()]
        shares[0].usage = self.usage
        return shares

    def take_sum(self, usage: Usage, requests: int | None) -> None:
        """Take the usage of all requests, of which no more than their sum is known.

        A sum of nothing says nothing: some providers leave it to the results.
        """
        counts = usage.units
        if not any(counts.values()):
            return
        iterations = [{**counts, MIXED: requests or _SEVERAL}]
        self.usage = Usage.of(counts, iterations=iterations, cost=usage.cost, faults=usage.faults)


class ResultsReader(Reader):
    """Reads the file with the results of a batch: one JSON object per line, one for each request.

    A subclass adds one line to `sums` in `line`.
    """

    operation = "batch"
    final_at_end = False
    any_length = True
    #: Members that are read of an answer in a long line, besides its usage.
    members: tuple[str, ...] = ("model", "object")
    #: The bytes that may name the usage in a long line.
    usage_keys: tuple[bytes, ...] = (Reader.usage_key,)
    #: The reader of the answer to one request, unless `reader_of` chooses it.
    kind: type[Reader]

    def __init__(self) -> None:
        super().__init__()
        self.batch: Batch | None = None
        #: The models that the submission named, as far as they are known, and no files.
        self.requested: Sequence[str] = ()
        self.files: tuple[str, ...] = ()
        self.sums = Sums()
        self._is_partial = False
        self._ended = False

    def head(self, headers: Any) -> None:
        """Take the headers of the response."""
        self._is_partial = "content-range" in headers

    def splitter(self) -> Splitter:
        """Return what splits the file into lines, whatever its Content-Type."""
        return LongLines(BILLED)

    def wants(self, data: bytes) -> bool:
        """Return whether a line may have something to read: each has."""
        return True

    def feed(self, data: bytes) -> None:
        """Take one line."""
        self.sums.model = self.batch.model if self.batch else ""
        try:
            if is_cut(data) or (len(data) > _LONG and not any(mark in data for mark in BILLED)):
                self._add_long(data)
            else:
                super().feed(data)
        except (ValueError, RecursionError):
            self.sums.fail("unreadable result")

    def event(self, data: dict[str, Any]) -> None:
        """Take one parsed line."""
        self.recognised = True
        self.line(data)

    def line(self, data: dict[str, Any]) -> None:
        """Take one parsed line: the answer to one request."""
        raise NotImplementedError

    def reader_of(self, answer: dict[str, Any]) -> Reader:
        """Return a reader for the answer to one request."""
        return self.kind()

    def add(self, answer: dict[str, Any]) -> Reader:
        """Add the answer to a request that succeeded; return its reader."""
        reader = self.reader_of(answer)
        reader.body(answer)
        self.sums.add(reader)
        return reader

    def _add_long(self, line: bytes) -> None:
        """Add the answer in a line whose content is not parsed, or lacks its middle.

        Raises:
            ValueError: What is left has no usage.
        """
        answer: dict[str, Any] = {}
        for key in self.usage_keys:
            with suppress(ValueError):
                answer = answer or rest_of(line, key, self.members)
        if not answer:
            super().feed(line)
            return
        reader = self.reader_of(answer)
        reader.body(answer)
        if any(mark in line for mark in reader.beside_usage):
            reader.price_facts["answer"] = "too_long"
        self.sums.add(reader)

    def body(self, data: dict[str, Any]) -> None:
        """Take nothing: the results are a stream."""

    def end(self) -> None:
        """Finish the file, or the part of it that was read."""
        self._ended = True

    @property
    def parts(self) -> Sequence[Reader]:
        """The rows of the batch, none if the results are only a part of all."""
        if self.batch is None or not self._ended or self._is_partial:
            return ()
        return self.sums.shares(self.batch, self.requested)


def rest_of(line: bytes, key: bytes, members: Iterable[str]) -> dict[str, Any]:
    """Return what is left of the answer in a line that lacks its middle.

    Args:
        line: The line.
        key: The name of the usage, with its quotation marks.
        members: The names of other members to return, which are text.

    Raises:
        ValueError: The usage is not left.
    """
    at = line.rindex(key)
    start = line.index(b"{", at)
    if line[at - 1 : at] == b"\\" or line[at + len(key) : start].strip() != b":":
        raise ValueError("no usage in the line")
    usage, _ = json.JSONDecoder().raw_decode(line[start:].decode("utf-8", "replace"))
    answer: dict[str, Any] = {key.strip(b'"').decode(): usage}
    for name in members:
        if found := member(name).search(line):
            answer[name] = found[1].decode("utf-8", "replace")
    return answer
