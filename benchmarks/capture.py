"""CPU that capture adds to a call over real HTTP, before delivery.

    python -m benchmarks.capture [--rounds N] [--only NAME]

The same calls are made with the hooks and without, in turn, in one process; the ratio is what
counts. First the real SDKs, then each transport bare: one plain call, and one stream of some
hundred events with its usage.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Callable
from typing import Any

from benchmarks.site import site, stub

CALLS = 25
PLAIN = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hello " * 50}]}
STREAM = {
    "model": "gpt-4o-mini",
    "messages": [{"role": "user", "content": "hello [stub words=200]"}],
    "stream": True,
    "stream_options": {"include_usage": True},
}
TARGETS = {"plain": 60, "stream": 300}

Call = Callable[[], None]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--only", default="", help="part of a name")
    options = parser.parse_args()
    with stub() as host_port, site():
        from usage_tracking import outbox

        outbox.listener = None  # no delivery thread in the measurement
        base = f"http://{host_port}/openai/v1"
        events = count_events(f"{base}/chat/completions")
        with asyncio.Runner() as runner:
            for name, plain, stream in ways(base, runner):
                if options.only in name:
                    compare(name, "plain", plain, options.rounds, 1)
                    compare(name, "stream", stream, options.rounds, events)


def ways(base: str, runner: asyncio.Runner) -> list[tuple[str, Call, Call]]:
    return [
        ("openai SDK (httpx2)", *openai_sdk(base)),
        ("httpx2", *through_httpx("httpx2", base)),
        ("httpx", *through_httpx("httpx", base)),
        ("httpx2 async", *through_httpx_async(base, runner)),
        ("requests", *through_requests(base)),
        ("botocore", *through_botocore(base)),
        ("aiohttp", *through_aiohttp(base, runner)),
    ]


def openai_sdk(base: str) -> tuple[Call, Call]:
    from openai import OpenAI

    client: Any = OpenAI(base_url=base, api_key="none")

    def plain() -> None:
        client.chat.completions.create(**PLAIN)

    def stream() -> None:
        for _ in client.chat.completions.create(**STREAM):
            pass

    return plain, stream


def through_httpx(package: str, base: str) -> tuple[Call, Call]:
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


def count_events(url: str) -> int:
    import requests

    return requests.post(url, json=STREAM, timeout=10).content.count(b"data: ")


def compare(name: str, kind: str, call: Call, rounds: int, events: int) -> None:
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
    added = statistics.median(b - a for a, b in zip(without, with_us, strict=True))
    ratio = statistics.median(b / a for a, b in zip(without, with_us, strict=True))
    per_event = f"  {added / events:4.1f} per event" if events > 1 else ""
    print(
        f"{name:20} {kind:7} alone {statistics.median(without):6.0f} µs   added {added:5.0f} µs "
        f"(target ≤ {TARGETS[kind]})   ratio {ratio:.3f}{per_event}",
        flush=True,
    )


def cpu(call: Call) -> float:
    """CPU per call in µs."""
    started = time.process_time()
    for _ in range(CALLS):
        call()
    return (time.process_time() - started) / CALLS * 1e6


if __name__ == "__main__":
    main()
