"""What the server of the self-test answers, in one wire format each."""

from __future__ import annotations

from typing import Any, NamedTuple

_PROMPT, _COMPLETION = 11, 7
#: Prompt tokens and completion tokens that the answers report.
TOKENS = _PROMPT, _COMPLETION
#: The model that every call requests.
MODEL = "self-test"


class Answer(NamedTuple):
    """What the server answers in one wire format."""

    #: The end of the path that this answer is for.
    path: str
    body: dict[str, Any]
    #: The prompt tokens and completion tokens in `body`.
    tokens: tuple[int, int | None] = TOKENS


_INPUT_OUTPUT = {"input_tokens": _PROMPT, "output_tokens": _COMPLETION}

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
        "system_fingerprint": None,
        "usage": {
            "prompt_tokens": _PROMPT,
            "completion_tokens": _COMPLETION,
            "total_tokens": _PROMPT + _COMPLETION,
        },
    },
)
ANTHROPIC_MESSAGES = Answer(
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
GEMINI = Answer(
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
BEDROCK_CONVERSE = Answer(
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
COHERE_CHAT = Answer(
    "/v2/chat",
    {
        "id": "self-test",
        "finish_reason": "COMPLETE",
        "message": {"role": "assistant", "content": [{"type": "text", "text": "Yes."}]},
        "usage": {"billed_units": _INPUT_OUTPUT, "tokens": _INPUT_OUTPUT},
    },
)
OLLAMA_CHAT = Answer(
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
WRITER_CHAT = Answer("/v1/chat", OPENAI_CHAT.body)
SERVING_ENDPOINT = Answer("/invocations", OPENAI_CHAT.body)
VOYAGE_EMBEDDINGS = Answer(
    "/embeddings",
    {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": [0.0]}],
        "model": MODEL,
        "usage": {"total_tokens": _PROMPT},
    },
    (_PROMPT, None),
)
REPLICATE_PREDICTION = Answer(
    "/predictions",
    {
        "id": "self-test",
        "model": f"{MODEL}/{MODEL}",
        "version": "hidden",
        "status": "succeeded",
        "input": {},
        "output": ["Yes."],
        "error": None,
        "logs": "",
        "metrics": {"input_token_count": _PROMPT, "output_token_count": _COMPLETION},
        "urls": {"get": "", "cancel": ""},
        "created_at": "2026-01-01T00:00:00Z",
    },
)
#: The message that ends a response of Realtime.
REALTIME_DONE = {
    "type": "response.done",
    "event_id": MODEL,
    "response": {
        "id": MODEL,
        "object": "realtime.response",
        "status": "completed",
        "output": [],
        "usage": {**_INPUT_OUTPUT, "total_tokens": _PROMPT + _COMPLETION},
    },
}
