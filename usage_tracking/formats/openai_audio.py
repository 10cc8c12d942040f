"""OpenAI audio: transcriptions, translations and speech.

https://platform.openai.com/docs/api-reference/audio/json-object (`usage` has the type tokens, or
the type duration for models billed by the second, such as Whisper; a length beside tokens is not
billed)
https://platform.openai.com/docs/api-reference/audio/transcript-text-done-event
https://platform.openai.com/docs/api-reference/audio/speech-audio-done-event
https://platform.openai.com/docs/api-reference/realtime-server-events/conversation/item/input_audio_transcription/completed
Mistral reports both at once: https://docs.mistral.ai/capabilities/audio_transcription
"""

from __future__ import annotations

from typing import Any

from ..usage import Usage
from .reader import (
    Reader,
    cost,
    error_text,
    first,
    input_units,
    mapping,
    output_units,
    seconds,
    text,
)

_EVENTS = (
    *("transcript.text.", "speech.audio."),
    "conversation.item.input_audio_transcription.",  # of a realtime session, given to `record`
)


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
        details = mapping(usage.get("input_token_details"))
        prompt = first(usage.get("input_tokens"), usage.get("prompt_tokens"))
        given = first(usage.get("seconds"), usage.get("prompt_audio_seconds") or None)
        length = data.get("duration")
        if given is None and prompt is None:
            given = length  # what is counted in tokens is not billed by its length
        spent = seconds(given)
        if (size := seconds(length) if given is None else spent) is not None:
            self.facts["audio_seconds"] = size
        faults: dict[str, str] = {}
        counts = {
            "input_tokens": prompt,
            "output_tokens": first(usage.get("output_tokens"), usage.get("completion_tokens")),
            **input_units(details),
            **output_units(mapping(usage.get("output_token_details"))),
            # What is not a length is named.
            "audio_seconds": given if spent is None else spent,
            "input_audio_seconds": given if spent is None else spent,
        }
        self.use(Usage.of(counts, cost=cost(usage, faults), faults=faults))


_OTHERS = {"usage", "logprobs", "segments", "words", "x_groq"}
