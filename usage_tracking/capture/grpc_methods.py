"""The AI methods of gRPC services, each as the REST call that does the same.

The providers offer the same methods over REST. So a call over gRPC is recognised, priced and read
as that call, by the tables and readers that exist for it, and this module only translates.

https://docs.x.ai/developers/grpc-api-reference, https://github.com/xai-org/xai-proto
https://ai.google.dev/api/generate-content (the `google.api.http` options of
https://github.com/googleapis/googleapis/tree/master/google/ai/generativelanguage)
https://docs.cloud.google.com/vertex-ai/docs/reference/rpc/google.cloud.aiplatform.v1

Not billed, hence not here: counting and tokenizing, models, keys, files and stored answers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

from ..formats.protobuf import Wanted, members, plain


class Piece(NamedTuple):
    """What the body of an HTTP response would contain."""

    data: bytes
    #: "" for JSON.
    content_type: str = ""


class Method(NamedTuple):
    """The REST call that does the same as a gRPC method."""

    #: The path; `{}` is the place of the resource that the request names.
    path: str
    #: Turns a message of the answer into JSON; None if it is not yet the answer.
    read: Callable[[Any], Piece | None]
    #: The field of the request that names the model or the resource.
    field: str = "model"
    verb: str = "POST"


def rest_path(method: Method, resource: str) -> str:
    """Return the path of the REST call for the resource that the request names."""
    return "/" + method.path.format(resource).lstrip("/")


@lru_cache(maxsize=1024)  # asked for each method of each stub, and by interceptors for each call
def find(path: str | bytes) -> Method | None:
    """Return the method of a gRPC path such as "/xai_api.Chat/GetCompletion"; None if unknown."""
    name = path.decode("utf-8", "replace") if isinstance(path, bytes) else path
    return _METHODS.get(_VERSION.sub("", name.lstrip("/")))


def named(request: Any, field: str) -> str:
    """Return what a request names in a field, "" if it does not have one."""
    value = getattr(request, field, "")
    return value if isinstance(value, str) else ""


def http_body(request: Any) -> bytes | None:
    """Return the body of the HTTP request that a request contains, None if it has none."""
    body = getattr(request, "http_body", None)
    data = getattr(body, "data", None)
    return data if isinstance(data, bytes) else None


#: The version in the name of a package: "google.ai.generativelanguage.v1beta".
_VERSION = re.compile(r"\.v\d\w*(?=\.)")


def _piece(data: dict[str, Any]) -> Piece:
    return Piece(json.dumps(data, separators=(",", ":")).encode())


_GENERATED: Wanted = {
    "usage_metadata": None,
    "model_version": None,
    "response_id": None,
    "prompt_feedback": {"block_reason": None},
    "candidates": {
        "finish_reason": None,
        "grounding_metadata": {
            "web_search_queries": None,
            "image_search_queries": None,
            "grounding_chunks": {"maps": {}},
        },
    },
}
_EMBEDDED: Wanted = {
    "usage_metadata": None,
    "embedding": {"values": {}},
    "embeddings": {"values": {}},
}
_PREDICTED: Wanted = {
    "predictions": {"embeddings": {"statistics": None}, "bytesBase64Encoded": {}},
    "metadata": {"tokenMetadata": None},
}


def _generated(message: Any) -> Piece:
    return _piece(members(message, _GENERATED))


def _embedded(message: Any) -> Piece:
    return _piece(members(message, _EMBEDDED))


def _predicted(message: Any) -> Piece:
    return _piece(members(message, _PREDICTED))


def _http(message: Any) -> Piece:
    """Return a `google.api.HttpBody`, which has the provider's own answer."""
    body = plain(message)
    return Piece(body.data, body.content_type or "application/json")


_COMPLETED: Wanted = {
    "id": None,
    "model": None,
    "created": None,
    "service_tier": None,
    "usage": None,
    "outputs": {"finish_reason": None, "delta": {"content": {}}},
    "choices": {"finish_reason": None},
}


def _completed(message: Any) -> Piece:
    return _piece(_completion(members(message, _COMPLETED, camel=False)))


def _begun(message: Any) -> Piece:
    return _piece(members(message, {"request_id": None}, camel=False))


def _deferred(message: Any) -> Piece | None:
    found = members(message, {"status": None, "response": _COMPLETED}, camel=False)
    status = found.get("status")
    if status in {"FAILED", "EXPIRED"}:
        return _piece(
            {"choices": [], "error": {"message": f"deferred completion {status.lower()}"}}
        )
    return _piece(_completion(found.get("response", {}))) if status == "DONE" else None


def _video(message: Any) -> Piece:
    wanted: Wanted = {
        "status": None,
        "response": {
            "model": None,
            "usage": None,
            "error": None,
            "video": {"duration": None, "respect_moderation": None},
        },
    }
    found = members(message, wanted, camel=False)
    answer = {"video": {"duration": 0}, **found.get("response", {})}
    return _piece({**answer, "status": str(found.get("status", "")).lower()})


_BATCH_STATE = ("num_requests", "num_pending", "num_success", "num_error", "num_cancelled")


def _batch(message: Any) -> Piece:
    wanted: Wanted = {
        "batch_id": None,
        "create_time": None,
        "state": None,
        "cost_breakdown": {"total_cost_usd_ticks": None},
    }
    found = members(message, wanted, camel=False)
    if "create_time" in found:
        found["create_time"] = found["create_time"].get("seconds")
    return _piece({**found, "state": dict.fromkeys(_BATCH_STATE, 0) | found.get("state", {})})


def _pictures(message: Any) -> Piece:
    found = members(message, {"model": None, "usage": None, "images": {"url": {}}}, camel=False)
    return _piece({**_with_usage(found), "data": [{"url": ""} for _ in found.pop("images", ())]})


def _vectors(message: Any) -> Piece:
    wanted: Wanted = {"id": None, "model": None, "usage": None, "embeddings": {"embedding": {}}}
    found = members(message, wanted, camel=False)
    return _piece({**found, "data": [{"embedding": []} for _ in found.pop("embeddings", ())]})


def _completion(found: dict[str, Any]) -> dict[str, Any]:
    """Return an answer or a chunk of xAI's chat as in its REST API."""
    if "created" in found:
        found["created"] = found["created"].get("seconds")
    if tier := found.get("service_tier"):
        found["service_tier"] = str(tier).removeprefix("SERVICE_TIER_").lower()
    found["choices"] = found.pop("outputs", None) or found.get("choices") or []
    for choice in found["choices"]:
        if "finish_reason" not in choice:
            choice["delta"] = {"content": "…"}  # more follows, and counts of this chunk are running
    return _with_usage(found)


#: Tools that xAI runs → the counters of its Responses API.
_TOOLS = {
    "SERVER_SIDE_TOOL_WEB_SEARCH": "web_search_calls",
    "SERVER_SIDE_TOOL_X_SEARCH": "x_search_calls",
    "SERVER_SIDE_TOOL_CODE_EXECUTION": "code_interpreter_calls",
    "SERVER_SIDE_TOOL_COLLECTIONS_SEARCH": "file_search_calls",
    "SERVER_SIDE_TOOL_ATTACHMENT_SEARCH": "document_search_calls",
}


def _with_usage(found: dict[str, Any]) -> dict[str, Any]:
    usage = found.get("usage")
    if isinstance(usage, dict):
        # Zeros are left out of messages, and mean here that nothing was used.
        counts = dict.fromkeys(("prompt_tokens", "completion_tokens", "total_tokens"), 0)
        used = usage.pop("server_side_tools_used", [])
        calls = {name: used.count(tool) for tool, name in _TOOLS.items() if tool in used}
        found["usage"] = {**counts, **usage}
        if calls:
            found["usage"]["server_side_tool_usage_details"] = calls
    return found


_GEMINI, _VERTEX = "google.ai.generativelanguage.", "google.cloud.aiplatform.PredictionService/"
_METHODS = {
    "xai_api.Chat/GetCompletion": Method("v1/chat/completions", _completed),
    "xai_api.Chat/GetCompletionChunk": Method("v1/chat/completions", _completed),
    "xai_api.Chat/CompactContext": Method("v1/chat/completions", _completed),
    "xai_api.Chat/StartDeferredCompletion": Method("v1/chat/completions", _begun),
    "xai_api.Chat/GetDeferredCompletion": Method(
        "v1/chat/deferred-completion/{}", _deferred, "request_id", "GET"
    ),
    "xai_api.Sample/SampleText": Method("v1/completions", _completed),
    "xai_api.Sample/SampleTextStreaming": Method("v1/completions", _completed),
    "xai_api.Image/GenerateImage": Method("v1/images/generations", _pictures),
    "xai_api.Video/GenerateVideo": Method("v1/videos/generations", _begun),
    "xai_api.Video/ExtendVideo": Method("v1/videos/extensions", _begun),
    "xai_api.Video/GetDeferredVideo": Method("v1/videos/{}", _video, "request_id", "GET"),
    "xai_api.BatchMgmt/CreateBatch": Method("v1/batches", _batch),
    "xai_api.BatchMgmt/GetBatch": Method("v1/batches/{}", _batch, "batch_id", "GET"),
    "xai_api.BatchMgmt/CancelBatch": Method("v1/batches/{}/cancel", _batch, "batch_id"),
    "xai_api.Embedder/Embed": Method("v1/embeddings", _vectors),
    f"{_GEMINI}GenerativeService/GenerateContent": Method("v1/{}:generateContent", _generated),
    f"{_GEMINI}GenerativeService/StreamGenerateContent": Method(
        "v1/{}:streamGenerateContent", _generated
    ),
    f"{_GEMINI}GenerativeService/EmbedContent": Method("v1/{}:embedContent", _embedded),
    f"{_GEMINI}GenerativeService/BatchEmbedContents": Method("v1/{}:batchEmbedContents", _embedded),
    f"{_GEMINI}PredictionService/Predict": Method("v1/{}:predict", _predicted),
    f"{_VERTEX}GenerateContent": Method("v1/{}:generateContent", _generated),
    f"{_VERTEX}StreamGenerateContent": Method("v1/{}:streamGenerateContent", _generated),
    f"{_VERTEX}EmbedContent": Method("v1/{}:embedContent", _embedded),
    f"{_VERTEX}Predict": Method("v1/{}:predict", _predicted, "endpoint"),
    f"{_VERTEX}RawPredict": Method("v1/{}:rawPredict", _http, "endpoint"),
    f"{_VERTEX}StreamRawPredict": Method("v1/{}:streamRawPredict", _http, "endpoint"),
    f"{_VERTEX}ChatCompletions": Method("v1/{}/chat/completions", _http, "endpoint"),
}
