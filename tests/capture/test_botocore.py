"""The hook on botocore, with real boto3 clients and a server with chosen answers."""

from __future__ import annotations

import gc
import io
import json
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import botocore.config
import botocore.exceptions
import botocore.httpsession
import pytest
from botocore.awsrequest import AWSRequest
from botocore.response import StreamingBody
from django.contrib.auth.models import User
from django.test import override_settings
from hypothesis import given
from hypothesis import strategies as st

from project.stub import StubProvider
from tests.capture.test_transports import (
    ANSWER,
    ASKED,
    BODY,
    EVENTS,
    JSON_TYPE,
    SSE_TYPE,
    encoded,
    quick,
)
from tests.support.cases import check_each
from tests.support.comparison import (
    attributed,
    forget,
    leaves_a_socket,
    only_row,
    rows,
    without_capture,
)
from usage_tracking import ai_usage, pricing

pytestmark = [pytest.mark.django_db, pytest.mark.server]

Reading = Callable[[Any], Any]

READINGS: dict[str, Reading] = {
    "read": lambda body: body.read(),
    "read in steps": lambda body: list(iter(lambda: body.read(13), b"")),
    "iter_chunks": lambda body: list(body.iter_chunks(17)),
    "iter_lines": lambda body: list(body.iter_lines()),
    "readlines": lambda body: body.readlines(),
    "readinto": lambda body: bytes(_into(body)),
    "text": lambda body: io.TextIOWrapper(body._raw_stream).read(),
}


def _into(body: Any) -> bytearray:
    whole, buffer = bytearray(), bytearray(19)
    while count := body.readinto(buffer):
        whole += buffer[:count]
    return whole


class Session(botocore.httpsession.URLLib3Session):
    """Sends to any server, through the method that every boto3 client uses."""

    def post(self, url: str, *, streamed: bool, body: Any = None) -> Any:
        request = AWSRequest(
            method="POST",
            url=url,
            data=json.dumps(ASKED) if body is None else body,
            stream_output=streamed,
        )
        return self.send(request.prepare())


@contextmanager
def serving(
    pieces: list[bytes], headers: dict[str, str], *, declared: int | None = None, status: int = 200
) -> Iterator[str]:
    """Run a server that answers with these pieces, in chunks or with a declared length."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if declared is None:
                self.send_header("transfer-encoding", "chunked")
            else:
                self.send_header("content-length", str(declared))
            self.end_headers()
            for piece in pieces:
                chunk = b"%x\r\n%b\r\n" % (len(piece), piece) if piece else b""
                self.wfile.write(chunk if declared is None else piece)
            if declared is None:
                self.wfile.write(b"0\r\n\r\n")
            self.close_connection = True

        def log_message(self, format: str, *args: object) -> None: ...

    with (
        ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server,
        override_settings(AI_USAGE_GATEWAYS={f"127.0.0.1:{server.server_port}": "openai"}),
    ):
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1/chat/completions"
        finally:
            server.shutdown()
            thread.join()


def read_body(url: str, reading: str) -> Any:
    with ai_usage(section="chat"):
        response = Session().post(url, streamed=True)
        body = StreamingBody(response.raw, response.headers.get("content-length"))
        return READINGS[reading](body)


class TestReading:
    @pytest.mark.parametrize("reading", READINGS)
    def test_every_way_of_reading_gives_what_it_gives_without_capture(self, reading: str) -> None:
        pieces = [EVENTS[n : n + 50] for n in range(0, len(EVENTS), 50)]

        def check(declared: int | None) -> None:
            forget()
            with serving(pieces, SSE_TYPE, declared=declared) as url:
                taken = read_body(url, reading)
                with without_capture():
                    untouched = read_body(url, reading)

            assert taken == untouched
            assert only_row().total_tokens == 80

        check_each(check, [None, len(EVENTS)])

    def test_body_read_at_once_is_recorded(self) -> None:
        def check(encoding: str) -> None:
            forget()
            wire = encoded(BODY, encoding)
            headers = {**JSON_TYPE, "content-encoding": encoding or "identity"}
            with serving([wire], headers) as url, ai_usage(section="chat"):
                response = Session().post(url, streamed=False)

            assert response.content == wire
            assert only_row().total_tokens == 80

        check_each(check, ["", "gzip"])

    @quick
    @given(places=st.lists(st.integers(0, len(EVENTS)), max_size=30).map(sorted))
    def test_any_chunks_come_as_they_were_sent(self, places: list[int]) -> None:
        cut = zip([0, *places], [*places, len(EVENTS)], strict=True)
        pieces = [piece for a, b in cut if (piece := EVENTS[a:b])]
        with serving(pieces, SSE_TYPE) as url, ai_usage(section="chat") as usage:
            response = Session().post(url, streamed=True)
            taken = list(response.raw.stream())

        assert taken == pieces
        assert (usage.calls, usage.total_tokens) == (1, 80)


class TestEnds:
    def test_body_never_read_has_that_reason(self) -> None:
        with serving([EVENTS], SSE_TYPE) as url, ai_usage(section="chat"):
            Session().post(url, streamed=True).raw.close()

        assert only_row().metadata["unknown"] == "body never read"

    def test_body_left_in_the_middle_is_unknown(self) -> None:
        with serving([EVENTS], SSE_TYPE) as url, ai_usage(section="chat"):
            response = Session().post(url, streamed=True)
            next(response.raw.stream(10))
            response.raw.close()

        assert only_row().metadata["unknown"] == "stream abandoned"

    @leaves_a_socket
    def test_body_collected_without_close_is_unknown(self) -> None:
        with serving([EVENTS], SSE_TYPE) as url, ai_usage(section="chat"):
            response = Session().post(url, streamed=True)
            response.raw.read(10)
            del response
            gc.collect()

        assert only_row().metadata["unknown"] == "stream abandoned"

    def test_body_that_ends_too_early_is_what_it_is_without_capture(self) -> None:
        def read(url: str) -> str:
            with pytest.raises(botocore.exceptions.BotoCoreError) as caught:
                read_body(url, "read")
            return str(caught.value)

        with serving([EVENTS[:100]], SSE_TYPE, declared=len(EVENTS)) as url:
            told = read(url)
            with without_capture():
                assert read(url) == told

        row = only_row()
        assert (row.usage_source, row.total_tokens) == ("unknown", None)

    def test_unreachable_provider_is_recorded_and_raised(self, dead_stub: StubProvider) -> None:
        with (
            pytest.raises(botocore.exceptions.EndpointConnectionError),
            ai_usage(section="chat"),
        ):
            Session().post(f"{dead_stub.openai_url}/chat/completions", streamed=False)

        row = only_row()
        assert (row.provider, row.model_name, row.success) == ("openai", "gpt-4o-mini", False)
        assert row.error_message is not None
        assert row.error_message.startswith("EndpointConnectionError: ")


def test_other_services_of_aws_are_not_touched() -> None:
    with serving([b"<ListBucketResult/>"], {"content-type": "application/xml"}) as url:
        response = Session().post(url.removesuffix("/v1/chat/completions"), streamed=True)

        assert "read" not in vars(response.raw)
        assert response.content == b"<ListBucketResult/>"
    assert rows() == []


def test_retries_of_a_client_are_calls_of_their_own(user: User) -> None:
    """Return a real client of Bedrock, which retries twice."""
    with (
        serving([b'{"message": "slow down"}'], JSON_TYPE, status=429) as url,
        ai_usage(section="chat", user=user),
    ):
        client = boto3.client(
            "bedrock-runtime",
            region_name="eu-central-1",
            endpoint_url=url.removesuffix("/v1/chat/completions"),
            aws_access_key_id="any",
            aws_secret_access_key="any",
            config=botocore.config.Config(retries={"max_attempts": 2, "mode": "standard"}),
        )
        with pytest.raises(client.exceptions.ClientError):
            client.converse(
                modelId="amazon.nova-lite-v1:0",
                messages=[{"role": "user", "content": [{"text": "Hello"}]}],
            )

    assert [attributed(row) for row in rows()] == [("ada", "chat")] * 3
    assert not any(row.success for row in rows())


def test_answer_is_the_one_without_capture() -> None:
    with serving([BODY], JSON_TYPE) as url, ai_usage(section="chat") as usage:
        assert json.loads(Session().post(url, streamed=False).text) == ANSWER

    assert usage.total_tokens == 80


def test_stream_of_ten_megabytes_is_not_kept() -> None:
    event = b"data: " + json.dumps({**ANSWER, "usage": None}).encode() + b"\n\n"
    pieces = [event * 100] * (10 * 2**20 // (len(event) * 100)) + [EVENTS]
    pricing.warm_up()
    with serving(pieces, SSE_TYPE) as url, ai_usage(section="chat") as usage:
        response = Session().post(url, streamed=True)
        tracemalloc.start()
        try:
            most = 0
            for _ in response.raw.stream(2**14):
                most = max(most, tracemalloc.get_traced_memory()[0])
        finally:
            tracemalloc.stop()

    assert most < 4 * 2**20
    assert usage.total_tokens == 80
