"""Fixtures of the tests over gRPC."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from pytest_django import Settings

from tests.sdks.bench import Bench
from tests.sdks.grpc_stub import GRPCStub


@cache
def _server(directory: Path) -> GRPCStub:
    stub = GRPCStub(directory)
    # grpc reads it with its first secure channel, and never again.
    os.environ["GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"] = str(stub.roots)
    return stub


@pytest.fixture(scope="session")
def grpc_server(tmp_path_factory: pytest.TempPathFactory) -> GRPCStub:
    # A fixture that modules import is one fixture for each of them; the server is the same.
    return _server(tmp_path_factory.getbasetemp())


@pytest.fixture
def grpc_stub(grpc_server: GRPCStub, settings: Settings) -> GRPCStub:
    grpc_server.clear()
    settings.AI_USAGE_GATEWAYS = grpc_server.gateways
    return grpc_server


@pytest.fixture
def grpc_bench(
    grpc_stub: GRPCStub,
    user: User,
    monkeypatch: pytest.MonkeyPatch,
    sdk_results: list[Any],
) -> Iterator[Bench]:
    stub: Any = grpc_stub
    bench = Bench(stub, user, monkeypatch)
    yield bench
    sdk_results.extend(bench.results)
