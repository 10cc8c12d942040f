"""The hooks on httpx, httpx2 and requests: invisible to the site, and complete."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import gzip
import importlib.metadata
import inspect
import io
import json
import shutil
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from itertools import chain, product, repeat
from types import ModuleType
from typing import Any

import aiohttp
import botocore.httpsession
import brotli
import httpx
import httpx2
import pytest
import requests
import urllib3
import websockets.asyncio.client
import websockets.sync.client
from asgiref.sync import async_to_sync
from backports import zstd
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pytest_django import Settings
from requests.adapters import HTTPAdapter

from project.stub import StubProvider
from tests.support.cases import check_each
from tests.support.comparison import (
    assert_recorded_as_served,
    attributed,
    by_row,
    forget,
    only_row,
    rows,
    without_capture,
)
from usage_tracking import ai_usage, capture
from usage_tracking.capture.body import MAX_BODY

pytestmark = pytest.mark.django_db

URL = "https://api.openai.com/v1/chat/completions"
ASKED = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}
ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": "gpt-4o-mini-2024-07-18",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Grüße, 東京 “{}”"}}],
    "usage": {"prompt_tokens": 50, "completion_tokens": 30, "total_tokens": 80},
}
BODY = json.dumps(ANSWER, ensure_ascii=False).encode()
EVENTS = (
    b"".join(
        b"data: " + json.dumps(event, ensure_ascii=False).encode() + b"\n\n"
        for event in (
            *(
                {**ANSWER, "choices": [{"index": 0, "delta": {"content": word}}], "usage": None}
                for word in ("Grüße", ", ", "東京", "\n\ndata: {}\n\n")
            ),
            {**ANSWER, "choices": []},
        )
    )
    + b"data: [DONE]\n\n"
)
JSON_TYPE = {"content-type": "application/json"}
SSE_TYPE = {"content-type": "text/event-stream; charset=utf-8"}

quick = hypothesis_settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
libraries = pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])
ENCODINGS = ["", "gzip", "deflate", "br", "zstd"]
#: The request to the stub, and whether it is a stream.
ORDERS = [*product(["", "gzip", "gzip fragments"], [True, False])]


def encoded(body: bytes, encoding: str) -> bytes:
    if encoding == "gzip":
        return gzip.compress(body, mtime=0)
    if encoding == "deflate":
        return zlib.compress(body)
    if encoding == "br":
        compressed: bytes = brotli.compress(body)
        return compressed
    if encoding == "zstd":
        return zstd.compress(body)
    return body


@st.composite
def wires(draw: st.DrawFn) -> tuple[dict[str, str], list[bytes]]:
    """Return the headers of an answer, and its body cut anywhere, with empty pieces too."""
    kind, body = draw(st.sampled_from([(JSON_TYPE, BODY), (SSE_TYPE, EVENTS)]))
    encoding = draw(st.sampled_from(["", "gzip", "deflate", "br", "zstd"]))
    wire = encoded(body, encoding)
    places = sorted(draw(st.lists(st.integers(0, len(wire)), max_size=60)))
    pieces = [wire[a:b] for a, b in zip([0, *places], [*places, len(wire)], strict=True)]
    return ({**kind, "content-encoding": encoding} if encoding else kind), pieces


class TestHTTPX:
    """httpx and httpx2, with a transport that returns chosen pieces."""

    @staticmethod
    def transport(
        library: ModuleType,
        pieces: Sequence[bytes],
        headers: dict[str, str],
        closed: list[bool] | None = None,
    ) -> Any:
        """An answer in exactly these pieces, for both kinds of client."""

        # mypy cannot know the classes of a module that is a parameter.
        # The library is a parameter: httpx or httpx2.
        class Stream(library.SyncByteStream, library.AsyncByteStream):  # type: ignore[misc, name-defined]
            def __iter__(self) -> Iterator[bytes]:
                yield from pieces

            async def __aiter__(self) -> AsyncIterator[bytes]:
                for piece in pieces:
                    yield piece

            def close(self) -> None:
                if closed is not None:
                    closed.append(True)

            async def aclose(self) -> None:
                self.close()

        return library.MockTransport(
            lambda request: library.Response(200, headers=headers, stream=Stream())
        )

    @staticmethod
    def collect(library: ModuleType, transport: Any, method: str, *args: Any) -> list[Any]:
        with (
            library.Client(transport=transport) as client,
            client.stream("POST", URL, json=ASKED) as response,
        ):
            return list(getattr(response, method)(*args))

    @staticmethod
    def acollect(library: ModuleType, transport: Any, method: str, *args: Any) -> list[Any]:
        async def main() -> list[Any]:
            async with (
                library.AsyncClient(transport=transport) as client,
                ai_usage(),
                client.stream("POST", URL, json=ASKED) as response,
            ):
                return [piece async for piece in getattr(response, method)(*args)]

        return async_to_sync(main)()

    @libraries
    @quick
    @given(wire=wires())
    def test_raw_stream_comes_in_the_pieces_that_arrived(
        self, library: ModuleType, wire: tuple[dict[str, str], list[bytes]]
    ) -> None:
        headers, pieces = wire
        with ai_usage(section="chat") as usage:
            taken = self.collect(library, self.transport(library, pieces, headers), "iter_raw")

        assert taken == [piece for piece in pieces if piece]  # httpx drops empty ones itself
        assert (usage.calls, usage.total_tokens) == (1, 80)

    @libraries
    @quick
    @given(
        wire=wires(),
        method=st.sampled_from(["iter_bytes", "iter_lines", "iter_text", "iter_raw"]),
        size=st.none() | st.integers(1, 500),
    )
    def test_every_way_of_reading_gives_what_it_gives_without_capture(
        self,
        library: ModuleType,
        wire: tuple[dict[str, str], list[bytes]],
        method: str,
        size: int | None,
    ) -> None:
        headers, pieces = wire
        arguments = [] if method == "iter_lines" else [size]
        with ai_usage(section="chat") as usage:
            taken = self.collect(
                library, self.transport(library, pieces, headers), method, *arguments
            )
        with without_capture():
            untouched = self.collect(
                library, self.transport(library, pieces, headers), method, *arguments
            )

        assert taken == untouched
        assert (usage.calls, usage.total_tokens) == (1, 80)

    @libraries
    def test_async_reading_gives_what_it_gives_without_capture(self, library: ModuleType) -> None:
        def check(method: str, encoding: str) -> None:
            forget()
            wire = encoded(EVENTS, encoding)
            pieces = [wire[n : n + 7] for n in range(0, len(wire), 7)]
            headers = {**SSE_TYPE, "content-encoding": encoding or "identity"}
            taken = self.acollect(library, self.transport(library, pieces, headers), method)
            with without_capture():
                untouched = self.acollect(library, self.transport(library, pieces, headers), method)

            assert taken == untouched
            assert (method != "aiter_raw") or taken == pieces
            assert only_row().total_tokens == 80

        # The same generator of ours reads them all; the rest is the library.
        methods = ["aiter_raw", "aiter_bytes", "aiter_lines", "aiter_text"]
        check_each(check, product(methods, ENCODINGS))

    @libraries
    def test_response_read_at_once_is_recorded(self, library: ModuleType) -> None:
        def check(encoding: str) -> None:
            forget()
            headers = {**JSON_TYPE, "content-encoding": encoding or "identity"}
            transport = self.transport(library, [encoded(BODY, encoding)], headers)
            with library.Client(transport=transport) as client:
                response = client.post(URL, json=ASKED)

            assert response.json() == ANSWER
            assert response.content == BODY
            assert by_row(only_row())[5:7] == (50, 30)

        check_each(check, ENCODINGS)

    @libraries
    def test_unreadable_encoding_is_unknown_with_the_reason(self, library: ModuleType) -> None:
        def check(method: str) -> None:
            forget()
            headers = {**JSON_TYPE, "content-encoding": "aws-chunked"}
            self.collect(library, self.transport(library, [BODY], headers), method)

            row = only_row()
            assert (row.usage_source, row.total_tokens) == ("unknown", None)
            assert row.metadata["unknown"] == "content-encoding aws-chunked cannot be read"

        check_each(check, ["iter_bytes", "iter_raw"])

    @libraries
    def test_compressed_body_that_is_broken_is_unknown_with_the_reason(
        self, library: ModuleType
    ) -> None:
        headers = {**JSON_TYPE, "content-encoding": "gzip"}
        pieces = [b"this is ", b"no gzip"]

        assert self.collect(library, self.transport(library, pieces, headers), "iter_raw") == pieces
        assert only_row().metadata["unknown"] == "compressed body cannot be read"

    @libraries
    def test_preset_content_of_a_mock_is_recorded(self, library: ModuleType) -> None:
        def check(content: dict[str, Any], stream: bool) -> None:
            forget()
            transport = library.MockTransport(lambda request: library.Response(200, **content))
            with library.Client(transport=transport) as client:
                request = client.build_request("POST", URL, json=ASKED)
                response = client.send(request, stream=stream)
                assert json.loads(response.read()) == ANSWER
                response.close()

            assert only_row().total_tokens == 80

        contents = [{"json": ANSWER}, {"content": BODY}, {"text": BODY.decode()}]
        check_each(check, product(contents, [True, False]))

    @libraries
    def test_async_preset_content_of_a_mock_is_recorded(self, library: ModuleType) -> None:
        async def main() -> None:
            transport = library.MockTransport(lambda request: library.Response(200, json=ANSWER))
            async with library.AsyncClient(transport=transport) as client, ai_usage():
                assert (await client.post(URL, json=ASKED)).json() == ANSWER

        async_to_sync(main)()

        assert only_row().total_tokens == 80

    @libraries
    @pytest.mark.parametrize("reads", [True, False])
    def test_event_hooks_of_the_site_run_as_ever(self, library: ModuleType, reads: bool) -> None:
        told: list[str] = []

        def on_response(response: Any) -> None:
            told.append(f"response {response.status_code}")
            if reads:
                response.read()

        hooks = {"request": [lambda request: told.append("request")], "response": [on_response]}
        transport = self.transport(library, [EVENTS], SSE_TYPE)
        with (
            library.Client(transport=transport, event_hooks=hooks) as client,
            client.stream("POST", URL, json=ASKED) as response,
        ):
            body = b"".join(response.iter_bytes())

        assert told == ["request", "response 200"]
        assert body == EVENTS
        assert only_row().total_tokens == 80

    @libraries
    def test_error_that_an_event_hook_raises_is_recorded_and_raised(
        self, library: ModuleType
    ) -> None:
        hooks = {"response": [lambda response: response.raise_for_status()]}
        transport = library.MockTransport(lambda request: library.Response(429, json={}))
        with (
            library.Client(transport=transport, event_hooks=hooks) as client,
            pytest.raises(library.HTTPStatusError),
        ):
            client.post(URL, json=ASKED)

        row = only_row()
        assert not row.success
        assert row.error_message is not None
        assert row.error_message.startswith("HTTPStatusError: ")

    @libraries
    def test_redirect_is_one_record(self, library: ModuleType) -> None:
        def answer(request: Any) -> Any:
            if request.url.path == "/v1/chat/completions":
                return library.Response(
                    307, headers={"location": "https://api.openai.com/v2/chat/completions"}
                )
            return library.Response(200, json=ANSWER)

        with library.Client(
            transport=library.MockTransport(answer), follow_redirects=True
        ) as client:
            assert client.post(URL, json=ASKED).json() == ANSWER

        assert only_row().total_tokens == 80

    @libraries
    def test_streamed_request_body_is_left_to_the_transport(self, library: ModuleType) -> None:
        def content() -> Iterator[bytes]:
            yield json.dumps(ASKED).encode()

        sent: list[bytes] = []

        def answer(request: Any) -> Any:
            sent.append(request.read())
            return library.Response(200, json=ANSWER)

        with library.Client(transport=library.MockTransport(answer)) as client:
            client.post(URL, content=content())

        assert [json.loads(body) for body in sent] == [ASKED]
        assert only_row().model_name == "gpt-4o-mini-2024-07-18"

    @libraries
    def test_closing_reaches_the_stream_of_the_transport(self, library: ModuleType) -> None:
        closed: list[bool] = []
        transport = self.transport(library, [EVENTS[:100], EVENTS[100:]], SSE_TYPE, closed)
        with library.Client(transport=transport) as client:
            response = client.send(client.build_request("POST", URL, json=ASKED), stream=True)
            next(response.iter_raw())
            response.close()

        assert closed == [True]
        assert only_row().metadata["unknown"] == "stream abandoned"

    @libraries
    def test_async_closing_reaches_the_stream_of_the_transport(self, library: ModuleType) -> None:
        closed: list[bool] = []
        transport = self.transport(library, [EVENTS[:100], EVENTS[100:]], SSE_TYPE, closed)

        async def main() -> None:
            async with library.AsyncClient(transport=transport) as client, ai_usage():
                request = client.build_request("POST", URL, json=ASKED)
                response = await client.send(request, stream=True)
                await response.aclose()

        async_to_sync(main)()

        assert closed == [True]
        assert only_row().metadata["unknown"] == "body never read"

    @libraries
    def test_error_of_the_transport_in_the_middle_is_recorded_and_raised(
        self, library: ModuleType
    ) -> None:
        # mypy cannot know the classes of a module that is a parameter.
        # The library is a parameter: httpx or httpx2.
        class Broken(library.SyncByteStream):  # type: ignore[misc, name-defined]
            def __iter__(self) -> Iterator[bytes]:
                yield EVENTS[:100]
                raise library.ReadError("the cable was pulled")

        transport = library.MockTransport(
            lambda request: library.Response(200, headers=SSE_TYPE, stream=Broken())
        )
        with pytest.raises(library.ReadError, match="the cable was pulled"):
            self.collect(library, transport, "iter_raw")

        row = only_row()
        assert (row.success, row.error_message) == (False, "ReadError: the cable was pulled")

    @libraries
    def test_coroutine_thrown_away_in_another_context_raises_nothing(
        self, library: ModuleType
    ) -> None:
        """The collector does this with the tasks of a closed loop."""

        # The library is a parameter: httpx or httpx2.
        class Never(library.AsyncBaseTransport):  # type: ignore[misc, name-defined]
            async def handle_async_request(self, request: Any) -> Any:
                await contextless()

        def contextless() -> Any:
            class Waiting:
                def __await__(self) -> Iterator[None]:
                    yield None

            return Waiting()

        client = library.AsyncClient(transport=Never())
        coroutine = client.post(URL, json=ASKED)
        contextvars.copy_context().run(coroutine.send, None)

        coroutine.close()

        row = only_row()
        assert (row.usage_source, row.total_tokens) == ("unknown", None)


class Canned(HTTPAdapter):
    """Answers with a body in chosen pieces, as urllib3 gives it to requests."""

    class Pieces(io.RawIOBase):
        def __init__(self, pieces: Sequence[bytes]) -> None:
            self._pieces = [piece for piece in pieces if piece]

        def readable(self) -> bool:
            return True

        def isclosed(self) -> bool:
            return not self._pieces  # as http.client's response is when all was read

        def readinto(self, buffer: Any) -> int:
            if not self._pieces:
                return 0
            piece = self._pieces.pop(0)
            taken, rest = piece[: len(buffer)], piece[len(buffer) :]
            if rest:
                self._pieces.insert(0, rest)
            buffer[: len(taken)] = taken
            return len(taken)

        def read1(self, size: int = -1) -> bytes:
            return self.read(size if size > 0 else 65536) or b""

    def __init__(self, pieces: Sequence[bytes], headers: dict[str, str], status: int = 200) -> None:
        super().__init__()
        self._pieces, self._headers, self._status = pieces, headers, status

    def send(self, request: Any, *args: Any, **options: Any) -> requests.Response:
        raw = urllib3.HTTPResponse(
            body=self.Pieces(self._pieces),
            headers=self._headers,
            status=self._status,
            preload_content=False,
            decode_content=False,
        )
        return self.build_response(request, raw)


def session(adapter: HTTPAdapter) -> requests.Session:
    session = requests.Session()
    session.mount("https://", adapter)
    return session


def read_in_steps(method: str, size: int) -> Callable[[requests.Response], list[bytes]]:
    def read(response: requests.Response) -> list[bytes]:
        pieces = []
        while piece := getattr(response.raw, method)(size):
            pieces.append(piece)
        return pieces

    return read


def read_into(response: requests.Response) -> list[bytes]:
    pieces, buffer = [], bytearray(33)
    while length := response.raw.readinto(buffer):
        pieces.append(bytes(buffer[:length]))
    return pieces


def copy_file(response: requests.Response) -> list[bytes]:
    target = io.BytesIO()
    shutil.copyfileobj(response.raw, target, 33)
    return [target.getvalue()]


READINGS: dict[str, Callable[[requests.Response], Any]] = {
    "content": lambda r: r.content,
    "text": lambda r: r.text,
    "iter_content": lambda r: list(r.iter_content(11)),
    "iter_content of any size": lambda r: list(r.iter_content(None)),
    "iter_lines": lambda r: list(r.iter_lines(7)),
    "iteration": list,
    "raw.read": lambda r: r.raw.read(),
    "raw.read decoded": lambda r: r.raw.read(decode_content=True),
    "raw.read in steps": read_in_steps("read", 13),
    "raw.read1 in steps": read_in_steps("read1", 13),
    "raw.stream": lambda r: list(r.raw.stream(17, decode_content=False)),
    "raw.stream decoded": lambda r: list(r.raw.stream(17, decode_content=True)),
    "raw.stream by default": lambda r: list(r.raw.stream()),
    "raw.read decoded in steps": lambda r: list(
        iter(lambda: r.raw.read(13, decode_content=True), b"")
    ),
    "raw iteration": lambda r: list(r.raw),
    "raw.readinto": read_into,
    "raw.readline": lambda r: list(iter(r.raw.readline, b"")),
    "raw.readlines": lambda r: r.raw.readlines(),
    "raw.data": lambda r: r.raw.data,
    "copyfileobj": copy_file,
    "BufferedReader": lambda r: io.BufferedReader(r.raw, 32).read(),
    "TextIOWrapper": lambda r: io.TextIOWrapper(io.BufferedReader(r.raw), "latin-1").read(),
}


class TestRequests:
    @pytest.mark.parametrize("reading", READINGS)
    def test_every_way_of_reading_gives_what_it_gives_without_capture(self, reading: str) -> None:
        def check(body: str, encoding: str) -> None:
            forget()
            content, headers = {"json": (BODY, JSON_TYPE), "events": (EVENTS, SSE_TYPE)}[body]
            if encoding:
                headers = {**headers, "content-encoding": encoding}
            wire = encoded(content, encoding)
            pieces = [wire[n : n + 19] for n in range(0, len(wire), 19)]

            def read() -> Any:
                canned = Canned(pieces, headers)
                with session(canned).post(URL, json=ASKED, stream=True) as response:
                    return READINGS[reading](response)

            taken = read()
            with without_capture():
                untouched = read()

            assert taken == untouched
            assert len(taken) > 0
            row = only_row()
            assert (row.prompt_tokens, row.completion_tokens) == (50, 30)
            assert row.usage_source == "reported"

        check_each(check, product(["json", "events"], ENCODINGS))

    @quick
    @given(
        wire=wires(), reading=st.sampled_from(["iter_content", "iter_lines", "raw.read in steps"])
    )
    def test_any_pieces_are_read_as_without_capture(
        self, wire: tuple[dict[str, str], list[bytes]], reading: str
    ) -> None:
        headers, pieces = wire

        def read() -> Any:
            with session(Canned(pieces, headers)).post(URL, json=ASKED, stream=True) as response:
                return READINGS[reading](response)

        with ai_usage(section="chat") as usage:
            taken = read()
        with without_capture():
            untouched = read()

        assert taken == untouched
        assert (usage.calls, usage.total_tokens) == (1, 80)

    def test_response_read_at_once_is_recorded(self) -> None:
        def check(encoding: str) -> None:
            forget()
            headers = {**JSON_TYPE, "content-encoding": encoding or "identity"}
            response = session(Canned([encoded(BODY, encoding)], headers)).post(URL, json=ASKED)

            assert response.json() == ANSWER
            assert only_row().total_tokens == 80

        check_each(check, ENCODINGS)

    def test_requested_model_is_read_from_any_body(self) -> None:
        error = json.dumps({"error": {"message": "no", "type": "requests"}}).encode()

        def check(options: dict[str, Any]) -> None:
            forget()
            session(Canned([error], JSON_TYPE, status=429)).post(URL, **options)

            row = only_row()
            assert (row.model_name, row.error_message) == ("gpt-4o-mini", "HTTP 429 requests: no")

        text = json.dumps(ASKED)
        check_each(check, [{"data": text}, {"data": text.encode()}, {"json": ASKED}])

    def test_raw_is_still_what_libraries_check_for(self) -> None:
        with session(Canned([EVENTS], SSE_TYPE)).post(URL, json=ASKED, stream=True) as response:
            assert isinstance(response.raw, urllib3.HTTPResponse)
            assert repr(response.raw).startswith("<urllib3.response.HTTPResponse object")
            assert response.raw.headers["content-type"] == SSE_TYPE["content-type"]
            assert not response.raw.closed

    def test_raw_that_only_the_reading_holds_is_read(self) -> None:
        def raw() -> Any:
            return session(Canned([EVENTS], SSE_TYPE)).post(URL, json=ASKED, stream=True).raw

        assert raw().read() == EVENTS
        assert b"".join(raw().stream()) == EVENTS
        assert [row.total_tokens for row in rows()] == [80, 80]

    def test_response_closed_without_reading_has_that_reason(self) -> None:
        session(Canned([EVENTS], SSE_TYPE)).post(URL, json=ASKED, stream=True).close()

        row = only_row()
        assert (row.usage_source, row.success) == ("unknown", True)
        assert row.metadata["unknown"] == "body never read"

    def test_response_left_in_the_middle_is_unknown(self) -> None:
        with session(Canned([EVENTS], SSE_TYPE)).post(URL, json=ASKED, stream=True) as response:
            next(response.iter_content(10))

        assert only_row().metadata["unknown"] == "stream abandoned"

    def test_response_collected_without_close_is_unknown(self) -> None:
        response = session(Canned([EVENTS], SSE_TYPE)).post(URL, json=ASKED, stream=True)
        next(response.iter_content(10))
        del response
        gc.collect()

        assert only_row().metadata["unknown"] == "stream abandoned"

    @pytest.mark.parametrize("reading", ["iter_content", "raw.read in steps"])
    def test_error_in_the_middle_is_recorded_and_raised(self, reading: str) -> None:
        headers = {**SSE_TYPE, "content-length": str(len(EVENTS))}
        pieces = [EVENTS[:100]]
        with (
            session(Canned(pieces, headers)).post(URL, json=ASKED, stream=True) as response,
            pytest.raises((requests.exceptions.ChunkedEncodingError, urllib3.exceptions.HTTPError)),
        ):
            READINGS[reading](response)

        row = only_row()
        assert not row.success
        assert row.error_message is not None
        assert row.error_message.startswith("ProtocolError: ")

    def test_unreachable_provider_is_recorded_and_raised(self, dead_stub: StubProvider) -> None:
        with pytest.raises(requests.ConnectionError):
            requests.post(f"{dead_stub.openai_url}/chat/completions", json=ASKED, timeout=60)

        row = only_row()
        assert (row.provider, row.success) == ("openai", False)
        assert row.error_message is not None
        assert row.error_message.startswith("ConnectionError: ")

    def test_redirect_is_one_record(self) -> None:
        class Redirecting(Canned):
            def send(self, request: Any, *args: Any, **options: Any) -> requests.Response:
                if request.path_url == "/v1/chat/completions":
                    self._status, self._headers = 307, {"location": "/v2/chat/completions"}
                else:
                    self._status, self._headers = 200, JSON_TYPE
                return super().send(request, *args, **options)

        response = session(Redirecting([BODY], JSON_TYPE)).post(URL, json=ASKED)

        assert [old.status_code for old in response.history] == [307]
        assert only_row().total_tokens == 80

    def test_adapter_with_a_plain_file_as_raw_is_read_as_without_capture(self) -> None:
        """Adapters of sites and of their tests put any file into `raw`."""

        class FileAdapter(HTTPAdapter):
            def send(self, request: Any, *args: Any, **options: Any) -> requests.Response:
                response = requests.Response()
                response.status_code, response.request = 200, request
                response.headers.update(JSON_TYPE)
                response.raw = io.BytesIO(BODY)
                return response

        with session(FileAdapter()).post(URL, json=ASKED, stream=True) as response:
            assert b"".join(response.iter_content(10)) == BODY

        assert only_row().total_tokens == 80

    def test_adapter_with_a_plain_file_that_is_closed_unread_has_that_reason(self) -> None:
        class FileAdapter(HTTPAdapter):
            def send(self, request: Any, *args: Any, **options: Any) -> requests.Response:
                response = requests.Response()
                response.status_code, response.request = 200, request
                response.raw = io.BytesIO(BODY)
                return response

        response = session(FileAdapter()).post(URL, json=ASKED, stream=True)
        response.close()

        assert only_row().metadata["unknown"] == "body never read"

    def test_adapter_with_no_raw_is_left_alone(self) -> None:
        class EmptyAdapter(HTTPAdapter):
            def send(self, request: Any, *args: Any, **options: Any) -> requests.Response:
                response = requests.Response()
                response.status_code, response.request = 200, request
                return response

        assert session(EmptyAdapter()).post(URL, json=ASKED).content is None

        assert only_row().usage_source == "unknown"

    def test_chunks_of_a_real_server_are_read_as_sent(self, stub: StubProvider) -> None:
        body = {**ASKED, "stream": True, "stream_options": {"include_usage": True}}
        with requests.post(
            f"{stub.openai_url}/chat/completions", json=body, stream=True, timeout=60
        ) as response:
            taken = b"".join(response.raw.read_chunked(decode_content=False))

        assert taken == stub.journal[0].body
        assert_recorded_as_served(rows(), stub.journal)

    @pytest.mark.parametrize("order", ["words=5000", "cut=3"])
    def test_chunks_of_a_real_server_that_come_to_no_end_are_unknown(
        self, stub: StubProvider, order: str
    ) -> None:
        body = {
            **ASKED,
            "messages": [{"role": "user", "content": f"Hello [stub {order}]"}],
            "stream": True,
        }
        with requests.post(
            f"{stub.openai_url}/chat/completions", json=body, stream=True, timeout=60
        ) as response:
            chunks = response.raw.read_chunked(decode_content=False)
            assert next(chunks)
            if order == "cut=3":
                with pytest.raises(urllib3.exceptions.ProtocolError):
                    list(chunks)
            else:
                chunks.close()

        row = only_row()
        assert (row.usage_source, row.total_tokens) == ("unknown", None)
        assert row.success == (order != "cut=3")

    @staticmethod
    def asked(order: str, *, streamed: bool) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": "gpt-4o",
            "messages": [{"role": "user", "content": f"Hello [stub {order}]"}],
        }
        if streamed:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        return body

    @pytest.mark.parametrize("reading", READINGS)
    def test_every_way_of_reading_a_real_server_is_recorded_as_served(
        self, stub: StubProvider, reading: str
    ) -> None:
        """With a length and in chunks; urllib3 releases the connection at different times."""

        def check(order: str, streamed: bool) -> None:
            forget()
            stub.clear()
            url, body = f"{stub.openai_url}/chat/completions", self.asked(order, streamed=streamed)
            with requests.post(url, json=body, stream=True, timeout=60) as response:
                READINGS[reading](response)

            assert_recorded_as_served(rows(), stub.journal)
            assert only_row().usage_source == "reported"

        check_each(check, ORDERS)

    def test_connection_that_a_real_server_cuts_is_a_failure(self, stub: StubProvider) -> None:
        def check(cut: int, streamed: bool) -> None:
            forget()
            url = f"{stub.openai_url}/chat/completions"
            body = self.asked(f"cut={cut}", streamed=streamed)
            with (
                pytest.raises(requests.RequestException),
                requests.post(url, json=body, stream=streamed, timeout=60) as response,
            ):
                list(response.iter_content(64))

            row = only_row()
            assert (row.success, row.usage_source, row.total_tokens) == (False, "unknown", None)
            assert row.error_message

        check_each(check, product([0, 1, 3], [True, False]))

    def test_answers_of_a_real_server_are_recorded_as_served(self, stub: StubProvider) -> None:
        def check(order: str, streamed: bool) -> None:
            forget()
            stub.clear()
            url, body = f"{stub.openai_url}/chat/completions", self.asked(order, streamed=streamed)
            with requests.post(url, json=body, stream=streamed, timeout=60) as response:
                for _ in response.iter_lines():
                    pass

            assert_recorded_as_served(rows(), stub.journal)
            assert only_row().usage_source == "reported"

        check_each(check, [*ORDERS, ("fragments", True), ("fragments", False)])


class TestRecognition:
    """Which requests are AI calls, and of which provider."""

    @staticmethod
    def post(url: str, answer: Any = ANSWER, asked: Any = ASKED, method: str = "POST") -> Any:
        def respond(request: Any) -> Any:
            if isinstance(answer, bytes):
                return httpx2.Response(200, content=answer)
            return httpx2.Response(200, json=answer)

        with httpx2.Client(transport=httpx2.MockTransport(respond)) as client:
            return client.request(method, url, json=asked if method == "POST" else None)

    def test_other_requests_are_not_recorded(self) -> None:
        def check(method: str, url: str) -> None:
            forget()
            assert self.post(url, method=method).status_code == 200
            assert rows() == []

        others = [
            ("GET", "https://api.openai.com/v1/models"),
            ("GET", "https://api.openai.com/v1/responses/resp_1"),
            ("DELETE", "https://api.openai.com/v1/responses/resp_1"),
            ("POST", "https://api.openai.com/v1/responses/resp_1/cancel"),
            ("POST", "https://api.openai.com/v1/files"),
            ("POST", "https://api.openai.com/v1/threads/thread_1/messages"),
            ("POST", "https://api.openai.com/v1/conversations"),
            ("POST", "https://api.anthropic.com/v1/messages/count_tokens"),
            ("POST", "https://api.anthropic.com/v1/messages/batches"),
            ("POST", "https://generativelanguage.googleapis.com/v1beta/models/g:countTokens"),
            ("POST", "https://shop.example.com/checkout"),
            ("POST", "https://shop.example.com/"),
        ]
        check_each(check, others)

    @libraries
    def test_other_requests_are_not_touched(self, library: ModuleType) -> None:
        def kind_of_stream() -> type:
            transport = TestHTTPX.transport(library, [b"page"], {})
            with (
                library.Client(transport=transport) as client,
                client.stream("POST", "https://shop.example.com/checkout") as response,
            ):
                return type(response.stream)

        with without_capture():
            expected = kind_of_stream()
        assert kind_of_stream() is expected

    def test_other_requests_of_requests_are_not_touched(self) -> None:
        response = session(Canned([b"page"], {})).get("https://shop.example.com/", stream=True)

        assert type(response.raw) is urllib3.HTTPResponse
        response.close()

    def test_known_hosts_name_the_provider(self) -> None:
        def check(url: str, provider: str) -> None:
            forget()
            self.post(url)

            row = only_row()
            assert (row.provider, row.total_tokens) == (provider, 80)
            assert "host" not in row.metadata

        hosts = [
            ("https://api.openai.com/v1/chat/completions", "openai"),
            ("https://eu.api.openai.com/v1/chat/completions", "openai"),
            ("https://api.openai.com/v1/chat/completions/", "openai"),
            ("https://api.openai.com/v1/chat/completions?beta=1", "openai"),
            ("https://api.openai.com:443/v1/chat/completions", "openai"),
            ("https://API.OpenAI.com/v1/chat/completions", "openai"),
            ("https://api.groq.com/openai/v1/chat/completions", "groq"),
            ("https://openrouter.ai/api/v1/chat/completions", "openrouter"),
            ("https://api.deepseek.com/chat/completions", "deepseek"),
            ("https://api.x.ai/v1/chat/completions", "x-ai"),
            ("https://api.mistral.ai/v1/chat/completions", "mistral"),
            ("https://my.openai.azure.com/openai/deployments/d/chat/completions", "azure"),
            ("https://router.huggingface.co/v1/chat/completions", "huggingface"),
        ]
        check_each(check, hosts)

    def test_gateway_names_the_provider_by_the_longest_prefix(self, settings: Settings) -> None:
        def check(gateways: dict[str, str], url: str, provider: str) -> None:
            forget()
            settings.AI_USAGE_GATEWAYS = gateways
            self.post(url)

            assert only_row().provider == provider

        cases = [
            (
                {"gw.example.com": "litellm"},
                "https://gw.example.com/v1/chat/completions",
                "litellm",
            ),
            ({"GW.example.com": "litellm"}, "https://gw.example.com/chat/completions", "litellm"),
            (
                {"gw.example.com/a": "one", "gw.example.com/a/b": "two", "gw.example.com": "three"},
                "https://gw.example.com/a/b/chat/completions",
                "two",
            ),
            (
                {"gw.example.com/a": "one", "gw.example.com/a/b": "two", "gw.example.com": "three"},
                "https://gw.example.com/a/chat/completions",
                "one",
            ),
            (
                {"gw.example.com/a": "one", "gw.example.com": "three"},
                "https://gw.example.com/ab/chat/completions",
                "three",
            ),
            (
                {"gw.example.com:8080": "one", "gw.example.com": "two"},
                "https://gw.example.com:8080/chat/completions",
                "one",
            ),
            (
                {"gw.example.com": "two", "gw.example.com:8080": "one"},
                "https://gw.example.com:8080/chat/completions",
                "one",
            ),
            (
                {"gw.example.com:443": "one"},
                "https://gw.example.com/chat/completions",
                "one",
            ),
            (
                {"gw.example.com:8080/a/": "one"},
                "https://gw.example.com:8080/a/chat/completions",
                "one",
            ),
            # The setting wins over the table: the site's own proxy under a provider's name.
            ({"api.openai.com": "azure"}, "https://api.openai.com/v1/chat/completions", "azure"),
        ]
        check_each(check, cases)

    def test_gateway_prefix_that_does_not_fit_leaves_the_host_unknown(
        self, settings: Settings
    ) -> None:
        settings.AI_USAGE_GATEWAYS = {"gw.example.com/a": "one", "gw.example.com:1": "two"}
        self.post("https://gw.example.com/b/chat/completions")

        assert only_row().provider == "unknown"

    def test_unknown_host_is_recorded_if_path_and_answer_have_the_shape(self) -> None:
        def check(path: str, answer: dict[str, Any]) -> None:
            forget()
            self.post(f"http://llm.internal:8000{path}", answer)

            row = only_row()
            assert (row.provider, row.total_tokens) == ("unknown", 80)
            assert row.metadata["host"] == "llm.internal:8000"

        cases: list[tuple[str, Any]] = [
            ("/chat/completions", ANSWER),
            ("/v1/completions", {"choices": [{"text": "x"}], "usage": ANSWER["usage"]}),
            (
                "/responses",
                {"object": "response", "usage": {"input_tokens": 50, "output_tokens": 30}},
            ),
            (
                "/embeddings",
                {
                    "data": [{"embedding": [0.1]}],
                    "usage": {"prompt_tokens": 80, "total_tokens": 80},
                },
            ),
            (
                "/v1/messages",
                {
                    "type": "message",
                    "role": "assistant",
                    "content": [],
                    "usage": {"input_tokens": 50, "output_tokens": 30},
                },
            ),
            (
                "/models/g:generateContent",
                {
                    "candidates": [],
                    "usageMetadata": {"promptTokenCount": 50, "candidatesTokenCount": 30},
                },
            ),
        ]
        check_each(check, cases)

    def test_unknown_host_with_another_answer_is_not_recorded(self) -> None:
        def check(path: str, answer: Any) -> None:
            forget()
            self.post(f"http://llm.internal{path}", answer)

            assert rows() == []

        cases: list[tuple[str, Any]] = [
            ("/chat/completions", {"ok": True}),
            ("/chat/completions", b"<html>a page</html>"),
            ("/chat/completions", [1, 2, 3]),
            ("/responses", {"id": 7, "form": "contact"}),  # a survey's
            ("/messages", {"type": "sms", "id": "1"}),
            ("/messages", {"type": "message", "id": "1", "text": "Hi"}),  # a chat service's
            ("/embeddings", {"data": [{"id": 1, "score": 0.5}]}),  # a vector store's
            ("/embeddings", {"data": []}),
            ("/models/g:generateContent", {"error": {"code": 400, "message": "no"}}),
        ]
        check_each(check, cases)

    def test_unknown_hosts_can_be_left_out(self, settings: Settings) -> None:
        settings.AI_USAGE_UNKNOWN_HOSTS = False
        self.post("http://llm.internal/chat/completions")
        assert rows() == []

        self.post(URL)
        assert only_row().provider == "openai"

    def test_unreachable_unknown_host_is_not_recorded(self) -> None:
        with httpx2.Client() as client, pytest.raises(httpx2.ConnectError):
            client.post("http://127.0.0.1:9/chat/completions", json=ASKED)

        assert rows() == []

    def test_model_that_only_the_path_names_is_recorded(self) -> None:
        self.post(
            "https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-flash:generateContent",
            {"candidates": [], "usageMetadata": {"promptTokenCount": 1}},
            asked={"contents": []},
        )

        assert only_row().model_name == "gemini-2.5-flash"


class TestBodies:
    """Odd requests and answers, which are read as far as they can be trusted."""

    @staticmethod
    def refused(content: bytes) -> str:
        """Return the model that is recorded for a request with this body."""
        forget()
        error = httpx2.MockTransport(lambda request: httpx2.Response(429, json={}))
        with httpx2.Client(transport=error) as client:
            client.post(URL, content=content)
        return only_row().model_name

    def test_request_that_names_no_model_is_recorded_without(self) -> None:
        bodies = [b"", b"no json", b"[1]", b'{"model": 7}', b"null", b'"text"']

        assert {body: self.refused(body) for body in bodies} == dict.fromkeys(bodies, "")

    def test_large_request_is_searched_for_its_model(self) -> None:
        models = {
            b'{"model": "gpt-4o", "input": "%s"}': "gpt-4o",
            b'{"input": "%s", "model":"gpt-4o"}': "gpt-4o",
            b'{"input": "\\"model\\": \\"mine\\" %s"}': "",
            b'{"input": "%s"}': "",
        }

        assert {body: self.refused(body % (b"x" * 100_000)) for body in models} == models

    @staticmethod
    def embed(body: bytes) -> Any:
        forget()
        TestRecognition.post("https://api.openai.com/v1/embeddings", body)
        return only_row()

    def test_large_answer_with_its_usage_in_front_is_read(self) -> None:
        vector = b",".join([b"0.5"] * 30_000)
        usage = b'{"usage": {"prompt_tokens": 80}, "model": "e", "data": [{"embedding": [%b]}]}'

        row = self.embed(usage % vector)

        assert (row.prompt_tokens, row.model_name) == (80, "e")

    def test_large_answer_with_other_usages_at_its_end_is_read(self) -> None:
        vector = b",".join([b"0.5"] * 30_000)
        body = b'{"usage": {"prompt_tokens": 80}, "data": [{"embedding": [%b]}], %b'
        ends = [
            b'"note": ["usage", {"prompt_tokens": 1}]}',
            b'"note": "\\"usage\\": {\\"prompt_tokens\\": 1}"}',
            b'"note": "usage"}',
            b'"note": {"usage": null}}',
        ]

        found = {end: self.embed(body % (vector, end)).prompt_tokens for end in ends}
        assert found == dict.fromkeys(ends, 80)

    def test_huge_answer_with_forged_usage_at_its_end_is_unknown(self) -> None:
        """Only the end of a body above the cap is kept; a quotation in it is not usage."""
        text = b"x" * (MAX_BODY + 1000) + b'\\"usage\\": {\\"prompt_tokens\\": 1}'
        body = b'{"usage": {"prompt_tokens": 80}, "choices": [{"text": "%b"}]}' % text

        TestHTTPX.collect(httpx2, TestHTTPX.transport(httpx2, [body], JSON_TYPE), "iter_raw")

        row = only_row()
        assert (row.prompt_tokens, row.usage_source) == (None, "unknown")
        assert row.metadata["unknown"] == "answer too long"

    def test_stream_whose_last_event_has_no_blank_line_is_read(self) -> None:
        def check(end: bytes) -> None:
            forget()
            events = EVENTS.removesuffix(b"data: [DONE]\n\n").rstrip() + end
            TestHTTPX.collect(httpx2, TestHTTPX.transport(httpx2, [events], SSE_TYPE), "iter_raw")

            assert only_row().total_tokens == 80

        check_each(check, [b"", b"\n", b"\r\n"])

    @pytest.mark.parametrize("event", [b'{"usageMetadata": broken', b"[" * 100_000])
    def test_stream_with_an_unreadable_event_is_unknown_with_the_reason(self, event: bytes) -> None:
        url = "https://generativelanguage.googleapis.com/v1/models/g:streamGenerateContent"
        first = b'{"candidates": [{}]}'
        body = b"data: %b\n\ndata: %b\n\n" % (
            (first, event) if b"usage" in event else (event, first)
        )
        transport = TestHTTPX.transport(httpx2, [body], SSE_TYPE)
        with (
            httpx2.Client(transport=transport) as client,
            client.stream("POST", url, json={}) as response,
        ):
            assert b"".join(response.iter_raw()) == body

        row = only_row()
        assert (row.usage_source, row.metadata["unknown"]) == (
            "unknown",
            "unreadable event in the stream",
        )


class TestLayers:
    """One transport over another is one call."""

    def test_httpx_over_requests_is_one_record(self, stub: StubProvider) -> None:
        class OverRequests(httpx.BaseTransport):
            def handle_request(self, request: httpx.Request) -> httpx.Response:
                answer = requests.request(
                    request.method,
                    str(request.url),
                    data=request.read(),
                    headers=dict(request.headers),
                    timeout=60,
                )
                return httpx.Response(answer.status_code, content=answer.content)

        with httpx.Client(transport=OverRequests()) as client:
            client.post(f"{stub.openai_url}/chat/completions", json=ASKED)

        assert_recorded_as_served(rows(), stub.journal)

    def test_httpx_over_httpx2_is_one_record(self, stub: StubProvider) -> None:
        class OverHTTPX2(httpx.AsyncBaseTransport):
            async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
                async with httpx2.AsyncClient(timeout=60) as client:
                    answer = await client.post(str(request.url), content=await request.aread())
                return httpx.Response(answer.status_code, content=answer.content)

        async def main() -> None:
            async with httpx.AsyncClient(transport=OverHTTPX2()) as client, ai_usage():
                await client.post(f"{stub.openai_url}/chat/completions", json=ASKED)
                await client.post(f"{stub.openai_url}/chat/completions", json=ASKED)

        async_to_sync(main)()

        assert len(rows()) == 2
        assert_recorded_as_served(rows(), stub.journal)

    def test_requests_over_httpx_is_one_record(self, stub: StubProvider) -> None:
        class OverHTTPX(HTTPAdapter):
            def send(self, request: Any, *args: Any, **options: Any) -> requests.Response:
                answer = httpx.post(request.url, content=request.body, timeout=60)
                raw = urllib3.HTTPResponse(
                    io.BytesIO(answer.content), status=200, preload_content=False
                )
                return self.build_response(request, raw)

        with requests.Session() as own:
            own.mount("http://", OverHTTPX())
            own.post(f"{stub.openai_url}/chat/completions", json=ASKED)

        assert_recorded_as_served(rows(), stub.journal)

    def test_task_started_by_a_transport_makes_calls_of_its_own(self, stub: StubProvider) -> None:
        """The task has a copy of the context in which a call was being sent."""
        tasks: list[asyncio.Task[Any]] = []

        class Starting(httpx2.AsyncHTTPTransport):
            async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
                if not tasks:
                    tasks.append(asyncio.create_task(later()))
                return await super().handle_async_request(request)

        async def later() -> None:
            await begun.wait()
            async with httpx2.AsyncClient(timeout=60) as client:
                await client.post(f"{stub.openai_url}/chat/completions", json=ASKED)

        begun = asyncio.Event()

        async def main() -> None:
            async with ai_usage(section="chat"):
                async with httpx2.AsyncClient(transport=Starting(), timeout=60) as client:
                    await client.post(f"{stub.openai_url}/chat/completions", json=ASKED)
                begun.set()
                await tasks[0]

        async_to_sync(main)()

        assert_recorded_as_served(rows(), stub.journal)
        assert len(rows()) == 2

    def test_failure_of_the_lower_layer_is_one_record(self, dead_stub: StubProvider) -> None:
        class OverRequests(httpx.BaseTransport):
            def handle_request(self, request: httpx.Request) -> httpx.Response:
                requests.post(str(request.url), data=request.read(), timeout=60)
                raise AssertionError

        with (
            httpx.Client(transport=OverRequests()) as client,
            pytest.raises(requests.ConnectionError),
        ):
            client.post(f"{dead_stub.openai_url}/chat/completions", json=ASKED)

        assert not only_row().success

    def test_call_after_a_layered_one_is_recorded(self, stub: StubProvider) -> None:
        self.test_httpx_over_requests_is_one_record(stub)
        requests.post(f"{stub.openai_url}/chat/completions", json=ASKED, timeout=60)

        assert len(rows()) == 2


HOOKS = [
    (httpx.Client, "send"),
    (httpx.AsyncClient, "send"),
    (httpx2.Client, "send"),
    (httpx2.AsyncClient, "send"),
    (requests.Session, "send"),
    (aiohttp.ClientSession, "_request"),
    (aiohttp.ClientResponse, "close"),
    (aiohttp.ClientResponse, "release"),
    (botocore.httpsession.URLLib3Session, "send"),
    (websockets.sync.client.ClientConnection, "handshake"),
    (websockets.asyncio.client.ClientConnection, "handshake"),
]
#: Transports that the tests of SDKs install (`tests/sdks/test_grpc.py`, `test_sockets.py`).
ELSEWHERE = {"grpc", "httpx_ws", "websocket_client"}


class TestInstall:
    def test_uninstall_puts_the_originals_back(self) -> None:
        hooked = [getattr(owner, name) for owner, name in HOOKS]
        with without_capture():
            originals = [getattr(owner, name) for owner, name in HOOKS]
            capture.uninstall()
            assert [getattr(owner, name) for owner, name in HOOKS] == originals
            TestRecognition.post(URL)
            session(Canned([BODY], JSON_TYPE)).post(URL, json=ASKED)

        assert not set(hooked) & set(originals)
        assert [function.__name__ for function in originals] == [name for _, name in HOOKS]
        assert {function.__module__.partition(".")[0] for function in originals} == set(
            capture.TRANSPORTS
        ) - ELSEWHERE
        assert rows() == []

    def test_second_install_changes_nothing(self) -> None:
        hooked = [getattr(owner, name) for owner, name in HOOKS]
        capture.install(True)
        capture.install(["httpx", "requests"])

        assert [getattr(owner, name) for owner, name in HOOKS] == hooked
        TestRecognition.post(URL)
        assert len(rows()) == 1

    def test_installed_anew_records_once(self) -> None:
        for _ in range(3):
            capture.uninstall()
            capture.install(True)

        TestRecognition.post(URL)
        session(Canned([BODY], JSON_TYPE)).post(URL, json=ASKED)
        assert len(rows()) == 2

    def test_hooked_methods_look_like_the_originals(self) -> None:
        for owner, name in HOOKS:
            method = getattr(owner, name)
            assert method.__qualname__ == f"{owner.__name__}.{name}"
            assert method.__doc__ == inspect.unwrap(method).__doc__

    def test_setting_chooses_the_transports(self, settings: Settings) -> None:
        def post(library: ModuleType) -> None:
            transport = library.MockTransport(lambda request: library.Response(200, json=ANSWER))
            with library.Client(transport=transport) as client, ai_usage(section=library.__name__):
                client.post(URL, json=ASKED)

        def check(wanted: Any, recorded: set[str]) -> None:
            forget()
            settings.AI_USAGE_CAPTURE = wanted
            post(httpx)
            post(httpx2)
            with ai_usage(section="requests"):
                session(Canned([BODY], JSON_TYPE)).post(URL, json=ASKED)

            assert {row.section for row in rows()} == recorded

        cases: list[tuple[Any, set[str]]] = [
            (True, {"httpx", "httpx2", "requests"}),
            (False, set()),
            (["httpx2"], {"httpx2"}),
            (("requests", "httpx"), {"httpx", "requests"}),
            ([], set()),
        ]
        check_each(check, cases)

    def test_disabled_tool_records_nothing(self, settings: Settings) -> None:
        settings.AI_USAGE_ENABLED = False
        with ai_usage(section="chat") as usage:
            TestRecognition.post(URL)

        assert usage.calls == 0
        assert rows() == []

    def test_status_reports_that_all_is_hooked(self) -> None:
        status = {entry.transport: entry for entry in capture.status()}

        assert set(status) == set(capture.TRANSPORTS)
        assert {name for name, entry in status.items() if not entry.hooked} <= ELSEWHERE
        assert {status[name].reason for name in set(status) - ELSEWHERE} == {""}
        assert status["httpx2"].version == httpx2.__version__
        assert status["requests"].version == requests.__version__

    def test_status_reports_that_a_transport_is_not_wanted(self) -> None:
        with without_capture():
            capture.install(["httpx2"])
            status = {entry.transport: entry for entry in capture.status()}

        assert status["httpx2"].hooked
        assert not status["httpx"].hooked
        assert status["httpx"].reason == "not in AI_USAGE_CAPTURE"

    def test_library_that_is_not_imported_yet_is_hooked_when_it_is(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with without_capture(), monkeypatch.context() as patch:
            patch.delitem(sys.modules, "requests")
            capture.install(["requests"])
            (waiting,) = (entry for entry in capture.status() if entry.transport == "requests")
            capture.uninstall()
            originals = [getattr(owner, name) for owner, name in HOOKS]

        assert (waiting.hooked, waiting.reason) == (False, "hooked when it is imported")
        assert not [method for method in originals if hasattr(method, "_ai_usage_original")]

    def test_status_reports_an_unsupported_version(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # Other code has replaced the patched method.
        monkeypatch.setattr(requests.Session, "send", lambda self, request, **options: None)
        status = {entry.transport: entry for entry in capture.status()}

        assert not status["requests"].hooked
        assert status["requests"].reason == "unsupported version: expected methods are missing"

    def test_status_reports_that_a_library_is_not_installed(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def version(name: str) -> str:
            raise importlib.metadata.PackageNotFoundError(name)

        monkeypatch.setattr(importlib.metadata, "version", version)

        assert {(entry.version, entry.hooked, entry.reason) for entry in capture.status()} == {
            ("", False, "not installed")
        }


def run(code: str, **environment: str) -> list[Any]:
    """Return the JSON lines that a new process with the settings of the tests prints."""
    import os

    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.mark.process
class TestFreshProcess:
    def test_library_imported_later_is_hooked_and_none_is_imported_for_us(self) -> None:
        before, after, calls = run(
            """
import json, sys
import django
django.setup()
from usage_tracking import ai_usage, capture
def state():
    return {entry.transport: [entry.hooked, entry.reason] for entry in capture.status()}
names = ("httpx", "httpx2", "requests", "aiohttp", "botocore", "openai", "genai_prices")
print(json.dumps([state(), [name for name in names if name in sys.modules]]))
import httpx2, requests, botocore.httpsession
print(json.dumps([state(), [name for name in names if name in sys.modules]]))
transport = httpx2.MockTransport(lambda request: httpx2.Response(200, json={"choices": []}))
from django.test.utils import setup_test_environment
setup_test_environment()
from usage_tracking import outbox
with ai_usage() as usage:
    with httpx2.Client(transport=transport) as client:
        client.post("https://api.openai.com/v1/chat/completions", json={"model": "m"})
    outbox.get().clear()
    print(usage.calls)
"""
        )

        waiting = [False, "hooked when it is imported"]
        hooked = [True, ""]
        for state in (before[0], after[0]):
            for name in ELSEWHERE:
                del state[name]
        assert before == [dict.fromkeys(set(capture.TRANSPORTS) - ELSEWHERE, waiting), []]
        assert after == [
            {
                "httpx": waiting,
                "httpx2": hooked,
                "requests": hooked,
                "aiohttp": waiting,
                "botocore": hooked,
                "websockets": waiting,
            },
            ["httpx2", "requests", "botocore"],
        ]
        assert calls == 1

    def test_httpx2_under_the_name_of_httpx_records_once(self) -> None:
        state, same, recorded = run(
            """
import json
import django
django.setup()
from django.test.utils import setup_test_environment
setup_test_environment()
import httpx2
httpx2.alias_httpx()
import httpx
from usage_tracking import ai_usage, capture, outbox
print(json.dumps({entry.transport: entry.hooked for entry in capture.status()}))
print(json.dumps(httpx is httpx2))
recorded = []
for library in (httpx, httpx2):
    transport = library.MockTransport(
        lambda request: library.Response(200, json={"choices": [], "usage": {"prompt_tokens": 7}})
    )
    with ai_usage() as usage:
        with library.Client(transport=transport) as client:
            client.post("https://api.openai.com/v1/chat/completions", json={"model": "m"})
        outbox.get().clear()
        recorded.append([usage.calls, usage.total_tokens])
print(json.dumps(recorded))
"""
        )

        assert state["httpx"] is True
        assert state["httpx2"] is True
        assert same is True
        assert recorded == [[1, 7], [1, 7]]

    @pytest.mark.parametrize(
        ("setting", "hooked"),
        [
            ("AI_USAGE_CAPTURE = False", []),
            ("AI_USAGE_CAPTURE = ['requests']", ["requests"]),
            ("AI_USAGE_ENABLED = False", []),
        ],
    )
    def test_setting_chooses_what_is_hooked(self, setting: str, hooked: list[str]) -> None:
        (found,) = run(
            f"""
import json
from django.conf import settings
from tests import settings as own
for line in [{setting!r}]:
    if line:
        exec(line, vars(own))
import django
django.setup()
import httpx, httpx2, requests
from usage_tracking import capture
print(json.dumps([entry.transport for entry in capture.status() if entry.hooked]))
"""
        )

        assert found == hooked


@pytest.mark.slow
class TestMemory:
    """A stream of ten megabytes is passed on and forgotten."""

    EVENT = EVENTS.partition(b"\n\n")[0].replace(b": null}", b': null, "x": "%b"}') % (b"x" * 2000)
    EVENT += b"\n\n"
    COUNT = 10 * 1024 * 1024 // len(EVENT)

    @staticmethod
    def peak(consume: Callable[[int], int], count: int) -> tuple[int, int]:
        """Return the length of a stream of so many pieces, and the memory that reading it took."""
        consume(1)  # whatever is imported at the first call
        gc.collect()
        tracemalloc.start()
        try:
            length = consume(count)
            return length, tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    @staticmethod
    def consume(
        library: ModuleType, url: str, headers: dict[str, str], pieces: Iterator[bytes]
    ) -> int:
        # mypy cannot know the classes of a module that is a parameter.
        # The library is a parameter: httpx or httpx2.
        class Stream(library.SyncByteStream):  # type: ignore[misc, name-defined]
            def __iter__(self) -> Iterator[bytes]:
                yield from pieces

        transport = library.MockTransport(
            lambda request: library.Response(200, headers=headers, stream=Stream())
        )
        with (
            library.Client(transport=transport) as client,
            client.stream("POST", url, json=ASKED) as response,
        ):
            return sum(map(len, response.iter_raw()))

    @libraries
    def test_stream_of_ten_megabytes_is_not_kept(self, library: ModuleType) -> None:
        def consume(count: int) -> int:
            pieces = chain(repeat(self.EVENT, count), [EVENTS])
            return self.consume(library, URL, SSE_TYPE, pieces)

        length, peak = self.peak(consume, self.COUNT)

        assert length > 10_000_000
        assert peak < 1_000_000
        assert [row.total_tokens for row in rows()] == [80, 80]

    def test_stream_of_ten_megabytes_through_requests_is_not_kept(self) -> None:
        def consume(count: int) -> int:
            pieces = [self.EVENT * 100] * count
            with session(Canned([*pieces, EVENTS], SSE_TYPE)).post(
                URL, json=ASKED, stream=True
            ) as response:
                return sum(map(len, response.iter_content(8192)))

        length, peak = self.peak(consume, self.COUNT // 100)

        assert length > 10_000_000
        assert peak < 1_500_000
        assert [row.total_tokens for row in rows()] == [80, 80]

    @pytest.mark.slow
    def test_array_of_ten_megabytes_is_not_kept(self) -> None:
        piece = json.dumps(
            {
                "candidates": [{"content": {"parts": [{"text": "x" * 3000}]}}],
                "usageMetadata": {"promptTokenCount": 50, "candidatesTokenCount": 30},
            }
        ).encode()

        def consume(count: int) -> int:
            pieces = chain([b"[" + piece], repeat(b",\r\n" + piece, count), [b"]"])
            url = "https://generativelanguage.googleapis.com/v1/models/g:streamGenerateContent"
            return self.consume(httpx2, url, JSON_TYPE, pieces)

        length, peak = self.peak(consume, 10 * 1024 * 1024 // len(piece))

        assert length > 10_000_000
        assert peak < 1_000_000
        assert [row.total_tokens for row in rows()] == [80, 80]

    def test_huge_body_is_kept_up_to_a_cap_and_read_from_its_end(self) -> None:
        start, piece = b'{"choices": [{"message": {"content": "', b"x" * 65536
        end = b'"}}], "model": "gpt-4o", "usage": {"prompt_tokens": 50, "completion_tokens": 30}}'

        def consume(count: int) -> int:
            pieces = chain([start], repeat(piece, count), [end])
            return self.consume(httpx2, URL, JSON_TYPE, pieces)

        length, peak = self.peak(consume, 2 * MAX_BODY // len(piece))

        assert length > 2 * MAX_BODY
        assert peak < 2 * MAX_BODY
        row = rows()[-1]
        assert (row.model_name, row.total_tokens) == ("gpt-4o", 80)


def test_calls_through_every_transport_are_attributed(stub: StubProvider, user: Any) -> None:
    url = f"{stub.openai_url}/chat/completions"
    with ai_usage(section="chat", user=user):
        httpx.post(url, json=ASKED, timeout=60)
        httpx2.post(url, json=ASKED, timeout=60)
        requests.post(url, json=ASKED, timeout=60)

    assert_recorded_as_served(rows(), stub.journal)
    assert [attributed(row) for row in rows()] == [("ada", "chat")] * 3
