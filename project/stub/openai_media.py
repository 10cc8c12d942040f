"""OpenAI: images and transcriptions.

Shapes: https://platform.openai.com/docs/api-reference/images and …/audio
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from dataclasses import replace

from project.stub import assistant
from project.stub.exchange import Ask, Charge, Counts, Part, Question
from project.stub.openai_wire import OpenAIEndpoint
from project.stub.orders import Orders
from project.stub.wire import BadRequestError, Json, compact, counts, required, sse

_PIXEL = base64.b64encode(
    bytes.fromhex(
        "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b55"
        "0000000a49444154789c63000100000500010d0a2db40000000049454e44ae426082"
    )
).decode()


class _Media(OpenAIEndpoint):
    def response_id(self) -> str:
        return ""

    def answered_model(self, requested: str) -> str:
        return ""  # the answers do not name the model

    def stream_error(self, ask: Ask, message: str) -> Iterator[Part]:
        yield Part(sse({"type": "error", **self.error(500, message)}, "error"), failed=True)

    def unsupported(self, orders: Orders) -> str:
        if orders.cached or orders.cache_write or orders.reasoning:
            return "[stub cached, cache_write, reasoning] are not supported for media"
        return super().unsupported(orders)


class Images(_Media):
    """Image generation, plain and streamed."""

    operation = "image_generation"
    pattern = re.compile(r"/openai/v1/images/generations")

    def read(self, body: Json, match: re.Match[str], query: dict[str, list[str]]) -> Question:
        prompt = required(body, "prompt", str)
        model = body.get("model") or "dall-e-2"
        return Question(model, prompt, body.get("stream") is True, body, prompt)

    def plain(self, ask: Ask) -> Part:
        answer = {"created": ask.created, "data": [{"b64_json": _PIXEL}], **self._look()}
        if not ask.orders.nousage:
            answer["usage"] = self._usage(ask)
        return Part(compact(answer), counts(ask))

    def stream(self, ask: Ask) -> Iterator[Part]:
        image = {"b64_json": _PIXEL, "created_at": ask.created, **self._look()}
        partial = {"type": "image_generation.partial_image", "partial_image_index": 0, **image}
        yield Part(sse(partial, "image_generation.partial_image"))
        completed = {"type": "image_generation.completed", **image}
        if not ask.orders.nousage:
            completed["usage"] = self._usage(ask)
        yield Part(sse(completed, "image_generation.completed"), counts(ask))

    def charge(self, ask: Ask) -> Charge | None:
        charge = super().charge(ask)
        return charge and replace(charge, units={"images": 1})

    @staticmethod
    def _look() -> Json:
        return {
            "background": "opaque",
            "output_format": "png",
            "quality": "low",
            "size": "1024x1024",
        }

    @staticmethod
    def _usage(ask: Ask) -> Json:
        return {
            "input_tokens": ask.prompt_tokens,
            "input_tokens_details": {"image_tokens": 0, "text_tokens": ask.prompt_tokens},
            "output_tokens": ask.completion_tokens,
            "total_tokens": ask.prompt_tokens + ask.completion_tokens,
        }


class Transcriptions(_Media):
    """A form with a file. Its field `prompt` can contain directives."""

    operation = "transcription"
    pattern = re.compile(r"/openai/v1/audio/transcriptions")

    def read(self, body: Json, match: re.Match[str], query: dict[str, list[str]]) -> Question:
        model = required(body, "model", str)
        sound = required(body, "file", bytes)
        spoken = body.get("prompt", "")
        if not isinstance(spoken, str):
            raise BadRequestError("'prompt' must be text.")
        prompt = spoken or f"a recording of {len(sound)} bytes"
        return Question(model, prompt, body.get("stream") == "true", body, spoken)

    def plain(self, ask: Ask) -> Part:
        if self._by_duration(ask):
            # Whisper is billed per second and reports no tokens.
            usage: Json = {"type": "duration", "seconds": self._seconds(ask)}
        else:
            usage = self._usage(ask)
        answer = {"text": ask.text}
        return Part(
            compact(answer if ask.orders.nousage else {**answer, "usage": usage}),
            Counts() if self._by_duration(ask) else counts(ask),
        )

    def stream(self, ask: Ask) -> Iterator[Part]:
        for piece in assistant.pieces(ask.text):
            event = {"type": "transcript.text.delta", "delta": piece}
            yield Part(sse(event, event["type"]))
        done: Json = {"type": "transcript.text.done", "text": ask.text}
        if not ask.orders.nousage:
            done["usage"] = self._usage(ask)
        yield Part(sse(done, "transcript.text.done"), counts(ask))

    def charge(self, ask: Ask) -> Charge | None:
        charge = super().charge(ask)
        return charge and replace(charge, units={"seconds": self._seconds(ask)})

    @staticmethod
    def _seconds(ask: Ask) -> int:
        return len(ask.body["file"]) // 1000 + 1

    @staticmethod
    def _by_duration(ask: Ask) -> bool:
        return ask.question.model.startswith("whisper")

    @staticmethod
    def _usage(ask: Ask) -> Json:
        heard = ask.prompt_tokens // 2
        return {
            "type": "tokens",
            "input_tokens": ask.prompt_tokens,
            "input_token_details": {
                "audio_tokens": heard,
                "text_tokens": ask.prompt_tokens - heard,
            },
            "output_tokens": ask.completion_tokens,
            "total_tokens": ask.prompt_tokens + ask.completion_tokens,
        }
