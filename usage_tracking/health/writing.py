"""Try whether a file can be written in the directory of the outbox.

Permissions alone do not tell: a mount may be read-only, a disk full, a quota used up, and an access
control list or root's rights may say something else.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from pathlib import Path

from ..system import files
from .findings import Finding, ok, problem

#: What is written; a file system without room may still create an empty file.
_CONTENT = b"x" * 4096
_OTHER_DIRECTORY = "Set AI_USAGE_OUTBOX to a directory that the site can write."
_NO_ROOM = "Free disk space (df -h, df -i), or set AI_USAGE_OUTBOX to a directory on another disk."
_FIXES = {
    errno.EACCES: "As root: chown -R USER {0}; chmod 700 {0}, where USER is the system user of the "
    "site",
    errno.EROFS: "Mount the disk of {0} writable, or set AI_USAGE_OUTBOX to a directory on another "
    "disk.",
    errno.ENOSPC: _NO_ROOM,
    errno.EDQUOT: _NO_ROOM,
}
_FIXES[errno.EPERM] = _FIXES[errno.EACCES]


def writing(directory: Path) -> Finding:
    """Write a file in `directory`, or where it will be created, and remove the file again."""
    place = next(path for path in (directory, *directory.absolute().parents) if path.exists())
    try:
        if place == directory:
            _write(place)
        else:
            _write_in_new_directory(place)
    except OSError as error:
        name = errno.errorcode.get(error.errno or 0, type(error).__name__)
        return problem(
            "check_w005",
            f"The outbox {directory} cannot be written: {error.strerror or error} ({name}). "
            "Events are lost if their process dies.",
            _FIXES.get(error.errno or 0, _OTHER_DIRECTORY).format(place),
        )
    return ok("outbox", f"The outbox {directory} can be written")


def _write(directory: Path) -> None:
    fd, name = tempfile.mkstemp(prefix=".write-", dir=directory)
    try:
        try:
            files.write_at(fd, _CONTENT, 0)
            os.fsync(fd)
        finally:
            files.close(fd)
    finally:
        files.remove(Path(name))


def _write_in_new_directory(place: Path) -> None:
    created = tempfile.mkdtemp(prefix=".write-", dir=place)
    try:
        _write(Path(created))
    finally:
        shutil.rmtree(created, ignore_errors=True)
