"""Answers and streams in the shapes that providers document, and what must be read from them."""

from __future__ import annotations

import base64
import json
from decimal import Decimal
from typing import Any, NamedTuple

from usage_tracking.usage import Usage


class Answer(NamedTuple):
    """What a whole answer holds, and what must be read from it."""

    format: str
    body: dict[str, Any]
    usage: Usage | None
    model: str = ""
    response_id: str = ""
    error: str = ""
    facts: dict[str, Any] = {}


class Stream(NamedTuple):
    """The events of a stream, and what must be read from them at its end."""

    format: str
    events: list[dict[str, Any]]
    usage: Usage | None
    model: str = ""
    response_id: str = ""
    error: str = ""
    complete: bool = True
    facts: dict[str, Any] = {}


def of(prompt: int | None = None, completion: int | None = None, **more: Any) -> Usage:
    return Usage(prompt_tokens=prompt, completion_tokens=completion, **more)


def chunk(event: Any) -> dict[str, Any]:
    """An event of a model, as Bedrock passes it on."""
    return {"chunk": {"bytes": base64.b64encode(json.dumps(event).encode()).decode(), "p": "abc"}}


CHAT, IMAGES, AUDIO = "openai.chat", "openai.images", "openai.audio"
EMBEDDINGS, COMPLETE = "openai.embeddings", "anthropic.complete"
GEMINI, EMBED_CONTENT, INTERACTIONS = (
    "gemini.generate_content",
    "gemini.embed_content",
    "gemini.interactions",
)
PREDICT, RAW_PREDICT = "vertex.predict", "vertex.raw_predict"
CONVERSE, INVOKE = "bedrock.converse", "bedrock.invoke"
COHERE, COHERE_EMBED, RERANK = "cohere.chat", "cohere.embed", "rerank"
RESPONSES, OCR = "openai.responses", "mistral.ocr"
OLLAMA, WATSONX, REPLICATE = "ollama", "watsonx", "replicate"
CONVERSATIONS, DECISIONS, CLASSIFY = "mistral.conversations", "decisions", "classify"
CLOUDFLARE, HUGGING_FACE, AGENT = "cloudflare", "huggingface", "bedrock.agent"


def step(**invocation: Any) -> dict[str, Any]:
    """A frame with a step of the trace of a Bedrock agent."""
    return {"trace": {"agentId": "A1", "trace": {"orchestrationTrace": invocation}}}


def invoked(read: int, written: int) -> dict[str, Any]:
    """The frame in which a Bedrock agent counts what one of its models did."""
    usage = {"inputTokens": read, "outputTokens": written}
    return step(modelInvocationOutput={"traceId": "t", "metadata": {"usage": usage}})


METRICS = {
    "amazon-bedrock-invocationMetrics": {
        "inputTokenCount": 13,
        "outputTokenCount": 25,
        "invocationLatency": 811,
        "firstByteLatency": 393,
    }
}
CLAUDE = {
    "id": "msg_bdrk_01",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5-20250929",
    "content": [{"type": "text", "text": "Hi"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 10, "cache_read_input_tokens": 4, "output_tokens": 7},
}
WRITER = {
    "id": "57e4f58f-f7b1-41d8-be17-a6279c073aad",
    "object": "chat.completion",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}}],
    "created": 1715361795,
    "model": "palmyra-x5",
    "usage": {"prompt_tokens": 40, "completion_tokens": 340, "total_tokens": 380},
}
PICTURE = {"b64_json": "iVBORw0KGgo="}

ANSWERS = {
    # https://docs.mistral.ai/api/endpoint/beta/conversations
    "mistral conversation": Answer(
        CONVERSATIONS,
        {
            "object": "conversation.response",
            "conversation_id": "conv_0199",
            "outputs": [
                {"type": "tool.execution", "name": "web_search", "id": "tool_exec_1"},
                {
                    "type": "message.output",
                    "role": "assistant",
                    "id": "msg_0199",
                    "model": "mistral-medium-2505",
                    "content": [{"type": "text", "text": "Four."}],
                },
            ],
            "usage": {
                "prompt_tokens": 188,
                "completion_tokens": 55,
                "total_tokens": 7355,
                "connector_tokens": 7112,
                "connectors": {"web_search": 1, "code_interpreter": 2},
            },
        },
        of(188, 55, details={"web_searches": 1, "code_executions": 2}),
        "mistral-medium-2505",
        "msg_0199",
    ),
    "mistral conversation without tools": Answer(
        CONVERSATIONS,
        {
            "object": "conversation.response",
            "conversation_id": "conv_0199",
            "outputs": [{"type": "function.call", "id": "fc_1", "model": None}],
            "usage": {"prompt_tokens": 18, "completion_tokens": 5, "connectors": None},
        },
        of(18, 5),
    ),
    # https://developers.openai.com/api/reference/resources/decisions
    "openai decision": Answer(
        DECISIONS,
        {
            "answers": [
                {"type": "predicate", "name": "spam", "probability": 0.98},
                {"type": "refusal", "name": None},
            ],
            "model": "gpt-6-luna",
            "usage": {
                "input_tokens": 300,
                "input_tokens_details": {"cached_tokens": 100, "cache_write_tokens": 50},
                "output_tokens": 4,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": 304,
            },
        },
        of(300, 4, cached_tokens=100, cache_write_tokens=50, reasoning_tokens=0),
        "gpt-6-luna",
    ),
    "google decision": Answer(
        DECISIONS,
        {
            "answers": {"q1": {"type": "choice", "choice": "billing"}},
            "usage": {"total_input_tokens": 70, "total_output_tokens": 2, "total_tokens": 72},
        },
        of(70, 2),
    ),
    # https://github.com/ollama/ollama-python/blob/main/ollama/_types.py
    "ollama system one": Answer(
        DECISIONS,
        {
            "model": "system-one",
            "answers": {"mood": {"type": "choice", "choice": "calm"}},
            "usage": {"input_tokens": 21, "output_tokens": 1},
        },
        of(21, 1),
        "system-one",
    ),
    "fireworks system one": Answer(
        DECISIONS,
        {
            "model": "s1",
            "answers": {"spam": {"noul": 0.9}},
            "usage": {"input_tokens": 21, "output_tokens": 0, "cached_input_tokens": 16},
        },
        of(21, 0, cached_tokens=16),
        "s1",
    ),
    "openrouter decision": Answer(
        DECISIONS,
        {
            "model": "openai/gpt-6-luna",
            "answers": [{"type": "predicate", "probability": 0.9}],
            "usage": {"input_tokens": 21, "output_tokens": 1, "cost": 0.0000021},
        },
        of(21, 1, cost=Decimal("0.0000021")),
        "openai/gpt-6-luna",
    ),
    # https://docs.cohere.com/reference/classify
    "cohere classify": Answer(
        CLASSIFY,
        {
            "id": "ce0c4e3f",
            "classifications": [{"id": "1", "input": "hi", "prediction": "Not spam"}],
            "meta": {"api_version": {"version": "1"}, "billed_units": {"classifications": 2}},
        },
        None,
        response_id="ce0c4e3f",
        facts={"classifications": 2},
    ),
    # https://api.jina.ai/redoc
    "jina classify": Answer(
        CLASSIFY,
        {
            "data": [{"object": "classification", "index": 0, "prediction": "a", "score": 0.4}],
            "usage": {"total_tokens": 196},
        },
        of(196),
    ),
    # https://docs.cohere.com/reference/parse
    "cohere parse": Answer(
        COHERE,
        {
            "id": "p1",
            "pages": [{"index": 0, "blocks": []}],
            "meta": {"api_version": {"version": "2"}, "billed_units": {"pages": 3}},
            "finish_reason": "COMPLETE",
        },
        of(details={"input_document_pages": 3}),
        response_id="p1",
    ),
    # https://docs.cohere.com/v1/reference/summarize
    "cohere summarize": Answer(
        COHERE,
        {
            "id": "s1",
            "summary": "Ice cream.",
            "meta": {
                "api_version": {"version": "1"},
                "billed_units": {"input_tokens": 321, "output_tokens": 21},
            },
        },
        of(321, 21),
        response_id="s1",
    ),
    # https://developers.cloudflare.com/workers-ai/models/
    "cloudflare text": Answer(
        CLOUDFLARE,
        {
            "result": {
                "response": "Hello",
                "tool_calls": [],
                "usage": {"prompt_tokens": 12, "completion_tokens": 9, "total_tokens": 21},
            },
            "success": True,
            "errors": [],
            "messages": [],
        },
        of(12, 9),
    ),
    "cloudflare, a model with responses": Answer(
        CLOUDFLARE,
        {
            "result": {
                "id": "resp_1",
                "object": "response",
                "output": [],
                "usage": {
                    "input_tokens": 12,
                    "output_tokens": 9,
                    "output_tokens_details": {"reasoning_tokens": 3},
                },
            },
            "success": True,
            "errors": [],
        },
        of(12, 9, reasoning_tokens=3),
        response_id="resp_1",
    ),
    "cloudflare picture": Answer(
        CLOUDFLARE,
        {"result": {"image": "/9j/4AAQ"}, "success": True, "errors": [], "messages": []},
        None,
    ),
    "cloudflare error": Answer(
        CLOUDFLARE,
        {"errors": [{"code": 5007, "message": "No such model"}], "success": False, "result": {}},
        None,
        error="5007: No such model",
    ),
    # https://huggingface.co/docs/inference-providers/tasks/text-generation
    "hugging face text with details": Answer(
        HUGGING_FACE,
        {
            "generated_text": "Paris",
            "details": {
                "finish_reason": "length",
                "generated_tokens": 20,
                "prefill": [{"id": 0, "text": "The", "logprob": None}, {"id": 1, "text": "cap"}],
            },
        },
        of(2, 20),
    ),
    "hugging face text": Answer(HUGGING_FACE, {"generated_text": "Paris"}, None),
    # https://docs.aws.amazon.com/bedrock/latest/APIReference/API_agent-runtime_RetrieveAndGenerate.html
    "bedrock retrieve and generate": Answer(
        AGENT,
        {
            "citations": [],
            "guardrailAction": "NONE",
            "output": {"text": "Four."},
            "sessionId": "s1",
        },
        None,
    ),
    # https://docs.aws.amazon.com/bedrock/latest/APIReference/API_agent-runtime_Rerank.html
    "bedrock rerank": Answer(RERANK, {"results": [{"index": 1, "relevanceScore": 0.9}]}, None),
    # https://docs.x.ai/developers/cost-tracking
    "xai names the cost": Answer(
        CHAT,
        {
            "choices": [],
            "usage": {
                "prompt_tokens": 199,
                "completion_tokens": 1,
                "cost_in_usd_ticks": 37756000,
            },
        },
        of(199, 1, cost=Decimal("0.0037756")),
    ),
    # https://platform.openai.com/docs/guides/audio
    "openai chat with every modality": Answer(
        CHAT,
        {
            "choices": [],
            "usage": {
                "prompt_tokens": 150,
                "completion_tokens": 700,
                "prompt_tokens_details": {
                    "text_tokens": 100,
                    "audio_tokens": 30,
                    "image_tokens": 15,
                    "video_tokens": 5,
                    "cached_tokens": 60,
                    "cached_tokens_details": {"text_tokens": 50, "audio_tokens": 10},
                },
                "completion_tokens_details": {
                    "text_tokens": 100,
                    "audio_tokens": 500,
                    "image_tokens": 100,
                    "reasoning_tokens": 20,
                    "accepted_prediction_tokens": 4,
                    "rejected_prediction_tokens": 3,
                },
            },
        },
        of(
            150,
            700,
            cached_tokens=60,
            reasoning_tokens=20,
            details={
                "input_text_tokens": 100,
                "input_audio_tokens": 30,
                "input_image_tokens": 15,
                "input_video_tokens": 5,
                "cache_text_read_tokens": 50,
                "cache_audio_read_tokens": 10,
                "output_text_tokens": 100,
                "output_audio_tokens": 500,
                "output_image_tokens": 100,
            },
        ),
    ),
    # https://docs.litellm.ai/docs/completion/prompt_caching
    "litellm, claude": Answer(
        CHAT,
        {
            "model": "claude-sonnet-4-5",
            "choices": [],
            "usage": {
                "prompt_tokens": 1000,
                "completion_tokens": 20,
                "total_tokens": 1020,
                "prompt_tokens_details": {
                    "cached_tokens": 500,
                    "cache_creation_tokens": 300,
                    "cache_creation_token_details": {
                        "ephemeral_5m_input_tokens": 100,
                        "ephemeral_1h_input_tokens": 200,
                    },
                },
                "cache_creation_input_tokens": 300,
                "cache_read_input_tokens": 500,
                "server_tool_use": {"web_search_requests": 2},
            },
        },
        of(
            1000,
            20,
            cached_tokens=500,
            cache_write_tokens=300,
            details={
                "cache_write_5m_tokens": 100,
                "cache_write_1h_tokens": 200,
                "web_searches": 2,
            },
        ),
        "claude-sonnet-4-5",
    ),
    # https://docs.perplexity.ai/getting-started/pricing
    "perplexity, deep research": Answer(
        CHAT,
        {
            "model": "sonar-deep-research",
            "choices": [],
            "usage": {
                "prompt_tokens": 33,
                "completion_tokens": 7163,
                "total_tokens": 7196,
                "citation_tokens": 20016,
                "num_search_queries": 18,
                "reasoning_tokens": 95305,
                "cost": {"total_cost": 0.473},
            },
        },
        of(
            33,
            7163,
            reasoning_tokens=95305,
            cost=Decimal("0.473"),
            details={
                "output_tokens": 122484,
                "output_citation_tokens": 20016,
                "web_searches": 18,
            },
        ),
        "sonar-deep-research",
    ),
    # https://docs.mistral.ai/capabilities/audio
    "mistral, audio in a chat": Answer(
        CHAT,
        {
            "model": "voxtral-small-2507",
            "choices": [],
            "usage": {
                "prompt_tokens": 20,
                "completion_tokens": 100,
                "total_tokens": 120,
                "prompt_audio_seconds": 120,
            },
        },
        of(20, 100, details={"audio_seconds": 120, "input_audio_seconds": 120}),
        "voxtral-small-2507",
    ),
    "mistral, no audio in a chat": Answer(
        CHAT,
        {
            "choices": [],
            "usage": {"prompt_tokens": 2, "completion_tokens": 3, "prompt_audio_seconds": {}},
        },
        of(2, 3),
    ),
    # https://deepinfra.com/docs/openai_api
    "deepinfra": Answer(
        CHAT,
        {
            "choices": [],
            "usage": {"prompt_tokens": 9, "completion_tokens": 1, "estimated_cost": 0.000132},
        },
        of(9, 1, cost=Decimal("0.000132")),
    ),
    # https://platform.openai.com/docs/api-reference/responses/object
    "responses with tools": Answer(
        RESPONSES,
        {
            "object": "response",
            "status": "completed",
            "model": "gpt-5",
            "output": [
                {"type": "reasoning", "summary": []},
                {"type": "web_search_call", "status": "completed", "action": {"type": "search"}},
                {"type": "web_search_call", "status": "completed", "action": {"type": "open_page"}},
                {"type": "web_search_call", "status": "completed"},
                {"type": "web_search_call", "status": "failed", "action": {"type": "search"}},
                {"type": "file_search_call", "status": "completed", "queries": ["returns"]},
                {"type": "code_interpreter_call", "status": "completed"},
                {"type": "x_search_call", "status": "completed"},
                {"type": "function_call", "status": "completed"},
            ],
            "usage": {"input_tokens": 300, "output_tokens": 50},
        },
        of(
            300,
            50,
            details={
                "web_searches": 2,
                "storage_searches": 1,
                "code_executions": 1,
                "social_searches": 1,
            },
        ),
        "gpt-5",
    ),
    "responses with searches that are billed": Answer(
        RESPONSES,
        {
            "object": "response",
            "status": "completed",
            "model": "gpt-5",
            "output": [{"type": "web_search_call", "action": {"type": "search"}}] * 3,
            "tool_usage": {
                "image_gen": {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0},
                "web_search": {"num_requests": 2},
            },
            "usage": {"input_tokens": 300, "output_tokens": 50},
        },
        of(300, 50, details={"web_searches": 2}),
        "gpt-5",
    ),
    "responses with an image": Answer(
        RESPONSES,
        {
            "object": "response",
            "status": "completed",
            "model": "gpt-5",
            "tools": [{"type": "image_generation", "model": "gpt-image-1.5"}],
            "output": [{"type": "image_generation_call", "status": "completed", **PICTURE}],
            "tool_usage": {
                "image_gen": {
                    "input_tokens": 50,
                    "input_tokens_details": {"text_tokens": 50, "image_tokens": 0},
                    "cached_tokens": 10,
                    "cached_tokens_details": {"cached_text_tokens": 10, "cached_image_tokens": 0},
                    "output_tokens": 4160,
                    "output_tokens_details": {"text_tokens": 60, "image_tokens": 4100},
                    "total_tokens": 4210,
                },
                "web_search": {"num_requests": 0},
            },
            "usage": {
                "input_tokens": 300,
                "input_tokens_details": {"cached_tokens": 100},
                "output_tokens": 50,
            },
        },
        of(
            350,
            4210,
            cached_tokens=110,
            details={
                "input_text_tokens": 50,
                "cache_text_read_tokens": 10,
                "output_text_tokens": 60,
                "output_image_tokens": 4100,
                "iterations": [
                    {
                        "input_tokens": 50,
                        "cache_read_tokens": 10,
                        "input_text_tokens": 50,
                        "cache_text_read_tokens": 10,
                        "output_tokens": 4160,
                        "output_text_tokens": 60,
                        "output_image_tokens": 4100,
                        "model": "gpt-image-1.5",
                    }
                ],
            },
        ),
        "gpt-5",
    ),
    # https://docs.x.ai/developers/tools/tool-usage-details
    "responses of xai": Answer(
        RESPONSES,
        {
            "object": "response",
            "status": "completed",
            "model": "grok-4.5",
            "output": [],
            "usage": {
                "input_tokens": 12000,
                "input_tokens_details": {"cached_tokens": 2000},
                "output_tokens": 900,
                "output_tokens_details": {"reasoning_tokens": 500},
                "num_server_side_tools_used": 8,
                "server_side_tool_usage_details": {
                    "web_search_calls": 2,
                    "x_search_calls": 1,
                    "code_interpreter_calls": 1,
                    "file_search_calls": 1,
                    "mcp_calls": 1,
                    "document_search_calls": 2,
                },
                "cost_in_usd_ticks": 410000000,
            },
        },
        of(
            12000,
            900,
            cached_tokens=2000,
            reasoning_tokens=500,
            cost=Decimal("0.041"),
            details={
                "web_searches": 2,
                "social_searches": 1,
                "code_executions": 1,
                "storage_searches": 3,
            },
        ),
        "grok-4.5",
    ),
    # https://docs.perplexity.ai/api-reference/responses-post
    "responses of perplexity": Answer(
        RESPONSES,
        {
            "object": "response",
            "status": "completed",
            "model": "openai/gpt-5.2",
            "output": [],
            "usage": {
                "input_tokens": 3681,
                "input_tokens_details": {
                    "cache_read_input_tokens": 1000,
                    "cache_creation_input_tokens": 200,
                },
                "output_tokens": 780,
                "cost": {"currency": "USD", "total_cost": 0.02736},
                "tool_calls_details": {"search_web": {"invocation": 2}},
            },
        },
        of(
            3681,
            780,
            cached_tokens=1000,
            cache_write_tokens=200,
            cost=Decimal("0.02736"),
            details={"web_searches": 2},
        ),
        "openai/gpt-5.2",
    ),
    "responses of openrouter, own key": Answer(
        RESPONSES,
        {
            "object": "response",
            "status": "completed",
            "model": "openai/gpt-5-mini",
            "output": [],
            "usage": {
                "input_tokens": 9000,
                "output_tokens": 113,
                "cost": 0.0001,
                "is_byok": True,
                "cost_details": {"upstream_inference_cost": 0.002476},
            },
        },
        of(9000, 113, cost=Decimal("0.002576")),
        "openai/gpt-5-mini",
    ),
    # https://docs.voyageai.com/reference/multimodal-embeddings-api
    "voyage, pictures": Answer(
        EMBEDDINGS,
        {
            "object": "list",
            "data": [{"object": "embedding", "embedding": [0.1], "index": 0}],
            "model": "voyage-multimodal-3",
            "usage": {"text_tokens": 5, "image_pixels": 2000000, "total_tokens": 3576},
        },
        of(3576, details={"input_text_tokens": 5, "input_pixels": 2000000}),
        "voyage-multimodal-3",
    ),
    # https://docs.mistral.ai/api/endpoint/ocr
    "mistral ocr": Answer(
        OCR,
        {
            "pages": [{"index": 0, "markdown": "# Title", "images": []}],
            "model": "mistral-ocr-2512",
            "document_annotation": None,
            "usage_info": {"pages_processed": 29, "doc_size_bytes": 3002783},
        },
        of(details={"input_document_pages": 29}),
        "mistral-ocr-2512",
    ),
    "mistral ocr, document annotated": Answer(
        OCR,
        {
            "pages": [{"index": 0, "markdown": "# Title", "images": []}],
            "model": "mistral-ocr-4-0",
            "document_annotation": '{"language": "English"}',
            "usage_info": {"pages_processed": 8, "doc_size_bytes": 2942},
        },
        of(details={"input_document_pages": 8, "input_annotated_document_pages": 8}),
        "mistral-ocr-4-0",
    ),
    "mistral ocr, images annotated": Answer(
        OCR,
        {
            "pages": [{"index": 0, "images": [{"id": "1", "image_annotation": '{"a": 1}'}]}],
            "model": "mistral-ocr-4-0",
            "usage_info": {"pages_processed": 2},
        },
        of(details={"input_document_pages": 2, "input_annotated_document_pages": 2}),
        "mistral-ocr-4-0",
    ),
    "mistral ocr, some pages annotated": Answer(
        OCR,
        {
            "pages": [],
            "model": "mistral-ocr-4-0",
            "document_annotation": '{"language": "English"}',
            "usage_info": {"pages_processed": 8, "pages_processed_annotation": 3},
        },
        of(details={"input_document_pages": 8, "input_annotated_document_pages": 3}),
        "mistral-ocr-4-0",
    ),
    "mistral ocr of azure": Answer(
        OCR,
        {
            "pages": [],
            "model": "mistral-document-ai-2512",
            "usage_info": {"pages_processed": 0, "pages_processed_annotation": 3},
        },
        of(details={"input_document_pages": 3, "input_annotated_document_pages": 3}),
        "mistral-document-ai-2512",
    ),
    "mistral ocr, error": Answer(
        OCR, {"object": "error", "message": "Invalid file"}, None, error="Invalid file"
    ),
    # https://cloud.ibm.com/apidocs/watsonx-ai#text-chat
    "watsonx chat": Answer(
        CHAT,
        {
            "id": "cmpl-15475d0dea9b4429a55843c77997f8a9",
            "model_id": "ibm/granite-3-8b-instruct",
            "created": 1689958352,
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}}],
            "usage": {"completion_tokens": 47, "prompt_tokens": 59, "total_tokens": 106},
        },
        of(59, 47),
        "ibm/granite-3-8b-instruct",
        "cmpl-15475d0dea9b4429a55843c77997f8a9",
    ),
    "azure, filter failed": Answer(
        CHAT,
        {
            "choices": [
                {
                    "message": {"content": "Hi"},
                    "content_filter_results": {
                        "error": {
                            "code": "content_filter_error",
                            "message": "The contents are not filtered",
                        }
                    },
                }
            ],
            "usage": {"prompt_tokens": 5, "completion_tokens": 6},
        },
        of(5, 6),
        error="content_filter_error: The contents are not filtered",
    ),
    "azure, filter passed": Answer(
        CHAT,
        {
            "choices": [
                {"content_filter_results": {"hate": {"filtered": False, "severity": "safe"}}}
            ],
            "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": {}}],
            "usage": {"prompt_tokens": 5, "completion_tokens": 6},
        },
        of(5, 6),
    ),
    # https://openrouter.ai/docs/api-reference/errors
    "openrouter, error in a choice": Answer(
        CHAT,
        {"choices": [{"finish_reason": "error", "error": {"code": 502, "message": "Provider"}}]},
        None,
        error="502: Provider",
    ),
    # https://platform.minimax.io/docs/api-reference/errorcode
    "minimax, error": Answer(
        CHAT,
        {
            "choices": None,
            "base_resp": {"status_code": 1008, "status_msg": "insufficient balance"},
        },
        None,
        error="1008: insufficient balance",
    ),
    "minimax": Answer(
        CHAT,
        {
            "choices": [],
            "usage": {"prompt_tokens": 1, "completion_tokens": 2},
            "base_resp": {"status_code": 0, "status_msg": ""},
        },
        of(1, 2),
    ),
    # https://platform.openai.com/docs/api-reference/images/object
    "images": Answer(
        IMAGES,
        {
            "created": 1713833628,
            "data": [PICTURE],
            "background": "transparent",
            "output_format": "png",
            "size": "1024x1024",
            "quality": "high",
            "usage": {
                "total_tokens": 100,
                "input_tokens": 50,
                "output_tokens": 50,
                "input_tokens_details": {"text_tokens": 10, "image_tokens": 40},
            },
        },
        of(50, 50, details={"input_text_tokens": 10, "input_image_tokens": 40}),
    ),
    "images with text": Answer(
        IMAGES,
        {
            "created": 1713833628,
            "data": [PICTURE],
            "usage": {
                "total_tokens": 4410,
                "input_tokens": 50,
                "input_tokens_details": {
                    "text_tokens": 20,
                    "image_tokens": 30,
                    "cached_tokens": 15,
                    "cached_tokens_details": {"text_tokens": 5, "image_tokens": 10},
                },
                "output_tokens": 4360,
                "output_tokens_details": {"text_tokens": 200, "image_tokens": 4160},
            },
        },
        of(
            50,
            4360,
            cached_tokens=15,
            details={
                "input_text_tokens": 20,
                "input_image_tokens": 30,
                "cache_text_read_tokens": 5,
                "cache_image_read_tokens": 10,
                "output_text_tokens": 200,
                "output_image_tokens": 4160,
            },
        ),
    ),
    # https://github.com/openai/openai-python/blob/main/src/openai/types/images_response.py
    "images, written as svg": Answer(
        IMAGES,
        {
            "data": [PICTURE],
            "usage": {"input_tokens": 50, "output_tokens": 400, "total_tokens": 450},
            "svg_usage": {
                "model": "gpt-6-luna",
                "input_tokens": 30,
                "output_tokens": 700,
                "reasoning_tokens": 100,
                "total_tokens": 730,
            },
        },
        of(
            80,
            1100,
            reasoning_tokens=100,
            details={
                "iterations": [
                    {
                        "input_tokens": 30,
                        "output_tokens": 700,
                        "output_reasoning_tokens": 100,
                        "model": "gpt-6-luna",
                    }
                ]
            },
        ),
    ),
    "images of dall-e": Answer(
        IMAGES,
        {"created": 1589478378, "data": [{"url": "https://img.example/1"}, {"url": "https://x/2"}]},
        None,
        facts={"images": 2},
    ),
    "images of xai": Answer(
        IMAGES,
        {"data": [{"url": "https://imgen.x.ai/1"}], "usage": {"cost_in_usd_ticks": 200000000}},
        of(cost=Decimal("0.02")),
    ),
    "images, error": Answer(
        IMAGES,
        {"error": {"code": "moderation_blocked", "message": "rejected", "type": "image_error"}},
        None,
        error="image_error: rejected",
    ),
    # https://platform.openai.com/docs/api-reference/audio/json-object
    "transcription": Answer(
        AUDIO,
        {
            "text": "Imagine",
            "usage": {
                "type": "tokens",
                "input_tokens": 14,
                "input_token_details": {"text_tokens": 10, "audio_tokens": 4},
                "output_tokens": 101,
                "total_tokens": 115,
            },
        },
        of(14, 101, details={"input_text_tokens": 10, "input_audio_tokens": 4}),
    ),
    # Its length is not billed: https://developers.openai.com/api/docs/pricing
    "transcription by speaker": Answer(
        AUDIO,
        {
            "task": "transcribe",
            "duration": 27.4,
            "text": "Agent: Thanks for calling.",
            "segments": [{"type": "transcript.text.segment", "text": "Thanks", "speaker": "A"}],
            "usage": {
                "type": "tokens",
                "input_tokens": 274,
                "input_token_details": {"text_tokens": 0, "audio_tokens": 274},
                "output_tokens": 101,
            },
        },
        of(274, 101, details={"input_audio_tokens": 274}),
        facts={"audio_seconds": 27.4},
    ),
    "transcription by the second": Answer(
        AUDIO,
        {"text": "Imagine", "usage": {"type": "duration", "seconds": 9}},
        of(details={"audio_seconds": 9, "input_audio_seconds": 9}),
        facts={"audio_seconds": 9},
    ),
    # https://platform.openai.com/docs/api-reference/audio/verbose-json-object
    "transcription in full": Answer(
        AUDIO,
        {
            "task": "transcribe",
            "language": "english",
            "duration": "8.47",
            "text": "The beach was a popular spot",
            "segments": [{"id": 0, "text": "The beach", "tokens": [50364]}],
        },
        of(details={"audio_seconds": 8.47, "input_audio_seconds": 8.47}),
        facts={"audio_seconds": 8.47},
    ),
    "transcription of groq": Answer(AUDIO, {"text": "Hi", "x_groq": {"id": "req_1"}}, None),
    "transcription, text only": Answer(AUDIO, {"text": "Imagine"}, None),
    # https://docs.mistral.ai/capabilities/audio_transcription
    "transcription of mistral": Answer(
        AUDIO,
        {
            "model": "voxtral-mini-2507",
            "text": "This week",
            "language": "en",
            "segments": [],
            "usage": {
                "prompt_audio_seconds": 203,
                "prompt_tokens": 4,
                "total_tokens": 3264,
                "completion_tokens": 635,
            },
        },
        of(4, 635, details={"audio_seconds": 203, "input_audio_seconds": 203}),
        "voxtral-mini-2507",
        facts={"audio_seconds": 203},
    ),
    # https://docs.voyageai.com/reference/contextualized-embeddings-api
    "voyage, contextualized": Answer(
        EMBEDDINGS,
        {
            "object": "list",
            "data": [
                {
                    "object": "list",
                    "data": [{"object": "embedding", "embedding": [0.1]}],
                    "index": 0,
                }
            ],
            "model": "voyage-context-3",
            "usage": {"total_tokens": 26},
        },
        of(26),
        "voyage-context-3",
    ),
    # https://openrouter.ai/docs/api-reference/embeddings
    "openrouter, embeddings": Answer(
        EMBEDDINGS,
        {
            "id": "gen-emb-1",
            "object": "list",
            "data": [{"object": "embedding", "embedding": [0.1], "index": 0}],
            "model": "openai/text-embedding-3-small",
            "usage": {"prompt_tokens": 6, "total_tokens": 6, "cost": 1.2e-07},
        },
        of(6, cost=Decimal("1.2E-7")),
        "openai/text-embedding-3-small",
        "gen-emb-1",
    ),
    # https://github.com/ollama/ollama/blob/main/docs/api.md#generate-embedding
    "ollama, old embedding": Answer(EMBEDDINGS, {"embedding": [0.567, 0.009]}, None),
    # https://docs.anthropic.com/en/api/complete
    "anthropic, old completion": Answer(
        COMPLETE,
        {
            "completion": " Hello!",
            "id": "compl_018CKm6gsux7P8yMcwZbeCPw",
            "model": "claude-2.1",
            "stop_reason": "stop_sequence",
            "type": "completion",
        },
        None,
        "claude-2.1",
        "compl_018CKm6gsux7P8yMcwZbeCPw",
    ),
    "anthropic on vertex": Answer(
        RAW_PREDICT, CLAUDE, of(14, 7, cached_tokens=4), "claude-sonnet-4-5-20250929", "msg_bdrk_01"
    ),
    "mistral on vertex": Answer(
        RAW_PREDICT,
        {
            "id": "0e9c8e69e5924f729b39bc60bac9e0be",
            "object": "chat.completion",
            "model": "mistral-small-2503",
            "choices": [{"message": {"role": "assistant", "content": "Hi"}}],
            "usage": {"prompt_tokens": 16, "total_tokens": 119, "completion_tokens": 103},
        },
        of(16, 103),
        "mistral-small-2503",
        "0e9c8e69e5924f729b39bc60bac9e0be",
    ),
    "error on vertex": Answer(
        RAW_PREDICT,
        {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
        None,
        error="overloaded_error: Overloaded",
    ),
    # https://ai.google.dev/api/embeddings
    "gemini embedding": Answer(
        EMBED_CONTENT,
        {"embedding": {"values": [0.01]}, "usageMetadata": {"promptTokenCount": 9}},
        of(9),
    ),
    "gemini embeddings": Answer(EMBED_CONTENT, {"embeddings": [{"values": [0.01]}]}, None),
    # https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/text-embeddings-api
    "vertex embeddings": Answer(
        PREDICT,
        {
            "predictions": [
                {"embeddings": {"statistics": {"truncated": False, "token_count": 6}}},
                {"embeddings": {"values": [0.1], "statistics": {"token_count": 8.0}}},
            ],
            "metadata": {"billableCharacterCount": 40},
        },
        of(14),
    ),
    "vertex text": Answer(
        PREDICT,
        {
            "predictions": [{"content": "Hi"}],
            "metadata": {
                "tokenMetadata": {
                    "inputTokenCount": {"totalTokens": 9, "totalBillableCharacters": 32},
                    "outputTokenCount": {"totalTokens": 3, "totalBillableCharacters": 10},
                }
            },
        },
        of(9, 3),
    ),
    "imagen": Answer(
        PREDICT,
        {"predictions": [{"mimeType": "image/png", "bytesBase64Encoded": "aGk="}]},
        None,
        facts={"images": 1},
    ),
    "gemini, live": Answer(
        GEMINI,
        {
            "usageMetadata": {
                "promptTokenCount": 117,
                "responseTokenCount": 90,
                "totalTokenCount": 207,
            }
        },
        of(117, 90),
    ),
    # https://ai.google.dev/api/interactions-api
    "interaction": Answer(
        INTERACTIONS,
        {
            "id": "v1_ChdXS0l4YWZXTk9xbk0xZThQczhEcmlROBIX",
            "object": "interaction",
            "model": "gemini-3-flash-preview",
            "status": "completed",
            "steps": [{"type": "model_output", "content": [{"type": "text", "text": "Hi"}]}],
            "usage": {
                "total_input_tokens": 7,
                "total_cached_tokens": 5,
                "total_output_tokens": 20,
                "total_thought_tokens": 22,
                "total_tool_use_tokens": 3,
                "total_tokens": 52,
            },
        },
        of(
            10,
            42,
            cached_tokens=5,
            reasoning_tokens=22,
            details={"input_tool_tokens": 3},
        ),
        "gemini-3-flash-preview",
        "v1_ChdXS0l4YWZXTk9xbk0xZThQczhEcmlROBIX",
    ),
    "interaction, failed": Answer(
        INTERACTIONS,
        {"object": "interaction", "status": "failed", "errors": [{"message": "No luck"}]},
        None,
        error="No luck",
    ),
    "interaction, failed without a word": Answer(
        INTERACTIONS, {"object": "interaction", "status": "failed"}, None, error="failed"
    ),
    # https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html
    "converse": Answer(
        CONVERSE,
        {
            "output": {"message": {"role": "assistant", "content": [{"text": "Hi"}]}},
            "stopReason": "end_turn",
            "usage": {
                "inputTokens": 30,
                "outputTokens": 628,
                "totalTokens": 758,
                "cacheReadInputTokens": 60,
                "cacheWriteInputTokens": 40,
            },
            "metrics": {"latencyMs": 1275},
        },
        of(130, 628, cached_tokens=60, cache_write_tokens=40),
    ),
    "converse through a prompt router": Answer(
        CONVERSE,
        {
            "output": {"message": {"role": "assistant", "content": []}},
            "usage": {"inputTokens": 1, "outputTokens": 2, "totalTokens": 3},
            "trace": {
                "promptRouter": {
                    "invokedModelId": "arn:aws:bedrock:us-west-2:123456789012:inference-profile/"
                    "us.anthropic.claude-3-5-sonnet-20240620-v1:0"
                }
            },
        },
        of(1, 2),
        "us.anthropic.claude-3-5-sonnet-20240620-v1:0",
    ),
    # https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters.html
    "invoke claude": Answer(
        INVOKE, CLAUDE, of(14, 7, cached_tokens=4), "claude-sonnet-4-5-20250929", "msg_bdrk_01"
    ),
    "invoke nova": Answer(
        INVOKE,
        {
            "output": {"message": {"content": [{"text": "Hi"}], "role": "assistant"}},
            "stopReason": "end_turn",
            "usage": {
                "inputTokens": 5,
                "outputTokens": 110,
                "totalTokens": 115,
                "cacheReadInputTokenCount": 0,
                "cacheWriteInputTokenCount": 0,
            },
        },
        of(5, 110, cached_tokens=0, cache_write_tokens=0),
    ),
    "invoke llama": Answer(
        INVOKE,
        {
            "generation": "Hi",
            "prompt_token_count": 7,
            "generation_token_count": 56,
            "stop_reason": "stop",
        },
        of(7, 56),
    ),
    "invoke titan": Answer(
        INVOKE,
        {
            "inputTextTokenCount": 8,
            "results": [{"tokenCount": 30, "outputText": "Hi", "completionReason": "FINISH"}],
        },
        of(8, 30),
    ),
    "invoke titan embedding": Answer(
        INVOKE, {"embedding": [0.1, 0.2], "inputTextTokenCount": 4}, of(4)
    ),
    "invoke mistral": Answer(INVOKE, {"outputs": [{"text": "Hi", "stop_reason": "stop"}]}, None),
    "invoke jamba": Answer(
        INVOKE,
        {
            "id": "cmpl-1",
            "choices": [{"message": {"role": "assistant", "content": "Hi"}}],
            "usage": {"prompt_tokens": 43, "completion_tokens": 170, "total_tokens": 213},
        },
        of(43, 170),
        response_id="cmpl-1",
    ),
    "invoke command r": Answer(
        INVOKE,
        {
            "response_id": "r1",
            "text": "Hi",
            "generation_id": "g1",
            "finish_reason": "COMPLETE",
            "meta": {"billed_units": {"input_tokens": 3, "output_tokens": 4}},
        },
        of(3, 4),
        response_id="r1",
    ),
    "invoke deepseek": Answer(INVOKE, {"choices": [{"text": "Hi", "stop_reason": "stop"}]}, None),
    # https://docs.cohere.com/reference/chat
    "cohere v2": Answer(
        COHERE,
        {
            "id": "c14c80c3-18eb-4519-9460-6c92edd8cfb4",
            "finish_reason": "COMPLETE",
            "message": {"role": "assistant", "content": [{"type": "text", "text": "Hi"}]},
            "usage": {
                "billed_units": {"input_tokens": 5.0, "output_tokens": 418.0},
                "tokens": {"input_tokens": 71.0, "output_tokens": 418.0},
                "cached_tokens": 4,
            },
        },
        of(5, 418, cached_tokens=4),
        response_id="c14c80c3-18eb-4519-9460-6c92edd8cfb4",
    ),
    "cohere v2, cache of what is not billed": Answer(
        COHERE,
        {
            "finish_reason": "COMPLETE",
            "usage": {"billed_units": {"input_tokens": 5, "output_tokens": 4}, "cached_tokens": 64},
        },
        of(5, 4),
    ),
    "cohere v2, failed": Answer(
        COHERE,
        {"id": "c1", "finish_reason": "ERROR", "usage": {"tokens": {"input_tokens": 71}}},
        of(71),
        response_id="c1",
        error="ERROR",
    ),
    # https://docs.cohere.com/v1/reference/chat
    "cohere v1": Answer(
        COHERE,
        {
            "response_id": "r1",
            "generation_id": "g1",
            "text": "Hi",
            "chat_history": [{"role": "USER", "message": "Hello"}],
            "finish_reason": "COMPLETE",
            "meta": {
                "api_version": {"version": "1"},
                "billed_units": {"input_tokens": 8, "output_tokens": 90},
                "tokens": {"input_tokens": 74, "output_tokens": 90},
            },
        },
        of(8, 90),
        response_id="r1",
    ),
    "cohere, generate": Answer(
        COHERE,
        {
            "id": "g0",
            "generations": [{"id": "g1", "text": "Hi"}],
            "prompt": "Hello",
            "meta": {"billed_units": {"input_tokens": 2, "output_tokens": 3}},
        },
        of(2, 3),
        response_id="g0",
    ),
    "cohere, error": Answer(
        COHERE, {"message": "invalid api token"}, None, error="invalid api token"
    ),
    # https://dev.writer.com/api-reference/completion-api/chat-completion
    "writer": Answer(COHERE, WRITER, of(40, 340), "palmyra-x5", WRITER["id"]),  # type: ignore[arg-type]
    # https://docs.cohere.com/reference/embed
    "cohere, embed": Answer(
        COHERE_EMBED,
        {
            "id": "da6e531f-54c5-4a73-bf92-f60566d8d753",
            "embeddings": {"float": [[0.016, -0.008]]},
            "texts": ["hello"],
            "response_type": "embeddings_by_type",
            "meta": {"api_version": {"version": "2"}, "billed_units": {"input_tokens": 2}},
        },
        of(2),
        response_id="da6e531f-54c5-4a73-bf92-f60566d8d753",
    ),
    "cohere, embed pictures": Answer(
        COHERE_EMBED,
        {
            "embeddings": {"float": [[0.1]]},
            "meta": {"billed_units": {"images": 1, "image_tokens": 258, "text_tokens": 2}},
        },
        of(260, details={"input_image_tokens": 258}),
        facts={"images": 1},
    ),
    # https://docs.cohere.com/reference/rerank
    "cohere, rerank": Answer(
        RERANK,
        {
            "id": "07734bd2-2473-4f07-94e1-0d9f0e6843cf",
            "results": [{"index": 3, "relevance_score": 0.999071}],
            "meta": {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}},
        },
        of(details={"rerank_searches": 1}),
        response_id="07734bd2-2473-4f07-94e1-0d9f0e6843cf",
        facts={"search_units": 1},
    ),
    # https://docs.voyageai.com/reference/reranker-api
    "voyage, rerank": Answer(
        RERANK,
        {
            "object": "list",
            "data": [{"relevance_score": 0.4, "index": 0}],
            "model": "rerank-2.5",
            "usage": {"total_tokens": 26},
        },
        of(26),
        "rerank-2.5",
    ),
    # https://api.jina.ai/redoc
    "jina, rerank": Answer(
        RERANK,
        {
            "model": "jina-reranker-v2-base-multilingual",
            "usage": {"total_tokens": 815},
            "results": [{"index": 0, "relevance_score": 0.87, "document": {"text": "Organic"}}],
        },
        of(815),
        "jina-reranker-v2-base-multilingual",
    ),
    # https://openrouter.ai/docs/api-reference/rerank
    "openrouter, rerank": Answer(
        RERANK,
        {
            "id": "gen-rerank-1",
            "model": "cohere/rerank-v3.5",
            "results": [{"index": 0, "relevance_score": 0.98}],
            "usage": {"search_units": 1, "cost": 0.001},
        },
        of(cost=Decimal("0.001"), details={"rerank_searches": 1}),
        "cohere/rerank-v3.5",
        "gen-rerank-1",
    ),
    "rerank, error": Answer(RERANK, {"detail": "unknown model"}, None, error="unknown model"),
    # https://docs.ollama.com/api/chat
    "ollama chat": Answer(
        OLLAMA,
        {
            "model": "llama3.2",
            "created_at": "2023-12-12T14:13:43.416799Z",
            "message": {"role": "assistant", "content": "Hi"},
            "done": True,
            "done_reason": "stop",
            "total_duration": 5191566416,
            "prompt_eval_count": 26,
            "prompt_eval_cached_count": 20,
            "eval_count": 298,
        },
        of(26, 298, cached_tokens=20),
        "llama3.2",
    ),
    "ollama generate, prompt not counted": Answer(
        OLLAMA,
        {"model": "m", "created_at": "2023-08-04", "response": "", "done": True, "eval_count": 3},
        of(None, 3),
        "m",
    ),
    "ollama generate, nothing counted": Answer(
        OLLAMA, {"model": "m", "created_at": "2023-08-04", "response": "", "done": True}, None, "m"
    ),
    "ollama embed": Answer(
        OLLAMA,
        {
            "model": "all-minilm",
            "embeddings": [[0.010071029, -0.0017594862]],
            "total_duration": 14143917,
            "load_duration": 1019500,
            "prompt_eval_count": 8,
        },
        of(8),
        "all-minilm",
    ),
    "ollama, error": Answer(
        OLLAMA, {"error": "model 'm' not found"}, None, error="model 'm' not found"
    ),
    # https://cloud.ibm.com/apidocs/watsonx-ai#text-generation
    "watsonx": Answer(
        WATSONX,
        {
            "model_id": "google/flan-ul2",
            "created_at": "2023-07-21T16:52:32.190Z",
            "results": [
                {
                    "generated_text": "4,000 km",
                    "generated_token_count": 4,
                    "input_token_count": 12,
                    "stop_reason": "eos_token",
                }
            ],
        },
        of(12, 4),
        "google/flan-ul2",
    ),
    "watsonx embeddings": Answer(
        WATSONX,
        {
            "model_id": "ibm/slate-125m-english-rtrvr",
            "results": [{"embedding": [-0.006929283]}],
            "created_at": "2024-02-21T17:32:28Z",
            "input_token_count": 10,
        },
        of(10),
        "ibm/slate-125m-english-rtrvr",
    ),
    "watsonx, error": Answer(
        WATSONX,
        {"errors": [{"code": "model_not_supported", "message": "No such model"}], "trace": "1"},
        None,
        error="model_not_supported: No such model",
    ),
    # https://replicate.com/docs/topics/predictions
    "replicate": Answer(
        REPLICATE,
        {
            "id": "gm3qorzdhgbfurvjtvhg6dckhu",
            "model": "meta/meta-llama-3-8b-instruct",
            "version": "hidden",
            "input": {"prompt": "Hi"},
            "output": ["Hello"],
            "error": None,
            "status": "succeeded",
            "metrics": {"input_token_count": 12, "output_token_count": 4, "predict_time": 0.5},
            "urls": {"get": "https://api.replicate.com/v1/predictions/gm3"},
        },
        of(12, 4),
        "meta/meta-llama-3-8b-instruct",
        "gm3qorzdhgbfurvjtvhg6dckhu",
        facts={"predict_seconds": 0.5},
    ),
    "replicate, failed": Answer(
        REPLICATE,
        {
            "id": "r1",
            "version": "v",
            "error": None,
            "status": "failed",
            "urls": {"get": "https://api.replicate.com/v1/predictions/r1"},
        },
        None,
        response_id="r1",
        error="failed",
    ),
}

STARTED = {
    "type": "message_start",
    "message": {**CLAUDE, "usage": {"input_tokens": 10, "output_tokens": 1}},
}
STREAMS = {
    # https://docs.mistral.ai/api/endpoint/beta/conversations
    "mistral conversation": Stream(
        CONVERSATIONS,
        [
            {"type": "conversation.response.started", "conversation_id": "conv_0199"},
            {
                "type": "message.output.delta",
                "id": "msg_0199",
                "model": "mistral-medium-2505",
                "content": "Fo",
            },
            {"type": "message.output.delta", "id": "msg_0199", "content": "ur."},
            {
                "type": "conversation.response.done",
                "usage": {"prompt_tokens": 18, "completion_tokens": 5, "total_tokens": 23},
            },
        ],
        of(18, 5),
        "mistral-medium-2505",
        "msg_0199",
    ),
    "mistral conversation that fails": Stream(
        CONVERSATIONS,
        [
            {"type": "conversation.response.started", "conversation_id": "conv_0199"},
            {"type": "conversation.response.error", "message": "overloaded", "code": 3505},
        ],
        None,
        error="overloaded",
        complete=False,
    ),
    # https://developers.cloudflare.com/workers-ai/models/
    "cloudflare text": Stream(
        CLOUDFLARE,
        [
            {"response": "Hel", "p": "abdef"},
            {"response": "", "usage": {"prompt_tokens": 12, "completion_tokens": 9}},
        ],
        of(12, 9),
    ),
    # https://huggingface.co/docs/text-generation-inference/reference/api_reference
    "hugging face text": Stream(
        HUGGING_FACE,
        [
            {"index": 1, "token": {"id": 1, "text": "Pa"}, "generated_text": None, "details": None},
            {
                "index": 2,
                "token": {"id": 2, "text": "ris"},
                "generated_text": "Paris",
                "details": {"finish_reason": "length", "generated_tokens": 2, "input_length": 7},
            },
        ],
        of(7, 2),
    ),
    # https://docs.aws.amazon.com/bedrock/latest/userguide/trace-events.html
    "bedrock agent with a trace": Stream(
        AGENT,
        [
            step(modelInvocationInput={"traceId": "t", "foundationModel": "amazon.nova-pro-v1:0"}),
            invoked(500, 20),
            step(rationale={"text": "I know."}),
            invoked(600, 30),
            chunk({}),
        ],
        of(1100, 50),
        "amazon.nova-pro-v1:0",
    ),
    "bedrock agent with two models": Stream(
        AGENT,
        [
            step(modelInvocationInput={"foundationModel": "amazon.nova-lite-v1:0"}),
            invoked(500, 20),
            step(modelInvocationInput={"foundationModel": "amazon.nova-pro-v1:0"}),
            invoked(600, 30),
        ],
        of(
            1100,
            50,
            details={
                "iterations": [
                    {"input_tokens": 500, "output_tokens": 20, "model": "amazon.nova-lite-v1:0"},
                    {"input_tokens": 600, "output_tokens": 30, "model": "amazon.nova-pro-v1:0"},
                ]
            },
        ),
        "amazon.nova-pro-v1:0",
    ),
    "bedrock agent without a trace": Stream(AGENT, [chunk({})], None, complete=False),
    "azure, filter failed in the stream": Stream(
        CHAT,
        [
            {"choices": [{"delta": {"content": "Hi"}}], "model": "gpt-4o"},
            {
                "choices": [
                    {
                        "content_filter_result": {
                            "error": {"code": "content_filter_error", "message": "not filtered"}
                        }
                    }
                ]
            },
        ],
        None,
        "gpt-4o",
        error="content_filter_error: not filtered",
        complete=False,
    ),
    # https://learn.microsoft.com/azure/ai-services/openai/concepts/content-streaming
    "azure, model after the filter, no usage": Stream(
        CHAT,
        [
            {"id": "", "model": "", "choices": [], "prompt_filter_results": [{}]},
            {"id": "c1", "model": "gpt-4o-2024-11-20", "choices": [{"delta": {"content": "Hi"}}]},
            {"id": "c1", "model": "gpt-4o-2024-11-20", "choices": [{"delta": {}}]},
        ],
        None,
        "gpt-4o-2024-11-20",
        "c1",
        complete=False,
    ),
    "openai chat with audio": Stream(
        CHAT,
        [
            {"id": "c1", "model": "gpt-audio", "choices": [{"delta": {}}], "usage": None},
            {
                "id": "c1",
                "model": "gpt-audio",
                "choices": [],
                "usage": {
                    "prompt_tokens": 110,
                    "completion_tokens": 60,
                    "prompt_tokens_details": {"text_tokens": 10, "audio_tokens": 100},
                    "completion_tokens_details": {"text_tokens": 10, "audio_tokens": 50},
                },
            },
        ],
        of(
            110,
            60,
            details={
                "input_text_tokens": 10,
                "input_audio_tokens": 100,
                "output_text_tokens": 10,
                "output_audio_tokens": 50,
            },
        ),
        "gpt-audio",
        "c1",
    ),
    "responses with a search": Stream(
        RESPONSES,
        [
            {"type": "response.created", "response": {"id": "r1", "object": "response"}},
            {"type": "response.output_item.done", "item": {"type": "web_search_call"}},
            {
                "type": "response.completed",
                "response": {
                    "id": "r1",
                    "object": "response",
                    "status": "completed",
                    "model": "gpt-5",
                    "output": [{"type": "web_search_call", "action": {"type": "search"}}],
                    "usage": {"input_tokens": 37, "output_tokens": 11},
                },
            },
        ],
        of(37, 11, details={"web_searches": 1}),
        "gpt-5",
        "r1",
    ),
    # https://platform.openai.com/docs/api-reference/images-streaming
    "image": Stream(
        IMAGES,
        [
            {"type": "image_generation.partial_image", **PICTURE, "partial_image_index": 0},
            {
                "type": "image_generation.completed",
                **PICTURE,
                "usage": {"total_tokens": 100, "input_tokens": 50, "output_tokens": 50},
            },
        ],
        of(50, 50, details={"output_image_tokens": 50}),
    ),
    "two edited images": Stream(
        IMAGES,
        [
            {
                "type": "image_edit.completed",
                "usage": {
                    "input_tokens": 5,
                    "output_tokens": output,
                    "input_tokens_details": {"text_tokens": 2, "image_tokens": 3},
                },
            }
            for output in (50, 60)
        ],
        of(
            10,
            110,
            details={
                "input_text_tokens": 4,
                "input_image_tokens": 6,
                "output_image_tokens": 110,
            },
        ),
    ),
    "image, error": Stream(
        IMAGES,
        [{"type": "error", "error": {"type": "image_error", "message": "rejected"}}],
        None,
        error="image_error: rejected",
        complete=False,
    ),
    # https://platform.openai.com/docs/api-reference/audio/transcript-text-done-event
    "transcription": Stream(
        AUDIO,
        [
            {"type": "transcript.text.delta", "delta": "I"},
            {
                "type": "transcript.text.done",
                "text": "I see skies of blue",
                "usage": {"type": "tokens", "input_tokens": 14, "output_tokens": 45},
            },
        ],
        of(14, 45),
    ),
    # https://platform.openai.com/docs/api-reference/audio/speech-audio-done-event
    "speech": Stream(
        AUDIO,
        [
            {"type": "speech.audio.delta", "audio": "base64"},
            {
                "type": "speech.audio.done",
                "usage": {"input_tokens": 14, "output_tokens": 101, "total_tokens": 115},
            },
        ],
        of(14, 101),
    ),
    # https://docs.anthropic.com/en/api/streaming-text-completions
    "anthropic, old completion": Stream(
        COMPLETE,
        [
            {"type": "completion", "completion": " Hello", "model": "claude-2.0", "id": "c1"},
            {"type": "ping"},
            {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
        ],
        None,
        "claude-2.0",
        "c1",
        "overloaded_error: Overloaded",
        complete=False,
    ),
    "anthropic on vertex": Stream(
        RAW_PREDICT,
        [
            {"type": "vertex_event"},
            STARTED,
            {"type": "ping"},
            {
                "type": "message_delta",
                "delta": {"stop_reason": "end_turn"},
                "usage": {"output_tokens": 15},
            },
        ],
        of(10, 15),
        "claude-sonnet-4-5-20250929",
        "msg_bdrk_01",
    ),
    "mistral on vertex": Stream(
        RAW_PREDICT,
        [
            {"id": "m1", "model": "mistral-small", "choices": [{"delta": {"content": "Hi"}}]},
            {
                "id": "m1",
                "model": "mistral-small",
                "choices": [{"delta": {}, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 16, "completion_tokens": 4},
            },
        ],
        of(16, 4),
        "mistral-small",
        "m1",
    ),
    # https://ai.google.dev/gemini-api/docs/interactions
    "interaction": Stream(
        INTERACTIONS,
        [
            {
                "event_type": "interaction.created",
                "interaction": {"id": "v1_1", "status": "in_progress", "model": "gemini-3-flash"},
            },
            {"event_type": "step.delta", "index": 0, "delta": {"type": "text", "text": "Hi"}},
            {
                "event_type": "interaction.completed",
                "interaction": {
                    "id": "v1_1",
                    "status": "completed",
                    "usage": {
                        "total_input_tokens": 11,
                        "total_output_tokens": 364,
                        "total_thought_tokens": 1120,
                    },
                },
            },
        ],
        of(11, 1484, reasoning_tokens=1120),
        "gemini-3-flash",
        "v1_1",
    ),
    "interaction, error": Stream(
        INTERACTIONS,
        [{"event_type": "error", "error": {"code": "overloaded", "message": "Try later"}}],
        None,
        error="overloaded: Try later",
        complete=False,
    ),
    # https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html
    "converse": Stream(
        CONVERSE,
        [
            {"messageStart": {"role": "assistant", "p": "abcd"}},
            {"contentBlockDelta": {"delta": {"text": "Hi"}, "contentBlockIndex": 0}},
            {"messageStop": {"stopReason": "end_turn"}},
            {
                "metadata": {
                    "usage": {"inputTokens": 47, "outputTokens": 20, "totalTokens": 67},
                    "metrics": {"latencyMs": 100},
                    "serviceTier": {"type": "flex"},
                }
            },
        ],
        of(47, 20),
    ),
    "converse, exception": Stream(
        CONVERSE,
        [
            {"messageStart": {"role": "assistant"}},
            {"error": {"type": "throttlingException", "message": "Too many tokens"}},
        ],
        None,
        error="throttlingException: Too many tokens",
        complete=False,
    ),
    # https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters.html
    "invoke claude": Stream(
        INVOKE,
        [
            chunk(STARTED),
            chunk({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "Hi"}}),
            chunk(
                {
                    "type": "message_delta",
                    "delta": {"stop_reason": "end_turn"},
                    "usage": {"output_tokens": 25},
                }
            ),
            chunk({"type": "message_stop", **METRICS}),
        ],
        of(10, 25),
        "claude-sonnet-4-5-20250929",
        "msg_bdrk_01",
    ),
    "invoke claude, left in the middle": Stream(
        INVOKE,
        [chunk(STARTED)],
        of(10, 1),
        "claude-sonnet-4-5-20250929",
        "msg_bdrk_01",
        complete=False,
    ),
    "invoke nova": Stream(
        INVOKE,
        [
            chunk({"messageStart": {"role": "assistant"}}),
            chunk({"metadata": {"usage": {"inputTokens": 9, "outputTokens": 8}}, **METRICS}),
        ],
        of(9, 8),
    ),
    "invoke llama": Stream(
        INVOKE,
        [
            chunk(
                {
                    "generation": "Hi",
                    "prompt_token_count": 13,
                    "generation_token_count": 1,
                    "stop_reason": None,
                }
            ),
            chunk(
                {
                    "generation": "",
                    "prompt_token_count": None,
                    "generation_token_count": 25,
                    "stop_reason": "stop",
                    **METRICS,
                }
            ),
        ],
        of(13, 25),
    ),
    "invoke mistral": Stream(
        INVOKE,
        [
            chunk({"outputs": [{"text": "Hi", "stop_reason": None}]}),
            chunk({"outputs": [{"text": "", "stop_reason": "stop"}], **METRICS}),
        ],
        of(13, 25),
    ),
    "invoke, exception": Stream(
        INVOKE,
        [{"error": {"type": "modelStreamErrorException", "message": "The model broke"}}],
        None,
        error="modelStreamErrorException: The model broke",
        complete=False,
    ),
    # https://docs.cohere.com/reference/chat-stream
    "cohere v2": Stream(
        COHERE,
        [
            {"id": "29f1", "type": "message-start", "delta": {"message": {"role": "assistant"}}},
            {"type": "content-delta", "delta": {"message": {"content": {"text": "Hi"}}}},
            {
                "type": "message-end",
                "delta": {
                    "finish_reason": "COMPLETE",
                    "usage": {
                        "billed_units": {"input_tokens": 3, "output_tokens": 9},
                        "tokens": {"input_tokens": 69, "output_tokens": 9},
                    },
                },
            },
        ],
        of(3, 9),
        response_id="29f1",
    ),
    "cohere v2, failed": Stream(
        COHERE,
        [
            {"id": "29f1", "type": "message-start", "delta": {}},
            {"type": "message-end", "delta": {"finish_reason": "ERROR", "error": "no luck"}},
        ],
        None,
        response_id="29f1",
        error="no luck",
        complete=False,
    ),
    # https://docs.cohere.com/v1/reference/chat-stream
    "cohere v1": Stream(
        COHERE,
        [
            {"is_finished": False, "event_type": "stream-start", "generation_id": "g1"},
            {"is_finished": False, "event_type": "text-generation", "text": "Hi"},
            {
                "is_finished": True,
                "event_type": "stream-end",
                "finish_reason": "COMPLETE",
                "response": {
                    "response_id": "r1",
                    "text": "Hi",
                    "meta": {"billed_units": {"input_tokens": 4, "output_tokens": 5}},
                },
            },
        ],
        of(4, 5),
        response_id="r1",
    ),
    "cohere v1, toxic": Stream(
        COHERE,
        [
            {"event_type": "stream-start", "generation_id": "g1"},
            {"event_type": "stream-end", "finish_reason": "ERROR_TOXIC", "response": {"text": ""}},
        ],
        None,
        response_id="g1",
        error="ERROR_TOXIC",
        complete=False,
    ),
    "writer": Stream(
        COHERE,
        [
            {"id": "w1", "model": "palmyra-x5", "choices": [{"delta": {"content": "Hi"}}]},
            {
                "id": "w1",
                "model": "palmyra-x5",
                "choices": [],
                "usage": {"prompt_tokens": 9, "completion_tokens": 8},
            },
        ],
        of(9, 8),
        "palmyra-x5",
        "w1",
    ),
    # https://docs.ollama.com/api/streaming
    "ollama": Stream(
        OLLAMA,
        [
            {
                "model": "llama3.2",
                "created_at": "2023-08-04T08:52:19.385406455-07:00",
                "message": {"role": "assistant", "content": "Hi"},
                "done": False,
            },
            {
                "model": "llama3.2",
                "created_at": "2023-08-04T19:22:45.499127Z",
                "message": {"role": "assistant", "content": ""},
                "done": True,
                "prompt_eval_count": 26,
                "eval_count": 282,
            },
        ],
        of(26, 282),
        "llama3.2",
    ),
    "ollama, error in the stream": Stream(
        OLLAMA,
        [
            {"model": "m", "created_at": "2023-08-04", "response": "Hi", "done": False},
            {"error": "an error was encountered while running the model"},
        ],
        None,
        "m",
        error="an error was encountered while running the model",
        complete=False,
    ),
    # https://cloud.ibm.com/apidocs/watsonx-ai#text-generation-stream
    "watsonx": Stream(
        WATSONX,
        [
            {
                "model_id": "google/flan-ul2",
                "results": [
                    {
                        "generated_text": "4,000",
                        "generated_token_count": 2,
                        "input_token_count": 12,
                        "stop_reason": "not_finished",
                    }
                ],
            },
            {
                "model_id": "google/flan-ul2",
                "results": [
                    {
                        "generated_text": " km",
                        "generated_token_count": 4,
                        "input_token_count": 0,
                        "stop_reason": "EOS_TOKEN",
                    }
                ],
            },
        ],
        of(12, 4),
        "google/flan-ul2",
    ),
    "watsonx, error in the stream": Stream(
        WATSONX,
        [
            {"model_id": "m", "results": [{"generated_text": "4", "stop_reason": "not_finished"}]},
            {"errors": [{"code": "downstream_request_failed", "message": "Downstream failed"}]},
        ],
        None,
        "m",
        error="downstream_request_failed: Downstream failed",
        complete=False,
    ),
}
