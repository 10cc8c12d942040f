"""Wait for other threads and processes: for a condition, never for a fixed time.

Each wait names its condition. On a timeout the message has this name and the observed state.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

#: Timeout in seconds, long enough for a busy machine.
PATIENCE = 180.0
#: Seconds between two checks. Frequent checks would slow the thread or process that is awaited.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.2


def wait_until(
    condition: Callable[[], object], *, awaited: str, seen: Callable[[], object] | None = None
) -> None:
    """Wait until `condition()` is true.

    On a timeout, the message has `awaited` and the result of `seen` or of the last check.
    """
    deadline = time.monotonic() + PATIENCE
    pause = _FIRST_PAUSE
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(
                f"Not within {PATIENCE:.0f} s: {awaited}. Seen: {seen() if seen else answer!r}"
            )
        time.sleep(pause)
        pause = min(pause * 1.3, _LONGEST_PAUSE)


def wait_for(event: threading.Event, *, awaited: str) -> None:
    """Wait until another thread sets `event`."""
    if not event.wait(PATIENCE):
        raise AssertionError(f"Not within {PATIENCE:.0f} s: {awaited}. Seen: {_stacks()}")


def join(*threads: threading.Thread) -> None:
    """Wait until the threads end. On a timeout, the message has all stack traces."""
    deadline = time.monotonic() + PATIENCE
    for thread in threads:
        thread.join(max(deadline - time.monotonic(), 0.0))
        if thread.is_alive():
            raise AssertionError(
                f"Not within {PATIENCE:.0f} s: the end of {thread.name}. Seen: {_stacks()}"
            )


def _stacks() -> str:
    """Return the stack traces of all threads of this process."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    return "".join(
        f"\n{names.get(ident, ident)}:\n{''.join(traceback.format_stack(frame))}"
        for ident, frame in sys._current_frames().items()
    )


def run(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str],
    cwd: Path,
    input: str | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a process, capture its output, and kill the process on a timeout."""
    with subprocess.Popen(
        command,
        cwd=cwd,
        env=env,
        stdin=None if input is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        output, errors = finish(process, input=input)
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


def finish(process: subprocess.Popen[str], *, input: str | None = None) -> tuple[str, str]:
    """Wait until a process ends and return the rest of its stdout and stderr.

    Unlike `communicate`, this includes buffered output that `readline` has left over.
    """
    errors: list[str] = []
    reader = threading.Thread(target=lambda: errors.append(_rest(process.stderr)), daemon=True)
    reader.start()
    with awaiting_output(process) as expired:
        if process.stdin and input is not None:
            with suppress(BrokenPipeError):
                process.stdin.write(input)
        if process.stdin and not process.stdin.closed:
            with suppress(BrokenPipeError):
                process.stdin.close()
        output = _rest(process.stdout)
        process.wait()
        join(reader)
    if expired.is_set():
        raise AssertionError(
            f"Not within {PATIENCE:.0f} s: the end of {process.args!r}. "
            f"Seen:\n{output}\n--- stderr\n{''.join(errors)}"
        )
    return output, "".join(errors)


def _rest(pipe: IO[str] | None) -> str:
    if pipe is None or pipe.closed:
        return ""
    with pipe:
        return pipe.read()


@contextmanager
def awaiting_output(process: subprocess.Popen[Any]) -> Iterator[threading.Event]:
    """Kill the process after PATIENCE seconds, so that reads in the block end.

    Yields an event that is set when the process is killed.
    """
    expired = threading.Event()

    def kill_it() -> None:
        expired.set()
        _kill(process)

    timer = threading.Timer(PATIENCE, kill_it)
    timer.daemon = True
    timer.start()
    try:
        yield expired
    finally:
        timer.cancel()


def _kill(process: subprocess.Popen[Any]) -> None:
    """Kill the process, with its children if it leads a process group."""
    with suppress(ProcessLookupError):
        if os.getpgid(process.pid) == process.pid:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
