"""The servers that Django sites run under, started on a port of this machine."""

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

GUNICORN = (
    *("-m", "gunicorn", "tests.scenarios.wsgi", "--bind", "fd://{fd}", "--no-control-socket"),
    *("--workers", "2", "--graceful-timeout", "10"),
)
#: What Python is told to run; `{fd}` is the socket that it is to listen on.
SERVERS: dict[str, tuple[str, ...]] = {
    "gunicorn sync": GUNICORN,
    "gunicorn gthread": (*GUNICORN, "--worker-class", "gthread", "--threads", "4"),
    "gunicorn preload": (*GUNICORN, "--preload"),
    "uvicorn": (
        *("-m", "uvicorn", "tests.scenarios.asgi:application", "--fd", "{fd}"),
        *("--log-level", "warning"),
    ),
}
if find_spec("pyuwsgi"):  # requirements.txt says where
    SERVERS["uwsgi"] = (
        *("-c", "import pyuwsgi; pyuwsgi.run()", "--http-socket", "fd://{fd}"),
        *("--module", "tests.scenarios.wsgi", "--need-app", "--disable-logging"),
        *("--master", "--processes", "2", "--threads", "4", "--die-on-term"),
    )


class Server:
    """A server and its workers; they end with the block, at the latest."""

    def __init__(
        self, name: str, env: Mapping[str, str], prepare: Callable[[], None] | None = None
    ) -> None:
        self.name, self._env, self._prepare = name, env, prepare

    def __enter__(self) -> Server:
        # It listens from here on: who comes before the workers are up waits in the queue.
        listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        arguments = (one.format(fd=listener.fileno()) for one in SERVERS[self.name])
        self._log = tempfile.TemporaryFile("w+")
        # Through a pipe, for a server whose files may not grow.
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
        print(self.log()[-3000:])
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        if error is not None:
            print(self.log()[-20_000:])
        self._log.close()

    def workers(self) -> list[int]:
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
        """As a deployment stops it; a second call does nothing."""
        self._process.terminate()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            raise
        self._pipe.wait(30)

    def kill(self) -> None:
        """As the machine's memory running out does, to all of its processes."""
        os.killpg(self._process.pid, signal.SIGKILL)

    def log(self) -> str:
        self._log.seek(0)
        return self._log.read()
