"""Bodies of Bedrock's `invoke` by model family: Anthropic, Llama, Titan embeddings, Cohere.

Shapes: https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters.html
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from uuid import uuid4

from project.stub import assistant
from project.stub.exchange import Ask, Counts
from project.stub.wire import Json, conversation, counts, make_id, required


class Family(ABC):
    """Request and answer bodies of one model family."""

    @abstractmethod
    def read(self, body: Json) -> tuple[str, str]:
        """Return all the text, and the part of it that is searched for directives."""

    @abstractmethod
    def body(self, ask: Ask) -> Json:
        """Return the body of a plain answer."""

    @abstractmethod
    def events(self, ask: Ask) -> Iterator[Json]:
        """Yield the events of a streamed answer."""

    def answered_model(self, requested: str) -> str:
        """Return the model that the answer names; "" if it names none."""
        return ""

    def response_id(self) -> str:
        """Return a new id for an answer; "" if the format has none."""
        return ""

    def counts(self, ask: Ask) -> Counts:
        """Return the counts that an answer reports."""
        return counts(ask)


class Anthropic(Family):
    """The Messages API, with the model in the path and `anthropic_version` in the body."""

    def read(self, body: Json) -> tuple[str, str]:
        required(body, "anthropic_version", str)
        required(body, "max_tokens", int)
        return conversation(body.get("system"), required(body, "messages", list))

    def answered_model(self, requested: str) -> str:
        # Remove region, provider and version.
        return re.sub(r"^(?:[a-z]+\.)?anthropic\.|-v\d+(?::\d+)?$", "", requested)

    def response_id(self) -> str:
        return make_id("msg_bdrk_01", 22)

    def counts(self, ask: Ask) -> Counts:
        return counts(ask, cached=0, cache_write=0)

    def body(self, ask: Ask) -> Json:
        answer = self._message(ask, [{"type": "text", "text": ask.text}], "end_turn")
        if not ask.orders.nousage:
            answer["usage"] = self._usage(ask, ask.completion_tokens)
        return answer

    def events(self, ask: Ask) -> Iterator[Json]:
        message = self._message(ask, [], None)
        if not ask.orders.nousage:
            message["usage"] = self._usage(ask, 1)
        yield {"type": "message_start", "message": message}
        block: Json = {"type": "text", "text": ""}
        yield {"type": "content_block_start", "index": 0, "content_block": block}
        for piece in assistant.pieces(ask.text):
            delta = {"type": "text_delta", "text": piece}
            yield {"type": "content_block_delta", "index": 0, "delta": delta}
        yield {"type": "content_block_stop", "index": 0}
        end: Json = {"stop_reason": "end_turn", "stop_sequence": None}
        last: Json = {"type": "message_delta", "delta": end}
        if not ask.orders.nousage:
            last["usage"] = {"output_tokens": ask.completion_tokens}
        yield last
        yield {"type": "message_stop"}

    @staticmethod
    def _message(ask: Ask, content: list[Json], stop_reason: str | None) -> Json:
        return {
            "id": ask.response_id,
            "type": "message",
            "role": "assistant",
            "model": ask.model,
            "content": content,
            "stop_reason": stop_reason,
            "stop_sequence": None,
        }

    @staticmethod
    def _usage(ask: Ask, written: int) -> Json:
        return {
            "input_tokens": ask.prompt_tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": written,
        }


class _OfPrompt(Family):
    def read(self, body: Json) -> tuple[str, str]:
        prompt = required(body, "prompt", str)
        return prompt, prompt


class Llama(_OfPrompt):
    """Meta's Llama."""

    def body(self, ask: Ask) -> Json:
        return self._answer(ask, ask.text, ask.prompt_tokens, ask.completion_tokens, "stop")

    def events(self, ask: Ask) -> Iterator[Json]:
        """Count the prompt in the first event only, and the tokens so far in every event."""
        prompt: int | None = ask.prompt_tokens
        pieces = list(assistant.pieces(ask.text))
        for at, piece in enumerate(pieces):
            yield self._answer(ask, piece, prompt, ask.completion_tokens * at // len(pieces))
            prompt = None
        yield self._answer(ask, "", prompt, ask.completion_tokens, "stop")

    @staticmethod
    def _answer(
        ask: Ask, text: str, prompt: int | None, written: int, stop_reason: str | None = None
    ) -> Json:
        answer: Json = {"generation": text, "stop_reason": stop_reason}
        if ask.orders.nousage:
            return answer
        return {**answer, "prompt_token_count": prompt, "generation_token_count": written}


class Command(_OfPrompt):
    """Cohere's Command, whose bodies contain no counts."""

    def body(self, ask: Ask) -> Json:
        generation = {"id": str(uuid4()), "text": ask.text, "finish_reason": "COMPLETE"}
        return {"generations": [generation], "id": str(uuid4()), "prompt": ask.question.prompt}

    def events(self, ask: Ask) -> Iterator[Json]:
        for piece in assistant.pieces(ask.text):
            yield {"text": piece, "is_finished": False}
        yield {"text": "", "is_finished": True, "finish_reason": "COMPLETE"}


class TitanEmbeddings(Family):
    """Amazon's Titan, for embeddings."""

    def read(self, body: Json) -> tuple[str, str]:
        text = required(body, "inputText", str)
        return text, text

    def body(self, ask: Ask) -> Json:
        answer: Json = {"embedding": assistant.embedding_of(ask.question.prompt, 256)}
        if not ask.orders.nousage:
            answer["inputTextTokenCount"] = ask.prompt_tokens
        return answer

    def events(self, ask: Ask) -> Iterator[Json]:
        yield self.body(ask)

    def counts(self, ask: Ask) -> Counts:
        return replace(counts(ask), completion=None)


_FAMILIES: dict[str, Family] = {
    "anthropic.": Anthropic(),
    "meta.": Llama(),
    "amazon.titan-embed": TitanEmbeddings(),
}


def family_of(model: str) -> Family:
    """Return the family of a Bedrock model id; Cohere's Command if none matches."""
    return next((family for name, family in _FAMILIES.items() if name in model), Command())
