"""Units and facts of an answer reach the event of the call, through a real HTTP client."""

from __future__ import annotations

from typing import Any

from django.test import override_settings

from tests.support.wire import Case, events_of
from usage_tracking.events import UsageEvent
from usage_tracking.pricing import quote

PAGES: dict[str, Any] = {
    "pages": [{"index": 0, "markdown": "# Title", "images": []}],
    "model": "mistral-ocr-2512",
    "usage_info": {"pages_processed": 29, "doc_size_bytes": 3002783},
}


def case(url: str, answer: Any, **more: Any) -> Case:
    """Return a case in which a POST request to `url` gets `answer`."""
    return {
        "method": "POST",
        "url": url,
        "status": 200,
        "content_type": "application/json",
        "answer": answer,
        **more,
    }


def event_of(case: Case) -> UsageEvent:
    """Return the event of the only call of the case."""
    (event,) = events_of(case)
    return event


def test_pages_of_a_document_are_recorded() -> None:
    event = event_of(case("https://api.mistral.ai/v1/ocr", PAGES))

    assert (event.provider, event.operation) == ("mistral", "ocr")
    assert (event.model_name, event.prompt_tokens) == ("mistral-ocr-2512", None)
    assert event.usage_details == {"input_document_pages": 29}


def test_documents_that_a_service_of_the_site_reads_are_not_recorded() -> None:
    own = {"pages": ["Title"], "language": "en"}

    assert events_of(case("https://scans.example.com/ocr", own)) == []


def test_stream_of_azure_without_usage_has_the_model() -> None:
    chunk = {"id": "c1", "model": "gpt-4o-2024-11-20", "choices": [{"delta": {"content": "Hi"}}]}
    events = [{"id": "", "model": "", "choices": [], "prompt_filter_results": [{}]}, chunk, chunk]
    url = "https://x.openai.azure.com/openai/deployments/my-chat/chat/completions"
    event = event_of(case(url, None, events=events, done=True, content_type="text/event-stream"))

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
            found = quote(event_of(case(url, answer, headers=headers)))
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
    found = quote(event_of(case("https://api.openai.com/v1/chat/completions", answer)))

    assert (found.cost, found.reason) == (None, "no price for requests")
