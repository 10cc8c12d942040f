"""The hook on aiohttp: invisible to the site, and complete."""

from __future__ import annotations

import asyncio
import gc
import gzip
import json
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any, cast
from unittest.mock import Mock

import aiohttp
import pytest
from aiohttp import web
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from hypothesis import given
from hypothesis import strategies as st

from project.stub import StubProvider
from tests.capture.test_transports import (
    ANSWER,
    ASKED,
    BODY,
    ENCODINGS,
    EVENTS,
    JSON_TYPE,
    ORDERS,
    SSE_TYPE,
    encoded,
    quick,
)
from tests.support.cases import check_each
from tests.support.comparison import (
    assert_recorded_as_served,
    attributed,
    forget,
    only_row,
    rows,
    without_capture,
)
from tests.support.providers import LIMIT, until
from usage_tracking import ai_usage, pricing
from usage_tracking.capture.aiohttp import _Content

pytestmark = pytest.mark.django_db

WITH_USAGE: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}

Reading = Callable[[aiohttp.ClientResponse], Awaitable[Any]]


async def by_lines(response: aiohttp.ClientResponse) -> list[bytes]:
    return [line async for line in response.content]


async def by_iter_any(response: aiohttp.ClientResponse) -> bytes:
    return b"".join([piece async for piece in response.content.iter_any()])


async def by_iter_chunked(response: aiohttp.ClientResponse) -> list[bytes]:
    return [piece async for piece in response.content.iter_chunked(7)]


async def by_iter_chunks(response: aiohttp.ClientResponse) -> list[bytes]:
    """Return the chunks as the server made them, in whatever pieces TCP delivers them."""
    chunks, chunk = [], b""
    async for data, ends in response.content.iter_chunks():
        chunk += data
        if ends:
            chunks.append(chunk)
            chunk = b""
    return [*chunks, chunk]


async def by_readexactly(response: aiohttp.ClientResponse) -> list[bytes]:
    taken = []
    while True:
        try:
            taken.append(await response.content.readexactly(11))
        except asyncio.IncompleteReadError as error:
            return [*taken, error.partial]


async def by_readuntil(response: aiohttp.ClientResponse) -> list[bytes]:
    taken = []
    while piece := await response.content.readuntil(b"\n\n"):
        taken.append(piece)
    return taken


async def by_read_nowait(response: aiohttp.ClientResponse) -> bytes:
    taken = b""
    while not response.content.at_eof():
        taken += await response.content.read(1)
        taken += response.content.read_nowait()
    return taken


async def by_steps(response: aiohttp.ClientResponse) -> bytes:
    taken = b""
    while piece := await response.content.read(13):
        taken += piece
    return taken


READINGS: dict[str, Reading] = {
    "read": lambda response: response.read(),
    "text": lambda response: response.text(),
    "content.read": lambda response: response.content.read(),
    "lines": by_lines,
    "iter_any": by_iter_any,
    "iter_chunked": by_iter_chunked,
    "iter_chunks": by_iter_chunks,
    "readexactly": by_readexactly,
    "readuntil": by_readuntil,
    "read_nowait": by_read_nowait,
    "read in steps": by_steps,
}


def body_of(order: str = "", **more: Any) -> dict[str, Any]:
    return {**ASKED, "messages": [{"role": "user", "content": f"Hello [stub {order}]"}], **more}


def ask(
    stub: StubProvider,
    reading: Reading,
    body: dict[str, Any],
    **options: Any,
) -> Any:
    async def main() -> Any:
        async with (
            aiohttp.ClientSession(**options) as session,
            ai_usage(section="chat"),
            session.post(f"{stub.openai_url}/chat/completions", json=body) as response,
        ):
            return await reading(response)

    return async_to_sync(main)()


@asynccontextmanager
async def serving(
    pieces: list[bytes], headers: dict[str, str], *, go: asyncio.Event | None = None
) -> AsyncIterator[str]:
    """A server that answers with these pieces, one chunk each; gives its URL.

    All after the first piece are held back until `go`.
    """

    async def answer(request: web.Request) -> web.StreamResponse:
        await request.read()
        response = web.StreamResponse(headers=headers)
        response.enable_chunked_encoding()
        await response.prepare(request)
        for piece in pieces:
            await response.write(piece)
            if go is not None:
                await go.wait()
        await response.write_eof()
        return response

    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}/v1/chat/completions"
    finally:
        await runner.cleanup()


def read_served(
    pieces: list[bytes], headers: dict[str, str], reading: Reading, **options: Any
) -> Any:
    async def main() -> Any:
        async with (
            serving(pieces, headers) as url,
            aiohttp.ClientSession(**options) as session,
            ai_usage(section="chat"),
            session.post(url, json=ASKED) as response,
        ):
            return await reading(response)

    return async_to_sync(main)()


@pytest.mark.server
class TestReading:
    @pytest.mark.parametrize("reading", READINGS)
    def test_every_way_of_reading_is_recorded_as_served(
        self, stub: StubProvider, reading: str
    ) -> None:
        def check(order: str, streamed: bool) -> None:
            forget()
            stub.clear()
            ask(stub, READINGS[reading], body_of(order, **WITH_USAGE if streamed else {}))

            assert_recorded_as_served(rows(), stub.journal)
            assert only_row().usage_source == "reported"

        check_each(check, ORDERS)

    @pytest.mark.parametrize("reading", READINGS)
    def test_every_way_of_reading_gives_what_it_gives_without_capture(self, reading: str) -> None:
        def check(encoding: str) -> None:
            forget()
            wire = encoded(EVENTS, encoding)
            pieces = [wire[n : n + 50] for n in range(0, len(wire), 50)]
            headers = {**SSE_TYPE, **({"content-encoding": encoding} if encoding else {})}
            taken = read_served(pieces, headers, READINGS[reading])
            with without_capture():
                untouched = read_served(pieces, headers, READINGS[reading])

            assert taken == untouched
            assert only_row().total_tokens == 80

        check_each(check, ENCODINGS)

    def test_chunks_arrive_as_the_server_made_them(self) -> None:
        pieces = [EVENTS[n : n + 50] for n in range(0, len(EVENTS), 50)]

        assert read_served(pieces, SSE_TYPE, by_iter_chunks) == [*pieces, b""]

    def test_body_that_is_not_decompressed_is_read_all_the_same(self) -> None:
        def check(encoding: str) -> None:
            forget()
            wire = encoded(BODY, encoding)
            headers = {**JSON_TYPE, "content-encoding": encoding or "identity"}

            assert read_served([wire], headers, by_iter_any, auto_decompress=False) == wire
            assert only_row().total_tokens == 80

        check_each(check, ENCODINGS)

    @quick
    @given(
        places=st.lists(st.integers(0, len(EVENTS)), max_size=40).map(sorted),
        sizes=st.lists(st.integers(1, 400), min_size=1, max_size=10),
    )
    def test_any_pieces_are_read_in_any_portions(self, places: list[int], sizes: list[int]) -> None:
        """Use the library's own stream, so that nothing depends on how TCP cuts."""
        pieces = [EVENTS[a:b] for a, b in zip([0, *places], [*places, len(EVENTS)], strict=True)]

        async def read(content: aiohttp.StreamReader) -> list[bytes]:
            taken = []
            turn = 0
            while not content.at_eof():
                taken.append(await content.read(sizes[turn % len(sizes)]))
                turn += 1
            return taken

        async def main() -> tuple[list[bytes], list[bytes], bytes]:
            seen = Recorder()
            wrapped = cast(aiohttp.StreamReader, _Content(fed(pieces), cast(Any, seen)))
            taken = await read(wrapped)
            assert seen.ended == [{}]
            return taken, await read(fed(pieces)), seen.data

        taken, untouched, seen = async_to_sync(main)()
        assert taken == untouched
        assert seen == EVENTS

    @pytest.mark.filterwarnings("ignore:unread_data:DeprecationWarning")
    def test_data_put_back_is_counted_once(self) -> None:
        async def main() -> Recorder:
            seen = Recorder()
            content: Any = _Content(fed([b"abc", b"def"]), cast(Any, seen))
            first = await content.readany()
            content.unread_data(first[2:])
            assert await content.read() == first[2:]
            return seen

        assert async_to_sync(main)().data == b"abcdef"


class Recorder:
    """Records what an exchange receives."""

    def __init__(self) -> None:
        self.data = b""
        self.ended: list[dict[str, Any]] = []

    def chunk(self, data: bytes) -> None:
        self.data += data

    def end(self, error: BaseException | None = None, **options: Any) -> None:
        if not self.ended:
            self.ended.append(options)

    def abandon(self) -> None:
        self.end(abandoned=True)


def fed(pieces: list[bytes]) -> aiohttp.StreamReader:
    stream = aiohttp.StreamReader(Mock(), 2**16, loop=asyncio.get_running_loop())
    for piece in pieces:
        stream.feed_data(piece)
    stream.feed_eof()
    return stream


@pytest.mark.server
class TestEnds:
    def test_response_never_read_has_that_reason(self, stub: StubProvider) -> None:
        async def nothing(response: aiohttp.ClientResponse) -> None:
            return None

        ask(stub, nothing, body_of("words=50000", **WITH_USAGE))

        row = only_row()
        assert (row.usage_source, row.success) == ("unknown", True)
        assert row.metadata["unknown"] == "body never read"

    def test_response_left_in_the_middle_is_unknown(self, stub: StubProvider) -> None:
        async def one(response: aiohttp.ClientResponse) -> bytes:
            return await response.content.readany()

        ask(stub, one, body_of("words=50000", **WITH_USAGE))

        assert only_row().metadata["unknown"] == "stream abandoned"

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # aiohttp's own
    def test_response_collected_without_close_is_unknown(self, stub: StubProvider) -> None:
        async def main() -> None:
            def collected() -> int:
                gc.collect()
                return usage.calls

            async with ai_usage(section="chat") as usage:
                async with aiohttp.ClientSession() as session:
                    response = await session.post(
                        f"{stub.openai_url}/chat/completions",
                        json=body_of("words=50000", **WITH_USAGE),
                    )
                    await response.content.readany()
                    del response
                # The connection holds the response until it is gone itself.
                await until(collected, "the end of the response")

        async_to_sync(main)()

        assert only_row().metadata["unknown"] == "stream abandoned"

    def test_response_dies_when_it_always_did(self, stub: StubProvider) -> None:
        """No reference cycle keeps a response and its connection until the next collection."""

        async def freed() -> bool:
            async with ai_usage(section="chat"), aiohttp.ClientSession() as session:
                response = await session.post(f"{stub.openai_url}/chat/completions", json=body_of())
                await response.read()
                content = response.content
                del response
                return not [
                    referrer
                    for referrer in gc.get_referrers(content)
                    if isinstance(referrer, aiohttp.ClientResponse)
                ]

        gc.disable()
        try:
            assert async_to_sync(freed)()
        finally:
            gc.enable()

    def test_reading_that_is_cancelled_can_be_taken_up_again(self) -> None:
        async def main() -> bytes:
            go = asyncio.Event()
            async with (
                serving([EVENTS[:50], EVENTS[50:]], SSE_TYPE, go=go) as url,
                aiohttp.ClientSession() as session,
                ai_usage(section="chat"),
                session.post(url, json=ASKED) as response,
            ):
                taken: bytes = await response.content.readexactly(50)
                reading = asyncio.create_task(response.content.readany())
                await asyncio.sleep(0)  # by now it waits, for the server holds the rest back
                reading.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await reading
                go.set()
                while not response.content.at_eof():
                    taken += await response.content.readany()
                return taken

        assert async_to_sync(main)() == EVENTS
        row = only_row()
        assert (row.total_tokens, row.success, row.usage_source) == (80, True, "reported")

    def test_task_that_is_cancelled_leaves_the_stream(self, stub: StubProvider) -> None:
        async def main() -> None:
            async def forever() -> None:
                async with (
                    ai_usage(section="chat"),
                    aiohttp.ClientSession() as session,
                    session.post(
                        f"{stub.openai_url}/chat/completions",
                        json=body_of(f"pace={LIMIT:.0f} words=50", **WITH_USAGE),
                    ) as response,
                ):
                    reading.set()
                    await response.read()

            reading = asyncio.Event()
            task = asyncio.create_task(forever())
            await asyncio.wait_for(reading.wait(), LIMIT)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        async_to_sync(main)()

        row = only_row()
        assert (row.success, row.usage_source) == (True, "unknown")

    @pytest.mark.parametrize("reading", ["read", "iter_any", "lines", "readexactly"])
    def test_connection_that_the_server_cuts_is_a_failure(
        self, stub: StubProvider, reading: str
    ) -> None:
        def check(streamed: bool) -> None:
            forget()
            with pytest.raises(aiohttp.ClientPayloadError):
                ask(stub, READINGS[reading], body_of("cut=3", **WITH_USAGE if streamed else {}))

            row = only_row()
            assert (row.success, row.usage_source) == (False, "unknown")
            assert row.error_message is not None
            assert row.error_message.startswith("ClientPayloadError")

        check_each(check, [True, False])

    def test_unreachable_provider_is_recorded_and_raised(self, dead_stub: StubProvider) -> None:
        with pytest.raises(aiohttp.ClientConnectorError):
            ask(dead_stub, READINGS["read"], body_of())

        row = only_row()
        assert (row.provider, row.success) == ("openai", False)
        assert row.error_message is not None
        assert row.error_message.startswith("ClientConnectorError: ")

    def test_time_out_is_recorded_and_raised(self, own_stub: StubProvider) -> None:
        with pytest.raises(TimeoutError):
            ask(
                own_stub,
                READINGS["read"],
                body_of(f"delay={LIMIT:.0f}"),
                timeout=aiohttp.ClientTimeout(total=0.1),
            )

        assert not only_row().success

    @pytest.mark.parametrize("checks", [True, False])
    def test_error_of_the_provider_is_a_failure(self, stub: StubProvider, checks: bool) -> None:
        with suppress(aiohttp.ClientResponseError):
            ask(stub, READINGS["read"], body_of("status=429"), raise_for_status=checks)

        row = only_row()
        assert (row.success, row.usage_source, row.model_name) == (
            False,
            "unknown",
            "gpt-4o-mini",
        )
        if not checks:
            assert_recorded_as_served(rows(), stub.journal)


class TestRequests:
    def test_model_of_a_failed_call_is_the_requested_one(self, dead_stub: StubProvider) -> None:
        async def post(options: dict[str, Any]) -> None:
            async with aiohttp.ClientSession() as session, ai_usage(section="chat"):
                await session.post(f"{dead_stub.openai_url}/chat/completions", **options)

        def check(options: dict[str, Any]) -> None:
            forget()
            with pytest.raises(aiohttp.ClientConnectorError):
                async_to_sync(post)(options)

            assert only_row().model_name == "gpt-4o-mini"

        text = json.dumps(ASKED)
        check_each(check, [{"json": ASKED}, {"data": text}, {"data": text.encode()}])

    def test_base_url_and_request_method_are_understood(self, stub: StubProvider) -> None:
        async def main() -> Any:
            async with (
                aiohttp.ClientSession(base_url=f"{stub.openai_url}/") as session,
                ai_usage(section="chat"),
                session.request("post", "chat/completions", json=body_of()) as response,
            ):
                return await response.json()

        async_to_sync(main)()

        assert_recorded_as_served(rows(), stub.journal)

    def test_other_requests_are_not_touched(self, stub: StubProvider) -> None:
        async def main() -> type:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"{stub.url}/") as response,
            ):
                await response.read()
                return type(response.content)

        assert async_to_sync(main)() is aiohttp.StreamReader
        assert rows() == []

    def test_content_is_still_what_libraries_check_for(self, stub: StubProvider) -> None:
        async def look(response: aiohttp.ClientResponse) -> bool:
            return isinstance(response.content, aiohttp.StreamReader)

        assert ask(stub, look, body_of())

    def test_calls_belong_to_their_user_and_section(self, stub: StubProvider, user: User) -> None:
        async def main() -> None:
            async with aiohttp.ClientSession() as session:

                async def one(section: str) -> None:
                    async with (
                        ai_usage(section=section, user=user),
                        session.post(
                            f"{stub.openai_url}/chat/completions",
                            json=body_of(f"words={len(section)}"),
                        ) as response,
                    ):
                        await response.read()

                await asyncio.gather(*(one(name) for name in ("chat", "rag_pipeline", "other")))

        async_to_sync(main)()

        assert {attributed(row) for row in rows()} == {
            ("ada", "chat"),
            ("ada", "rag_pipeline"),
            ("ada", "other"),
        }


@pytest.fixture
def traced_memory() -> Iterator[None]:
    pricing.warm_up()  # its table is no part of the stream
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.mark.server
def test_stream_of_ten_megabytes_is_not_kept(traced_memory: None) -> None:
    event = b"data: " + json.dumps({**ANSWER, "usage": None}).encode() + b"\n\n"
    pieces = [event * 100] * (10 * 2**20 // (len(event) * 100)) + [EVENTS]

    async def main() -> int:
        async with (
            serving(pieces, SSE_TYPE) as url,
            aiohttp.ClientSession() as session,
            ai_usage(section="chat"),
            session.post(url, json=ASKED) as response,
        ):
            most = 0
            async for _ in response.content.iter_chunked(2**14):
                most = max(most, tracemalloc.get_traced_memory()[0])
            return most

    before = tracemalloc.get_traced_memory()[0]
    assert async_to_sync(main)() - before < 4 * 2**20
    assert only_row().total_tokens == 80


@pytest.mark.server
def test_gzip_bomb_in_an_answer_is_not_expanded(traced_memory: None) -> None:
    bomb = gzip.compress(b" " * (64 * 2**20))
    headers = {**JSON_TYPE, "content-encoding": "gzip"}

    tracemalloc.reset_peak()
    assert read_served([bomb], headers, by_iter_any, auto_decompress=False) == bomb
    assert tracemalloc.get_traced_memory()[1] < 40 * 2**20
