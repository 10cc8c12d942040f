"""gRPC in the self-test: calls through grpc and the SDKs that send with it, and their server.

The call through grpc itself needs no generated messages, because one method of Vertex answers with
the JSON of OpenAI's chat. SDKs bring their messages along.
https://docs.cloud.google.com/vertex-ai/docs/reference/rpc/google.cloud.aiplatform.v1
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from typing import Any, NamedTuple

from .selftest_answers import MODEL, OPENAI_CHAT, TOKENS

_ENDPOINT = f"projects/{MODEL}/locations/global/endpoints/{MODEL}"
_CHAT = "/google.cloud.aiplatform.v1.PredictionService/ChatCompletions"
GENERATIVELANGUAGE = "google.ai.generativelanguage_v1beta"
AIPLATFORM = "google.cloud.aiplatform_v1"


class _HttpBody(NamedTuple):
    """What grpc's own call sends and receives, like a `google.api.HttpBody`."""

    data: bytes
    content_type: str = "application/json"
    endpoint: str = _ENDPOINT


_METHOD = {
    "request_serializer": lambda message: message.data,
    "response_deserializer": _HttpBody,
}


@contextmanager
def _server(method: str, answer: bytes) -> Iterator[str]:
    """Run a server on 127.0.0.1 that answers one method; yield its address."""
    grpc = import_module("grpc")
    service, _, name = method.lstrip("/").partition("/")
    handler = grpc.unary_unary_rpc_method_handler(lambda _request, _context: answer)
    with ThreadPoolExecutor(1) as pool:
        server = grpc.server(pool)
        server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler(service, {name: handler})]
        )
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            server.stop(1).wait()  # without a grace period, the client logs an error


def _chat_server() -> Any:
    return _server(_CHAT, json.dumps(OPENAI_CHAT.body).encode())


def _grpc(_: str) -> None:
    with _chat_server() as address, import_module("grpc").insecure_channel(address) as channel:
        channel.unary_unary(_CHAT, **_METHOD)(_HttpBody(b"{}"))


async def _agrpc(_: str) -> None:
    channel_of = import_module("grpc.aio").insecure_channel
    with _chat_server() as address:
        async with channel_of(address) as channel:
            await channel.unary_unary(_CHAT, **_METHOD)(_HttpBody(b"{}"))


#: The transport itself, sync and async.
GRPC_CALLS = (_grpc, _agrpc)


def _xai_server() -> Any:
    proto = import_module("xai_sdk.proto")
    prompt, completion = TOKENS
    usage = {"prompt_tokens": prompt, "completion_tokens": completion}
    output = {"finish_reason": "REASON_STOP", "message": {"content": "Yes."}}
    answer = proto.chat_pb2.GetChatCompletionResponse(
        id=MODEL, model=MODEL, outputs=[output], usage=usage
    )
    return _server("/xai_api.Chat/GetCompletion", answer.SerializeToString())


def _xai_chat(name: str, address: str) -> tuple[Any, Any]:
    """Return a client of xAI's SDK and what it asks."""
    sdk = import_module("xai_sdk")
    client = getattr(sdk, name)(api_key="none", api_host=address, use_insecure_channel=True)
    question = import_module("xai_sdk.chat").user("Are you there?")
    return client, client.chat.create(model=MODEL, messages=[question])


def _xai(_: str) -> None:
    with _xai_server() as address:
        client, chat = _xai_chat("Client", address)
        try:
            chat.sample()
        finally:
            client.close()


async def _axai(_: str) -> None:
    with _xai_server() as address:
        client, chat = _xai_chat("AsyncClient", address)
        try:
            await chat.sample()
        finally:
            await client.close()


#: xai-sdk, sync and async.
XAI_CALLS = (_xai, _axai)


def _google_server(module: str, service: str) -> Any:
    prompt, completion = TOKENS
    response = import_module(module).GenerateContentResponse
    answer = response(
        candidates=[{"content": {"role": "model", "parts": [{"text": "Yes."}]}}],
        usage_metadata={"prompt_token_count": prompt, "candidates_token_count": completion},
    )
    name = module.removeprefix("google.").replace("_v1", ".v1")
    return _server(f"/google.{name}.{service}/GenerateContent", response.serialize(answer))


def _google_client(module: str, service: str, channel: Any, *, is_async: bool) -> Any:
    """Return a client of a service of Google, on a channel of its own."""
    kind = "GrpcAsyncIO" if is_async else "Grpc"
    place = import_module(f"{module}.services.{_snake(service)}.transports")
    transport = getattr(place, f"{service}{kind}Transport")(channel=channel)
    name = f"{service}{'Async' * is_async}Client"
    return getattr(import_module(module), name)(transport=transport)


def _snake(service: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in service).lstrip("_")


_REQUEST = {"model": f"models/{MODEL}", "contents": [{"parts": [{"text": "Are you there?"}]}]}


def _google_calls(module: str, service: str) -> tuple[Callable[[str], Any], ...]:
    def call(_: str) -> None:
        with _google_server(module, service) as address:
            channel = import_module("grpc").insecure_channel(address)
            with _google_client(module, service, channel, is_async=False) as client:
                client.generate_content(request=_REQUEST)

    async def acall(_: str) -> None:
        with _google_server(module, service) as address:
            async with import_module("grpc.aio").insecure_channel(address) as channel:
                client = _google_client(module, service, channel, is_async=True)
                await client.generate_content(request=_REQUEST)

    return call, acall


#: The client libraries of Google, sync and async.
GENERATIVELANGUAGE_CALLS = _google_calls(GENERATIVELANGUAGE, "GenerativeService")
AIPLATFORM_CALLS = _google_calls(AIPLATFORM, "PredictionService")
