"""OpenRouter's activity, read from a server."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest

from tests.billing.scripted import Reply, serve
from usage_tracking.billing import Billed, BillingError, openrouter

pytestmark = pytest.mark.server

KEY = "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"
HASHES = ["f01d52606dc8f0a8", "a12b34c56d78e90f"]
TODAY = dt.date(2026, 11, 27)


def ago(days: int) -> dt.date:
    return TODAY - dt.timedelta(days=days)


DAYS = (ago(2), ago(1))


def item(day: dt.date, **changes) -> dict[str, Any]:
    return {
        "date": day.isoformat(),
        "model": "openai/gpt-4.1",
        "model_permaslug": "openai/gpt-4.1-2025-04-14",
        "endpoint_id": "550e8400-e29b-41d4-a716-446655440000",
        "provider_name": "OpenAI",
        "usage": 0.015,
        "byok_usage_inference": 0.012,
        "requests": 5,
        "prompt_tokens": 50,
        "completion_tokens": 125,
        "reasoning_tokens": 25,
        **changes,
    }


@pytest.fixture(autouse=True)
def _today(monkeypatch):
    monkeypatch.setattr(openrouter, "utc_today", lambda: TODAY)


@pytest.fixture
def server():
    with serve(lambda asked: {"data": []}) as server:
        yield server


def fetch(server, days: tuple[dt.date, dt.date] = DAYS, **account):
    fields = {"key": KEY, "base_url": f"{server.url}/api/v1", **account}
    return openrouter.fetch(fields, *days, sleep=lambda seconds: None)


def failure(server, **account) -> str:
    with pytest.raises(BillingError) as caught:
        fetch(server, **account)
    assert KEY not in str(caught.value)
    return str(caught.value)


ONE = Billed(
    day=ago(1),
    family="activity",
    model_name="openai/gpt-4.1",
    requests=5,
    prompt_tokens=50,
    completion_tokens=125,
    cost=Decimal("0.027"),
    units={"reasoning_tokens": 25},
)


def test_activity_is_read(server):
    server.script = lambda asked: {"data": [item(ago(1), news="unknown"), item(ago(3))]}
    fetched = fetch(server)
    assert fetched == openrouter.Fetched((ago(2), ago(1)), (ONE,))
    (asked,) = server.asked
    assert (asked.path, asked.params) == ("/api/v1/activity", {})
    assert asked.headers["Authorization"] == f"Bearer {KEY}"


def test_endpoints_of_a_model_are_added_up(server):
    server.script = lambda asked: {
        "data": [
            item(ago(1)),
            item(ago(1), endpoint_id="2", provider_name="Azure", reasoning_tokens=0),
            item(ago(1), model="anthropic/claude-opus-5", usage="-0.1", byok_usage_inference=0),
        ]
    }
    claude, gpt = fetch(server).rows
    assert (claude.model_name, claude.cost) == ("anthropic/claude-opus-5", Decimal("-0.1"))
    assert (gpt.requests, gpt.prompt_tokens, gpt.completion_tokens) == (10, 100, 250)
    assert (gpt.cost, dict(gpt.units)) == (Decimal("0.054"), {"reasoning_tokens": 25})


@pytest.mark.parametrize(
    ("first", "last", "days", "notes"),
    [
        (ago(30), ago(1), 30, []),
        (ago(1), ago(1), 1, []),
        (
            ago(6),
            TODAY,
            6,
            ["OpenRouter reports completed days only: days from 2026-11-27 on are left out."],
        ),
        (
            TODAY,
            TODAY,
            0,
            ["OpenRouter reports completed days only: days from 2026-11-27 on are left out."],
        ),
        (
            ago(-1),
            ago(-2),
            0,
            ["OpenRouter reports completed days only: days from 2026-11-28 on are left out."],
        ),
        (
            ago(40),
            ago(29),
            2,
            ["OpenRouter reports the last 30 days only: days before 2026-10-28 are left out."],
        ),
        (
            ago(40),
            ago(31),
            0,
            ["OpenRouter reports the last 30 days only: days before 2026-10-28 are left out."],
        ),
    ],
)
def test_days_that_are_not_reported_are_noted(server, first, last, days, notes):
    server.script = lambda asked: {"data": [item(ago(each)) for each in range(-3, 45)]}
    fetched = fetch(server, (first, last))
    assert (len(fetched.days), list(fetched.notes)) == (days, notes)
    assert [row.day for row in fetched.rows] == list(fetched.days)
    assert len(server.asked) == (1 if days else 0)


def test_keys_are_asked_for_one_by_one(server):
    def script(asked):
        if asked.path.endswith("/activity"):
            number = HASHES.index(asked.params["api_key_hash"][0])
            return {"data": [item(ago(1), requests=number + 1)]}
        if asked.path.endswith(HASHES[0]):
            return {"data": {"name": "Site", "label": "sk-or-v1-0e6...1c96"}}
        return Reply({"error": {"code": 404, "message": "Not found"}}, 404)

    server.script = script
    fetched = fetch(server, api_key_ids=HASHES)
    assert [(row.key_id, row.key_name, row.key_hint, row.requests) for row in fetched.rows] == [
        (HASHES[1], "", "", 2),
        (HASHES[0], "Site", "1c96", 1),
    ]
    assert fetched.notes == (
        f"The name of an API key is unknown. OpenRouter does not know /api/v1/keys/{HASHES[1]}."
        " Check base_url (404). OpenRouter says: Not found",
    )


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-26",
        "2026-11-26 00:00:00",
        "2026-11-26T00:00:00Z",
        "2026-11-26T00:00:00.000Z",
        "2026-11-26T00:00:00+00:00",
    ],
)
def test_date_may_have_midnight(server, text):
    server.script = lambda asked: {"data": [item(ago(1), date=text)]}
    assert fetch(server).rows == (ONE,)


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-26T00:00:00+13:00",
        "2026-11-26 01:00:00",
        "2026-02-30",
        "26.11.2026",
        "٢٠٢٦-11-26",
        "",
    ],
)
def test_other_date_is_an_error(server, text):
    server.script = lambda asked: {"data": [item(ago(1), date=text)]}
    assert failure(server).startswith("The answer of OpenRouter to activity: date must be")


@pytest.mark.parametrize(
    "name",
    [
        "date",
        "model",
        "usage",
        "byok_usage_inference",
        "requests",
        "prompt_tokens",
        "completion_tokens",
    ],
)
def test_renamed_field_is_an_error(server, name):
    result = item(ago(1))
    result[f"new_{name}"] = result.pop(name)
    server.script = lambda asked: {"data": [result]}
    assert failure(server) == (
        f'The answer of OpenRouter to activity has no "{name}". The API may have changed.'
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("usage", "NaN"),
        ("usage", float("inf")),
        ("byok_usage_inference", "free"),
        ("requests", -1),
        ("prompt_tokens", "50"),
        ("completion_tokens", True),
        ("reasoning_tokens", 0.5),
        ("model", 4),
    ],
)
def test_odd_value_is_an_error(server, name, value):
    server.script = lambda asked: {"data": [item(ago(1), **{name: value})]}
    assert failure(server).startswith(f"The answer of OpenRouter to activity: {name} must be")


@pytest.mark.parametrize("body", [{}, {"data": None}, {"data": {}}, {"data": ["x"]}])
def test_answer_without_a_list_is_an_error(server, body):
    server.script = lambda asked: body
    assert "data" in failure(server)


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500])
def test_refusal_is_an_error(server, status):
    body = {"error": {"code": status, "message": f"Only management keys can do this, not {KEY}."}}
    server.script = lambda asked: Reply(body, status)
    message = failure(server)
    assert f"{status}" in message
    assert "OpenRouter says: Only management keys can do this, not [redacted]" in message
    if status in {401, 403}:
        assert "to a management key" in message
