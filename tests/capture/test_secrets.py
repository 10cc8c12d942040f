"""No key, prompt or answer of a call stays anywhere: files, rows, log lines, reprs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import openai
import pytest
from django.contrib.auth.models import User
from google import genai
from pytest_django import Settings

from project.stub import StubProvider
from usage_tracking import ai_usage, outbox
from usage_tracking.delivery import delivery
from usage_tracking.events import UsageEvent
from usage_tracking.models import AIUsageLog

pytestmark = pytest.mark.django_db

OPENAI_KEY = "sk-proj-Zm9vYmFyYmF6cXV4MTIzNDU2Nzg5"
ANTHROPIC_KEY = "sk-ant-api03-Zm9vYmFyYmF6cXV4MTIzNDU2Nzg5"
GOOGLE_KEY = "AIzaSyZm9vYmFyYmF6cXV4MTIzNDU2Nzg5Zm9vY"
SYSTEM = "You are the keeper of an old lighthouse"
PROMPT = "My neighbour has measles and owes me money"
ANSWER = "Start with the smallest thing that could work"
#: No run of so many characters of a secret may be found.
PIECE = 12

Call = Callable[[StubProvider, str], Any]


def openai_plain(stub: StubProvider, prompt: str) -> None:
    with _openai(stub) as client:
        client.chat.completions.create(model="gpt-4o-mini", messages=_messages(prompt))


def openai_streamed(stub: StubProvider, prompt: str) -> None:
    messages = _messages(prompt)
    with _openai(stub) as client:
        list(client.chat.completions.create(model="gpt-4o-mini", messages=messages, stream=True))


def openai_abandoned(stub: StubProvider, prompt: str) -> None:
    with (
        _openai(stub) as client,
        client.responses.create(model="gpt-4o-mini", input=prompt, stream=True) as stream,
    ):
        next(iter(stream))


def anthropic_streamed(stub: StubProvider, prompt: str) -> None:
    url = stub.anthropic_url
    with (
        anthropic.Anthropic(base_url=url, api_key=ANTHROPIC_KEY, max_retries=0) as client,
        client.messages.stream(
            model="claude-haiku-4-5",
            max_tokens=100,
            system=SYSTEM,
            messages=[{"role": "user", "content": prompt}],
        ) as stream,
    ):
        stream.get_final_message()


def google_plain(stub: StubProvider, prompt: str) -> None:
    options = genai.types.HttpOptions(base_url=stub.google_url)
    with genai.Client(api_key=GOOGLE_KEY, http_options=options) as client:
        client.models.generate_content(model="gemini-2.5-flash", contents=prompt)


def google_key_in_the_address(stub: StubProvider, prompt: str) -> None:
    httpx2.post(
        f"{stub.google_url}/v1beta/models/gemini-2.5-flash:generateContent",
        params={"key": GOOGLE_KEY},
        json={"contents": [{"role": "user", "parts": [{"text": prompt}]}]},
        timeout=60,
    )


CALLS = [
    openai_plain,
    openai_streamed,
    openai_abandoned,
    anthropic_streamed,
    google_plain,
    google_key_in_the_address,
]


def _openai(stub: StubProvider) -> openai.OpenAI:
    return openai.OpenAI(base_url=stub.openai_url, api_key=OPENAI_KEY, max_retries=0)


def _messages(prompt: str) -> Any:
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": prompt}]


@pytest.fixture
def on_disk(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The outbox of a site outside tests; the test delivers it."""
    settings.AI_USAGE_OUTBOX = tmp_path / "outbox"
    monkeypatch.setattr(outbox, "inline", lambda: False)
    monkeypatch.setattr(outbox, "listener", None)
    yield tmp_path / "outbox"
    outbox.get().close()


@pytest.mark.parametrize(
    "order",
    ["[stub words=99]", "[stub leak={key}]", "[stub words=99 cut=9]"],
    ids=["answered", "refused", "broken off"],
)
@pytest.mark.parametrize("call", CALLS)
def test_nothing_secret_is_kept(
    call: Call,
    order: str,
    stub: StubProvider,
    on_disk: Path,
    user: User,
    caplog: pytest.LogCaptureFixture,
) -> None:
    key = {"o": OPENAI_KEY, "a": ANTHROPIC_KEY, "g": GOOGLE_KEY}[call.__name__[0]]
    caplog.set_level(logging.DEBUG, "ai_usage_tracker")

    with suppress(Exception), ai_usage(section="chat", user=user):
        call(stub, f"{PROMPT} {order.format(key=key)}")
    lines = b"".join(path.read_bytes() for path in on_disk.glob("*.jsonl")).splitlines()[1:]
    events = [repr(UsageEvent.from_json(line)) for line in lines]
    delivery.deliver()

    rows = [str(row) for row in AIUsageLog.objects.values()]
    assert len(lines) == len(rows) == len(stub.journal) == 1
    kept = "\n".join((b"\n".join(lines).decode(), *events, *rows, caplog.text))
    assert "[TRACK_COMPLETE]" in kept
    for secret in (key, SYSTEM, PROMPT, ANSWER):
        assert not [piece for piece in _pieces(secret) if piece in kept]


def _pieces(secret: str) -> Iterator[str]:
    return (secret[at : at + PIECE] for at in range(len(secret) - PIECE + 1))
