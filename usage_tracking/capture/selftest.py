"""Make real calls to a local server to check that capture works.

The self-test finds two failures that the log cannot show, because the calls are missing from it: an
SDK that moves to another HTTP library, and a transport whose new release is not supported. The
calls reach no provider and leave no row. Use it in commands and health checks, not in requests: an
SDK takes seconds to import.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from typing import Any

from ..events import UsageEvent
from . import module_of, status
from .exchange import is_recorded_trial, trial_events
from .selftest_answers import MODEL, OPENAI_CHAT, TOKENS
from .selftest_grpc import GRPC_CALLS
from .selftest_known import Untried, installed_version, untried_sdks
from .selftest_sdks import REQUEST, SDK, SDKS, Call
from .selftest_sockets import SOCKET_CALLS, is_websocket, serve_websocket

__all__ = [
    "MODEL",
    "TIMEOUT",
    "TOKENS",
    "Trial",
    "Untried",
    "send",
    "try_sdks",
    "try_transports",
    "untried_sdks",
]

#: Seconds that one call may take.
TIMEOUT = 10.0
#: Seconds that the import of one SDK may take.
IMPORT_TIMEOUT = 30.0


@dataclass(frozen=True, slots=True)
class Trial:
    """One real call through one library."""

    #: Name of the distribution: a transport or an SDK.
    package: str
    version: str
    #: "sync" or "async"; with " websocket", if the transport sends requests of HTTP too.
    mode: str
    captured: bool
    #: Why the call was not captured, "" if it was.
    problem: str


def try_transports() -> list[Trial]:
    """Make a call through every installed transport, in each of its modes."""
    versions = {found.transport: found.version for found in status()}
    calls = [(transport, call, "") for transport, call in _TRANSPORTS]
    calls += [(one.transport, one.call, one.kind) for one in SOCKET_CALLS if one.is_possible]
    calls += [("grpc", call, "") for call in GRPC_CALLS]
    with _environment({}), _provider() as url:
        return [
            Trial(transport, versions[transport], _mode(call, kind), *_outcome(call, url))
            for transport, call, kind in calls
            if versions.get(transport)
        ]


def try_sdks() -> list[Trial]:
    """Make a call through every installed SDK of `selftest_sdks.SDKS`, in each of its modes.

    An SDK that had to be imported stays imported.
    """
    with _provider() as url:
        return [
            trial
            for sdk in SDKS
            if (installed := installed_version(sdk.package))
            for trial in _sdk_trials(sdk, installed, url)
        ]


def _sdk_trials(sdk: SDK, installed: str, url: str) -> Iterator[Trial]:
    with _environment(sdk.environ):
        # Once for all modes: what failed or hangs will not do better the next time.
        failure = _failure(lambda: import_module(sdk.module), IMPORT_TIMEOUT)
        for call in sdk.calls:
            outcome = (False, failure) if failure else _outcome(call, url, sdk.answer.tokens)
            yield Trial(sdk.package, installed, _mode(call), *outcome)


def send() -> str:
    """Make one call that is recorded like any other, and return the transport that carried it.

    Returns:
        The name of the transport; "" if no installed transport is hooked.

    Raises:
        Exception: What the transport raises.
    """
    for package, call in _TRANSPORTS:
        with suppress(ImportError):
            import_module(module_of(package))  # importing the module hooks it
        if any(found.transport == package and found.hooked for found in status()):
            with _provider() as url:
                if error := _in_thread(partial(_recorded, call, url), TIMEOUT):
                    raise error
            return package
    return ""


def _recorded(call: Call, url: str) -> None:
    is_recorded_trial.set(True)
    _run(call, url)


def _mode(call: Call, kind: str = "") -> str:
    mode = "async" if asyncio.iscoroutinefunction(call) else "sync"
    return f"{mode} {kind}".rstrip()


def _outcome(call: Call, url: str, tokens: tuple[int, int | None] = TOKENS) -> tuple[bool, str]:
    """Make the call; return whether it was captured, and the problem if it was not."""
    seen: list[UsageEvent] = []

    def run() -> None:
        trial_events.set(seen)
        _run(call, url)

    failure = _failure(run, TIMEOUT)
    if any((event.prompt_tokens, event.completion_tokens) == tokens for event in seen):
        return True, ""
    if failure:
        return False, failure
    return False, "its tokens were not read" if seen else "no hook saw it"


def _failure(run: Callable[[], object], timeout: float) -> str:
    """Run code of a library; return why the call could not be made, "" if it could."""
    error = _in_thread(run, timeout)
    if error is None:
        return ""
    text = f"{type(error).__name__}: {error}".removesuffix(": ")
    return f"the call could not be made: {text[:300]}"


def _run(call: Call, url: str) -> None:
    if asyncio.iscoroutinefunction(call):
        asyncio.run(asyncio.wait_for(call(url), TIMEOUT))
    else:
        call(url)


def _in_thread(run: Callable[[], object], timeout: float) -> BaseException | None:
    """Run in another thread; return the error that ended it, a TimeoutError if it did not end.

    An event loop may be running in this thread. A library that exits does not end the process, and
    one that hangs does not keep it alive.
    """
    errors: list[BaseException | None] = []

    def target() -> None:
        try:
            run()
        except BaseException as error:  # noqa: BLE001 -- a library may raise SystemExit
            errors.append(error)
        else:
            errors.append(None)

    # A copy of the context, so that the context variables that `run` sets do not leak.
    thread = threading.Thread(target=copy_context().run, args=(target,), daemon=True)
    thread.start()
    thread.join(timeout)
    return errors[0] if errors else TimeoutError(f"no end after {timeout:g} seconds")


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables, and undo these and every other change at the end.

    Calls to the local server bypass the proxy of the site.
    """
    before = dict(os.environ)
    no_proxy = before.get("no_proxy") or before.get("NO_PROXY")
    os.environ.update(variables, no_proxy=f"{no_proxy},127.0.0.1" if no_proxy else "127.0.0.1")
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            os.environ.pop(name, None)
        os.environ.update(before)


@contextmanager
def _provider() -> Iterator[str]:
    """Run a server on 127.0.0.1 that answers in every format of `SDKS`; yield its URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    # The server checks this often whether it must stop, and `shutdown` waits for it.
    interval = {"poll_interval": 0.005}
    thread = threading.Thread(target=server.serve_forever, kwargs=interval, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


_ANSWERS = {answer.path: answer.body for answer in (OPENAI_CHAT, *(sdk.answer for sdk in SDKS))}


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        """Open a websocket, or answer what an SDK asks before the call: nothing is configured."""
        if is_websocket(self):
            serve_websocket(self)
        else:
            self._send(200, {})

    def do_POST(self) -> None:
        """Answer the call."""
        self.rfile.read(int(self.headers.get("content-length", 0)))
        path = self.path.partition("?")[0]
        answer = next((body for end, body in _ANSWERS.items() if path.endswith(end)), None)
        self._send(200 if answer else 404, answer or {"error": f"no API at {path}"})

    def _send(self, status: int, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


# One call through each transport without an SDK, in OpenAI's chat format.


def _httpx_options() -> dict[str, Any]:
    # The call uses no TLS, and loading the default certificate authorities takes longer than the
    # call.
    without_authorities = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return {"trust_env": False, "timeout": TIMEOUT, "verify": without_authorities}


def _httpx(package: str, url: str) -> None:
    with import_module(package).Client(**_httpx_options()) as client:
        client.post(f"{url}/v1/chat/completions", json=REQUEST)


async def _ahttpx(package: str, url: str) -> None:
    async with import_module(package).AsyncClient(**_httpx_options()) as client:
        await client.post(f"{url}/v1/chat/completions", json=REQUEST)


def _requests(url: str) -> None:
    with import_module("requests").Session() as session:
        session.trust_env = False
        session.post(f"{url}/v1/chat/completions", json=REQUEST, timeout=TIMEOUT)


async def _aiohttp(url: str) -> None:
    async with (
        import_module("aiohttp").ClientSession() as session,
        session.post(f"{url}/v1/chat/completions", json=REQUEST) as response,
    ):
        await response.read()


def _botocore(url: str) -> None:
    request = import_module("botocore.awsrequest").AWSRequest(
        method="POST", url=f"{url}/v1/chat/completions", data=json.dumps(REQUEST)
    )
    import_module("botocore.httpsession").URLLib3Session().send(request.prepare())


_TRANSPORTS: list[tuple[str, Call]] = [
    ("httpx", partial(_httpx, "httpx")),
    ("httpx", partial(_ahttpx, "httpx")),
    ("httpx2", partial(_httpx, "httpx2")),
    ("httpx2", partial(_ahttpx, "httpx2")),
    ("requests", _requests),
    ("aiohttp", _aiohttp),
    ("botocore", _botocore),
]
