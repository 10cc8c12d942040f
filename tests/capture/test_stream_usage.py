"""`AI_USAGE_STREAM_USAGE = "request"`: the usage is asked for, and the caller does not notice."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator, Callable, Iterator
from types import ModuleType
from typing import Any

import httpx
import httpx2
import openai
import pytest
import requests
from asgiref.sync import async_to_sync
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from project.stub import StubProvider
from tests.capture.test_transports import ANSWER, ASKED, SSE_TYPE, URL, Canned, quick, session
from tests.support.cases import check_each
from tests.support.comparison import assert_recorded_as_served, forget, only_row, rows
from usage_tracking import ai_usage
from usage_tracking.capture import include_usage
from usage_tracking.capture.encodings import decoder
from usage_tracking.capture.include_usage import Hiding

pytestmark = pytest.mark.django_db

STREAM = {**ASKED, "stream": True}
WORD = {**ANSWER, "choices": [{"index": 0, "delta": {"content": "Hi"}}], "usage": None}
EXTRA = {**ANSWER, "choices": []}
FILTERED = {**ANSWER, "choices": [], "usage": None, "prompt_filter_results": []}  # Azure's first

libraries = pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])


def sse(*events: Any, newline: bytes = b"\n") -> bytes:
    return b"".join(b"data: " + json.dumps(event).encode() + newline * 2 for event in events)


DONE = b"data: [DONE]\n\n"
SHOWN = sse(FILTERED, WORD, WORD) + DONE
SENT = sse(FILTERED, WORD, WORD, EXTRA) + DONE


@pytest.fixture(autouse=True)
def _request(settings: Settings) -> Iterator[None]:
    settings.AI_USAGE_STREAM_USAGE = "request"
    yield
    include_usage._rejecting.clear()


class Server:
    """Answers according to the request, and keeps the bodies."""

    def __init__(self, library: ModuleType, *, rejects: int = 0, encoding: str = "") -> None:
        self.library = library
        self.rejects = rejects
        self.encoding = encoding
        self.asked: list[dict[str, Any]] = []
        self.headers: list[Any] = []

    def __call__(self, request: Any) -> Any:
        body = json.loads(request.read())
        self.asked.append(body)
        self.headers.append(request.headers)
        if "stream_options" in body and self.rejects:
            error = {"error": {"message": "Unrecognized request argument: stream_options"}}
            return self.library.Response(self.rejects, json=error)
        content = SENT if "stream_options" in body else SHOWN
        headers = dict(SSE_TYPE)
        if self.encoding:
            content, headers["content-encoding"] = gzip.compress(content), self.encoding
        library = self.library

        # mypy cannot know the classes of a module that is a parameter.
        # The library is a parameter: httpx or httpx2.
        class Stream(library.SyncByteStream, library.AsyncByteStream):  # type: ignore[misc, name-defined]
            def __iter__(self) -> Iterator[bytes]:
                yield from (content[n : n + 30] for n in range(0, len(content), 30))

            async def __aiter__(self) -> AsyncIterator[bytes]:
                for piece in self:
                    yield piece

        return self.library.Response(200, headers=headers, stream=Stream())


def stream(server: Server, body: Any = STREAM, *, at_once: bool = False, **options: Any) -> bytes:
    transport = server.library.MockTransport(server)
    with server.library.Client(transport=transport) as client, ai_usage(section="chat"):
        if at_once:
            content: bytes = client.post(URL, json=body, **options).content
            return content
        with client.stream("POST", URL, json=body, **options) as response:
            return b"".join(response.iter_bytes())


def astream(server: Server) -> bytes:
    async def main() -> bytes:
        transport = server.library.MockTransport(server)
        async with (
            server.library.AsyncClient(transport=transport) as client,
            ai_usage(section="chat"),
            client.stream("POST", URL, json=STREAM) as response,
        ):
            return b"".join([piece async for piece in response.aiter_bytes()])

    return async_to_sync(main)()


def at_once(server: Server) -> bytes:
    return stream(server, at_once=True)


@libraries
@pytest.mark.parametrize("way", [stream, astream, at_once])
def test_usage_is_recorded_and_the_caller_sees_no_more_than_before(
    library: ModuleType, way: Callable[[Server], bytes]
) -> None:
    def check(encoding: str) -> None:
        forget()
        server = Server(library, encoding=encoding)

        assert way(server) == SHOWN
        assert [body.get("stream_options") for body in server.asked] == [{"include_usage": True}]
        assert [headers["accept-encoding"] for headers in server.headers] == ["identity"]
        row = only_row()
        assert (row.prompt_tokens, row.completion_tokens, row.usage_source) == (50, 30, "reported")

    check_each(check, ["", "gzip"])


@libraries
@pytest.mark.parametrize("way", [stream, astream])
def test_server_that_rejects_the_field_is_asked_without_and_not_again(
    library: ModuleType, way: Callable[[Server], bytes]
) -> None:
    def check(status: int) -> None:
        forget()
        include_usage._rejecting.clear()
        server = Server(library, rejects=status)

        assert [way(server), way(server)] == [SHOWN, SHOWN]
        assert ["stream_options" in body for body in server.asked] == [True, False, False]
        assert [(row.success, row.usage_source) for row in rows()] == [(True, "unknown")] * 2

    check_each(check, [400, 422])


def test_server_that_rejects_the_request_anyway_is_asked_again_next_time() -> None:
    asked = []

    def refuse(request: Any) -> Any:
        asked.append("stream_options" in json.loads(request.read()))
        return httpx2.Response(400, json={"error": {"message": "no such model"}})

    with httpx2.Client(transport=httpx2.MockTransport(refuse)) as client:
        statuses = [client.post(URL, json=STREAM).status_code for _ in range(2)]

    assert statuses == [400, 400]
    assert asked == [True, False, True, False]
    assert [row.error_message for row in rows()] == ["HTTP 400 no such model"] * 2


def test_request_that_sets_include_usage_is_sent_unchanged() -> None:
    asked: list[Any] = []

    def answer(request: Any) -> Any:
        asked.append(json.loads(request.read()))
        return httpx2.Response(200)

    bodies: list[Any] = [
        ASKED,
        {**ASKED, "stream": False},
        {**STREAM, "stream_options": {"include_usage": False}},
        {**STREAM, "stream_options": {"include_usage": True}},
        {**STREAM, "stream_options": "none"},
        [STREAM],
    ]
    with httpx2.Client(transport=httpx2.MockTransport(answer)) as client:
        for body in bodies:
            client.post(URL, json=body)

    assert asked == bodies


def test_chunk_that_the_caller_asked_for_is_his() -> None:
    body = {**STREAM, "stream_options": {"include_usage": True}}

    assert stream(Server(httpx2), body) == SENT


def test_other_options_of_the_stream_are_kept() -> None:
    server = Server(httpx2)
    stream(server, {**STREAM, "stream_options": {"include_obfuscation": False}})

    assert server.asked[0]["stream_options"] == {
        "include_obfuscation": False,
        "include_usage": True,
    }


def test_request_is_not_changed_by_default(settings: Settings) -> None:
    del settings.AI_USAGE_STREAM_USAGE
    server = Server(httpx2)

    assert stream(server) == SHOWN
    assert server.asked == [STREAM]
    assert "include_usage" in only_row().metadata["unknown"]


def test_code_that_takes_the_first_choice_of_each_chunk_goes_on(stub: StubProvider) -> None:
    def ask(order: str) -> list[Any]:
        with (
            openai.OpenAI(base_url=stub.openai_url, api_key="any") as client,
            client.chat.completions.create(
                model="gpt-4o-mini",
                messages=[{"role": "user", "content": f"Hello [stub {order}]"}],
                stream=True,
            ) as chunks,
        ):
            return [chunk.choices[0].delta.content for chunk in chunks]

    def check(order: str) -> None:
        forget()
        stub.clear()
        assert "".join(filter(None, ask(order)))
        assert_recorded_as_served(rows(), stub.journal)
        assert only_row().usage_source == "reported"

    check_each(check, ["", "fragments", "gzip"])


@pytest.mark.parametrize(
    "reading",
    [
        lambda response: b"\n".join(response.iter_lines()),
        lambda response: b"".join(response.iter_content(7)),
        lambda response: response.raw.read(),
        lambda response: b"".join(iter(lambda: response.raw.read(64), b"")),
        lambda response: response.content,
    ],
    ids=["iter_lines", "iter_content", "raw.read", "raw.read in steps", "content"],
)
def test_requests_hides_the_chunk_too(stub: StubProvider, reading: Callable[[Any], bytes]) -> None:
    def check(order: str) -> None:
        forget()
        stub.clear()
        body = {**STREAM, "messages": [{"role": "user", "content": f"Hello [stub {order}]"}]}
        url = f"{stub.openai_url}/chat/completions"
        with requests.post(url, json=body, stream=True, timeout=60) as response:
            taken = reading(response)

        assert b'"choices":[]' not in taken
        assert taken.rstrip().endswith(b"[DONE]")
        assert_recorded_as_served(rows(), stub.journal)
        assert only_row().usage_source == "reported"

    check_each(check, ["", "fragments", "gzip"])


def test_requests_that_reads_at_once_hides_the_chunk_too() -> None:
    assert session(Canned([SENT], SSE_TYPE)).post(URL, json=STREAM).content == SHOWN
    assert only_row().total_tokens == 80


class TestHiding:
    @pytest.mark.slow
    @quick
    @given(
        events=st.lists(st.sampled_from([WORD, EXTRA, FILTERED]), max_size=8),
        newline=st.sampled_from([b"\n", b"\r\n"]),
        end=st.sampled_from([b"", b"data: [DONE]\n\n", b": ping\n\n", b'data: {"choices":[']),
        places=st.lists(st.integers(0, 3000), max_size=20).map(sorted),
    )
    def test_only_the_extra_chunk_is_left_out(
        self, events: list[Any], newline: bytes, end: bytes, places: list[int]
    ) -> None:
        wire = sse(*events, newline=newline) + end
        cut = zip([0, *places], [*places, len(wire)], strict=True)
        hiding = Hiding()
        shown = b"".join(hiding.feed(wire[a:b]) for a, b in cut) + hiding.end()

        kept = [event for event in events if event is not EXTRA]
        assert shown == sse(*kept, newline=newline) + end

    @pytest.mark.parametrize(
        "event", [b'data: {"choices":[],"usage":\n\n', b'"choices":[] "usage"\n\n']
    )
    def test_what_cannot_be_read_is_passed_on(self, event: bytes, settings: Settings) -> None:
        settings.AI_USAGE_RAISE_ERRORS = False
        hiding = Hiding()

        assert hiding.feed(b"data: 1\n\n") + hiding.feed(event) + hiding.end() == (
            b"data: 1\n\n" + event
        )

    def test_event_without_an_end_is_not_held(self) -> None:
        hiding = Hiding()
        given = taken = 0
        for piece in [b"data: "] + [b"a" * 1000] * 1000:
            taken += len(piece)
            given += len(hiding.feed(piece))
            assert taken - given <= include_usage._LONGEST + 1000
            assert len(hiding._rest) <= include_usage._LONGEST + 1000

        rest = hiding.feed(b"a\n") + hiding.feed(b"\ndata: 1\n\n" + sse(EXTRA, WORD)) + hiding.end()
        assert rest == b"a\n\ndata: 1\n\n" + sse(WORD)
        assert given == taken

    @pytest.mark.slow
    @quick
    @given(
        sizes=st.lists(st.integers(0, 60), max_size=6),
        newline=st.sampled_from([b"\n", b"\r\n"]),
        places=st.lists(st.integers(0, 600), max_size=20).map(sorted),
    )
    def test_long_event_is_passed_on_whole(
        self, sizes: list[int], newline: bytes, places: list[int]
    ) -> None:
        wire = b"".join(b"data: " + b"a" * size + newline * 2 for size in sizes) + b"data: b"
        cut = zip([0, *places], [*places, len(wire)], strict=True)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(include_usage, "_LONGEST", 30)
            hiding = Hiding()
            shown = b"".join(hiding.feed(wire[a:b]) for a, b in cut) + hiding.end()

        assert shown == wire

    def test_reader_gets_all_of_a_body_that_expands_much(self) -> None:
        wire = gzip.compress(b": " + b"a" * (12 * 2**20) + b"\n\n" + sse(EXTRA) + DONE)
        hiding = Hiding(decoder("gzip", is_bounded=False))

        shown = hiding.feed(wire) + hiding.end()

        assert len(shown) == 2 + 12 * 2**20 + 2 + len(DONE)
        assert shown.endswith(DONE)
