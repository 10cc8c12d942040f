"""Measure the CPU that capture adds to a call over real HTTP, before delivery.

    python -m benchmarks.capture [--rounds N] [--only NAME]

The same calls are made with and without the hooks, in turn, in one process; the ratio counts. First
come the real SDKs, then each bare transport, each with one plain call and one stream of some
hundred events with its usage.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks.site import site, stub
from benchmarks.table import FULL, Row, scaled

CALLS = 25
PLAIN = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hello " * 50}]}
STREAM = {
    "model": "gpt-4o-mini",
    "messages": [{"role": "user", "content": "hello [stub words=200]"}],
    "stream": True,
    "stream_options": {"include_usage": True},
}
#: In µs, and against the SDK alone.
TARGETS = {"plain": 60, "stream": 300}
RATIO = 1.2
BEFORE = 20

Call = Callable[[], None]


@dataclass(frozen=True)
class Before:
    """CPU in µs from the site's call of a hooked `send` to the library's own, by part."""

    parts: dict[str, float]

    @property
    def whole(self) -> float:
        """All parts together."""
        return self.parts["whole"]

    def __str__(self) -> str:
        return "   ".join(f"{name} {spent:.1f} µs" for name, spent in self.parts.items())


@dataclass(frozen=True)
class Compared:
    """CPU of a call alone and what capture adds to it, both in µs, and the ratio."""

    alone: float
    added: float
    ratio: float
    events: int

    def __str__(self) -> str:
        per_event = f"  {self.added / self.events:4.1f} per event" if self.events > 1 else ""
        return (
            f"alone {self.alone:6.0f} µs   added {self.added:5.0f} µs   ratio {self.ratio:.3f}"
            + per_event
        )


def main() -> None:
    """Print a line for each transport and kind of call."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--only", default="", help="part of a name")
    options = parser.parse_args()
    for name, kind, compared in compare_all(options.only, options.rounds):
        print(f"{name:20} {kind:7} {compared} (target ≤ {TARGETS[kind]} µs)", flush=True)
    if options.only in "before the request":
        with site():
            print(f"before the request: {before_request(options.rounds)}")


def measure(part: float = FULL) -> Iterator[Row]:
    """Yield the rows of the table of all benchmarks."""
    alone = 0.0
    for name, kind, compared in compare_all("openai SDK", scaled(20, part, 3)):
        alone = alone or compared.alone
        yield Row(
            f"CPU added per captured call, {name}, {kind}",
            f"≤ {TARGETS[kind]} µs",
            f"{compared.added:+.0f} µs",
            met=compared.added <= TARGETS[kind],
        )
        yield Row(
            f"the same, against the SDK alone, {kind}",
            f"≤ {RATIO} x",
            f"{compared.ratio:.2f} x of {compared.alone:.0f} µs",
            met=compared.ratio <= RATIO,
        )
    with site():
        before = before_request(scaled(20, part, 3)).whole
    yield Row(
        "CPU of our part before the request goes out, httpx2",
        f"≤ {BEFORE} µs",
        f"{before:.0f} µs, {before / alone:.1%} of the SDK's own",
        met=before <= BEFORE,
    )


def compare_all(only: str, rounds: int) -> Iterator[tuple[str, str, Compared]]:
    """Yield the name, the kind and the result of each comparison whose name has `only` in it."""
    with stub() as host_port, site():
        from usage_tracking import outbox

        outbox.listener = None  # no delivery thread in the measurement
        base = f"http://{host_port}/openai/v1"
        events = count_events(f"{base}/chat/completions")
        with asyncio.Runner() as runner:
            for name, open_client in ways(base, runner).items():
                if only in name:
                    plain, stream = open_client()
                    yield name, "plain", compare(plain, rounds, 1)
                    yield name, "stream", compare(stream, rounds, events)


def ways(base: str, runner: asyncio.Runner) -> dict[str, Callable[[], tuple[Call, Call]]]:
    """Return what opens each client, and returns its plain call and its stream."""
    return {
        "openai SDK (httpx2)": lambda: openai_sdk(base),
        "httpx2": lambda: through_httpx("httpx2", base),
        "httpx": lambda: through_httpx("httpx", base),
        "httpx2 async": lambda: through_httpx_async(base, runner),
        "requests": lambda: through_requests(base),
        "botocore": lambda: through_botocore(base),
        "aiohttp": lambda: through_aiohttp(base, runner),
    }


def openai_sdk(base: str) -> tuple[Call, Call]:
    """Return the calls of the OpenAI SDK."""
    from openai import OpenAI

    client: Any = OpenAI(base_url=base, api_key="none")

    def plain() -> None:
        client.chat.completions.create(**PLAIN)

    def stream() -> None:
        for _ in client.chat.completions.create(**STREAM):
            pass

    return plain, stream


def through_httpx(package: str, base: str) -> tuple[Call, Call]:
    """Return the calls of httpx or httpx2."""
    from importlib import import_module

    client = import_module(package).Client()

    def plain() -> None:
        client.post(f"{base}/chat/completions", json=PLAIN)

    def stream() -> None:
        with client.stream("POST", f"{base}/chat/completions", json=STREAM) as response:
            for _ in response.iter_lines():
                pass

    return plain, stream


def through_httpx_async(base: str, runner: asyncio.Runner) -> tuple[Call, Call]:
    """Return the calls of the async client of httpx2."""
    import httpx2

    client = httpx2.AsyncClient()

    async def post() -> None:
        await client.post(f"{base}/chat/completions", json=PLAIN)

    async def read() -> None:
        async with client.stream("POST", f"{base}/chat/completions", json=STREAM) as response:
            async for _ in response.aiter_lines():
                pass

    return lambda: runner.run(post()), lambda: runner.run(read())


def through_requests(base: str) -> tuple[Call, Call]:
    """Return the calls of requests."""
    import requests

    session = requests.Session()

    def plain() -> None:
        session.post(f"{base}/chat/completions", json=PLAIN, timeout=10)

    def stream() -> None:
        with session.post(
            f"{base}/chat/completions", json=STREAM, stream=True, timeout=10
        ) as response:
            for _ in response.iter_lines():
                pass

    return plain, stream


def through_aiohttp(base: str, runner: asyncio.Runner) -> tuple[Call, Call]:
    """Return the calls of aiohttp."""
    import aiohttp

    async def open_session() -> aiohttp.ClientSession:
        return aiohttp.ClientSession()

    session = runner.run(open_session())

    async def post() -> None:
        async with session.post(f"{base}/chat/completions", json=PLAIN) as response:
            await response.read()

    async def read() -> None:
        async with session.post(f"{base}/chat/completions", json=STREAM) as response:
            async for _ in response.content:
                pass

    return lambda: runner.run(post()), lambda: runner.run(read())


def through_botocore(base: str) -> tuple[Call, Call]:
    """Return the calls of botocore."""
    import json

    from botocore.awsrequest import AWSRequest
    from botocore.httpsession import URLLib3Session

    session = URLLib3Session()

    def send(body: Any, *, streamed: bool) -> Any:
        request = AWSRequest(
            method="POST",
            url=f"{base}/chat/completions",
            data=json.dumps(body),
            stream_output=streamed,
        )
        return session.send(request.prepare())

    def plain() -> None:
        send(PLAIN, streamed=False)

    def stream() -> None:
        for _ in send(STREAM, streamed=True).raw.stream():
            pass

    return plain, stream


def before_request(rounds: int) -> Before:
    """Measure inside a request whose user is not loaded, in a block with a section."""
    import httpx2
    from django.http import HttpRequest
    from django.utils.functional import SimpleLazyObject

    from usage_tracking import ai_usage, capture
    from usage_tracking.attribution import resolve, scope
    from usage_tracking.capture import endpoints, exchange, httpx

    capture.install(["httpx2"])
    request = httpx2.Client().build_request(
        "POST", "https://api.openai.com/v1/chat/completions", json=PLAIN
    )
    django_request: Any = HttpRequest()
    django_request.user = SimpleLazyObject(dict)
    url = request.url
    target = "POST", url.host, url.port, url.raw_path.decode()
    endpoint: Any = endpoints.recognise(*target)
    parts: dict[str, Callable[[], object]] = {
        "whole": lambda: httpx._begin("httpx2", httpx2.Request, None, request),
        "recognise": lambda: endpoints.recognise(*target),
        "attribution": resolve.attribution,
        "exchange": lambda: exchange.Exchange(endpoint, target[-1], b""),
    }
    unit = scope.Unit(django_request)
    with scope.Steps(scope.Scope(unit)), ai_usage(section="chat"):
        if parts["whole"]() is None:
            raise RuntimeError("the request is not an AI call")
        spent = {
            name: statistics.median(cpu(part, 1000) for _ in range(rounds))
            for name, part in parts.items()
        }
    spent["exchange"] -= spent["attribution"]  # which it calls
    return Before(spent)


def count_events(url: str) -> int:
    """Return the number of events in a stream."""
    import requests

    return requests.post(url, json=STREAM, timeout=10).content.count(b"data: ")


def compare(call: Call, rounds: int, events: int) -> Compared:
    """Make the call with the hooks and without, in turn."""
    from usage_tracking import ai_usage, capture

    capture.install(list(capture.TRANSPORTS))
    for _ in range(5):
        call()
    without, with_us = [], []
    for _ in range(rounds):
        capture.uninstall()
        without.append(cpu(call))
        capture.install(list(capture.TRANSPORTS))
        with ai_usage(section="chat"):
            with_us.append(cpu(call))
    return Compared(
        alone=statistics.median(without),
        added=statistics.median(b - a for a, b in zip(without, with_us, strict=True)),
        ratio=statistics.median(b / a for a, b in zip(without, with_us, strict=True)),
        events=events,
    )


def cpu(call: Callable[[], object], calls: int = CALLS) -> float:
    """Return the CPU per call in µs."""
    started = time.process_time()
    for _ in range(calls):
        call()
    return (time.process_time() - started) / calls * 1e6


if __name__ == "__main__":
    main()
