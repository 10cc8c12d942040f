"""Ids and names of megabytes are neither stored nor compared."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from django.contrib.auth.models import User

from tests.capture.test_transports import ANSWER, ASKED, URL
from tests.support.comparison import only_row
from usage_tracking import ai_usage, recorder
from usage_tracking.attribution.scope import Call
from usage_tracking.events import UsageEvent
from usage_tracking.redaction import MAX_NAME
from usage_tracking.usage import Usage

pytestmark = pytest.mark.django_db

LONG = "a" * 10**6


def post(answer: dict[str, Any], asked: dict[str, Any]) -> None:
    transport = httpx2.MockTransport(lambda request: httpx2.Response(200, json=answer))
    with httpx2.Client(transport=transport) as client:
        client.post(URL, json=asked)


@pytest.fixture
def remembered(monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    calls: list[Call] = []

    class Spy(Call):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            calls.append(self)

    monkeypatch.setattr(recorder, "Call", Spy)
    return calls


def test_names_of_an_answer_are_cut(remembered: list[Call]) -> None:
    answer = {**ANSWER, "id": LONG, "model": LONG, "service_tier": LONG}
    with ai_usage(section="chat"):
        post(answer, {**ASKED, "model": "b" + LONG})

    row = only_row()
    assert len(row.model_name) == 100
    assert max(len(str(value)) for value in row.metadata.values()) == 100
    assert [len(call.response_id) for call in remembered] == [MAX_NAME]


def test_manual_record_joins_by_the_id_that_was_cut(remembered: list[Call], user: User) -> None:
    answer = {**ANSWER, "id": LONG, "usage": None}
    with ai_usage(section="chat", user=user):
        post(answer, ASKED)
        recorder.record_manually(
            UsageEvent.manual(usage=Usage(prompt_tokens=7, completion_tokens=8)), response_id=LONG
        )

    assert only_row().total_tokens == 15
    assert [len(call.response_id) for call in remembered] == [MAX_NAME]
