"""Tools that answer a site's requests in its tests: one row per answered call.

Each test runs without and with capture: what the site and the tool saw must be the same.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from textwrap import dedent
from typing import Any

import aiohttp
import aioresponses
import betamax
import boto3
import httpx
import httpx2
import moto
import openai
import pytest
import requests
import requests_mock
import responses
import respx
import vcr
from botocore.awsrequest import AWSResponse
from pytest_django import Settings

from tests.support.children import run_python
from tests.support.comparison import without_capture
from usage_tracking import capture
from usage_tracking.testing import captured_ai_usage

MOCKED = "https://api.openai.com/v1"
MODEL = "anthropic.claude-3-haiku-20240307-v1:0"
COUNTS = {"prompt_tokens": 5, "completion_tokens": 6, "total_tokens": 11}
HEAD = {"id": "c1", "created": 1, "model": "gpt-4o"}
MESSAGE = {"role": "assistant", "content": "Hi"}
ANSWER = json.dumps(
    HEAD
    | {
        "object": "chat.completion",
        "choices": [{"index": 0, "message": MESSAGE, "finish_reason": "stop"}],
        "usage": COUNTS,
    }
).encode()
CHUNK = HEAD | {"object": "chat.completion.chunk"}
STREAM = "".join(
    f"data: {data}\n\n"
    for data in (
        json.dumps(CHUNK | {"choices": [{"index": 0, "delta": MESSAGE}]}),
        json.dumps(CHUNK | {"choices": [], "usage": COUNTS}),
        "[DONE]",
    )
).encode()
CLAUDE = json.dumps(
    {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-3-haiku-20240307",
        "content": [{"type": "text", "text": "Hi"}],
        "usage": {"input_tokens": 5, "output_tokens": 6},
    }
).encode()

#: Asks a question at a URL and returns the body that the site got.
Client = Callable[[str, bool], bytes]


def asked(streamed: bool) -> Any:
    options = {"stream": True, "stream_options": {"include_usage": True}} if streamed else {}
    return {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}], **options}


def answer(streamed: bool) -> tuple[bytes, str]:
    return (STREAM, "text/event-stream") if streamed else (ANSWER, "application/json")


def with_client(library: Any, url: str, streamed: bool, **options: Any) -> bytes:
    with library.Client(**options) as client:
        if not streamed:
            return client.post(f"{url}/chat/completions", json=asked(streamed)).content
        with client.stream("POST", f"{url}/chat/completions", json=asked(streamed)) as response:
            return b"".join(response.iter_bytes())


def with_async_client(library: Any, url: str, streamed: bool, **options: Any) -> bytes:
    async def main() -> bytes:
        async with library.AsyncClient(**options) as client:
            if not streamed:
                return (await client.post(f"{url}/chat/completions", json=asked(streamed))).content
            request = ("POST", f"{url}/chat/completions")
            async with client.stream(*request, json=asked(streamed)) as response:
                return b"".join([piece async for piece in response.aiter_bytes()])

    return asyncio.run(main())


def with_requests(url: str, streamed: bool) -> bytes:
    with requests.Session() as session:
        return in_session(session, url, streamed)


def in_session(session: requests.Session, url: str, streamed: bool) -> bytes:
    response = session.post(f"{url}/chat/completions", json=asked(streamed), stream=streamed)
    return b"".join(response.iter_content(7)) if streamed else response.content


def with_aiohttp(url: str, streamed: bool) -> bytes:
    async def main() -> bytes:
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{url}/chat/completions", json=asked(streamed)) as response,
        ):
            if not streamed:
                return await response.read()
            return b"".join([piece async for piece in response.content.iter_any()])

    return asyncio.run(main())


def with_openai(url: str, streamed: bool) -> bytes:
    with openai.OpenAI(base_url=url, api_key="any", max_retries=0) as client:
        if not streamed:
            return client.chat.completions.create(**asked(streamed)).model_dump_json().encode()
        return b"\n".join(
            chunk.model_dump_json().encode()
            for chunk in client.chat.completions.create(**asked(streamed))
        )


def bedrock(url: str | None = None) -> Any:
    keys = {"aws_access_key_id": "any", "aws_secret_access_key": "any"}
    return boto3.client("bedrock-runtime", region_name="us-east-1", endpoint_url=url, **keys)


def with_boto3(url: str | None, streamed: bool, client: Any = None) -> bytes:
    """Read the body at once, or in pieces; Bedrock's streams have events of their own."""
    client = client or bedrock(url)
    body = client.invoke_model(modelId=MODEL, body=json.dumps({"messages": []}))["body"]
    return b"".join(body.iter_chunks(7)) if streamed else body.read()


@pytest.fixture(params=[False, True], ids=["plain", "streamed"])
def streamed(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@contextmanager
def one_row_each() -> Iterator[list[Any]]:
    """Check that each answer that the block puts into the list has one row, with its tokens."""
    answers: list[bytes] = []
    with captured_ai_usage() as calls:
        yield answers

    assert answers
    assert all(answers)
    assert [(call.prompt_tokens, call.completion_tokens) for call in calls] == [(5, 6)] * len(
        answers
    )
    assert all(call.success and "unknown" not in call.metadata for call in calls)
    hooked = {status.transport for status in capture.status() if status.hooked}
    assert hooked == {"httpx", "httpx2", "requests", "aiohttp", "botocore"}


def check(ask: Callable[[], tuple[list[bytes], int]]) -> None:
    """Check calls, given with what the tool counted, without and with capture."""
    with without_capture(), captured_ai_usage() as calls:
        untouched = ask()
    assert not calls
    with one_row_each() as answers:
        seen = ask()
        answers += seen[0]
    assert seen == untouched


LIBRARIES = pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])


@LIBRARIES
def test_mock_transport(library: Any, streamed: bool) -> None:
    def ask() -> tuple[list[bytes], int]:
        seen: list[Any] = []

        def respond(request: Any) -> Any:
            seen.append(request)
            body, kind = answer(streamed)
            return library.Response(200, content=body, headers={"content-type": kind})

        transport = library.MockTransport(respond)
        return [
            with_client(library, MOCKED, streamed, transport=transport),
            with_async_client(library, MOCKED, streamed, transport=transport),
        ], len(seen)

    check(ask)


@pytest.mark.parametrize("using", ["httpcore", "httpx"])
def test_respx(using: str, streamed: bool) -> None:
    def ask() -> tuple[list[bytes], int]:
        body, kind = answer(streamed)
        with respx.mock(using=using) as router:
            route = router.post(f"{MOCKED}/chat/completions")
            route.respond(200, content=body, headers={"content-type": kind})
            return [
                with_client(httpx, MOCKED, streamed),
                with_async_client(httpx, MOCKED, streamed),
            ], route.call_count

    check(ask)


@pytest.mark.parametrize(("library", "fixture"), [(httpx, "httpx_mock"), (httpx2, "httpx2_mock")])
def test_pytest_httpx(
    library: Any, fixture: str, streamed: bool, request: pytest.FixtureRequest
) -> None:
    body, kind = answer(streamed)
    mock = request.getfixturevalue(fixture)
    mock.add_response(content=body, headers={"content-type": kind}, is_reusable=True)

    def ask() -> tuple[list[bytes], int]:
        before = len(mock.get_requests())
        return [
            with_client(library, MOCKED, streamed),
            with_async_client(library, MOCKED, streamed),
        ], len(mock.get_requests()) - before

    check(ask)


def test_responses(streamed: bool) -> None:
    def ask() -> tuple[list[bytes], int]:
        body, kind = answer(streamed)
        with responses.RequestsMock() as mock:
            mock.post(f"{MOCKED}/chat/completions", body=body, content_type=kind)
            return [with_requests(MOCKED, streamed)], len(mock.calls)

    check(ask)


def test_requests_mock(streamed: bool) -> None:
    def ask() -> tuple[list[bytes], int]:
        body, kind = answer(streamed)
        with requests_mock.Mocker() as mock:
            mock.post(f"{MOCKED}/chat/completions", content=body, headers={"content-type": kind})
            return [with_requests(MOCKED, streamed)], mock.call_count

    check(ask)


def test_requests_mock_of_one_session(streamed: bool) -> None:
    def ask() -> tuple[list[bytes], int]:
        body, kind = answer(streamed)
        with requests.Session() as session, requests_mock.Mocker(session=session) as mock:
            mock.post(f"{MOCKED}/chat/completions", content=body, headers={"content-type": kind})
            return [in_session(session, MOCKED, streamed)], mock.call_count

    check(ask)


def test_aioresponses(streamed: bool) -> None:
    def ask() -> tuple[list[bytes], int]:
        body, kind = answer(streamed)
        with aioresponses.aioresponses() as mock:
            mock.post(f"{MOCKED}/chat/completions", body=body, content_type=kind)
            return [with_aiohttp(MOCKED, streamed)], sum(map(len, mock.requests.values()))

    check(ask)


@pytest.fixture
def server(settings: Settings) -> Iterator[str]:
    """A server whose answers to equal questions are equal, byte for byte."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            body, kind = answer(bool(asked.get("stream")))
            if self.path.startswith("/aws/"):
                body = CLAUDE
            self.send_response_only(200)
            self.send_header("Content-Type", kind)
            if "/gzip/" in self.path:
                body = gzip.compress(body, mtime=0)
                self.send_header("Content-Encoding", "gzip")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        address = f"127.0.0.1:{httpd.server_port}"
        settings.AI_USAGE_GATEWAYS = {f"{address}/openai": "openai", f"{address}/aws": "aws"}
        thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://{address}"
        httpd.shutdown()
        thread.join()


#: A cassette for one call: recorded if its file does not exist, otherwise replayed.
Cassette = Callable[[Path], AbstractContextManager[Any]]


def check_cassette(tmp_path: Path, ask: Callable[[Path], bytes]) -> None:
    """Check a recording and a replay of one call, and the bytes of the cassette."""
    (without := tmp_path / "without").mkdir()
    (recorded := tmp_path / "recorded").mkdir()
    with without_capture(), captured_ai_usage() as calls:
        untouched = [ask(without), ask(without)]
    assert not calls
    with one_row_each() as answers:
        answers += [ask(recorded), ask(recorded)]
    assert answers == untouched
    (expected,), (cassette,) = without.iterdir(), recorded.iterdir()
    assert cassette.read_bytes() == expected.read_bytes()


CLIENTS: dict[str, Client] = {
    "httpx": partial(with_client, httpx),
    "httpx, async": partial(with_async_client, httpx),
    "httpx2": partial(with_client, httpx2),
    "httpx2, async": partial(with_async_client, httpx2),
    "requests": with_requests,
    "aiohttp": with_aiohttp,
    "openai": with_openai,
}


@pytest.mark.parametrize("path", ["openai", "openai/gzip"])
@pytest.mark.parametrize("name", CLIENTS)
def test_vcrpy(server: str, name: str, path: str, streamed: bool, tmp_path: Path) -> None:
    def ask(directory: Path) -> bytes:
        with vcr.use_cassette(directory / "cassette.yaml"):
            return CLIENTS[name](f"{server}/{path}", streamed)

    check_cassette(tmp_path, ask)


def test_vcrpy_with_boto3(server: str, streamed: bool, tmp_path: Path) -> None:
    changing = ["authorization", "x-amz-date", "amz-sdk-invocation-id"]

    def ask(directory: Path) -> bytes:
        with vcr.use_cassette(directory / "cassette.yaml", filter_headers=changing):
            return with_boto3(f"{server}/aws", streamed)

    check_cassette(tmp_path, ask)


def test_betamax(server: str, streamed: bool, tmp_path: Path) -> None:
    def ask(directory: Path) -> bytes:
        with requests.Session() as session:
            recorder = betamax.Betamax(session, cassette_library_dir=str(directory))
            with recorder.use_cassette("cassette"):
                return in_session(session, f"{server}/openai", streamed)

    with one_row_each() as answers:
        answers += [ask(tmp_path), ask(tmp_path)]


def test_moto(streamed: bool) -> None:
    """The mock of Bedrock answers with a text that has no usage."""
    with moto.mock_aws(), captured_ai_usage() as calls:
        assert with_boto3(None, streamed)

    (call,) = calls
    assert (call.provider, call.model_name, call.success) == ("aws", MODEL, True)
    assert call.metadata["unknown"] == "no usage in the answer"


class Raw(BytesIO):
    """The body of an answer that no server gave, as moto and the examples of botocore have it."""

    def stream(self, **options: Any) -> Iterator[bytes]:
        while piece := self.read(7):
            yield piece


def test_handler_of_before_send(streamed: bool) -> None:
    def ask() -> tuple[list[bytes], int]:
        seen: list[Any] = []

        def respond(request: Any, **options: Any) -> AWSResponse:
            seen.append(request)
            return AWSResponse(request.url, 200, {}, Raw(CLAUDE))

        client = bedrock()
        client.meta.events.register("before-send.bedrock-runtime", respond)
        return [with_boto3(None, streamed, client)], len(seen)

    check(ask)


@pytest.mark.parametrize("name", ["AI_USAGE_CAPTURE", "AI_USAGE_ENABLED"])
def test_one_setting_turns_the_rows_off(name: str, streamed: bool, settings: Settings) -> None:
    setattr(settings, name, False)
    body, kind = answer(streamed)
    with captured_ai_usage() as calls, respx.mock, responses.RequestsMock() as mock:
        route = respx.post(f"{MOCKED}/chat/completions")
        route.respond(200, content=body, headers={"content-type": kind})
        mock.post(f"{MOCKED}/chat/completions", body=body, content_type=kind)
        assert with_client(httpx, MOCKED, streamed) == body
        assert with_requests(MOCKED, streamed) == body
        with aioresponses.aioresponses() as mocked:
            mocked.post(f"{MOCKED}/chat/completions", body=body, content_type=kind)
            assert with_aiohttp(MOCKED, streamed) == body
        with moto.mock_aws():
            assert with_boto3(None, streamed)

    assert calls == []


#: A program that makes one call with a tool, and the module of the tool.
PROGRAMS = {
    "requests_mock": """
        import requests
        with requests_mock.Mocker() as mock:
            mock.post(URL, content=ANSWER)
            requests.post(URL, json=ASKED)
        """,
    "responses": """
        import requests
        with responses.RequestsMock() as mock:
            mock.post(URL, body=ANSWER)
            requests.post(URL, json=ASKED)
        """,
    "respx": """
        import httpx
        with respx.mock:
            respx.post(URL).respond(200, content=ANSWER)
            httpx.post(URL, json=ASKED)
        """,
    "vcr": """
        import asyncio, aiohttp
        async def main():
            async with aiohttp.ClientSession() as session:
                async with session.post(URL, json=ASKED) as response:
                    await response.read()
        with vcr.use_cassette(CASSETTE):
            asyncio.run(main())
        """,
    "aioresponses": """
        import asyncio, aiohttp
        async def main():
            async with aiohttp.ClientSession() as session:
                async with session.post(URL, json=ASKED) as response:
                    await response.read()
        with aioresponses.aioresponses() as mock:
            mock.post(URL, body=ANSWER)
            asyncio.run(main())
        """,
    "moto": """
        import boto3
        with moto.mock_aws():
            client = boto3.client("bedrock-runtime", region_name="us-east-1")
            client.invoke_model(modelId="m", body="{}")["body"].read()
        """,
}
CASSETTE = f"""
interactions:
- request: {{body: null, headers: {{}}, method: POST, uri: "{MOCKED}/chat/completions"}}
  response:
    body: {{string: {json.dumps(ANSWER.decode())}}}
    headers: {{Content-Type: [application/json]}}
    status: {{code: 200, message: OK}}
version: 1
"""


@pytest.mark.process
@pytest.mark.parametrize("first", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("tool", PROGRAMS)
def test_tool_may_be_imported_before_and_after_the_site_starts(
    tool: str, first: bool, tmp_path: Path
) -> None:
    cassette = tmp_path / "cassette.yaml"
    cassette.write_text(CASSETTE)
    program = f"""
    import {tool}
    from django.test.utils import setup_test_environment
    setup_test_environment()
    from usage_tracking.testing import captured_ai_usage
    URL, ANSWER, ASKED = {f"{MOCKED}/chat/completions"!r}, {ANSWER!r}, {asked(False)!r}
    CASSETTE = {str(cassette)!r}
    with captured_ai_usage() as calls:
        exec({dedent(PROGRAMS[tool])!r})
    print(len(calls))
    """

    out = run_python(
        tmp_path,
        program,
        settings="from tests.sdks.settings import INSTALLED_APPS, ROOT_URLCONF",
        first=f"import {tool}" if first else "",
        PYTHONWARNINGS="ignore",
        AWS_ACCESS_KEY_ID="any",
        AWS_SECRET_ACCESS_KEY="any",
    )

    assert out.strip() == "1"
