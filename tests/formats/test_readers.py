"""Every reader, with answers in the shapes that the providers document."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from itertools import product
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.formats import answers, later_answers
from tests.formats.answers import Answer, Stream, chunk, of
from tests.support.cases import check_each
from usage_tracking.formats import READERS
from usage_tracking.formats.batches.reader import ResultsReader
from usage_tracking.formats.gemini import TIER_HEADER
from usage_tracking.formats.langchain import MessageReader
from usage_tracking.formats.openai_realtime import RealtimeReader
from usage_tracking.formats.reader import Reader, error_text
from usage_tracking.usage import Usage

CHAT, RESPONSES, EMBEDDINGS = "openai.chat", "openai.responses", "openai.embeddings"
MESSAGES, GEMINI = "anthropic.messages", "gemini.generate_content"


ANSWERS = {
    # https://platform.openai.com/docs/api-reference/chat/object
    "openai chat": Answer(
        CHAT,
        {
            "id": "chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG",
            "object": "chat.completion",
            "created": 1741570283,
            "model": "gpt-4o-2024-08-06",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "A boardwalk."}}],
            "usage": {
                "prompt_tokens": 1117,
                "completion_tokens": 46,
                "total_tokens": 1163,
                "prompt_tokens_details": {"cached_tokens": 1024, "audio_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": 12, "audio_tokens": 0},
            },
            "service_tier": "default",
        },
        of(1117, 46, cached_tokens=1024, reasoning_tokens=12),
        "gpt-4o-2024-08-06",
        "chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG",
    ),
    "openai chat with cache writes": Answer(
        CHAT,
        {
            "choices": [],
            "usage": {
                "prompt_tokens": 90,
                "completion_tokens": 5,
                "prompt_tokens_details": {"cached_tokens": 10, "cache_write_tokens": 60},
            },
        },
        of(90, 5, cached_tokens=10, cache_write_tokens=60),
    ),
    "openai legacy completion": Answer(
        CHAT,
        {
            "id": "cmpl-uqkvlQyYK7bGYrRHQ0eXlWi7",
            "object": "text_completion",
            "model": "gpt-3.5-turbo-instruct",
            "choices": [{"text": "This is a test.", "index": 0, "finish_reason": "length"}],
            "usage": {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12},
        },
        of(5, 7),
        "gpt-3.5-turbo-instruct",
        "cmpl-uqkvlQyYK7bGYrRHQ0eXlWi7",
    ),
    "openai error": Answer(
        CHAT,
        {
            "error": {
                "message": "Rate limit reached",
                "type": "requests",
                "param": None,
                "code": "rate_limit_exceeded",
            }
        },
        None,
        error="requests: Rate limit reached",
    ),
    "error as text": Answer(CHAT, {"error": "model not found"}, None, error="model not found"),
    "error with a number as code": Answer(
        CHAT,
        {"error": {"code": 502, "message": "Provider returned error"}, "user_id": "user_1"},
        None,
        error="502: Provider returned error",
    ),
    "chat without usage": Answer(CHAT, {"choices": [], "usage": None, "model": "m"}, None, "m"),
    "chat with half a usage": Answer(CHAT, {"choices": [], "usage": {"prompt_tokens": 3}}, of(3)),
    # https://openrouter.ai/docs/use-cases/usage-accounting
    "openrouter": Answer(
        CHAT,
        {
            "id": "gen-1",
            "model": "anthropic/claude-sonnet-4.5",
            "provider": "Anthropic",
            "choices": [{"message": {"content": "Hi"}}],
            "usage": {
                "prompt_tokens": 194,
                "completion_tokens": 2,
                "total_tokens": 196,
                "cost": 0.00095,
                "cost_details": {"upstream_inference_cost": None},
                "prompt_tokens_details": {"cached_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": 0},
            },
        },
        of(194, 2, cached_tokens=0, reasoning_tokens=0, cost=Decimal("0.00095")),
        "anthropic/claude-sonnet-4.5",
        "gen-1",
    ),
    "openrouter, free of charge": Answer(
        CHAT,
        {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1, "cost": 0}},
        of(1, 1, cost=Decimal(0)),
    ),
    # https://api-docs.deepseek.com/guides/kv_cache
    "deepseek": Answer(
        CHAT,
        {
            "id": "930c60df-bf64-41c9-a88e-3ec75f81e00e",
            "model": "deepseek-chat",
            "choices": [{"message": {"content": "Hello!"}}],
            "usage": {
                "prompt_tokens": 1616,
                "completion_tokens": 10,
                "total_tokens": 1626,
                "prompt_cache_hit_tokens": 1536,
                "prompt_cache_miss_tokens": 80,
            },
        },
        of(1616, 10, cached_tokens=1536),
        "deepseek-chat",
        "930c60df-bf64-41c9-a88e-3ec75f81e00e",
    ),
    # https://docs.x.ai/docs/guides/reasoning: reasoning is outside the completion.
    "xai": Answer(
        CHAT,
        {
            "id": "x",
            "model": "grok-3-mini",
            "choices": [{"message": {"content": "303", "reasoning_content": "..."}}],
            "usage": {
                "prompt_tokens": 32,
                "completion_tokens": 9,
                "total_tokens": 135,
                "prompt_tokens_details": {"text_tokens": 32, "cached_tokens": 6},
                "completion_tokens_details": {"reasoning_tokens": 94},
            },
        },
        of(32, 103, cached_tokens=6, reasoning_tokens=94, details={"input_text_tokens": 32}),
        "grok-3-mini",
        "x",
    ),
    "groq": Answer(
        CHAT,
        {
            "id": "chatcmpl-f51b2cd2",
            "model": "llama-3.3-70b-versatile",
            "choices": [{"message": {"content": "Hi"}}],
            "usage": {
                "queue_time": 0.037,
                "prompt_tokens": 18,
                "prompt_time": 0.00068,
                "completion_tokens": 556,
                "completion_time": 0.46,
                "total_tokens": 574,
                "total_time": 0.46,
            },
            "x_groq": {"id": "req_01jbd6g2qdfw2adyrt2az8hz4w"},
        },
        of(18, 556),
        "llama-3.3-70b-versatile",
        "chatcmpl-f51b2cd2",
    ),
    # https://platform.moonshot.ai/docs: the cached tokens are at the top.
    "moonshot": Answer(
        CHAT,
        {
            "model": "kimi-k3",
            "choices": [],
            "usage": {"prompt_tokens": 2989, "completion_tokens": 9, "cached_tokens": 2900},
        },
        of(2989, 9, cached_tokens=2900),
        "kimi-k3",
    ),
    # https://platform.openai.com/docs/api-reference/responses/object
    "responses": Answer(
        RESPONSES,
        {
            "id": "resp_67ccd3a9da748190baa7f1570fe91ac604becb25c45c1d41",
            "object": "response",
            "status": "completed",
            "error": None,
            "model": "gpt-4o-2024-08-06",
            "output": [{"type": "message", "content": [{"type": "output_text", "text": "Hi"}]}],
            "service_tier": "flex",
            "usage": {
                "input_tokens": 328,
                "input_tokens_details": {"cached_tokens": 128, "cache_write_tokens": 64},
                "output_tokens": 52,
                "output_tokens_details": {"reasoning_tokens": 32},
                "total_tokens": 380,
            },
        },
        of(328, 52, cached_tokens=128, cache_write_tokens=64, reasoning_tokens=32),
        "gpt-4o-2024-08-06",
        "resp_67ccd3a9da748190baa7f1570fe91ac604becb25c45c1d41",
    ),
    "responses in the background": Answer(
        RESPONSES,
        {"id": "resp_1", "object": "response", "status": "queued", "model": "o3", "usage": None},
        None,
        "o3",
        "resp_1",
    ),
    "responses, failed": Answer(
        RESPONSES,
        {
            "id": "resp_1",
            "object": "response",
            "status": "failed",
            "error": {"code": "server_error", "message": "The model had trouble."},
        },
        None,
        "",
        "resp_1",
        "server_error: The model had trouble.",
    ),
    "responses, failed without a word": Answer(
        RESPONSES, {"object": "response", "status": "failed", "error": None}, None, error="failed"
    ),
    # https://platform.openai.com/docs/api-reference/embeddings/create
    "embeddings": Answer(
        EMBEDDINGS,
        {
            "object": "list",
            "data": [{"object": "embedding", "embedding": [0.0023, -0.0093], "index": 0}],
            "model": "text-embedding-3-small",
            "usage": {"prompt_tokens": 8, "total_tokens": 8},
        },
        of(8),
        "text-embedding-3-small",
    ),
    # https://docs.voyageai.com/reference/embeddings-api
    "voyage": Answer(
        EMBEDDINGS,
        {
            "object": "list",
            "data": [{"object": "embedding", "embedding": [0.0023], "index": 0}],
            "model": "voyage-3.5",
            "usage": {"total_tokens": 10},
        },
        of(10),
        "voyage-3.5",
    ),
    "embeddings error": Answer(
        EMBEDDINGS,
        {"error": {"message": "too long", "type": "invalid_request_error"}},
        None,
        error="invalid_request_error: too long",
    ),
    # https://docs.anthropic.com/en/api/messages: the input excludes cached tokens.
    "anthropic": Answer(
        MESSAGES,
        {
            "id": "msg_013Zva2CMHLNnXjNJJKqJ2EF",
            "type": "message",
            "role": "assistant",
            "model": "claude-sonnet-4-5-20250929",
            "content": [{"type": "text", "text": "Hi! My name is Claude."}],
            "stop_reason": "end_turn",
            "usage": {
                "input_tokens": 2095,
                "cache_creation_input_tokens": 248,
                "cache_read_input_tokens": 1800,
                "cache_creation": {"ephemeral_5m_input_tokens": 248},
                "output_tokens": 503,
                "output_tokens_details": {"thinking_tokens": 320},
                "service_tier": "standard",
            },
        },
        of(
            4143,
            503,
            cached_tokens=1800,
            cache_write_tokens=248,
            reasoning_tokens=320,
            details={"cache_write_5m_tokens": 248},
        ),
        "claude-sonnet-4-5-20250929",
        "msg_013Zva2CMHLNnXjNJJKqJ2EF",
    ),
    "anthropic without a cache": Answer(
        MESSAGES,
        {
            "type": "message",
            "role": "assistant",
            "usage": {
                "input_tokens": 5,
                "output_tokens": 6,
                "cache_read_input_tokens": None,
                "cache_creation_input_tokens": None,
            },
        },
        of(5, 6),
    ),
    "anthropic error": Answer(
        MESSAGES,
        {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
        None,
        error="overloaded_error: Overloaded",
    ),
    # https://ai.google.dev/api/generate-content#UsageMetadata
    "gemini": Answer(
        GEMINI,
        {
            "candidates": [{"content": {"parts": [{"text": "Hi"}]}, "finishReason": "STOP"}],
            "usageMetadata": {
                "promptTokenCount": 40,
                "candidatesTokenCount": 11,
                "totalTokenCount": 180,
                "cachedContentTokenCount": 32,
                "toolUsePromptTokenCount": 100,
                "thoughtsTokenCount": 29,
            },
            "modelVersion": "gemini-2.5-flash",
            "responseId": "mAitaLmkHPPlz7IPvtfUqQ4",
        },
        of(
            140,
            40,
            cached_tokens=32,
            reasoning_tokens=29,
            details={"input_tool_tokens": 100},
        ),
        "gemini-2.5-flash",
        "mAitaLmkHPPlz7IPvtfUqQ4",
    ),
    "gemini, prompt blocked": Answer(
        GEMINI,
        {
            "promptFeedback": {"blockReason": "PROHIBITED_CONTENT"},
            "usageMetadata": {"promptTokenCount": 121, "totalTokenCount": 121},
            "modelVersion": "gemini-2.5-flash",
        },
        of(121, 0),
        "gemini-2.5-flash",
    ),
    "gemini, nothing but thoughts": Answer(
        GEMINI,
        {
            "candidates": [{"finishReason": "MAX_TOKENS"}],
            "usageMetadata": {"promptTokenCount": 8, "thoughtsTokenCount": 95},
        },
        of(8, 95, reasoning_tokens=95),
    ),
    "gemini error": Answer(
        GEMINI,
        {"error": {"code": 400, "message": "API key not valid.", "status": "INVALID_ARGUMENT"}},
        None,
        error="INVALID_ARGUMENT: API key not valid.",
    ),
}

CHUNK = {"id": "chatcmpl-1", "model": "gpt-4o", "choices": [{"delta": {"content": "Hi"}}]}
START = {
    "type": "message_start",
    "message": {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5",
        "content": [],
        "usage": {"input_tokens": 2694, "cache_read_input_tokens": 0, "output_tokens": 1},
    },
}
CREATED = {
    "type": "response.created",
    "response": {"id": "resp_1", "object": "response", "model": "gpt-5", "error": None},
}

STREAMS = {
    # https://platform.openai.com/docs/api-reference/chat-streaming/streaming
    "openai with include_usage": Stream(
        CHAT,
        [
            {**CHUNK, "usage": None},
            {**CHUNK, "usage": None},
            {**CHUNK, "choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 12}},
        ],
        of(9, 12),
        "gpt-4o",
        "chatcmpl-1",
    ),
    "openai without include_usage": Stream(
        CHAT, [CHUNK, CHUNK], None, "gpt-4o", "chatcmpl-1", complete=False
    ),
    # https://console.groq.com/docs/api-reference
    "groq": Stream(
        CHAT,
        [
            {**CHUNK, "x_groq": {"id": "req_1"}},
            {
                **CHUNK,
                "choices": [{"delta": {}, "finish_reason": "stop"}],
                "x_groq": {
                    "id": "req_1",
                    "usage": {"prompt_tokens": 30, "completion_tokens": 70, "total_tokens": 100},
                },
            },
        ],
        of(30, 70),
        "gpt-4o",
        "chatcmpl-1",
    ),
    "groq, error in the stream": Stream(
        CHAT,
        [CHUNK, {**CHUNK, "x_groq": {"id": "req_1", "error": "over capacity"}}],
        None,
        "gpt-4o",
        "chatcmpl-1",
        "over capacity",
        complete=False,
    ),
    "azure, filter before the answer": Stream(
        CHAT,
        [
            {"id": "", "model": "", "choices": [], "prompt_filter_results": [{}]},
            CHUNK,
            {**CHUNK, "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}},
        ],
        of(1, 2),
        "gpt-4o",
        "chatcmpl-1",
    ),
    # https://platform.moonshot.ai/docs: the usage is in the last choice.
    "moonshot": Stream(
        CHAT,
        [
            CHUNK,
            {
                **CHUNK,
                "choices": [
                    {
                        "delta": {},
                        "finish_reason": "stop",
                        "usage": {"prompt_tokens": 19, "completion_tokens": 13},
                    }
                ],
            },
        ],
        of(19, 13),
        "gpt-4o",
        "chatcmpl-1",
    ),
    "openrouter, error in the stream": Stream(
        CHAT,
        [CHUNK, {**CHUNK, "error": {"code": "server_error", "message": "disconnected"}}],
        None,
        "gpt-4o",
        "chatcmpl-1",
        "server_error: disconnected",
        complete=False,
    ),
    "usage named in the text": Stream(
        CHAT,
        [
            CHUNK,
            {**CHUNK, "choices": [{"delta": {"content": '{"usage": {"prompt_tokens": 999}}'}}]},
        ],
        None,
        "gpt-4o",
        "chatcmpl-1",
        complete=False,
    ),
    "responses": Stream(
        RESPONSES,
        [
            CREATED,
            {"type": "response.output_text.delta", "delta": "Hi"},
            {
                "type": "response.completed",
                "response": {
                    **CREATED["response"],  # type: ignore[dict-item]
                    "status": "completed",
                    "usage": {"input_tokens": 37, "output_tokens": 11},
                },
            },
        ],
        of(37, 11),
        "gpt-5",
        "resp_1",
    ),
    "responses, incomplete": Stream(
        RESPONSES,
        [
            CREATED,
            {
                "type": "response.incomplete",
                "response": {
                    **CREATED["response"],  # type: ignore[dict-item]
                    "status": "incomplete",
                    "incomplete_details": {"reason": "max_output_tokens"},
                    "usage": {"input_tokens": 37, "output_tokens": 16},
                },
            },
        ],
        of(37, 16),
        "gpt-5",
        "resp_1",
    ),
    "responses, error event": Stream(
        RESPONSES,
        [CREATED, {"type": "error", "code": "ERR", "message": "Something went wrong"}],
        None,
        "gpt-5",
        "resp_1",
        "Something went wrong",
        complete=False,
    ),
    "responses, error event without a word": Stream(
        RESPONSES, [CREATED, {"type": "error"}], None, "gpt-5", "resp_1", "error", complete=False
    ),
    "responses, bare error": Stream(
        RESPONSES,
        [{"error": {"type": "server_error", "message": "overloaded"}}],
        None,
        error="server_error: overloaded",
        complete=False,
    ),
    # https://docs.anthropic.com/en/docs/build-with-claude/streaming: with web search the input
    # grows, and the counts of `message_delta` are cumulative.
    "anthropic, growing input": Stream(
        MESSAGES,
        [
            START,
            {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "Hi"}},
            {
                "type": "message_delta",
                "delta": {"stop_reason": "end_turn"},
                "usage": {
                    "input_tokens": 10682,
                    "cache_creation_input_tokens": 0,
                    "cache_read_input_tokens": 0,
                    "output_tokens": 510,
                    "server_tool_use": {"web_search_requests": 1},
                },
            },
            {"type": "message_stop"},
        ],
        of(
            10682,
            510,
            cached_tokens=0,
            cache_write_tokens=0,
            details={"web_searches": 1},
        ),
        "claude-sonnet-4-5",
        "msg_1",
    ),
    "anthropic, only the output at the end": Stream(
        MESSAGES,
        [
            START,
            {
                "type": "message_delta",
                "delta": {"stop_reason": "end_turn"},
                "usage": {"output_tokens": 15},
            },
        ],
        of(2694, 15, cached_tokens=0),
        "claude-sonnet-4-5",
        "msg_1",
    ),
    "anthropic, left after the start": Stream(
        MESSAGES,
        [START],
        of(2694, 1, cached_tokens=0),
        "claude-sonnet-4-5",
        "msg_1",
        complete=False,
    ),
    "anthropic, error in the stream": Stream(
        MESSAGES,
        [START, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}],
        of(2694, 1, cached_tokens=0),
        "claude-sonnet-4-5",
        "msg_1",
        "overloaded_error: Overloaded",
        complete=False,
    ),
    "gemini, running totals": Stream(
        GEMINI,
        [
            {
                "candidates": [{"content": {}}],
                "usageMetadata": {"promptTokenCount": 7, "thoughtsTokenCount": 20},
                "modelVersion": "gemini-2.5-flash",
                "responseId": "r1",
            },
            {
                "candidates": [{"content": {}}],
                "usageMetadata": {
                    "promptTokenCount": 7,
                    "candidatesTokenCount": 5,
                    "thoughtsTokenCount": 20,
                },
                "modelVersion": "gemini-2.5-flash",
            },
            {
                "candidates": [{"finishReason": "STOP"}],
                "usageMetadata": {
                    "promptTokenCount": 7,
                    "candidatesTokenCount": 12,
                    "thoughtsTokenCount": 20,
                },
                "modelVersion": "gemini-2.5-flash",
            },
        ],
        of(7, 32, reasoning_tokens=20),
        "gemini-2.5-flash",
        "r1",
    ),
    "gemini, left in the middle": Stream(
        GEMINI,
        [
            {
                "candidates": [{"content": {}}],
                "usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 5},
            }
        ],
        of(7, 5),
        complete=False,
    ),
    "gemini, error in the stream": Stream(
        GEMINI,
        [
            {"candidates": [{"content": {}}]},
            {"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}},
        ],
        None,
        error="UNAVAILABLE: overloaded",
        complete=False,
    ),
}


STREAMS |= {
    "anthropic, a delta without an end": Stream(
        MESSAGES,
        [START, {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 9}}],
        of(2694, 9, cached_tokens=0),
        "claude-sonnet-4-5",
        "msg_1",
        complete=False,
    ),
    "gemini, usage that says nothing": Stream(
        GEMINI,
        [{"candidates": [{"finishReason": "STOP"}], "usageMetadata": {}}],
        None,
        complete=False,
    ),
}


ANSWERS |= answers.ANSWERS | later_answers.ANSWERS
STREAMS |= answers.STREAMS | later_answers.STREAMS


def read(answer: Answer) -> Reader:
    reader = READERS[answer.format]()
    reader.body(answer.body)
    return reader


@pytest.mark.parametrize("name", ANSWERS)
def test_answer_is_read_as_documented(name: str) -> None:
    answer = ANSWERS[name]
    reader = read(answer)

    assert reader.usage == answer.usage
    assert (reader.model, reader.response_id) == (answer.model, answer.response_id)
    assert (reader.error, reader.facts) == (answer.error, answer.facts)
    if answer.usage and not answer.error:
        assert reader.recognised


@pytest.mark.parametrize("name", STREAMS)
def test_stream_is_read_as_documented_whatever_the_spaces_of_its_json(name: str) -> None:
    stream = STREAMS[name]
    for separators in ((", ", ": "), (",", ":"), (" ,", " : ")):
        reader = READERS[stream.format]()
        for event in stream.events:
            reader.feed(json.dumps(event, separators=separators).encode())
        recognised = reader.recognised
        reader.end()

        assert reader.usage == stream.usage, separators
        assert (reader.model, reader.response_id) == (stream.model, stream.response_id), separators
        assert reader.error == stream.error, separators
        assert (reader.complete, reader.facts) == (stream.complete, stream.facts), separators
        assert recognised or not stream.usage, separators


def test_service_tier_is_read() -> None:
    for wire_format in (CHAT, RESPONSES):
        reader = READERS[wire_format]()
        reader.body({"service_tier": "flex"})
        assert reader.service_tier == "flex"
    reader = READERS[MESSAGES]()
    reader.body({"usage": {"service_tier": "priority"}})
    assert reader.service_tier == "priority"


def test_event_that_is_not_json_is_a_value_error_in_every_reader() -> None:
    accepted = []
    for wire_format, event in product(READERS, [b"", b"{", b"<html>", b"\xff\xfe", b'{"a": NaN']):
        if issubclass(READERS[wire_format], ResultsReader):
            continue  # the result of one request of a batch
        with contextlib.suppress(ValueError):
            READERS[wire_format]().feed(event)
            accepted.append((wire_format, event))

    assert accepted == []


def test_event_that_is_not_an_object_is_ignored_by_every_reader() -> None:
    wrong = []
    for wire_format, event in product(READERS, [b"[1, 2]", b'"text"', b"3", b"null", b"true"]):
        reader = READERS[wire_format]()
        reader.feed(event)
        if (reader.usage, reader.recognised) != (None, False):
            wrong.append((wire_format, event))

    assert wrong == []


COUNTS = [
    (0, 0),
    (7, 7),
    (7.0, 7),
    (10**9, 10**9),
    (10**30, None),
    (7.5, None),
    (-1, None),
    (-1.0, None),
    (float("inf"), None),
    (float("nan"), None),
    (True, None),
    ("7", None),
    (None, None),
    ([7], None),
    ({}, None),
]


def test_count_is_a_whole_number_or_nothing() -> None:
    wrong = []
    for told, read_as in COUNTS:
        reader = READERS[CHAT]()
        reader.body({"usage": {"prompt_tokens": 1, "completion_tokens": told}})
        usage = reader.usage or of()
        is_named = "output_tokens" in usage.faults
        if replace(usage, faults={}) != of(1, read_as) or is_named != (read_as is None is not told):
            wrong.append((told, read_as, usage))

    assert wrong == []


COSTS = [
    (0.1, Decimal("0.1")),
    (3, Decimal(3)),
    (1e-12, Decimal("1E-12")),
    (-0.1, None),
    (float("inf"), None),
    (float("nan"), None),
    (True, None),
    ("0.1", Decimal("0.1")),
    ("free", None),
    ({"total_cost": 1}, Decimal(1)),
    ({"amount": 1}, None),
    ([1], None),
]


def test_cost_is_an_amount_or_nothing() -> None:
    wrong = []
    for wire_format, (told, read_as) in product((CHAT, EMBEDDINGS), COSTS):
        reader = READERS[wire_format]()
        reader.body({"usage": {"prompt_tokens": 1, "cost": told}})
        usage = reader.usage or of()
        is_named = "cost" in usage.faults
        if replace(usage, faults={}) != of(1, cost=read_as) or is_named != (read_as is None):
            wrong.append((wire_format, told, read_as, usage))

    assert wrong == []


#: Nothing of this can be a count of any unit.
GARBAGE: list[Any] = [
    *("many", True, -1, -0.5, float("nan"), float("inf"), 10**10),
    *([], {}, [7], {"total": 7}, ""),
]


def _with_garbage(value: Any) -> Iterator[Any]:
    """Yield copies of `value`, each with garbage in the place of one of its numbers."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        yield from GARBAGE
    elif isinstance(value, (dict, list)):
        for place in value if isinstance(value, dict) else range(len(value)):
            for other in _with_garbage(value[place]):
                copy: Any = value.copy()
                copy[place] = other
                yield copy


def _counted(usage: Usage | None) -> dict[str, Any]:
    """Return what counts of a usage, as an event has it."""
    cleaned = (usage or Usage()).cleaned()
    fields = {
        "prompt_tokens": cleaned.prompt_tokens,
        "completion_tokens": cleaned.completion_tokens,
    }
    return {name: count for name, count in (fields | cleaned.units).items() if count}


@pytest.mark.parametrize("name", ANSWERS)
def test_garbage_in_place_of_a_count_is_never_counted(name: str) -> None:
    answer = ANSWERS[name]
    right = _counted(answer.usage)
    wrong = []
    for body in _with_garbage(answer.body):
        for kind in (READERS[answer.format], MessageReader, RealtimeReader):
            reader = kind()
            reader.body(body)
            found = _counted(reader.usage)
            if any(count > right.get(unit, 0) for unit, count in found.items()):
                wrong.append((body, found))

    assert wrong == []


@pytest.mark.parametrize("name", STREAMS)
def test_garbage_in_place_of_a_count_in_a_stream_is_never_counted(name: str) -> None:
    stream = STREAMS[name]
    right = _counted(stream.usage)
    wrong = []
    for events in _with_garbage(stream.events):
        reader = READERS[stream.format]()
        for event in events:
            reader.feed(json.dumps(event).encode())
        reader.end()
        found = _counted(reader.usage)
        if any(count > right.get(unit, 0) for unit, count in found.items()):
            wrong.append((events, found))

    assert wrong == []


@pytest.mark.parametrize(
    ("wire_format", "body", "facts"),
    [
        # https://docs.perplexity.ai/getting-started/pricing
        (
            CHAT,
            {"usage": {"prompt_tokens": 1, "search_context_size": "low"}},
            {"search_context_size": "low"},
        ),
        # https://docs.x.ai/docs/guides/live-search
        (CHAT, {"usage": {"prompt_tokens": 1, "num_sources_used": 3}}, {"search_type": "live"}),
        (CHAT, {"usage": {"prompt_tokens": 1, "num_sources_used": 0}}, {}),
        # https://docs.mistral.ai/agents/connectors/connectors
        (CHAT, {"usage": {"prompt_tokens": 1, "connector_tokens": 70}}, {"tool": "connector"}),
        (CHAT, {"usage": {"prompt_tokens": 1}, "service_tier": "auto"}, {}),
        # https://developers.openai.com/api/docs/pricing
        (
            RESPONSES,
            {
                "output": [{"type": "web_search_call", "action": {"type": "search"}}],
                "tools": [{"type": "web_search_preview_2025_03_11"}],
                "usage": {"input_tokens": 1},
            },
            {"search_type": "preview"},
        ),
        (
            RESPONSES,
            {"tools": [{"type": "web_search_preview"}], "usage": {"input_tokens": 1}},
            {},
        ),
        (
            RESPONSES,
            {"output": [{"type": "image_generation_call"}], "usage": {"input_tokens": 1}},
            {"tool": "image_generation"},
        ),
        (
            RESPONSES,
            {
                "usage": {
                    "input_tokens": 9,
                    "input_tokens_details": {
                        "cache_write_tokens": 9,
                        "cache_write_tokens_details": {"ttl_30m_tokens": 0, "ttl_12h_tokens": 9},
                    },
                }
            },
            {"cache_ttl": "12h"},
        ),
        # https://cohere.com/pricing: embed-v3 bills by the image.
        (
            "cohere.embed",
            {"embeddings": [], "meta": {"billed_units": {"input_tokens": 5, "images": 2}}},
            {"input": "images"},
        ),
    ],
)
def test_facts_that_the_price_depends_on_are_read(
    wire_format: str, body: dict[str, Any], facts: dict[str, str]
) -> None:
    reader = READERS[wire_format]()
    reader.body(body)

    assert reader.price_context == facts


def test_stream_is_not_parsed_for_ever_if_it_never_names_the_model() -> None:
    nameless = json.dumps({**CHUNK, "model": ""}).encode()
    named = json.dumps(CHUNK).encode()
    early, late = READERS[CHAT](), READERS[CHAT]()
    for event in [nameless, named]:
        early.feed(event)
    for event in [nameless] * 100:
        late.feed(event)

    assert early.model == "gpt-4o"
    assert not early.wants(named)
    assert not late.wants(named)


def test_header_that_is_not_a_cost_is_noticed() -> None:
    wrong = []
    for told, is_invalid in [("0.1", False), ("", False), ("nan", True), ("-1", True)]:
        reader = READERS[CHAT]()
        reader.head({"x-litellm-response-cost": told})
        if reader.header_cost_is_invalid != is_invalid:
            wrong.append((told, reader.header_cost))

    assert wrong == []


def _keys(value: object) -> set[str]:
    if isinstance(value, dict):
        return set(value) | {key for item in value.values() for key in _keys(item)}
    if isinstance(value, list):
        return {key for item in value for key in _keys(item)}
    return set()


#: The keys that readers use, so that hostile answers reach every branch.
KEYS = sorted(
    _keys([answer.body for answer in ANSWERS.values()])
    | _keys([stream.events for stream in STREAMS.values()])
)
KINDS = [
    *("message_start", "message_delta", "message", "response", "error", "failed", "STOP"),
    *("image_edit.completed", "transcript.text.done", "completion", "interaction"),
    *("message-start", "message-end", "stream-end", "ERROR", "ai", "realtime.response"),
    *("conversation.response", "conversation.response.done", "message.output"),
]
hostile = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(KINDS),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), inner, max_size=6)
    ),
    max_leaves=25,
)


#: How fast examples are made depends on the machine, not on the readers.
thorough = hypothesis_settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
ALL = {**READERS, "openai.realtime": RealtimeReader, "langchain": MessageReader}


@pytest.mark.slow
@thorough
@given(
    wire_format=st.sampled_from(sorted(ALL)),
    values=st.lists(hostile | hostile.map(chunk), max_size=4),
)
def test_hostile_events_raise_nothing_but_value_errors(wire_format: str, values: list[Any]) -> None:
    reader = ALL[wire_format]()
    for value in values:
        try:
            reader.feed(json.dumps(value).encode())
        except ValueError:
            continue
    reader.end()

    _assert_sane(reader)


@pytest.mark.costly
@thorough
@given(
    wire_format=st.sampled_from(sorted(ALL)),
    body=st.dictionaries(st.sampled_from(KEYS), hostile, max_size=8),
)
def test_hostile_body_raises_nothing(wire_format: str, body: dict[str, Any]) -> None:
    reader = ALL[wire_format]()
    reader.body(body)

    _assert_sane(reader)


@pytest.mark.parametrize("place", ["cost", "upstream_inference_cost"])
def test_cost_too_large_to_be_added_is_none(place: str) -> None:
    details: dict[str, Any] = {"upstream_inference_cost": 0.5}
    usage: dict[str, Any] = {"prompt_tokens": 5, "completion_tokens": 2, "cost": 0.25}
    (details if place in details else usage)[place] = "1e999999999"
    reader = READERS["openai.chat"]()
    usage |= {"is_byok": True, "cost_details": details}
    reader.body({"choices": [], "usage": usage})

    assert reader.usage is not None
    assert (reader.usage.prompt_tokens, reader.usage.cost) == (5, None)
    assert reader.usage.faults == {"cost": "not an amount of USD"}


@pytest.mark.slow
@thorough
@given(data=st.data())
def test_anything_in_place_of_any_value_raises_nothing(data: st.DataObject) -> None:
    answer = data.draw(st.sampled_from(list(ANSWERS.values())))
    body = _replaced(answer.body, data)
    for kind in (READERS[answer.format], MessageReader, RealtimeReader):
        reader = kind()
        reader.body(body)
        _assert_sane(reader)


@pytest.mark.costly
@thorough
@given(data=st.data())
def test_anything_in_place_of_any_value_of_a_stream_raises_nothing(data: st.DataObject) -> None:
    stream = data.draw(st.sampled_from(list(STREAMS.values())))
    reader = READERS[stream.format]()
    for event in stream.events:
        with contextlib.suppress(ValueError):
            reader.feed(json.dumps(_replaced(event, data)).encode())
    reader.end()

    _assert_sane(reader)


def _replaced(value: Any, data: st.DataObject) -> Any:
    """Return a copy of `value` with one member replaced."""
    if not isinstance(value, (dict, list)) or not value:
        return data.draw(hostile)
    copy: Any = value.copy()
    place = data.draw(
        st.sampled_from(list(value) if isinstance(value, dict) else [*range(len(value))])
    )
    deeper = data.draw(st.booleans())
    copy[place] = _replaced(value[place], data) if deeper else data.draw(hostile)
    return copy


def _assert_sane(reader: Reader) -> None:
    usage = reader.usage
    assert usage is None or usage.known or usage.cost is not None or usage.faults
    json.dumps(reader.facts)
    for text in (reader.model, reader.response_id, reader.error, reader.service_tier):
        assert isinstance(text, str)


class TestHead:
    """Bedrock reports the tokens of some models only in the headers."""

    HEADERS = {
        "x-amzn-bedrock-input-token-count": "9",
        "x-amzn-bedrock-output-token-count": "17",
    }

    @pytest.mark.parametrize(
        ("body", "usage"),
        [
            ({"outputs": [{"text": "Hi", "stop_reason": "stop"}]}, of(9, 17)),  # Mistral
            ({"id": "1", "generations": [{"text": "Hi"}], "prompt": "Hello"}, of(9, 17)),  # Command
            ({"generation": "Hi", "stop_reason": "stop"}, of(9, 17)),  # Llama 2
            ({"completions": [{"data": {"text": "Hi"}}], "prompt": {}}, of(9, 17)),  # Jurassic
            ({"embeddings": [[0.1]], "texts": ["Hi"]}, of(9, 17)),  # Cohere's embed
            ({}, of(9, 17)),
            (ANSWERS["invoke titan"].body, of(8, 30)),  # says it itself
            (ANSWERS["invoke claude"].body, of(14, 7, cached_tokens=4)),
        ],
    )
    def test_headers_count_what_the_model_does_not(self, body: Any, usage: Any) -> None:
        reader = READERS["bedrock.invoke"]()
        reader.head(self.HEADERS)
        reader.body(body)

        assert (reader.usage, reader.complete) == (usage, True)

    def test_cache_is_part_of_the_prompt(self) -> None:
        reader = READERS["bedrock.invoke"]()
        reader.head({**self.HEADERS, "x-amzn-bedrock-cache-read-input-token-count": "100"})
        reader.body({})

        assert reader.usage == of(109, 17, cached_tokens=100)

    def test_header_that_is_not_a_count_is_ignored(self) -> None:
        wrong = []
        for told in ["", "-1", "1.5", "many", "\u00b2", "9" * 5000]:
            reader = READERS["bedrock.invoke"]()
            reader.head({"x-amzn-bedrock-input-token-count": told})
            reader.body({})
            if reader.usage is not None:
                wrong.append((told, reader.usage))

        assert wrong == []

    def test_every_reader_takes_headers(self) -> None:
        wrong = []
        for wire_format, kind in READERS.items():
            reader = kind()
            reader.head({"content-type": "application/json", **self.HEADERS})
            if (reader.usage, reader.facts) != (None, {}):
                wrong.append((wire_format, reader.usage, reader.facts))

        assert wrong == []


def test_picture_before_the_last_event_is_not_parsed() -> None:
    reader = READERS["openai.images"]()
    with mock.patch("usage_tracking.formats.reader.json.loads") as loads:
        reader.feed(b'{"type":"image_generation.partial_image","b64_json":"' + b"A" * 10**6 + b'"}')

    assert (reader.recognised, loads.called) == (True, False)


ERRORS: list[tuple[Any, str]] = [
    ({"error": {"type": "t", "message": "m"}}, "t: m"),
    ({"error": {"code": True, "message": "m"}}, "True: m"),
    ({"error": {"code": ["x"], "message": "m"}}, "m"),
    ({"error": "m"}, "m"),
    ([{"error": {"status": "S", "message": "m"}}], "S: m"),
    ({"errors": [{"code": "c", "message": "m"}], "trace": "t"}, "c: m"),
    ({"message": "m"}, "m"),  # AWS, Cohere
    ({"detail": "m"}, "m"),  # Voyage, Jina
    ({"detail": [{"msg": "m", "input": "what was asked"}]}, ""),
    ({"message": {"role": "assistant"}}, ""),
    ({"error": None}, ""),
    ({"errors": []}, ""),
    ([], ""),
    ("text", ""),
    (None, ""),
]


def test_words_of_an_error_are_found() -> None:
    wrong = [(body, error, found) for body, error in ERRORS if (found := error_text(body)) != error]

    assert wrong == []


STRANGERS: list[dict[str, Any]] = [
    {},
    {"message": "Hi", "user": 7},
    {"text": "Hi", "id": 1},
    {"response": "Hi", "model": "T-800"},
    {"results": [{"id": 1, "name": "a"}], "count": 1},
    {"results": []},
    {"data": []},
    {"data": [{"id": 1}], "usage": {"total_tokens": 4}},
    {"done": True, "message": {"text": "Hi"}},
    {"embedding": "no"},
    {"meta": {"page": 1}, "data": [{"id": 1}]},
    {"usage": {"disk": 7}},
    {"status": "ok", "urls": {"self": "/"}},
    {"predictions": [[0.1, 0.9]]},
    {"predictions": [{"label": "cat"}]},
    {"type": "completion"},
    {"id": 1, "token": "x", "type": 1},
    {"output": {"message": "Hi"}},
    {"images": [{"url": "/a.png"}]},
]


@pytest.mark.parametrize("wire_format", READERS)
def test_answer_of_a_site_s_own_service_is_not_recognised(wire_format: str) -> None:
    """Paths such as /v1/chat and /api/generate are not for AI providers alone."""
    wrong = []
    for body in STRANGERS:
        reader = READERS[wire_format]()
        reader.body(body)
        if (reader.recognised, reader.facts) != (False, {}):
            wrong.append((body, reader.recognised, reader.facts))

    assert wrong == []


def answered(wire_format: str, body: dict[str, Any], **headers: str) -> Reader:
    """Read a whole answer with these headers, whose names have _ for -."""
    reader = READERS[wire_format]()
    reader.head({name.replace("_", "-"): value for name, value in headers.items()})
    reader.body(body)
    return reader


def streamed(wire_format: str, *events: dict[str, Any], **headers: str) -> Reader:
    """Read a stream of these events with these headers, whose names have _ for -."""
    reader = READERS[wire_format]()
    reader.head({name.replace("_", "-"): value for name, value in headers.items()})
    for event in events:
        reader.feed(json.dumps(event).encode())
    reader.end()
    return reader


def units_of(reader: Reader) -> dict[str, Any]:
    assert reader.usage is not None
    assert reader.complete
    assert reader.usage.faults == {}
    return reader.usage.units


class TestAnthropic:
    """https://platform.claude.com/docs/en/about-claude/pricing"""

    def message(self, usage: dict[str, Any], model: str = "claude-opus-4-6") -> list[Reader]:
        """Return a reader of the whole answer and one of the stream."""
        message = {"type": "message", "role": "assistant", "model": model}
        start = {"input_tokens": 1, "output_tokens": 1, "service_tier": "standard"}
        return [
            answered(MESSAGES, {**message, "usage": usage}),
            streamed(
                MESSAGES,
                {"type": "message_start", "message": {**message, "usage": start}},
                {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage},
            ),
        ]

    def test_cache_writes_are_told_apart_by_their_lifetime(self) -> None:
        parts = {"ephemeral_5m_input_tokens": 30, "ephemeral_1h_input_tokens": 70}
        usage = {"input_tokens": 5, "output_tokens": 2, "cache_creation": parts}
        for written in ({"cache_creation_input_tokens": 100}, {}):
            for reader in self.message(usage | written):
                assert units_of(reader) == {
                    "input_tokens": 105,
                    "output_tokens": 2,
                    "cache_write_tokens": 100,
                    "cache_write_5m_tokens": 30,
                    "cache_write_1h_tokens": 70,
                }

    def test_cache_written_without_a_lifetime_is_only_that(self) -> None:
        usage = {"input_tokens": 5, "output_tokens": 2, "cache_creation_input_tokens": 100}
        for reader in self.message(usage):
            assert units_of(reader)["cache_write_tokens"] == 100
            assert "cache_write_5m_tokens" not in units_of(reader)

    @pytest.mark.parametrize("part", [99, 101, -1, "100", 10**10])
    def test_lifetimes_that_do_not_add_up_are_a_fault(self, part: object) -> None:
        usage = {
            "input_tokens": 5,
            "output_tokens": 2,
            "cache_creation_input_tokens": 100,
            "cache_creation": {"ephemeral_1h_input_tokens": part},
        }
        for reader in self.message(usage):
            assert reader.usage is not None
            assert reader.usage.faults

    def test_searches_are_counted_and_fetched_pages_are_free(self) -> None:
        tools = {"web_search_requests": 3, "web_fetch_requests": 2}
        usage = {"input_tokens": 5, "output_tokens": 2, "server_tool_use": tools}
        for reader in self.message(usage):
            assert units_of(reader) == {"input_tokens": 5, "output_tokens": 2, "web_searches": 3}

    def test_modifiers_are_facts_and_standard_ones_are_not(self) -> None:
        def check(usage: dict[str, str], facts: dict[str, str]) -> None:
            for reader in self.message({"input_tokens": 5, "output_tokens": 2, **usage}):
                assert reader.price_context == facts

        check_each(
            check,
            [
                ({"service_tier": "batch"}, {"service_tier": "batch"}),
                ({"service_tier": "priority"}, {"service_tier": "priority"}),
                ({"speed": "fast"}, {"speed": "fast"}),
                ({"inference_geo": "us"}, {"inference_geo": "us"}),
                ({"service_tier": "standard", "speed": "standard"}, {}),
                ({"inference_geo": "global"}, {}),
                ({"inference_geo": "not_available"}, {}),
            ],
        )

    def test_gateway_names_the_cost(self) -> None:
        for reader in self.message({"input_tokens": 5, "output_tokens": 2, "cost": 0.25}):
            assert reader.usage is not None
            assert reader.usage.cost == Decimal("0.25")

    # https://platform.claude.com/docs/en/build-with-claude/compaction
    def test_compaction_is_added(self) -> None:
        usage = {
            "input_tokens": 23000,
            "output_tokens": 1000,
            "iterations": [
                {"type": "compaction", "input_tokens": 180000, "output_tokens": 3500},
                {"type": "message", "input_tokens": 23000, "output_tokens": 1000},
            ],
        }
        for reader in self.message(usage):
            assert units_of(reader) == {"input_tokens": 203000, "output_tokens": 4500}
            assert reader.usage is not None
            assert reader.usage.details["iterations"] == [
                {"input_tokens": 180000, "output_tokens": 3500},
                {"input_tokens": 23000, "output_tokens": 1000},
            ]

    def test_compaction_that_is_listed_alone_is_added(self) -> None:
        compaction = {"type": "compaction", "input_tokens": 9, "output_tokens": 4}
        usage = {"input_tokens": 5, "output_tokens": 2}
        for number in (1, 2):
            for reader in self.message({**usage, "iterations": [compaction] * number}):
                assert units_of(reader) == {
                    "input_tokens": 5 + 9 * number,
                    "output_tokens": 2 + 4 * number,
                }

    # https://platform.claude.com/docs/en/agents-and-tools/tool-use/advisor-tool
    def test_advisor_is_added_with_its_model(self) -> None:
        plain = {"cache_read_input_tokens": 0, "cache_creation_input_tokens": 0}
        advisor = {"type": "advisor_message", "model": "claude-opus-5", **plain}
        usage = {
            "input_tokens": 412,
            "output_tokens": 531,
            "output_tokens_details": {"thinking_tokens": 500},
            "iterations": [
                {"type": "message", "input_tokens": 412, "output_tokens": 89, **plain},
                {**advisor, "input_tokens": 823, "output_tokens": 1612},
                {
                    "type": "message",
                    "model": "claude-opus-4-6",
                    "input_tokens": 1348,
                    "cache_read_input_tokens": 412,
                    "output_tokens": 442,
                },
            ],
        }
        for reader in self.message(usage):
            assert units_of(reader) == {
                "input_tokens": 412 + 823 + 1348 + 412,
                "output_tokens": 89 + 1612 + 442,
                "cache_read_tokens": 412,
                "cache_write_tokens": 0,
                "output_reasoning_tokens": 500,
            }
            assert reader.usage is not None
            # The thoughts are those of the answering model; they cost the same wherever they are.
            assert reader.usage.details["iterations"] == [
                {"input_tokens": 412, "output_tokens": 89, "output_reasoning_tokens": 58},
                {"input_tokens": 823, "output_tokens": 1612, "model": "claude-opus-5"},
                {
                    "input_tokens": 1760,
                    "output_tokens": 442,
                    "cache_read_tokens": 412,
                    "output_reasoning_tokens": 442,
                },
            ]

    def test_iteration_that_repeats_the_counts_is_left_out(self) -> None:
        usage = {"input_tokens": 5, "output_tokens": 2}
        for iterations in ([{"type": "message", **usage}], [], None):
            for reader in self.message({**usage, "iterations": iterations}):
                assert reader.usage == of(5, 2)

    # https://platform.claude.com/docs/en/build-with-claude/refusals-and-fallback
    def test_refusal_before_any_output_is_free(self) -> None:
        refused = {"type": "message", "model": "claude-fable-5", "input_tokens": 408}
        served = {"type": "fallback_message", "model": "claude-opus-4-6"}
        usage = {"input_tokens": 412, "output_tokens": 264}
        for output, iterations in ((0, None), (7, 2)):
            each = [{**refused, "output_tokens": output}, {**served, **usage}]
            for reader in self.message({**usage, "iterations": each}):
                assert reader.usage is not None
                found = reader.usage.details.get("iterations")
                assert (found and len(found)) == iterations
                assert reader.usage.completion_tokens == 264 + output

    def test_cache_writes_after_a_refusal_have_another_price(self) -> None:
        usage = {"input_tokens": 5, "output_tokens": 2, "cache_creation_input_tokens": 9}
        redeemed = {"fallback_credit": {"status": {"type": "redeemed"}}}
        refused = {"type": "message", "model": "claude-fable-5", "output_tokens": 0}
        for more in (redeemed, {"iterations": [refused, {"type": "fallback_message", **usage}]}):
            for reader in self.message(usage | more):
                assert reader.price_context == {"route": "fallback"}
            for reader in self.message(usage | {"cache_creation_input_tokens": 0} | more):
                assert reader.price_context == {}

    @pytest.mark.parametrize(
        "iterations",
        [
            "many",
            {"type": "compaction"},
            ["compaction"],
            [{"type": "compaction", "input_tokens": "many", "output_tokens": 5}, {}],
            [{"type": "compaction", "input_tokens": -1, "output_tokens": 5}, {}],
            [{"type": "compaction", "input_tokens": 10**10, "output_tokens": 5}, {}],
        ],
    )
    def test_iterations_that_cannot_be_read_are_a_fault(self, iterations: object) -> None:
        usage = {"input_tokens": 5, "output_tokens": 2, "iterations": iterations}
        for reader in self.message(usage):
            assert reader.usage is not None
            assert reader.usage.faults


class TestGemini:
    """https://ai.google.dev/gemini-api/docs/pricing"""

    USAGE: dict[str, Any] = {"promptTokenCount": 100, "candidatesTokenCount": 50}
    MODEL = "gemini-3-flash-preview"

    def answer(self, **usage: Any) -> list[Reader]:
        """Return a reader of the whole answer and one of the stream."""
        body = {
            "candidates": [{"finishReason": "STOP"}],
            "modelVersion": self.MODEL,
            "usageMetadata": self.USAGE | usage,
        }
        first = {"candidates": [{}], "usageMetadata": {"promptTokenCount": 100}}
        return [answered(GEMINI, body), streamed(GEMINI, first, first, body)]

    def test_modalities_are_counted(self) -> None:
        def details(**counts: int) -> list[dict[str, Any]]:
            return [{"modality": name.upper(), "tokenCount": n} for name, n in counts.items()]

        readers = self.answer(
            cachedContentTokenCount=40,
            toolUsePromptTokenCount=9,
            thoughtsTokenCount=8,
            promptTokensDetails=details(text=10, audio=60, image=20, video=4, document=6),
            cacheTokensDetails=details(text=5, audio=35),
            toolUsePromptTokensDetails=details(text=9),
            candidatesTokensDetails=details(image=45, text=5),
        )
        for reader in readers:
            assert units_of(reader) == {
                "input_tokens": 109,
                "output_tokens": 58,
                "cache_read_tokens": 40,
                "output_reasoning_tokens": 8,
                "input_tool_tokens": 9,
                "input_text_tokens": 19,
                "input_audio_tokens": 60,
                "input_image_tokens": 20,
                "input_video_tokens": 4,
                "input_text_tool_tokens": 9,
                "cache_text_read_tokens": 5,
                "cache_audio_read_tokens": 35,
                "cache_image_read_tokens": 0,
                "cache_video_read_tokens": 0,
                "output_image_tokens": 45,
                "output_text_tokens": 5,
            }

    def test_live_names_the_output_otherwise(self) -> None:
        usage = {"responseTokenCount": 50, "candidatesTokenCount": None}
        speech = [{"modality": "AUDIO", "tokenCount": 50}]
        for reader in self.answer(**usage, responseTokensDetails=speech):
            assert units_of(reader)["output_audio_tokens"] == 50

    @pytest.mark.parametrize("number", [-1, "7", 1.5, 10**10, 101, True])
    def test_modality_that_cannot_be_true_is_a_fault(self, number: object) -> None:
        details = [{"modality": "AUDIO", "tokenCount": number}]
        for reader in self.answer(promptTokensDetails=details):
            assert reader.usage is not None
            assert reader.usage.faults.keys() == {"input_audio_tokens"}

    @pytest.mark.parametrize("details", ["AUDIO", [7], [{"modality": []}], [{"tokenCount": 1}]])
    def test_details_without_a_modality_count_for_nothing(self, details: object) -> None:
        for reader in self.answer(promptTokensDetails=details):
            assert reader.usage == of(100, 50)

    def test_traffic_names_the_tier(self) -> None:
        def check(traffic: str, tier: str) -> None:
            for reader in self.answer(trafficType=traffic):
                assert reader.price_context == ({"service_tier": tier} if tier else {})

        check_each(
            check,
            [
                ("ON_DEMAND", ""),
                ("TRAFFIC_TYPE_UNSPECIFIED", ""),
                ("ON_DEMAND_FLEX", "flex"),
                ("ON_DEMAND_PRIORITY", "priority"),
                ("PROVISIONED_THROUGHPUT", "provisioned_throughput"),
            ],
        )

    def test_header_names_the_tier_that_was_served(self) -> None:
        body = {"candidates": [{"finishReason": "STOP"}], "usageMetadata": self.USAGE}
        interaction = {"usage": {"total_input_tokens": 1}, "service_tier": "priority"}
        for served in ("flex", "standard"):
            readers = [
                answered(GEMINI, body, x_gemini_service_tier=served),
                streamed(GEMINI, body, x_gemini_service_tier=served),
                answered(GEMINI, {**body, "sdkHttpResponse": {"headers": {TIER_HEADER: served}}}),
                answered("gemini.interactions", interaction, x_gemini_service_tier=served),
            ]
            for reader in readers:
                assert reader.service_tier == served
        assert answered("gemini.interactions", interaction).service_tier == "priority"

    def grounded(self, model: str, *queries: list[str]) -> list[Reader]:
        """Return a reader of the whole answer and one of a stream whose searches come early."""
        found = [{"groundingMetadata": {"webSearchQueries": each}} for each in queries]
        end = {
            "candidates": [{"finishReason": "STOP"}],
            "usageMetadata": self.USAGE,
            "modelVersion": model,
        }
        chunks = [{"candidates": [each], "usageMetadata": {}} for each in found]
        return [
            answered(GEMINI, {**end, "candidates": [*found, {"finishReason": "STOP"}]}),
            streamed(GEMINI, {"candidates": [{}]}, *chunks, end),
        ]

    def test_searches_are_billed_by_the_query_or_by_the_prompt(self) -> None:
        def check(model: str, number: int) -> None:
            for reader in self.grounded(model, ["a", "b", ""], ["b", "c"]):
                assert units_of(reader)["web_searches"] == number

        check_each(
            check,
            [
                ("gemini-3-flash-preview", 3),
                ("gemini-3.8-flash", 3),
                ("gemini-flash-latest", 3),
                ("gemini-2.5-flash", 1),
                ("gemini-2.0-flash-001", 1),
                ("models/gemini-1.5-pro", 1),
            ],
        )

    def test_answer_without_a_query_was_not_grounded(self) -> None:
        nothing: list[list[list[str]]] = [[[""]], [[]], []]
        for queries in nothing:
            for reader in self.grounded("gemini-2.5-flash", *queries):
                assert "web_searches" not in units_of(reader)

    def test_search_of_an_unknown_model_has_no_price(self) -> None:
        for reader in self.grounded("", ["a"]):
            assert reader.usage is not None
            assert reader.usage.faults.keys() == {"web_searches"}

    def test_sources_with_prices_of_their_own_are_facts(self) -> None:
        found: dict[str, dict[str, Any]] = {
            "google_maps": {"groundingChunks": [{"maps": {"uri": "https://maps.example"}}]},
            "google_images": {"imageSearchQueries": ["a"]},
        }
        for fact, metadata in found.items():
            grounded = {"candidates": [{"groundingMetadata": metadata}]}
            end = {"candidates": [{"finishReason": "STOP"}], "usageMetadata": self.USAGE}
            assert answered(GEMINI, grounded | {"usageMetadata": self.USAGE}).price_context == {
                "search_type": fact
            }
            assert streamed(GEMINI, {"candidates": [{}]}, grounded, end).price_context == {
                "search_type": fact
            }

    def test_text_of_a_stream_is_not_parsed(self) -> None:
        reader = READERS[GEMINI]()
        event = {"candidates": [{}], "usageMetadata": self.USAGE}
        reader.feed(json.dumps(event).encode())
        with mock.patch("usage_tracking.formats.reader.json.loads") as loads:
            for _ in range(100):
                reader.feed(json.dumps(event).encode())

        assert not loads.called

    def test_interaction_counts_the_same(self) -> None:
        def details(**counts: int) -> list[dict[str, Any]]:
            return [{"modality": name, "tokens": n} for name, n in counts.items()]

        interaction = {
            "id": "i1",
            "object": "interaction",
            "model": self.MODEL,
            "usage": {
                "total_input_tokens": 100,
                "total_output_tokens": 50,
                "total_cached_tokens": 40,
                "total_tool_use_tokens": 9,
                "input_tokens_by_modality": details(text=40, audio=60),
                "output_tokens_by_modality": details(image=50),
                "cached_tokens_by_modality": details(text=40),
                "tool_use_tokens_by_modality": details(text=9),
                "grounding_tool_count": [{"type": "google_search", "count": 2}],
            },
        }
        event = {"event_type": "interaction.completed", "interaction": interaction}
        for reader in (
            answered("gemini.interactions", interaction),
            streamed("gemini.interactions", event),
        ):
            assert units_of(reader) == {
                "input_tokens": 109,
                "output_tokens": 50,
                "cache_read_tokens": 40,
                "input_tool_tokens": 9,
                "input_text_tokens": 49,
                "input_audio_tokens": 60,
                "input_text_tool_tokens": 9,
                "cache_text_read_tokens": 40,
                "output_image_tokens": 50,
                "web_searches": 2,
            }

    def test_embedding_counts_pictures(self) -> None:
        usage = {
            "promptTokenCount": 270,
            "promptTokensDetails": [{"modality": "IMAGE", "tokenCount": 258}],
        }
        reader = answered(
            "gemini.embed_content", {"embedding": {"values": [0.1]}, "usageMetadata": usage}
        )

        assert units_of(reader) == {"input_tokens": 270, "input_image_tokens": 258}


class TestBedrock:
    """https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_TokenUsage.html"""

    def converse(self, usage: dict[str, Any], **more: Any) -> list[Reader]:
        usage = {"inputTokens": 10, "outputTokens": 5, **usage}
        event = {"metadata": {"usage": usage, **more}}
        return [
            answered("bedrock.converse", {"usage": usage, **more}),
            streamed("bedrock.converse", {"messageStart": {"role": "assistant"}}, event),
        ]

    def test_cache_writes_are_told_apart_by_their_lifetime(self) -> None:
        details = [{"ttl": "1h", "inputTokens": 70}, {"ttl": "5m", "inputTokens": 30}]
        usage: dict[str, Any] = {"cacheReadInputTokens": 1, "cacheDetails": details}
        for written in ({"cacheWriteInputTokens": 100}, {}):
            for reader in self.converse(usage | written):
                assert units_of(reader) == {
                    "input_tokens": 111,
                    "output_tokens": 5,
                    "cache_read_tokens": 1,
                    "cache_write_tokens": 100,
                    "cache_write_5m_tokens": 30,
                    "cache_write_1h_tokens": 70,
                }

    @pytest.mark.parametrize(
        "detail",
        [
            {"ttl": "2h", "inputTokens": 100},
            {"ttl": "1h", "inputTokens": 99},
            {"ttl": "1h", "inputTokens": 101},
            {"ttl": "1h", "inputTokens": "100"},
            {},
            7,
        ],
    )
    def test_lifetimes_that_do_not_add_up_are_a_fault(self, detail: object) -> None:
        usage = {"cacheWriteInputTokens": 100, "cacheDetails": [detail]}
        for reader in self.converse(usage):
            assert reader.usage is not None
            assert reader.usage.faults

    def test_tier_and_latency_are_facts(self) -> None:
        facts = {"service_tier": "flex", "speed": "optimized"}
        more = {"serviceTier": {"type": "flex"}, "performanceConfig": {"latency": "optimized"}}
        standard = {
            "serviceTier": {"type": "default"},
            "performanceConfig": {"latency": "standard"},
        }
        for reader in self.converse({}, **more):
            assert reader.price_context == facts
        for reader in self.converse({}, **standard):
            assert reader.price_context == {}

    def test_headers_of_invoke_name_tier_and_latency(self) -> None:
        headers = {
            "x_amzn_bedrock_service_tier": "priority",
            "x_amzn_bedrock_performanceconfig_latency": "optimized",
        }
        claude = {
            "type": "message",
            "role": "assistant",
            "usage": {
                "input_tokens": 5,
                "output_tokens": 2,
                "service_tier": "standard",
                "cache_creation": {"ephemeral_1h_input_tokens": 7},
            },
        }
        reader = answered("bedrock.invoke", claude, **headers)

        assert reader.price_context == {"service_tier": "priority", "speed": "optimized"}
        assert units_of(reader) == {
            "input_tokens": 12,
            "output_tokens": 2,
            "cache_write_tokens": 7,
            "cache_write_1h_tokens": 7,
        }
        events = [
            {"type": "message_start", "message": claude},
            {"type": "message_delta", "delta": {"stop_reason": "x"}, "usage": {"output_tokens": 9}},
        ]
        reader = streamed("bedrock.invoke", *map(chunk, events), **headers)

        assert reader.price_context == {"service_tier": "priority", "speed": "optimized"}
        assert units_of(reader)["cache_write_1h_tokens"] == 7

    @pytest.mark.parametrize("number", [-1, "7", 1.5, 10**10])
    def test_count_that_cannot_be_true_is_a_fault(self, number: object) -> None:
        bodies = [
            {"generation": "Hi", "stop_reason": "stop", "prompt_token_count": number},
            {"inputTextTokenCount": number, "results": [{"tokenCount": 1}]},
        ]
        for body in bodies:
            reader = answered("bedrock.invoke", body)

            assert reader.usage is not None
            assert reader.usage.faults.keys() == {"input_tokens"}


def test_claude_on_vertex_counts_as_claude() -> None:
    usage = {
        "input_tokens": 5,
        "output_tokens": 2,
        "cache_creation": {"ephemeral_1h_input_tokens": 7},
        "speed": "fast",
    }
    message = {"type": "message", "role": "assistant", "usage": usage}
    readers = [
        answered("vertex.raw_predict", message),
        streamed(
            "vertex.raw_predict",
            {"type": "message_start", "message": message},
            {"type": "message_delta", "delta": {"stop_reason": "x"}, "usage": {"output_tokens": 2}},
        ),
    ]
    for reader in readers:
        assert units_of(reader)["cache_write_1h_tokens"] == 7
        assert reader.price_context == {"speed": "fast"}


def test_thoughts_that_only_the_total_of_gemini_has_are_counted() -> None:
    reader = READERS["gemini.generate_content"]()
    usage = {"promptTokenCount": 10, "candidatesTokenCount": 4, "totalTokenCount": 21}
    reader.body({"candidates": [{"finishReason": "STOP"}], "usageMetadata": usage})

    assert reader.usage is not None
    assert (reader.usage.prompt_tokens, reader.usage.completion_tokens) == (10, 11)
    assert reader.usage.reasoning_tokens == 7


def test_tools_that_xai_runs_are_counted_in_chat() -> None:
    reader = READERS["openai.chat"]()
    tools = {"web_search_calls": 2, "file_search_calls": 1, "document_search_calls": 3}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "server_side_tool_usage_details": tools}
    reader.body({"choices": [], "usage": usage})

    assert reader.usage is not None
    assert reader.usage.details["web_searches"] == 2
    assert reader.usage.details["storage_searches"] == 4


@pytest.mark.parametrize("name", ["object", "status", "id", "model", "size", "polling_url"])
@pytest.mark.parametrize("odd", [[], {}, [1], {"a": 1}, 5, True])
def test_odd_value_in_a_job_of_videos_raises_nothing(name: str, odd: Any) -> None:
    reader = READERS["videos"]()
    reader.body(
        {"id": "video_1", "object": "video", "model": "sora-2", "status": "queued", name: odd}
    )

    _assert_sane(reader)
