"""Wire formats, one small reader each. Readers know JSON shapes, not HTTP and not providers."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from .anthropic import MessagesReader
from .anthropic_complete import CompleteReader
from .batches.anthropic import MessageBatchReader, MessageResultsReader
from .batches.gemini import GeminiBatchReader, GeminiResultsReader
from .batches.mistral import MistralBatchReader
from .batches.openai import OpenAIResultsReader
from .batches.shared_path import AnyBatchReader
from .batches.stored import BedrockBatchReader, VertexBatchReader
from .bedrock_agent import AgentReader
from .bedrock_async import AsyncInvokeReader
from .bedrock_converse import ConverseReader
from .bedrock_invoke import InvokeReader
from .classify import ClassifyReader
from .cloudflare import CloudflareReader
from .cohere import CohereChatReader, CohereEmbedReader
from .decisions import DecisionsReader
from .gemini import GenerateContentReader
from .gemini_embeddings import EmbedContentReader
from .gemini_interactions import InteractionsReader
from .google_operations import OperationsReader
from .huggingface import HuggingFaceReader
from .invocations import InvocationsReader
from .langchain import MessageReader
from .media_tasks import MediaTasksReader
from .mistral_conversations import ConversationsReader
from .mistral_ocr import OCRReader
from .objects import as_dict
from .ollama import OllamaReader
from .openai_audio import AudioReader
from .openai_chat import ChatReader
from .openai_embeddings import EmbeddingsReader
from .openai_images import ImagesReader
from .openai_realtime import RealtimeReader
from .openai_responses import ResponsesReader
from .openai_runs import RunsReader
from .perplexity_async import AsyncChatReader
from .pydantic_ai import ModelResponseReader
from .reader import Reader, mapping, text
from .replicate import ReplicateReader
from .rerank import RerankReader
from .vertex_predict import PredictReader
from .vertex_raw_predict import RawPredictReader
from .videos import VideosReader
from .watsonx import WatsonxReader
from .wrapped import unwrapped

#: Name of a wire format → its reader.
READERS: dict[str, type[Reader]] = {
    "openai.chat": ChatReader,
    "openai.responses": ResponsesReader,
    "openai.embeddings": EmbeddingsReader,
    "openai.images": ImagesReader,
    "openai.audio": AudioReader,
    "openai.runs": RunsReader,
    "openai.realtime": RealtimeReader,
    "anthropic.messages": MessagesReader,
    "anthropic.complete": CompleteReader,
    "gemini.generate_content": GenerateContentReader,
    "gemini.embed_content": EmbedContentReader,
    "gemini.interactions": InteractionsReader,
    "vertex.predict": PredictReader,
    "google.operations": OperationsReader,
    "bedrock.converse": ConverseReader,
    "bedrock.invoke": InvokeReader,
    "bedrock.agent": AgentReader,
    "bedrock.async_invoke": AsyncInvokeReader,
    "cohere.chat": CohereChatReader,
    "cohere.embed": CohereEmbedReader,
    "rerank": RerankReader,
    "classify": ClassifyReader,
    "decisions": DecisionsReader,
    "mistral.conversations": ConversationsReader,
    "mistral.ocr": OCRReader,
    "ollama": OllamaReader,
    "watsonx": WatsonxReader,
    "replicate": ReplicateReader,
    "cloudflare": CloudflareReader,
    "huggingface": HuggingFaceReader,
    "perplexity.async": AsyncChatReader,
    "videos": VideosReader,
    "media.tasks": MediaTasksReader,
    "batch": AnyBatchReader,
    "openai.batch_results": OpenAIResultsReader,
    "anthropic.batch": MessageBatchReader,
    "anthropic.batch_results": MessageResultsReader,
    "gemini.batch": GeminiBatchReader,
    "gemini.batch_results": GeminiResultsReader,
    "mistral.batch": MistralBatchReader,
    "vertex.batch": VertexBatchReader,
    "bedrock.batch": BedrockBatchReader,
    # Formats of others come last: of readers that read the same, `read_response` takes the first.
    "vertex.raw_predict": RawPredictReader,
    "invocations": InvocationsReader,
}

#: Shapes that a site may pass to `record` but that no HTTP answer has.
_OBJECTS: tuple[type[Reader], ...] = (MessageReader, ModelResponseReader)
#: Counts without the shape of any format are accepted if these agree on them.
_PLAIN = (ChatReader, ResponsesReader, MessagesReader, InvokeReader)
#: How deep an answer may be within other objects.
_DEPTH = 4


def read_responses(response: Any, depth: int = _DEPTH) -> list[Reader]:
    """Read the answers in an object of an SDK, a framework or an HTTP library, or in its JSON.

    Returns:
        The readers of all answers, at least one; see `read_response`. An agent's run has several.
    """
    reader = read_response(response)
    if reader.recognised or reader.usage or reader.error or not depth:
        return [reader]
    within = [found for each in unwrapped(response) for found in read_responses(each, depth - 1)]
    return within or [reader]


def read_response(response: Any) -> Reader:
    """Read a whole answer, given as a dict or as the response object of an SDK.

    Returns:
        The reader of the answer. It is an empty one if the answer has no known shape, or several
        shapes that disagree on the tokens.

    Raises:
        Exception: What the object's own code raises, if nothing of it can be read.
    """
    data = as_dict(response)
    if text(data.get("type")).startswith("response.") and (inner := mapping(data.get("response"))):
        data = inner  # an event of OpenAI's Responses or realtime
    readers = _readers(data)
    for reader in readers:
        reader.body(data)
    found = [reader for reader in readers if reader.recognised and _has_content(reader)]
    if not found:
        for reader in (events := _readers(data)):
            with suppress(ValueError, RecursionError):
                reader.event(data)  # the last event of a stream
        found = [reader for reader in events if reader.recognised and reader.complete]
    if not found:
        found = [r for r in readers if isinstance(r, _PLAIN) and r.usage and r.usage.known]
    if not found and _is_usage(data):
        return read_response({"usage": data})
    # Bedrock invoke wraps the formats of others: it is the last choice.
    found.sort(key=lambda reader: (reader.usage is None, isinstance(reader, InvokeReader)))
    return _chosen(found) or _failed(data, readers) or Reader()


def _is_usage(data: dict[str, Any]) -> bool:
    """Return whether `data` is the usage of one answer alone, such as `response.usage`."""
    is_one = data.get("requests") in (None, 1)  # frameworks add up those of several
    return is_one and "usage" not in data and not {"prompt_tokens", "input_tokens"}.isdisjoint(data)


def _chosen(readers: list[Reader]) -> Reader | None:
    """Return the reader that read most, the first of several; None if the readers disagree.

    Readers that agree on the tokens do not contradict each other: one knows more of the format.
    """
    usages = [reader.usage for reader in readers if reader.usage is not None]
    totals = {(usage.prompt_tokens, usage.completion_tokens) for usage in usages}
    return max(readers, key=_size, default=None) if len(totals) <= 1 else None


def _size(reader: Reader) -> int:
    """Return how much a reader read of the usage."""
    usage = reader.usage
    if usage is None:
        return 0
    counts = (usage.cached_tokens, usage.cache_write_tokens, usage.reasoning_tokens, usage.cost)
    return 1 + sum(count is not None for count in counts) + len(usage.details)


def _failed(data: dict[str, Any], readers: list[Reader]) -> Reader | None:
    """Return a reader of an answer that is only an error; None if it is not one."""
    if not data.get("error"):
        return None  # a `message` or `detail` alone may be anything
    return next((reader for reader in readers if reader.error), None)


def _has_content(reader: Reader) -> bool:
    return bool(reader.usage or reader.model or reader.response_id or reader.error or reader.facts)


def _readers(data: dict[str, Any]) -> list[Reader]:
    readers = [kind() for kind in (*READERS.values(), *_OBJECTS)]
    for reader in readers:
        reader.head(_headers(data))
    return readers


def _headers(data: dict[str, Any]) -> dict[str, str]:
    """Return the headers that boto3 stores with the answer, with lower-case names."""
    headers = mapping(mapping(data.get("ResponseMetadata")).get("HTTPHeaders"))
    return {name.lower(): value for name, value in headers.items() if isinstance(value, str)}
