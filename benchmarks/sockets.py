"""Measure the CPU that capture adds to one message of a websocket, in µs.

    python -m benchmarks.sockets [--messages NUMBER]

Targets: 1 µs on a socket that is not an AI provider's, 10 µs on one that is. The messages are those
of which a socket has many; the end of a response costs what any recorded call costs.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import sys
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

FOREIGN, AI = 1.0, 10.0

_AUDIO = base64.b64encode(bytes(15_000)).decode()
_LIVE = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
_SPOKEN = {"modelTurn": {"parts": [{"inlineData": {"mimeType": "audio/pcm", "data": _AUDIO}}]}}
_COUNTS = {"promptTokenCount": 1000, "responseTokenCount": 100, "totalTokenCount": 1100}

#: What is measured → the path of the socket, whether the site sends it, and the message.
MESSAGES: dict[str, tuple[str, bool, Any]] = {
    "a text delta is received": (
        "/v1/responses",
        False,
        {"type": "response.output_text.delta", "item_id": "item_1", "delta": "Hello"},
    ),
    "an audio delta of 20 kB is received": (
        "/v1/realtime",
        False,
        {"type": "response.output_audio.delta", "event_id": "event_1", "delta": _AUDIO},
    ),
    "an audio delta with its type at the end is received": (
        "/v1/realtime",
        False,
        {"delta": _AUDIO, "event_id": "event_1", "type": "response.output_audio.delta"},
    ),
    "audio of 20 kB is sent": (
        "/v1/realtime",
        True,
        {"type": "input_audio_buffer.append", "audio": _AUDIO},
    ),
    "audio of Live of 20 kB is received": (_LIVE, False, {"serverContent": _SPOKEN}),
    "audio of Live of 20 kB with totals is received": (
        _LIVE,
        False,
        {"serverContent": _SPOKEN, "usageMetadata": _COUNTS},
    ),
    "audio of Live of 20 kB is sent": (
        _LIVE,
        True,
        {"realtimeInput": {"audio": {"mimeType": "audio/pcm", "data": _AUDIO}}},
    ),
}


def _classes() -> tuple[Any, Any]:
    """Return new classes of connections that do nothing, for threads and for asyncio."""

    class Connection:
        close_code = None
        message = ""

        def handshake(self) -> None: ...
        def send(self, message: Any) -> None: ...
        def recv(self) -> str:
            return self.message

        def close(self) -> None: ...

    class AsyncConnection:
        close_code = None
        message = ""

        async def handshake(self) -> None: ...
        async def send(self, message: Any) -> None: ...
        async def recv(self) -> str:
            return self.message

        async def close(self) -> None: ...

    return Connection, AsyncConnection


def _time(passed: Callable[[], object], messages: int) -> float:
    """Return the µs of CPU for one message, the least of several runs."""
    best = float("inf")
    for _ in range(5):
        begun = time.process_time()
        for _ in range(messages):
            passed()
        best = min(best, time.process_time() - begun)
    return best / messages * 1e6


async def _atime(passed: Callable[[], Any], messages: int) -> float:
    best = float("inf")
    for _ in range(5):
        begun = time.process_time()
        for _ in range(messages):
            await passed()
        best = min(best, time.process_time() - begun)
    return best / messages * 1e6


def _added(path: str, message: str, messages: int, *, sends: bool) -> tuple[float, float]:
    """Return the µs that capture adds to a message, in threads and on an event loop.

    Args:
        path: The path of the socket; "" for one that is not a provider's.
        message: The message.
        messages: How many of it pass.
        sends: Whether the site sends it.
    """
    from usage_tracking.capture import sockets, websockets

    found = []
    for plain, hooked in zip(_classes(), _classes(), strict=True):
        module = ModuleType("websockets")
        vars(module)["ClientConnection"] = hooked
        websockets.hook(module, "websockets")
        each = []
        for connection in (plain(), hooked()):
            connection.message = message
            host = "api.openai.com" if "v1/re" in path else "generativelanguage.googleapis.com"
            session = sockets.open_session("websockets", host, None, path, "")
            if session is not None and type(connection) is hooked:
                setattr(connection, sockets.KEY, session)
            passed = (lambda c=connection: c.send(message)) if sends else connection.recv
            is_async = asyncio.iscoroutinefunction(plain.recv)
            each.append(
                asyncio.run(_atime(passed, messages)) if is_async else _time(passed, messages)
            )
        found.append(each[1] - each[0])
    return found[0], found[1]


def main(args: list[str]) -> int:
    """Print the figures; return 1 if a target was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=20_000)
    messages = parser.parse_args(args).messages
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.settings")
    import django

    django.setup()
    from usage_tracking.capture.exchange import trial_events

    trial_events.set([])  # nothing is recorded

    missed = 0
    cases = {"any message of another socket": ("", False, {"type": "chat", "text": "Hello"})}
    for name, (path, sends, message) in (cases | MESSAGES).items():
        limit = AI if path else FOREIGN
        figures = _added(path, json.dumps(message), messages, sends=sends)
        missed += max(figures) > limit
        print(f"{name:55} {figures[0]:6.2f} {figures[1]:6.2f} (at most {limit:g})")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
