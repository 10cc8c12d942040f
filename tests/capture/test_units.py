"""Units and facts of an answer reach the event of the call, through a real HTTP client."""

from __future__ import annotations

import json
from typing import Any

import httpx
from django.test import override_settings

from tests.support.wire import event_of, events_of, make_case
from usage_tracking import recorder
from usage_tracking.capture.body import MAX_BODY
from usage_tracking.events import UsageEvent
from usage_tracking.pricing import quote

PAGES: dict[str, Any] = {
    "pages": [{"index": 0, "markdown": "# Title", "images": []}],
    "model": "mistral-ocr-2512",
    "usage_info": {"pages_processed": 29, "doc_size_bytes": 3002783},
}


def test_pages_of_a_document_are_recorded() -> None:
    event = event_of(make_case("https://api.mistral.ai/v1/ocr", PAGES))

    assert (event.provider, event.operation) == ("mistral", "ocr")
    assert (event.model_name, event.prompt_tokens) == ("mistral-ocr-2512", None)
    assert event.usage_details == {"input_document_pages": 29}


def test_documents_that_a_service_of_the_site_reads_are_not_recorded() -> None:
    own = {"pages": ["Title"], "language": "en"}

    assert events_of(make_case("https://scans.example.com/ocr", own)) == []


def test_stream_of_azure_without_usage_has_the_model() -> None:
    chunk = {"id": "c1", "model": "gpt-4o-2024-11-20", "choices": [{"delta": {"content": "Hi"}}]}
    events = [{"id": "", "model": "", "choices": [], "prompt_filter_results": [{}]}, chunk, chunk]
    url = "https://x.openai.azure.com/openai/deployments/my-chat/chat/completions"
    event = event_of(
        make_case(url, None, events=events, done=True, content_type="text/event-stream")
    )

    assert event.model_name == "gpt-4o-2024-11-20"
    assert event.usage_source == "unknown"


def test_cost_in_the_headers_counts_only_if_it_is_one() -> None:
    answer = {
        "model": "gpt-4o-mini",
        "choices": [],
        "usage": {"prompt_tokens": 1000, "completion_tokens": 200},
    }
    costs = []
    with override_settings(AI_USAGE_GATEWAYS={"litellm.internal:4000": "litellm"}):
        for told in ["0.00031", "nan", "-1"]:
            headers = {"x-litellm-response-cost": told}
            url = "http://litellm.internal:4000/chat/completions"
            found = quote(event_of(make_case(url, answer, headers=headers)))
            costs.append((str(found.cost), found.reason))

    invalid = ("None", "not a valid value: cost")
    assert costs == [("0.0003100000", ""), invalid, invalid]


def test_chat_with_searches_that_are_not_counted_has_no_price() -> None:
    """https://developers.openai.com/api/docs/pricing: each search has a fee."""
    answer = {
        "model": "gpt-4o-search-preview-2025-03-11",
        "choices": [],
        "usage": {"prompt_tokens": 1000, "completion_tokens": 200},
    }
    found = quote(event_of(make_case("https://api.openai.com/v1/chat/completions", answer)))

    assert (found.cost, found.reason) == (None, "no price for requests")


CHAT = "https://api.openai.com/v1/chat/completions"
MODEL = "gpt-5-mini-2025-08-07"


def test_running_counts_of_a_stream_that_is_left_are_not_recorded() -> None:
    usage: dict[str, Any] = {"prompt_tokens": 1000, "completion_tokens": 1}
    words: dict[str, Any] = {"index": 0, "delta": {"content": "Hi"}, "finish_reason": None}
    first: dict[str, Any] = {"model": MODEL, "choices": [{**words, "delta": {"role": "assistant"}}]}
    chunks = [
        {**first, "usage": {**usage, "completion_tokens": 0}},
        {**first, "choices": [words], "usage": usage},
        {**first, "choices": [{**words, "finish_reason": "stop"}], "usage": usage},
    ]

    def left_after(number: int) -> UsageEvent:
        """Return the event of a stream whose reader leaves after so many chunks."""
        body = [f"data: {json.dumps(chunk)}\n\n".encode() for chunk in chunks]
        transport = httpx.MockTransport(
            lambda _: httpx.Response(
                200, headers={"content-type": "text/event-stream"}, content=iter(body)
            )
        )
        events: list[UsageEvent] = []
        recorder.listeners.append(events.append)
        try:
            with (
                httpx.Client(transport=transport) as client,
                client.stream("POST", CHAT, json={"model": MODEL}) as response,
            ):
                for _ in zip(range(number), response.iter_raw(), strict=False):
                    pass
        finally:
            recorder.listeners.remove(events.append)
        return events[0]

    events = [left_after(number) for number in (1, 2, 3)]

    assert [(event.prompt_tokens, "partial" in event.metadata) for event in events] == [
        (None, True),
        (None, True),
        (1000, False),
    ]


def test_usage_of_a_stream_with_an_error_status_is_not_recorded() -> None:
    usage = {"model": MODEL, "choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 9}}
    event = event_of(
        make_case(CHAT, None, events=[usage], status=429, content_type="text/event-stream")
    )

    assert (event.success, event.is_known, quote(event).cost) == (False, False, None)


def test_searches_that_were_dropped_from_a_long_answer_have_no_price() -> None:
    usage = {"input_tokens": 1000, "output_tokens": 100}
    call = {"type": "web_search_call", "status": "completed", "action": {"type": "search"}}
    long = {"type": "message", "content": "x" * (MAX_BODY + 1)}

    def costs(*items: dict[str, Any]) -> tuple[int | None, str]:
        answer = {
            "object": "response",
            "status": "completed",
            "model": MODEL,
            "output": items,
            "service_tier": "priority",
            "usage": usage,
        }
        url = "https://api.openai.com/v1/responses"
        event = event_of(make_case(url, answer, request={"model": MODEL}))
        found = quote(event)
        return event.prompt_tokens, found.reason or str(found.cost)

    assert costs(long) == (1000, "0.0008100000")
    assert costs(call, long) == (1000, "no price for answer=too_long")


def test_usage_before_very_many_embeddings_is_read() -> None:
    vectors = [{"embedding": "A" * 1000}] * (MAX_BODY // 1000)
    answer = {"model": "jina-embeddings-v3", "usage": {"total_tokens": 1200}, "data": vectors}
    url = "https://api.jina.ai/v1/embeddings"
    event = event_of(make_case(url, answer, request={"model": "jina-embeddings-v3"}))

    assert (event.prompt_tokens, event.model_name) == (1200, "jina-embeddings-v3")


def test_cost_in_the_headers_counts_without_any_usage() -> None:
    url = "http://litellm.internal:4000/audio/speech"
    headers = {"x-litellm-response-cost": "0.015"}
    with override_settings(AI_USAGE_GATEWAYS={"litellm.internal:4000": "litellm"}):
        spoken = make_case(url, None, headers=headers, content_type="audio/mpeg")
        refused = make_case(url, {"error": "no"}, headers=headers, status=400)
        found = [quote(event_of(each)) for each in (spoken, refused)]

    assert [(str(each.cost), each.source) for each in found] == [
        ("0.0150000000", "provider"),
        ("None", ""),
    ]
