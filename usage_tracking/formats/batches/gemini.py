"""Gemini's batches.

https://ai.google.dev/api/batch-api (an operation, whose `metadata` is the batch; its results are
in `response`, or in the file that it names)
https://ai.google.dev/gemini-api/docs/batch-api (the lines of the file: a `response` or an `error`)
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import Any

from ...usage import Usage
from ..excerpts import HEAD
from ..gemini import GenerateContentReader
from ..gemini_embeddings import EmbedContentReader
from ..reader import Reader, count, error_text, items, mapping, moment, text
from .reader import BatchReader, ResultsReader
from .rows import Batch, Sums

_ENDED = frozenset({"SUCCEEDED", "PARTIALLY_SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED"})

#: What a long answer is searched for: its lists of results and their usage, and how it ended.
_MEMBERS = re.compile(
    rb'(?<!\\)"(?:inlinedResponses"\s*:\s*\{\s*"(?P<results>inlinedResponses)"\s*:\s*\['
    rb'|successfulRequestCount"\s*:\s*"?(?P<completed>\d{1,18})'
    rb'|failedRequestCount"\s*:\s*"?(?P<failed>\d{1,18})'
    rb'|state"\s*:\s*"(?:BATCH|JOB)_STATE_(?P<state>[A-Z_]{1,50})"'
    rb'|usageMetadata"\s*:\s*(?=\{))'
)
_NAME = re.compile(rb'"name"\s*:\s*"batches/([^"\\]{1,200})"')
_MODEL = re.compile(rb'"model"\s*:\s*"models/([^"\\]{1,200})"')
_LONGEST_USAGE = 16 * 1024


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


class LongBatch:
    """Reads a batch whose inline results are too long to be kept, such as pictures."""

    def __init__(self) -> None:
        #: The batch, None if the answer names none.
        self.batch: Batch | None = None
        #: What the requests used, None if no results have come.
        self.sums: Sums | None = None
        #: The answers have what is billed beside their usage.
        self.is_more_billed = False

    def take(self, part: bytes | bytearray, end: int) -> None:
        """Take a part of the answer, of which what stands before `end` will not be kept."""
        if self.batch is None:
            name, model = _NAME.search(part, 0, HEAD), _MODEL.search(part, 0, HEAD)
            if name is None or model is None:
                return
            self.batch = Batch(name[1].decode(), model=model[1].decode())
        marks = GenerateContentReader.beside_usage
        self.is_more_billed = self.is_more_billed or any(mark in part for mark in marks)
        for found in _MEMBERS.finditer(part):
            if found.start() >= end:
                break
            if state := found["state"]:
                error = "" if state.endswith(b"SUCCEEDED") else f"batch {state.decode().lower()}"
                self.batch = self.batch._replace(error=error)
            elif found["completed"]:
                self.batch = self.batch._replace(completed=int(found["completed"]))
            elif found["failed"]:
                self.batch = self.batch._replace(failed=int(found["failed"]))
            elif found["results"]:
                self.sums = Sums(self.batch.model)  # the metadata repeats the response
            elif self.sums is not None:
                self._add(bytes(part[found.end() : found.end() + _LONGEST_USAGE]), self.sums)

    def _add(self, usage: bytes, sums: Sums) -> None:
        with suppress(ValueError, RecursionError):
            counts, _ = json.JSONDecoder().raw_decode(usage.decode("utf-8", "replace"))
            reader = GenerateContentReader()
            reader.body({"usageMetadata": counts})
            sums.add(reader)


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
