"""Servers for Django sites, started on a local port."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.util import find_spec
from types import TracebackType

from tests.support.waiting import PATIENCE, wait_until

GUNICORN = (
    *("-m", "gunicorn", "tests.scenarios.wsgi", "--bind", "fd://{fd}", "--no-control-socket"),
    *("--workers", "2", "--graceful-timeout", f"{PATIENCE:.0f}", "--timeout", f"{PATIENCE:.0f}"),
)
#: Arguments for Python. `{fd}` is the listening socket and `{asgi}` the site.
SERVERS: dict[str, tuple[str, ...]] = {
    "gunicorn sync": GUNICORN,
    "gunicorn gthread": (*GUNICORN, "--worker-class", "gthread", "--threads", "4"),
    "gunicorn preload": (*GUNICORN, "--preload"),
    "uvicorn": (
        *("-m", "uvicorn", "{asgi}", "--fd", "{fd}"),
        *("--log-level", "warning"),
    ),
}
if find_spec("pyuwsgi"):  # see requirements.txt
    SERVERS["uwsgi"] = (
        *("-c", "import pyuwsgi; pyuwsgi.run()", "--http-socket", "fd://{fd}"),
        *("--module", "tests.scenarios.wsgi", "--need-app", "--disable-logging"),
        *("--master", "--processes", "2", "--threads", "4", "--die-on-term"),
    )


class Server:
    """A server and its workers. They end with the block at the latest."""

    def __init__(
        self,
        name: str,
        env: Mapping[str, str],
        prepare: Callable[[], None] | None = None,
        *,
        asgi: str = "tests.scenarios.asgi:application",
    ) -> None:
        self.name, self._env, self._prepare, self._asgi = name, env, prepare, asgi

    def __enter__(self) -> Server:
        # The socket listens from here on. Early requests wait in its queue.
        listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        values = {"fd": listener.fileno(), "asgi": self._asgi}
        arguments = (one.format(**values) for one in SERVERS[self.name])
        self._log = tempfile.TemporaryFile("w+")
        # A pipe, for a server whose files must not grow.
        pipe = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=self._log)
        self._process = subprocess.Popen(
            [sys.executable, *arguments],
            env=self._env,
            pass_fds=(listener.fileno(),),
            stdout=pipe.stdin,
            stderr=pipe.stdin,
            start_new_session=True,
            preexec_fn=self._prepare,
        )
        listener.close()
        if pipe.stdin is not None:
            pipe.stdin.close()
        self._pipe = pipe
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        print(self.log()[-20_000:])
        self._log.close()

    def workers(self) -> list[int]:
        """Return the running workers and wait until there is at least one."""
        wait_until(self._children, awaited="a worker", seen=self.log)
        return self._children()

    def _children(self) -> list[int]:
        listed = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(self._process.pid)],
            capture_output=True,
            text=True,
            check=False,
        )
        return list(map(int, listed.stdout.split()))

    def reload(self) -> None:
        self._process.send_signal(signal.SIGHUP)

    def stop(self) -> None:
        """Stop the server as a deployment does. A second call does nothing."""
        self._process.terminate()
        try:
            wait_until(
                lambda: self._process.poll() is not None,
                awaited=f"the end of {self.name}",
                seen=self.log,
            )
        except AssertionError:
            os.killpg(self._process.pid, signal.SIGKILL)
            raise
        # The log is complete when no process can write to it.
        wait_until(lambda: self._pipe.poll() is not None, awaited="its workers' end", seen=self.log)

    def kill(self) -> None:
        """Kill all of its processes, as the OOM killer does."""
        os.killpg(self._process.pid, signal.SIGKILL)

    def log(self) -> str:
        # `seek` would move the position at which the other process writes.
        descriptor = self._log.fileno()
        return os.pread(descriptor, os.fstat(descriptor).st_size, 0).decode(errors="replace")

    def wait_for_log(self, text: str, *, times: int) -> None:
        wait_until(
            lambda: self.log().count(text) >= times,
            awaited=f"{text!r} in the log, {times} times",
            seen=self.log,
        )
