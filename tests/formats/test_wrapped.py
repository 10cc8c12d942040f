"""Answers within the objects of frameworks and HTTP libraries, and several in one object.

The stand-ins have the members that pydantic-ai 2.68, openai-agents 0.24, instructor 1.17,
llama-index-core 0.14 and langchain-core 1.8 document.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from unittest import mock

import httpx
import httpx2
import openai
import pytest
import requests
from openai.types import CompletionUsage
from openai.types.chat import ChatCompletion
from pydantic import BaseModel, PrivateAttr

from tests.support.cases import check_each
from tests.support.comparison import rows
from usage_tracking import ai_usage
from usage_tracking.formats import read_responses
from usage_tracking.usage import Usage

COUNTS: dict[str, Any] = {"prompt_tokens": 5, "completion_tokens": 6, "total_tokens": 11}
ANSWER: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-4o",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}}],
    "usage": COUNTS,
}
URL = "https://api.openai.com/v1"


class Extracted(BaseModel):
    """What instructor returns."""

    name: str = "Ada"
    _raw_response: Any = PrivateAttr(default=None)


class ChatResponse(BaseModel):
    """Of LlamaIndex."""

    raw: Any
    delta: str | None = None


class Message(BaseModel):
    type: str = "ai"
    content: str = "Hi"
    usage_metadata: dict[str, Any] | None = None
    response_metadata: dict[str, Any] = {}


class Generation(BaseModel):
    text: str = "Hi"
    message: Message | None = None


class LLMResult(BaseModel):
    generations: list[Any]
    llm_output: dict[str, Any] | None = None


@dataclass
class RequestUsage:
    input_tokens: int = 5
    output_tokens: int = 6
    cache_read_tokens: int = 0
    details: dict[str, int] = field(default_factory=dict)


@dataclass
class ModelResponse:
    """Of pydantic-ai."""

    parts: list[Any] = field(default_factory=list)
    usage: RequestUsage = field(default_factory=RequestUsage)
    model_name: str = "gpt-4o"
    provider_response_id: str = "chatcmpl-1"
    kind: str = "response"


class AgentRunResult:
    """Of pydantic-ai."""

    def __init__(self, *responses: ModelResponse) -> None:
        self._responses = responses

    def new_messages(self) -> list[Any]:
        question = SimpleNamespace(kind="request", parts=[])
        return [message for each in self._responses for message in (question, each)]


def raw_of_openai() -> Any:
    transport = httpx2.MockTransport(lambda request: httpx2.Response(200, json=ANSWER))
    client = openai.OpenAI(api_key="any", http_client=httpx2.Client(transport=transport))
    return client.chat.completions.with_raw_response.create(model="gpt-4o", messages=[])


def of_requests() -> requests.Response:
    response = requests.Response()
    response._content = json.dumps(ANSWER).encode()
    return response


def extracted() -> Extracted:
    found = Extracted()
    found._raw_response = ChatCompletion.construct(**ANSWER)
    return found


def message() -> Message:
    usage = {"input_tokens": 5, "output_tokens": 6, "total_tokens": 11}
    return Message(usage_metadata=usage, response_metadata={"model_name": "gpt-4o"})


WRAPPED = {
    "JSON": lambda: json.dumps(ANSWER),
    "JSON bytes": lambda: json.dumps(ANSWER).encode(),
    "httpx": lambda: httpx.Response(200, json=ANSWER),
    "httpx2": lambda: httpx2.Response(200, json=ANSWER),
    "requests": of_requests,
    "raw response of openai": raw_of_openai,
    "instructor": extracted,
    "llama-index": lambda: ChatResponse(raw=ChatCompletion.construct(**ANSWER)),
    "structured output of langchain": lambda: {"raw": message(), "parsed": None},
    "result of langchain": lambda: LLMResult(generations=[[Generation(message=message())]]),
    "result of a chat model": lambda: LLMResult(generations=[Generation(message=message())]),
    "choices of langchain": lambda: LLMResult(
        generations=[[Generation(message=message()), Generation(message=message())]]
    ),
    "result of a completion": lambda: LLMResult(
        generations=[[Generation()]],
        llm_output={"token_usage": COUNTS, "model_name": "gpt-4o"},
    ),
    "pydantic-ai": lambda: AgentRunResult(ModelResponse()),
    "message of pydantic-ai": ModelResponse,
    "openai-agents": lambda: SimpleNamespace(
        raw_responses=[SimpleNamespace(usage=CompletionUsage(**COUNTS), model="gpt-4o")]
    ),
}


@pytest.mark.parametrize("name", WRAPPED)
def test_answer_within_an_object_is_read(name: str) -> None:
    (reader,) = read_responses(WRAPPED[name]())

    assert reader.usage is not None
    assert (reader.usage.prompt_tokens, reader.usage.completion_tokens) == (5, 6)
    assert reader.model == "gpt-4o"


def test_usage_alone_is_read() -> None:
    def check(usage: Any) -> None:
        (reader,) = read_responses(usage)

        assert reader.usage == Usage(prompt_tokens=5, completion_tokens=6)

    check_each(check, [CompletionUsage(**COUNTS), COUNTS, {"input_tokens": 5, "output_tokens": 6}])


def test_sum_of_several_requests_is_not_taken_for_one() -> None:
    (reader,) = read_responses({"requests": 2, "input_tokens": 10, "output_tokens": 12})

    assert reader.usage is None


def test_every_answer_of_a_run_is_read() -> None:
    cached = ModelResponse(usage=RequestUsage(9, 4, cache_read_tokens=3), model_name="o3")
    readers = read_responses(AgentRunResult(ModelResponse(), cached))

    assert [(reader.model, reader.usage) for reader in readers] == [
        ("gpt-4o", Usage(prompt_tokens=5, completion_tokens=6)),
        ("o3", Usage(prompt_tokens=9, completion_tokens=4, cached_tokens=3)),
    ]


def test_what_has_no_answer_is_read_as_nothing() -> None:
    unread = requests.Response()
    looped: dict[str, Any] = {}
    looped["raw"] = looped

    def check(thing: Any) -> None:
        (reader,) = read_responses(thing)

        assert (reader.usage, reader.recognised, reader.error) == (None, False, "")

    check_each(
        check,
        [
            *(None, "", "Hello", "[1]", "[" * 100_000, b"\xff", 5, object(), mock.Mock(), []),
            *(mock.MagicMock(), unread, looped, {"raw": 5}, {"generations": [[]]}),
            *({"generations": []}, {"raw_responses": []}, {"messages": [message()]}),
        ],
    )


@pytest.mark.django_db
class TestRecord:
    @staticmethod
    def call(client: httpx2.Client) -> None:
        client.post(f"{URL}/chat/completions", json={"model": "gpt-4o", "messages": []})

    def test_run_of_an_agent_joins_each_of_its_calls(self) -> None:
        transport = httpx2.MockTransport(lambda request: httpx2.Response(200, json=ANSWER))
        with httpx2.Client(transport=transport) as client, ai_usage(section="chat") as usage:
            self.call(client)
            self.call(client)
            usage.record(AgentRunResult(ModelResponse(), ModelResponse()), metadata={"n": 1})

        assert [(row.total_tokens, row.metadata["n"]) for row in rows()] == [(11, 1), (11, 1)]

    def test_run_that_was_not_captured_is_a_row_for_each_request(self) -> None:
        other = ModelResponse(usage=RequestUsage(50, 60), provider_response_id="chatcmpl-2")
        with ai_usage(section="chat") as usage:
            usage.record(AgentRunResult(ModelResponse(), other))

        assert sorted(row.total_tokens or 0 for row in rows()) == [11, 110]

    def test_counts_of_the_site_for_a_whole_run_are_one_row(self) -> None:
        with ai_usage(section="chat") as usage:
            usage.record(AgentRunResult(ModelResponse(), ModelResponse()), prompt_tokens=9)

        (row,) = rows()
        assert row.prompt_tokens == 9

    def test_response_without_usage_has_that_reason(self) -> None:
        with ai_usage(section="chat") as usage:
            usage.record(object())

        (row,) = rows()
        assert row.metadata["unknown"] == "no usage in the recorded response"

    def test_captured_usage_has_no_reason_to_be_unknown(self) -> None:
        transport = httpx2.MockTransport(lambda request: httpx2.Response(200, json=ANSWER))
        with httpx2.Client(transport=transport) as client, ai_usage(section="chat") as usage:
            self.call(client)
            usage.record(object())

        (row,) = rows()
        assert row.total_tokens == 11
        assert "unknown" not in row.metadata

    def test_recorded_usage_replaces_the_reason(self) -> None:
        answer = {key: value for key, value in ANSWER.items() if key != "usage"}
        transport = httpx2.MockTransport(lambda request: httpx2.Response(200, json=answer))
        with httpx2.Client(transport=transport) as client, ai_usage(section="chat") as usage:
            self.call(client)
            usage.record(object(), metadata={"n": 1})
            self.call(client)
            usage.record(ANSWER)

        unknown, known = rows()
        assert unknown.metadata["unknown"] == "no usage in the answer"
        assert known.total_tokens == 11
        assert "unknown" not in known.metadata
