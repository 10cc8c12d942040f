from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from django.contrib.auth.models import User

from project.stub import StubProvider
from tests.support.environment import DIRECTORY_VARIABLE
from tests.support.waiting import finish

Start = Callable[..., "Child"]


@pytest.fixture
def stub() -> Iterator[StubProvider]:
    with StubProvider() as provider:
        yield provider


@pytest.fixture
def site(tmp_path: Path, database_url: str, stub: StubProvider) -> dict[str, str]:
    """The environment of child processes of one site."""
    return environment(tmp_path, database_url, stub)


def environment(directory: Path, database_url: str, stub: StubProvider) -> dict[str, str]:
    return os.environ | {
        "DJANGO_SETTINGS_MODULE": "tests.processes.settings",
        "DATABASE_URL": database_url,
        DIRECTORY_VARIABLE: str(directory),
        "STUB": stub.host_port,
        "PATIENT": "yes",
    }


class Child(subprocess.Popen[str]):
    """A process of a site, with a pipe for stdout and a file for stderr.

    The process never blocks on stderr, and stderr can be read while the process runs.
    """

    def __init__(
        self, command: Sequence[str], env: dict[str, str], errors: Path, stdin: int | None
    ) -> None:
        self._errors = errors
        with errors.open("w") as file:
            super().__init__(
                command,
                env=env,
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
                start_new_session=True,  # to kill its children with it
            )

    def log(self) -> str:
        return self._errors.read_text()

    def end(self) -> str:
        """Wait for a successful end of the process and return the rest of stdout."""
        output, _ = finish(self)
        assert self.returncode == 0, f"{self.args!r}:\n{output}\n--- stderr\n{self.log()}"
        return output

    def kill_at_once(self) -> str:
        """Kill the process and its children like the OOM killer; return the rest of stdout."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        return finish(self)[0]


@pytest.fixture
def start(site: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Start `python -m MODULE ARGS` as a process of the site."""
    directory = tmp_path_factory.mktemp("stderr")
    started: list[Child] = []

    def start(
        *arguments: object, env: dict[str, str] = site, stdin: int | None = subprocess.DEVNULL
    ) -> Child:
        command = [sys.executable, "-m", *map(str, arguments)]
        child = Child(command, env, directory / str(len(started)), stdin)
        started.append(child)
        return child

    yield start
    # Pytest shows the output of a failed test.
    for child in started:
        rest = child.kill_at_once()
        print(f"--- {child.args!r} ended with {child.returncode}\n{rest}\n{child.log()}")


@pytest.fixture
def user(transactional_db: None) -> User:
    return User.objects.create(username="worker")
