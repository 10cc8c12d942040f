from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from django.contrib.auth.models import User

from project.stub import StubProvider
from tests.databases import DIRECTORY_VARIABLE

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def stub() -> Iterator[StubProvider]:
    with StubProvider() as provider:
        yield provider


@pytest.fixture
def site(tmp_path: Path, database_url: str, stub: StubProvider) -> dict[str, str]:
    """The environment of child processes that are one site."""
    return environment(tmp_path, database_url, stub)


def environment(directory: Path, database_url: str, stub: StubProvider) -> dict[str, str]:
    return os.environ | {
        "DJANGO_SETTINGS_MODULE": "tests.processes.settings",
        "DATABASE_URL": database_url,
        DIRECTORY_VARIABLE: str(directory),
        "STUB": stub.host_port,
    }


@pytest.fixture
def start(site: dict[str, str]) -> Iterator[Start]:
    """Starts `python -m MODULE ARGS` as a process of the site."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: object, env: dict[str, str] = site) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", *map(str, arguments)],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # so that its children can be killed with it
        )
        started.append(process)
        return process

    yield start
    for process in started:
        kill(process)


def kill(process: subprocess.Popen[str]) -> None:
    """With its children, at once."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


@pytest.fixture
def user(transactional_db: None) -> User:
    return User.objects.create(username="worker")
