"""Pytest plugin that enforces the marks `server` and `process`.

`make check` runs the tests that have neither mark. A test without a mark fails if it opens a port
or starts a process, and the message names the missing mark.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Generator

import pytest

#: Fixtures that run a server, and fixtures for child processes.
FIXTURES = {
    "server": {"stub", "own_stub", "dead_stub", "provider", "live_server"},
    "process": {"database_url", "empty_database_url", "new_database_url"},
}
#: The mark that each of Python's audit events requires.
#: https://docs.python.org/3/library/audit_events.html
MARKS = {
    "socket.bind": "server",
    "subprocess.Popen": "process",
    "os.fork": "process",
    "os.posix_spawn": "process",
}


class Costs:
    """Watches the audit events of the current test."""

    def __init__(self) -> None:
        self._allowed: set[str] | None = None
        self._used: dict[str, str] = {}
        # This starts a process once, and SDKs call it at their first call.
        platform.platform()
        sys.addaudithook(self._note)

    def _note(self, event: str, arguments: tuple[object, ...]) -> None:
        mark = MARKS.get(event)
        if event == "socket.bind" and str(arguments[1]).startswith("('::1'"):
            return  # urllib3 checks for IPv6 during its import
        if mark is not None and self._allowed is not None and mark not in self._allowed:
            self._used[mark] = f"{event} {arguments}"

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None]:
        marks = {mark.name for mark in item.iter_markers()}
        self._allowed = None if "browser" in marks else marks
        self._used.clear()
        try:
            yield
        finally:
            self._allowed = None
        for mark, what in self._used.items():
            pytest.fail(f"Mark this test with @pytest.mark.{mark}: {what[:200]}", pytrace=False)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Costs(), "costs of tests")


@pytest.hookimpl(tryfirst=True)  # before `-m` selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for mark, fixtures in FIXTURES.items():
            if not fixtures.isdisjoint(getattr(item, "fixturenames", ())):
                item.add_marker(mark)
