"""Try whether the lock on a file keeps another process out."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from ..system import files
from .findings import Finding, note, ok, problem

#: Locks the file of the second argument with the module of the first argument, `system.files`.
#: Exits with 0 if it gets the lock and with 3 if the lock is refused.
_LOCK = """
import os, pathlib, runpy, sys
files = runpy.run_path(sys.argv[1])
fd = files["open_file"](pathlib.Path(sys.argv[2]), os.O_RDWR)
try:
    files["lock"](fd)
except OSError:
    sys.exit(3)
"""
#: Exit code → whether the other process got the lock. Any other code is a failure to start.
_HAS_LOCK = {0: True, 3: False}
#: Seconds. On a network disk a lock may wait for a server that does not answer.
_LIMIT = 10
_FIX = "Set AI_USAGE_OUTBOX to a directory on a local disk."


class _UntriedError(Exception):
    """The other process did not run."""


def locks(directory: Path) -> Finding:
    """Try a lock on a file in `directory`.

    The outbox depends on it: while a process lives, its lock keeps others from taking its calls.
    """
    if not files.CAN_LOCK or not sys.executable:
        return note("locks_untried", "Locks on files in the outbox were not tested")
    try:
        kept_out, let_in = _try(directory)
    except _UntriedError as error:
        return note("locks_untried", f"Locks on files in the outbox were not tested: {error}")
    except OSError as error:
        return problem("locks", f"Files in {directory} cannot be locked: {error}", _FIX)
    if not kept_out:
        text = f"A lock on a file in {directory} does not keep another process out"
        return problem("locks", text, _FIX)
    if not let_in:
        text = f"A lock on a file in {directory} stays after its release"
        return problem("locks", text, _FIX)
    return ok("locks", "Locks on files in the outbox keep other processes out")


def _try(directory: Path) -> tuple[bool, bool]:
    """Return whether our lock keeps another process out, and whether its release lets it in."""
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
