"""Files that a command writes."""

from __future__ import annotations

import os
import signal
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO

from django.core.management.base import CommandError

from .base import CANNOT_RUN


@contextmanager
def whole_file(name: str) -> Iterator[IO[bytes]]:
    """Yield a file that takes the place of `name` at the end of the block.

    After an error the file of that name is what it was before.

    Raises:
        CommandError: The file cannot be written.
    """
    path = Path(name).resolve()  # a symbolic link stays one
    try:
        # /dev/stdout may lead to a file, which is open.
        is_device = Path(name).absolute().parts[1:2] in (("dev",), ("proc",))
        if is_device or (path.exists() and not path.is_file()):
            raise CommandError(
                f"--output must name a file, not {name!r}. Leave the option out for pipes.",
                returncode=CANNOT_RUN,
            )
        directory, prefix = path.parent, f".{path.name[:100]}."
        with NamedTemporaryFile(dir=directory, prefix=prefix, delete=False) as file:
            try:
                with _unwound_by_sigterm():
                    yield file
                file.flush()
                os.fsync(file.fileno())
                os.chmod(file.name, _mode(path))
                os.replace(file.name, path)
            except BaseException:
                os.unlink(file.name)
                raise
    except OSError as error:
        raise CommandError(
            f"{name} cannot be written: {error.strerror}.", returncode=CANNOT_RUN
        ) from error


@contextmanager
def _unwound_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end the block like an exception, unless the process handles the signal."""
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def end(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _mode(path: Path) -> int:
    """Return the permissions of the file, or those that the process gives to new files."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask
