"""gRPC without an SDK: every style of call, and every way in which one can end."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from pytest_django import Settings
from xai_sdk.proto import chat_pb2

from tests.sdks.grpc_fixtures import grpc_server, grpc_stub
from tests.sdks.grpc_stub import COMPLETION, PROMPT, REASONING, GRPCStub
from tests.support import comparison
from tests.support.providers import until, wait_for
from usage_tracking import ai_usage, capture
from usage_tracking.capture import grpc as hooks
from usage_tracking.capture import grpc_methods as methods
from usage_tracking.recorder import catch_up

__all__ = ["grpc_server", "grpc_stub"]

pytestmark = pytest.mark.django_db

WHOLE, CHUNKS = "/xai_api.Chat/GetCompletion", "/xai_api.Chat/GetCompletionChunk"
KINDS = {WHOLE: chat_pb2.GetChatCompletionResponse, CHUNKS: chat_pb2.GetChatCompletionChunk}
LIMIT = 60.0
KEY = "xai-Zm9vYmFyYmF6cXV4MTIzNDU2-x9Q"
STYLES = {
    "unary_unary": (WHOLE, False),
    "unary_stream": (CHUNKS, False),
    "stream_unary": (WHOLE, True),
    "stream_stream": (CHUNKS, True),
}


@pytest.fixture
def channel(grpc_stub: GRPCStub) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(grpc_stub.xai) as channel:
        yield channel


def request(prompt: str = "Why?") -> Any:
    message = {"role": "ROLE_USER", "content": [{"text": prompt}]}
    return chat_pb2.GetCompletionsRequest(model="grok-4", messages=[message])


def method(channel: Any, style: str) -> Any:
    path, _ = STYLES[style]
    make = getattr(channel, style)
    return make(
        path,
        request_serializer=chat_pb2.GetCompletionsRequest.SerializeToString,
        response_deserializer=KINDS[path].FromString,
    )


def asked(style: str, prompt: str = "Why?") -> Any:
    _, streams = STYLES[style]
    return iter([request(prompt)]) if streams else request(prompt)


def metadata(style: str) -> Any:
    return (("style", style), ("authorization", f"Bearer {KEY}"))


def call(channel: Any, style: str, prompt: str) -> list[Any]:
    answer = method(channel, style)(asked(style, prompt), metadata=metadata(style))
    return list(answer) if style.endswith("stream") else [answer]


def with_call(channel: Any, style: str, prompt: str) -> list[Any]:
    answer, ended = method(channel, style).with_call(asked(style, prompt), metadata=metadata(style))
    assert ended.code() is grpc.StatusCode.OK
    return [answer]


def future(channel: Any, style: str, prompt: str) -> list[Any]:
    answer = method(channel, style).future(asked(style, prompt), metadata=metadata(style))
    return [answer.result(LIMIT)]


SYNC = [
    *(pytest.param(call, style, id=style) for style in STYLES),
    *(
        pytest.param(with_call, style, id=f"{style} with_call")
        for style in STYLES
        if "_unary" in style
    ),
    *(pytest.param(future, style, id=f"{style} future") for style in STYLES if "_unary" in style),
]


async def acall(stub: GRPCStub, style: str, prompt: str) -> list[Any]:
    async with grpc.aio.insecure_channel(stub.xai) as channel:
        answer = method(channel, style)(asked(style, prompt), metadata=metadata(style))
        if style.endswith("stream"):
            return [message async for message in answer]
        return [await answer]


async def aread(stub: GRPCStub, style: str, prompt: str) -> list[Any]:
    async with grpc.aio.insecure_channel(stub.xai) as channel:
        streams = style.startswith("stream")
        args = () if streams else (asked(style, prompt),)
        answer = method(channel, style)(*args, metadata=metadata(style))
        if streams:
            await answer.write(request(prompt))
            await answer.done_writing()
        if not style.endswith("stream"):
            return [await answer]
        found = []
        while (message := await answer.read()) is not grpc.aio.EOF:
            found.append(message)
        return found


@pytest.mark.parametrize(("way", "style"), SYNC)
def test_call_is_recorded_before_its_caller_goes_on(
    grpc_stub: GRPCStub, channel: Any, user: User, way: Callable[..., Any], style: str
) -> None:
    with comparison.without_capture():
        untouched = way(channel, style, "Why?")
    grpc_stub.clear()

    with ai_usage(section="chat", user=user) as usage:
        answer = way(channel, style, "Why?")
        assert usage.calls == 1

    assert [str(part.outputs) for part in answer] == [str(part.outputs) for part in untouched]
    row = comparison.only_row()
    comparison.assert_recorded_as_served([row], grpc_stub.journal)
    assert comparison.attributed(row) == (user.get_username(), "chat")


@pytest.mark.parametrize("way", [acall, aread])
@pytest.mark.parametrize("style", STYLES)
def test_async_call_is_recorded_before_its_caller_goes_on(
    grpc_stub: GRPCStub, user: User, way: Callable[..., Any], style: str
) -> None:
    async def main() -> None:
        async with ai_usage(section="chat", user=user) as usage:
            await way(grpc_stub, style, "Why?")
            assert usage.calls == 1

    async_to_sync(main)()

    row = comparison.only_row()
    comparison.assert_recorded_as_served([row], grpc_stub.journal)
    assert comparison.attributed(row) == (user.get_username(), "chat")


@pytest.mark.parametrize(("way", "style"), SYNC)
@pytest.mark.parametrize(("is_wanted", "hint"), [(True, "-x9Q"), (False, None)])
def test_key_in_the_metadata(
    channel: Any,
    settings: Settings,
    way: Callable[..., Any],
    style: str,
    is_wanted: bool,
    hint: str | None,
) -> None:
    settings.AI_USAGE_KEY_HINT = is_wanted
    way(channel, style, "Why?")

    assert comparison.only_row().metadata.get("key_hint") == hint


@pytest.mark.parametrize("way", [acall, aread])
@pytest.mark.parametrize("style", STYLES)
def test_key_in_the_metadata_of_an_async_call(
    grpc_stub: GRPCStub, settings: Settings, way: Callable[..., Any], style: str
) -> None:
    settings.AI_USAGE_KEY_HINT = True
    async_to_sync(way)(grpc_stub, style, "Why?")

    assert comparison.only_row().metadata["key_hint"] == "-x9Q"


def test_metadata_of_any_shape(channel: Any, settings: Settings) -> None:
    settings.AI_USAGE_KEY_HINT = True
    key = ("authorization", f"Bearer {KEY}")
    ask = method(channel, "unary_unary")
    for given, hint in [(None, None), (iter([key]), None), ([key], "-x9Q"), ((key, key), "-x9Q")]:
        comparison.forget()
        ask(request(), metadata=given)

        assert comparison.only_row().metadata.get("key_hint") == hint
    comparison.forget()
    ask(request(), LIMIT, [key])

    assert comparison.only_row().metadata["key_hint"] == "-x9Q"


@pytest.mark.parametrize(("way", "style"), SYNC)
def test_refused_call_is_a_failed_row_with_the_status(
    grpc_stub: GRPCStub, channel: Any, way: Callable[..., Any], style: str
) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        way(channel, style, "[stub status=400]")

    assert "Watched" not in repr(raised.value)
    row = comparison.only_row()
    assert (row.success, row.error_message) == (False, "INVALID_ARGUMENT: The stub refuses.")
    comparison.assert_recorded_as_served([row], grpc_stub.journal)


@pytest.mark.parametrize("style", STYLES)
def test_refused_async_call_is_a_failed_row_with_the_status(
    grpc_stub: GRPCStub, style: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError):
        async_to_sync(acall)(grpc_stub, style, "[stub status=400]")

    assert comparison.only_row().error_message == "INVALID_ARGUMENT: The stub refuses."


def test_stream_that_breaks_has_partial_counts(channel: Any) -> None:
    with pytest.raises(grpc.RpcError):
        call(channel, "unary_stream", "[stub cut]")

    row = comparison.only_row()
    assert row.error_message == "INTERNAL: The stub cuts."
    assert row.prompt_tokens is None
    assert row.metadata["partial"] == {
        "prompt_tokens": PROMPT,
        "completion_tokens": COMPLETION // 3 + REASONING // 3,
    }


def dropped(channel: Any, stream: Any) -> None:
    del channel, stream


def cancelled(channel: Any, stream: Any) -> None:
    del channel
    stream.cancel()


def closed(channel: Any, stream: Any) -> None:
    del stream
    channel.close()


@pytest.mark.parametrize("leave", [dropped, cancelled, closed])
def test_stream_that_the_site_leaves_is_unknown_with_partial_counts(
    grpc_stub: GRPCStub, leave: Callable[[Any, Any], None]
) -> None:
    channel = grpc.insecure_channel(grpc_stub.xai)
    with ai_usage() as usage:
        stream = method(channel, "unary_stream")(request("[stub hold]"))
        next(stream)
        wait_for(grpc_stub.held, "the first message")
        leave(channel, stream)
        del stream
        wait_for(grpc_stub.left, "the end of the call")
        channel.close()
        wait_for_call(usage)

    row = comparison.only_row()
    assert (row.success, row.prompt_tokens) == (True, None)
    assert row.metadata["unknown"] == "stream abandoned"
    assert row.metadata["partial"]["prompt_tokens"] == PROMPT


def wait_for_call(usage: Any) -> None:
    """Wait until a call is recorded that its reader has left."""

    def is_recorded() -> bool:
        catch_up()
        return bool(usage.calls)

    async_to_sync(until)(is_recorded, "a recorded call")


def test_async_stream_whose_task_is_cancelled_is_unknown(grpc_stub: GRPCStub) -> None:
    async def main() -> None:
        async with grpc.aio.insecure_channel(grpc_stub.xai) as channel:
            stream = method(channel, "unary_stream")(request("[stub hold]"))
            has_read = asyncio.Event()
            reading = asyncio.ensure_future(read(stream, has_read))
            await until(has_read.is_set, "the first message")
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading

    async def read(stream: Any, has_read: asyncio.Event) -> None:
        async for _ in stream:
            has_read.set()

    async_to_sync(main)()

    row = comparison.only_row()
    assert row.metadata["unknown"] == "stream abandoned"
    assert row.metadata["partial"]["prompt_tokens"] == PROMPT


def test_deadline_is_a_failed_row(channel: Any) -> None:
    with pytest.raises(grpc.RpcError):
        method(channel, "unary_unary")(request("[stub hold]"), timeout=0.2)

    assert comparison.only_row().error_message == "DEADLINE_EXCEEDED: Deadline Exceeded"


def test_reader_that_stops_at_the_last_message_has_the_usage(
    grpc_stub: GRPCStub, channel: Any
) -> None:
    with ai_usage() as usage:
        stream = method(channel, "unary_stream")(request())
        for message in stream:
            if message.outputs[0].finish_reason:
                break
        del stream, message
        gc.collect()
        wait_for_call(usage)

    comparison.assert_recorded_as_served([comparison.only_row()], grpc_stub.journal)


def test_interceptors_of_others_stay_and_see_the_same(grpc_stub: GRPCStub, channel: Any) -> None:
    seen: list[str] = []

    class Interceptor(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):
        def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
            seen.append(details.method)
            return continuation(details, request)

        def intercept_unary_stream(self, continuation: Any, details: Any, request: Any) -> Any:
            seen.append(details.method)
            return continuation(details, request)

    intercepted = grpc.intercept_channel(channel, Interceptor())
    for style in ("unary_unary", "unary_stream"):
        call(intercepted, style, "Why?")
    with_call(intercepted, "unary_unary", "Why?")
    future(intercepted, "unary_unary", "Why?")

    assert seen == [WHOLE, CHUNKS, WHOLE, WHOLE]
    comparison.assert_recorded_as_served(comparison.rows(), grpc_stub.journal)


def test_async_interceptors_of_others_stay(grpc_stub: GRPCStub) -> None:
    seen: list[bytes] = []

    class Interceptor(grpc.aio.UnaryUnaryClientInterceptor):
        async def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
            seen.append(details.method)
            return await continuation(details, request)

    async def main() -> None:
        async with grpc.aio.insecure_channel(
            grpc_stub.xai, interceptors=[Interceptor()]
        ) as channel:
            await method(channel, "unary_unary")(request())
            with pytest.raises(grpc.aio.AioRpcError):
                await method(channel, "unary_unary")(request("[stub status=400]"))

    async_to_sync(main)()

    assert len(seen) == 2
    comparison.assert_recorded_as_served(comparison.rows(), grpc_stub.journal)


def test_other_services_get_what_grpc_made(grpc_stub: GRPCStub, channel: Any) -> None:
    made = channel.unary_unary("/site.Echo/Unary")
    both = channel.stream_stream("/site.Echo/Both")

    assert type(made).__module__ == type(both).__module__ == "grpc._channel"
    assert made(b"hello") == b"hello"
    assert list(both(iter([b"a", b"b"]))) == [b"a", b"b"]
    assert comparison.rows() == []


def test_channels_and_methods_keep_their_classes(channel: Any) -> None:
    assert type(channel) is grpc._channel.Channel
    assert isinstance(channel, grpc.Channel)
    assert isinstance(method(channel, "unary_unary"), grpc.UnaryUnaryMultiCallable)
    stream = method(channel, "unary_stream")(request())
    assert isinstance(stream, grpc._channel._MultiThreadedRendezvous)
    assert type(stream).__name__ == "_MultiThreadedRendezvous"
    assert len(list(stream)) == 3
    assert stream.code() is grpc.StatusCode.OK


def test_messages_without_deserializers_pass_untouched(grpc_stub: GRPCStub, channel: Any) -> None:
    data = channel.unary_unary(WHOLE)(request().SerializeToString())

    answer = chat_pb2.GetChatCompletionResponse.FromString(data)
    assert answer.usage.prompt_tokens == PROMPT
    assert comparison.only_row().metadata["unknown"] == "no usage in the answer"


def test_stub_from_before_capture_is_captured_if_it_is_made_again(
    grpc_stub: GRPCStub, channel: Any
) -> None:
    capture.uninstall()
    try:
        assert not hooks.is_hooked(grpc)
        old = method(channel, "unary_unary")
    finally:
        capture.install(True)
    old(request())
    assert comparison.rows() == []

    method(channel, "unary_unary")(request())
    comparison.assert_recorded_as_served(comparison.rows(), grpc_stub.journal[1:])


def test_channel_from_before_capture_is_of_its_provider(grpc_stub: GRPCStub) -> None:
    with comparison.without_capture():
        channel = grpc.insecure_channel(grpc_stub.xai)
    with channel:
        method(channel, "unary_unary")(request())

    async def main() -> None:
        with comparison.without_capture():
            channel = grpc.aio.insecure_channel(f"dns:///{grpc_stub.xai}")
        async with channel:
            await method(channel, "unary_unary")(request())

    asyncio.run(main())
    assert [row.provider for row in comparison.rows()] == ["x-ai", "x-ai"]


def test_stubs_made_under_capture_record_nothing_once_it_is_off(
    grpc_stub: GRPCStub, channel: Any, settings: Any
) -> None:
    made = method(channel, "unary_unary")
    settings.AI_USAGE_ENABLED = False
    made(request())

    assert comparison.rows() == []


def test_stubs_made_under_capture_record_nothing_while_it_is_uninstalled(
    grpc_stub: GRPCStub, channel: Any
) -> None:
    made = method(channel, "unary_unary")
    with comparison.without_capture():
        made(request())
    assert comparison.rows() == []

    made(request())
    assert comparison.only_row().prompt_tokens == PROMPT


def test_streams_without_a_thread_of_grpc_are_recorded(grpc_stub: GRPCStub) -> None:
    option = grpc.experimental.ChannelOptions.SingleThreadedUnaryStream
    with grpc.insecure_channel(grpc_stub.xai, options=[(option, 1)]) as channel:
        with ai_usage() as usage:
            assert len(call(channel, "unary_stream", "Why?")) == 3
            assert usage.calls == 1
        with ai_usage() as usage:
            stream = method(channel, "unary_stream")(request("[stub hold]"))
            next(stream)
            del stream
            wait_for_call(usage)

    whole, left = comparison.rows()
    assert whole.prompt_tokens == PROMPT
    assert left.metadata["unknown"] == "stream abandoned"


def broken(_message: Any) -> Any:
    raise RuntimeError("ours is broken")


@pytest.mark.parametrize("style", STYLES)
def test_error_of_ours_reaches_no_caller(
    grpc_stub: GRPCStub, channel: Any, monkeypatch: Any, settings: Any, style: str
) -> None:
    settings.AI_USAGE_RAISE_ERRORS = False
    found = methods.find(STYLES[style][0])
    assert found is not None
    unreadable = found._replace(read=broken)
    monkeypatch.setattr(hooks, "find", lambda _: unreadable)

    assert len(call(channel, style, "Why?")) == (3 if style.endswith("stream") else 1)
    assert len(async_to_sync(acall)(grpc_stub, style, "Why?")) in {1, 3}

    told = [(row.success, row.prompt_tokens) for row in comparison.rows()]
    assert told == [(True, None)] * 2


def test_many_streams_are_recorded_once_each(grpc_stub: GRPCStub, channel: Any) -> None:
    for _ in range(100):
        assert len(call(channel, "unary_stream", "Why?")) == 3

    comparison.assert_recorded_as_served(comparison.rows(), grpc_stub.journal)
    assert len(grpc_stub.journal) == 100
