"""Amazon Bedrock: converse, and invoke with the bodies of each model family.

Shapes: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html,
…/API_runtime_ConverseStream.html, …/API_runtime_InvokeModel.html,
…/API_runtime_InvokeModelWithResponseStream.html
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import ClassVar
from urllib.parse import unquote
from uuid import uuid4

from project.stub import assistant, bedrock_models
from project.stub.bedrock_models import Family
from project.stub.eventstream import event_frame, exception_frame
from project.stub.exchange import Ask, Counts, Part, Question
from project.stub.orders import Orders
from project.stub.wire import (
    BadRequestError,
    Endpoint,
    Json,
    compact,
    conversation,
    counts,
    required,
)

_ERROR_TYPES = {
    400: "ValidationException",
    401: "UnrecognizedClientException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    408: "ModelTimeoutException",
    424: "ModelErrorException",
    429: "ThrottlingException",
    503: "ServiceUnavailableException",
}


class BedrockEndpoint(Endpoint):
    """Headers and errors of Bedrock."""

    provider = "aws"
    operation = "chat"
    stream_type: ClassVar[str] = "application/vnd.amazon.eventstream"

    def response_id(self) -> str:
        return ""

    def headers(self) -> dict[str, str]:
        return {"x-amzn-RequestId": str(uuid4())}

    def error_headers(self, status: int) -> dict[str, str]:
        kind = _ERROR_TYPES.get(status, "InternalServerException")
        return {**self.headers(), "x-amzn-ErrorType": f"{kind}:http://internal.amazon.com/"}

    def error(self, status: int, message: str) -> Json:
        return {"message": message}

    def stream_error(self, ask: Ask, message: str) -> Iterator[Part]:
        error = {"message": message, "originalStatusCode": 500, "originalMessage": message}
        yield Part(exception_frame("modelStreamErrorException", error), failed=True)

    def garbage(self, question: Question) -> bytes:
        return b"\x00\x00\x00\x10oops" + bytes(8) if question.stream else b"<html>502"

    def unsupported(self, orders: Orders) -> str:
        if orders.gzip:
            return "[stub gzip] is not supported for Bedrock, which never compresses"
        if orders.reasoning:
            return "[stub reasoning] is not supported for Bedrock, which does not count it"
        return super().unsupported(orders)


class Converse(BedrockEndpoint):
    """One format for all models. Only the path names the model."""

    pattern = re.compile(r"/bedrock/model/(?P<model>[^/]+)/converse(?P<stream>-stream)?")

    def read(self, body: Json, match: re.Match[str], query: dict[str, list[str]]) -> Question:
        prompt, spoken = conversation(body.get("system"), required(body, "messages", list))
        return Question(unquote(match["model"]), prompt, bool(match["stream"]), body, spoken)

    def answered_model(self, requested: str) -> str:
        return ""

    def plain(self, ask: Ask) -> Part:
        message = {"role": "assistant", "content": [{"text": ask.text}]}
        answer: Json = {
            "output": {"message": message},
            "stopReason": "end_turn",
            "metrics": {"latencyMs": 7},
        }
        if not ask.orders.nousage:
            answer["usage"] = self._usage(ask)
        return Part(compact(answer), self._counts(ask))

    def stream(self, ask: Ask) -> Iterator[Part]:
        yield Part(event_frame("messageStart", {"role": "assistant"}))
        for piece in assistant.pieces(ask.text):
            delta = {"contentBlockIndex": 0, "delta": {"text": piece}}
            yield Part(event_frame("contentBlockDelta", delta))
        yield Part(event_frame("contentBlockStop", {"contentBlockIndex": 0}))
        yield Part(event_frame("messageStop", {"stopReason": "end_turn"}))
        metadata: Json = {"metrics": {"latencyMs": 7}}
        if not ask.orders.nousage:
            metadata["usage"] = self._usage(ask)
        yield Part(event_frame("metadata", metadata), self._counts(ask))

    @staticmethod
    def _usage(ask: Ask) -> Json:
        orders = ask.orders
        usage = {
            # Without cache reads and writes, as with Anthropic.
            "inputTokens": ask.prompt_tokens - orders.cached - orders.cache_write,
            "outputTokens": ask.completion_tokens,
            "totalTokens": ask.prompt_tokens + ask.completion_tokens,
        }
        if orders.cached or orders.cache_write:
            usage["cacheReadInputTokens"] = orders.cached
            usage["cacheWriteInputTokens"] = orders.cache_write
        return usage

    @staticmethod
    def _counts(ask: Ask) -> Counts:
        orders = ask.orders
        if orders.cached or orders.cache_write:
            return counts(ask, cached=orders.cached, cache_write=orders.cache_write)
        return counts(ask)


class InvokeAgent(BedrockEndpoint):
    """An agent, which streams always and counts its tokens in a trace.

    https://docs.aws.amazon.com/bedrock/latest/APIReference/API_agent-runtime_InvokeAgent.html
    """

    operation = "invoke_agent"
    pattern = re.compile(r"/bedrock/agents/[^/]+/agentAliases/[^/]+/sessions/[^/]+/text")
    #: Of the agent: no request names it.
    model = "amazon.nova-lite-v1:0"

    def read(self, body: Json, match: re.Match[str], query: dict[str, list[str]]) -> Question:
        prompt = required(body, "inputText", str)
        return Question(self.model, prompt, stream=True, body=body, spoken=prompt)

    def plain(self, ask: Ask) -> Part:
        raise BadRequestError("An agent only streams.")

    def stream(self, ask: Ask) -> Iterator[Part]:
        traced = ask.body.get("enableTrace") is True and not ask.orders.nousage
        if traced:
            asked = {"traceId": "t1", "foundationModel": self.model, "text": ask.question.prompt}
            yield Part(_trace(modelInvocationInput=asked))
        for piece in assistant.pieces(ask.text):
            yield Part(event_frame("chunk", {"bytes": base64.b64encode(piece.encode()).decode()}))
        if traced:
            usage = {"inputTokens": ask.prompt_tokens, "outputTokens": ask.completion_tokens}
            answered = {"traceId": "t1", "metadata": {"usage": usage}}
            yield Part(_trace(modelInvocationOutput=answered), counts(ask))


def _trace(**step: Json) -> bytes:
    trace = {"agentId": "A1", "sessionId": "s1", "trace": {"orchestrationTrace": step}}
    return event_frame("trace", trace)


class Invoke(BedrockEndpoint):
    """Bodies depend on the model family. Headers contain the counts."""

    pattern = re.compile(
        r"/bedrock/model/(?P<model>[^/]+)/invoke(?P<stream>-with-response-stream)?"
    )

    def read(self, body: Json, match: re.Match[str], query: dict[str, list[str]]) -> Question:
        model = unquote(match["model"])
        family = bedrock_models.family_of(model)
        prompt, spoken = family.read(body)
        stream = bool(match["stream"])
        return Question(model, prompt, stream, body, spoken, family.response_id())

    def answered_model(self, requested: str) -> str:
        return bedrock_models.family_of(requested).answered_model(requested)

    def answer_headers(self, ask: Ask) -> dict[str, str]:
        headers = self.headers()
        if ask.question.stream:
            return {**headers, "X-Amzn-Bedrock-Content-Type": "application/json"}
        if ask.orders.nousage:
            return headers
        headers["X-Amzn-Bedrock-Invocation-Latency"] = "7"
        reported = self._counts(ask)
        headers["X-Amzn-Bedrock-Input-Token-Count"] = str(reported.prompt)
        if reported.completion is not None:
            headers["X-Amzn-Bedrock-Output-Token-Count"] = str(reported.completion)
        return headers

    def plain(self, ask: Ask) -> Part:
        return Part(compact(self._family(ask).body(ask)), self._counts(ask))

    def stream(self, ask: Ask) -> Iterator[Part]:
        *events, last = self._family(ask).events(ask)
        for event in events:
            yield self._part(event)
        if not ask.orders.nousage:
            last["amazon-bedrock-invocationMetrics"] = {
                "inputTokenCount": ask.prompt_tokens,
                "outputTokenCount": ask.completion_tokens,
                "invocationLatency": 7,
                "firstByteLatency": 3,
            }
        yield self._part(last, self._counts(ask))

    def unsupported(self, orders: Orders) -> str:
        if orders.cached or orders.cache_write:
            return "[stub cached, cache_write] are supported for converse only"
        return super().unsupported(orders)

    @staticmethod
    def _family(ask: Ask) -> Family:
        return bedrock_models.family_of(ask.question.model)

    def _counts(self, ask: Ask) -> Counts:
        return self._family(ask).counts(ask)

    @staticmethod
    def _part(event: Json, reports: Counts | None = None) -> Part:
        data = base64.b64encode(compact(event)).decode()
        return Part(event_frame("chunk", {"bytes": data, "p": "abcdef"}), reports)


class InvokeEmbeddings(Invoke):
    """Embeddings of Titan, through invoke."""

    operation = "embeddings"
    pattern = re.compile(r"/bedrock/model/(?P<model>amazon\.titan-embed[^/]+)/invoke(?P<stream>)")
