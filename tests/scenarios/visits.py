"""Concurrent visits to a site and their results."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count

import httpx

from tests.scenarios.servers import Server
from tests.support.waiting import PATIENCE, join, wait_until


@dataclass(frozen=True)
class Visit:
    view: str
    #: The prompt for the provider.
    prompt: str
    session: str = ""
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Visited:
    visit: Visit
    #: 0 if the response is incomplete.
    status: int
    text: str
    #: On the monotonic clock.
    started: float
    ms: float


def visit(server: Server, one: Visit) -> Visited:
    cookies = {"sessionid": one.session} if one.session else {}
    started = time.perf_counter()
    try:
        answer = httpx.get(
            f"{server.url}/{one.view}/",
            params={"q": one.prompt},
            cookies=cookies,
            headers=list(one.headers),
            timeout=PATIENCE,
        )
        status, text = answer.status_code, answer.text
    except httpx.TransportError:
        status, text = 0, ""
    return Visited(one, status, text, started, (time.perf_counter() - started) * 1000)


def visit_all(server: Server, visits: Iterable[Visit], *, at_once: int = 4) -> list[Visited]:
    with ThreadPoolExecutor(at_once) as executor:
        return list(executor.map(lambda one: visit(server, one), visits))


class Load:
    """Visit the site repeatedly while the block lasts."""

    def __init__(
        self, server: Server, *, view: str = "free", session: str = "", at_once: int = 3
    ) -> None:
        self._server, self._view, self._session = server, view, session
        self._numbers, self._over = count(), threading.Event()
        self._threads = [
            threading.Thread(target=self._come_again, daemon=True) for _ in range(at_once)
        ]
        self.visited: list[Visited] = []
        self._warm = 0.0

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        join(*self._threads)

    def warm_up(self) -> None:
        """Visit until the workers are ready. These visits do not count in `waits_ms`."""
        self.wait_for(20)
        self._warm = time.perf_counter()

    def waits_ms(self) -> list[float]:
        """Return the durations of visits to ready workers, in ascending order."""
        return sorted(one.ms for one in self.visited if one.started > self._warm)

    def wait_for(self, number: int) -> None:
        """Wait until `number` more visits end."""
        wanted = len(self.visited) + number
        wait_until(
            lambda: len(self.visited) >= wanted,
            awaited=f"{number} more visits",
            seen=lambda: self.visited[-3:],
        )

    def _come_again(self) -> None:
        while not self._over.is_set():
            one = Visit(self._view, f"visit {next(self._numbers)}", self._session)
            self.visited.append(visit(self._server, one))
