"""Standard output and error that outlive their reader, as after `| head`."""

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

    Output that cannot be written is dropped, so that the program finishes its work and its exit
    code says what it found. Raises `OutputError` at the end if the reason was not a closed pipe.
    Only for a process of our own: a file descriptor that fails leads to `os.devnull` from then on.
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
    """Whether the reader of `stream`, guarded and just flushed, has gone."""
    return _error(stream) is not None


class OutputError(Exception):
    """The message is for the user of a command."""


class _Guarded(io.FileIO):
    error: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            self.error = error
            # Other streams of this descriptor, as those of loggers, would meet the same error.
            with open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), self.fileno())
            return super().write(data)


def _guard(stream: TextIO | None) -> TextIO:
    if stream is None:  # its descriptor was closed before the process began
        return open(os.devnull, "w")
    with suppress(OSError):
        stream.flush()
    try:
        raw = _Guarded(stream.fileno(), "w", closefd=False)
    except (AttributeError, OSError):
        return stream  # no file of the operating system
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
