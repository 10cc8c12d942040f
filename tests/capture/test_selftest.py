"""The self-test sees what is captured, and what is not."""

from __future__ import annotations

import asyncio
import os
import re
import ssl
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx2
import pytest
import requests
from pytest_django import Settings

from tests.support.children import ROOT
from tests.support.comparison import rows, without_capture
from tests.support.distributions import Distributions
from usage_tracking import ai_usage, capture
from usage_tracking.capture import selftest
from usage_tracking.capture.selftest_answers import OPENAI_CHAT
from usage_tracking.capture.selftest_known import FRAMEWORKS, UNTRIED
from usage_tracking.capture.selftest_sdks import SDK, SDKS
from usage_tracking.scanner.data_files import load

pytestmark = [pytest.mark.django_db, pytest.mark.server]

MODES = {
    ("httpx", "sync"),
    ("httpx", "async"),
    ("httpx2", "sync"),
    ("httpx2", "async"),
    ("requests", "sync"),
    ("aiohttp", "async"),
    ("botocore", "sync"),
    ("websockets", "sync"),
    ("websockets", "async"),
    ("aiohttp", "async websocket"),
}


def outcomes(trials: list[selftest.Trial]) -> dict[tuple[str, str], tuple[bool, str]]:
    return {(t.package, t.mode): (t.captured, t.problem) for t in trials}


def test_every_transport_is_captured() -> None:
    assert outcomes(selftest.try_transports()) == dict.fromkeys(MODES, (True, ""))


def test_every_sdk_is_captured() -> None:
    captured = outcomes(selftest.try_sdks())

    assert captured == dict.fromkeys(captured, (True, ""))
    assert {
        ("openai", "sync"),
        ("openai", "async"),
        ("anthropic", "sync"),
        ("anthropic", "async"),
        ("google-genai", "sync"),
        ("google-genai", "async"),
        ("boto3", "sync"),
    } <= set(captured)


def test_trial_leaves_no_trace() -> None:
    with ai_usage(section="chat") as usage:
        selftest.try_transports()

    assert usage.calls == 0
    assert rows() == []


def test_trial_loads_no_certificate_authorities(monkeypatch: pytest.MonkeyPatch) -> None:
    selftest.try_transports()  # some libraries load them when they are imported
    loaded: list[str] = []
    for name in ("load_default_certs", "load_verify_locations"):
        method = getattr(ssl.SSLContext, name)

        def load(*args: Any, name: str = name, method: Any = method, **options: Any) -> None:
            loaded.append(name)
            method(*args, **options)

        monkeypatch.setattr(ssl.SSLContext, name, load)

    selftest.try_transports()

    assert loaded == []


def test_trial_runs_on_an_event_loop_too() -> None:
    async def main() -> list[selftest.Trial]:
        return selftest.try_transports()

    assert all(trial.captured for trial in asyncio.run(main()))


def test_trial_reports_which_transport_is_not_hooked(monkeypatch: pytest.MonkeyPatch) -> None:
    with without_capture():
        capture.install(["httpx2"])
        found = outcomes(selftest.try_transports())

    hooked = {("httpx2", "sync"), ("httpx2", "async")}
    assert {mode for mode, (captured, _) in found.items() if captured} == hooked
    assert {problem for captured, problem in found.values() if not captured} == {"no hook saw it"}


def test_sdk_that_moves_to_another_library_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new release may bring its own HTTP client."""
    with without_capture():
        original: Any = httpx2.Client.send
    monkeypatch.setattr(httpx2.Client, "send", original)
    found = outcomes(selftest.try_sdks())

    assert found["openai", "sync"] == (False, "no hook saw it")
    assert found["openai", "async"] == (True, "")


def test_trial_reports_the_error_of_a_failing_library(monkeypatch: pytest.MonkeyPatch) -> None:
    def send(self: Any, *args: Any, **options: Any) -> Any:
        raise requests.ConnectionError("no route")

    monkeypatch.setattr(requests.Session, "send", send)

    assert outcomes(selftest.try_transports())["requests", "sync"] == (
        False,
        "the call could not be made: ConnectionError: no route",
    )


def test_library_that_is_not_installed_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selftest, "_TRANSPORTS", [("no-such-package", lambda url: None)])
    monkeypatch.setattr(selftest, "SOCKET_CALLS", ())
    monkeypatch.setattr(selftest, "GRPC_CALLS", ())

    assert selftest.try_transports() == []


def test_trials_work_without_unknown_hosts(settings: Settings) -> None:
    settings.AI_USAGE_UNKNOWN_HOSTS = False

    assert outcomes(selftest.try_transports()) == dict.fromkeys(MODES, (True, ""))


def test_every_sdk_and_format_is_listed_once() -> None:
    packages = [sdk.package for sdk in SDKS]
    answers = {sdk.answer.path: sdk.answer for sdk in SDKS}

    assert len(packages) == len(set(packages))
    assert all(answers[sdk.answer.path] is sdk.answer for sdk in SDKS)
    for path in answers:
        assert not any(path != other and path.endswith(other) for other in answers)


def _post(url: str) -> None:
    requests.post(f"{url}/v1/chat/completions", json={"model": "any"}, timeout=9)


@pytest.fixture
def distributions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Distributions:
    return Distributions(tmp_path, monkeypatch)


@pytest.fixture
def never() -> Iterator[threading.Event]:
    """What a hanging SDK waits for."""
    event = threading.Event()
    yield event
    event.set()


class TestBrokenSDK:
    """One SDK that is broken does not keep the others from their trial."""

    @pytest.fixture(autouse=True)
    def _sdks(self, distributions: Distributions, monkeypatch: pytest.MonkeyPatch) -> None:
        distributions.add("broken", "1.2")
        distributions.add("sound", "3.4")
        sdks = (
            SDK("broken", "broken", OPENAI_CHAT, (_post, _broken)),
            SDK("sound", "requests", OPENAI_CHAT, (_post,)),
        )
        monkeypatch.setattr(selftest, "SDKS", sdks)

    def outcomes(self) -> dict[tuple[str, str], tuple[bool, str]]:
        found = outcomes(selftest.try_sdks())
        assert found.pop(("sound", "sync")) == (True, "")
        return found

    @pytest.mark.parametrize(
        ("code", "problem"),
        [
            ("import sys; sys.exit(3)", "SystemExit: 3"),
            ("raise KeyboardInterrupt", "KeyboardInterrupt"),
            ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
            ("def (", "SyntaxError: invalid syntax (broken.py, line 1)"),
        ],
    )
    def test_fails_at_import(self, distributions: Distributions, code: str, problem: str) -> None:
        distributions.write_module("broken", code)

        failure = False, f"the call could not be made: {problem}"
        assert self.outcomes() == dict.fromkeys([("broken", "sync"), ("broken", "async")], failure)

    def test_import_never_ends(
        self,
        distributions: Distributions,
        monkeypatch: pytest.MonkeyPatch,
        never: threading.Event,
    ) -> None:
        monkeypatch.setattr(selftest, "IMPORT_TIMEOUT", 2.0)
        monkeypatch.setattr(sys, "never", never, raising=False)
        distributions.write_module("broken", "import sys; sys.never.wait()")

        problem = "the call could not be made: TimeoutError: no end after 2 seconds"
        assert self.outcomes()["broken", "sync"] == (False, problem)

    def test_call_never_ends(
        self,
        distributions: Distributions,
        monkeypatch: pytest.MonkeyPatch,
        never: threading.Event,
    ) -> None:
        def hang(url: str) -> None:
            never.wait()

        distributions.write_module("broken", "")
        sdks = (SDK("broken", "broken", OPENAI_CHAT, (hang,)), selftest.SDKS[1])
        monkeypatch.setattr(selftest, "SDKS", sdks)
        monkeypatch.setattr(selftest, "TIMEOUT", 3.0)

        problem = "the call could not be made: TimeoutError: no end after 3 seconds"
        assert self.outcomes() == {("broken", "sync"): (False, problem)}


async def _broken(url: str) -> None:
    raise AssertionError("no call without the import")


class TestEnvironment:
    """The site's environment is as before, whatever the trial or the SDK sets."""

    def test_is_set_for_the_import_and_the_calls(
        self, distributions: Distributions, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("LEFT_ALONE", "as before")
        monkeypatch.delenv("PHONE_HOME", raising=False)
        seen: list[str | None] = []

        def call(url: str) -> None:
            seen.append(os.environ.get("PHONE_HOME"))
            _post(url)

        distributions.add("sdk", "1.2")
        distributions.write_module(
            "environment_sdk",
            """
            import os
            assert os.environ["PHONE_HOME"] == "no"
            os.environ["SDK_CACHE"] = "/cache"
            os.environ["LEFT_ALONE"] = "changed"
            """,
        )
        environ = MappingProxyType({"PHONE_HOME": "no"})
        sdk = SDK("sdk", "environment_sdk", OPENAI_CHAT, (call,), environ)
        monkeypatch.setattr(selftest, "SDKS", (sdk,))
        before = dict(os.environ)

        assert outcomes(selftest.try_sdks()) == {("sdk", "sync"): (True, "")}

        assert seen == ["no"]
        assert dict(os.environ) == before

    @pytest.mark.parametrize("name", ["no_proxy", "NO_PROXY"])
    def test_proxy_of_the_site_gets_no_call(
        self, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.setenv(name, "intranet.example")

        found = outcomes(selftest.try_sdks())

        assert found == dict.fromkeys(found, (True, ""))


class TestUntriedSDKs:
    """Installed AI SDKs without a test call are named."""

    def test_names_those_that_are_installed(self, distributions: Distributions) -> None:
        assert selftest.untried_sdks() == []
        distributions.add("Deepgram_SDK", "7.16.0")
        distributions.add("claude-agent-sdk", "0.2.184")
        distributions.add("django-unrelated", "1.0")

        assert selftest.untried_sdks() == [
            selftest.Untried("claude-agent-sdk", "0.2.184", (), "another process sends its calls"),
            selftest.Untried("deepgram-sdk", "7.16.0", (), ""),
        ]

    def test_framework_sends_through_what_it_requires(self, distributions: Distributions) -> None:
        distributions.add(
            "langchain-openai", "1.7.4", "openai<4,>=3", "tiktoken", "anthropic; extra == 'all'"
        )
        distributions.add(
            "pydantic-ai-slim",
            "2.68",
            "pydantic>=2",
            "anthropic>=1 ; extra == 'anthropic'",
            "google-genai ; extra == 'google'",
            "xai-sdk ; extra == 'xai'",
            "groq ; extra == 'groq'",  # not installed
        )
        distributions.add("pydantic-ai", "2.68", "pydantic-ai-slim[anthropic]==2.68")

        assert {sdk.package: sdk.sends_through for sdk in selftest.untried_sdks()} == {
            "langchain-openai": ("openai",),
            "pydantic-ai": ("pydantic-ai-slim",),
            "pydantic-ai-slim": ("anthropic", "google-genai"),
        }

    def test_release_of_a_framework_that_requires_another_sdk(
        self, distributions: Distributions
    ) -> None:
        distributions.add("langchain-google-genai", "2.1", "google-palm<0.7")

        assert selftest.untried_sdks() == [
            selftest.Untried("langchain-google-genai", "2.1", (), "")
        ]

    def test_leftover_of_an_sdk_is_not_installed(self, distributions: Distributions) -> None:
        (distributions.directory / "elevenlabs-2.78.0.dist-info").mkdir()

        assert selftest.untried_sdks() == []


def test_each_known_sdk_is_in_one_table() -> None:
    tried = {sdk.package.replace("_", "-") for sdk in SDKS}
    names = [*tried, *UNTRIED, *FRAMEWORKS]

    assert len(names) == len(set(names))
    assert [name for name in names if name != name.lower() or "_" in name or "." in name] == []


#: What the scanner knows under another name than that of its distribution.
DISTRIBUTIONS = {
    "baml_client": "baml-py",
    "agents": "openai-agents",
    "any_llm": "any-llm-sdk",
    "autogen*": "autogen-ext",
    "camel": "camel-ai",
    "cerebras*": "cerebras-cloud-sdk",
    "deepgram": "deepgram-sdk",
    "fireworks": "fireworks-ai",
    "guardrails": "guardrails-ai",
    "haystack*": "haystack-ai",
    "interpreter": "open-interpreter",
    "langchain*": "langchain-openai",
    "lightrag": "lightrag-hku",
    "llama_index*": "llama-index-llms-openai",
    "mem0": "mem0ai",
    "octoai": "octoai-sdk",
    "openhands": "openhands-ai",
    "paperqa": "paper-qa",
    "perplexity": "perplexityai",
    "phi": "phidata",
    "reka": "reka-api",
    "sparkai": "spark-ai-python",
    "strands": "strands-agents",
    "tencentcloud": "tencentcloud-sdk-python",
    "vertexai": "google-cloud-aiplatform",
    "volcenginesdkarkruntime": "volcengine-python-sdk",
    "writerai": "writer-sdk",
    "xinference*": "xinference-client",
    "zai": "zai-sdk",
}
#: What the scanner looks for in code and what is no SDK: parts of others, and old copies.
NO_SDKS = {
    *("chromadb.utils.embedding_functions", "django_ai_core", "ell", "fastmcp", "genai"),
    *("google_genai", "gpt4all_api", "gpt_index", "langgraph*", "mcp", "swarm"),
    # Models that run in the process.
    *("FlagEmbedding", "ctransformers", "fastembed", "llama_cpp", "mlx_lm", "vllm"),
    "sentence_transformers",
}


def test_each_sdk_that_the_scanner_knows_is_known() -> None:
    tried = {sdk.package.replace("_", "-") for sdk in SDKS}
    names = load().packages - NO_SDKS
    distributions = {
        DISTRIBUTIONS.get(name, re.sub("[_.]", "-", name.rstrip("*")).lower()) for name in names
    }

    assert distributions - tried - FRAMEWORKS - UNTRIED.keys() == set()


def test_docs_list_the_sdks() -> None:
    text = (ROOT / "docs" / "sdks.md").read_text(encoding="utf-8")
    section = text.partition("### SDKs of the self-test")[2].partition("\n\n")[2]
    listed = re.findall("`([a-z0-9-]+)`[,.]", section.partition("\n\n")[0])

    assert listed == sorted(sdk.package.replace("_", "-") for sdk in SDKS)
