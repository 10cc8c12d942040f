"""The real SDKs against the stub. Only their own sessions collect these tests (noxfile.py)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from pytest_django import Settings

from project.stub import StubProvider
from tests.sdks.results import Result
from tests.support.providers import one_certificate, provider, user

pytest.register_assert_rewrite("tests.support.comparison", "tests.sdks.bench")

from tests.sdks.bench import Bench  # noqa: E402 -- after its registration for assert rewriting

__all__ = ["one_certificate", "provider", "user"]

_results: list[Result] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--sdk-results", type=Path, help="file that gets what was tried, as JSON")
    parser.addoption("--starts", type=int, default=3, help="of a server, for each SDK")


def pytest_sessionfinish(session: pytest.Session) -> None:
    path: Path | None = session.config.getoption("sdk_results")
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps([asdict(result) for result in _results], indent=1))


@pytest.fixture
def stub(
    provider: StubProvider,
    settings: Settings,
    one_certificate: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> StubProvider:
    """The provider with an empty journal and all of its addresses configured."""
    monkeypatch.setenv("SSL_CERT_FILE", str(one_certificate))
    provider.clear()
    settings.AI_USAGE_GATEWAYS = provider.gateways
    return provider


@pytest.fixture
def sdk_results() -> list[Result]:
    """The results of this session, to which a bench adds its own."""
    return _results


@pytest.fixture
def bench(
    stub: StubProvider, user: User, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Bench]:
    bench = Bench(stub, user, monkeypatch)
    yield bench
    _results.extend(bench.results)
