"""Bedrock through boto3, which sends through botocore with urllib3."""

from __future__ import annotations

import json
from typing import Any

import boto3
import pytest
from botocore.config import Config

from project.stub import StubProvider
from tests.sdks.bench import Bench, Way, ways

pytestmark = pytest.mark.django_db

CLAUDE = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
LLAMA = "meta.llama3-1-8b-instruct-v1:0"
COMMAND = "cohere.command-text-v14"
TITAN = "amazon.titan-embed-text-v2:0"
#: Without compression, which Bedrock never uses.
ORDERS = ("", "fragments")


def options(stub: StubProvider, service: str = "bedrock-runtime") -> Any:
    return {
        "service_name": service,
        "region_name": "us-east-1",
        "endpoint_url": f"{stub.url}/bedrock",
        "aws_access_key_id": "any",
        "aws_secret_access_key": "any",
    }


def client_of(stub: StubProvider, service: str = "bedrock-runtime") -> Any:
    config = Config(retries={"total_max_attempts": 1})
    return boto3.client(**options(stub, service), config=config)


def question(prompt: str, model: str = CLAUDE) -> Any:
    return {"modelId": model, "messages": [{"role": "user", "content": [{"text": prompt}]}]}


def to_claude(prompt: str) -> Any:
    body = {
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": 100,
        "messages": [{"role": "user", "content": prompt}],
    }
    return {"modelId": CLAUDE, "body": json.dumps(body)}


def to_model(model: str, **body: str) -> Any:
    return {"modelId": model, "body": json.dumps(body)}


def text_of(event: dict[str, Any]) -> Any:
    return json.loads(event["chunk"]["bytes"])


def converse(stub: StubProvider, prompt: str) -> Any:
    return client_of(stub).converse(**question(prompt))


def converse_streamed(stub: StubProvider, prompt: str) -> Any:
    return list(client_of(stub).converse_stream(**question(prompt))["stream"])


def invoke_claude(stub: StubProvider, prompt: str) -> Any:
    return json.load(client_of(stub).invoke_model(**to_claude(prompt))["body"])


def invoke_claude_streamed(stub: StubProvider, prompt: str) -> Any:
    answer = client_of(stub).invoke_model_with_response_stream(**to_claude(prompt))
    return [text_of(event) for event in answer["body"]]


def invoke_llama(stub: StubProvider, prompt: str) -> Any:
    answer = client_of(stub).invoke_model(**to_model(LLAMA, prompt=prompt))
    return json.loads(answer["body"].read())


def invoke_llama_streamed(stub: StubProvider, prompt: str) -> Any:
    answer = client_of(stub).invoke_model_with_response_stream(**to_model(LLAMA, prompt=prompt))
    return [text_of(event) for event in answer["body"]]


def invoke_command(stub: StubProvider, prompt: str) -> Any:
    answer = client_of(stub).invoke_model(**to_model(COMMAND, prompt=prompt))
    return json.loads(b"".join(answer["body"].iter_chunks(100)))


def invoke_titan(stub: StubProvider, prompt: str) -> Any:
    return json.load(client_of(stub).invoke_model(**to_model(TITAN, inputText=prompt))["body"])


def invoke_agent_streamed(stub: StubProvider, prompt: str) -> Any:
    agent = {"agentId": "AGENT1", "agentAliasId": "ALIAS1", "sessionId": "s1"}
    asked = {"inputText": prompt, "enableTrace": True}
    answer = client_of(stub, "bedrock-agent-runtime").invoke_agent(**agent, **asked)
    return [event["chunk"]["bytes"] for event in answer["completion"] if "chunk" in event]


WAYS = ways(
    "boto3",
    [converse, invoke_claude, invoke_llama, invoke_command, invoke_titan],
    streamed=[
        converse_streamed,
        invoke_agent_streamed,
        invoke_claude_streamed,
        invoke_llama_streamed,
    ],
)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("way", WAYS)
def test_call_is_recorded_as_served(bench: Bench, way: Way, order: str) -> None:
    bench.check(way, order)


# Only the trace of an agent names its model.
@pytest.mark.parametrize("way", [way for way in WAYS if way.id != "invoke_agent_streamed"])
def test_refused_call_is_recorded_as_served(bench: Bench, way: Way) -> None:
    bench.check_refusal(way)
