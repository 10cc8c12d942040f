"""Whether a lock on a file holds between two processes, tried."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from ..system import files
from .findings import Finding, note, ok, problem

#: Locks the file of the second argument as the module of the first does. Exits with 0 if it has
#: the lock and with 3 if it is refused.
_LOCK = """
import os, pathlib, runpy, sys
files = runpy.run_path(sys.argv[1])
fd = files["open_file"](pathlib.Path(sys.argv[2]), os.O_RDWR)
try:
    files["lock"](fd)
except OSError:
    sys.exit(3)
"""
#: Whether the other process has the lock, by its exit code. Every other code is a failure to start.
_HAS_LOCK = {0: True, 3: False}
#: Seconds. On a disk of a network a lock may wait for a server that is away.
_LIMIT = 10
_FIX = "Set AI_USAGE_OUTBOX to a directory on a local disk."


class _UntriedError(Exception):
    """The other process did not run."""


def locks(directory: Path) -> Finding:
    """Try a lock: it tells that the owner of a file lives, whose calls no other process takes."""
    if not files.CAN_LOCK or not sys.executable:
        return note("locks_untried", "Whether locks on files there hold was not tried")
    try:
        kept_out, let_in = _try(directory)
    except _UntriedError as error:
        return note("locks_untried", f"Whether locks on files there hold was not tried: {error}")
    except OSError as error:
        return problem("locks", f"No file in {directory} can be locked: {error}", _FIX)
    if not kept_out:
        text = f"A lock on a file in {directory} does not keep another process out"
        return problem("locks", text, _FIX)
    if not let_in:
        text = f"A lock on a file in {directory} stays when it is released"
        return problem("locks", text, _FIX)
    return ok("locks", "Locks on files there hold between processes")


def _try(directory: Path) -> tuple[bool, bool]:
    """Whether our lock keeps another process out, and lets it in when we release it."""
    fd, name = tempfile.mkstemp(prefix=".lock-", dir=directory)
    try:
        try:
            files.lock(fd)
            kept_out = not _another_locks(name)
        finally:
            files.close(fd)
        return kept_out, _another_locks(name)
    finally:
        files.remove(Path(name))


def _another_locks(name: str) -> bool:
    command = [sys.executable, "-I", "-c", _LOCK, files.__file__, name]
    try:
        code = subprocess.run(command, capture_output=True, check=False, timeout=_LIMIT).returncode  # noqa: S603 -- Python itself
    except subprocess.TimeoutExpired:
        return False
    except OSError as error:
        raise _UntriedError(f"{sys.executable} does not start: {error}") from error
    if code not in _HAS_LOCK:
        raise _UntriedError(f"{sys.executable} ended with {code}")
    return _HAS_LOCK[code]
