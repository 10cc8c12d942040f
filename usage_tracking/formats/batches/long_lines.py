"""Lines of JSON of which a long one keeps its beginning and its end, in little memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..streams import everything

#: Bytes of a line that is kept whole, and of the beginning and the end of a longer one: providers
#: put the model at the beginning and the usage at the end.
MAX_LINE = 64 * 1024
HEAD, TAIL = 4 * 1024, 32 * 1024
#: Bytes that are taken at a time.
_PIECE = 32 * 1024


def is_cut(line: bytes) -> bool:
    """Return whether a line lacks its middle."""
    return b"\n" in line


class LongLines:
    """Yields the lines of a file, whatever their length.

    A long line lacks its middle. What is dropped is searched for `marks`; those that were found
    stand in its place.
    """

    def __init__(self, marks: tuple[bytes, ...] = ()) -> None:
        self._marks = marks
        self._line = bytearray()
        #: The beginning of a line that is too long, b"" for any other.
        self._head = b""
        self._found: set[bytes] = set()

    def feed(self, chunk: bytes, wanted: Callable[[bytes], bool] = everything) -> Iterator[bytes]:
        """Yield the lines that end in `chunk`."""
        start = 0
        while start < len(chunk):
            end = chunk.find(b"\n", start, start + _PIECE)
            self._line += chunk[start : end if end >= 0 else start + _PIECE]
            if len(self._line) > MAX_LINE:
                self._drop()
            start = end + 1 if end >= 0 else start + _PIECE
            if end >= 0 and (line := self._take()) and wanted(line):
                yield line

    def end(self) -> Iterator[bytes]:
        """Yield the last line if no newline follows it."""
        if line := self._take():
            yield line

    def _drop(self) -> None:
        """Keep only the beginning and the end of the line."""
        self._found.update(mark for mark in self._marks if mark in self._line)
        self._head = self._head or bytes(self._line[:HEAD])
        del self._line[:-TAIL]

    def _take(self) -> bytes:
        line = bytes(self._line).strip()
        if self._head:
            line = b"\n".join((self._head, *self._found, line))
        self._line.clear()
        self._head = b""
        self._found.clear()
        return line
