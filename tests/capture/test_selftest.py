"""The self-test sees what is captured, and what is not."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import httpx2
import pytest
import requests
from pytest_django import Settings

from tests.support.comparison import rows, without_capture
from usage_tracking import ai_usage, capture
from usage_tracking.capture import selftest
from usage_tracking.capture.selftest_sdks import SDKS

pytestmark = [pytest.mark.django_db, pytest.mark.server]

MODES = {
    ("httpx", "sync"),
    ("httpx", "async"),
    ("httpx2", "sync"),
    ("httpx2", "async"),
    ("requests", "sync"),
    ("aiohttp", "async"),
    ("botocore", "sync"),
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
