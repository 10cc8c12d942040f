"""Platform differences: locks, reading and writing at an offset, forks.

POSIX has all of these. Windows has locks, but neither forks nor `pread`, and it refuses to rename
or remove an open file. WebAssembly has no locks.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any


def _optional(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        return None


_fcntl = _optional("fcntl")
_pwd = _optional("pwd")
_msvcrt = _optional("msvcrt")
#: Whether a lock on a file can show that its owner is alive.
CAN_LOCK = _fcntl is not None or _msvcrt is not None
#: Whether an open file can neither be renamed nor removed. Windows allows both only with
#: FILE_SHARE_DELETE, which its C library does not set: https://bugs.python.org/issue15244
PINS_OPEN_FILES = _msvcrt is not None
#: Without this flag, Windows translates line breaks, which makes offsets wrong.
_BINARY: int = getattr(os, "O_BINARY", 0)
#: A Windows lock blocks all other reads and writes of the bytes it covers, so it covers one byte
#: far after the content. That byte need not exist:
#: https://learn.microsoft.com/cpp/c-runtime-library/reference/locking
_LOCKED_BYTE = 2**30
#: Windows uses access control lists, and reports every file as writable by all.
_HAS_USERS = hasattr(os, "geteuid")
_HAS_PREAD = hasattr(os, "pread") and hasattr(os, "pwrite")
# Reentrant, because garbage collection may finish an abandoned stream, which puts an event.
_seeking = threading.RLock()


def open_file(path: Path, flags: int, mode: int = 0o600) -> int:
    """Return a descriptor that child processes do not inherit (PEP 446).

    Raises:
        OSError: The file cannot be opened.
    """
    return os.open(path, flags | _BINARY, mode)


def close(fd: int) -> None:
    """Close the descriptor, which releases its lock.

    Raises:
        OSError: Closing failed.
    """
    if _msvcrt is not None:
        # Windows may keep the lock for a while if the file is only closed.
        with suppress(OSError):
            os.lseek(fd, _LOCKED_BYTE, os.SEEK_SET)
            _msvcrt.locking(fd, _msvcrt.LK_UNLCK, 1)
    os.close(fd)


def lock(fd: int, *, shared: bool = False, wait: bool = False) -> None:
    """Lock the file until `fd` is closed or the process dies.

    It does nothing on a platform without locks.

    Args:
        fd: The descriptor of the file.
        shared: Whether other shared locks are allowed; Windows does not allow any.
        wait: Whether to wait for the lock, on Windows for at most ten seconds.

    Raises:
        OSError: Another descriptor holds the lock.
    """
    if _fcntl is not None:
        kind = _fcntl.LOCK_SH if shared else _fcntl.LOCK_EX
        _fcntl.flock(fd, kind if wait else kind | _fcntl.LOCK_NB)
    elif _msvcrt is not None:
        os.lseek(fd, _LOCKED_BYTE, os.SEEK_SET)
        _msvcrt.locking(fd, _msvcrt.LK_LOCK if wait else _msvcrt.LK_NBLCK, 1)


def distrust(path: Path) -> str:
    """Return why another system user may have written into a directory, "" if none could.

    Raises:
        OSError: The directory cannot be examined.
    """
    if not _HAS_USERS:
        return ""
    status, user = path.stat(), os.geteuid()
    if status.st_uid not in (user, 0) and user != 0:
        return f"{path} belongs to the system user {_username(status.st_uid)}"
    if status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
        return f"every system user may write into {path}"
    return ""


def distrust_file(fd: int, directory: Path) -> str:
    """Return why another system user may have written a file of `directory`, "" if none could.

    The superuser delivers the files of the owner of the directory.

    Raises:
        OSError: The file or the directory cannot be examined.
    """
    if not _HAS_USERS:
        return ""
    status, user = os.fstat(fd), os.geteuid()
    if status.st_uid not in (user, 0) and (user != 0 or status.st_uid != directory.stat().st_uid):
        return f"it belongs to the system user {_username(status.st_uid)}"
    if status.st_mode & stat.S_IWOTH:
        return "every system user may write it"
    return ""


def _username(uid: int) -> str:
    try:
        return repr(_pwd.getpwuid(uid).pw_name)
    except (KeyError, AttributeError):
        return str(uid)


def remove(path: Path) -> bool:
    """Remove the file, and return whether it no longer exists."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return False
    return True


def read_at(fd: int, length: int, offset: int) -> bytes:
    """Return at most `length` bytes, none at the end of the file.

    Raises:
        OSError: Reading failed.
    """
    if _HAS_PREAD:
        return os.pread(fd, length, offset)
    with _seeking:
        while True:
            os.lseek(fd, offset, os.SEEK_SET)
            block = os.read(fd, length)
            # Garbage collection may have put an event meanwhile, which moves the position.
            if os.lseek(fd, 0, os.SEEK_CUR) == offset + len(block):
                return block


def read_all(fd: int) -> bytes:
    """Return the whole content.

    Raises:
        OSError: Reading failed.
    """
    parts, offset = [], 0
    while block := read_at(fd, 1024 * 1024, offset):
        parts.append(block)
        offset += len(block)
    return b"".join(parts)


def write_at(fd: int, data: bytes, offset: int) -> None:
    """Write all of `data` at `offset`.

    Raises:
        OSError: Writing failed, or wrote only a part.
    """
    if _HAS_PREAD:
        written = os.pwrite(fd, data, offset)
    else:
        with _seeking:
            os.lseek(fd, offset, os.SEEK_SET)
            written = os.write(fd, data)
    if written != len(data):
        raise OSError(f"the disk took {written} of {len(data)} bytes")


def after_fork(function: Callable[[], object]) -> None:
    """Call `function` in each process that is forked from this one."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=function)
