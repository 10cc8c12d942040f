"""The demo's outer process: the stub provider, and a child that has the site in it.

Settings are read once, when Django starts. The provider must have its address before that, so the
site runs in a child whose environment says it, as a deployment would.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from project.stub import StubProvider

# Visible in a browser, and still quick enough when nobody looks.
_PACE_WATCHED = 0.03
_PACE = 0.002
_SECONDS_TO_END = 10
# A real provider must never be asked, and paid, by a demo.
_REAL_PROVIDERS = ("OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "GEMINI_BASE_URL")


def run_demo(directory: Path, arguments: list[str], *, watched: bool) -> int:
    """The exit code of the child `manage.py demo --provider URL …`."""
    with StubProvider(pace=_PACE_WATCHED if watched else _PACE) as stub:
        environment = child_environment(os.environ, directory, stub.url)
        # Each demo has a log of its own.
        Path(environment["LOG_FILE"]).unlink(missing_ok=True)
        command = [sys.executable, sys.argv[0], "demo", "--provider", stub.url, *arguments]
        child = subprocess.Popen(command, env=environment)  # noqa: S603 - ourselves
        with _ended_together(child):
            return child.wait()


def child_environment(
    environment: Mapping[str, str], directory: Path, provider_url: str
) -> dict[str, str]:
    given = {name: value for name, value in environment.items() if name not in _REAL_PROVIDERS}
    local = "127.0.0.1,localhost"
    proxied = (environment.get(name) for name in ("NO_PROXY", "no_proxy"))
    without_proxy = ",".join([local, *filter(None, proxied)])
    return {
        "DATABASE_URL": f"sqlite:///{directory}/demo.sqlite3",
        "LOG_FILE": f"{directory}/demo.log",
        **given,
        "AI_PROVIDER_URL": provider_url,
        # A proxy of the network knows nothing of servers on this machine.
        "NO_PROXY": without_proxy,
        "no_proxy": without_proxy,
    }


@contextmanager
def _ended_together(child: subprocess.Popen[bytes]) -> Iterator[None]:
    """Ctrl-C reaches both processes by itself; anything else that ends us must end the child."""

    def pass_on(signum: int, frame: FrameType | None) -> None:
        child.terminate()

    before = signal.signal(signal.SIGTERM, pass_on)
    try:
        yield
    except KeyboardInterrupt:
        with suppress(subprocess.TimeoutExpired):
            child.wait(_SECONDS_TO_END)
    finally:
        if child.poll() is None:
            child.terminate()
            child.wait()
        signal.signal(signal.SIGTERM, before)
