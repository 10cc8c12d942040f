"""`ai_usage` as a block, an async block and a decorator."""

from __future__ import annotations

import asyncio
import contextvars
import dataclasses
import gc
import logging
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from decimal import Decimal
from types import ModuleType
from typing import Any

import django
import pytest
from asgiref.sync import async_to_sync, iscoroutinefunction, sync_to_async
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.test import AsyncClient, Client
from django.urls import path
from django.utils.decorators import method_decorator
from django.utils.functional import SimpleLazyObject
from django.views import View
from pydantic import BaseModel
from pytest_django import Settings

from project.stub import StubProvider
from tests.support import providers
from tests.support.cases import check_each
from tests.support.comparison import assert_recorded_as_served, attributed, forget, only_row, rows
from tests.support.providers import join, wait_for
from tests.views import aask, aask_for_stream, ask, ask_for_stream
from usage_tracking import ai_usage, block_warnings, blocks, errors, outbox
from usage_tracking.attribution import resolve, scope
from usage_tracking.delivery import listener
from usage_tracking.recorder import pending_users

one_certificate, provider = providers.one_certificate, providers.provider
stub, user = providers.stub, providers.user


def section() -> str:
    return resolve.attribution().section


@pytest.fixture(autouse=True)
def _nothing_left_open() -> Iterator[None]:
    yield
    leaked = dict(scope.open_units)
    scope.open_units.clear()
    assert leaked == {}
    assert scope.current() is None


class TestBlock:
    def test_blocks_nest_and_restore(self) -> None:
        found = [section()]
        with ai_usage(section="chat"):
            found.append(section())
            with ai_usage(section="rag_pipeline"):
                found.append(section())
            with ai_usage(metadata={"a": 1}):
                found.append(section())
            found.append(section())
        found.append(section())

        assert found == ["other", "chat", "rag_pipeline", "chat", "chat", "other"]

    def test_error_of_the_site_propagates_and_ends_the_scope(self) -> None:
        with pytest.raises(KeyError, match="mine"), ai_usage(section="chat"):
            raise KeyError("mine")

        assert section() == "other"

    async def test_async_blocks_nest_and_restore(self) -> None:
        found = [section()]
        async with ai_usage(section="chat"):
            found.append(section())
            async with ai_usage(section="rag_pipeline"):
                await asyncio.sleep(0)
                found.append(section())
            found.append(section())
        found.append(section())

        assert found == ["other", "chat", "rag_pipeline", "chat", "other"]

    def test_sync_block_on_an_event_loop_keeps_its_calls(
        self, stub: StubProvider, user: User, db: None
    ) -> None:
        async def main() -> None:
            async with ai_usage(section="rag_pipeline"):
                with ai_usage(section="chat", user=user):
                    await aask()

        async_to_sync(main)()

        assert attributed(only_row()) == ("ada", "chat")

    def test_exit_in_another_context_leaves_no_scope_set(self) -> None:
        """Generators of web servers and test fixtures do this."""
        block = ai_usage(section="chat")
        contextvars.copy_context().run(block.__enter__)
        with ai_usage(section="rag_pipeline"):
            block.__exit__(None, None, None)
            assert section() == "rag_pipeline"

        assert section() == "other"

    def test_block_can_be_used_again(self) -> None:
        block = ai_usage(section="chat")
        for _ in range(2):
            with block:
                assert section() == "chat"
            assert section() == "other"

    def test_block_can_be_nested_in_itself(self) -> None:
        block = ai_usage(section="chat")
        with block, ai_usage(section="rag_pipeline"):
            with block:
                assert section() == "chat"
            assert section() == "rag_pipeline"

    def test_threads_can_share_a_block(self) -> None:
        """A module can define one: `CHAT = ai_usage(section="chat")`."""
        block = ai_usage(section="chat")
        mine_left, theirs_entered = threading.Event(), threading.Event()
        found: list[str] = []

        def work() -> None:
            with block:
                theirs_entered.set()
                wait_for(mine_left, "the end of the other block")
                found.append(section())
            found.append(section())

        with block:
            thread = threading.Thread(target=contextvars.Context().run, args=(work,))
            thread.start()
            wait_for(theirs_entered, "the block of the other thread")
        found.append(section())
        mine_left.set()
        join(thread)

        assert found == ["other", "chat", "other"]

    async def test_tasks_can_share_a_block(self) -> None:
        block = ai_usage(section="chat")

        async def work(turns: int) -> list[str]:
            async with block:
                for _ in range(turns):
                    await asyncio.sleep(0)
                inside = section()
            return [inside, section()]

        # All tasks are in the block before the first exit, and the second task exits first.
        found = await asyncio.gather(work(5), work(3), work(7))

        assert found == [["chat", "other"]] * 3

    def test_task_that_outlives_its_block_keeps_the_attribution(self) -> None:
        async def late(found: list[str], left: asyncio.Event) -> None:
            await left.wait()
            found.append(section())
            async with ai_usage(metadata={"late": True}):
                found.append(section())

        async def main() -> list[str]:
            found: list[str] = []
            left = asyncio.Event()
            async with ai_usage(section="chat"):
                task = asyncio.create_task(late(found, left))
            left.set()
            await task
            return found

        assert async_to_sync(main)() == ["chat", "chat"]

    def test_invalid_metadata_is_omitted(self) -> None:
        with ai_usage(section="chat", metadata="nonsense"):  # type: ignore[arg-type]
            assert resolve.attribution().metadata == {}

    def test_section_is_truncated_to_the_column(self) -> None:
        with ai_usage(section="s" * 100):
            assert len(section()) == 50

    def test_decorator_without_parentheses_raises_a_clear_error(self) -> None:
        with pytest.raises(TypeError, match=r"@ai_usage\(section=\.\.\.\)"):

            @ai_usage  # type: ignore[arg-type]
            def function() -> None: ...

    def test_disabled_tool_still_runs_the_block(self, settings: Settings) -> None:
        settings.AI_USAGE_ENABLED = False
        with ai_usage(section="chat") as usage:
            assert usage.calls == 0


@pytest.mark.django_db
class TestCalls:
    """Recorded values of the calls inside a block."""

    def test_section_user_and_metadata_are_recorded(self, stub: StubProvider, user: User) -> None:
        with (
            ai_usage(section="chat", user=user, metadata={"tenant": 7, "kind": "outer"}),
            ai_usage(metadata={"kind": "inner", "tags": ["a"]}),
        ):
            ask()

        row = only_row()
        assert attributed(row) == ("ada", "chat")
        assert row.metadata["tenant"] == 7
        assert row.metadata["kind"] == "inner"
        assert row.metadata["tags"] == ["a"]

    def test_metadata_of_the_site_cannot_replace_recorded_facts(
        self, stub: StubProvider, user: User
    ) -> None:
        with ai_usage(metadata={"mine": 1, "big": "x" * 5000}):
            ask()

        row = only_row()
        assert row.metadata["response_id"] == stub.journal[0].response_id

    def test_attribution_is_taken_at_the_start_of_a_call(
        self, stub: StubProvider, user: User
    ) -> None:
        with ai_usage(section="chat", user=user):
            stream = ask_for_stream()
            first = next(stream)
        with ai_usage(section="rag_pipeline"):
            rest = list(stream)

        assert first is not None
        assert rest
        assert attributed(only_row()) == ("ada", "chat")

    def test_lazy_user_is_resolved(self, stub: StubProvider, user: User) -> None:
        with ai_usage(user=SimpleLazyObject(lambda: User.objects.get(username="ada"))):
            ask()

        assert attributed(only_row())[0] == "ada"

    def test_gathered_blocks_keep_their_calls_apart(self, stub: StubProvider, user: User) -> None:
        sections = ["chat", "rag_pipeline", "web_knowledge", "knowledge_qa"]

        async def one(name: str) -> None:
            async with ai_usage(section=name) as usage:
                await aask(name)
                assert usage.calls == 1

        async def main() -> int:
            async with ai_usage(user=user) as usage:
                await asyncio.gather(*map(one, sections))
            return usage.calls

        assert async_to_sync(main)() == 4
        assert_recorded_as_served(rows(), stub.journal)
        assert sorted(attributed(row) for row in rows()) == sorted(
            ("ada", name) for name in sections
        )

    def test_rows_are_saved_when_the_block_ends(self, stub: StubProvider) -> None:
        with ai_usage(section="chat"):
            with ai_usage(section="rag_pipeline"):
                ask()
            assert rows() == []
        assert len(rows()) == 1

    def test_row_of_a_call_without_a_block_is_saved_at_once(self, stub: StubProvider) -> None:
        ask()
        assert only_row().section == "other"


@pytest.mark.django_db
class TestDecorator:
    def test_function_runs_in_its_own_scope(self, stub: StubProvider, user: User) -> None:
        @ai_usage(section="chat", user=user)
        def answer(prompt: str, *, loud: bool = False) -> str:
            """Answers."""
            ask(prompt)
            return prompt.upper() if loud else prompt

        assert answer("hello", loud=True) == "HELLO"
        assert answer("hello") == "hello"
        assert (answer.__name__, answer.__doc__) == ("answer", "Answers.")
        assert [attributed(row) for row in rows()] == [("ada", "chat")] * 2

    def test_recursive_function_nests_scopes(self) -> None:
        @ai_usage(section="chat")
        def down(n: int) -> list[str]:
            return [section(), *(down(n - 1) if n else []), section()]

        assert down(2) == ["chat"] * 6
        assert section() == "other"

    def test_failing_function_raises_and_ends_the_scope(self, stub: StubProvider) -> None:
        @ai_usage(section="chat")
        def fail() -> None:
            ask()
            raise KeyError("mine")

        with pytest.raises(KeyError, match="mine"):
            fail()
        assert section() == "other"
        assert only_row().section == "chat"

    def test_coroutine_function_runs_in_its_own_scope(self, stub: StubProvider, user: User) -> None:
        @ai_usage(section="chat", user=user)
        async def answer(prompt: str) -> str:
            await aask(prompt)
            return prompt.upper()

        async def main() -> list[str]:
            found = await asyncio.gather(answer("a"), answer("b"))
            return [*found, section()]

        assert iscoroutinefunction(answer)
        assert async_to_sync(main)() == ["A", "B", "other"]
        assert [attributed(row) for row in rows()] == [("ada", "chat")] * 2

    def test_failing_coroutine_raises_and_keeps_its_call(self, stub: StubProvider) -> None:
        @ai_usage(section="chat")
        async def fail() -> None:
            await aask()
            raise KeyError("mine")

        with pytest.raises(KeyError, match="mine"):
            async_to_sync(fail)()
        assert only_row().section == "chat"

    def test_generator_has_its_scope_in_each_step(self, stub: StubProvider, user: User) -> None:
        @ai_usage(section="chat", user=user)
        def talk() -> Iterator[str]:
            ask("One")
            yield section()
            ask("Two")
            yield section()

        found = []
        for inside in talk():
            found += [inside, section()]

        assert found == ["chat", "other"] * 2
        assert [attributed(row) for row in rows()] == [("ada", "chat")] * 2

    def test_generator_passes_values_errors_and_return_value(self) -> None:
        @ai_usage(section="chat")
        def talk() -> Any:
            got = yield "first"
            try:
                yield f"{got} in {section()}"
            except ValueError as error:
                yield f"{error} in {section()}"
            return "result"

        def around() -> Any:
            result = yield from talk()
            yield result

        generator = around()
        assert next(generator) == "first"
        assert generator.send("sent") == "sent in chat"
        assert generator.throw(ValueError("thrown")) == "thrown in chat"
        assert next(generator) == "result"
        with pytest.raises(StopIteration):
            next(generator)

    def test_closed_generator_is_closed_in_its_scope(self) -> None:
        found = []

        @ai_usage(section="chat")
        def talk() -> Iterator[int]:
            try:
                yield 1
            finally:
                found.append(section())

        generator = talk()
        next(generator)
        generator.close()  # type: ignore[attr-defined]

        assert found == ["chat"]

    def test_abandoned_generator_ends_its_scope(self, stub: StubProvider) -> None:
        @ai_usage(section="chat")
        def talk() -> Iterator[int]:
            ask()
            yield 1

        generator = talk()
        next(generator)
        del generator
        gc.collect()
        outbox.wake()

        assert only_row().section == "chat"
        assert scope.open_units == {}

    def test_generator_that_never_starts_opens_no_scope(self) -> None:
        @ai_usage(section="chat")
        def talk() -> Iterator[int]:
            yield 1

        talk()
        assert scope.open_units == {}

    def test_interleaved_generators_keep_their_scopes(self) -> None:
        @ai_usage(section="chat")
        def first() -> Iterator[str]:
            while True:
                yield section()

        @ai_usage(section="rag_pipeline")
        def second() -> Iterator[str]:
            with ai_usage(section="web_knowledge"):
                while True:
                    yield section()

        one, two = first(), second()
        found = [next(one), next(two), section(), next(one), next(two)]
        one.close()  # type: ignore[attr-defined]
        two.close()  # type: ignore[attr-defined]

        assert found == ["chat", "web_knowledge", "other", "chat", "web_knowledge"]

    def test_async_generator_has_its_scope_in_each_step(
        self, stub: StubProvider, user: User
    ) -> None:
        @ai_usage(section="chat", user=user)
        async def talk() -> AsyncIterator[str]:
            await aask("One")
            yield section()
            await aask("Two")
            yield section()

        async def main() -> list[str]:
            found = []
            async for inside in talk():
                found += [inside, section()]
            return found

        assert async_to_sync(main)() == ["chat", "other"] * 2
        assert [attributed(row) for row in rows()] == [("ada", "chat")] * 2

    async def test_async_generator_passes_values_and_errors(self) -> None:
        @ai_usage(section="chat")
        async def talk() -> Any:
            got = yield "first"
            try:
                yield f"{got} in {section()}"
            except ValueError as error:
                yield f"{error} in {section()}"

        generator = talk()
        assert await anext(generator) == "first"
        assert await generator.asend("sent") == "sent in chat"
        assert await generator.athrow(ValueError("thrown")) == "thrown in chat"
        with pytest.raises(StopAsyncIteration):
            await anext(generator)

    async def test_closed_async_generator_is_closed_in_its_scope(self) -> None:
        found = []

        @ai_usage(section="chat")
        async def talk() -> Any:
            try:
                yield 1
            finally:
                found.append(section())

        generator = talk()
        await anext(generator)
        await generator.aclose()

        assert found == ["chat"]

    async def test_failing_async_generator_raises(self) -> None:
        @ai_usage(section="chat")
        async def talk() -> AsyncIterator[int]:
            yield 1
            raise KeyError("mine")

        with pytest.raises(KeyError, match="mine"):
            [item async for item in talk()]

    def test_method_of_a_class_based_view_is_decorated(
        self, stub: StubProvider, settings: Settings, user: User
    ) -> None:
        class Page(View):
            @method_decorator(ai_usage(section="chat"))
            def get(self, request: HttpRequest) -> HttpResponse:
                ask()
                return HttpResponse("page")

            @ai_usage(section="rag_pipeline")
            def post(self, request: HttpRequest) -> HttpResponse:
                ask()
                return HttpResponse("posted")

        settings.ROOT_URLCONF = (path("", Page.as_view()),)
        client = Client()
        client.force_login(user)

        assert client.get("/").content == b"page"
        assert client.post("/").content == b"posted"
        assert [attributed(row) for row in rows()] == [("ada", "chat"), ("ada", "rag_pipeline")]

    @pytest.mark.parametrize("where", ["method", "as_view", "class"])
    def test_async_class_based_view_is_decorated(
        self, stub: StubProvider, settings: Settings, user: User, where: str
    ) -> None:
        class Page(View):
            async def get(self, request: HttpRequest) -> HttpResponse:
                await aask()
                return HttpResponse("page")

        decorator = ai_usage(section="chat")
        if where == "method":
            # Before 5.2, Django's own decorator makes the method synchronous.
            of_method = method_decorator(decorator) if django.VERSION >= (5, 2) else decorator
            Page.get = of_method(Page.get)  # type: ignore[method-assign]
        if where == "class":
            Page = method_decorator(decorator, name="dispatch")(Page)  # type: ignore[misc]
        view = Page.as_view()
        settings.ROOT_URLCONF = (path("", decorator(view) if where == "as_view" else view),)
        client = AsyncClient()
        client.force_login(user)

        assert async_to_sync(client.get)("/").content == b"page"
        assert attributed(only_row()) == ("ada", "chat")

    @pytest.mark.django_db(transaction=True)
    def test_streaming_view_keeps_its_scope(self, stub: StubProvider, user: User) -> None:
        @ai_usage(section="chat", user=user)
        def view() -> StreamingHttpResponse:
            return StreamingHttpResponse(ask_for_stream())

        response = view()
        assert section() == "other"
        assert len(scope.open_units) == 1
        assert b"Hello" in b"".join(response)
        response.close()

        assert attributed(only_row()) == ("ada", "chat")
        assert scope.open_units == {}

    @pytest.mark.django_db(transaction=True)
    def test_streaming_view_closed_unread_ends_its_scope(self) -> None:
        @ai_usage(section="chat")
        def view() -> StreamingHttpResponse:
            return StreamingHttpResponse(["a", "b"])

        view().close()
        assert scope.open_units == {}

    @pytest.mark.django_db(transaction=True)
    def test_async_streaming_view_keeps_its_scope(self, stub: StubProvider, user: User) -> None:
        @ai_usage(section="chat", user=user)
        async def view() -> StreamingHttpResponse:
            return StreamingHttpResponse(aask_for_stream())

        async def main() -> bytes:
            response = await view()
            body = b"".join([chunk async for chunk in response])
            await sync_to_async(response.close)()
            return body

        assert b"Hello" in async_to_sync(main)()
        assert attributed(only_row()) == ("ada", "chat")
        assert scope.open_units == {}


class Counts(BaseModel):
    prompt_tokens: int
    completion_tokens: int


class Answer(BaseModel):
    id: str
    model: str
    usage: Counts


@dataclasses.dataclass
class PlainCounts:
    input_tokens: int
    output_tokens: int


@dataclasses.dataclass
class PlainAnswer:
    object: str
    model: str
    usage: PlainCounts


@pytest.mark.django_db
class TestHandle:
    def test_handle_has_current_calls_tokens_and_cost(self, stub: StubProvider) -> None:
        with ai_usage(section="chat") as usage:
            assert (usage.calls, usage.total_tokens, usage.cost) == (0, 0, None)
            ask("[stub usage=1000000/0]")
            assert (usage.calls, usage.total_tokens, usage.cost) == (1, 1_000_000, Decimal("0.15"))
            ask("[stub usage=0/1000000]")
            ask("Unknown [stub nousage]")

        assert (usage.calls, usage.total_tokens) == (3, 2_000_000)
        assert usage.cost == Decimal("0.75")
        assert sum(row.cost or 0 for row in rows()) == Decimal("0.75")

    def test_calls_of_inner_blocks_count_in_the_outer_ones(self, stub: StubProvider) -> None:
        with ai_usage(section="chat") as outer:
            ask()
            with ai_usage(section="rag_pipeline") as inner:
                ask()

        assert (outer.calls, inner.calls) == (2, 1)
        assert outer.total_tokens > inner.total_tokens > 0

    @pytest.mark.slow
    def test_cost_of_many_calls_is_summed_incrementally(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with ai_usage(section="chat") as usage:
            for _ in range(1500):
                usage.record(prompt_tokens=1_000_000, model_name="gpt-4o-mini", provider="openai")
            assert len(usage._unpriced) < 1500

        assert (usage.calls, usage.cost) == (1500, Decimal("225"))

    @pytest.mark.parametrize(
        "response",
        [
            {"id": "a1", "model": "m", "usage": {"prompt_tokens": 5, "completion_tokens": 6}},
            Answer(id="a1", model="m", usage=Counts(prompt_tokens=5, completion_tokens=6)),
            PlainAnswer("response", "m", PlainCounts(5, 6)),
        ],
        ids=["dict", "pydantic", "dataclass"],
    )
    def test_response_of_an_uncaptured_call_is_recorded(self, user: User, response: Any) -> None:
        with ai_usage(section="chat", user=user, metadata={"a": 1}) as usage:
            usage.record(response, provider="own", response_time_ms=12.6, metadata={"b": 2})

        row = only_row()
        assert attributed(row) == ("ada", "chat")
        assert (row.prompt_tokens, row.completion_tokens, row.total_tokens) == (5, 6, 11)
        assert (row.model_name, row.provider, row.usage_source) == ("m", "own", "manual")
        assert (row.response_time_ms, row.success, row.operation) == (13, True, "chat")
        assert (row.metadata["a"], row.metadata["b"]) == (1, 2)
        assert (usage.calls, usage.total_tokens) == (1, 11)

    def test_keyword_argument_wins(self) -> None:
        with ai_usage(section="chat") as usage:
            usage.record(
                {"model": "m", "usage": {"prompt_tokens": 5, "completion_tokens": 6}},
                prompt_tokens=50,
                model_name="better",
            )

        row = only_row()
        assert (row.prompt_tokens, row.completion_tokens, row.model_name) == (50, 6, "better")

    def test_every_unit_can_be_recorded_by_name(self) -> None:
        with ai_usage(section="chat") as usage:
            usage.record(
                prompt_tokens=100_100,
                completion_tokens=10,
                model_name="claude-sonnet-4-5",
                provider="anthropic",
                cache_write_tokens=100_000,
                cache_write_1h_tokens=100_000,
                web_searches=7,
            )

        row = only_row()
        assert row.usage_details == {
            "cache_write_tokens": 100_000,
            "cache_write_1h_tokens": 100_000,
            "web_searches": 7,
        }
        assert row.cost == Decimal("0.67045")

    def test_cost_can_be_that_of_characters_alone(self) -> None:
        with ai_usage(section="chat") as usage:
            usage.record(model_name="tts-1", provider="openai", input_characters=1000)

        row = only_row()
        assert (row.prompt_tokens, row.usage_source) == (None, "manual")
        assert (row.usage_details, row.cost) == ({"input_characters": 1000}, Decimal("0.015"))

    def test_units_add_to_what_the_answer_counted(self, stub: StubProvider) -> None:
        with ai_usage(section="chat") as usage:
            ask()
            usage.record(web_searches=2)

        row = only_row()
        assert row.usage_source == "reported"
        assert row.usage_details == {"web_searches": 2}

    def test_value_that_is_not_valid_does_not_replace_a_captured_one(
        self, stub: StubProvider
    ) -> None:
        with ai_usage(section="chat") as usage:
            ask()
            usage.record(prompt_tokens=-1, web_searches=2)

        row = only_row()
        assert row.prompt_tokens
        assert row.usage_details == {"web_searches": 2}
        assert row.metadata.keys().isdisjoint({"clamped", "unpriced_reason"}), row.metadata

    def test_further_value_that_is_not_valid_is_named(self, stub: StubProvider) -> None:
        with ai_usage(section="chat") as usage:
            ask()
            usage.record(web_searches=-2)

        row = only_row()
        assert row.metadata["clamped"] == {"web_searches": "negative"}
        assert row.cost is None

    def test_misspelt_unit_raises_before_anything_is_recorded(self) -> None:
        with (
            pytest.raises(TypeError, match='did you mean "web_searches"'),
            ai_usage(section="chat") as usage,
        ):
            usage.record(web_search=2)

        assert rows() == []

    def test_failure_is_recorded_redacted(self) -> None:
        with ai_usage(section="chat") as usage:
            usage.record(
                success=False, error_message="bad key sk-proj-Zm9vYmFyYmF6cXV4MTIzNDU2Nzg5"
            )

        row = only_row()
        assert (row.success, row.error_message) == (False, "bad key [redacted]")
        assert row.usage_source == "unknown"

    def test_error_in_the_response_is_a_failure(self) -> None:
        with ai_usage(section="chat") as usage:
            usage.record({"object": "response", "status": "failed", "model": "m"})

        row = only_row()
        assert (row.success, row.error_message, row.model_name) == (False, "failed", "m")

    def test_garbage_is_recorded_as_unknown(self) -> None:
        def check(garbage: Any) -> None:
            forget()
            with ai_usage(section="chat") as usage:
                usage.record(garbage)

            row = only_row()
            assert (row.section, row.usage_source, row.total_tokens) == ("chat", "unknown", None)

        check_each(check, [None, "text", 7, [], object(), User])

    def test_unreadable_response_does_not_lose_the_call(
        self, settings: Settings, caplog: pytest.LogCaptureFixture
    ) -> None:
        settings.AI_USAGE_RAISE_ERRORS = False

        class Broken:
            def model_dump(self, **options: Any) -> Any:
                raise RuntimeError("not today")

        with ai_usage(section="chat") as usage:
            usage.record(Broken(), prompt_tokens=5, completion_tokens=6)

        assert only_row().total_tokens == 11
        assert "[TRACK_EXCEPTION]" in caplog.text

    def test_impossible_count_is_omitted_and_named(self) -> None:
        def check(number: Any) -> None:
            forget()
            with ai_usage(section="chat") as usage:
                usage.record(prompt_tokens=number, completion_tokens=6)

            row = only_row()
            assert (row.prompt_tokens, row.completion_tokens) == (None, 6)
            assert "prompt_tokens" in row.metadata["clamped"]

        check_each(check, [-1, 1.5, "7", True, float("nan"), [7]])

    def test_call_without_plausible_counts_is_unknown(self) -> None:
        with ai_usage(section="chat") as usage:
            usage.record(prompt_tokens=-1, completion_tokens="many")  # type: ignore[arg-type]

        assert only_row().usage_source == "unknown"

    def test_impossible_time_is_omitted_and_named(self) -> None:
        def check(time: Any) -> None:
            forget()
            with ai_usage(section="chat") as usage:
                usage.record(prompt_tokens=5, response_time_ms=time)

            row = only_row()
            assert (row.prompt_tokens, row.response_time_ms) == (5, 0)
            assert "response_time_ms" in row.metadata["clamped"]

        check_each(check, [-1, "fast", float("nan"), float("inf"), [7]])

    def test_metadata_of_another_kind_does_not_lose_the_call(self) -> None:
        def check(metadata: Any) -> None:
            forget()
            with ai_usage(section="chat") as usage:
                usage.record(prompt_tokens=5, metadata=metadata)

            assert only_row().prompt_tokens == 5

        check_each(check, ["text", 7, [1, 2], object()])

    def test_internal_error_does_not_reach_the_site(
        self, settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        settings.AI_USAGE_RAISE_ERRORS = False
        monkeypatch.setattr(blocks.recorder, "record_manually", lambda *_, **__: 1 / 0)
        before = errors.failures["UsageHandle.record"]
        with ai_usage(section="chat") as usage:
            usage.record(prompt_tokens=5)

        assert errors.failures["UsageHandle.record"] == before + 1
        assert "[TRACK_EXCEPTION]" in caplog.text
        assert "ZeroDivisionError" in caplog.text

    def test_record_belongs_to_the_block_of_the_handle(self, user: User) -> None:
        """This holds in another block too, and after the end of its own block."""
        block = ai_usage(section="chat", user=user, metadata={"a": 1})
        with block as usage, ai_usage(section="rag_pipeline"):
            usage.record(prompt_tokens=1)
        usage.record(prompt_tokens=2)

        assert [(row.prompt_tokens, *attributed(row)) for row in rows()] == [
            (1, "ada", "chat"),
            (2, "ada", "chat"),
        ]
        assert [row.metadata["a"] for row in rows()] == [1, 1]


class TestBlockWithoutCalls:
    """A block that never captures a call logs one warning."""

    @pytest.fixture(autouse=True)
    def _fresh(self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
        monkeypatch.setattr(block_warnings, "_uses", {})
        for name in block_warnings.UNSEEN_SDKS:
            monkeypatch.delitem(sys.modules, name, raising=False)
        caplog.set_level(logging.WARNING, logger="ai_usage_tracker")

    @staticmethod
    def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
        return [text for text in caplog.messages if "No AI call was seen" in text]

    def test_block_is_named_once_after_twenty_uses(self, caplog: pytest.LogCaptureFixture) -> None:
        for n in range(60):
            with ai_usage(section="chat"):
                pass
            assert len(self.warnings(caplog)) == (1 if n >= 19 else 0)

        (warning,) = self.warnings(caplog)
        assert warning.startswith("[TRACK_WARNING] ")
        assert f"{__file__}:" in warning
        assert "usage.record(response)" in warning

    def test_decorated_function_is_named_by_its_decorator(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        @ai_usage(section="chat")
        def without_call() -> None: ...

        line = without_call.__wrapped__.__code__.co_firstlineno  # type: ignore[attr-defined]
        for _ in range(20):
            without_call()

        assert f"{__file__}:{line} " in self.warnings(caplog)[0]

    def test_two_blocks_are_counted_separately(self, caplog: pytest.LogCaptureFixture) -> None:
        for _ in range(19):
            with ai_usage(section="chat"):
                pass
            with ai_usage(section="rag_pipeline"):
                pass

        assert self.warnings(caplog) == []

    def test_block_with_one_call_is_never_named(
        self, caplog: pytest.LogCaptureFixture, stub: StubProvider, db: None
    ) -> None:
        for n in range(60):
            with ai_usage(section="chat"):
                if n == 10:
                    ask()

        assert self.warnings(caplog) == []

    def test_manual_record_counts_as_a_call(
        self, caplog: pytest.LogCaptureFixture, db: None
    ) -> None:
        for _ in range(30):
            with ai_usage(section="chat") as usage:
                usage.record(prompt_tokens=1)

        assert self.warnings(caplog) == []

    def test_block_is_named_at_once_if_an_uncaptured_sdk_is_imported(
        self, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        name = "stability_sdk"
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
        for _ in range(2):
            with ai_usage(section="chat"):
                pass

        (warning,) = self.warnings(caplog)
        assert name in warning

    async def test_async_block_is_named_too(self, caplog: pytest.LogCaptureFixture) -> None:
        for _ in range(20):
            async with ai_usage(section="chat"):
                pass

        assert len(self.warnings(caplog)) == 1

    def test_disabled_tool_logs_no_warning(
        self, caplog: pytest.LogCaptureFixture, settings: Settings
    ) -> None:
        settings.AI_USAGE_ENABLED = False
        for _ in range(30):
            with ai_usage(section="chat"):
                pass

        assert self.warnings(caplog) == []


def broken(*args: Any, **kwargs: Any) -> Any:
    raise RuntimeError("ours is broken")


def block() -> str:
    with ai_usage(section="chat") as usage:
        ask()
        assert usage.total_tokens >= 0
        usage.record(prompt_tokens=1)
    return "done"


async def ablock() -> str:
    async with ai_usage(section="chat"):
        await aask()
    return "done"


@ai_usage(section="chat")
def function() -> str:
    ask()
    return "done"


@ai_usage(section="chat")
async def coroutine() -> str:
    await aask()
    return "done"


@ai_usage(section="chat")
def generator() -> Iterator[str]:
    ask()
    yield "done"


@ai_usage(section="chat")
async def async_generator() -> AsyncIterator[str]:
    await aask()
    yield "done"


async def taken() -> str:
    return "".join([item async for item in async_generator()])


WAYS: dict[str, Callable[[], str]] = {
    "block": block,
    "async block": async_to_sync(ablock),
    "function": function,
    "coroutine": async_to_sync(coroutine),
    "generator": lambda: "".join(generator()),
    "async generator": async_to_sync(taken),
}


@pytest.mark.parametrize("way", WAYS)
def test_error_at_the_start_of_a_block_does_not_reach_the_site(
    stub: StubProvider,
    db: None,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    way: str,
) -> None:
    settings.AI_USAGE_RAISE_ERRORS = False

    def check(part: str) -> None:
        forget()
        caplog.clear()
        real = getattr(blocks, part)
        before = errors.failures["ai_usage._open"]
        with monkeypatch.context() as patch:
            # The error occurs when the block opens. The site still gets an empty handle.
            patch.setattr(blocks, part, broken if part != "UsageHandle" else broken_once(real))

            assert WAYS[way]() == "done"
        assert errors.failures["ai_usage._open"] == before + 1
        assert "[TRACK_EXCEPTION]" in caplog.text
        assert "ours is broken" in caplog.text
        assert scope.open_units == {}
        # The calls are still recorded, without the block.
        assert {row.section for row in rows()} <= {"other"}

    check_each(check, ["Scope", "Unit", "UsageHandle"])


def broken_once(real: Callable[[], Any]) -> Callable[[], Any]:
    results = iter([True])

    def make() -> Any:
        if next(results, False):
            raise RuntimeError("ours is broken")
        return real()

    return make


@pytest.mark.parametrize("way", WAYS)
def test_error_at_the_end_of_a_block_does_not_reach_the_site(
    stub: StubProvider,
    db: None,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    way: str,
) -> None:
    class Uses(dict[Any, int]):
        pass

    monkeypatch.setattr(block_warnings, "_uses", Uses())
    settings.AI_USAGE_RAISE_ERRORS = False

    def check(home: Any, *parts: str) -> None:
        caplog.clear()
        before = errors.failures.total()
        with monkeypatch.context() as patch:
            for part in parts:
                patch.setattr(home, part, broken)

            assert WAYS[way]() == "done"
        assert errors.failures.total() > before
        assert "[TRACK_EXCEPTION]" in caplog.text
        assert "ours is broken" in caplog.text
        # A unit that stays open would defer every event of the process.
        assert scope.open_units == {}

    check_each(
        check,
        [
            (Uses, "get"),
            (pending_users, "await_users"),
            (listener, "_delivers_at_wakeups"),
        ],
    )


@pytest.mark.slow
def test_unit_begins_during_a_long_delivery(db: None) -> None:
    """On SQLite, a unit waits only briefly for a delivery that is writing."""
    assert scope.gate.acquire(timeout=60)
    try:
        with ai_usage(section="chat"):
            assert section() == "chat"
            assert len(scope.open_units) == 1
        assert scope.gate.locked()
    finally:
        scope.gate.release()


def test_second_exit_of_a_block_does_nothing():
    block = ai_usage(section="chat")
    block.__enter__()
    block.__exit__(None, None, None)
    block.__exit__(None, None, None)

    assert scope.current() is None


def test_function_whose_signature_cannot_be_read_is_decorated_and_runs():
    class Lookup:
        """Its signature fails, as one with the annotations of another module may."""

        @property
        def __signature__(self) -> Any:
            raise NameError("name 'Later' is not defined")

        def __call__(self, name: str) -> str:
            return f"found {name}"

    assert ai_usage(section="chat")(Lookup())("ada") == "found ada"
