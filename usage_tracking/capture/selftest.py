"""Real calls to a server on this machine, to see which are captured.

An SDK that moves to another HTTP library, a transport whose new release has another shape: what
nobody would notice in the log, for the calls are simply not there, shows here. The calls reach no
provider and leave no row. For commands and health checks, not for requests: SDKs take seconds to
import.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from ..events import UsageEvent
from . import module_of, status
from .exchange import counts, proof

#: Seconds that one call may take.
TIMEOUT = 10.0
_PROMPT, _COMPLETION = 11, 7
#: What the answers say that the call has cost.
TOKENS = _PROMPT, _COMPLETION
#: The model that is asked.
MODEL = "self-test"
_ASKED = {"model": MODEL, "messages": [{"role": "user", "content": "Are you there?"}]}


@dataclass(frozen=True, slots=True)
class Trial:
    """One real call through one library."""

    #: Name of the distribution: a transport or an SDK.
    package: str
    version: str
    #: "sync" or "async".
    mode: str
    captured: bool
    #: Why nothing was captured, "" if it was.
    problem: str


def try_transports() -> list[Trial]:
    """A call through every transport that is installed, in each of its modes."""
    return _try(_TRANSPORTS)


def try_sdks() -> list[Trial]:
    """A call through every SDK that is installed and known here, in each of its modes."""
    return _try(_SDKS)


def send() -> str:
    """Makes one call that counts like any other, and gives the transport that carried it.

    "" if no installed transport is hooked; raises what the transport raises.
    """
    for package, way in _TRANSPORTS:
        with suppress(ImportError):
            import_module(module_of(package))  # which hooks it
        if any(found.transport == package and found.hooked for found in status()):
            with _provider() as url:
                _in_thread(partial(_counting, way, url))
            return package
    return ""


def _counting(way: Callable[[str], Any], url: str) -> None:
    counts.set(True)
    _call(way, url)


def _try(ways: list[tuple[str, Callable[[str], Any]]]) -> list[Trial]:
    trials = []
    with _provider() as url:
        for package, way in ways:
            try:
                installed = version(package)
            except PackageNotFoundError:
                continue
            mode = "async" if asyncio.iscoroutinefunction(way) else "sync"
            trials.append(Trial(package, installed, mode, *_outcome(way, url)))
    return trials


def _outcome(way: Callable[[str], Any], url: str) -> tuple[bool, str]:
    """Whether the call that `way` makes was captured, and if not why."""
    seen: list[UsageEvent] = []

    def call() -> None:
        proof.set(seen)
        _call(way, url)

    failure = ""
    try:
        _in_thread(call)
    except Exception as error:  # noqa: BLE001 -- an SDK may fail in any way, and is named with it
        failure = f"{type(error).__name__}: {error}".removesuffix(": ")[:300]
    if any((e.prompt_tokens, e.completion_tokens) == (_PROMPT, _COMPLETION) for e in seen):
        return True, ""
    if failure:
        return False, f"the call could not be made: {failure}"
    return False, "its tokens were not read" if seen else "no hook saw it"


def _call(way: Callable[[str], Any], url: str) -> None:
    if asyncio.iscoroutinefunction(way):
        asyncio.run(asyncio.wait_for(way(url), TIMEOUT))
    else:
        way(url)


def _in_thread(call: Callable[[], None]) -> None:
    # In a thread: an event loop may be running here. In a context of its own: what is set in it
    # stays there.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(copy_context().run, call).result(TIMEOUT)


@contextmanager
def _provider() -> Iterator[str]:
    """A provider of every format on 127.0.0.1; gives its URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    # The server looks this often whether it is to stop, and the caller waits until it has.
    interval = {"poll_interval": 0.005}
    thread = threading.Thread(target=server.serve_forever, kwargs=interval, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        path = self.path.partition("?")[0]
        answer = next((body for end, body in _ANSWERS.items() if path.endswith(end)), None)
        content = json.dumps(answer or {"error": f"no API at {path}"}).encode()
        self.send_response(200 if answer else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


_OPENAI_USAGE = {
    "prompt_tokens": _PROMPT,
    "completion_tokens": _COMPLETION,
    "total_tokens": _PROMPT + _COMPLETION,
}
_ANTHROPIC_USAGE = {"input_tokens": _PROMPT, "output_tokens": _COMPLETION}
_ANSWERS: dict[str, dict[str, Any]] = {
    "/chat/completions": {
        "id": "self-test",
        "object": "chat.completion",
        "created": 0,
        "model": "self-test",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Yes."},
                "finish_reason": "stop",
            }
        ],
        "usage": _OPENAI_USAGE,
    },
    "/v1/messages": {
        "id": "self-test",
        "type": "message",
        "role": "assistant",
        "model": "self-test",
        "content": [{"type": "text", "text": "Yes."}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": _ANTHROPIC_USAGE,
    },
    ":generateContent": {
        "candidates": [
            {"content": {"role": "model", "parts": [{"text": "Yes."}]}, "finishReason": "STOP"}
        ],
        "usageMetadata": {
            "promptTokenCount": _PROMPT,
            "candidatesTokenCount": _COMPLETION,
            "totalTokenCount": _PROMPT + _COMPLETION,
        },
        "modelVersion": "self-test",
    },
    "/converse": {
        "output": {"message": {"role": "assistant", "content": [{"text": "Yes."}]}},
        "stopReason": "end_turn",
        "usage": {
            "inputTokens": _PROMPT,
            "outputTokens": _COMPLETION,
            "totalTokens": _PROMPT + _COMPLETION,
        },
        "metrics": {"latencyMs": 1},
    },
    "/v2/chat": {
        "id": "self-test",
        "finish_reason": "COMPLETE",
        "message": {"role": "assistant", "content": [{"type": "text", "text": "Yes."}]},
        "usage": {"billed_units": _ANTHROPIC_USAGE, "tokens": _ANTHROPIC_USAGE},
    },
    "/api/chat": {
        "model": "self-test",
        "created_at": "2026-01-01T00:00:00Z",
        "message": {"role": "assistant", "content": "Yes."},
        "done": True,
        "done_reason": "stop",
        "prompt_eval_count": _PROMPT,
        "eval_count": _COMPLETION,
    },
}

# Ways to make one call. The packages are named as text: nothing here imports what is not tried.


def _httpx_options() -> dict[str, Any]:
    # The call uses no TLS, and by default a client loads every certificate authority, which takes
    # longer than the call.
    without_authorities = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return {"trust_env": False, "timeout": TIMEOUT, "verify": without_authorities}


def _httpx(package: str, url: str) -> None:
    with import_module(package).Client(**_httpx_options()) as client:
        client.post(f"{url}/v1/chat/completions", json=_ASKED)


async def _ahttpx(package: str, url: str) -> None:
    async with import_module(package).AsyncClient(**_httpx_options()) as client:
        await client.post(f"{url}/v1/chat/completions", json=_ASKED)


def _requests(url: str) -> None:
    with import_module("requests").Session() as session:
        session.trust_env = False
        session.post(f"{url}/v1/chat/completions", json=_ASKED, timeout=TIMEOUT)


async def _aiohttp(url: str) -> None:
    async with (
        import_module("aiohttp").ClientSession() as session,
        session.post(f"{url}/v1/chat/completions", json=_ASKED) as response,
    ):
        await response.read()


def _botocore(url: str) -> None:
    request = import_module("botocore.awsrequest").AWSRequest(
        method="POST", url=f"{url}/v1/chat/completions", data=json.dumps(_ASKED)
    )
    import_module("botocore.httpsession").URLLib3Session().send(request.prepare())


def _openai(package: str, client: str, url: str) -> None:
    kind = getattr(import_module(package), client)
    with kind(base_url=f"{url}/v1", api_key="none", max_retries=0) as made:
        made.chat.completions.create(**_ASKED)


async def _aopenai(package: str, client: str, url: str) -> None:
    kind = getattr(import_module(package), client)
    async with kind(base_url=f"{url}/v1", api_key="none", max_retries=0) as made:
        await made.chat.completions.create(**_ASKED)


def _anthropic(url: str) -> None:
    kind = import_module("anthropic").Anthropic
    with kind(base_url=url, api_key="none", max_retries=0) as client:
        client.messages.create(max_tokens=9, **_ASKED)


async def _aanthropic(url: str) -> None:
    kind = import_module("anthropic").AsyncAnthropic
    async with kind(base_url=url, api_key="none", max_retries=0) as client:
        await client.messages.create(max_tokens=9, **_ASKED)


def _genai_client(url: str) -> Any:
    genai = import_module("google.genai")
    return genai.Client(api_key="none", http_options=genai.types.HttpOptions(base_url=url))


def _genai(url: str) -> None:
    client = _genai_client(url)
    client.models.generate_content(model="self-test", contents="Are you there?")


async def _agenai(url: str) -> None:
    client = _genai_client(url).aio
    try:
        await client.models.generate_content(model="self-test", contents="Are you there?")
    finally:
        await client.aclose()


def _mistral_client(url: str) -> Any:
    return import_module("mistralai.client").Mistral(api_key="none", server_url=url)


def _mistral(url: str) -> None:
    _mistral_client(url).chat.complete(**_ASKED)


async def _amistral(url: str) -> None:
    await _mistral_client(url).chat.complete_async(**_ASKED)


def _cohere(url: str) -> None:
    import_module("cohere").ClientV2(api_key="none", base_url=url).chat(**_ASKED)


async def _acohere(url: str) -> None:
    await import_module("cohere").AsyncClientV2(api_key="none", base_url=url).chat(**_ASKED)


def _ollama(url: str) -> None:
    import_module("ollama").Client(host=url).chat(**_ASKED)


async def _aollama(url: str) -> None:
    await import_module("ollama").AsyncClient(host=url).chat(**_ASKED)


def _huggingface(url: str) -> None:
    client = import_module("huggingface_hub").InferenceClient(base_url=url)
    client.chat_completion(messages=_ASKED["messages"])


def _bedrock(url: str) -> None:
    client = import_module("boto3").client(
        "bedrock-runtime",
        region_name="us-east-1",
        endpoint_url=url,
        aws_access_key_id="none",
        aws_secret_access_key="none",  # noqa: S106 -- of nobody
    )
    messages = [{"role": "user", "content": [{"text": "Are you there?"}]}]
    client.converse(modelId="self-test", messages=messages)


_TRANSPORTS: list[tuple[str, Callable[[str], Any]]] = [
    ("httpx", partial(_httpx, "httpx")),
    ("httpx", partial(_ahttpx, "httpx")),
    ("httpx2", partial(_httpx, "httpx2")),
    ("httpx2", partial(_ahttpx, "httpx2")),
    ("requests", _requests),
    ("aiohttp", _aiohttp),
    ("botocore", _botocore),
]
_SDKS: list[tuple[str, Callable[[str], Any]]] = [
    ("openai", partial(_openai, "openai", "OpenAI")),
    ("openai", partial(_aopenai, "openai", "AsyncOpenAI")),
    ("anthropic", _anthropic),
    ("anthropic", _aanthropic),
    ("google-genai", _genai),
    ("google-genai", _agenai),
    ("mistralai", _mistral),
    ("mistralai", _amistral),
    ("cohere", _cohere),
    ("cohere", _acohere),
    ("groq", partial(_openai, "groq", "Groq")),
    ("groq", partial(_aopenai, "groq", "AsyncGroq")),
    ("ollama", _ollama),
    ("ollama", _aollama),
    ("huggingface_hub", _huggingface),
    ("boto3", _bedrock),
]
