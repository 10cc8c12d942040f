"""An SDK's retries within one call belong to the user that the site names afterwards."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import httpx2
import openai
import pytest
import requests
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import path
from pytest_django import Settings

from project.stub import StubProvider
from tests.support import providers
from tests.support.builders import make_user
from tests.support.comparison import attributed, rows
from tests.support.ledger import assert_in_step
from tests.views import MODEL
from usage_tracking import ai_usage, track_ai_usage
from usage_tracking.models import AIUsageLog
from usage_tracking.recorder import joining

one_certificate, provider = providers.one_certificate, providers.provider
stub, user = providers.stub, providers.user
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("stub")]

TWICE = "Hello [stub status=500 times=2]"
ALWAYS = "Hello [stub status=500]"
#: The counts of two failed attempts and a successful attempt.
ADAS = [("ada", "chat")] * 3
NOBODYS = (None, "other")


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the half second that the SDKs wait before a retry."""
    for module in (openai._base_client, anthropic._base_client):
        monkeypatch.setattr(module.BaseClient, "_calculate_retry_timeout", lambda *_, **__: 0.0)


@pytest.fixture
def bob(db: None) -> User:
    return make_user("bob")


@pytest.fixture
def clients(stub: StubProvider) -> Iterator[dict[str, Any]]:
    with (
        openai.OpenAI(base_url=stub.openai_url, api_key="any", max_retries=2) as ours,
        anthropic.Anthropic(base_url=stub.anthropic_url, api_key="any", max_retries=2) as theirs,
    ):
        yield {"openai": ours, "anthropic": theirs}


@pytest.fixture
def ask(clients: dict[str, Any]) -> Callable[..., Any]:
    def ask(prompt: str = TWICE, **options: Any) -> Any:
        client = clients["openai"].with_options(max_retries=options.pop("max_retries", 2))
        return client.chat.completions.create(model=MODEL, messages=messages(prompt), **options)

    return ask


def messages(prompt: str) -> Any:
    return [{"role": "user", "content": prompt}]


def recorded() -> list[tuple[str | None, str]]:
    return [attributed(row) for row in rows()]


@pytest.mark.parametrize("delivered", [False, True])
def test_failed_attempts_of_the_sdk_join_the_call_that_is_tracked(
    ask: Callable[..., Any], user: User, delivered: bool
) -> None:
    answer = ask()
    if delivered:
        assert recorded() == [NOBODYS] * 3
    track_ai_usage(user, "chat", answer.usage.prompt_tokens, answer.usage.completion_tokens)

    assert recorded() == ADAS
    assert [row.success for row in rows()] == [False, False, True]
    assert_in_step()


def test_failed_attempts_of_anthropic_and_of_a_stream_join_too(
    clients: dict[str, Any], ask: Callable[..., Any], user: User
) -> None:
    clients["anthropic"].messages.create(model="m", max_tokens=9, messages=messages(TWICE))
    track_ai_usage(user, "chat")
    assert recorded() == ADAS

    AIUsageLog.objects.all().delete()
    with ask(TWICE + "!", stream=True) as stream:
        list(stream)
    track_ai_usage(user, "chat")
    assert recorded() == ADAS


def test_failed_attempts_of_a_call_that_finally_fails_join_too(
    ask: Callable[..., Any], user: User
) -> None:
    with pytest.raises(openai.InternalServerError):
        ask(ALWAYS)
    track_ai_usage(user, "chat", success=False, error_message="gave up")

    assert recorded() == ADAS


def test_failed_attempts_of_a_request_with_another_tracked_user_join_too(
    ask: Callable[..., Any], user: User, bob: User, settings: Settings
) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        ask()
        track_ai_usage(user, "chat")
        return HttpResponse()

    settings.ROOT_URLCONF = (path("", view),)
    client = Client()
    client.force_login(bob)
    client.get("/")

    assert recorded() == ADAS


def test_retries_of_concurrent_tasks_are_distinguished(
    stub: StubProvider, user: User, bob: User
) -> None:
    """The tasks share a unit and make equal calls."""

    attempts: Counter[Any] = Counter()

    async def fail_twice(request: httpx2.Request) -> None:
        """Fail twice, as often as the SDK retries. Attempts of the tasks wait for each other."""
        await turn.wait()
        attempts[asyncio.current_task()] += 1
        if attempts[asyncio.current_task()] < 3:
            raise httpx2.ConnectError("away")

    async def work(client: openai.AsyncOpenAI) -> None:
        await client.chat.completions.create(model=MODEL, messages=messages("Hello"))

    turn = asyncio.Barrier(2)

    async def main() -> None:
        hooks: Any = {"request": [fail_twice]}
        with ai_usage():
            async with (
                httpx2.AsyncClient(event_hooks=hooks) as http,
                openai.AsyncOpenAI(
                    base_url=stub.openai_url, api_key="any", max_retries=2, http_client=http
                ) as client,
            ):
                await asyncio.gather(work(client), work(client))
            # The assignment of the two rows is arbitrary. The attempts follow their call.
            for who in (user, bob):
                track_ai_usage(who, "chat")

    async_to_sync(main)()

    by_user = [name for name, _ in recorded()]
    assert sorted(by_user, key=str) == ["ada"] * 3 + ["bob"] * 3


class TestUncertain:
    """An attempt whose call is uncertain stays unattributed."""

    def test_call_that_a_loop_of_the_site_repeats(
        self, ask: Callable[..., Any], user: User
    ) -> None:
        """The thread may have served another user with an equal call before."""
        for _ in range(2):
            with pytest.raises(openai.InternalServerError):
                ask(max_retries=0)
        ask(max_retries=0)
        track_ai_usage(user, "chat")

        assert recorded() == [NOBODYS, NOBODYS, ("ada", "chat")]

    def test_failed_call_of_the_user_whom_the_thread_served_before(
        self, ask: Callable[..., Any], user: User, bob: User
    ) -> None:
        def serve(user: User, prompt: str) -> None:
            try:
                ask(prompt)
            except openai.InternalServerError:
                return  # without a record of the call
            track_ai_usage(user, "chat")

        serve(bob, "Hello [stub status=500 times=4]")  # all attempts fail
        serve(user, "Hello [stub status=500 times=4]")  # the second attempt succeeds

        assert recorded() == [NOBODYS] * 3 + [("ada", "chat")] * 2

    def test_attempt_of_another_model_or_body(self, stub: StubProvider, user: User) -> None:
        def post(number: int, prompt: str) -> None:
            requests.post(
                f"{stub.openai_url}/chat/completions",
                json={"model": MODEL, "messages": messages(prompt)},
                headers={"x-stainless-retry-count": str(number)},
                timeout=60,
            )

        post(0, ALWAYS)
        post(1, "Hello")
        track_ai_usage(user, "chat")

        assert recorded() == [NOBODYS, ("ada", "chat")]

    def test_attempt_that_is_too_old(
        self, ask: Callable[..., Any], user: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ask()
        with ai_usage(section="chat"):
            monkeypatch.setattr(joining, "JOINABLE", -1.0)
            ask(TWICE + "!")
            track_ai_usage(user, "chat")

        assert recorded()[3:] == [(None, "chat"), (None, "chat"), ("ada", "chat")]

    def test_attempt_that_was_tracked_for_another_user(
        self, stub: StubProvider, user: User, bob: User
    ) -> None:
        for number, who in enumerate((bob, user)):
            requests.post(
                f"{stub.openai_url}/chat/completions",
                json={"model": MODEL, "messages": messages("Hello [stub status=500 times=1]")},
                headers={"x-stainless-retry-count": str(number)},
                timeout=60,
            )
            track_ai_usage(who, "chat", success=who is user)

        assert recorded() == [("bob", "chat"), ("ada", "chat")]


@pytest.mark.parametrize("name", ["Idempotency-Key", "amz-sdk-invocation-id"])
def test_client_id_shared_by_all_attempts_of_a_call_identifies_them(
    name: str, stub: StubProvider, user: User
) -> None:
    def post(key: str) -> None:
        requests.post(
            f"{stub.openai_url}/chat/completions",
            json={"model": MODEL, "messages": messages("Hello [stub status=500 times=3]")},
            headers={name: key},
            timeout=60,
        )

    for key in ("one", "two", "two", "two"):
        post(key)
    track_ai_usage(user, "chat")

    assert recorded() == [NOBODYS, *ADAS]
