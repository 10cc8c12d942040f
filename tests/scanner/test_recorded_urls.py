"""Whether capture records a request to a URL of which only parts are known."""

from __future__ import annotations

from tests.support.cases import check_each
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
