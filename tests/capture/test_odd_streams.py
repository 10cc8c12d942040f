"""Streams as they really come: under any content type, with any line ends, cut anywhere."""

from __future__ import annotations

import gzip
import json
import struct
import tracemalloc
import zlib
from collections.abc import Callable, Iterable, Mapping
from itertools import product
from typing import Any

import aiohttp
import httpx
import httpx2
import openai
import pytest
import requests
from asgiref.sync import async_to_sync
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pytest_django import Settings

from project.stub import StubProvider
from tests.formats.answers import STREAMS, Stream
from tests.support.cases import check_each
from tests.support.comparison import assert_recorded_as_served, forget, only_row, rows
from usage_tracking.capture.body import MAX_BODY
from usage_tracking.capture.exchange import begin, trial_events
from usage_tracking.events import UsageEvent

OPENAI, GOOGLE = "api.openai.com", "generativelanguage.googleapis.com"
VERTEX, BEDROCK = "aiplatform.googleapis.com", "bedrock-runtime.us-east-1.amazonaws.com"
CHAT = (OPENAI, "/v1/chat/completions")
RESPONSES = (OPENAI, "/v1/responses")
IMAGES = (OPENAI, "/v1/images/generations")
MESSAGES = ("api.anthropic.com", "/v1/messages")
GEMINI = (GOOGLE, "/v1beta/models/gemini-2.5-flash:streamGenerateContent")
OLLAMA = ("localhost", "/api/chat")
WATSONX = ("us-south.ml.cloud.ibm.com", "/ml/v1/text/generation_stream")
#: Wire format → where it is asked for.
PLACES = {
    "openai.chat": CHAT,
    "openai.responses": RESPONSES,
    "openai.images": IMAGES,
    "openai.audio": (OPENAI, "/v1/audio/transcriptions"),
    "anthropic.messages": MESSAGES,
    "anthropic.complete": ("api.anthropic.com", "/v1/complete"),
    "gemini.generate_content": GEMINI,
    "gemini.interactions": (GOOGLE, "/v1beta/interactions"),
    "vertex.raw_predict": (VERTEX, "/v1/publishers/p/models/m:streamRawPredict"),
    "bedrock.converse": (BEDROCK, "/model/m/converse-stream"),
    "bedrock.invoke": (BEDROCK, "/model/m/invoke-with-response-stream"),
    "cohere.chat": ("api.cohere.com", "/v2/chat"),
    "ollama": OLLAMA,
    "watsonx": WATSONX,
    "mistral.conversations": ("api.mistral.ai", "/v1/conversations"),
    "cloudflare": ("api.cloudflare.com", "/client/v4/accounts/a/ai/run/@cf/meta/llama"),
    "huggingface": ("router.huggingface.co", "/hf-inference/models/o/m"),
    "bedrock.agent": (
        "bedrock-agent-runtime.us-east-1.amazonaws.com",
        "/agents/A/agentAliases/B/sessions/s/text",
    ),
}
SSE, JSON, NDJSON = "text/event-stream", "application/json", "application/x-ndjson"
FRAMES = "application/vnd.amazon.eventstream"
TYPES = [SSE, JSON, NDJSON, FRAMES, "", "text/plain; charset=utf-8", "application/octet-stream"]
TYPES += ["text/html", "binary/octet-stream", "unknown"]
BOM = b"\xef\xbb\xbf"

ASKED: dict[str, Any] = {
    "model": "m",
    "stream": True,
    "stream_options": {"include_usage": True},
}


def call(*args: Any, **kwargs: Any) -> UsageEvent:
    """Return what is recorded of a call; see `calls`."""
    (event,) = calls(*args, **kwargs)
    return event


def calls(
    place: tuple[str, str],
    pieces: Iterable[bytes],
    content_type: str,
    *,
    request: Mapping[str, Any] | bytes | None = None,
    encoding: str = "",
    leaves: bool = False,
    error: BaseException | None = None,
    method: str = "POST",
) -> list[UsageEvent]:
    """Return what is recorded of a call whose answer comes in these pieces."""
    events: list[UsageEvent] = []
    token = trial_events.set(events)
    host, path = place
    port = 11434 if host == "localhost" else None
    asked = json.dumps(ASKED).encode() if request is None else request
    try:
        exchange = begin("httpx", method, host, port, path, asked)
    finally:
        trial_events.reset(token)
    assert exchange is not None
    headers = {"content-type": content_type, "content-encoding": encoding}
    exchange.answered(200, {name: value for name, value in headers.items() if value})
    for piece in pieces:
        exchange.chunk(piece)
    exchange.end(error, abandoned=leaves)
    return events


def told(event: UsageEvent) -> tuple[object, ...]:
    """Return what a row says about the usage and the outcome of a call."""
    metadata = {name: event.metadata.get(name) for name in ("unknown", "partial")}
    return (
        event.prompt_tokens,
        event.completion_tokens,
        event.cached_tokens,
        event.reasoning_tokens,
        event.usage_details,
        event.model_name,
        event.success,
        event.error_message,
        metadata,
    )


def tokens(event: UsageEvent) -> tuple[int | None, int | None]:
    return event.prompt_tokens, event.completion_tokens


def sse(*events: dict[str, Any], done: bool = False) -> bytes:
    wire = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)
    return wire + (b"data: [DONE]\n\n" if done else b"")


def array(*events: dict[str, Any]) -> bytes:
    return b"[" + b",\r\n".join(json.dumps(event).encode() for event in events) + b"]\n"


def lines(*events: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


def frames(*events: dict[str, Any]) -> bytes:
    wire = b""
    for event in events:
        ((kind, payload),) = event.items()
        is_error = kind == "error"
        names = (
            {":message-type": "exception", ":exception-type": payload["type"]}
            if is_error
            else {":message-type": "event", ":event-type": kind}
        )
        headers = b"".join(
            bytes([len(name)])
            + name.encode()
            + b"\x07"
            + struct.pack(">H", len(value))
            + value.encode()
            for name, value in names.items()
        )
        content = json.dumps(payload).encode()
        start = struct.pack(">II", 16 + len(headers) + len(content), len(headers))
        whole = start + struct.pack(">I", zlib.crc32(start)) + headers + content
        wire += whole + struct.pack(">I", zlib.crc32(whole))
    return wire


def one(data: bytes) -> Iterable[bytes]:
    """Yield single bytes, so that what is read first is seen apart from what follows."""
    return (data[at : at + 1] for at in range(len(data)))


def wires(stream: Stream) -> dict[str, bytes]:
    """Return the shapes in which providers and gateways send a stream, by its content type."""
    if stream.format.startswith("bedrock"):
        return {FRAMES: frames(*stream.events)}
    found = {SSE: sse(*stream.events)}
    if len(stream.events) > 1:
        found[NDJSON] = lines(*stream.events)
    if stream.format == "gemini.generate_content":
        found[JSON] = array(*stream.events)
    return found


GEMINI_TOTALS = Stream(
    "gemini.generate_content",
    [
        {
            "candidates": [{"content": {"parts": [{"text": word}]}, **end}],
            "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": number},
            "modelVersion": "gemini-2.5-flash",
        }
        for word, number, end in (("a\r\n", 1, {}), ("data: [", 2, {"finishReason": "STOP"}))
    ],
    None,
)
CHAT_TOTALS = Stream(
    "openai.chat",
    [
        {
            "model": "m",
            "choices": [{"index": 0, "delta": {"content": word}, "finish_reason": end}],
            "usage": {"prompt_tokens": 9, "completion_tokens": number},
        }
        for word, number, end in (("\r", 1, None), ("\n\ndata: ", 2, None), ("", 3, "stop"))
    ],
    None,
)
ALL = {**STREAMS, "gemini, totals": GEMINI_TOTALS, "chat, totals": CHAT_TOTALS}

#: How fast examples are made depends on the machine.
thorough = hypothesis_settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    places = sorted(place % (len(data) + 1) for place in places)
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


def with_ends(wire: bytes, newline: bytes) -> bytes:
    """Return a stream in which each line ends with `newline`."""
    return wire.replace(b"\r\n", b"\n").replace(b"\n", newline)


class TestAnyForm:
    @pytest.mark.slow
    @pytest.mark.parametrize("name", ALL)
    @thorough
    @given(
        content_type=st.sampled_from(TYPES),
        newline=st.sampled_from([b"\n", b"\r\n", b"\r"]),
        start=st.sampled_from([b"", BOM, b"\n", BOM + b"\n\n"]),
        places=st.none() | st.lists(st.integers(0, 100_000), max_size=30),
        is_compressed=st.booleans(),
    )
    def test_every_stream_says_the_same_in_any_form(
        self,
        name: str,
        content_type: str,
        newline: bytes,
        start: bytes,
        places: list[int] | None,
        is_compressed: bool,
    ) -> None:
        stream = ALL[name]
        place = PLACES[stream.format]
        for named, wire in wires(stream).items():
            expected = told(call(place, [wire], named))
            if named != FRAMES:
                wire = start + with_ends(wire, newline)
            encoding = ""
            if is_compressed:
                wire, encoding = gzip.compress(wire), "gzip"
            pieces = one(wire) if places is None else cut(wire, places)
            found = told(call(place, pieces, content_type, encoding=encoding))

            assert found == expected

    @pytest.mark.parametrize("content_type", TYPES)
    def test_first_bytes_alone_decide(self, content_type: str) -> None:
        usage = {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}

        def check(start: bytes) -> None:
            event = call(CHAT, one(start + sse(usage, done=True)), content_type)
            assert tokens(event) == (7, 3)

        check_each(check, [b": OPENROUTER PROCESSING\n\n", b"event: message\n", b"id: 1\n"])
        check_each(check, [b"retry: 10\n\n", b"id\n", b"data\r\n", b":\n\n", b"\r\r\r", BOM, b""])

    @pytest.mark.parametrize("content_type", TYPES)
    @pytest.mark.parametrize("indent", [None, 2])
    @pytest.mark.parametrize("end", ["", "\n", "\r\n\r\n"])
    def test_plain_answer_is_one(self, content_type: str, indent: int | None, end: str) -> None:
        answer = {
            "choices": [{"message": {"content": '}\n{"data: [DONE]"\n\ndata: {"usage": 1}'}}],
            "usage": {"prompt_tokens": 7, "completion_tokens": 3},
            "list": [{}, {}],
        }
        body = (json.dumps(answer, indent=indent) + end).encode()

        for pieces in ([body], one(body), [BOM, body], [b"\n\n", b" ", body]):
            assert tokens(call(CHAT, pieces, content_type)) == (7, 3)

    def test_error_under_any_content_type_is_read(self) -> None:
        body = b'{"error": {"message": "Overloaded", "type": "server_error"}}'

        def check(content_type: str) -> None:
            for place in (CHAT, RESPONSES, MESSAGES, GEMINI):
                event = call(place, one(body), content_type)
                assert event.error_message == "server_error: Overloaded"

        check_each(check, TYPES)

    def test_plain_answer_of_cohere_in_place_of_its_stream_is_read(self) -> None:
        body = lines(
            {
                "response_id": "r",
                "text": "Hi",
                "finish_reason": "COMPLETE",
                "meta": {
                    "api_version": {},
                    "billed_units": {"input_tokens": 4, "output_tokens": 2},
                },
            }
        )

        assert tokens(call(("api.cohere.com", "/v1/chat"), [body], "application/stream+json")) == (
            4,
            2,
        )

    def test_events_without_blank_lines_are_read(self) -> None:
        wire = sse(
            {"model": "m", "choices": [{"delta": {"content": "a"}}]},
            {"model": "m", "choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}},
            done=True,
        ).replace(b"\n\n", b"\n")

        assert tokens(call(CHAT, one(wire), SSE)) == (7, 3)

    def test_event_of_no_json_hides_no_usage_behind_it(self) -> None:
        usage = {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}
        wire = b"data: ping\n\ndata:\n\n" + sse(usage, done=True)

        assert tokens(call(CHAT, [wire], SSE)) == (7, 3)

    def test_file_is_not_read(self) -> None:
        for body in (b"\0\0\0\1" * 5000, b"RIFF\0\0", b"\xff\xf3\x84", b"id3", b"{not json"):
            event = call((OPENAI, "/v1/audio/speech"), [body], "application/octet-stream")
            assert event.metadata["unknown"] == "no usage in the answer"

    def test_text_of_a_transcription_is_no_stream(self) -> None:
        for text in (b"Database: yes", b"dat", b"ident", b"Hello\n\n{}\n{}"):
            event = call((OPENAI, "/v1/audio/transcriptions"), one(text), "text/plain")
            assert event.metadata["unknown"] == "unreadable answer of type text/plain"

    def test_stream_of_a_service_of_the_site_is_not_recorded(self) -> None:
        prices = sse({"price": 1}, {"usage": {"cpu": 3}}, done=True)
        answer = sse({"model": "m", "choices": []}, done=True)

        for content_type in TYPES:
            for host in ("prices.internal", "localhost"):
                assert calls((host, CHAT[1]), one(prices), content_type) == []
                assert len(calls((host, CHAT[1]), one(answer), content_type)) == 1

    def test_huge_text_without_newline_is_not_kept(self) -> None:
        event = call(CHAT, [b"x" * 1_000_000] * 20, "text/plain")

        assert event.metadata["unknown"] == "unreadable answer of type text/plain"


BIG = "iVBORw0KGgo" * (MAX_BODY // 11 + 100_000)


def pieces_of(data: bytes, size: int = 100_000) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


class TestLongEvents:
    """One event above 8 MB: a picture, and the usage behind it."""

    usage: dict[str, Any] = {
        "input_tokens": 50,
        "output_tokens": 6240,
        "total_tokens": 6290,
        "input_tokens_details": {"text_tokens": 40, "image_tokens": 10},
    }

    @pytest.mark.parametrize("content_type", [SSE, "text/plain", ""])
    @pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r"])
    def test_picture(self, content_type: str, newline: bytes) -> None:
        partial = {"type": "image_generation.partial_image", "b64_json": BIG}
        done = {"type": "image_generation.completed", "b64_json": BIG, "usage": self.usage}
        wire = with_ends(sse(partial, done), newline)

        event = call(IMAGES, pieces_of(wire), content_type)

        assert tokens(event) == (50, 6240)
        assert event.usage_details == {
            "input_text_tokens": 40,
            "input_image_tokens": 10,
            "output_image_tokens": 6240,
        }

    def test_pictures_with_sorted_members(self) -> None:
        events = [
            {"b64_json": BIG, "type": "image_edit.completed", "usage": self.usage},
            {"b64_json": "small", "type": "image_edit.completed", "usage": self.usage},
        ]

        assert tokens(call(IMAGES, pieces_of(sse(*events)), SSE)) == (100, 12480)

    def response(self, **members: Any) -> dict[str, Any]:
        response = {
            "id": "resp_1",
            "object": "response",
            "status": "completed",
            "model": "gpt-5",
            "output": [{"type": "message", "content": [{"text": BIG}]}],
            "service_tier": "flex",
            "tools": [{"type": "image_generation", "model": "gpt-image-1"}],
            "usage": {"input_tokens": 7, "output_tokens": 3},
            **members,
        }
        return {"type": "response.completed", "response": response}

    @pytest.mark.parametrize("leaves", [False, True])
    def test_response(self, leaves: bool) -> None:
        event = call(RESPONSES, pieces_of(sse(self.response())), SSE, leaves=leaves)

        assert tokens(event) == (7, 3)
        assert event.model_name == "gpt-5"  # not that of the tool
        assert event.metadata["response_id"] == "resp_1"
        assert event.price_context == {"service_tier": "flex"}

    def test_what_was_billed_beside_the_usage_is_noted(self) -> None:
        output = [{"type": "web_search_call"}, {"type": "image_generation_call", "result": BIG}]

        event = call(RESPONSES, pieces_of(sse(self.response(output=output))), SSE)

        assert tokens(event) == (7, 3)
        assert event.price_context == {"service_tier": "flex", "answer": "too_long"}

    def test_poll_for_a_response_made_in_the_background(self) -> None:
        done = self.response(created_at=1_700_000_000, background=True)["response"]
        first = {"id": done["id"], "object": "response"}
        first |= {"created_at": done["created_at"], "background": True}

        (event,) = calls(
            (OPENAI, "/v1/responses/resp_1"),
            pieces_of(json.dumps(first | done).encode()),
            JSON,
            method="GET",
        )

        assert (tokens(event), event.completes) == ((7, 3), True)

    def gemini(self, number: int = 1290, /, **members: Any) -> dict[str, Any]:
        part = {"inlineData": {"mimeType": "image/png", "data": BIG}}
        return {
            "candidates": [{"content": {"parts": [part]}, "finishReason": "STOP", **members}],
            "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": number},
            "modelVersion": "gemini-3-pro-image",
            "responseId": "r1",
        }

    @pytest.mark.parametrize(
        ("shape", "content_type"), [(sse, SSE), (array, JSON), (lines, NDJSON), (lines, JSON)]
    )
    @pytest.mark.parametrize("order", [0, 1, 2])
    def test_picture_of_gemini(
        self, shape: Callable[..., bytes], content_type: str, order: int
    ) -> None:
        word = GEMINI_TOTALS.events[0]
        events = [word, word]
        last = self.gemini()
        if order == 1:  # another event follows
            events.append(self.gemini(1))
            last = {"usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 1290}}
        if order == 2:  # it is the first
            events = []
            last |= {"modelVersion": "gemini-2.5-flash"}
        events.append(last)

        event = call(GEMINI, pieces_of(shape(*events)), content_type)

        assert tokens(event) == (9, 1290)
        assert event.model_name.startswith("gemini-")

    def test_searches_that_were_dropped_are_noted(self) -> None:
        grounded = self.gemini(groundingMetadata={"webSearchQueries": ["a"]})

        event = call(GEMINI, pieces_of(array(grounded)), JSON)

        assert event.price_context == {"answer": "too_long"}

    def test_last_line_of_ollama(self) -> None:
        last = {
            "model": "llama3",
            "created_at": "2026",
            "response": "",
            "done": True,
            "context": BIG,
            "prompt_eval_count": 26,
            "eval_count": 298,
        }

        event = call(("localhost", "/api/generate"), pieces_of(lines(last, last)), NDJSON)

        assert tokens(event) == (26, 298)

    def test_forged_usage_in_its_text_is_not_read(self) -> None:
        forged = BIG + '"usage": {"input_tokens": 1, "output_tokens": 1}'
        done = {"type": "image_generation.completed", "b64_json": forged}

        event = call(IMAGES, pieces_of(sse(done)), SSE)

        assert tokens(event) == (None, None)
        assert event.metadata["unknown"] == "no usage at the end of an event that is too long"

    @pytest.mark.parametrize("shape", [sse, array, lines])
    def test_little_of_it_is_held(self, shape: Callable[..., bytes]) -> None:
        picture = self.gemini()
        picture["candidates"][0]["content"]["parts"] *= 3
        wire = pieces_of(shape({}, picture))
        tracemalloc.start()
        event = call(GEMINI, wire, JSON)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()

        assert tokens(event) == (9, 1290)
        assert most < 2.5 * MAX_BODY

    def test_chat_goes_on_behind_it(self) -> None:
        image = {"images": [{"image_url": {"url": f"data:image/png;base64,{BIG}"}}]}
        wire = sse(
            {"model": "m", "choices": [{"index": 0, "delta": image}]},
            {"model": "m", "choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}},
            done=True,
        )

        assert tokens(call(CHAT, pieces_of(wire), SSE)) == (7, 3)


def totals(number: int, *, end: str | None = None, **choice: Any) -> dict[str, Any]:
    """Return a chunk that counts what was sent so far."""
    return {
        "model": "m",
        "choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": end, **choice}],
        "usage": {"prompt_tokens": 9, "completion_tokens": number, "total_tokens": 9 + number},
    }


class TestRunningTotals:
    """Totals count only once the end was seen."""

    @pytest.mark.parametrize(
        "place", [CHAT, ("api.x.ai", CHAT[1]), ("api.perplexity.ai", "/chat/completions")]
    )
    def test_chat(self, place: tuple[str, str]) -> None:
        running = [totals(1), totals(2), totals(2, delta={"content": ""})]
        end = totals(3, end="stop")
        last = {"model": "m", "choices": [], "usage": end["usage"]}
        ended: list[bytes] = [
            sse(*running, end),
            sse(*running, end, done=True),
            sse(*running, end, last),
            sse(*running, done=True),
        ]
        for wire in ended:
            assert told(call(place, [wire], SSE, leaves=True))[-1] == {
                "unknown": None,
                "partial": None,
            }
        for number in (1, 2, 3):
            event = call(place, [sse(*running[:number])], SSE, leaves=True)
            assert event.metadata["unknown"] == "stream abandoned"
            assert event.metadata["partial"] == {
                "prompt_tokens": 9,
                "completion_tokens": min(number, 2),
            }
            cut_off = call(place, [sse(*running[:number])], SSE, error=OSError("reset"))
            assert (cut_off.usage_source, cut_off.success) == ("unknown", False)
            assert cut_off.metadata["partial"] == event.metadata["partial"]
        # A server that dies may end the body regularly.
        died = call(place, [sse(*running)], SSE)
        assert died.metadata["unknown"] == "stream ended before its final counts"
        assert died.metadata["partial"] == {"prompt_tokens": 9, "completion_tokens": 2}
        stop = {"model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
        for wire in (*ended, sse(*running, stop)):
            assert call(place, [wire], SSE).usage_source == "reported"

    def test_chat_of_mistral_on_vertex(self) -> None:
        place = (VERTEX, "/v1/publishers/mistralai/models/m:streamRawPredict")

        assert call(place, [sse(totals(1))], SSE).metadata["partial"]["completion_tokens"] == 1
        assert tokens(call(place, [sse(totals(1), done=True)], SSE)) == (9, 1)

    def test_one_of_several_choices_ends(self) -> None:
        events = [totals(1), totals(2, index=1), totals(3, end="stop"), totals(4, index=1)]

        assert call(CHAT, [sse(*events)], SSE, leaves=True).metadata["partial"] == {
            "prompt_tokens": 9,
            "completion_tokens": 4,
        }
        events.append(totals(5, index=1, end="stop"))
        assert tokens(call(CHAT, [sse(*events)], SSE, leaves=True)) == (9, 5)

    def test_usage_after_the_end_of_the_answer_is_whole(self) -> None:
        """OpenRouter and LiteLLM repeat an empty choice beside the usage."""
        word = {"model": "m", "choices": [{"index": 0, "delta": {"content": "a"}}]}
        stop = {"model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
        last = totals(3, delta={"role": "assistant", "content": ""})

        event = call(CHAT, [sse(word, stop, last)], SSE, leaves=True)

        assert tokens(event) == (9, 3)

    def test_responses(self) -> None:
        def event(status: str, number: int) -> dict[str, Any]:
            response = {"object": "response", "status": status, "model": "m"}
            response["usage"] = {"input_tokens": 9, "output_tokens": number}  # type: ignore[assignment]
            return {"type": f"response.{status}", "response": response}

        events = [event("in_progress", 0), event("in_progress", 2)]

        left = call(RESPONSES, [sse(*events)], SSE, leaves=True)
        assert left.metadata["partial"] == {"prompt_tokens": 9, "completion_tokens": 2}
        assert left.metadata["unknown"] == "stream abandoned"
        events.append(event("completed", 3))
        assert tokens(call(RESPONSES, [sse(*events)], SSE, leaves=True)) == (9, 3)

    def test_gemini(self) -> None:
        first, last = GEMINI_TOTALS.events
        for shape, kind in ((sse, SSE), (array, JSON), (lines, NDJSON)):
            left = call(GEMINI, [shape(first, first)], kind, leaves=True)
            assert left.metadata["partial"] == {"prompt_tokens": 9, "completion_tokens": 1}
            assert tokens(call(GEMINI, [shape(first, last)], kind, leaves=True)) == (9, 2)

    def test_cloudflare(self) -> None:
        place = ("api.cloudflare.com", "/client/v4/accounts/a/ai/run/@cf/meta/llama")
        usage = {"prompt_tokens": 9, "completion_tokens": 1}
        for first, last in (
            ({"response": "a", "usage": usage}, {"response": "", "usage": usage}),
            (totals(1), totals(1, end="stop")),
        ):
            left = call(place, [sse(first)], SSE, leaves=True)
            assert left.metadata["partial"] == usage
            assert tokens(call(place, [sse(first, last)], SSE, leaves=True)) == (9, 1)

    def test_anthropic(self) -> None:
        start = {
            "type": "message_start",
            "message": {
                "type": "message",
                "role": "assistant",
                "model": "m",
                "usage": {"input_tokens": 9, "output_tokens": 1},
            },
        }
        delta: dict[str, Any] = {
            "type": "message_delta",
            "delta": {"stop_reason": None},
            "usage": {"output_tokens": 2},
        }
        end = {**delta, "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}}

        for events in ([start], [start, delta]):
            left = call(MESSAGES, [sse(*events)], SSE, leaves=True)
            assert (left.usage_source, left.metadata["unknown"]) == ("unknown", "stream abandoned")
        # What the start names is a placeholder; the counts after it are cumulative.
        bare = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}
        for events in ([start], [start, bare]):
            ended = call(MESSAGES, [sse(*events)], SSE)
            assert ended.metadata["partial"] == {"prompt_tokens": 9, "completion_tokens": 1}
        assert ended.metadata["unknown"] == "stream ended before its final counts"
        assert tokens(call(MESSAGES, [sse(start, delta)], SSE)) == (9, 2)
        assert tokens(call(MESSAGES, [sse(start, end)], SSE, leaves=True)) == (9, 3)

    def test_watsonx(self) -> None:
        def event(reason: str | None, number: int) -> dict[str, Any]:
            result = {"generated_text": "a", "generated_token_count": number}
            result |= {"input_token_count": 9} | ({"stop_reason": reason} if reason else {})
            return {"model_id": "m", "results": [result]}

        for reason in ("not_finished", None):
            left = call(WATSONX, [sse(event(reason, 1), event(reason, 2))], SSE, leaves=True)
            assert left.metadata["partial"] == {"prompt_tokens": 9, "completion_tokens": 2}
        whole = call(WATSONX, [sse(event(None, 1), event("eos_token", 3))], SSE, leaves=True)
        assert tokens(whole) == (9, 3)

    def test_ollama(self) -> None:
        first = {"model": "m", "created_at": "2026", "message": {}, "done": False}
        last = {**first, "done": True, "prompt_eval_count": 9, "eval_count": 2}
        for shape, kind in ((lines, NDJSON), (lines, JSON), (sse, SSE)):
            assert tokens(call(OLLAMA, [shape(first, last)], kind, leaves=True)) == (9, 2)
            left = call(OLLAMA, [shape(first, first)], kind, leaves=True)
            assert left.metadata["unknown"] == "stream abandoned"


WORD = {"model": "m", "choices": [{"index": 0, "delta": {"content": "a"}}]}
NOT_ASKED = json.dumps({**ASKED, "stream_options": None}).encode()


class TestLastEvent:
    """A client may close the stream as soon as it has read the last event."""

    @pytest.mark.parametrize("end", [b"", b"\n", b"\r"])
    def test_it_counts_without_what_follows_it(self, end: bytes) -> None:
        last = {"model": "m", "choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}
        done = {"model": "m", "done": True, "prompt_eval_count": 7, "eval_count": 3}
        for place, wire in (
            (CHAT, sse(WORD, last)),
            (OLLAMA, lines({"model": "m", "done": False}, done)),
        ):
            wire = wire.rstrip() + end
            assert tokens(call(place, [wire], "text/plain", leaves=True)) == (7, 3)
            cut_off = call(place, [wire.rstrip()[:-1]], "text/plain", leaves=True)
            assert cut_off.metadata["unknown"] == "stream abandoned"


class TestReasons:
    """The reason for unknown usage is the true one."""

    def why(self, *args: Any, **kwargs: Any) -> object:
        event = call(*args, **kwargs)
        assert event.usage_source == "unknown"
        return event.metadata.get("unknown")

    def test_stream_of_openai_without_usage(self) -> None:
        not_sent = "no usage in the stream (stream_options.include_usage not sent)"
        sent = "no usage in the stream, although stream_options.include_usage was sent"
        wire = sse(WORD, done=True)
        image = {"choices": [{"delta": {"images": [BIG]}}]}
        long = "no usage at the end of an event that is too long"
        quoted = json.dumps({"messages": [{"content": '"include_usage": true'}]}).encode()

        assert self.why(CHAT, [wire], SSE) == sent
        assert self.why(CHAT, [wire], SSE, request=ASKED) == sent
        assert self.why(CHAT, [wire], "text/plain") == sent
        assert self.why(CHAT, [sse(WORD)], SSE) == f"{sent}; it ended without [DONE]"
        assert self.why(CHAT, [wire], SSE, request=NOT_ASKED) == not_sent
        assert self.why(CHAT, [wire], SSE, request={"stream": True}) == not_sent
        assert self.why(CHAT, [wire], SSE, request=quoted) == not_sent
        assert self.why(CHAT, pieces_of(sse(image)), SSE, request=NOT_ASKED) == not_sent
        assert self.why(CHAT, pieces_of(sse(image)), SSE) == long
        off = {**ASKED, "stream_options": {"include_usage": False}}
        assert self.why(CHAT, [wire], SSE, request=off) == not_sent

    def test_answers_that_cannot_be_read(self) -> None:
        assert self.why(CHAT, [b"{broken"], JSON) == "unreadable answer"
        assert self.why(CHAT, [b'{"a": 1} x'], SSE) == "unreadable answer"
        assert self.why(CHAT, [b"data: {broken\n\n"], JSON) == "unreadable event in the stream"
        html = "unreadable answer of type text/html"
        assert self.why(CHAT, [b"<html>"], "text/html; charset=utf-8") == html
        brotli = "compressed body cannot be read"
        assert self.why(CHAT, [b"no gzip"], SSE, encoding="gzip") == brotli

    def test_answers_that_ended_early(self) -> None:
        assert self.why(CHAT, [], SSE, leaves=True) == "body never read"
        assert self.why(CHAT, [b'{"choices": ['], JSON, leaves=True) == "stream abandoned"
        assert self.why(CHAT, [sse(WORD)], SSE, leaves=True) == "stream abandoned"
        started = {
            "type": "response.created",
            "response": {"object": "response", "status": "in_progress", "model": "m"},
        }
        assert self.why(RESPONSES, [sse(started)], SSE, leaves=True) == "stream abandoned"
        assert self.why(RESPONSES, [sse(started)], SSE) == "no usage in the answer"

    def test_error_needs_no_other_reason(self) -> None:
        for error in (
            {"error": {"message": "Overloaded"}},
            {"object": "error", "message": "Overloaded", "code": 500},
        ):
            event = call(CHAT, [sse(WORD, error, done=True)], SSE)
            assert (event.success, event.metadata.get("unknown")) == (False, None)
            assert event.error_message == "Overloaded"
        cut_off = call(CHAT, [sse(WORD)], SSE, error=OSError("connection reset"))
        assert cut_off.error_message == "OSError: connection reset"
        assert "unknown" not in cut_off.metadata

    @pytest.mark.parametrize(
        ("place", "event", "message"),
        [
            (CHAT, {"object": "error", "message": "no money"}, "no money"),
            (
                ("us-south.ml.cloud.ibm.com", "/ml/v1/text/chat_stream"),
                {"errors": [{"code": "quota", "message": "no money"}]},
                "quota: no money",
            ),
        ],
    )
    def test_error_late_in_a_long_stream_is_seen(
        self, place: tuple[str, str], event: dict[str, Any], message: str
    ) -> None:
        wire = sse(*[WORD] * 2000, event, done=True)

        assert call(place, [wire], SSE).error_message == message


Send = Callable[[str, dict[str, Any]], bytes]


def through_httpx(url: str, body: dict[str, Any]) -> bytes:
    with httpx.stream("POST", url, json=body, timeout=60) as response:
        return b"".join(response.iter_bytes())


def through_httpx2(url: str, body: dict[str, Any]) -> bytes:
    with httpx2.stream("POST", url, json=body, timeout=60) as response:
        return b"".join(response.iter_bytes())


def through_requests(url: str, body: dict[str, Any]) -> bytes:
    with requests.post(url, json=body, stream=True, timeout=60) as response:
        return b"".join(response.iter_content(1000))


@async_to_sync
async def through_aiohttp(url: str, body: dict[str, Any]) -> bytes:
    async with aiohttp.ClientSession() as session, session.post(url, json=body) as response:
        return b"".join([piece async for piece in response.content.iter_any()])


LIBRARIES = {
    "httpx": through_httpx,
    "httpx2": through_httpx2,
    "requests": through_requests,
    "aiohttp": through_aiohttp,
}
_GEMINI = "google/v1beta/models/gemini-flash-latest:streamGenerateContent"
SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("openai/v1/chat/completions", ASKED),
    "responses": ("openai/v1/responses", {"model": "m", "stream": True}),
    "messages": ("anthropic/v1/messages", {"model": "m", "stream": True, "max_tokens": 9}),
    "gemini": (f"{_GEMINI}?alt=sse", {}),
    "gemini, array": (_GEMINI, {}),
    "ollama": ("ollama/api/chat", {"model": "m"}),
}
FORMS = [
    " ".join(form)
    for form in product(
        ["type=text/plain", "type=application/json", "type=application/octet-stream", "type=none"],
        ["ends=cr", "ends=crlf bom", "gzip fragments"],
    )
]


@pytest.mark.django_db
@pytest.mark.server
class TestOverHTTP:
    """The stub's journal says what was sent."""

    @pytest.mark.parametrize("library", ["httpx", "httpx2", "requests", "aiohttp"])
    def test_stream_in_any_form(self, library: str, stub: StubProvider, settings: Settings) -> None:
        settings.AI_USAGE_GATEWAYS |= {stub.url.removeprefix("http://") + "/ollama": "ollama"}
        send = LIBRARIES[library]

        def check(form: str, shape: str) -> None:
            prompt = f"Hello [stub {form}]"
            path, body = SHAPES[shape]
            stub.clear()
            forget()
            messages = [{"role": "user", "content": prompt}]
            contents = [{"role": "user", "parts": [{"text": prompt}]}]
            given = {"messages": messages, "input": prompt, "contents": contents}
            content = send(f"{stub.url}/{path}", given | body)

            (served,) = stub.journal
            assert_recorded_as_served(rows(), [served])
            assert only_row().usage_source == "reported"
            if "gzip" not in form:
                assert content == served.body

        check_each(check, product(FORMS, SHAPES))

    @pytest.mark.parametrize(
        "form", ["type=text/plain ends=cr", "type=application/json ends=crlf", "type=none"]
    )
    def test_openai_sdk(self, form: str, stub: StubProvider) -> None:
        with openai.OpenAI(base_url=stub.openai_url, api_key="none") as client:
            chunks = list(
                client.chat.completions.create(
                    model="gpt-4o-mini",
                    messages=[{"role": "user", "content": f"Hello [stub {form}]"}],
                    stream=True,
                    stream_options={"include_usage": True},
                )
            )

        assert chunks
        assert_recorded_as_served(rows(), stub.journal)

    def test_extra_chunk_is_hidden_under_any_content_type(
        self, stub: StubProvider, settings: Settings
    ) -> None:
        settings.AI_USAGE_STREAM_USAGE = "request"

        def check(form: str) -> None:
            forget()
            body = {
                "model": "gpt-4o-mini",
                "stream": True,
                "messages": [{"role": "user", "content": f"Hello [stub {form}]"}],
            }
            content = through_httpx2(f"{stub.openai_url}/chat/completions", body)

            assert b'"choices":[]' not in content
            assert b"[DONE]" in content
            assert only_row().usage_source == "reported"

        check_each(check, ["type=text/plain", "type=none ends=cr", "type=application/json bom"])
