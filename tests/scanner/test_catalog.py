"""The data about SDKs."""

from __future__ import annotations

import pytest

from usage_tracking import capture
from usage_tracking.scanner import catalog
from usage_tracking.scanner.raw_http import recognise


def test_hooked_transports_are_those_of_capture():
    assert set(catalog.HOOKED) == set(capture.TRANSPORTS)


@pytest.mark.parametrize(
    ("dotted", "made"),
    [
        ("openai.OpenAI", "openai.client"),
        ("openai.lib.azure.AzureOpenAI", "openai.client"),
        ("langchain.chat_models.ChatOpenAI", "langchain.model"),
        ("langchain_openai.chat_models.base.ChatOpenAI", "langchain.model"),
        ("langchain_core.prompts.ChatPromptTemplate.from_messages", "langchain.part"),
        ("google.genai.Client", "google.client"),
        ("google.cloud.storage.Client", None),
        ("django.test.Client", None),
        ("myopenai.OpenAI", None),
    ],
)
def test_what_a_library_makes(dotted, made):
    assert catalog.load().type_made_by(dotted) == made


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("https://api.openai.com/v1/chat/completions", ("chat", "openai", True)),
        (
            "https://{NAME}.openai.azure.com/openai/deployments/{x}/chat/completions?v=1",
            ("chat", "azure", True),
        ),
        (
            "https://generativelanguage.googleapis.com/v1beta/models/{m}:generateContent",
            ("chat", "google", True),
        ),
        ("{OPENAI_BASE}/chat/completions", ("chat", "openai", False)),
        ("http://localhost:11434/api/chat", ("chat", "ollama", True)),
        ("{OLLAMA_HOST}/api/generate", ("completion", "ollama", False)),
        ("https://api.openai.com/v1/models", None),
        ("https://api.openai.com/v1/files/{id}/content", None),
        ("https://example.org/api/chat", None),
        ("https://example.org/messages", None),
        ("/v1/charges", None),
        ("", None),
        ("{}", None),
        ("not a url at all", None),
    ],
)
def test_url(url, found):
    endpoint = recognise(url, catalog.load())

    assert found == (endpoint and (endpoint.kind, endpoint.provider, endpoint.is_certain))
