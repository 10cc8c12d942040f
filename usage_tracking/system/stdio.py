"""Keep a program running if the reader of its output leaves, as after `| head`."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast


@contextmanager
def guarded() -> Iterator[None]:
    """Keep a closed pipe from stopping the program while the block runs.

    Output that cannot be written is dropped, so the program finishes its work and keeps its exit
    code. Use this only in a process of our own: a file descriptor that fails is redirected to
    `os.devnull` for the rest of the process.

    Raises:
        OutputError: At the end, if the output could not be written for a reason other than a
            closed pipe.
    """
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _guard(before[0]), _guard(before[1])
    try:
        yield
    finally:
        out = sys.stdout
        for stream in (out, sys.stderr):
            stream.flush()
        sys.stdout, sys.stderr = before
        error = _error(out)
        if error is not None and not isinstance(error, BrokenPipeError):
            raise OutputError(f"The output cannot be written: {error.strerror}.") from error


def is_closed(stream: Any) -> bool:
    """Return whether the reader of `stream`, which is guarded and just flushed, has left."""
    return _error(stream) is not None


class OutputError(Exception):
    """The output cannot be written. The message is for the user of a command."""


class _Guarded(io.FileIO):
    error: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            self.error = error
            # Other streams of this descriptor, such as those of loggers, would fail too.
            with open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), self.fileno())
            return super().write(data)


def _guard(stream: TextIO | None) -> TextIO:
    if stream is None:  # its descriptor was closed when the process started
        return open(os.devnull, "w")
    with suppress(OSError):
        stream.flush()
    try:
        raw = _Guarded(stream.fileno(), "w", closefd=False)
    except (AttributeError, OSError):
        return stream  # not a file of the operating system
    standard = cast(io.TextIOWrapper, stream)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=standard.encoding,
        errors=standard.errors,
        line_buffering=standard.line_buffering,
        write_through=standard.write_through,
    )


def _error(stream: Any) -> OSError | None:
    raw = getattr(getattr(stream, "buffer", None), "raw", None)
    return raw.error if isinstance(raw, _Guarded) else None
