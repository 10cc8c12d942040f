"""Find the providers' answers in what frameworks and HTTP libraries return.

https://docs.llamaindex.ai/en/stable/api_reference/llms/ (`raw`)
https://reference.langchain.com/python/langchain_core/outputs/ (`generations`, `llm_output`)
https://python.useinstructor.com/concepts/raw_response/ (`_raw_response`)
https://openai.github.io/openai-agents-python/ref/result/ (`raw_responses`)
https://ai.pydantic.dev/api/run/ (`new_messages`)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from .objects import attribute, is_mock

#: Members with the one answer within: of instructor, of LlamaIndex and LangChain's structured
#: output, and of the raw responses of the SDKs by Stainless.
_ANSWERS = ("_raw_response", "raw", "http_response")
#: Members with a body that was read already: of httpx and requests, and of aiohttp.
_BODIES = ("_content", "_body")


def unwrapped(response: Any) -> list[Any]:
    """Return the answers in `response`, [] if there are none.

    An agent's run has one answer for each of its requests. The state of a graph is not read: it
    has the answers of earlier runs too.
    """
    if isinstance(response, (str, bytes)):
        return _parsed(response)
    if response is None or is_mock(response):
        return []
    for name in _ANSWERS:
        if (answer := _member(response, name)) is not None:
            return [answer]
    if isinstance(answers := _member(response, "raw_responses"), list):
        return answers
    if isinstance(generations := _member(response, "generations"), list):
        return _generated(generations, _member(response, "llm_output"))
    if callable(new_messages := _member(response, "new_messages")):
        return [each for each in new_messages() if attribute(each, "kind") == "response"]
    body = next(filter(None, (_member(response, name) for name in _BODIES)), None)
    return _parsed(body) if isinstance(body, bytes) else []


def _member(thing: Any, name: str) -> Any:
    return thing.get(name) if isinstance(thing, Mapping) else attribute(thing, name)


def _parsed(body: str | bytes) -> list[Any]:
    with suppress(ValueError, RecursionError):
        data = json.loads(body)
        return [data] if isinstance(data, dict) else []
    return []


def _generated(generations: list[Any], output: Any) -> list[Any]:
    """Return the answers in the result of LangChain: one for each prompt."""
    # All generations for one prompt are choices of one answer.
    firsts = [each[0] if isinstance(each, list) and each else each for each in generations]
    if not isinstance(generations[0] if generations else None, list):
        firsts = firsts[:1]
    messages = [message for each in firsts if (message := _member(each, "message")) is not None]
    if messages and all(_member(message, "usage_metadata") for message in messages):
        return messages
    if isinstance(output, Mapping) and (usage := output.get("token_usage") or output.get("usage")):
        return [{"usage": usage, "model": output.get("model_name") or output.get("model")}]
    return messages
