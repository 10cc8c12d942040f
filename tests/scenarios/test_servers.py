"""With each server, each call is one row with its user and section, and responses are intact."""

from __future__ import annotations

import json
import random

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.db.models import Sum
from django.test import Client

from project.stub import Served, StubProvider
from tests.processes.conftest import Start
from tests.processes.test_durability import flush
from tests.scenarios.conftest import Outcome
from tests.scenarios.servers import SERVERS, Server
from tests.scenarios.site import CALLS, SECTIONS
from tests.scenarios.visits import Visit, Visited, visit_all
from tests.support.waiting import wait_until
from usage_tracking import daily
from usage_tracking.models import AIUsageLog, AIUsageTracking

ROUNDS = 3
NOBODY = "nobody"
#: Views that work without a session.
ANONYMOUS = ("sync", "async", "stream", "astream", "fanout", "gather", "outlive", "free")


@pytest.mark.parametrize("name", SERVERS)
def test_every_call_is_one_row_of_its_user(
    name: str, site: dict[str, str], start: Start, stub: StubProvider, outcomes: list[Outcome]
) -> None:
    users = {user: User.objects.create(username=user) for user in ("ada", "bob", "cy")}
    visits = [
        _visit(view, user, users, number)
        for number in range(ROUNDS)
        for user, views in (*((user, SECTIONS) for user in users), (NOBODY, ANONYMOUS))
        for view in views
    ]
    random.Random(20261125).shuffle(visits)
    calls = sum(CALLS.get(one.view, 1) for one in visits)
    if name == "gunicorn preload":
        site["CALL_AT_START"] = f"{NOBODY} free at start"
        calls += 1

    with Server(name, site) as server:
        visited = visit_all(server, visits)
        wait_until(
            lambda: AIUsageLog.objects.count() >= calls,
            awaited=f"{calls} rows",
            seen=lambda: f"{AIUsageLog.objects.count()} rows:\n{server.log()}",
        )
        server.stop()
        log = server.log()
    flushed = flush(start)

    by_id = {served.response_id: served for served in stub.journal}
    assert len(by_id) == len(stub.journal) == calls
    rows = list(AIUsageLog.objects.select_related("user"))
    ids = {row.metadata["response_id"] for row in rows}
    answered = [one for one in visited if one.status]
    outcomes.append(
        Outcome(
            f"none ({name}{', forked with an open outbox' if name == 'gunicorn preload' else ''})",
            served=len(stub.journal),
            acknowledged=sum(CALLS.get(one.visit.view, 1) for one in answered),
            found=len(ids),
            doubled=len(rows) - len(ids),
            client_errors=len(visited) - len(answered),
        )
    )
    assert sorted(row.metadata["response_id"] for row in rows) == sorted(by_id)
    assert [_of_row(row) for row in rows] == [
        _of_served(by_id[row.metadata["response_id"]]) for row in rows
    ]
    assert "TRACK" not in log, log
    assert flushed.startswith("0 calls delivered")
    for one in visited:
        _assert_intact(one, stub.journal)
    # Computed here, independently of the app.
    assert daily.drift() == {}
    for user in User.objects.all():
        logs = AIUsageLog.objects.filter(user=user)
        days = AIUsageTracking.objects.filter(user=user)
        assert days.aggregate(n=Sum("total_requests", default=0))["n"] == logs.count()
        tokens = days.aggregate(n=Sum("total_tokens", default=0))["n"]
        assert tokens == logs.aggregate(n=Sum("total_tokens", default=0))["n"]


def _visit(view: str, user: str, users: dict[str, User], number: int) -> Visit:
    prompt = f"{user} {view} {number}"
    if user == NOBODY:
        return Visit(view, prompt)
    if view == "token":
        return Visit(view, prompt, headers=(("Authorization", f"Name {user}"),))
    client = Client()
    client.force_login(users[user])
    session = client.session
    assert isinstance(session, SessionStore)
    return Visit(view, prompt, session=str(session.session_key))


def _of_row(row: AIUsageLog) -> tuple[object, ...]:
    user = row.user.get_username() if row.user else NOBODY
    return (user, row.section, row.prompt_tokens, row.completion_tokens, row.success)


def _of_served(served: Served) -> tuple[object, ...]:
    user, view, *_ = served.prompt.split()
    if view == "signup":
        user = f"new {served.prompt}"
    return (user, SECTIONS[view], served.prompt_tokens, served.completion_tokens, True)


def _assert_intact(one: Visited, journal: list[Served]) -> None:
    assert one.status == (500 if one.visit.view == "raising" else 200), one
    asked = [s for s in journal if f"{s.prompt} ".startswith(f"{one.visit.prompt} ")]
    if one.visit.view in ("stream", "astream"):
        assert one.text == _text_of(asked[0].body)
    elif one.visit.view not in ("raising", "outlive"):
        ids = one.text.strip('"').split()
        assert sorted(ids) == sorted(s.response_id for s in asked)


def _text_of(body: bytes) -> str:
    """Return the text of an OpenAI stream."""
    events = [line[6:] for line in body.decode().splitlines() if line.startswith("data: {")]
    choices = [choice for event in events for choice in json.loads(event)["choices"]]
    return "".join(choice["delta"].get("content") or "" for choice in choices)
