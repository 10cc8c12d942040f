"""Waiting for other threads and processes: for a condition, and never for a time to pass.

A test that waits says for what, and fails with that and with what there was to be seen instead.
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

#: Seconds after which what is awaited will not come any more, on however busy a machine.
PATIENCE = 180.0
#: Seconds between two looks: a look at a database takes time from those who are awaited.
_FIRST_LOOK, _LATER_LOOKS = 0.02, 0.2


def wait_until(
    condition: Callable[[], object], *, awaited: str, seen: Callable[[], object] | None = None
) -> None:
    """Returns as soon as `condition` holds.

    `awaited` says what is awaited, and `seen` looks at what there is instead.
    """
    deadline = time.monotonic() + PATIENCE
    pause = _FIRST_LOOK
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(
                f"Not within {PATIENCE:.0f} s: {awaited}. Seen: {seen() if seen else answer!r}"
            )
        time.sleep(pause)
        pause = min(pause * 1.3, _LATER_LOOKS)


def wait_for(event: threading.Event, *, awaited: str) -> None:
    """Returns as soon as another thread has set `event`."""
    if not event.wait(PATIENCE):
        raise AssertionError(f"Not within {PATIENCE:.0f} s: {awaited}. Seen: {_stacks()}")


def join(*threads: threading.Thread) -> None:
    """Returns when the threads have ended; says where they are if they do not end."""
    deadline = time.monotonic() + PATIENCE
    for thread in threads:
        thread.join(max(deadline - time.monotonic(), 0.0))
        if thread.is_alive():
            raise AssertionError(
                f"Not within {PATIENCE:.0f} s: the end of {thread.name}. Seen: {_stacks()}"
            )


def _stacks() -> str:
    """Where all threads of this process are."""
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
    """A process from its start to its end, its output piped; one that does not end is killed."""
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
    """The rest of what a process says until it ends by itself, on both of its pipes.

    Unlike `communicate`, it knows of what was read from a pipe by `readline` and is left over.
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
    """In the block a read from the process ends, at the latest when patience does: it is killed.

    Yields an event that says so.
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
    """With its children, where they are a group of their own."""
    with suppress(ProcessLookupError):
        if os.getpgid(process.pid) == process.pid:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
