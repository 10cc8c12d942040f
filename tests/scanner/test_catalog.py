"""The data about SDKs and URLs."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from usage_tracking import capture
from usage_tracking.scanner import data_files, recorded_urls
from usage_tracking.scanner.raw_http.model_urls import recognise


def test_hooked_transports_are_those_of_capture():
    assert set(recorded_urls.HOOKED) == set(capture.TRANSPORTS)


def test_types_made_by_libraries():
    made = {
        "openai.OpenAI": "openai.client",
        "openai.lib.azure.AzureOpenAI": "openai.client",
        "langchain.chat_models.ChatOpenAI": "langchain.model",
        "langchain_openai.chat_models.base.ChatOpenAI": "langchain.model",
        "langchain_core.prompts.ChatPromptTemplate.from_messages": "langchain.part",
        "google.genai.Client": "google.client",
        "google.cloud.storage.Client": None,
        "django.test.Client": None,
        "myopenai.OpenAI": None,
    }

    assert {dotted: data_files.load().type_made_by(dotted) for dotted in made} == made


URLS: list[tuple[str, tuple[str, str, bool] | None]] = [
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
]


def test_urls_of_models_are_recognised():
    def judged(url: str) -> tuple[str, str, bool] | None:
        if found := recognise(url, data_files.load()):
            return found.kind, found.provider, found.is_certain
        return None

    assert [(url, judged(url)) for url, _ in URLS] == URLS


def test_every_type_is_described_once():
    names = [
        known["name"]
        for path in sorted(data_files.PROVIDERS.glob("*.toml"))
        for known in tomllib.loads(path.read_text()).get("type", ())
    ]

    assert sorted(names) == sorted(set(names))


OWN_SDK = """
provider = "acme"
uncertain = ["later.*"]

[[type]]
name = "acme.client"
made_by = ["acme_ai:Client"]
calls = { ask = "chat", embed = "embeddings", "later.ask" = "chat" }
unrecorded = ["embed"]
urls = { ask = "https://api.acme.example/v1/chat/completions" }

[[type]]
name = "acme.socket"
like = "acme.client"
made_by = ["acme_ai:Socket"]
transport = "acme_wire"
"""


def test_site_describes_which_calls_are_recorded(tmp_path: Path):
    file = tmp_path / "acme.toml"
    file.write_text(OWN_SDK)
    known = data_files.load((str(file),))

    for dotted, transport in (("acme_ai.Client", "httpx"), ("acme_ai.Socket", "acme_wire")):
        made = known.type_made_by(dotted) or ""
        targets = [known.target_of(made, call) for call in ("ask", "embed", "later.ask")]

        assert [target and target.is_recorded for target in targets] == [True, False, None]
        assert {target and target.transport for target in targets} == {transport}


def test_type_can_only_be_like_one_before_it(tmp_path: Path):
    file = tmp_path / "acme.toml"
    file.write_text('[[type]]\nname = "acme.socket"\nlike = "acme.client"\n')

    with pytest.raises(data_files.CatalogError, match=r"no type 'acme\.client' before"):
        data_files.load((str(file),))


@pytest.mark.parametrize(
    ("dotted", "made"),
    [
        ("google.cloud.discoveryengine.RankServiceClient", "discoveryengine.client"),
        ("google.cloud.discoveryengine_v1.RankServiceAsyncClient", "discoveryengine.client"),
        ("google.cloud.speech_v2.RankServiceClient", None),
        ("google.ai.generativelanguage_v1beta.TextServiceClient", "generativelanguage.palm"),
        ("google.RankServiceClient", None),
    ],
)
def test_pattern_of_a_package_stands_for_its_last_part(dotted, made):
    known = data_files.load()

    assert known.type_made_by(dotted) == made
    assert known.is_about_ai(dotted) == dotted.startswith(("google.cloud.", "google.ai."))
