"""Send an answer that a case describes through a real HTTP client, and return the event."""

from __future__ import annotations

import json
from typing import Any

import httpx

from usage_tracking.events import UsageEvent
from usage_tracking.testing import captured_ai_usage

Case = dict[str, Any]


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

    with (
        captured_ai_usage() as calls,
        httpx.Client(transport=httpx.MockTransport(answer)) as client,
    ):
        client.request(case["method"], case["url"], json=case.get("request") or {})
    return calls


def event_of(case: Case) -> UsageEvent:
    """Return the event of the only call of the case."""
    (event,) = events_of(case)
    return event
