"""What tools for tests do to the HTTP libraries; tests/sdks/test_mocks.py has the tools."""

from __future__ import annotations

import functools
import gc
import http.client
import io
import json
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any
from unittest import mock

import aiohttp
import boto3
import pytest
import requests
import urllib3
from asgiref.sync import async_to_sync
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.exceptions import ClientError, EndpointConnectionError
from botocore.stub import Stubber
from requests.adapters import HTTPAdapter

from project.stub import StubProvider
from tests.capture.test_transports import (
    ASKED,
    BODY,
    EVENTS,
    JSON_TYPE,
    READINGS,
    SSE_TYPE,
    URL,
    session,
)
from tests.support.cases import check_each
from tests.support.comparison import (
    assert_recorded_as_served,
    forget,
    only_row,
    rows,
    without_capture,
)
from usage_tracking import ai_usage, capture

pytestmark = pytest.mark.django_db


class Mocked(HTTPAdapter):
    """Answers with a body of a given kind."""

    def __init__(self, body: Callable[[bytes], Any], content: bytes) -> None:
        super().__init__()
        self._body, self._content = body, content

    def send(self, request: Any, *args: Any, **options: Any) -> requests.Response:
        raw = self._body(self._content)
        kind = SSE_TYPE if self._content is EVENTS else JSON_TYPE
        if isinstance(raw, urllib3.HTTPResponse):
            raw.headers.update(kind)
            return self.build_response(request, raw)
        response = requests.Response()
        response.status_code, response.request, response.raw = 200, request, raw
        response.headers.update(kind)
        return response


class ClosingReader(io.BytesIO):
    """As these tools have it: it is closed once an empty read was seen."""

    def read(self, *args: Any) -> bytes:
        data = b"" if self.closed else super().read(*args)
        if not data:
            self.close()
        return data


def of_responses(content: bytes) -> Any:
    """A response of urllib3 whose connection has ended before anything was read."""
    message = http.client.HTTPMessage()
    ended: Any = SimpleNamespace(isclosed=lambda: True, close=lambda: None, msg=message)
    return urllib3.HTTPResponse(
        ClosingReader(content), status=200, preload_content=False, original_response=ended
    )


def of_requests_mock(content: bytes) -> Any:
    return urllib3.HTTPResponse(
        ClosingReader(content), status=200, preload_content=False, enforce_content_length=False
    )


class OfVCR(http.client.HTTPResponse):
    """A response of `http.client`, whose methods do not take what urllib3's take."""

    def __init__(self, content: bytes) -> None:
        self._content = io.BytesIO(content)
        self.__dict__.update(fp=None, headers=http.client.HTTPMessage())

    def isclosed(self) -> bool:
        return False

    def read(self, amt: int | None = None, *, decode_content: Any = None) -> bytes:
        return self._content.read(amt)

    def read1(self, n: int = -1) -> bytes:
        return self._content.read1(n)

    def readline(self, limit: int | None = -1) -> bytes:
        return self._content.readline(limit)

    def readinto(self, buffer: Any) -> int:
        return self._content.readinto(buffer)

    def stream(self, amt: int = 65536, decode_content: bool | None = None) -> Iterator[bytes]:
        while data := self.read(amt):
            yield data
        yield b""


class OfMoto(io.BytesIO):
    def stream(self, **options: Any) -> Iterator[bytes]:
        while data := self.read(7):
            yield data


BODIES: dict[str, Callable[[bytes], Any]] = {
    "responses": of_responses,
    "requests-mock": of_requests_mock,
    "vcrpy": OfVCR,
    "a file": io.BytesIO,
}


class TestRequests:
    @pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
    def test_mocked_answer_is_read_as_without_capture_and_recorded(self, body: Any) -> None:
        def ask(reading: Callable[[requests.Response], Any], content: bytes) -> Any:
            with session(Mocked(body, content)) as client:
                try:
                    return reading(client.post(URL, json=ASKED, stream=True))
                except (AttributeError, TypeError, ValueError, urllib3.exceptions.HTTPError) as e:
                    return repr(e)  # not every tool's body has every method

        def check(name: str, content: bytes) -> None:
            forget()
            with without_capture():
                untouched = ask(READINGS[name], content)
            answer = ask(READINGS[name], content)

            assert answer == untouched
            row, has_failed = only_row(), isinstance(answer, str) and "Error(" in answer
            assert row.total_tokens == (None if has_failed else 80), row.metadata

        check_each(check, [(name, content) for name in READINGS for content in (BODY, EVENTS)])

    def test_answer_that_is_not_streamed_is_recorded(self) -> None:
        def check(name: str) -> None:
            forget()
            with session(Mocked(BODIES[name], BODY)) as client:
                assert client.post(URL, json=ASKED).content == BODY

            assert only_row().total_tokens == 80

        check_each(check, BODIES)

    def test_body_left_in_the_middle_is_unknown(self) -> None:
        def check(name: str) -> None:
            forget()
            with session(Mocked(BODIES[name], EVENTS)) as client:
                response = client.post(URL, json=ASKED, stream=True)
                next(response.iter_content(10))
                response.close()
                del response
                gc.collect()

            assert only_row().metadata["unknown"] == "stream abandoned"

        check_each(check, BODIES)


def mocked_request(calls: list[Any]) -> Any:
    """Replaces `ClientSession._request` by a function that answers without a server."""

    async def request(self: Any, method: str, url: Any, **options: Any) -> Any:
        calls.append((method, str(url)))
        content = mock.AsyncMock(spec=aiohttp.StreamReader)
        content.at_eof = lambda: True
        content.read.return_value = BODY
        answer = mock.Mock(status=200, headers=JSON_TYPE, _body=None, content=content)
        answer.read = lambda: answer.content.read()
        return answer

    return request


class TestAiohttp:
    @staticmethod
    async def ask(url: str, method: str = "post") -> Any:
        async with aiohttp.ClientSession() as client:
            ways = {
                "post": lambda: client.post(url, json=ASKED),
                "request": lambda: client.request("POST", url, json=ASKED),
                "lower case": lambda: client.request("post", url, json=ASKED),
            }
            response = await ways[method]()
            return await response.read()

    def test_replaced_method_is_captured(self) -> None:
        def check(method: str) -> None:
            forget()
            calls: list[Any] = []
            with mock.patch.object(aiohttp.ClientSession, "_request", mocked_request(calls)):
                assert async_to_sync(self.ask)(URL, method) == BODY

            assert len(calls) == 1
            assert only_row().total_tokens == 80

        check_each(check, ["post", "request", "lower case"])

    def test_method_that_calls_the_hooked_one_is_one_call(self, stub: StubProvider) -> None:
        hooked = aiohttp.ClientSession._request

        @functools.wraps(hooked)
        async def request(self: Any, *args: Any, **options: Any) -> Any:
            return await hooked(self, *args, **options)

        with mock.patch.object(aiohttp.ClientSession, "_request", request):
            async_to_sync(self.ask)(f"{stub.openai_url}/chat/completions")

        assert_recorded_as_served(rows(), stub.journal)

    def test_error_of_a_replaced_method_is_a_failed_call(self) -> None:
        async def request(self: Any, *args: Any, **options: Any) -> Any:
            raise aiohttp.ClientConnectionError("no mock for this")

        with (
            mock.patch.object(aiohttp.ClientSession, "_request", request),
            pytest.raises(aiohttp.ClientConnectionError, match="no mock"),
        ):
            async_to_sync(self.ask)(URL)

        assert only_row().error_message == "ClientConnectionError: no mock for this"

    def test_nothing_is_recorded_without_capture(self) -> None:
        request = mocked_request([])
        with (
            without_capture(),
            mock.patch.object(aiohttp.ClientSession, "_request", request),
        ):
            assert async_to_sync(self.ask)(URL) == BODY

        assert rows() == []

    def test_hook_is_in_place_afterwards(self, stub: StubProvider) -> None:
        with mock.patch.object(aiohttp.ClientSession, "_request", mocked_request([])):
            async_to_sync(self.ask)(URL)
        forget()

        async_to_sync(self.ask)(f"{stub.openai_url}/chat/completions")

        assert_recorded_as_served(rows(), stub.journal)
        assert all(status.hooked for status in capture.status() if status.transport == "aiohttp")


CLAUDE = json.dumps(
    {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "content": [{"type": "text", "text": "Hi"}],
        "usage": {"input_tokens": 50, "output_tokens": 30},
    }
).encode()
CONVERSE = json.dumps(
    {
        "output": {"message": {"role": "assistant", "content": [{"text": "Hi"}]}},
        "stopReason": "end_turn",
        "usage": {"inputTokens": 50, "outputTokens": 30, "totalTokens": 80},
    }
).encode()


class TestBotocore:
    @staticmethod
    def client(answer: Callable[[Any], Any], url: str | None = None) -> Any:
        client = boto3.client(
            "bedrock-runtime",
            region_name="us-east-1",
            endpoint_url=url,
            config=Config(retries={"total_max_attempts": 1}),
            aws_access_key_id="any",
            aws_secret_access_key="any",
        )
        client.meta.events.register(
            "before-send.bedrock-runtime", lambda request, **_: answer(request)
        )
        return client

    def test_answer_of_a_handler_is_recorded(self) -> None:
        def converse(body: Any) -> Any:
            client = self.client(lambda request: AWSResponse(request.url, 200, {}, body))
            answer = client.converse(modelId="m", messages=[])
            return answer["output"]["message"]["content"][0]["text"]

        def invoke(body: Any) -> Any:
            client = self.client(lambda request: AWSResponse(request.url, 200, {}, body))
            return client.invoke_model(modelId="m", body="{}")["body"].read()

        def check(ask: Callable[[Any], Any], body: Any, content: bytes) -> None:
            forget()
            with without_capture():
                untouched = ask(body(content))

            assert ask(body(content)) == untouched
            row = only_row()
            assert (row.provider, row.model_name, row.total_tokens) == ("aws", "m", 80)

        bodies = (OfMoto, OfVCR, of_responses)
        check_each(
            check,
            [(converse, body, CONVERSE) for body in bodies]
            + [(invoke, body, CLAUDE) for body in (OfMoto,)],
        )

    def test_refusal_of_a_handler_is_a_failed_call(self) -> None:
        body = b'{"message": "Too many requests"}'
        headers = {"x-amzn-errortype": "AccessDeniedException"}
        client = self.client(lambda request: AWSResponse(request.url, 403, headers, OfMoto(body)))

        with pytest.raises(ClientError, match="Too many requests"):
            client.converse(modelId="m", messages=[])

        row = only_row()
        assert (row.success, row.error_message) == (False, "HTTP 403 Too many requests")

    def test_error_of_a_handler_is_a_failed_call(self) -> None:
        def refuse(request: Any) -> None:
            raise EndpointConnectionError(endpoint_url=request.url)

        with pytest.raises(EndpointConnectionError), ai_usage(section="chat"):
            self.client(refuse).converse(modelId="m", messages=[])

        assert str(only_row().error_message).startswith("EndpointConnectionError: ")

    def test_handler_that_only_watches_is_not_a_call(self, stub: StubProvider) -> None:
        seen: list[Any] = []
        client = self.client(seen.append, f"{stub.url}/bedrock")

        client.converse(modelId="m", messages=[{"role": "user", "content": [{"text": "Hello"}]}])

        assert len(seen) == 1
        assert len(stub.journal) == 1
        assert only_row().success

    def test_stubber_sends_nothing_and_has_no_row(self) -> None:
        """It replaces the client's call above HTTP."""
        client = self.client(lambda request: None)
        with Stubber(client) as stubber:
            stubber.add_response("converse", json.loads(CONVERSE) | {"metrics": {"latencyMs": 1}})
            client.converse(modelId="m", messages=[])

        assert rows() == []
