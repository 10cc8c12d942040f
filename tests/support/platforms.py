"""Python code that makes a process on POSIX see what the package would see on another platform.

It simulates: nothing here has run on the platform itself.
"""

from __future__ import annotations

#: WebAssembly, and what Windows lacks too.
NO_LOCKS = """
# These ask for what is hidden below.
import fcntl, multiprocessing, os, random, subprocess, sys

assert "usage_tracking.system.files" not in sys.modules, "it would keep what it has seen"
posix_fcntl = fcntl
sys.modules["fcntl"] = None
for name in ("fork", "pread", "pwrite", "register_at_fork", "O_CLOEXEC"):
    delattr(os, name)
"""

#: Locks of Windows (its `_locking` is exclusive, belongs to a handle and not to the process, and
#: may lie behind the content), text mode unless O_BINARY says otherwise, and files that cannot be
#: renamed or removed while any process has them open.
WINDOWS = (
    NO_LOCKS
    + """
import errno, glob, struct, types

def locking(fd, mode, count):
    if mode == msvcrt.LK_UNLCK:
        kind = posix_fcntl.F_UNLCK
    elif posix_fcntl.fcntl(fd, posix_fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        kind = posix_fcntl.F_RDLCK  # all that Linux allows then; it too meets the lock of an owner
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
            continue  # another user's, or closed meanwhile
    return False

def unless_open(function):
    def inner(path, *rest, **keywords):
        if is_open(path):
            raise PermissionError(errno.EACCES, "Another process is using the file", str(path))
        return function(path, *rest, **keywords)
    return inner

os.open = open_binary
os.rename, os.unlink = unless_open(os.rename), unless_open(os.unlink)
# Only for us: others take it for a sign that they are on Windows.
sys.modules["msvcrt"] = msvcrt
import usage_tracking.system.files
del sys.modules["msvcrt"]
"""
)

POSIX = "import os, sys\n"
PLATFORMS = {"posix": POSIX, "windows": WINDOWS, "no locks": NO_LOCKS}
