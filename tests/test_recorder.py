"""Manual records join the captured call, so that no call is counted twice."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from typing import Any

import httpx2
import openai
import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import path
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pytest_django import Settings

from project.stub import StubProvider
from tests.support import providers
from tests.support.comparison import attributed, forget, only_row, rows
from tests.views import aask, ask
from usage_tracking import AIUsageTracker, ai_usage, recorder, track_ai_usage
from usage_tracking.attribution import scope
from usage_tracking.events import UsageEvent, utc_now, uuid7
from usage_tracking.models import AIUsageTracking
from usage_tracking.recorder import joining

one_certificate, provider = providers.one_certificate, providers.provider
stub, user = providers.stub, providers.user
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("stub")]

UNKNOWN = "Hello [stub nousage]"


def counts(answer: Any) -> tuple[int, int]:
    return answer.usage.prompt_tokens, answer.usage.completion_tokens


#: Requested model → the model that answers; some names contain others.
MODELS = {
    "gpt-4": "gpt-4-0613",
    "gpt-4o": "gpt-4o-2024-08-06",
    "gpt-4o-mini": "gpt-4o-mini-2024-07-18",
    "shop-chat": "o3-2025-04-16",
    "shop-chat-small": "o3-mini-2025-01-31",
}


def mock(
    answer: dict[str, Any],
    url: str = "https://api.openai.com/v1/chat/completions",
    asked: dict[str, Any] | None = None,
) -> None:
    """Make a call whose answer the test defines."""
    transport = httpx2.MockTransport(lambda request: httpx2.Response(200, json=answer))
    with httpx2.Client(transport=transport) as client:
        client.post(url, json=asked or {"model": "m"})


def known(prompt: int, completion: int, **more: Any) -> dict[str, Any]:
    usage = {"prompt_tokens": prompt, "completion_tokens": completion}
    return {"choices": [], "model": "gpt-4o", "usage": usage, **more}


@pytest.fixture(params=["request", "block", "alone"])
def unit(request: pytest.FixtureRequest, settings: Settings, user: User) -> Callable[..., None]:
    """Run work in a unit: a request of user ada, an outermost block, or no unit."""

    def run(work: Callable[[], Any]) -> None:
        if request.param == "alone":
            work()
        elif request.param == "block":
            with ai_usage():
                work()
        else:

            def view(request: HttpRequest) -> HttpResponse:
                work()
                return HttpResponse()

            settings.ROOT_URLCONF = (path("", view),)
            client = Client()
            client.force_login(user)
            client.get("/")

    return run


#: The comparison of a call and a record does not depend on where they were made.
in_a_block = pytest.mark.parametrize("unit", ["block"], indirect=True)


class TestJoined:
    def test_call_and_its_record_are_one_row_with_values_of_both(
        self, unit: Callable[..., None], stub: StubProvider, user: User
    ) -> None:
        def work() -> None:
            answer = ask()
            track_ai_usage(
                user,
                "product_recommendation",
                *counts(answer),
                response_time_ms=5,
                model_name="our-name-for-it",
                metadata={"product": 7},
            )

        unit(work)

        row, served = only_row(), stub.journal[0]
        assert attributed(row) == ("ada", "product_recommendation")
        # Captured values win over reported values.
        assert (row.model_name, row.provider) == (served.model, "openai")
        assert (row.prompt_tokens, row.completion_tokens) == counts_of(stub)
        assert row.usage_source == "reported"
        assert row.metadata["product"] == 7
        assert row.metadata["response_id"] == served.response_id

    def test_daily_row_counts_a_joined_call_once(
        self, unit: Callable[..., None], user: User
    ) -> None:
        def work() -> None:
            track_ai_usage(user, "chat", *counts(ask()))

        unit(work)

        day = AIUsageTracking.objects.get()
        assert (day.user, day.total_requests) == (user, 1)
        assert day.total_tokens == only_row().total_tokens

    @in_a_block
    def test_unknown_counts_are_filled_in(self, unit: Callable[..., None], user: User) -> None:
        def work() -> None:
            ask(UNKNOWN)
            track_ai_usage(user, "chat", 150, 80)

        unit(work)

        row = only_row()
        assert (row.prompt_tokens, row.completion_tokens, row.total_tokens) == (150, 80, 230)
        assert row.usage_source == "manual"
        assert row.model_name == "gpt-4o-mini-2024-07-18"
        assert row.cost is not None

    def test_record_without_counts_joins_any_call(
        self, unit: Callable[..., None], stub: StubProvider, user: User
    ) -> None:
        def work() -> None:
            ask()
            track_ai_usage(user, "chat")

        unit(work)

        row = only_row()
        assert (row.prompt_tokens, row.completion_tokens) == counts_of(stub)
        assert (row.section, row.usage_source) == ("chat", "reported")

    @in_a_block
    def test_record_without_counts_keeps_unknown_counts(
        self, unit: Callable[..., None], user: User
    ) -> None:
        def work() -> None:
            ask(UNKNOWN)
            track_ai_usage(user, "chat")

        unit(work)

        row = only_row()
        assert (row.total_tokens, row.usage_source) == (None, "unknown")

    @in_a_block
    def test_reported_failure_makes_the_call_a_failure(
        self, unit: Callable[..., None], user: User
    ) -> None:
        def work() -> None:
            answer = ask()
            track_ai_usage(user, "chat", *counts(answer), success=False, error_message="nonsense")

        unit(work)

        row = only_row()
        assert (row.success, row.error_message) == (False, "nonsense")

    @in_a_block
    def test_failed_call_is_joined_by_its_record(
        self, unit: Callable[..., None], user: User
    ) -> None:
        def work() -> None:
            with pytest.raises(Exception, match="requested status 500"):
                ask("Hello [stub status=500]")
            track_ai_usage(user, "chat", success=False, error_message="the provider is down")

        unit(work)

        row = only_row()
        assert attributed(row) == ("ada", "chat")
        assert not row.success
        assert row.error_message is not None
        assert row.error_message.startswith("HTTP 500")

    def test_two_calls_then_two_records_are_two_rows(
        self, unit: Callable[..., None], user: User
    ) -> None:
        def work() -> None:
            first, second = ask("One question"), ask("Another, longer question")
            track_ai_usage(user, "chat", *counts(first), metadata={"n": 1})
            track_ai_usage(user, "rag_pipeline", *counts(second), metadata={"n": 2})

        unit(work)

        assert [(row.section, row.metadata["n"]) for row in rows()] == [
            ("chat", 1),
            ("rag_pipeline", 2),
        ]

    def test_calls_of_equal_counts_are_each_joined_once(
        self, unit: Callable[..., None], user: User
    ) -> None:
        def work() -> None:
            answers = [ask("Same"), ask("Same")]
            for answer in answers:
                track_ai_usage(user, "chat", *counts(answer))

        unit(work)

        assert [row.section for row in rows()] == ["chat"] * 2

    @in_a_block
    def test_equal_response_ids_join_despite_different_counts(
        self, unit: Callable[..., None], stub: StubProvider
    ) -> None:
        def work() -> None:
            with ai_usage(section="chat") as usage:
                first = ask("One")
                ask("Two")
                usage.record(first, prompt_tokens=9999, metadata={"n": 1})

        unit(work)

        first, second = rows()
        assert first.metadata["n"] == 1
        assert first.prompt_tokens == stub.journal[0].prompt_tokens
        assert "n" not in second.metadata

    def test_response_of_an_sdk_is_not_counted_twice(self, unit: Callable[..., None]) -> None:
        def work() -> None:
            with ai_usage(section="chat") as usage:
                usage.record(ask(), metadata={"n": 1})
                assert usage.calls == 1

        unit(work)

        row = only_row()
        assert (row.section, row.metadata["n"], row.usage_source) == ("chat", 1, "reported")

    @in_a_block
    @pytest.mark.parametrize(
        ("captured", "reported", "joined"),
        [
            # LiteLLM replaces the id of the provider by one of its own.
            ("msg_01", "chatcmpl-5f3c", True),
            ("5PfSaOX", "chatcmpl-5f3c", True),
            ("resp_01", "resp_bGl0ZWxsbTpjdXN0b21fbGxtX3Byb3ZpZGVyOm9wZW5haQ==", True),
            ("chatcmpl-01", "chatcmpl-02", False),
            ("resp_01", "resp_02", False),
            ("msg_01", "msg_02", False),
            ("chatcmpl-01", "msg_02", False),
        ],
    )
    def test_response_id_of_a_framework_does_not_make_another_call(
        self, unit: Callable[..., None], captured: str, reported: str, joined: bool
    ) -> None:
        def work() -> None:
            with ai_usage(section="chat") as usage:
                mock(known(50, 30, id=captured))
                usage.record(known(50, 30, id=reported))

        unit(work)

        assert len(rows()) == (1 if joined else 2)

    @in_a_block
    def test_other_response_id_is_another_call(self, unit: Callable[..., None]) -> None:
        def work() -> None:
            with ai_usage(section="chat") as usage:
                answer = ask()
                usage.record(answer.model_copy(update={"id": "another"}))

        unit(work)

        assert len(rows()) == 2

    @in_a_block
    @pytest.mark.parametrize("model", ["my-deployment", "gpt-4o-2024-08-06", "openai/gpt-4o"])
    def test_model_may_be_named_as_it_was_requested_or_as_it_answered(
        self, unit: Callable[..., None], user: User, model: str
    ) -> None:
        azure = "https://shop.openai.azure.com/openai/deployments/my-deployment/chat/completions"

        def work() -> None:
            mock(known(5, 6, model="gpt-4o-2024-08-06"), azure, asked={"messages": []})
            track_ai_usage(user, "chat", model_name=model)

        unit(work)

        row = only_row()
        assert (row.section, row.total_tokens) == ("chat", 11)
        assert row.model_name == "gpt-4o-2024-08-06"

    @in_a_block
    @pytest.mark.parametrize(
        ("answered", "reported"),
        [
            ("gpt-4o", "openai/gpt-4o"),
            ("openai/gpt-4o", "gpt-4o"),
            ("gpt-4o-2024-08-06", "openai/gpt-4o"),
            ("gpt-35-turbo", "gpt-3.5-turbo"),
            ("anthropic/claude-sonnet-4.5", "claude-sonnet-4-5"),
            ("claude-sonnet-4-5-20250929", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"),
            ("gemini-2.5-flash", "models/gemini-2.5-flash"),
            ("gemini-2.5-flash", "publishers/google/models/gemini-2.5-flash"),
            ("GPT-4o", "gpt-4o"),
        ],
    )
    def test_names_of_one_model_differ_between_apis(
        self, unit: Callable[..., None], user: User, answered: str, reported: str
    ) -> None:
        def work() -> None:
            with ai_usage(section="chat") as usage:
                mock(known(5, 6, model=answered))
                usage.record(model_name=reported, provider="another name of it", metadata={"n": 1})

        unit(work)

        assert only_row().metadata["n"] == 1

    @in_a_block
    def test_record_joins_the_call_of_its_provider(self, unit: Callable[..., None]) -> None:
        def work() -> None:
            with ai_usage(section="chat") as usage:
                mock(known(5, 6))
                mock(known(5, 6), "https://openrouter.ai/api/v1/chat/completions")
                usage.record(model_name="gpt-4o", provider="OpenAI", metadata={"n": 1})
                usage.record(model_name="gpt-4o", provider="openrouter", metadata={"n": 2})

        unit(work)

        assert {row.provider: row.metadata["n"] for row in rows()} == {"openai": 1, "openrouter": 2}

    @hypothesis_settings(
        max_examples=40,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(data=st.data())
    def test_calls_with_different_models_are_each_joined_by_their_own_record(
        self, data: st.DataObject
    ) -> None:
        """Whether the site names the model as requested or as answered, and in any order."""
        forget()
        models = data.draw(st.lists(st.sampled_from(sorted(MODELS)), unique=True, min_size=1))
        has_tokens = data.draw(st.booleans())
        tokens: dict[str, Any] = {"prompt_tokens": 5, "completion_tokens": 6} if has_tokens else {}
        with ai_usage(section="chat") as usage:
            for model in models:
                mock(known(5, 6, model=MODELS[model]), asked={"model": model})
            for model in data.draw(st.permutations(models)):
                name = data.draw(st.sampled_from([model, MODELS[model], model.upper()]))
                usage.record(model_name=name, metadata={"about": MODELS[model]}, **tokens)

        assert sorted(row.model_name for row in rows()) == sorted(MODELS[m] for m in models)
        assert all(row.metadata["about"] == row.model_name for row in rows())

    @in_a_block
    def test_older_call_is_joined_if_only_its_counts_agree(
        self, unit: Callable[..., None], user: User
    ) -> None:
        def work() -> None:
            first = ask("One question")
            ask("Another, longer question")
            track_ai_usage(user, "chat", *counts(first))

        unit(work)

        assert [row.section for row in rows()] == ["chat", "other"]

    @in_a_block
    def test_embeddings_without_completion_are_joined(
        self, unit: Callable[..., None], user: User
    ) -> None:
        def work() -> None:
            mock(
                {"data": [{"embedding": [1]}], "model": "e", "usage": {"prompt_tokens": 8}},
                "https://api.openai.com/v1/embeddings",
            )
            track_ai_usage(user, "embedding_generation", 8, 0)

        unit(work)

        row = only_row()
        assert (row.section, row.operation) == ("embedding_generation", "embeddings")
        assert (row.prompt_tokens, row.completion_tokens) == (8, None)

    @in_a_block
    def test_uncaptured_model_and_provider_are_added(self, unit: Callable[..., None]) -> None:
        def work() -> None:
            with ai_usage(section="chat") as usage:
                mock(
                    {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 6}},
                    "http://llm.internal/chat/completions",
                )
                usage.record(
                    prompt_tokens=5,
                    completion_tokens=6,
                    provider="litellm",
                    model_name="llama",
                    response_time_ms=70,
                )

        unit(work)

        row = only_row()
        # "unknown" is the provider of an unknown host.
        assert row.provider == "litellm"
        assert row.prompt_tokens == 5

    def test_tracker_block_is_one_row(self, unit: Callable[..., None], user: User) -> None:
        def work() -> None:
            with AIUsageTracker(user, "chat", "gpt-4o") as tracker:
                answer = ask()
                tracker.set_tokens(*counts(answer))
                tracker.set_metadata({"n": 1})

        unit(work)

        row = only_row()
        assert attributed(row) == ("ada", "chat")
        assert row.metadata["n"] == 1

    def test_user_of_the_record_wins(self, unit: Callable[..., None]) -> None:
        grace = User.objects.create_user("grace")

        def work() -> None:
            track_ai_usage(grace, "chat", *counts(ask()))

        unit(work)

        assert attributed(only_row()) == ("grace", "chat")
        assert AIUsageTracking.objects.get().user == grace

    def test_record_inside_a_rolled_back_transaction_joins(
        self, settings: Settings, user: User
    ) -> None:
        def work() -> None:
            with transaction.atomic():
                answer = ask()
                log, day = track_ai_usage(user, "chat", *counts(answer))
                assert log.pk is not None
                assert day.total_requests == 1
                transaction.set_rollback(True)

        with ai_usage():
            work()

        row = only_row()
        assert attributed(row) == ("ada", "chat")
        assert AIUsageTracking.objects.get().total_requests == 1

    def test_gathered_calls_with_manual_records_are_a_row_each(
        self, stub: StubProvider, user: User
    ) -> None:
        async def one(section: str) -> None:
            answer = await aask(f"A question about {section}")
            await sync_to_async(track_ai_usage)(user, section, *counts(answer))

        async def main() -> None:
            async with ai_usage():
                await asyncio.gather(one("chat"), one("rag_pipeline"))

        async_to_sync(main)()

        served = {(s.prompt.rpartition(" ")[2], s.prompt_tokens) for s in stub.journal}
        assert {(row.section, row.prompt_tokens) for row in rows()} == served
        assert AIUsageTracking.objects.get().total_requests == 2

    def test_gathered_calls_outside_every_block_are_a_row_each(
        self, stub: StubProvider, user: User
    ) -> None:
        async def one(section: str) -> None:
            answer = await aask("The same question")
            await sync_to_async(track_ai_usage)(user, section, *counts(answer))

        async def main() -> None:
            await asyncio.gather(one("chat"), one("rag_pipeline"))

        async_to_sync(main)()

        assert sorted(row.section for row in rows()) == ["chat", "rag_pipeline"]


class TestNotJoined:
    @in_a_block
    def test_different_counts_are_another_call(self, unit: Callable[..., None], user: User) -> None:
        def work() -> None:
            prompt, completion = counts(ask())
            track_ai_usage(user, "chat", prompt + 1, completion)
            track_ai_usage(user, "chat", prompt, completion + 1)

        unit(work)

        assert len(rows()) == 3
        assert sorted(row.usage_source for row in rows()) == ["manual", "manual", "reported"]

    def test_joined_call_is_not_joined_again(self, unit: Callable[..., None], user: User) -> None:
        def work() -> None:
            answer = ask()
            track_ai_usage(user, "chat", *counts(answer))
            track_ai_usage(user, "chat", *counts(answer))

        unit(work)

        assert sorted(row.usage_source for row in rows()) == ["manual", "reported"]

    def test_manual_record_is_not_joined(self, unit: Callable[..., None], user: User) -> None:
        def work() -> None:
            track_ai_usage(user, "chat", 1, 2)
            track_ai_usage(user, "chat", 1, 2)

        unit(work)

        assert len(rows()) == 2

    @in_a_block
    @pytest.mark.parametrize(("model", "joined"), [("claude-haiku-4-5", False), ("gpt-4o", True)])
    def test_unknown_counts_of_another_model_are_another_call(
        self, unit: Callable[..., None], user: User, model: str, joined: bool
    ) -> None:
        def work() -> None:
            mock({"choices": [], "model": "gpt-4o-2024-08-06"})
            track_ai_usage(user, "chat", 150, 80, model_name=model)

        unit(work)

        assert len(rows()) == (1 if joined else 2)

    def test_call_of_another_request_is_not_joined(self, settings: Settings, user: User) -> None:
        prompt, completion = 50, 30

        def call(request: HttpRequest) -> HttpResponse:
            mock(known(prompt, completion))
            return HttpResponse()

        def record(request: HttpRequest) -> HttpResponse:
            track_ai_usage(user, "chat", prompt, completion)
            return HttpResponse()

        settings.ROOT_URLCONF = (path("call", call), path("record", record))
        Client().get("/call")
        Client().get("/record")

        assert sorted(row.section for row in rows()) == ["chat", "other"]

    def test_call_of_another_block_is_not_joined(self, user: User) -> None:
        with ai_usage(section="rag_pipeline"):
            mock(known(50, 30))
        with ai_usage():
            track_ai_usage(user, "chat", 50, 30)

        assert sorted(row.section for row in rows()) == ["chat", "rag_pipeline"]

    def test_record_in_a_block_joins_no_call_before_the_block(self, user: User) -> None:
        with ai_usage(section="chat", user=user):
            mock(known(50, 30))
            with AIUsageTracker(user, "rag_pipeline"):
                pass  # a call that no hook captures
            with ai_usage(section="web_knowledge") as usage:
                usage.record({"text": "of a model of our own"})

        assert sorted(row.section for row in rows()) == ["chat", "rag_pipeline", "web_knowledge"]

    def test_call_of_an_inner_block_is_joined_outside_it(self, user: User) -> None:
        with ai_usage(section="chat"):
            with ai_usage(section="rag_pipeline"):
                mock(known(50, 30))
            track_ai_usage(user, "chat")

        assert attributed(only_row()) == ("ada", "chat")

    @in_a_block
    def test_failed_attempt_is_not_joined_by_a_record_of_success(
        self, unit: Callable[..., None], user: User
    ) -> None:
        def work() -> None:
            with suppress(openai.APIError):
                ask("Hello [stub status=500]")
            track_ai_usage(user, "chat", 150, 80)  # the record of the fallback provider

        unit(work)

        assert sorted((row.success, row.prompt_tokens) for row in rows()) == [
            (False, None),
            (True, 150),
        ]

    def test_old_call_outside_every_block_is_not_joined(
        self, user: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        mock(known(50, 30))
        now = time.monotonic()
        monkeypatch.setattr(joining.time, "monotonic", lambda: now + joining.JOINABLE + 1)
        track_ai_usage(user, "chat", 50, 30)

        assert len(rows()) == 2

    def test_recent_call_outside_every_block_is_joined(
        self, user: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        mock(known(50, 30))
        now = time.monotonic()
        monkeypatch.setattr(joining.time, "monotonic", lambda: now + joining.JOINABLE - 1)
        track_ai_usage(user, "chat", 50, 30)

        assert attributed(only_row()) == ("ada", "chat")

    def test_only_the_latest_calls_of_a_unit_are_remembered(self, user: User) -> None:
        with ai_usage():
            mock(known(1, 1))
            for _ in range(scope.REMEMBERED):
                mock(known(2, 2))
            track_ai_usage(user, "chat", 1, 1)

        assert len(rows()) == scope.REMEMBERED + 2


class TestHandle:
    def test_joining_adds_the_tokens_that_were_unknown(self) -> None:
        with ai_usage(section="chat") as usage:
            ask(UNKNOWN)
            assert (usage.calls, usage.total_tokens, usage.cost) == (1, 0, None)
            usage.record(prompt_tokens=1_000_000, completion_tokens=0)

            assert (usage.calls, usage.total_tokens) == (1, 1_000_000)
            assert usage.cost == Decimal("0.15")

    def test_joining_known_tokens_adds_none(self) -> None:
        with ai_usage(section="chat") as usage:
            answer = ask()
            before = (usage.calls, usage.total_tokens, usage.cost)
            usage.record(answer)

        assert (usage.calls, usage.total_tokens, usage.cost) == before


def counts_of(stub: StubProvider) -> tuple[int | None, int | None]:
    return stub.journal[0].prompt_tokens, stub.journal[0].completion_tokens


class TestSections:
    @pytest.fixture(autouse=True)
    def _fresh(self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
        monkeypatch.setattr(recorder, "_seen_sections", set())
        caplog.set_level("WARNING", logger="ai_usage_tracker")

    def test_unknown_section_is_recorded_with_a_single_warning(
        self, user: User, caplog: pytest.LogCaptureFixture
    ) -> None:
        for _ in range(3):
            with ai_usage(section="chatbot", user=user):
                mock(known(1, 1))

        assert [row.section for row in rows()] == ["chatbot"] * 3
        assert caplog.messages == ["[TRACK_WARNING] Invalid section 'chatbot' for user ada"]

    def test_username_can_be_excluded_from_log_lines(
        self, user: User, settings: Settings, caplog: pytest.LogCaptureFixture
    ) -> None:
        settings.AI_USAGE_LOG_USERNAMES = False
        with ai_usage(section="chatbot", user=user):
            mock(known(1, 1))

        assert "for user ada" not in caplog.text
        assert "Invalid section 'chatbot'" in caplog.text

    def test_forged_section_adds_no_log_line(self, caplog: pytest.LogCaptureFixture) -> None:
        with ai_usage(section="x\n[TRACK_COMPLETE] forged"):
            mock(known(1, 1))

        assert len(caplog.messages) == 1
        assert "\n" not in caplog.messages[0]

    def test_endless_sections_are_not_remembered(self) -> None:
        for n in range(1100):
            now = utc_now()
            event = UsageEvent(id=uuid7(now), created_at=now, section=f"section {n}")
            recorder.warn_of_unknown_section(event)

        assert len(recorder._seen_sections) == 1000

    def test_known_section_logs_no_warning(
        self, settings: Settings, caplog: pytest.LogCaptureFixture
    ) -> None:
        settings.AI_USAGE_SECTIONS = {"talk": "Talk"}
        with ai_usage(section="talk"):
            mock(known(1, 1))

        assert caplog.messages == []
