"""OpenAI audio: transcriptions, translations and speech.

https://platform.openai.com/docs/api-reference/audio/json-object (`usage` has the type tokens, or
the type duration for models billed by the second, such as Whisper)
https://platform.openai.com/docs/api-reference/audio/transcript-text-done-event
https://platform.openai.com/docs/api-reference/audio/speech-audio-done-event
Mistral reports both at once: https://docs.mistral.ai/capabilities/audio_transcription
"""

from __future__ import annotations

from typing import Any

from ..events import Usage
from .reader import Reader, cost, count, error_text, mapping, seconds, text

_EVENTS = ("transcript.text.", "speech.audio.")


class AudioReader(Reader):
    """Reads OpenAI transcriptions, translations and speech."""

    operation = "transcription"

    def event(self, data: dict[str, Any]) -> None:
        """Take one parsed stream event."""
        kind = text(data.get("type"))
        if kind.startswith(_EVENTS) or kind.startswith("transcription."):  # Mistral's events
            self.recognised = True
        self.error = error_text(data) or self.error
        self._count(data)

    def body(self, data: dict[str, Any]) -> None:
        """Take a whole answer."""
        if isinstance(data.get("text"), str):
            # A model that reports no tokens answers with the text alone.
            self.recognised = len(data) == 1 or not _OTHERS.isdisjoint(data)
        self.error = error_text(data)
        self._count(data)

    def _count(self, data: dict[str, Any]) -> None:
        usage = mapping(data.get("usage"))
        self.model = text(data.get("model")) or self.model
        length = seconds(
            next(
                (
                    value
                    for value in (
                        usage.get("seconds"),
                        usage.get("prompt_audio_seconds"),
                        data.get("duration"),
                    )
                    if value is not None
                ),
                None,
            )
        )
        if length is not None:
            self.facts["audio_seconds"] = length
        prompt, completion = count(usage.get("input_tokens")), count(usage.get("output_tokens"))
        found = Usage(
            prompt_tokens=count(usage.get("prompt_tokens")) if prompt is None else prompt,
            completion_tokens=(
                count(usage.get("completion_tokens")) if completion is None else completion
            ),
            cost=cost(usage),
        )
        if found.known:
            self.usage, self.complete = found, True


_OTHERS = {"usage", "logprobs", "segments", "words", "x_groq"}
