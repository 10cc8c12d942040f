"""Batches of OpenAI, Azure, Groq, Together and compatible providers.

https://developers.openai.com/api/reference/resources/batches (`usage` is the sum of all requests,
without their sizes, tools and audio; the file of `output_file_id` has them all)
https://developers.openai.com/api/docs/guides/batch (a batch has one model; what an expired or
cancelled one has done is billed)
https://learn.microsoft.com/azure/foundry/reference/rest/batches-retrieve-batch
https://console.groq.com/docs/batch and https://docs.together.ai/docs/inference/batch/manage (no
`usage` in the batch; Together wraps the answer to a submission in `job`)
https://openrouter.ai/docs/api/api-reference/batch/get-a-batch
"""

from __future__ import annotations

from typing import Any

from ..mistral_conversations import ConversationsReader
from ..mistral_ocr import OCRReader
from ..openai_chat import ChatReader
from ..openai_embeddings import EmbeddingsReader
from ..openai_images import ImagesReader
from ..openai_responses import ResponsesReader
from ..reader import Reader, count, error_text, items, mapping, moment, text
from .reader import BatchReader, ResultsReader
from .rows import Batch, Sums

#: How a batch ends, in lower case.
_ENDED = frozenset({"completed", "failed", "expired", "cancelled", "canceled"})


class OpenAIBatchReader(BatchReader):
    """Reads batches of OpenAI."""

    def take(self, data: dict[str, Any]) -> None:
        """Take an answer that may name a batch."""
        data = mapping(data.get("job")) or data
        batch_id, status = text(data.get("id")), text(data.get("status")).lower()
        if not batch_id or not status or not _is_batch(data):
            return
        self.ended = status in _ENDED
        counts = mapping(data.get("request_counts"))
        self.batch = Batch(
            batch_id,
            moment(data.get("created_at")),
            completed=count(counts.get("completed")) if self.ended else None,
            failed=count(counts.get("failed")) if self.ended else None,
            error=_error(status, data, counts) if self.ended else "",
            model=text(data.get("model")) or text(data.get("model_id")),
        )
        self.files = tuple(filter(None, (text(data.get("output_file_id")),)))
        usage = data.get("usage")
        if self.ended and isinstance(usage, dict):
            reader: Reader = ResponsesReader() if "input_tokens" in usage else ChatReader()
            reader.body({"usage": usage})
            if reader.usage is not None:
                self.take_sum(reader.usage, self.batch.completed)


def _is_batch(data: dict[str, Any]) -> bool:
    if text(data.get("endpoint")).endswith("/moderations"):
        return False  # they are free
    return data.get("object") == "batch" or "input_file_id" in data


def _error(status: str, data: dict[str, Any], counts: dict[str, Any]) -> str:
    if status == "completed":
        return ""
    errors = items(mapping(data.get("errors")).get("data"))
    said = next(filter(None, (text(each.get("message")) for each in errors)), "")
    said = said or error_text(data)
    whole, done = count(counts.get("total")), count(counts.get("completed"))
    if said:
        return f"batch {status}: {said}"
    return f"batch {status}: {done} of {whole} requests completed" if whole else f"batch {status}"


class OpenAIResultsReader(ResultsReader):
    """Reads the output file of a batch of OpenAI or Mistral."""

    usage_keys = (Reader.usage_key, OCRReader.usage_key)

    def line(self, data: dict[str, Any]) -> None:
        """Take one parsed line: the answer to one request."""
        add_result(self.sums, data)

    def reader_of(self, answer: dict[str, Any]) -> Reader:
        """Return a reader for the answer to one request."""
        return reader_of(answer)


def add_result(sums: Sums, result: dict[str, Any]) -> None:
    """Add one result, as it stands in a file or in the answer to a poll."""
    response = mapping(result.get("response"))
    status, answer = count(response.get("status_code")), mapping(response.get("body"))
    error = error_text(result)
    if error or not answer or (status or 200) >= 400:
        sums.fail(error or error_text(answer) or f"HTTP {status}")
        return
    reader = reader_of(answer)
    reader.body(answer)
    sums.add(reader)


_KINDS: dict[str, type[Reader]] = {
    "response": ResponsesReader,
    "list": EmbeddingsReader,
    "conversation.response": ConversationsReader,
}


def reader_of(answer: dict[str, Any]) -> Reader:
    """Return a reader for the answer to one request."""
    kind = _KINDS.get(text(answer.get("object")))
    if "usage_info" in answer:
        kind = OCRReader
    if kind is None and "choices" not in answer:
        is_image = "input_tokens" in mapping(answer.get("usage")) or "data" in answer
        kind = ImagesReader if is_image else None
    return (kind or ChatReader)()
