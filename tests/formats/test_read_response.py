"""`read_response` reads whole answers, given as dicts or as objects of the SDKs."""

from __future__ import annotations

import dataclasses
from contextlib import suppress
from decimal import Decimal
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

import pytest
from anthropic.types import Message
from anthropic.types.beta import BetaMessage
from django.test import override_settings
from google.genai import types as genai_types
from google.genai.types import (
    EmbedContentResponse,
    GenerateContentResponse,
    LiveServerMessage,
    UsageMetadata,
)
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from openai._models import construct_type
from openai.types import Completion, CreateEmbeddingResponse
from openai.types.chat import ChatCompletion
from openai.types.realtime import ResponseDoneEvent
from openai.types.responses import Response, ResponseCompletedEvent
from pydantic import BaseModel, ValidationError

from tests.formats.answers import chunk
from tests.formats.test_readers import ANSWERS, hostile
from tests.support.cases import check_each
from tests.support.wire import recorded
from tools import published_prices
from usage_tracking import formats
from usage_tracking.capture.endpoints import recognise
from usage_tracking.formats import READERS, read_response
from usage_tracking.formats.reader import Reader
from usage_tracking.usage import Usage

WITH_USAGE = [name for name, answer in ANSWERS.items() if answer.usage]
#: Formats that other providers share, and the name used for them.
SPOKEN_ELSEWHERE = {"vertex.raw_predict", "bedrock.invoke", "cohere.chat"}
KINDS = {
    "openai.chat": ChatCompletion,
    "openai.responses": Response,
    "openai.embeddings": CreateEmbeddingResponse,
    "anthropic.messages": Message,
    "gemini.generate_content": GenerateContentResponse,
}


@pytest.mark.parametrize("name", WITH_USAGE)
def test_dict_of_any_format_is_read(name: str) -> None:
    answer = ANSWERS[name]
    reader = read_response(answer.body)

    assert reader.usage == answer.usage
    assert reader.model == answer.model
    assert reader.response_id == answer.response_id
    assert (reader.error, reader.facts) == (answer.error, answer.facts)
    assert reader.operation == READERS[answer.format].operation or answer.format in SPOKEN_ELSEWHERE


@pytest.mark.parametrize("name", ANSWERS)
def test_answer_is_read_as_on_the_wire(name: str) -> None:
    answer = ANSWERS[name]
    wire = READERS[answer.format]()
    wire.body(answer.body)
    reader = read_response(answer.body)

    assert (reader.usage, reader.price_context) == (wire.usage, wire.price_context)
    assert (reader.model, reader.response_id) == (wire.model, wire.response_id)
    # Without its HTTP status, a message alone is not an error.
    assert reader.error == (wire.error if "error" in answer.body or wire.usage else reader.error)


BATCH = {
    "id": "batch_1",
    "object": "batch",
    "endpoint": "/v1/chat/completions",
    "status": "completed",
    "model": "gpt-5-2025-08-07",
    "usage": {
        "input_tokens": 1525,
        "input_tokens_details": {"cached_tokens": 20},
        "output_tokens": 77,
        "output_tokens_details": {"reasoning_tokens": 4},
        "total_tokens": 1602,
    },
}


@pytest.mark.parametrize("order", [1, -1])
def test_readers_that_agree_on_the_tokens_do_not_contradict_each_other(
    order: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The formats of Responses and of messages have the same names for tokens."""
    monkeypatch.setattr(formats, "READERS", dict([*READERS.items()][::order]))

    for answer in (BATCH, {"usage": BATCH["usage"]}):
        usage = read_response(answer).usage
        assert usage is not None
        assert (usage.prompt_tokens, usage.completion_tokens) == (1525, 77)
        assert (usage.cached_tokens, usage.reasoning_tokens) == (20, 4)


def test_readers_that_disagree_on_the_tokens_read_nothing() -> None:
    ambiguous = {"usage": {"input_tokens": 9, "output_tokens": 1, "cache_read_input_tokens": 5}}

    assert read_response(ambiguous).usage is None


@pytest.mark.parametrize(
    "name",
    [
        "openai chat",
        "openai chat with every modality",
        "responses with tools",
        "responses with an image",
        "responses of xai",
        "perplexity, deep research",
        "openrouter",
        "deepseek",
        "xai",
        "responses",
        "embeddings",
        "voyage",
        "anthropic",
        "anthropic without a cache",
        "gemini",
        "gemini, prompt blocked",
        "gemini, nothing but thoughts",
    ],
)
def test_object_of_an_sdk_is_read(name: str) -> None:
    answer = ANSWERS[name]
    kind: Any = KINDS[answer.format]
    if answer.format == "gemini.generate_content":
        response = kind.model_validate(answer.body)
    else:
        response = kind.construct(**answer.body)

    reader = read_response(response)

    assert reader.usage == answer.usage
    assert reader.model == answer.model
    assert reader.response_id == answer.response_id


def test_object_of_the_legacy_completions_is_read() -> None:
    answer = ANSWERS["openai legacy completion"]

    assert read_response(Completion.construct(**answer.body)).usage == answer.usage


def test_own_pydantic_model_is_read() -> None:
    class Counts(BaseModel):
        prompt_tokens: int
        completion_tokens: int

    class Answer(BaseModel):
        id: str
        model: str
        usage: Counts

    reader = read_response(
        Answer(id="a1", model="m", usage=Counts(prompt_tokens=5, completion_tokens=6))
    )

    assert reader.usage == Usage(prompt_tokens=5, completion_tokens=6)
    assert (reader.model, reader.response_id) == ("m", "a1")


def test_dataclass_is_read() -> None:
    @dataclasses.dataclass
    class Counts:
        prompt_tokens: int
        completion_tokens: int

    @dataclasses.dataclass
    class Answer:
        model: str
        usage: Counts

    reader = read_response(Answer("m", Counts(5, 6)))

    assert reader.usage == Usage(prompt_tokens=5, completion_tokens=6)
    assert reader.model == "m"


SNAKE_CASE = {
    "candidates": [{"content": {"parts": [{"text": "Hi"}]}, "finish_reason": 1}],
    "usage_metadata": {
        "prompt_token_count": 40,
        "candidates_token_count": 11,
        "total_token_count": 80,
        "cached_content_token_count": 32,
        "thoughts_token_count": 29,
    },
    "model_version": "gemini-2.5-flash",
    "response_id": "r1",
}


class ProtoPlus:
    """Like proto-plus messages, which the gRPC SDKs of Google return: names in snake case."""

    @classmethod
    def to_dict(cls, instance: ProtoPlus) -> dict[str, Any]:
        assert isinstance(instance, cls)
        return SNAKE_CASE


class Wrapper:
    """Wraps such a message like `google.generativeai` and `vertexai`."""

    def to_dict(self) -> dict[str, Any]:
        return SNAKE_CASE


def test_answer_of_a_grpc_sdk_is_read() -> None:
    """These are what `UsageHandle.record` is for: no hook sees their calls."""
    for response in (ProtoPlus(), Wrapper(), SNAKE_CASE):
        reader = read_response(response)

        assert reader.usage == Usage(
            prompt_tokens=40, completion_tokens=40, cached_tokens=32, reasoning_tokens=29
        ), response
        assert (reader.model, reader.response_id) == ("gemini-2.5-flash", "r1"), response


REALTIME: dict[str, Any] = {
    "type": "response.done",
    "event_id": "event_CCXLgMZPo3qioWCeQa4WH",
    "response": {
        "object": "realtime.response",
        "id": "resp_CCXLEC1XpbGVhLn6",
        "status": "completed",
        "usage": {
            "total_tokens": 253,
            "input_tokens": 132,
            "output_tokens": 121,
            "input_token_details": {
                "text_tokens": 119,
                "audio_tokens": 10,
                "image_tokens": 3,
                "cached_tokens": 64,
                "cached_tokens_details": {"text_tokens": 60, "audio_tokens": 4},
            },
            "output_token_details": {"text_tokens": 30, "audio_tokens": 91},
        },
    },
}


@pytest.mark.parametrize("event", [REALTIME, ResponseDoneEvent.construct(**REALTIME)])
def test_realtime_event_is_read(event: Any) -> None:
    reader = read_response(event)

    assert reader.usage == Usage(
        prompt_tokens=132,
        completion_tokens=121,
        cached_tokens=64,
        details={
            "input_text_tokens": 119,
            "input_audio_tokens": 10,
            "input_image_tokens": 3,
            "cache_text_read_tokens": 60,
            "cache_audio_read_tokens": 4,
            "output_text_tokens": 30,
            "output_audio_tokens": 91,
        },
    )
    assert reader.response_id == "resp_CCXLEC1XpbGVhLn6"


def test_transcription_in_a_realtime_session_is_read() -> None:
    event = {
        "type": "conversation.item.input_audio_transcription.completed",
        "item_id": "item_CCXGRvtUVrax5SJAnNOWZ",
        "transcript": "Hey, can you hear me?",
        "usage": {
            "type": "tokens",
            "total_tokens": 22,
            "input_tokens": 13,
            "input_token_details": {"text_tokens": 3, "audio_tokens": 10},
            "output_tokens": 9,
        },
    }

    assert read_response(event).usage == Usage(
        prompt_tokens=13,
        completion_tokens=9,
        details={"input_text_tokens": 3, "input_audio_tokens": 10},
    )


def test_failed_realtime_response_is_a_failure() -> None:
    error = {"type": "server_error", "message": "Try later"}
    response = {"object": "realtime.response", "status": "failed", "id": "resp_1"}
    told = {"type": "response.done", "response": {**response, "status_details": {"error": error}}}

    assert read_response(told).error == "server_error: Try later"
    assert read_response({**told, "response": response}).error == "failed"


def test_last_event_of_a_response_stream_is_read() -> None:
    response = {"id": "resp_1", "object": "response", "model": "gpt-5"}
    usage = {"input_tokens": 37, "output_tokens": 11}
    event = ResponseCompletedEvent.construct(
        type="response.completed", sequence_number=1, response={**response, "usage": usage}
    )
    reader = read_response(event)

    assert (reader.usage, reader.model) == (
        Usage(prompt_tokens=37, completion_tokens=11),
        "gpt-5",
    )


def test_live_message_is_read() -> None:
    usage = UsageMetadata(prompt_token_count=117, response_token_count=90, total_token_count=207)
    reader = read_response(LiveServerMessage(usage_metadata=usage))

    assert reader.usage == Usage(prompt_tokens=117, completion_tokens=90)


def test_embeddings_of_vertex_through_its_sdk_are_read() -> None:
    vectors = [{"values": [0.1], "statistics": {"token_count": 4}}]
    response = EmbedContentResponse.model_validate({"embeddings": vectors * 2})

    assert read_response(response).usage == Usage(prompt_tokens=8)


@pytest.mark.parametrize(
    "event",
    [
        {"metadata": {"usage": {"inputTokens": 47, "outputTokens": 20, "totalTokens": 67}}},
        {
            "type": "message-end",
            "delta": {"usage": {"billed_units": {"input_tokens": 47, "output_tokens": 20}}},
        },
        {
            "event_type": "interaction.completed",
            "interaction": {"usage": {"total_input_tokens": 47, "total_output_tokens": 20}},
        },
        {
            "type": "image_generation.completed",
            "usage": {"input_tokens": 47, "output_tokens": 20},
        },
    ],
)
def test_last_event_of_a_stream_is_read(event: dict[str, Any]) -> None:
    usage = read_response(event).usage

    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens) == (47, 20)


def test_first_event_of_a_stream_is_not_taken_for_the_answer() -> None:
    message = {"type": "message", "role": "assistant", "usage": {"input_tokens": 9}}

    assert read_response({"type": "message_start", "message": message}).usage is None


def test_answer_of_boto3_is_read_with_what_stands_beside_it() -> None:
    headers = {
        "x-amzn-bedrock-input-token-count": "9",
        "X-Amzn-Bedrock-Output-Token-Count": "17",
    }
    invoked = {"ResponseMetadata": {"HTTPHeaders": headers}, "body": object()}
    conversed = {**ANSWERS["converse"].body, "ResponseMetadata": {"HTTPHeaders": {"date": "x"}}}

    assert read_response(invoked).usage == Usage(prompt_tokens=9, completion_tokens=17)
    assert read_response(conversed).usage == ANSWERS["converse"].usage


LANGCHAIN: dict[str, Any] = {
    "type": "ai",
    "id": "run-7f1f",
    "content": "Hi",
    "usage_metadata": {
        "input_tokens": 350,
        "output_tokens": 240,
        "total_tokens": 590,
        "input_token_details": {"audio": 10, "cache_creation": 200, "cache_read": 100},
        "output_token_details": {"audio": 10, "reasoning": 200},
    },
    "response_metadata": {"model_name": "gpt-4o-2024-08-06", "id": "chatcmpl-1"},
}


class LangChainMessage(BaseModel):
    type: str = "ai"
    id: str | None = None
    content: str = "Hi"
    usage_metadata: dict[str, Any] | None = None
    response_metadata: dict[str, Any] = {}


@pytest.mark.parametrize("message", [LANGCHAIN, LangChainMessage(**LANGCHAIN)])
def test_message_of_langchain_is_read(message: Any) -> None:
    reader = read_response(message)

    assert reader.usage == Usage(
        prompt_tokens=350,
        completion_tokens=240,
        cached_tokens=100,
        cache_write_tokens=200,
        reasoning_tokens=200,
        details={"input_audio_tokens": 10, "output_audio_tokens": 10},
    )
    assert (reader.model, reader.response_id) == ("gpt-4o-2024-08-06", "chatcmpl-1")


def test_message_of_langchain_has_what_providers_bill_apart() -> None:
    message = LangChainMessage(
        usage_metadata={
            "input_tokens": 1000,
            "output_tokens": 20,
            "input_token_details": {
                "cache_read": 0,
                "cache_creation": 0,
                "ephemeral_5m_input_tokens": 100,
                "ephemeral_1h_input_tokens": 200,
            },
        },
        response_metadata={"usage": {"server_tool_use": {"web_search_requests": 3}}},
    )
    flex = LangChainMessage(
        usage_metadata={
            "input_tokens": 1000,
            "output_tokens": 20,
            "input_token_details": {"flex": 900, "flex_cache_read": 100},
            "output_token_details": {"flex": 15, "flex_reasoning": 5},
        },
        response_metadata={"service_tier": "flex"},
    )

    assert read_response(message).usage == Usage(
        prompt_tokens=1000,
        completion_tokens=20,
        cached_tokens=0,
        cache_write_tokens=300,
        details={
            "cache_write_5m_tokens": 100,
            "cache_write_1h_tokens": 200,
            "web_searches": 3,
        },
    )
    assert read_response(flex).usage == Usage(
        prompt_tokens=1000, completion_tokens=20, cached_tokens=100, reasoning_tokens=5
    )
    assert read_response(flex).price_context == {"service_tier": "flex"}


def test_message_of_langchain_may_have_the_provider_s_counts_only() -> None:
    told = {"token_usage": {"prompt_tokens": 1, "completion_tokens": 2}, "model": "m"}
    reader = read_response(LangChainMessage(id="run-1", response_metadata=told))

    assert reader.usage == Usage(prompt_tokens=1, completion_tokens=2)
    # Its own id is not the provider's id, by which a captured call is found.
    assert (reader.model, reader.response_id) == ("m", "")


class SamplingUsage:
    """Like the protobuf message of `xai_sdk`."""

    prompt_tokens, completion_tokens, reasoning_tokens, total_tokens = 32, 9, 94, 135
    prompt_text_tokens, prompt_image_tokens = 30, 2
    cached_prompt_text_tokens = 6
    cost_in_usd_ticks = 37756000


class XAI:
    id, content, usage = "x1", "Hi", SamplingUsage()

    @property
    def text(self) -> str:
        raise RuntimeError("not finished")


def test_response_of_xai_is_read() -> None:
    reader = read_response(XAI())

    assert reader.usage == Usage(
        prompt_tokens=32,
        completion_tokens=103,
        cached_tokens=6,
        reasoning_tokens=94,
        cost=Decimal("0.0037756"),
        details={"input_text_tokens": 30, "input_image_tokens": 2},
    )
    assert reader.response_id == "x1"


class Plain:
    def __init__(self, **values: Any) -> None:
        vars(self).update(values)


CIRCLE = Plain(text="Hi")
CIRCLE.usage = CIRCLE.response = CIRCLE.message = CIRCLE


@pytest.mark.parametrize(
    "name",
    [
        *("cohere v2", "cohere v1", "ollama chat", "anthropic", "cohere, embed pictures"),
        *("openai chat with every modality", "litellm, claude", "perplexity, deep research"),
        *("mistral, audio in a chat", "deepinfra", "responses with tools"),
        *("responses with searches that are billed", "responses with an image"),
        *("responses of xai", "responses of perplexity", "responses of openrouter, own key"),
        *("images with text", "images, written as svg", "transcription by speaker"),
        *("mistral ocr, document annotated", "mistral ocr, images annotated"),
        "mistral ocr, some pages annotated",
    ],
)
def test_attributes_of_any_depth_are_read(name: str) -> None:
    def objects(value: Any) -> Any:
        if isinstance(value, dict):
            return Plain(**{key: objects(item) for key, item in value.items()})
        if isinstance(value, list):
            return [objects(item) for item in value]
        return value

    answer = ANSWERS[name]
    body = {k: v for k, v in answer.body.items() if k not in {"content", "chat_history"}}

    assert read_response(objects(body)).usage == answer.usage


def test_ambiguous_answer_reads_as_empty() -> None:
    responses = {
        # The same names, counted in different ways.
        "cache": {"usage": {"input_tokens": 5, "output_tokens": 6, "cache_read_input_tokens": 7}},
        "total": {"usage": {"total_tokens": 10}},
        "dict": {"text": "Hi"},
        "object": Plain(text="Hi"),
    }
    wrong = {}
    for name, response in responses.items():
        reader = read_response(response)
        if (type(reader), reader.usage) != (Reader, None):
            wrong[name] = (type(reader), reader.usage)

    assert wrong == {}


def test_counts_that_mean_the_same_in_every_format_are_believed() -> None:
    reader = read_response({"model": "m", "usage": {"input_tokens": 5, "output_tokens": 6}})

    assert (reader.usage, reader.model) == (Usage(prompt_tokens=5, completion_tokens=6), "m")


@pytest.mark.slow
@hypothesis_settings(
    # How fast examples are made depends on the machine.
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(response=hostile | hostile.map(chunk))
def test_hostile_response_raises_nothing(response: Any) -> None:
    reader = read_response(response)

    usage = reader.usage
    assert usage is None or usage.known or usage.cost is not None or usage.faults


class Attributes:
    """An answer with attributes only, as `xai_sdk` and hand-written clients return."""

    class Counts:
        prompt_tokens = 32
        completion_tokens = 9

    id = "a1"
    model = "grok-4"
    usage = Counts()


def test_object_with_plain_attributes_is_read() -> None:
    reader = read_response(Attributes())

    assert reader.usage == Usage(prompt_tokens=32, completion_tokens=9)
    assert (reader.model, reader.response_id) == ("grok-4", "a1")


def test_answer_without_usage_keeps_its_model() -> None:
    reader = read_response({"choices": [], "model": "m", "id": "a1"})

    assert (reader.usage, reader.model, reader.response_id) == (None, "m", "a1")


def test_error_answer_keeps_its_message() -> None:
    assert read_response({"object": "response", "status": "failed"}).error == "failed"


def test_garbage_reads_as_empty() -> None:
    garbage = {
        "nothing": None,
        "text": "text",
        "bytes": b"bytes",
        "number": 7,
        "list": [],
        "empty": {},
        "usage that is text": {"usage": "none"},
        "object": object(),
        "class": Usage,
        "mock": mock.MagicMock(),
        "usage that is a mock": {"usage": mock.MagicMock()},
        "mocks as attributes": Plain(usage=mock.MagicMock(), choices=mock.MagicMock()),
        "circle": CIRCLE,
        "iterator": iter([]),
    }
    wrong = {}
    for name, response in garbage.items():
        reader = read_response(response)
        told = (reader.usage, reader.model, reader.response_id, reader.error)
        if told != (None, "", "", ""):
            wrong[name] = told

    assert wrong == {}


def test_objects_of_sdks_have_all_that_is_billed() -> None:
    audio = genai_types.ModalityTokenCount(modality=genai_types.MediaModality.AUDIO, token_count=8)
    grounding = genai_types.GroundingMetadata(web_search_queries=["a", "b"])
    gemini = genai_types.GenerateContentResponse(
        candidates=[genai_types.Candidate(grounding_metadata=grounding)],
        model_version="gemini-3-flash-preview",
        usage_metadata=genai_types.GenerateContentResponseUsageMetadata(
            prompt_token_count=10, candidates_token_count=5, prompt_tokens_details=[audio]
        ),
        sdk_http_response=genai_types.HttpResponse(headers={"x-gemini-service-tier": "flex"}),
    )
    no_cache = {"cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
    claude = BetaMessage.model_validate(
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "claude-opus-4-6",
            "content": [],
            "usage": {
                "input_tokens": 5,
                "output_tokens": 2,
                **no_cache,
                "cache_creation_input_tokens": 9,
                "cache_creation": {"ephemeral_1h_input_tokens": 9, "ephemeral_5m_input_tokens": 0},
                "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 1},
                "iterations": [
                    {"type": "compaction", "input_tokens": 4, "output_tokens": 1, **no_cache},
                    {"type": "message", "input_tokens": 5, "output_tokens": 2, **no_cache},
                ],
                "speed": "fast",
            },
        }
    )
    of_gemini, of_claude = read_response(gemini), read_response(claude)

    assert of_gemini.usage is not None
    assert of_gemini.usage.details == {"input_audio_tokens": 8, "web_searches": 2}
    assert of_gemini.price_context == {"service_tier": "flex"}
    assert of_claude.usage is not None
    assert of_claude.usage.units == {
        "input_tokens": 18,
        "output_tokens": 3,
        "cache_read_tokens": 0,
        "cache_write_tokens": 9,
        "cache_write_1h_tokens": 9,
        "web_searches": 2,
    }
    assert of_claude.price_context == {"speed": "fast"}


def test_answer_given_to_record_has_what_was_captured() -> None:
    """A dict, the object of an SDK and the wire itself say the same of each published answer."""

    def check(case: dict[str, Any]) -> None:
        url = urlsplit(case["url"])
        target = recognise(case["method"], url.hostname or "", url.port, url.path)
        assert target is not None
        captured = READERS[target.format]()
        captured.body(case["answer"])
        given: list[Any] = [case["answer"]]
        if case["kind"] != "bad input" and (kind := KINDS.get(target.format)):
            if issubclass(kind, GenerateContentResponse):
                with suppress(ValidationError):  # the SDK does not know every member
                    given.append(kind.model_validate(case["answer"]))
            else:
                given.append(construct_type(type_=kind, value=case["answer"]))
        for response in given:
            reader = read_response(response)
            assert reader.usage == captured.usage
            assert reader.price_context == captured.price_context

    check_each(
        check,
        [
            (case,)
            for case in published_prices.cases()
            if "answer" in case and case["status"] == 200
        ],
    )


def test_streamed_answer_has_the_units_and_the_price_of_the_plain_one() -> None:
    cases = {case["name"]: case for case in published_prices.cases()}

    def check(name: str) -> None:
        found = []
        for case in (cases[name], cases[f"{name}, streamed"]):
            with override_settings(**case.get("settings", {})):
                event, quote = recorded(case)
            found.append((event.units, event.price_context, quote.cost))

        assert found[0] == found[1]

    pairs = ((name, cases.get(f"{name}, streamed")) for name in cases)
    same = [(n,) for n, other in pairs if other and other.get("how") == cases[n].get("how")]
    assert len(same) > 30
    check_each(check, same)


def test_message_of_langchain_has_what_only_the_answer_of_the_provider_says() -> None:
    counts = {"input_tokens": 1000, "output_tokens": 100, "total_tokens": 1100}
    claude = {"input_tokens": 1000, "output_tokens": 100}
    iterations = [
        {"type": "compaction", "input_tokens": 5000, "output_tokens": 300},
        {"type": "message", "input_tokens": 1000, "output_tokens": 100},
    ]
    search = {"type": "web_search_call", "status": "completed", "action": {"type": "search"}}
    image = {"type": "image_generation_call", "status": "completed"}
    queries = {"web_search_queries": ["a", "b"]}

    def check(more: dict[str, Any], prompt: int, searches: int, facts: dict[str, str]) -> None:
        reader = read_response({"type": "ai", "usage_metadata": counts, "content": "Hi", **more})
        assert reader.usage is not None
        assert reader.usage.prompt_tokens == prompt
        assert reader.usage.details.get("web_searches", 0) == searches
        assert reader.price_context == facts

    def of_claude(**more: Any) -> dict[str, Any]:
        model = "claude-sonnet-4-5"
        return {"response_metadata": {"model_name": model, "usage": {**claude, **more}}}

    def of(model: str, **more: Any) -> dict[str, Any]:
        return {"response_metadata": {"model_name": model, **more}}

    groq = {"executed_tools": [{"type": "browser_search"}]}
    check_each(
        check,
        [
            (of_claude(speed="fast"), 1000, 0, {"speed": "fast"}),
            (of_claude(service_tier="priority"), 1000, 0, {"service_tier": "priority"}),
            (of_claude(inference_geo="us"), 1000, 0, {"inference_geo": "us"}),
            (of_claude(iterations=iterations), 6000, 0, {}),
            (of_claude(server_tool_use={"web_search_requests": 3}), 1000, 3, {}),
            ({**of("gpt-5"), "content": [search, {"type": "text", "text": "Hi"}]}, 1000, 1, {}),
            ({**of("gpt-5"), "additional_kwargs": {"tool_outputs": [search]}}, 1000, 1, {}),
            ({**of("gpt-5"), "content": [image]}, 1000, 0, {"tool": "image_generation"}),
            (of("gemini-3-flash-preview", grounding_metadata=queries), 1000, 2, {}),
            (of("gemini-2.5-flash", grounding_metadata=queries), 1000, 1, {}),
            (of("sonar", search_context_size="low"), 1000, 0, {"search_context_size": "low"}),
            (
                {**of("openai/gpt-oss-120b"), "additional_kwargs": groq},
                1000,
                0,
                {"tool": "built_in"},
            ),
        ],
    )
