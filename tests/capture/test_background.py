"""OpenAI responses made in the background: one call and one row, whichever process polls."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from django.contrib.auth.models import User

from project.stub import StubProvider
from tests.support.comparison import attributed, only_row, rows
from tests.support.ledger import assert_in_step
from usage_tracking import ai_usage

pytestmark = pytest.mark.django_db


@pytest.fixture
def client(stub: StubProvider) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=stub.openai_url, api_key="any", max_retries=0) as client:
        yield client


def begin(client: openai.OpenAI, order: str = "", **options: Any) -> str:
    options = {"background": True} | options
    answer = client.responses.create(
        model="gpt-4o", input=f"Think about it [stub {order}]", **options
    )
    return str(answer.id)


def counts_of(client: openai.OpenAI, response_id: str) -> tuple[int, int]:
    usage = client.responses.retrieve(response_id).usage
    assert usage is not None
    return usage.input_tokens, usage.output_tokens


def test_begun_response_is_a_row_whose_tokens_are_not_known_yet(client: openai.OpenAI) -> None:
    with ai_usage(section="chat"):
        begin(client)

    row = only_row()
    assert (row.section, row.usage_source, row.success) == ("chat", "unknown", True)
    assert row.metadata["unknown"] == "made in the background; its end was not seen yet"


def test_end_seen_in_the_same_block_is_the_same_call(client: openai.OpenAI, user: User) -> None:
    with ai_usage(section="chat", user=user) as usage:
        response_id = begin(client, "queued=2")
        for _ in range(5):
            client.responses.retrieve(response_id)

        assert usage.calls == 1
        assert usage.total_tokens == sum(counts_of(client, response_id))

    row = only_row()
    assert attributed(row) == ("ada", "chat")
    assert (row.prompt_tokens, row.completion_tokens) == counts_of(client, response_id)
    assert row.usage_source == "reported"
    assert "unknown" not in row.metadata
    assert row.cost
    assert_in_step()


def test_end_seen_elsewhere_keeps_what_the_beginning_said(
    client: openai.OpenAI, user: User
) -> None:
    with ai_usage(section="chat", user=user, metadata={"order": 7}):
        response_id = begin(client, "queued=1")
    took = only_row().response_time_ms
    with ai_usage(section="rag_pipeline", metadata={"poller": 1}):
        for _ in range(4):
            client.responses.retrieve(response_id)

    row = only_row()
    assert attributed(row) == ("ada", "chat")
    assert (row.prompt_tokens, row.completion_tokens) == counts_of(client, response_id)
    assert (row.metadata["order"], row.response_time_ms) == (7, took)
    assert not {"unknown", "poller"} & set(row.metadata)
    assert_in_step()


@pytest.mark.process
def test_end_of_a_beginning_that_was_not_seen_is_a_row_of_its_own(
    client: openai.OpenAI, stub: StubProvider
) -> None:
    """The response was begun by another system, or by a process that died with it."""
    begun = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import openai; c = openai.OpenAI(base_url={stub.openai_url!r}, api_key='any'); "
            "print(c.responses.create(model='gpt-4o', input='Hello', background=True).id)",
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert begun.returncode == 0, begun.stdout + begun.stderr
    response_id = begun.stdout.strip()
    with ai_usage(section="chat"):
        for _ in range(4):
            client.responses.retrieve(response_id)

    row = only_row()
    assert (row.section, row.usage_source) == ("chat", "reported")
    assert (row.prompt_tokens, row.completion_tokens) == counts_of(client, response_id)


def test_response_that_is_still_being_made_leaves_the_row_alone(client: openai.OpenAI) -> None:
    response_id = begin(client, "queued=3")
    client.responses.retrieve(response_id)

    assert only_row().usage_source == "unknown"


def test_cancelled_response_has_no_tokens(client: openai.OpenAI) -> None:
    response_id = begin(client, "queued=9")
    client.responses.cancel(response_id)
    client.responses.retrieve(response_id)

    row = only_row()
    assert (row.usage_source, row.success) == ("unknown", True)
    assert row.metadata["unknown"] == "no usage in the answer"


def test_response_that_was_not_made_in_the_background_is_counted_once(
    client: openai.OpenAI,
) -> None:
    response_id = begin(client, background=False)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(response_id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve("resp_unknown")

    assert only_row().usage_source == "reported"


def test_streamed_response_left_early_is_completed_by_a_poll(client: openai.OpenAI) -> None:
    with (
        ai_usage(section="chat"),
        client.responses.create(
            model="gpt-4o", input="Hello [stub queued=0]", background=True, stream=True
        ) as stream,
    ):
        event: Any = next(iter(stream))
    assert only_row().usage_source == "unknown"

    client.responses.retrieve(event.response.id)

    row = only_row()
    assert (row.section, row.usage_source) == ("chat", "reported")


def test_rows_are_distinguished_by_their_responses(client: openai.OpenAI) -> None:
    for _ in range(3):
        begin(client)

    assert len({row.pk for row in rows()}) == 3
