"""What the tests of websockets share."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from pytest_django import Settings
from websockets.sync.client import ClientConnection

from tests.support.comparison import rows
from tests.support.sockets import Billed, SocketProvider
from usage_tracking.models import AIUsageLog

REALTIME = "gpt-realtime"
MODEL = "gpt-5.1"
LIVE = "gemini-live-2.5-flash-preview"

uses_sockets = [
    pytest.mark.django_db,
    # The SDK of OpenAI opens connections in a way that websockets 17 warns about.
    pytest.mark.filterwarnings("ignore:connect.. must be used:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def server() -> Iterator[SocketProvider]:
    with SocketProvider() as server:
        yield server


@pytest.fixture
def sockets(server: SocketProvider, settings: Settings) -> SocketProvider:
    """The provider with an empty journal, configured as a site's gateway."""
    server.clear()
    settings.AI_USAGE_GATEWAYS = {
        f"{server.host_port}/openai": "openai",
        f"{server.host_port}/google": "google",
    }
    return server


def assert_recorded_as_billed(sockets: SocketProvider) -> None:
    """Assert that rows and journal agree one to one, in any order."""
    expected = [
        Billed(one.operation, one.model, "", one.counts, failed=one.failed)
        for one in sockets.journal
    ]
    found = sorted(map(_billed, rows()), key=str)
    assert found == sorted(expected, key=str), f"{found} recorded, {expected} billed"


def _billed(row: AIUsageLog) -> Billed:
    counts = None
    if row.prompt_tokens is not None and row.completion_tokens is not None:
        counts = (row.prompt_tokens, row.completion_tokens)
    return Billed(row.operation, row.model_name, "", counts, failed=not row.success)


def said(text: str) -> Any:
    """Return an item of a conversation in Realtime."""
    content = [{"type": "input_text", "text": text}]
    return {"type": "message", "role": "user", "content": content}


def created(text: str, **event: Any) -> str:
    """Return the event that asks for a response in Realtime."""
    return json.dumps({"type": "response.create", "response": {"instructions": text}, **event})


def requested(text: str, **event: Any) -> str:
    """Return the event that asks for a response over the websocket of Responses."""
    return json.dumps({"type": "response.create", "model": MODEL, "input": text, **event})


def read_to(socket: ClientConnection, kind: str) -> dict[str, Any]:
    """Receive events up to the next of a kind, and return that."""
    while True:
        event: dict[str, Any] = json.loads(socket.recv(30))
        if event["type"] == kind:
            return event
