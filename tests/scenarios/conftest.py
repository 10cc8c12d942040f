from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from project.stub import StubProvider
from tests.processes import conftest as processes

stub, start = processes.stub, processes.start
SETTINGS = "tests.scenarios.settings"


@dataclass(frozen=True)
class Outcome:
    """One line of the table of faults."""

    fault: str
    #: Calls with an answer of the provider.
    served: int
    #: Calls whose answer reached the user.
    acknowledged: int
    #: Rows of distinct calls.
    found: int
    doubled: int
    client_errors: int
    #: Durations of the visits after the workers were ready, in ascending order.
    waits_ms: Sequence[float] = ()


_outcomes = pytest.StashKey[list[Outcome]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_outcomes] = []


@pytest.fixture
def outcomes(request: pytest.FixtureRequest) -> list[Outcome]:
    return request.config.stash[_outcomes]


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    outcomes = config.stash[_outcomes]
    if outcomes:
        terminalreporter.section("what was lost, and what visitors noticed")
        columns = (
            *("fault", "served", "acknowledged", "found", "doubled", "client errors"),
            *("median answer", "slowest answer"),
        )
        terminalreporter.write_line("| " + " | ".join(columns) + " |")
        terminalreporter.write_line("| --- |" + " ---: |" * (len(columns) - 1))
        for one in outcomes:
            waits = one.waits_ms
            waits_text = f"{median(waits):.0f} ms | {waits[-1]:.0f} ms" if waits else "|"
            terminalreporter.write_line(
                f"| {one.fault} | {one.served} | {one.acknowledged} | {one.found} | {one.doubled} "
                f"| {one.client_errors} | {waits_text} |"
            )


@pytest.fixture
def site(tmp_path: Path, database_url: str, stub: StubProvider) -> dict[str, str]:
    """The environment of a server and of commands of one site."""
    return environment(tmp_path, database_url, stub)


def environment(directory: Path, database_url: str, stub: StubProvider) -> dict[str, str]:
    given = processes.environment(directory, database_url, stub)
    return given | {"DJANGO_SETTINGS_MODULE": SETTINGS}
