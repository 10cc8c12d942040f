"""Whether capture records a request to a URL of which only parts are known."""

from __future__ import annotations

from itertools import product
from typing import Any
from urllib.parse import urlsplit

from django.test import override_settings

from tests.support.cases import check_each
from usage_tracking.call_paths import table
from usage_tracking.capture import paths
from usage_tracking.capture.endpoints import recognise
from usage_tracking.capture.exchange import is_wanted
from usage_tracking.capture.sockets import open_session
from usage_tracking.scanner.recorded_urls import Tracking, is_recorded

BEDROCK = "https://bedrock-runtime.{region}.amazonaws.com"


def test_url_tells_whether_capture_records_the_request() -> None:
    def check(url: str, expected: bool | None) -> None:
        assert is_recorded(url) is expected

    check_each(
        check,
        [
            ("https://api.openai.com/v1/chat/completions", True),
            ("https://{HOST}/v1/chat/completions", True),
            ("{BASE_URL}/chat/completions", True),
            ("/v1/chat/completions", True),
            ("https://llm.example.com/v1/messages?beta=true", True),
            ("https://generativelanguage.googleapis.com/v1/models/{m}:generateContent", True),
            (BEDROCK + "/model/{model_id}/invoke", True),
            ("https://api.cloudflare.com/client/v4/accounts/{a}/ai/run/{model}", True),
            ("http://localhost:11434/api/chat", True),
            ("wss://api.openai.com/v1/realtime?model={model}", True),
            # Of one provider only.
            ("https://api.mistral.ai/v1/conversations", True),
            ("https://api.openai.com/v1/conversations", False),
            ("https://api.openai.com/v1/moderations", False),
            ("https://api.elevenlabs.io/v1/text-to-speech/{voice}", False),
            ("https://api.elevenlabs.io/v1/text-to-speech/{self.voice_id}", False),
            ("https://api.deepgram.com/v1/listen?model=nova", False),
            ("wss://api.deepgram.com/v1/listen", False),
            ("https://api.elevenlabs.io/v1/voices/{name}", False),
            ("https://{HOST}/predict", False),
            ("{BASE_URL}/text-to-speech", False),
            (BEDROCK + "/invoke", False),
            # The unknown part may complete it.
            ("{URL}", None),
            ("https://{HOST}/{path}", None),
            ("https://api.openai.com/v1/{path}", None),
            ("https://api.cohere.com/v2/{name}", None),
            ("{BASE_URL}/chat", None),
            ("{BASE_URL}/invoke", None),
            ("wss://{HOST}/{path}", None),
        ],
    )


def test_paths_of_the_site_count() -> None:
    tracking = Tracking(paths=(("llm/ask", ("openai.chat", "chat")),))

    assert is_recorded("https://gw.example.com/v7/llm/ask") is False
    assert is_recorded("https://gw.example.com/v7/llm/ask", tracking=tracking) is True


HOSTS = [
    *("https://api.openai.com", "https://api.mistral.ai", "https://api.writer.com"),
    *("https://me.openai.azure.com", "https://fal.run", "https://api.cloudflare.com"),
    *("https://llm.example.com", "https://LLM.example.com:443", "https://llm.example.com/openai"),
    *("http://localhost:8000", "http://localhost:8001", "http://gpu:11434", "http://gpu"),
]
PATHS = [
    *table.CALLS,
    *(path for paths_of_one in table.CALLS_OF.values() for path in paths_of_one),
    *table.POSTED_POLLS,
    *("/models/m:generateContent", "/model/m/invoke", "/v1/embeddings/", "/llm/answer", "/x/llm/a"),
    *("/v1/moderations", "/text-to-speech/v", "/"),
]
SETTINGS: list[dict[str, Any]] = [
    {},
    {"PATHS": {"/llm/answer": "openai.chat", "/llm/{}": "rerank", "/x/y": "openai.realtime"}},
    {"GATEWAYS": {"llm.example.com/openai": "openai", "localhost:8000": "mistral"}},
    {"GATEWAYS": {"llm.example.com": "writer", "api.openai.com": "mistral"}},
    {"GATEWAYS": {"LLM.example.com:443/": "aws", "gpu:80": "ours"}},
]


def test_whole_url_is_judged_as_capture_does() -> None:
    def check(given: dict[str, Any], records_unknown_hosts: bool) -> None:
        settings = {f"AI_USAGE_{name}": value for name, value in given.items()}
        with override_settings(AI_USAGE_UNKNOWN_HOSTS=records_unknown_hosts, **settings):
            tracking = Tracking(
                paths=tuple(paths.own().items()),
                gateways=tuple(given.get("GATEWAYS", {}).items()),
                records_unknown_hosts=records_unknown_hosts,
            )
            for host, path in product(HOSTS, PATHS):
                ending = f"/models/m{path}" if path.startswith(":") else path
                url = host + ending.replace("{*}", "a/b").replace("{}", "a")
                assert is_recorded(url, tracking=tracking) is captures(url), url
            for host, ending in product(HOSTS, [*table.SOCKETS, "/x/y", "/v1/messages"]):
                url = f"ws{host.removeprefix('http')}/{ending.lstrip('/').replace('{}', 'a')}"
                assert is_recorded(url, tracking=tracking) is captures(url), url

    check_each(check, list(product(SETTINGS, (True, False))))


def captures(url: str) -> bool:
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme.startswith("ws"):
        return open_session("websockets", host, parts.port, parts.path, "") is not None
    endpoint = recognise("POST", host, parts.port, parts.path)
    return endpoint is not None and is_wanted("httpx", endpoint)
