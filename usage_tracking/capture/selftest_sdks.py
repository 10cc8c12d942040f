"""The SDKs that the self-test calls: how to make one call, and what the server answers.

To add an SDK, write its functions and add one entry to `SDKS`. SDKs are imported by name when they
are called, so this module imports none of them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple

#: Makes one call to the server at a URL; a coroutine function for the async mode.
Call = Callable[[str], Any]

_PROMPT, _COMPLETION = 11, 7
#: Prompt tokens and completion tokens that every answer reports.
TOKENS = _PROMPT, _COMPLETION
#: The model that every call requests.
MODEL = "self-test"
_QUESTION = "Are you there?"
#: The body of a call in OpenAI's chat format.
REQUEST = {"model": MODEL, "messages": [{"role": "user", "content": _QUESTION}]}


class Answer(NamedTuple):
    """What the server answers in one wire format."""

    #: The end of the path that this answer is for.
    path: str
    body: dict[str, Any]


class SDK(NamedTuple):
    """One SDK."""

    #: Name of the distribution.
    package: str
    answer: Answer
    #: One call for each mode that the SDK has.
    calls: tuple[Call, ...]


# Answers.

_INPUT_OUTPUT = {"input_tokens": _PROMPT, "output_tokens": _COMPLETION}

#: The answer that the bare transports get too.
OPENAI_CHAT = Answer(
    "/chat/completions",
    {
        "id": "self-test",
        "object": "chat.completion",
        "created": 0,
        "model": MODEL,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Yes."},
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": _PROMPT,
            "completion_tokens": _COMPLETION,
            "total_tokens": _PROMPT + _COMPLETION,
        },
    },
)
_ANTHROPIC_MESSAGES = Answer(
    "/v1/messages",
    {
        "id": "self-test",
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "content": [{"type": "text", "text": "Yes."}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": _INPUT_OUTPUT,
    },
)
_GEMINI = Answer(
    ":generateContent",
    {
        "candidates": [
            {"content": {"role": "model", "parts": [{"text": "Yes."}]}, "finishReason": "STOP"}
        ],
        "usageMetadata": {
            "promptTokenCount": _PROMPT,
            "candidatesTokenCount": _COMPLETION,
            "totalTokenCount": _PROMPT + _COMPLETION,
        },
        "modelVersion": MODEL,
    },
)
_BEDROCK_CONVERSE = Answer(
    "/converse",
    {
        "output": {"message": {"role": "assistant", "content": [{"text": "Yes."}]}},
        "stopReason": "end_turn",
        "usage": {
            "inputTokens": _PROMPT,
            "outputTokens": _COMPLETION,
            "totalTokens": _PROMPT + _COMPLETION,
        },
        "metrics": {"latencyMs": 1},
    },
)
_COHERE_CHAT = Answer(
    "/v2/chat",
    {
        "id": "self-test",
        "finish_reason": "COMPLETE",
        "message": {"role": "assistant", "content": [{"type": "text", "text": "Yes."}]},
        "usage": {"billed_units": _INPUT_OUTPUT, "tokens": _INPUT_OUTPUT},
    },
)
_OLLAMA_CHAT = Answer(
    "/api/chat",
    {
        "model": MODEL,
        "created_at": "2026-01-01T00:00:00Z",
        "message": {"role": "assistant", "content": "Yes."},
        "done": True,
        "done_reason": "stop",
        "prompt_eval_count": _PROMPT,
        "eval_count": _COMPLETION,
    },
)


# Calls.


def _openai(package: str, name: str, url: str) -> None:
    client_class = getattr(import_module(package), name)
    with client_class(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        client.chat.completions.create(**REQUEST)


async def _aopenai(package: str, name: str, url: str) -> None:
    client_class = getattr(import_module(package), name)
    async with client_class(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        await client.chat.completions.create(**REQUEST)


def _anthropic(url: str) -> None:
    client_class = import_module("anthropic").Anthropic
    with client_class(base_url=url, api_key="none", max_retries=0) as client:
        client.messages.create(max_tokens=9, **REQUEST)


async def _aanthropic(url: str) -> None:
    client_class = import_module("anthropic").AsyncAnthropic
    async with client_class(base_url=url, api_key="none", max_retries=0) as client:
        await client.messages.create(max_tokens=9, **REQUEST)


def _genai_client(url: str) -> Any:
    genai = import_module("google.genai")
    return genai.Client(api_key="none", http_options=genai.types.HttpOptions(base_url=url))


def _genai(url: str) -> None:
    client = _genai_client(url)
    client.models.generate_content(model=MODEL, contents=_QUESTION)


async def _agenai(url: str) -> None:
    client = _genai_client(url).aio
    try:
        await client.models.generate_content(model=MODEL, contents=_QUESTION)
    finally:
        await client.aclose()


def _mistral_client(url: str) -> Any:
    return import_module("mistralai.client").Mistral(api_key="none", server_url=url)


def _mistral(url: str) -> None:
    _mistral_client(url).chat.complete(**REQUEST)


async def _amistral(url: str) -> None:
    await _mistral_client(url).chat.complete_async(**REQUEST)


def _cohere(url: str) -> None:
    import_module("cohere").ClientV2(api_key="none", base_url=url).chat(**REQUEST)


async def _acohere(url: str) -> None:
    await import_module("cohere").AsyncClientV2(api_key="none", base_url=url).chat(**REQUEST)


def _ollama(url: str) -> None:
    import_module("ollama").Client(host=url).chat(**REQUEST)


async def _aollama(url: str) -> None:
    await import_module("ollama").AsyncClient(host=url).chat(**REQUEST)


def _huggingface(url: str) -> None:
    client = import_module("huggingface_hub").InferenceClient(base_url=url)
    client.chat_completion(messages=REQUEST["messages"])


def _bedrock(url: str) -> None:
    client = import_module("boto3").client(
        "bedrock-runtime",
        region_name="us-east-1",
        endpoint_url=url,
        aws_access_key_id="none",
        aws_secret_access_key="none",  # noqa: S106 -- not a real key
    )
    messages = [{"role": "user", "content": [{"text": _QUESTION}]}]
    client.converse(modelId=MODEL, messages=messages)


SDKS = (
    SDK(
        "openai",
        OPENAI_CHAT,
        (partial(_openai, "openai", "OpenAI"), partial(_aopenai, "openai", "AsyncOpenAI")),
    ),
    SDK("anthropic", _ANTHROPIC_MESSAGES, (_anthropic, _aanthropic)),
    SDK("google-genai", _GEMINI, (_genai, _agenai)),
    SDK("mistralai", OPENAI_CHAT, (_mistral, _amistral)),
    SDK("cohere", _COHERE_CHAT, (_cohere, _acohere)),
    SDK(
        "groq",
        OPENAI_CHAT,
        (partial(_openai, "groq", "Groq"), partial(_aopenai, "groq", "AsyncGroq")),
    ),
    SDK("ollama", _OLLAMA_CHAT, (_ollama, _aollama)),
    SDK("huggingface_hub", OPENAI_CHAT, (_huggingface,)),
    SDK("boto3", _BEDROCK_CONVERSE, (_bedrock,)),
)
