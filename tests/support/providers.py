"""Fixtures for tests that make AI calls: a local provider and a user."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import certifi
import pytest
from django.contrib.auth.models import User
from pytest_django import Settings

from project.stub import StubProvider

NAMES = ("openai", "anthropic", "google")


@pytest.fixture(scope="session")
def provider() -> Iterator[StubProvider]:
    # Exclude the SDKs' objects from later collections. Scanning them takes a third of a second in
    # each test that collects garbage.
    gc.freeze()
    with StubProvider() as provider:
        yield provider
    gc.unfreeze()


@pytest.fixture(scope="session")
def one_certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CA file with one certificate. SDK clients need 40 ms to load all; no test uses TLS."""
    end = "-----END CERTIFICATE-----\n"
    path = tmp_path_factory.mktemp("tls") / "one.pem"
    path.write_text(Path(certifi.where()).read_text().partition(end)[0] + end)
    return path


@pytest.fixture
def stub(
    provider: StubProvider,
    settings: Settings,
    one_certificate: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> StubProvider:
    """The provider with an empty journal, configured as a site's gateway."""
    monkeypatch.setenv("SSL_CERT_FILE", str(one_certificate))
    provider.clear()
    settings.AI_USAGE_GATEWAYS = _gateways(provider)
    settings.OPENAI_URL = provider.openai_url
    return provider


@pytest.fixture
def own_stub(
    settings: Settings, one_certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[StubProvider]:
    """A provider for one test, so that a late request of a closed client reaches no other journal.

    It drops delayed responses when the test ends.
    """
    monkeypatch.setenv("SSL_CERT_FILE", str(one_certificate))
    with StubProvider() as provider:
        settings.AI_USAGE_GATEWAYS = _gateways(provider)
        yield provider


@pytest.fixture
def dead_stub(settings: Settings) -> StubProvider:
    """A provider whose address refuses connections."""
    with StubProvider() as provider:
        pass
    settings.AI_USAGE_GATEWAYS = _gateways(provider)
    return provider


@pytest.fixture
def user(db: None) -> User:
    return User.objects.create_user("ada", "ada@example.com", "secret")


#: Timeout in seconds, far more than any step takes on a busy machine.
LIMIT = 60.0


async def until(happened: Callable[[], object], what: str) -> None:
    """Wait until `happened()` is true. `what` describes the condition in the failure message."""
    end = time.monotonic() + LIMIT
    while not happened():
        if time.monotonic() > end:
            pytest.fail(f"timed out after {LIMIT:.0f} s while waiting for {what}")
        await asyncio.sleep(0.005)


def wait_for(event: threading.Event, what: str) -> None:
    assert event.wait(LIMIT), f"timed out after {LIMIT:.0f} s while waiting for {what}"


def join(thread: threading.Thread) -> None:
    thread.join(LIMIT)
    assert not thread.is_alive(), f"{thread.name} has not ended within {LIMIT:.0f} s"


def _gateways(provider: StubProvider) -> dict[str, str]:
    return {f"{provider.host_port}/{name}": name for name in NAMES}
