"""Mistral conversations.

Shapes: https://docs.mistral.ai/api/endpoint/beta/conversations
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from project.stub import assistant
from project.stub.exchange import Ask, Counts, Part, Question
from project.stub.openai_like import MistralChat
from project.stub.wire import Json, compact, conversation, counts, make_id, required, sse


class Conversations(MistralChat):
    """Start a conversation, or continue it: then the request names no model."""

    pattern = re.compile(r"/mistral/v1/conversations(?P<id>/[^/]+)?")
    _continued = "mistral-medium-latest"

    def read(self, body: Json, match: re.Match[str], query: dict[str, list[str]]) -> Question:
        model = self._continued if match["id"] else required(body, "model", str)
        prompt, spoken = conversation(
            body.get("instructions"), required(body, "inputs", (str, list))
        )
        return Question(model, prompt, body.get("stream") is True, body, spoken)

    def response_id(self) -> str:
        return make_id("msg_", 32)

    def plain(self, ask: Ask) -> Part:
        message = {"object": "entry", **self._output(ask, "message.output", ask.text)}
        answer = {
            "object": "conversation.response",
            "conversation_id": make_id("conv_", 32),
            "outputs": [message],
            **self._reported(ask),
        }
        return Part(compact(answer), self._counts(ask))

    def stream(self, ask: Ask) -> Iterator[Part]:
        """Report the usage in the last event."""
        yield _event("conversation.response.started", conversation_id=make_id("conv_", 32))
        for piece in assistant.pieces(ask.text):
            event = self._output(ask, "message.output.delta", piece)
            yield Part(sse(event, "message.output.delta"))
        done = _event("conversation.response.done", **self._reported(ask))
        yield Part(done.data, self._counts(ask))

    def stream_error(self, ask: Ask, message: str) -> Iterator[Part]:
        error = _event("conversation.response.error", message=message, code=3000)
        yield Part(error.data, failed=True)

    def _reported(self, ask: Ask) -> Json:
        return {"usage": {} if ask.orders.nousage else self._usage(ask)}

    def _counts(self, ask: Ask) -> Counts:
        return counts(ask)

    @staticmethod
    def _output(ask: Ask, kind: str, text: str) -> Json:
        return {
            "type": kind,
            "id": ask.response_id,
            "role": "assistant",
            "model": ask.model,
            "content": text,
        }


def _event(kind: str, **more: object) -> Part:
    return Part(sse({"type": kind, **more}, kind))
