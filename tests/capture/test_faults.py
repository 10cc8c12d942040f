"""The host does not notice any error of ours while its call runs.

Each line of ours that a scenario runs through is made to raise, one after the other, by a trace
function. The answer to the host must be the same, the error logged with its traceback and counted.
"""

from __future__ import annotations

import asyncio
import dis
import functools
import gc
import gzip
import json
import linecache
import logging
import re
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NamedTuple

import aiohttp
import httpx2
import pytest
import requests
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.test import RequestFactory, override_settings
from django.utils.functional import SimpleLazyObject
from pytest_django import Settings
from websockets.asyncio.client import connect as aconnect
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

import usage_tracking
from tests.capture.socket_cases import created, requested
from tests.capture.test_botocore import Session, serving
from tests.capture.test_stream_usage import EXTRA, SENT, SHOWN
from tests.capture.test_transports import (
    ANSWER,
    ASKED,
    BODY,
    EVENTS,
    JSON_TYPE,
    SSE_TYPE,
    URL,
    Canned,
    session,
)
from tests.support.sockets import SocketProvider
from usage_tracking import ai_usage, block_warnings, errors, outbox, propagate
from usage_tracking.attribution import scope
from usage_tracking.capture import include_usage
from usage_tracking.delivery import inline
from usage_tracking.middleware import AIUsageMiddleware

pytestmark = pytest.mark.server

PACKAGE = str(Path(usage_tracking.__file__).parent)
ADA = User(pk=7, username="ada")

#: Functions between the host and our contained functions. They only call the original, call
#: contained functions, and set context variables.
SHELLS = {
    "system/patching.py": {"_Patch.__init__.<locals>.call", "_Patch.__init__.<locals>.acall"},
    "capture/sending.py": {
        "wrap.<locals>.send",
        "awrap.<locals>.send",
        "_is_inside",
        "_ask",
        "_aask",
        "_without_request",
        "_without_request.<locals>.<dictcomp>",
    },
    "capture/aiohttp.py": {
        "_above.<locals>.method",
        "_ending.<locals>.end",
        *(
            f"_Content.{name}"
            for name in (
                "__init__",
                "__del__",
                "__aiter__",
                "_reading",
                "iter_any",
                "iter_chunked",
                "iter_chunks",
                "read",
                "read_nowait",
                "readany",
                "readchunk",
                "readexactly",
                "readline",
                "readuntil",
                "unread_data",
            )
        ),
    },
    "capture/requests.py": {"_Shown.stream", "_Shown.read"},
    "capture/httpx.py": {
        "_tee_class.<locals>.Tee.__init__",
        "_tee_class.<locals>.Tee.__iter__",
        "_tee_class.<locals>.Tee.close",
        "_tee_class.<locals>.Tee.__del__",
        "_async_tee_class.<locals>.AsyncTee.__init__",
        "_async_tee_class.<locals>.AsyncTee.__aiter__",
        "_async_tee_class.<locals>.AsyncTee.aclose",
        "_async_tee_class.<locals>.AsyncTee.__del__",
    },
    "capture/urllib3.py": {
        *(
            f"_teeing.<locals>.Tee.{name}"
            for name in (
                "read",
                "read.<locals>.<lambda>",
                "read1",
                "read1.<locals>.<lambda>",
                "read_chunked",
                "close",
                "release_conn",
                "__del__",
                "_ai_usage_read",
                "_ai_usage_release",
            )
        ),
    },
    "capture/websockets.py": {
        *(
            f"{maker}.<locals>.{function}"
            for name, functions in {
                "handshake": ("handshake",),
                "send": ("send",),
                "recv": ("recv",),
                "recv_streaming": ("recv_streaming", "frames"),
                "close": ("close",),
            }.items()
            for maker in (f"_{name}", f"_a{name}")
            for function in functions
        ),
        "_Pieces.__init__",
        "_Pieces.add",
    },
    "capture/aiohttp_ws.py": {
        "_connect.<locals>.connect",
        "_receive.<locals>.receive",
        "_send.<locals>.send",
        "_close.<locals>.close",
    },
    "attribution/stepping.py": {
        "stepped.<locals>.run",
        "astepped.<locals>.run",
        "_yield_from",
    },
    "recorder/units.py": {"finish"},
    "attribution/streams.py": {
        "keep_scope_in_stream.<locals>.close",
        "_StreamSteps.__next__",
        "_StreamSteps.__del__",
        "_AsyncStreamSteps.__anext__",
        "_AsyncStreamSteps.__del__",
    },
    "blocks.py": {
        "ai_usage.__init__",
        "ai_usage.__enter__",
        "ai_usage.__exit__",
        "ai_usage.__aenter__",
        "ai_usage.__aexit__",
        "ai_usage._wrapper.<locals>.run",
        "ai_usage._wrapper.<locals>.arun",
        "ai_usage._awaited",
        "ai_usage._keeps_scope.<locals>.done",
        "ai_usage._keeps_scope.<locals>.adone",
        "ai_usage._left",
        "ai_usage._end",
        "ai_usage._aend",
        "ai_usage._drop",
        "UsageHandle.calls",
        "UsageHandle.cost",
        "UsageHandle.total_tokens",
        "Opened.__init__",
        "Opened.close",
        "_steps",
        "_is_outermost",
    },
    "delivery/listener.py": {"Delivery.nudge", "Delivery.wake"},
    "delivery/worker.py": {"Worker.nudge"},
    "outbox/__init__.py": {"nudge", "wake"},
    # Only a test changes settings while calls are made.
    "conf.py": {"_forget"},
    "capture/endpoints.py": {"_forget"},
    "capture/paths.py": {"_forget"},
    "capture/sessions.py": {"Session.__del__"},  # contained, and run whenever memory is freed
    "errors.py": {"contain", "contained.<locals>.inner"},
    "log.py": {"one_line"},
    # Reads the response objects of SDKs.
    "formats/objects.py": {"_attempt", "<lambda>"},
    "middleware.py": {
        "_finish",
        "AIUsageMiddleware.__call__",
        "AIUsageMiddleware._acall",
        "_keeps_scope.<locals>.<lambda>",
        "_keeps_scope.<locals>.adone",
    },
    "attribution/scope.py": {
        "Steps.__init__",
        "Steps.__enter__",
        "Steps.__exit__",
        "Unit.end",
        "current",
        "enter",
        "leave",
    },
    "attribution/propagation.py": {
        "propagate",
        "_Propagated.__init__",
        "_Propagated.__call__",
    },
    "attribution/threads.py": {
        "_start_in_scope.<locals>.start_in_scope",
        "_start_in_scope.<locals>.start_in_scope.<locals>.run_in_scope",
        "_submit_in_scope.<locals>.submit_in_scope",
        "_init_without_scope.<locals>.init_without_scope",
    },
}
#: Lines whose calls cannot fail: an entry of a dict, a flag, a lock that is held.
SAFE = re.compile(
    r"\bunit\.(begin|end)\(\)|opened\.close\(\)|_is_outermost\(|gate\.release\(\)|return Opened\("
    r"|pending_users\.end\(|units\.a?finish\("
)
#: Reached only on other threads of a site, or inside its own containment there.
ELSEWHERE = {
    "delivery/writer.py",
    "delivery/log_lines.py",
    "daily.py",
    "models.py",
    "querysets.py",
    "receivers.py",
}


class BoomError(Exception):
    """Stands for an error of ours."""


class Line(NamedTuple):
    file: str
    function: str
    number: int

    @classmethod
    def of(cls, frame: FrameType) -> Line:
        file = frame.f_code.co_filename.removeprefix(PACKAGE + "/")
        return cls(file, frame.f_code.co_qualname, frame.f_lineno)


@functools.cache
def _lines_that_can_fail(code: CodeType) -> set[int]:
    """Return the lines of a function that call, import, unpack or calculate; no bare `try:`."""
    operations = {
        instruction.offset: instruction.opname for instruction in dis.get_instructions(code)
    }
    kinds = ("BINARY", "CALL", "FOR_ITER", "FORMAT", "IMPORT", "UNPACK")
    return {
        line
        for start, end, line in code.co_lines()
        if line is not None
        and any(operations.get(at, "").startswith(kinds) for at in range(start, end, 2))
        and not SAFE.search(linecache.getline(code.co_filename, line))
    }


def traced(
    run: Callable[[], Any], at: Callable[[Line], None], only: tuple[str, str] | None = None
) -> Any:
    """Return what `run` returns; call `at` for each line of ours on the way, which may raise.

    If `only` names a file and a function, just for the lines of that one.
    """

    def step(frame: FrameType, event: str, argument: object) -> Any:
        if event == "line" and frame.f_lineno in _lines_that_can_fail(frame.f_code):
            at(Line.of(frame))
        return step

    def enter(frame: FrameType, event: str, argument: object) -> Any:
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        file, function, _ = Line.of(frame)
        if only is not None and only != (file, function):
            return None
        return None if function in SHELLS.get(file, ()) or file in ELSEWHERE else step

    block_warnings._uses.clear()  # a block that is silent for long is no longer looked at
    before = sys.gettrace()
    sys.settrace(enter)
    try:
        return run()
    finally:
        sys.settrace(before)


def lines_of(run: Callable[[], Any]) -> list[Line]:
    found: dict[Line, None] = {}
    traced(run, lambda line: found.setdefault(line))
    return list(found)


@functools.cache
def assigned() -> dict[Callable[[], Any], list[Line]]:
    """Return the lines to break in each scenario.

    Of a function that an earlier scenario has been through already only the first line, for a
    fault is contained the same way wherever in it it happens: thousands of runs become hundreds.
    """
    lines: dict[Callable[[], Any], list[Line]] = {}
    seen: set[Line] = set()
    for run in SCENARIOS:
        run()
        functions: set[tuple[str, str]] = set()
        lines[run] = []
        for line in lines_of(run):
            if line not in seen or line[:2] not in functions:
                lines[run].append(line)
            functions.add(line[:2])
            seen.add(line)
    return lines


def run_with_fault(run: Callable[[], Any], place: Line) -> Any:
    def at(line: Line) -> None:
        if line == place:
            raise BoomError  # Python ends the tracing with it

    return traced(run, at, place[:2])


# The scenarios: each returns what the host sees.


class Stream(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    def __init__(self, body: bytes) -> None:
        size = max(50, len(body) // 20)
        self._pieces = [body[n : n + size] for n in range(0, len(body), size)]

    def __iter__(self) -> Iterator[bytes]:
        yield from self._pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece


def transport(
    body: bytes, headers: dict[str, str] | None = None, status: int = 200
) -> httpx2.MockTransport:
    return httpx2.MockTransport(
        lambda request: httpx2.Response(status, headers=headers or JSON_TYPE, stream=Stream(body))
    )


def unreachable(request: httpx2.Request) -> httpx2.Response:
    raise httpx2.ConnectError("refused")


def post(body: bytes, url: str = URL, **options: Any) -> list[bytes]:
    with httpx2.Client(transport=transport(body, **options)) as client:
        return [client.post(url, json=ASKED).content]


def stream(body: bytes, url: str = URL, **options: Any) -> list[bytes]:
    with (
        httpx2.Client(transport=transport(body, **options)) as client,
        client.stream("POST", url, json=ASKED) as response,
    ):
        return list(response.iter_raw())


def sse(*events: dict[str, Any]) -> bytes:
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)


def plain() -> Any:
    with ai_usage(section="chat", user=ADA, metadata={"a": [1, {"b": "sk-12345678901"}]}):
        return post(BODY)


def streamed() -> Any:
    with ai_usage(section="chat", user=ADA):
        return stream(
            gzip.compress(EVENTS, mtime=0), headers={**SSE_TYPE, "content-encoding": "gzip"}
        )


def without_block() -> Any:
    return post(BODY)


def refused() -> Any:
    return post(json.dumps({"error": {"message": "no", "type": "x"}}).encode(), status=429)


def failed() -> Any:
    with httpx2.Client(transport=httpx2.MockTransport(unreachable)) as client:
        try:
            client.post(URL, json=ASKED)
        except httpx2.ConnectError as error:
            return str(error)


def left() -> Any:
    with httpx2.Client(transport=transport(EVENTS, headers=SSE_TYPE)) as client:
        response = client.send(client.build_request("POST", URL, json=ASKED), stream=True)
        first = next(response.iter_raw())
        response.close()
        return first


def forgotten() -> Any:
    with httpx2.Client(transport=transport(EVENTS, headers=SSE_TYPE)) as client:
        response = client.send(client.build_request("POST", URL, json=ASKED), stream=True)
        first = next(response.iter_raw())
        del response
        gc.collect(0)
        return first


def huge() -> Any:
    body = {"data": [{"embedding": [0.125] * 12_000}], "model": "e", "usage": {"prompt_tokens": 9}}
    return post(json.dumps(body).encode(), "https://api.openai.com/v1/embeddings")


def long_request() -> Any:
    with httpx2.Client(transport=transport(BODY)) as client:
        return client.post(URL, json={"messages": ["x" * 20_000], "model": "m"}).content


def responses() -> Any:
    response = {"object": "response", "id": "r", "model": "m"}
    usage = {"input_tokens": 1, "output_tokens": 2}
    return stream(
        sse(
            {"type": "response.created", "response": response},
            {"type": "response.completed", "response": {**response, "usage": usage}},
            {"type": "error", "message": "late"},
        ),
        "https://api.openai.com/v1/responses",
        headers=SSE_TYPE,
    )


def anthropic() -> Any:
    usage = {"input_tokens": 1, "output_tokens": 2}
    message = {"type": "message", "role": "assistant", "id": "m", "model": "c", "usage": usage}
    return stream(
        sse(
            {"type": "message_start", "message": message},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage},
        ),
        "https://api.anthropic.com/v1/messages",
        headers=SSE_TYPE,
    )


def gemini() -> Any:
    chunk = {
        "candidates": [{"finishReason": "STOP", "content": {"parts": [{"text": 'a "{}" \\'}]}}],
        "usageMetadata": {"promptTokenCount": 1, "totalTokenCount": 1},
    }
    return stream(
        json.dumps([chunk, chunk]).encode(),
        "https://aiplatform.googleapis.com/v1/models/g:streamGenerateContent",
    )


def unknown_host() -> Any:
    return post(BODY, "http://llm.internal:8000/v1/chat/completions")


def through_requests() -> Any:
    with ai_usage(section="chat"):
        return session(Canned([BODY], JSON_TYPE)).post(URL, json=ASKED).json()


def through_requests_streamed() -> Any:
    with session(Canned([EVENTS], SSE_TYPE)).post(URL, json=ASKED, stream=True) as response:
        return list(response.iter_content(50))


def through_requests_raw() -> Any:
    with session(Canned([EVENTS], SSE_TYPE)).post(URL, json=ASKED, stream=True) as response:
        buffer = bytearray(20)
        response.raw.readinto(buffer)
        return [bytes(buffer), response.raw.read(10), response.raw.read()]


def through_requests_failed() -> Any:
    class Failing(requests.adapters.HTTPAdapter):
        def send(self, *args: Any, **options: Any) -> Any:
            raise requests.ConnectionError("refused")

    try:
        session(Failing()).post(URL, json=ASKED)
    except requests.ConnectionError as error:
        return str(error)


def through_botocore() -> Any:
    with serving([BODY], JSON_TYPE) as url, ai_usage(section="chat"):
        return Session().post(url, streamed=False).content


def through_botocore_streamed() -> Any:
    with serving([EVENTS[:70], EVENTS[70:]], SSE_TYPE) as url:
        return b"".join(Session().post(url, streamed=True).raw.stream())


def through_aiohttp() -> Any:
    async def main(url: str) -> Any:
        async with (
            aiohttp.ClientSession() as session,
            ai_usage(section="chat"),
            session.post(url, json=ASKED) as response,
        ):
            return await response.json()

    with serving([BODY], JSON_TYPE) as url:
        return asyncio.run(main(url))


def through_aiohttp_streamed() -> Any:
    async def main(url: str) -> Any:
        async with aiohttp.ClientSession() as session:
            response = await session.post(url, data=json.dumps(ASKED))
            first = await response.content.readuntil(b"\n\n")
            second, _ = await response.content.readchunk()
            with suppress(asyncio.IncompleteReadError):
                await response.content.readexactly(10**6)
            response.close()
            return first, b"Hi" in second

    with serving([EVENTS], SSE_TYPE) as url:
        return asyncio.run(main(url))


def asked_for_usage(status: int = 200) -> Any:
    def answer(request: httpx2.Request) -> httpx2.Response:
        asked = "stream_options" in json.loads(request.read())
        if asked and status != 200:
            return httpx2.Response(status)
        return httpx2.Response(200, headers=SSE_TYPE, stream=Stream(SENT if asked else SHOWN))

    include_usage._rejecting.clear()
    with (
        override_settings(AI_USAGE_STREAM_USAGE="request"),
        httpx2.Client(transport=httpx2.MockTransport(answer)) as client,
        client.stream("POST", URL, json={**ASKED, "stream": True}) as response,
    ):
        return without_extra(response.iter_bytes())


def without_extra(pieces: Iterator[bytes]) -> bytes:
    """Remove the extra chunk: it is all that the site sees if the code that hides it breaks."""
    return b"".join(pieces).replace(sse(EXTRA), b"")


def asked_for_usage_in_vain() -> Any:
    return asked_for_usage(400)


def asked_for_usage_through_requests() -> Any:
    with (
        override_settings(AI_USAGE_STREAM_USAGE="request"),
        session(Canned([SENT], SSE_TYPE)).post(
            URL, json={**ASKED, "stream": True}, stream=True
        ) as response,
    ):
        return without_extra(response.iter_content(50))


async def apost(body: bytes = BODY) -> bytes:
    async with httpx2.AsyncClient(transport=transport(body)) as client:
        return (await client.post(URL, json=ASKED)).content


async def astream() -> list[bytes]:
    async with (
        httpx2.AsyncClient(transport=transport(EVENTS, SSE_TYPE)) as client,
        client.stream("POST", URL, json=ASKED) as response,
    ):
        return [piece async for piece in response.aiter_raw()]


def on_an_event_loop() -> Any:
    async def main() -> Any:
        async with ai_usage(section="chat", user=ADA):
            return [await apost(), *await astream()]

    return asyncio.run(main())


def lazily_on_an_event_loop() -> Any:
    async def main() -> Any:
        async with ai_usage(user=SimpleLazyObject(lambda: ADA)):
            return [await apost(), post(BODY)]

    return asyncio.run(main())


def page() -> HttpRequest:
    request = RequestFactory().get("/")
    # As AuthenticationMiddleware sets it, which the type stubs lack.
    # As the middleware of django.contrib.auth does, which the stubs do not know.
    request.user = SimpleLazyObject(lambda: ADA)  # type: ignore[assignment]
    return request


def view(request: HttpRequest) -> HttpResponse:
    return HttpResponse(post(BODY)[0])


async def aview(request: HttpRequest) -> HttpResponse:
    post(BODY)
    return HttpResponse(await apost())


def streaming_view(request: HttpRequest) -> StreamingHttpResponse:
    def body() -> Iterator[bytes]:
        with ai_usage(section="chat"):
            yield from stream(EVENTS, headers=SSE_TYPE)

    return StreamingHttpResponse(body())


async def streaming_aview(request: HttpRequest) -> StreamingHttpResponse:
    async def body() -> AsyncIterator[bytes]:
        for piece in await astream():
            yield piece

    return StreamingHttpResponse(body())


# Made when the site starts, before the first request.
views: Any = (view, aview, streaming_view, streaming_aview)
site, asite, streaming_site, streaming_asite = map(AIUsageMiddleware, views)


def in_a_request() -> Any:
    return site(page()).content


def in_a_body() -> Any:
    response = streaming_site(page())
    chunks = list(response)
    close(response)
    return chunks


def in_an_async_request() -> Any:
    async def main() -> Any:
        return (await asite(page())).content

    return asyncio.run(main())


def in_an_async_body() -> Any:
    async def main() -> Any:
        response: Any = await streaming_asite(page())
        return [chunk async for chunk in response], response

    chunks, response = asyncio.run(main())
    close(response)
    return chunks


def close(response: Any) -> None:
    """Close as Django does, without the signal that closes the test's connection."""
    for closer in response._resource_closers:
        closer()


@ai_usage(section="chat")
def function() -> Any:
    return post(BODY)


@ai_usage(section="chat")
def streaming_function() -> StreamingHttpResponse:
    return StreamingHttpResponse(post(BODY))


@ai_usage(section="chat")
def generator() -> Iterator[Any]:
    yield post(BODY)


@ai_usage(section="chat")
async def coroutine() -> Any:
    return await apost()


@ai_usage(section="chat")
async def async_generator() -> AsyncIterator[Any]:
    yield await apost()


def decorated() -> Any:
    return [function(), list(generator())]


def decorated_streaming() -> Any:
    response = streaming_function()
    body = list(response)
    close(response)
    return body


def decorated_async() -> Any:
    async def main() -> list[Any]:
        return [await coroutine(), [item async for item in async_generator()]]

    return asyncio.run(main())


def recorded_by_hand() -> Any:
    with ai_usage(section="chat", user=ADA) as usage:
        post(BODY)
        usage.record(ANSWER, metadata={"a": 1})
        usage.record(prompt_tokens=1, completion_tokens=2, error_message="x")
        return usage.calls >= 0, usage.cost is None or usage.cost >= 0


def in_threads() -> Any:
    found: list[str] = []
    with ai_usage(section="chat"), ThreadPoolExecutor(1) as pool:
        thread = threading.Thread(target=lambda: found.append("thread"))
        thread.start()
        thread.join()
        return [*found, pool.submit(lambda: "pool").result(), propagate(lambda: "propagated")()]


@functools.cache
def sockets() -> SocketProvider:
    return SocketProvider().__enter__()


def kinds(messages: list[Any]) -> list[Any]:
    """Return what is the same in each run of a scenario."""
    return [json.loads(message).get("type") for message in messages]


def over_a_socket(prompt: str = "Hello", path: str = "/v1/realtime") -> Any:
    update = {"audio": {"input": {"transcription": {"model": "gpt-4o-transcribe"}}}}
    asked = created(prompt) if path.endswith("realtime") else requested(prompt)
    seen: list[Any] = []
    ends = ("response.done", "response.completed", "error")
    with ai_usage(section="chat", user=ADA), connect(sockets().socket_url(path)) as socket:
        if path.endswith("realtime"):
            socket.send(json.dumps({"type": "session.update", "session": update}))
            socket.send(json.dumps({"type": "input_audio_buffer.commit"}))
        socket.send([asked[:5], asked[5:]])
        try:
            while not seen or kinds(seen)[-1] not in ends:
                seen.append(socket.recv(30))
        except ConnectionClosed as error:
            return [*kinds(seen), repr(error)]
    return kinds(seen)


def over_a_socket_of_responses() -> Any:
    return over_a_socket(path="/v1/responses")


def over_a_socket_that_refuses() -> Any:
    return over_a_socket("Refuse", "/v1/responses")


def over_a_socket_that_breaks() -> Any:
    return over_a_socket("Break off")


def over_a_socket_of_gemini() -> Any:
    path = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
    turn = {"turns": [{"parts": [{"text": "Tool"}]}], "turnComplete": True}
    answer = {"functionResponses": [{"id": "1", "name": "look", "response": {}}]}
    number = 0
    with connect(sockets().socket_url(path)) as socket:
        socket.send(json.dumps({"setup": {"model": "models/gemini-live"}}))
        socket.send(json.dumps({"clientContent": turn}))
        while "toolCall" not in "".join(socket.recv_streaming(decode=True)):
            number += 1
        socket.send(json.dumps({"toolResponse": answer}))
        while '"turnComplete"' not in str(socket.recv(30)):
            number += 1
    return number


def over_a_socket_of_asyncio() -> Any:
    async def main() -> Any:
        async with aconnect(sockets().socket_url("/v1/responses")) as socket, ai_usage():
            await socket.send(requested("Hello"))
            first = "".join([part async for part in socket.recv_streaming(decode=True)])
            return kinds([first, *[await socket.recv() for _ in range(4)]])

    return asyncio.run(main())


def over_a_socket_of_aiohttp(prompt: str = "Hello") -> Any:
    async def main() -> Any:
        url = sockets().socket_url("/v1/responses")
        async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
            await socket.send_str(requested(prompt))
            messages = [await socket.receive() for _ in range(5)]
            return [str(message.type) for message in messages]

    return asyncio.run(main())


def over_a_socket_of_aiohttp_that_breaks() -> Any:
    return over_a_socket_of_aiohttp("Hang up")


SCENARIOS: list[Callable[[], Any]] = [
    plain,
    streamed,
    without_block,
    refused,
    failed,
    left,
    forgotten,
    huge,
    long_request,
    responses,
    anthropic,
    gemini,
    unknown_host,
    through_requests,
    through_requests_streamed,
    through_requests_raw,
    through_requests_failed,
    through_botocore,
    through_botocore_streamed,
    through_aiohttp,
    through_aiohttp_streamed,
    asked_for_usage,
    asked_for_usage_in_vain,
    asked_for_usage_through_requests,
    on_an_event_loop,
    lazily_on_an_event_loop,
    in_a_request,
    in_a_body,
    in_an_async_request,
    in_an_async_body,
    decorated,
    decorated_streaming,
    decorated_async,
    recorded_by_hand,
    in_threads,
    over_a_socket,
    over_a_socket_of_responses,
    over_a_socket_that_refuses,
    over_a_socket_that_breaks,
    over_a_socket_of_gemini,
    over_a_socket_of_asyncio,
    over_a_socket_of_aiohttp,
    over_a_socket_of_aiohttp_that_breaks,
]


@pytest.fixture(autouse=True)
def _site(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> Iterator[None]:
    settings.AI_USAGE_RAISE_ERRORS = False
    # On a site the delivery thread does this; here it would be the host's own work.
    monkeypatch.setattr(inline, "deliver", lambda *_, **__: None)
    caplog.set_level(logging.ERROR, logger="ai_usage_tracker")
    yield
    outbox.get().clear()


def assert_unnoticed(run: Callable[[], Any], expected: Any, place: Line) -> str:
    """Run with a fault at `place`; return the problem with the outcome, "" if there is none."""
    before = errors.failures.total()
    problems = []
    try:
        if run_with_fault(run, place) != expected:
            problems.append("another answer")
    except BaseException as error:  # noqa: BLE001 -- that is what is looked for
        problems.append(f"{type(error).__name__} reached the host")
    if errors.failures.total() == before:
        problems.append("not counted")
    if scope.open_units:
        scope.open_units.clear()
        problems.append("a unit stays open")
    if (left := scope.current()) is not None:
        scope.leave(left)
        problems.append("a scope stays set")
    if scope.gate.locked():
        scope.gate.release()
        problems.append("the gate stays shut")
    return f"{place.file}:{place.number} {place.function}: {', '.join(problems)}" * bool(problems)


@pytest.mark.costly
@pytest.mark.parametrize("run", SCENARIOS)
def test_fault_in_any_line_is_not_noticed_by_the_host(
    run: Callable[[], Any], caplog: pytest.LogCaptureFixture
) -> None:
    expected = run()
    lines = assigned()[run]
    assert len(lines) > 10
    failures = []
    for place in lines:
        caplog.clear()
        failures.append(assert_unnoticed(run, expected, place))
        if not failures[-1] and not any(
            record.message.startswith("[TRACK_EXCEPTION]")
            and record.exc_info
            and isinstance(record.exc_info[1], BoomError)
            for record in caplog.records
        ):
            failures.append(f"{place}: not logged with its traceback")

    assert "\n".join(filter(None, failures)) == ""
    assert run() == expected
