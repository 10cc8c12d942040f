"""Cloudflare Workers AI, by the path of a model.

https://developers.cloudflare.com/api/resources/ai/methods/run/ (`result` is the answer of the
model)
https://developers.cloudflare.com/workers-ai/platform/pricing/ (models of text are billed by tokens;
others by pictures, steps or minutes, which no answer counts)
https://developers.cloudflare.com/workers-ai/features/batch-api/ (requests that are queued are asked
for by another request to the same path)
The last event of a stream has the usage: https://developers.cloudflare.com/workers-ai/models/
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from .openai_chat import chat_usage
from .openai_responses import ResponsesReader
from .reader import Job, Reader, error_text, items, mapping, text

#: The members of every answer of Cloudflare's API.
_ENVELOPE = frozenset({"result", "success", "errors"})

_GOING_ON = frozenset({"queued", "running"})
#: A longer request is none for the answers to others.
_SMALL = 1024


class CloudflareReader(Reader):
    """Reads answers of Cloudflare's models."""

    operation = "generate_content"

    def __init__(self) -> None:
        super().__init__()
        #: The state of queued requests.
        self._status = ""

    def asked(self, path: str, body: bytes | Mapping[str, Any] | None) -> None:
        """Take the request, which may ask for the answers to queued requests."""
        data: Any = body
        if isinstance(body, bytes):
            data = None
            with suppress(ValueError, RecursionError):
                data = json.loads(body) if len(body) <= _SMALL else None
        if isinstance(data, Mapping) and (job_id := text(data.get("request_id"))):
            self.polls = True
            if self.recognised:
                self.job = Job(job_id, self._status not in _GOING_ON)

    def event(self, data: dict[str, Any]) -> None:
        """Take one parsed stream event."""
        if isinstance(data.get("response"), str) or isinstance(data.get("choices"), list):
            self.recognised = True
        self.error = error_text(data) or self.error
        # Beside words, usage is what was sent so far.
        ended = all(choice.get("finish_reason") for choice in items(data.get("choices")))
        self._read(data, is_last=ended and not data.get("response"))

    def body(self, data: dict[str, Any]) -> None:
        """Take a whole answer."""
        self.recognised = data.keys() >= _ENVELOPE and isinstance(data["errors"], list)
        self.error = error_text(data)
        result = mapping(data.get("result"))
        self._status = text(result.get("status"))
        if self._status in _GOING_ON and (job_id := text(result.get("request_id"))):
            self.job = Job(job_id, ended=False)
        self._read(result, is_last=True)

    def _read(self, result: dict[str, Any], *, is_last: bool) -> None:
        self.response_id = text(result.get("id")) or self.response_id
        usage = mapping(result.get("usage"))
        if "prompt_tokens" in usage:
            self.use(chat_usage(usage), complete=is_last)
        elif "input_tokens" in usage:  # a model that answers like OpenAI Responses
            responses = ResponsesReader()
            responses.body(result)
            if responses.usage is not None:
                self.use(responses.usage)
