"""Providers over gRPC on this machine, with a journal of what they served.

A prompt may contain an instruction in brackets: `[stub status=400]` aborts the call, `[stub busy]`
refuses it the first time, `[stub cut]` ends a stream with an error after its first message, and
`[stub hold]` sends one message and then waits until the caller has left.
"""

from __future__ import annotations

import datetime
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from google.ai import generativelanguage_v1beta as gemini
from google.api.httpbody_pb2 import HttpBody
from google.cloud import aiplatform_v1, aiplatform_v1beta1
from google.protobuf.json_format import ParseDict
from xai_sdk.proto import (
    batch_pb2,
    chat_pb2,
    deferred_pb2,
    embed_pb2,
    image_pb2,
    sample_pb2,
    tokenize_pb2,
    video_pb2,
)

from project.stub import Served

WORDS = ("The sky ", "scatters ", "blue light.")
PROMPT, COMPLETION, CACHED, REASONING = 1000, 200, 400, 64
#: Seconds after which a call that does not end is given up.
LIMIT = 60.0


@dataclass(frozen=True)
class Answer:
    """What the stub answers to one method."""

    provider: str
    operation: str
    request: Any
    #: Returns the messages for the request; running totals are in each.
    messages: Callable[[Any, Served], list[Any]]
    streamed: bool = False
    #: What the journal has of it, beside what the request decides.
    counts: tuple[int | None, int | None, int | None, int | None] = (None, None, None, None)
    is_billed: bool = True
    field: str = "model"
    names_model: bool = True
    names_id: bool = True


class GRPCStub:
    """A server whose handlers know the AI methods of xAI and Google."""

    def __init__(self, directory: Path) -> None:
        self.journal: list[Served] = []
        #: Set when a held stream has sent its first message, and when its caller has left.
        self.held, self.left = threading.Event(), threading.Event()
        self._seen: set[str] = set()
        self._lock = threading.Lock()
        self.server = grpc.server(ThreadPoolExecutor(16))
        self.server.add_generic_rpc_handlers((_Handlers(self),))
        key, certificate = _certificate()
        self.roots = directory / "roots.pem"
        self.roots.write_bytes(certificate)
        credentials = grpc.ssl_server_credentials([(key, certificate)])
        self.xai = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        self.google = f"localhost:{self.server.add_secure_port('127.0.0.1:0', credentials)}"
        self.plain_google = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        self.gateways = {self.xai: "x-ai", self.google: "google", self.plain_google: "google"}
        self.server.start()

    def clear(self) -> None:
        self.journal.clear()
        self._seen.clear()
        self.held.clear()
        self.left.clear()

    def serve(self, path: str, data: bytes, context: Any) -> Iterator[bytes]:
        """Yield the messages of the answer to one request, and write the journal."""
        answer = ANSWERS[path]
        request = parse(answer.request, data)
        # A copy of the request's text: no order is in what is counted.
        prompt = str(request)
        served = self._served(path, answer, request)
        messages = answer.messages(request, served)
        if "[stub status=400" in prompt:
            self._refuse(served, context, grpc.StatusCode.INVALID_ARGUMENT, "The stub refuses.")
        if "[stub busy" in prompt and path not in self._seen:
            self._seen.add(path)
            self._refuse(served, context, grpc.StatusCode.UNAVAILABLE, "The stub is busy.")
        for index, message in enumerate(messages):
            if "[stub cut" in prompt and index == 1:
                self._refuse(served, context, grpc.StatusCode.INTERNAL, "The stub cuts.")
            if "[stub hold" in prompt and index == (1 if answer.streamed else 0):
                self._note(_failed(served))
                context.add_callback(self.left.set)
                self.held.set()
                self.left.wait(LIMIT)
                return
            if index == len(messages) - 1 and answer.is_billed:
                # Before the message, after which the caller may look.
                self._note(served)
            yield dump(message)

    def _refuse(self, served: Served, context: Any, code: Any, details: str) -> None:
        self._note(_failed(served))
        context.abort(code, details)

    def _note(self, served: Served) -> None:
        with self._lock:
            self.journal.append(replace(served, number=len(self.journal)))

    def _served(self, path: str, answer: Answer, request: Any) -> Served:
        named = str(getattr(request, answer.field, "")).rpartition("/")[2]
        prompt, completion, cached, reasoning = answer.counts
        return Served(
            number=0,
            path=path,
            provider=answer.provider,
            operation=answer.operation,
            model=named if answer.names_model else "",
            requested_model=named,
            response_id=f"answer-{time.monotonic_ns()}" if answer.names_id else "",
            prompt_tokens=prompt,
            completion_tokens=completion,
            cached_tokens=cached,
            cache_write_tokens=None,
            reasoning_tokens=reasoning,
            streamed=answer.streamed,
            status=200,
            prompt="",
            body=b"",
            completed=True,
        )


def _failed(served: Served) -> Served:
    return replace(
        served,
        model="",
        response_id="",
        prompt_tokens=None,
        completion_tokens=None,
        cached_tokens=None,
        reasoning_tokens=None,
        status=500,
        completed=False,
        failed=True,
    )


class _Handlers(grpc.GenericRpcHandler):  # type: ignore[misc]
    def __init__(self, stub: GRPCStub) -> None:
        self._stub = stub

    def service(self, details: Any) -> Any:
        path = details.method
        if path == "/site.Echo/Unary":
            return grpc.unary_unary_rpc_method_handler(lambda data, _: data)
        if path == "/site.Echo/Both":
            return grpc.stream_stream_rpc_method_handler(lambda data, _: data)
        style = dict(details.invocation_metadata).get("style", "")
        if path not in ANSWERS:
            return None
        streamed = ANSWERS[path].streamed if not style else style.endswith("stream")
        if style.startswith("stream"):
            if streamed:
                return grpc.stream_stream_rpc_method_handler(
                    lambda requests, context: self._stub.serve(path, _last(requests), context)
                )
            return grpc.stream_unary_rpc_method_handler(
                lambda requests, context: next(self._stub.serve(path, _last(requests), context))
            )
        if streamed:
            return grpc.unary_stream_rpc_method_handler(
                lambda request, context: self._stub.serve(path, request, context)
            )
        return grpc.unary_unary_rpc_method_handler(
            lambda request, context: next(self._stub.serve(path, request, context), b"")
        )


def _last(requests: Iterator[bytes]) -> bytes:
    return list(requests)[-1]


def parse(kind: Any, data: bytes) -> Any:
    return kind.deserialize(data) if hasattr(kind, "deserialize") else kind.FromString(data)


def dump(message: Any) -> bytes:
    kind = type(message)
    serialized: bytes = (
        kind.serialize(message) if hasattr(kind, "serialize") else message.SerializeToString()
    )
    return serialized


# xAI


def _xai_usage(share: float = 1.0) -> dict[str, Any]:
    written, thought = int(COMPLETION * share), int(REASONING * share)
    return {
        "prompt_tokens": PROMPT,
        "prompt_text_tokens": PROMPT,
        "cached_prompt_text_tokens": CACHED,
        "completion_tokens": written,
        "reasoning_tokens": thought,
        "total_tokens": PROMPT + written + thought,
        "cost_in_usd_ticks": int(50_000_000 * share),
    }


def _completion(request: Any, served: Served) -> list[Any]:
    output = {
        "message": {"content": "".join(WORDS), "role": "ROLE_ASSISTANT"},
        "finish_reason": "REASON_STOP",
    }
    fields = {"id": served.response_id, "model": request.model, "usage": _xai_usage()}
    data = {**fields, "outputs": [output], "created": "2026-11-27T12:00:00Z"}
    return [ParseDict(data, chat_pb2.GetChatCompletionResponse())]


def _chunks(request: Any, served: Served) -> list[Any]:
    found = []
    for index, word in enumerate(WORDS, 1):
        output: dict[str, Any] = {"delta": {"content": word, "role": "ROLE_ASSISTANT"}}
        if index == len(WORDS):
            output["finish_reason"] = "REASON_STOP"
        data = {
            "id": served.response_id,
            "model": request.model,
            "usage": _xai_usage(index / len(WORDS)),
            "outputs": [output],
        }
        found.append(ParseDict(data, chat_pb2.GetChatCompletionChunk()))
    return found


def _deferred(request: Any, served: Served) -> list[Any]:
    names = {"[stub pending]": "PENDING", "[stub expired]": "EXPIRED"}
    status = deferred_pb2.DeferredStatus.Value(names.get(request.request_id, "DONE"))
    answer = chat_pb2.GetDeferredCompletionResponse(status=status)
    if status == deferred_pb2.DONE:
        (completion,) = _completion(chat_pb2.GetCompletionsRequest(model="grok-4"), served)
        completion.id = f"answer-{request.request_id}"
        answer.response.CopyFrom(completion)
    return [answer]


def _video(request: Any, served: Served) -> list[Any]:
    del served
    if "[stub pending" in request.request_id:
        data: dict[str, Any] = {"status": "PENDING", "response": {"progress": 40}}
    elif "[stub failed" in request.request_id:
        error = {"code": "invalid_argument", "message": "The stub refuses."}
        data = {"status": "FAILED", "response": {"error": error}}
    else:
        video = {"url": "https://example.com/sky.mp4", "duration": 8, "respect_moderation": True}
        usage = {"cost_in_usd_ticks": 4_000_000_000}
        data = {"status": "DONE"}
        data["response"] = {"model": "grok-imagine-video", "video": video, "usage": usage}
    return [ParseDict(data, video_pb2.GetDeferredVideoResponse())]


def _batch(request: Any, served: Served) -> list[Any]:
    del served
    batch_id = getattr(request, "batch_id", "batch-1")
    data: dict[str, Any] = {"batch_id": batch_id, "create_time": "2026-11-27T12:00:00Z"}
    if request.DESCRIPTOR.name == "GetBatchRequest":
        is_pending = "[stub pending" in batch_id
        data["state"] = {"num_requests": 3, "num_success": 2, "num_error": 0 if is_pending else 1}
        data["state"]["num_pending"] = int(is_pending)
        data["cost_breakdown"] = {"total_cost_usd_ticks": 30_000_000}
    return [ParseDict(data, batch_pb2.Batch())]


def _sample(request: Any, served: Served) -> list[Any]:
    choice = {"text": "blue", "finish_reason": "REASON_STOP"}
    fields = {"id": served.response_id, "model": request.model, "usage": _xai_usage()}
    return [ParseDict({**fields, "choices": [choice]}, sample_pb2.SampleTextResponse())]


def _picture(request: Any, served: Served) -> list[Any]:
    del served
    data = {
        "model": request.model,
        "images": [{"url": "https://example.com/sky.png"}],
        "usage": {"cost_in_usd_ticks": 700_000_000},
    }
    return [ParseDict(data, image_pb2.ImageResponse())]


def _vectors(request: Any, served: Served) -> list[Any]:
    data = {
        "id": served.response_id,
        "model": request.model,
        "usage": {"num_text_embeddings": 1},
        "embeddings": [{"embeddings": [{"float_array": [0.5, 0.25]}]}],
    }
    return [ParseDict(data, embed_pb2.EmbedResponse(), ignore_unknown_fields=True)]


def _tokens(request: Any, served: Served) -> list[Any]:
    del request, served
    return [tokenize_pb2.TokenizeTextResponse()]


# Google


def _candidate(word: str, *, is_last: bool) -> dict[str, Any]:
    content = {"role": "model", "parts": [{"text": word}]}
    return {"content": content, **({"finish_reason": 1} if is_last else {})}


def _generated(kind: Any, thoughts: bool, words: tuple[str, ...]) -> Any:
    def messages(request: Any, served: Served) -> list[Any]:
        model = request.model.rpartition("/")[2]
        found = []
        for index, word in enumerate(words, 1):
            usage: dict[str, Any] = {
                "prompt_token_count": PROMPT,
                "candidates_token_count": COMPLETION * index // len(words),
                "cached_content_token_count": CACHED,
                "total_token_count": PROMPT + COMPLETION * index // len(words) + REASONING,
            }
            if thoughts:
                usage["thoughts_token_count"] = REASONING
            data = {
                "candidates": [_candidate(word, is_last=index == len(words))],
                "usage_metadata": usage,
                "model_version": model,
                **({"response_id": served.response_id} if thoughts else {}),
            }
            answer = kind(data)
            if not thoughts:
                # As the provider sends it to an SDK that does not know of thoughts: member 10.
                plain = kind.pb(answer)
                plain.usage_metadata.MergeFromString(bytes([10 << 3, REASONING]))
            found.append(answer)
        return found

    return messages


def _embedding(request: Any, served: Served) -> list[Any]:
    del request, served
    return [gemini.EmbedContentResponse({"embedding": {"values": [0.5, 0.25]}})]


def _embeddings(request: Any, served: Served) -> list[Any]:
    vectors = [{"values": [0.5, 0.25]} for _ in request.requests]
    del served
    return [gemini.BatchEmbedContentsResponse({"embeddings": vectors})]


def _count(kind: Any) -> Any:
    return lambda _request, _served: [kind({"total_tokens": 5})]


def _predictions(request: Any, served: Served) -> list[Any]:
    del served
    statistics = {"token_count": PROMPT // len(request.instances), "truncated": False}
    embeddings = {"values": [0.5, 0.25], "statistics": statistics}
    answer = aiplatform_v1.PredictResponse()
    for _ in request.instances:
        ParseDict({"embeddings": embeddings}, answer._pb.predictions.add())
    return [answer]


def _publisher_model(request: Any, served: Served) -> list[Any]:
    del served
    schema = "gs://google-cloud-aiplatform/schema/predict/instance/text_embedding_1.0.0.yaml"
    data = {
        "name": request.name,
        "predict_schemata": {"instance_schema_uri": schema},
        "publisher_model_template": (
            "projects/{user-project}/locations/{location}/" + request.name
        ),
    }
    return [aiplatform_v1.PublisherModel(data)]


CLAUDE = (
    'event: message_start\ndata: {"type": "message_start", "message": {"id": "ID", "type": '
    '"message", "role": "assistant", "model": "claude-sonnet-4-5", "content": [], "usage": '
    '{"input_tokens": 1000, "output_tokens": 1}}}\n\nevent: message_delta\ndata: {"type": '
    '"message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 200}}\n\n'
    'event: message_stop\ndata: {"type": "message_stop"}\n\n'
)


def _claude_streamed(request: Any, served: Served) -> list[Any]:
    del request
    data = CLAUDE.replace("ID", served.response_id).encode()
    kind = "text/event-stream"
    # Cut anywhere, as HTTP would.
    return [HttpBody(content_type=kind, data=part) for part in (data[:50], data[50:])]


def _claude(request: Any, served: Served) -> list[Any]:
    del request
    answer = {
        "id": served.response_id,
        "type": "message",
        "role": "assistant",
        "content": [],
        "model": "claude-sonnet-4-5",
        "stop_reason": "end_turn",
        "usage": {"input_tokens": PROMPT, "output_tokens": COMPLETION},
    }
    return [HttpBody(content_type="application/json", data=json.dumps(answer).encode())]


GEMINI = "/google.ai.generativelanguage.v1beta.GenerativeService"
VERTEX = "/google.cloud.aiplatform.v1.PredictionService"
_TOTALS = (PROMPT, COMPLETION + REASONING, CACHED, REASONING)


def _google(
    kind: Any, request: Any, *, thoughts: bool, streamed: bool, operation: str = "generate_content"
) -> Answer:
    words = WORDS if streamed else ("".join(WORDS),)
    return Answer(
        *("google", operation, request, _generated(kind, thoughts, words), streamed, _TOTALS),
        names_id=thoughts,
    )


def _vertex(version: Any, *, streamed: bool) -> Answer:
    kind, request = version.GenerateContentResponse, version.GenerateContentRequest
    return _google(kind, request, thoughts=True, streamed=streamed)


_CHAT = ("x-ai", "chat", chat_pb2.GetCompletionsRequest)
_CONTENT: Any = (gemini.GenerateContentResponse, gemini.GenerateContentRequest)
ANSWERS = {
    "/xai_api.Chat/GetCompletion": Answer(*_CHAT, messages=_completion, counts=_TOTALS),
    "/xai_api.Chat/GetCompletionChunk": Answer(
        *_CHAT, messages=_chunks, streamed=True, counts=_TOTALS
    ),
    "/xai_api.Chat/StartDeferredCompletion": Answer(
        *_CHAT,
        messages=lambda request, _served: [
            deferred_pb2.StartDeferredResponse(request_id=f"request-{request.user or 1}")
        ],
        is_billed=False,
    ),
    "/xai_api.Chat/GetDeferredCompletion": Answer(
        *("x-ai", "chat", deferred_pb2.GetDeferredRequest, _deferred, False, _TOTALS)
    ),
    **{
        f"/xai_api.Video/{name}": Answer(
            *("x-ai", "video_generation", request),
            messages=lambda request, _served: [
                deferred_pb2.StartDeferredResponse(request_id=f"video-{request.prompt}")
            ],
            is_billed=False,
        )
        for name, request in (
            ("GenerateVideo", video_pb2.GenerateVideoRequest),
            ("ExtendVideo", video_pb2.ExtendVideoRequest),
        )
    },
    "/xai_api.Video/GetDeferredVideo": Answer(
        *("x-ai", "video_generation", video_pb2.GetDeferredVideoRequest, _video), is_billed=False
    ),
    **{
        f"/xai_api.BatchMgmt/{name}": Answer("x-ai", "batch", request, _batch, is_billed=False)
        for name, request in (
            ("CreateBatch", batch_pb2.CreateBatchRequest),
            ("GetBatch", batch_pb2.GetBatchRequest),
        )
    },
    "/xai_api.Sample/SampleText": Answer(
        *("x-ai", "text_completion", sample_pb2.SampleTextRequest, _sample, False, _TOTALS)
    ),
    "/xai_api.Image/GenerateImage": Answer(
        *("x-ai", "image_generation", image_pb2.GenerateImageRequest, _picture),
        names_id=False,
    ),
    "/xai_api.Embedder/Embed": Answer("x-ai", "embeddings", embed_pb2.EmbedRequest, _vectors),
    "/xai_api.Tokenize/TokenizeText": Answer(
        *("x-ai", "", tokenize_pb2.TokenizeTextRequest, _tokens), is_billed=False
    ),
    f"{GEMINI}/GenerateContent": _google(*_CONTENT, thoughts=False, streamed=False),
    f"{GEMINI}/StreamGenerateContent": _google(*_CONTENT, thoughts=False, streamed=True),
    f"{GEMINI}/EmbedContent": Answer(
        *("google", "embeddings", gemini.EmbedContentRequest, _embedding),
        names_model=False,
        names_id=False,
    ),
    f"{GEMINI}/BatchEmbedContents": Answer(
        *("google", "embeddings", gemini.BatchEmbedContentsRequest, _embeddings),
        names_model=False,
        names_id=False,
    ),
    f"{GEMINI}/CountTokens": Answer(
        *("google", "", gemini.CountTokensRequest, _count(gemini.CountTokensResponse)),
        is_billed=False,
    ),
    f"{VERTEX}/GenerateContent": _vertex(aiplatform_v1, streamed=False),
    f"{VERTEX}/StreamGenerateContent": _vertex(aiplatform_v1, streamed=True),
    f"{VERTEX.replace('v1', 'v1beta1')}/GenerateContent": _vertex(
        aiplatform_v1beta1, streamed=False
    ),
    f"{VERTEX.replace('v1', 'v1beta1')}/StreamGenerateContent": _vertex(
        aiplatform_v1beta1, streamed=True
    ),
    f"{VERTEX}/RawPredict": Answer(
        *("google", "chat", aiplatform_v1.RawPredictRequest, _claude),
        counts=(PROMPT, COMPLETION, None, None),
        field="endpoint",
    ),
    f"{VERTEX}/StreamRawPredict": Answer(
        *("google", "chat", aiplatform_v1.StreamRawPredictRequest, _claude_streamed, True),
        counts=(PROMPT, COMPLETION, None, None),
        field="endpoint",
    ),
    f"{VERTEX}/Predict": Answer(
        *("google", "embeddings", aiplatform_v1.PredictRequest, _predictions, False),
        counts=(PROMPT, None, None, None),
        field="endpoint",
        names_model=False,
        names_id=False,
    ),
    "/google.cloud.aiplatform.v1.ModelGardenService/GetPublisherModel": Answer(
        *("google", "", aiplatform_v1.GetPublisherModelRequest, _publisher_model),
        is_billed=False,
    ),
    "/google.cloud.aiplatform.v1.LlmUtilityService/CountTokens": Answer(
        *("google", "", aiplatform_v1.CountTokensRequest),
        _count(aiplatform_v1.CountTokensResponse),
        is_billed=False,
    ),
}


def _certificate() -> tuple[bytes, bytes]:
    """Return a key and a certificate for this machine, in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return secret, certificate.public_bytes(serialization.Encoding.PEM)
