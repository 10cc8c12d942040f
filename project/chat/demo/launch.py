"""Parent process of the demo: runs the stub provider, and the site in a child process.

Django reads settings once, at startup, and they need the address of the provider. So the site runs
in a child process whose environment contains the address, as in a deployment.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from project.stub import StubProvider

# Seconds between stream events: visible in a browser, or as short as possible.
_PACE_WATCHED = 0.03
_PACE = 0.002
_SECONDS_TO_END = 10
# The demo must never call, and pay, a real provider.
_REAL_PROVIDERS = ("OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "GEMINI_BASE_URL")


def run_demo(directory: Path, arguments: list[str], *, watched: bool) -> int:
    """Run `manage.py demo --provider URL …` in a child process and return its exit code."""
    with StubProvider(pace=_PACE_WATCHED if watched else _PACE) as stub:
        environment = child_environment(os.environ, directory, stub.url)
        # Each demo starts with an empty log file.
        Path(environment["LOG_FILE"]).unlink(missing_ok=True)
        command = [sys.executable, sys.argv[0], "demo", "--provider", stub.url, *arguments]
        child = subprocess.Popen(command, env=environment)  # noqa: S603 - our own command
        with _ended_together(child):
            return child.wait()


def child_environment(
    environment: Mapping[str, str], directory: Path, provider_url: str
) -> dict[str, str]:
    """Return `environment` without real providers, and with the stub's address."""
    given = {name: value for name, value in environment.items() if name not in _REAL_PROVIDERS}
    local = "127.0.0.1,localhost"
    proxied = (environment.get(name) for name in ("NO_PROXY", "no_proxy"))
    without_proxy = ",".join([local, *filter(None, proxied)])
    return {
        "DATABASE_URL": f"sqlite:///{directory}/demo.sqlite3",
        "LOG_FILE": f"{directory}/demo.log",
        **given,
        "AI_PROVIDER_URL": provider_url,
        # A network proxy cannot reach servers on this machine.
        "NO_PROXY": without_proxy,
        "no_proxy": without_proxy,
    }


@contextmanager
def _ended_together(child: subprocess.Popen[bytes]) -> Iterator[None]:
    """End the child process when this one ends. Ctrl-C reaches both processes without help."""

    def pass_on(*_: object) -> None:
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
