"""Capture, scanner and pricing agree on every provider, every host and every path."""

from __future__ import annotations

import re
from typing import Any

from genai_prices import data as genai_prices

from tests.support.cases import check_each
from usage_tracking import providers
from usage_tracking.call_paths import table as paths
from usage_tracking.capture import endpoints
from usage_tracking.pricing import data, table
from usage_tracking.scanner import data_files
from usage_tracking.scanner.raw_http.model_urls import recognise

#: Entries of genai-prices without a provider of ours.
NOT_OURS = {
    "cursor": "its API manages agents and answers no prompt",
    "openai-decisions": "prices of another billing for the host of openai",
    **dict.fromkeys(
        (p["id"] for p in data.load().providers if p["id"].startswith("huggingface_")),
        "a provider behind the router of huggingface, which only its path names",
    ),
}
#: Hosts that genai-prices describes by an expression.
ONLY_IN_A_PATTERN = {
    "api.us.elevenlabs.io": "elevenlabs",
    "api.eu.residency.elevenlabs.io": "elevenlabs",
    "api.cohere.ai": "cohere",
    "api.minimaxi.io": "minimax",
    "api.moonshot.cn": "moonshotai",
    "api.openrouter.ai": "openrouter",
    "me.cognitiveservices.azure.com": "azure",
    "x.gcp.databricks.com": "databricks",
    "x.modal.direct": "modal",
}
#: The scanner finds such a call, which costs money, and no reader is there for its answer.
SCANNED_ONLY = {
    "/chat_completions": "a misspelling, or a route of the site that passes the call on",
    "/chat_completion": "a misspelling, or a route of the site that passes the call on",
    "/chat/completion": "a misspelling, or a route of the site that passes the call on",
    ":generatetext": "PaLM, which Google has switched off",
    ":generatemessage": "PaLM, which Google has switched off",
    ":embedtext": "PaLM, which Google has switched off",
    "/v1/moderations": "free of charge, and the answer has no usage",
    "/moderations": "free of charge, and the answer has no usage",
    "/messages": "captured as /v1/messages; a base URL may hold the version",
    "/embed": "captured as /v1/embed and /v2/embed; a base URL may hold the version",
    "/chat": "captured as /v1/chat and /v2/chat; a base URL may hold the version",
    "/generate": "captured as /v1/generate; a base URL may hold the version",
    "/runs": "captured as /threads/ID/runs and /threads/runs",
}
#: Endings that no template completes.
CALLS = {ending: kind for ending, kind in paths.CALLS.items() if "{" not in ending}
#: Operation of capture → kinds of the scanner.
KINDS = {
    "": {"chat", "prediction"},  # the model decides
    "chat": {"chat"},
    "generate_content": {"chat", "prediction"},
    "text_completion": {"completion"},
    "embeddings": {"embeddings"},
    "image_generation": {"image"},
    "video_generation": {"video"},
    "invoke_agent": {"agent"},
    "transcription": {"transcription"},
    "speech": {"speech"},
    "rerank": {"rerank"},
    "ocr": {"ocr"},
    "decision": {"chat"},
    "classification": {"chat"},
    "batch": {"batch"},
}


def example(host: str) -> str:
    return host.replace("*", "x1")


def captured(path: str, host: str = "api.openai.com") -> endpoints.Target | None:
    return endpoints.recognise("POST", host, None, path)


def path_of(ending: str) -> str:
    """A path that ends so and names a model where that has to be."""
    if ending.startswith(":"):
        return f"/v1beta/models/m{ending}"
    if ending == "/invocations":
        return f"/endpoints/m{ending}"
    return f"/model/m{ending}" if ending in paths.NEED_MODEL else f"/x{ending}"


def test_every_host_has_one_provider_for_capture_and_scanner() -> None:
    def check(host: str, provider: str) -> None:
        assert endpoints.provider_of(example(host), None, "/") == provider
        assert data_files.load().provider_of(example(host)) == provider
        assert data_files.load().hosts[host] == provider

    check_each(check, providers.HOSTS.items())
    assert data_files.load().hosts == providers.HOSTS


def test_no_host_is_there_twice() -> None:
    hosts = [host for entry in providers._TABLE.values() for host in entry["hosts"]]

    assert sorted(hosts) == sorted(set(hosts))
    for host in hosts:
        provider = providers.HOSTS[host]
        shadowed = [p for p in hosts if p != host and providers._is_any(example(host), (p,))]
        assert {providers.HOSTS[pattern] for pattern in shadowed} <= {provider}


def test_entries_have_no_other_keys_and_caveats_only_about_their_hosts() -> None:
    for entry in providers._TABLE.values():
        assert entry.keys() <= {"hosts", "site_hosts", "mixed_hosts"}
        assert {*entry.get("site_hosts", ()), *entry.get("mixed_hosts", ())} <= {*entry["hosts"]}


def test_every_provider_is_priced_by_its_own_name_or_not_at_all() -> None:
    def check(provider: str) -> None:
        found = table._provider_named(provider)

        assert found is None or found["id"] == provider

    check_each(check, [(provider,) for provider in providers._TABLE])
    priced = {entry["id"] for entry in data.load().providers}
    assert priced - providers._TABLE.keys() == NOT_OURS.keys()


def test_host_that_genai_prices_knows_has_its_name() -> None:
    def check(host: str, provider: str) -> None:
        url = f"https://{example(host)}/client/v4/accounts/x/ai/serving-endpoints/"
        found = {
            each.id
            for each in genai_prices.providers
            if re.match(each.api_pattern, url) and each.id not in NOT_OURS
        }

        assert found <= {provider}

    check_each(check, providers.HOSTS.items())


def test_host_of_every_provider_that_genai_prices_knows_is_recognised() -> None:
    hosts = [example(host) for host in providers.HOSTS]
    paths = ("/client/v4/accounts/x/ai/", "/serving-endpoints/")

    def check(provider: str, pattern: str) -> None:
        urls = ((host, f"https://{host}{path}") for host in hosts for path in paths)
        known = {host for host, url in urls if re.match(pattern, url)}

        assert provider in {endpoints.provider_of(host, None, "/") for host in known}
        # The price of its calls is found by this name, in any spelling of letters.
        found = table._provider_named(provider.upper())
        assert found is not None
        assert found["id"] == provider

    check_each(
        check,
        [(each.id, each.api_pattern) for each in genai_prices.providers if each.id not in NOT_OURS],
    )


def test_host_that_only_a_pattern_of_genai_prices_names_is_recognised() -> None:
    found = {host: endpoints.provider_of(host, None, "/") for host in ONLY_IN_A_PATTERN}

    assert found == ONLY_IN_A_PATTERN


def test_every_path_of_capture_is_known_to_the_scanner() -> None:
    def check(ending: str, operation: str) -> None:
        host = "localhost:11434" if ending.startswith("/api/") else "api.openai.com"
        found = recognise(f"https://{host}{path_of(ending)}", data_files.load())
        kind = found.kind if found else ""

        assert kind in KINDS[operation]

    check_each(check, [(end, operation) for end, (_, operation) in CALLS.items()])


def test_every_path_of_the_scanner_is_captured() -> None:
    known: Any = data_files.load()
    scanned = [*known.paths, *known.host_paths, *known.ollama_paths]
    names = {name.lower(): name for name in CALLS}

    missing = {path for path in scanned if captured(path_of(names.get(path, path))) is None}

    assert missing == SCANNED_ONLY.keys()


def test_host_with_other_apis_counts_with_the_path_of_a_model_only() -> None:
    def check(host: str) -> None:
        def found(path: str) -> Any:
            return recognise(f"https://{example(host)}{path}", data_files.load())

        assert found("/api/2.1/jobs/runs") is None
        assert found("/client/v4/zones") is None
        assert found("/v1/chat/completions").provider == providers.provider_of(example(host))

    check_each(check, [(host,) for host in providers.MIXED_HOSTS])


def test_host_of_the_site_s_own_services_needs_the_right_answer() -> None:
    def check(host: str, provider: str) -> None:
        target = captured("/v1/chat/completions", example(host))

        assert target is not None
        assert target.provider == provider
        assert bool(target.unknown_host) == (host in providers.SITE_HOSTS)

    check_each(check, providers.HOSTS.items())


def test_digest_of_the_catalog_depends_on_the_table(monkeypatch: Any, tmp_path: Any) -> None:
    before = data_files.load().digest
    changed = tmp_path / "providers.json"
    changed.write_bytes(providers.PATH.read_bytes() + b"\n")
    monkeypatch.setattr(providers, "PATH", changed)

    assert data_files.load.__wrapped__().digest != before
