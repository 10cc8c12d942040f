"""What a test may use: a pytest plugin that keeps the marks `server` and `process` true.

`make check` runs the tests that have neither mark. A test without them fails if it opens a port or
starts a process, and says which mark it needs.
"""

from __future__ import annotations

import sys
from collections.abc import Generator

import pytest

#: Fixtures that run a server for the test.
SERVERS = {"stub", "dead_stub", "provider", "live_server"}
#: The mark that allows what Python reports under these names.
#: https://docs.python.org/3/library/audit_events.html
MARKS = {
    "socket.bind": "server",
    "subprocess.Popen": "process",
    "os.fork": "process",
    "os.posix_spawn": "process",
}


class Costs:
    """Watches what the current test does."""

    def __init__(self) -> None:
        self._allowed: set[str] | None = None
        self._used: set[str] = set()
        sys.addaudithook(self._note)

    def _note(self, event: str, arguments: tuple[object, ...]) -> None:
        mark = MARKS.get(event)
        if mark is not None and self._allowed is not None and mark not in self._allowed:
            self._used.add(mark)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None]:
        self._allowed = {mark.name for mark in item.iter_markers()}
        self._used.clear()
        try:
            yield
        finally:
            self._allowed = None
        if self._used:
            needed = ", ".join(f"@pytest.mark.{mark}" for mark in sorted(self._used))
            pytest.fail(f"Mark this test with {needed}: `make check` leaves it out.", pytrace=False)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Costs(), "costs of tests")


@pytest.hookimpl(tryfirst=True)  # before `-m` selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if not SERVERS.isdisjoint(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.server)
