"""Batches of several users, polled by several processes at once and again after a restart."""

from __future__ import annotations

import subprocess
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User

from project.stub import StubProvider
from tests.processes.conftest import Child, Start
from usage_tracking import daily
from usage_tracking.models import AIUsageLog

pytestmark = [pytest.mark.costly, pytest.mark.process]

BATCHER = "tests.processes.batcher"
#: USD for a million tokens of input, cache reads and output, in a batch:
#: https://developers.openai.com/api/docs/pricing, https://ai.google.dev/gemini-api/docs/pricing and
#: https://platform.claude.com/docs/en/about-claude/pricing
PRICES = {
    "openai": ("1.25", "1.25", "5"),
    "anthropic": ("1.5", "0.15", "7.5"),
    "google": ("0.15", "0.03", "1.25"),
}


def test_batches_polled_by_several_processes_are_counted_once(
    start: Start, stub: StubProvider, transactional_db: None
) -> None:
    users = [User.objects.create(username=f"user{number}") for number in range(5)]
    submission = start(BATCHER, "submit", 20, *(user.pk for user in users)).end()
    batches = [line.split() for line in submission.splitlines()]
    assert len(batches) == 60
    flush(start)  # the process has polled once for each
    assert in_progress() == 60

    for _ in range(2):  # the second time after a restart
        for child in [poll(start, submission) for _ in range(3)]:
            child.end()
            assert "Error" not in child.log()
        flush(start)
        assert in_progress() == 0
        assert AIUsageLog.objects.count() == 60
        assert recorded() == expected(stub, batches)
        assert daily.drift() == {}


def poll(start: Start, submission: str) -> Child:
    child = start(BATCHER, "poll", stdin=subprocess.PIPE)
    assert child.stdin is not None
    child.stdin.write(submission)
    child.stdin.close()
    child.stdin = None
    return child


def flush(start: Start) -> None:
    start("django", "flush_ai_usage").end()


def in_progress() -> int:
    reason = "batch in progress; its end was not seen yet"
    return AIUsageLog.objects.filter(metadata__unknown=reason).count()


def recorded() -> dict[str, Any]:
    return {
        row.metadata["batch"]["id"]: (
            row.provider,
            row.user.username if row.user else "",
            row.section,
            row.prompt_tokens,
            row.completion_tokens,
            row.cached_tokens,
            row.cost,
        )
        for row in AIUsageLog.objects.select_related("user")
    }


def expected(stub: StubProvider, batches: list[list[str]]) -> dict[str, Any]:
    """Return what the rows must be, from the journal and the submissions."""
    served = {each.response_id: each for each in stub.journal if each.prompt_tokens is not None}
    found = {}
    for provider, name, user, section in batches:
        batch_id = name.removeprefix("batches/")
        last = served[batch_id]
        prompt, completion = last.prompt_tokens or 0, last.completion_tokens or 0
        cached = last.cached_tokens or 0
        plain, read, written = map(Decimal, PRICES[provider])
        cost = (plain * (prompt - cached) + read * cached + written * completion) / 10**6
        found[batch_id] = (provider, user, section, prompt, completion, cached, cost)
    return found
