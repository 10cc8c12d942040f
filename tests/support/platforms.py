"""Python code that simulates another platform for a process on POSIX.

None of this code has run on the simulated platforms.
"""

from __future__ import annotations

#: WebAssembly. Windows lacks the same functions.
NO_LOCKS = """
# These modules use the names that are removed below.
import fcntl, multiprocessing, os, random, subprocess, sys

assert "usage_tracking.system.files" not in sys.modules, "it would keep what it has seen"
posix_fcntl = fcntl
sys.modules["fcntl"] = None
for name in ("fork", "pread", "pwrite", "register_at_fork", "O_CLOEXEC"):
    delattr(os, name)
"""

#: Windows. Its `_locking` is exclusive, belongs to a handle instead of the process, and may lie
#: past the content. Files open in text mode without O_BINARY, and an open file cannot be renamed or
#: removed.
WINDOWS = (
    NO_LOCKS
    + """
import errno, glob, struct, types

def locking(fd, mode, count):
    if mode == msvcrt.LK_UNLCK:
        kind = posix_fcntl.F_UNLCK
    elif posix_fcntl.fcntl(fd, posix_fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        kind = posix_fcntl.F_RDLCK  # all that Linux allows here; conflicts with an owner's lock too
    else:
        kind = posix_fcntl.F_WRLCK
    start = os.lseek(fd, 0, os.SEEK_CUR)
    flock = struct.pack("hhqqi", kind, os.SEEK_SET, start, count, 0)
    try:
        # https://man7.org/linux/man-pages/man2/F_GETLK.2const.html, "Open file description locks"
        posix_fcntl.fcntl(fd, posix_fcntl.F_OFD_SETLK, flock)
    except BlockingIOError:
        raise PermissionError(errno.EACCES, "Permission denied") from None

msvcrt = types.SimpleNamespace(LK_UNLCK=0, LK_LOCK=1, LK_NBLCK=2, locking=locking)
os.O_BINARY = 1 << 28

def open_binary(path, flags, *rest, posix_open=os.open, **keywords):
    if "outbox" in str(path) and not flags & os.O_BINARY:
        raise AssertionError(f"{path} is opened in text mode")
    return posix_open(path, flags & ~os.O_BINARY, *rest, **keywords)

def is_open(path):
    for fd in glob.iglob("/proc/[0-9]*/fd/*"):
        try:
            if os.readlink(fd) == str(path):
                return True
        except OSError:
            continue  # of another user, or closed meanwhile
    return False

def unless_open(function):
    def inner(path, *rest, **keywords):
        if is_open(path):
            raise PermissionError(errno.EACCES, "Another process is using the file", str(path))
        return function(path, *rest, **keywords)
    return inner

os.open = open_binary
os.rename, os.unlink = unless_open(os.rename), unless_open(os.unlink)
# Visible to our module only, because other modules detect Windows by it.
sys.modules["msvcrt"] = msvcrt
import usage_tracking.system.files
del sys.modules["msvcrt"]
"""
)

POSIX = "import os, sys\n"
PLATFORMS = {"posix": POSIX, "windows": WINDOWS, "no locks": NO_LOCKS}
