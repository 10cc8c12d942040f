"""What one call came to: its usage, its error, and the facts for the metadata of its row."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from ..attribution.scope import Attribution
from ..events import UsageEvent
from ..formats.bedrock_converse import model_name
from ..formats.excerpts import MODEL
from ..formats.reader import Reader, mapping, text
from ..redaction import clean_name, clean_text
from ..units import STANDARD
from ..usage import Usage
from .body import Body
from .endpoints import Target
from .keys import KEY_HINT

#: Names in a path of Bedrock that say nothing about the model. The throughput that is bought in
#: advance is not among them: it is billed by the hour, whatever the model.
_NICKNAMES = ("application-inference-profile/", "default-prompt-router/", "prompt-router/")
#: Provider → the models that cost the same in each geography.
#: https://developers.openai.com/api/docs/pricing (10 % more for models since March 2026)
#: https://cloud.google.com/vertex-ai/generative-ai/pricing (10 % more since Gemini 3)
#: https://platform.claude.com/docs/en/build-with-claude/claude-on-vertex-ai (10 % more since 4.5)
_ONE_PRICE = {
    "openai": re.compile(
        r"(?:ft:)?(?:gpt-(?:3|4|5(?:-|$|\.[0-3])|oss|image-1|audio|realtime-20|realtime-mini)"
        r"|o[134](?:-|$)|chatgpt|text-|tts|whisper|dall-e|computer-use|codex|omni-moderation)"
    ),
    "google": re.compile(
        r"(?!.*gemini-(?:[3-9]|\d\d))"
        r"(?!.*claude-(?!3|(?:opus|sonnet)-4(?:-[01])?(?:@|-2025|$)))"
    ),
}
#: Formats of Bedrock whose requests name the model by its ARN, somewhere inside.
_IN_ARN = {"bedrock.agent", "rerank"}
_MODEL_ARN = re.compile(rb'"modelArn"\s*:\s*"([^"]{1,2048})"')
#: Formats of chats whose streams have usage if the request asks for it.
CHAT = frozenset({"openai.chat", "invocations"})
#: The operation of a batch, whose body may name many models.
BATCH = "batch"
#: A larger request body is searched for its model, not parsed.
_SMALL = 16 * 1024
#: In JSON, a quotation mark in the text of a prompt has a backslash before it.
_INCLUDE_USAGE = re.compile(rb'(?<!\\)"include_usage"\s*:\s*true')
#: Characters of a name that the provider or the request chose.
_MAX_NAME = 100

#: The body of a request if it is in memory, or the mapping it was made of.
Request = bytes | Mapping[str, Any] | None


class Outcome(NamedTuple):
    """The result of one finished call."""

    usage: Usage
    #: The model that answered, else the one requested.
    model: str
    requested_model: str
    #: What the answer shows that was done, else what the path says.
    operation: str
    #: Cleaned; "" if the answer names none.
    response_id: str
    #: "" if the call succeeded.
    error_message: str
    facts: dict[str, Any]
    #: What the price depends on beside the usage, see `Reader.price_context`.
    price_context: dict[str, str]

    def event(
        self,
        event_id: UUID,
        created_at: datetime,
        elapsed: float,
        endpoint: Target,
        attributed: Attribution,
        *,
        begins: bool = False,
        completes: bool = False,
    ) -> UsageEvent:
        """Return the event of the call.

        Args:
            event_id: The id of its row.
            created_at: When the call began.
            elapsed: Its duration in seconds.
            endpoint: The endpoint of the call.
            attributed: Whose call it is.
            begins: Whether a later event completes the row.
            completes: Whether the row has an earlier event.
        """
        user = attributed.user
        return UsageEvent.create(
            id=event_id,
            created_at=created_at,
            user_id=user.id if user else None,
            username=user.username if user else "",
            section=attributed.section,
            provider=endpoint.provider,
            model_name=self.model,
            operation=self.operation,
            usage=self.usage,
            price_context=self.price_context,
            response_time_ms=round(elapsed * 1000),
            success=not self.error_message,
            error_message=self.error_message,
            metadata=attributed.metadata,
            facts=self.facts,
            unit=attributed.unit.id if attributed.unit.open else "",
            begins=begins,
            completes=completes,
            revision=int(completes),
            database=attributed.place.database,
            schema=attributed.place.schema,
        )


def outcome(
    endpoint: Target,
    requested_model: str,
    body: Body,
    reader: Reader,
    *,
    error: BaseException | None,
    is_ended: bool,
    request: Request = None,
    key_hint: str = "",
) -> Outcome:
    """Return the outcome of a call from what its answer said.

    Args:
        endpoint: The endpoint of the call.
        requested_model: The model that the request named.
        body: The finished body of the response.
        reader: The reader of the body, or of one of its parts.
        error: What the transport raised, if it did.
        is_ended: Whether the body came to its regular end.
        request: The body of the request as it was sent.
        key_hint: What is recorded of the key that made the call, "" for nothing.
    """
    response_id = clean_name(reader.response_id)
    usage, facts = _usage(body, reader, is_ended=is_ended)
    if usage is None and error is None and body.answer.status < 400 and not reader.error:
        facts["unknown"] = _why_unknown(endpoint, body, reader, request, is_ended=is_ended)
    if response_id:
        facts["response_id"] = clean_text(response_id, _MAX_NAME)
    model = _model(endpoint, requested_model, reader)
    if requested_model and reader.model and requested_model not in {model, reader.model}:
        facts["requested_model"] = clean_text(requested_model, _MAX_NAME)
    if endpoint.is_deployment and reader.model not in {"", model}:
        facts["response_model"] = clean_text(reader.model, _MAX_NAME)
    if reader.service_tier and reader.service_tier.lower() not in STANDARD:
        facts["service_tier"] = clean_text(reader.service_tier, _MAX_NAME)
    if endpoint.unknown_host:
        facts["host"] = clean_text(endpoint.unknown_host, _MAX_NAME)
    if key_hint:
        facts[KEY_HINT] = key_hint
    context = _price_context(endpoint, model, reader)
    return Outcome(
        usage or Usage(),
        model,
        requested_model,
        reader.shown_operation or endpoint.operation,
        response_id,
        _message(body.answer.status, reader.error, error),
        facts,
        {name: clean_text(value, _MAX_NAME) for name, value in context.items()},
    )


def _model(endpoint: Target, requested: str, reader: Reader) -> str:
    """Return the model that the price is for.

    On Bedrock that is the requested one, because its name has the region or the profile, which
    the answer leaves out: "us.anthropic.claude-sonnet-4-5-20250929-v1:0". Only the model that a
    prompt router chose wins; an answer of converse names no other. Databricks has prices for
    deployments too: "databricks-gemma-3-12b".
    """
    if endpoint.is_deployment:
        return endpoint.model
    is_bedrock = endpoint.format == "bedrock.invoke" or endpoint.provider == "aws"
    is_named = bool(requested) and not requested.startswith(_NICKNAMES)
    if is_bedrock and is_named and endpoint.format != "bedrock.converse":
        return requested
    model = reader.model or requested
    # In OpenAI's format, Vertex names the publisher too.
    return model.removeprefix("google/") if endpoint.provider == "google" else model


def _price_context(endpoint: Target, model: str, reader: Reader) -> dict[str, str]:
    """Return the facts that the price depends on: those of the answer, and where it was served."""
    context = reader.price_context
    if endpoint.geography:
        same = _ONE_PRICE.get(endpoint.provider)
        if same is None or not same.match(model):
            context = {"inference_geo": endpoint.geography} | context
    return context


def _message(status: int, said: str, error: BaseException | None) -> str:
    if error is not None:
        return f"{type(error).__name__}: {error}".removesuffix(": ")
    if status >= 400:
        return f"HTTP {status} {said}" if said else f"HTTP {status}"
    return said


def _usage(body: Body, reader: Reader, *, is_ended: bool) -> tuple[Usage | None, dict[str, Any]]:
    """Return the usage that counts, and the facts about one that does not."""
    found, facts = _with_header(body, reader), dict(reader.facts)
    is_final = is_ended and reader.final_at_end and not reader.error
    if found is not None and body.answer.status < 400 and (reader.complete or is_final):
        return found, facts
    if found is not None and found.known:
        # Running counts of a stream that was cut: shown, but never counted.
        facts["partial"] = {
            "prompt_tokens": found.prompt_tokens,
            "completion_tokens": found.completion_tokens,
        }
    return None, facts


def _with_header(body: Body, reader: Reader) -> Usage | None:
    """Return the usage with the gateway's cost from the headers, if the answer names none.

    The headers of a stream are sent before its cost is known.
    """
    usage = reader.usage
    if body.answer.is_stream or (usage is not None and usage.cost is not None):
        return usage
    if usage is None:
        # Of speech or images, say, the gateway may know the cost alone.
        return None if reader.header_cost is None else Usage(cost=reader.header_cost)
    if reader.header_cost_is_invalid:
        return replace(usage, faults={**usage.faults, "cost": "not an amount of USD"})
    return usage if reader.header_cost is None else replace(usage, cost=reader.header_cost)


def _why_unknown(
    endpoint: Target, body: Body, reader: Reader, request: Request, *, is_ended: bool
) -> str:
    answer = body.answer
    if answer.problem:
        return answer.problem
    if reader.job is not None and not reader.job.ended:
        return reader.in_progress
    if not is_ended:
        return "stream abandoned" if body.length else "body never read"
    is_chat = answer.is_stream and endpoint.format in CHAT
    asked = asks_for_usage(request) if is_chat else None
    if asked is False:
        return "no usage in the stream (stream_options.include_usage not sent)"
    if answer.has_long_events:
        return "no usage at the end of an event that is too long"
    if reader.usage is not None:
        return "stream ended before its final counts"
    if asked:
        sent = "no usage in the stream, although stream_options.include_usage was sent"
        return sent if answer.is_done else f"{sent}; it ended without [DONE]"
    return "no usage in the stream" if is_chat else reader.no_usage


def asks_for_usage(request: Request) -> bool | None:
    """Return whether a request asks for the usage of its stream; None if it is not in memory."""
    if request is None:
        return None
    if isinstance(request, Mapping):
        options = request.get("stream_options")
        return isinstance(options, Mapping) and options.get("include_usage") is True
    return _INCLUDE_USAGE.search(request) is not None


def requested_model(endpoint: Target, body: Request) -> str:
    """Return the model that a request names in its body, else in its path; "" if it names none."""
    model: Any = None
    if endpoint.format in _IN_ARN and isinstance(body, bytes) and endpoint.provider == "aws":
        match = _MODEL_ARN.search(body[:_SMALL])
        return model_name(match[1].decode("utf-8", "replace")) if match else ""
    if endpoint.format.startswith("bedrock.") or endpoint.operation == BATCH:
        return endpoint.model
    if isinstance(body, Mapping):
        model = body.get("model")
    elif body and len(body) <= _SMALL:
        with suppress(ValueError, AttributeError, RecursionError):
            data = json.loads(body)
            model = data.get("model") or mapping(data.get("request")).get("model")  # Perplexity
    elif body and (match := MODEL.search(body[-4096:]) or MODEL.search(body[:4096])):
        model = match[1].decode("utf-8", "replace")
    return text(model) or endpoint.model
