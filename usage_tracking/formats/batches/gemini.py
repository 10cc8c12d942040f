"""Gemini's batches.

https://ai.google.dev/api/batch-api (an operation, whose `metadata` is the batch; its results are
in `response`, or in the file that it names)
https://ai.google.dev/gemini-api/docs/batch-api (the lines of the file: a `response` or an `error`)
"""

from __future__ import annotations

from typing import Any

from ...usage import Usage
from ..gemini import GenerateContentReader
from ..gemini_embeddings import EmbedContentReader
from ..reader import Reader, count, error_text, items, mapping, moment, text
from .reader import BatchReader, ResultsReader
from .rows import Batch, Sums

_ENDED = frozenset({"SUCCEEDED", "PARTIALLY_SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED"})


class GeminiBatchReader(BatchReader):
    """Reads Gemini's batches."""

    def take(self, data: dict[str, Any]) -> None:
        """Take an answer that may name a batch."""
        about = mapping(data.get("metadata"))
        name = text(data.get("name")) or text(about.get("name"))
        state = text(about.get("state")).rpartition("STATE_")[2]
        if not name.startswith("batches/") or not state:
            return
        self.ended = state in _ENDED
        model = text(about.get("model")).removeprefix("models/")
        self.batch = Batch(name.removeprefix("batches/"), moment(about.get("createTime")))
        self.batch = self.batch._replace(model=model)
        if not self.ended:
            return
        stats = mapping(about.get("batchStats"))
        said = error_text(data)
        error = "" if state.endswith("SUCCEEDED") else f"batch {state.lower()}"
        self.batch = self.batch._replace(
            completed=number(stats.get("successfulRequestCount")),
            failed=number(stats.get("failedRequestCount")),
            error=f"{error}: {said}" if error and said else error,
        )
        # The metadata repeats the response.
        output = mapping(data.get("response")) or mapping(about.get("output"))
        if file := text(output.get("responsesFile")):
            self.files = (file.removeprefix("files/"),)
        for member in ("inlinedResponses", "inlinedEmbedContentResponses"):
            if results := items(mapping(output.get(member)).get("inlinedResponses")):
                self.sums = Sums(model)
                for result in results:
                    add_result(self.sums, result)


class GeminiResultsReader(ResultsReader):
    """Reads the file with the results of a batch of Gemini."""

    kind = GenerateContentReader
    usage_keys = (GenerateContentReader.usage_key,)
    members = ("modelVersion",)

    def line(self, data: dict[str, Any]) -> None:
        """Take one parsed line: the answer to one request."""
        add_result(self.sums, data)


def add_result(sums: Sums, result: dict[str, Any]) -> None:
    """Add one result, as it stands in a file or in the answer to a poll."""
    answer = mapping(result.get("response"))
    if not answer or result.get("error"):
        sums.fail(error_text(result) or "no response")
        return
    reader: Reader = GenerateContentReader()
    if "embedding" in answer:
        reader = EmbedContentReader()
    reader.body(answer)
    if reader.usage is None and (tokens := number(answer.get("tokenCount"))) is not None:
        reader.use(Usage.of({"input_tokens": tokens}))
    sums.add(reader)


def number(value: object) -> int | None:
    """Return a count, which is text if the member has 64 bits."""
    return int(value) if isinstance(value, str) and value.isdecimal() else count(value)
