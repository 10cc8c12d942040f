"""Send an answer that a case describes through a real HTTP client, and return the event."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace
from typing import Any

import httpx

from usage_tracking import recorder
from usage_tracking.events import UsageEvent
from usage_tracking.pricing import Quote, quote

Case = dict[str, Any]


def make_case(url: str, answer: Any, **more: Any) -> Case:
    """Return a case in which a POST request to `url` gets `answer`, as JSON."""
    return {
        "method": "POST",
        "url": url,
        "status": 200,
        "content_type": "application/json",
        "answer": answer,
        **more,
    }


def body_of(case: Case) -> bytes:
    """Return the body of the answer as it stands on the wire."""
    if "events" not in case:
        return json.dumps(case["answer"]).encode()
    lines = []
    for event in case["events"]:
        if "anthropic" in case["url"] and "type" in event:
            lines.append(f"event: {event['type']}\n")
        lines.append(f"data: {json.dumps(event)}\n\n")
    if case.get("done"):
        lines.append("data: [DONE]\n\n")
    return "".join(lines).encode()


def events_of(case: Case) -> list[UsageEvent]:
    """Return the events of the calls that the case's exchange is recorded as."""
    headers = {"content-type": case["content_type"], **case.get("headers", {})}

    def answer(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(case["status"], headers=headers, content=body_of(case))

    events: list[UsageEvent] = []
    recorder.listeners.append(events.append)
    try:
        with httpx.Client(transport=httpx.MockTransport(answer)) as client:
            client.request(case["method"], case["url"], json=case.get("request") or {})
    finally:
        recorder.listeners.remove(events.append)
    return events


def event_of(case: Case) -> UsageEvent:
    """Return the event of the only call of the case."""
    (event,) = events_of(case)
    return event


def recorded(case: Case) -> tuple[UsageEvent, Quote]:
    """Return the event of the only call of the case, and what it costs."""
    event = event_of(case)
    if at := case.get("at"):
        event = replace(event, created_at=dt.datetime.fromisoformat(at))
    return event, quote(event)
