"""Decode the content-encoding of a body, piece by piece.

The HTTP libraries' own decoders are private and differ, so they are not used. br and zstd need a
package that is not in the standard library; a client that asks for them has one installed.
https://www.iana.org/assignments/http-parameters/http-parameters.xhtml#content-coding
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from itertools import chain
from typing import Any

from ..system.interruptions import by_signal

#: Takes a piece of the body and yields it decoded, in pieces of bounded size.
Decode = Callable[[bytes], Iterator[bytes]]

#: Bytes of the body that a decoder gets at a time.
STEP = 16 * 1024
#: Bytes that are taken from a decoder at a time; each can stop in the middle of its input.
MAX_PIECE = 32 * 1024
#: A decoded body may be so many times as long, which no JSON is, unless it is below `FREE` bytes.
MAX_RATIO = 100
FREE = 8 * 1024 * 1024
#: Bytes of a decoded body, at any ratio.
MAX_DECODED = 256 * 1024 * 1024
#: Encodings of one body; each multiplies the ratio.
MAX_ENCODINGS = 3
#: Frames of a zstd body and members of a gzip body; a new decoder is made for each. A stream may
#: have a member for each of its events.
MAX_FRAMES, MAX_MEMBERS = 1000, 20_000
#: What a member of gzip begins with: https://www.rfc-editor.org/rfc/rfc1952#section-2.3.1
_GZIP = b"\x1f\x8b"

#: Bytes of the body for decoders that return all of their output at once. Eight bytes of brotli
#: are 16 MiB at most, the length of a meta-block: https://www.rfc-editor.org/rfc/rfc7932#section-9.2
#: Four bytes of zstd are a block of 128 kB: https://www.rfc-editor.org/rfc/rfc8878#section-3.1.1.2
_BROTLI_STEP, _ZSTANDARD_STEP = 8, 64
#: Bytes of the window that a zstd body may need, in base 2 and as a number:
#: https://www.rfc-editor.org/rfc/rfc9659
_WINDOW_LOG = 23


class UndecodableError(ValueError):
    """The body does not match its content-encoding, is too large, or no package decodes it."""


def decoder(content_encoding: str, *, is_bounded: bool = True) -> Decode | None:
    """Return a decoder for the value of a Content-Encoding header, None if none is needed.

    Args:
        content_encoding: The value of the header.
        is_bounded: Whether the limits of this module apply. They do not apply to what the site
            reads.

    Raises:
        UndecodableError: No installed package decodes it.
    """
    names = [name.strip().lower() for name in content_encoding.split(",")]
    names = [name for name in names if name not in {"", "identity"}]
    if len(names) > MAX_ENCODINGS:
        raise UndecodableError(f"body has {len(names)} encodings, more than {MAX_ENCODINGS}")
    # The last one was applied last: https://www.rfc-editor.org/rfc/rfc9110#section-8.4
    steps = [_decoder(name, is_bounded=is_bounded) for name in reversed(names)]
    steps = [_bounded(step, has_limits=is_bounded) for step in steps]
    if not steps:
        return None
    if len(steps) == 1:
        return steps[0]

    def decode(data: bytes) -> Iterator[bytes]:
        pieces = iter([data])
        for step in steps:
            pieces = chain.from_iterable(map(step, pieces))
        return pieces

    return decode


def _bounded(step: Decode, *, has_limits: bool) -> Decode:
    """Return `step` with small inputs and, unless told otherwise, the limits of ratio and size."""
    taken = produced = 0

    def decode(data: bytes) -> Iterator[bytes]:
        nonlocal taken, produced
        for at in range(0, len(data), STEP):
            part = data[at : at + STEP]
            taken += len(part)
            for piece in step(part):
                produced += len(piece)
                if has_limits and produced > max(FREE, taken * MAX_RATIO):
                    raise UndecodableError(f"compressed body expands more than {MAX_RATIO} times")
                if has_limits and produced > MAX_DECODED:
                    raise UndecodableError(
                        f"compressed body has more than {MAX_DECODED // 2**20} MiB"
                    )
                if piece:
                    yield piece

    return decode


def _decoder(name: str, *, is_bounded: bool) -> Decode:
    if name in {"gzip", "x-gzip", "deflate"}:
        return _zlib(name, MAX_MEMBERS if is_bounded else sys.maxsize)
    if name == "br" and (brotli := _first("brotli", "brotlicffi")):
        return _brotli(brotli)
    if name == "zstd":
        if zstd := _first("compression.zstd", "backports.zstd"):
            return _zstd(zstd, MAX_FRAMES if is_bounded else sys.maxsize)
        if zstandard := _first("zstandard"):
            return _zstandard(zstandard)
    raise UndecodableError(f"content-encoding {name} cannot be read")


def _zlib(name: str, max_members: int) -> Decode:
    inflate: Any = None
    members = 0
    start = b""

    def decode(data: bytes) -> Iterator[bytes]:
        nonlocal inflate, members, start
        try:
            while True:
                if inflate is None or inflate.eof:
                    data = start + data
                    start = data[:2]
                    if len(data) < 2 or (members and start != _GZIP):
                        return  # what follows the end is dropped
                    start = b""
                    members += 1
                    if members > max_members:
                        raise UndecodableError(
                            f"compressed body has more than {max_members} members"
                        )
                    inflate = zlib.decompressobj(_wbits(name, data))
                piece = inflate.decompress(data, MAX_PIECE)
                yield piece
                data = inflate.unused_data if inflate.eof else inflate.unconsumed_tail
                if not data and len(piece) < MAX_PIECE:
                    return
        except zlib.error as error:
            raise UndecodableError("compressed body cannot be read") from error

    return decode


def _wbits(name: str, start: bytes) -> int:
    """Return what tells zlib the format of a body, whose first two bytes are in `start`.

    Some servers send `deflate` without its header, which the HTTP libraries accept:
    https://www.rfc-editor.org/rfc/rfc9110#section-8.4.1.2
    """
    # https://www.rfc-editor.org/rfc/rfc1950#section-2.2
    is_zlib = start[0] & 15 == 8 and int.from_bytes(start[:2]) % 31 == 0
    if name == "deflate" and not is_zlib and not start.startswith(_GZIP):
        return -15
    return 47  # 32 + 15: gzip or zlib, by its header


def _brotli(brotli: Any) -> Decode:
    inflate = brotli.Decompressor()
    # The name in brotlicffi and in older releases of Brotli is `decompress`.
    process = getattr(inflate, "process", None) or inflate.decompress
    accepts = getattr(inflate, "can_accept_more_data", None)
    if accepts is None:  # before Brotli 1.2
        return _in_steps(process, _BROTLI_STEP)

    def decode(data: bytes) -> Iterator[bytes]:
        with _unreadable():
            piece = process(data, output_buffer_limit=MAX_PIECE)
            yield piece
            # It reports pending input, not pending output.
            while not accepts() or len(piece) >= MAX_PIECE:
                piece = process(b"", output_buffer_limit=MAX_PIECE)
                yield piece

    return decode


def _zstd(zstd: Any, max_frames: int) -> Decode:
    options = {zstd.DecompressionParameter.window_log_max: _WINDOW_LOG}
    inflate = zstd.ZstdDecompressor(options=options)
    frames = 1

    def decode(data: bytes) -> Iterator[bytes]:
        nonlocal inflate, frames
        try:
            while data or not (inflate.needs_input or inflate.eof):
                if inflate.eof:  # a body may be several frames
                    inflate = zstd.ZstdDecompressor(options=options)
                    frames += 1
                    if frames > max_frames:
                        raise UndecodableError(f"compressed body has more than {max_frames} frames")
                yield inflate.decompress(data, MAX_PIECE)
                data = inflate.unused_data if inflate.eof else b""
        except zstd.ZstdError as error:
            raise UndecodableError("compressed body cannot be read") from error

    return decode


def _zstandard(zstandard: Any) -> Decode:
    pieces: list[bytes] = []

    class Sink:
        def write(self, data: bytes) -> int:
            pieces.append(bytes(data))
            return len(data)

    inflate = zstandard.ZstdDecompressor(max_window_size=2**_WINDOW_LOG)
    # A writer works in pieces and continues with the next frame; a `decompressobj` does not.
    writer = inflate.stream_writer(Sink(), write_size=MAX_PIECE)

    def process(data: bytes) -> bytes:
        pieces.clear()
        writer.write(data)
        return b"".join(pieces)

    return _in_steps(process, _ZSTANDARD_STEP)


def _in_steps(process: Callable[[bytes], bytes], size: int) -> Decode:
    """Decode `size` bytes at a time, for a decoder that returns all of its output at once."""

    def decode(data: bytes) -> Iterator[bytes]:
        pieces: list[bytes] = []
        length = 0
        with _unreadable():
            for at in range(0, len(data), size):
                piece = process(data[at : at + size])
                if length + len(piece) > MAX_PIECE:
                    yield b"".join(pieces)
                    pieces.clear()
                    length = 0
                if len(piece) > MAX_PIECE:
                    yield piece  # not copied
                else:
                    pieces.append(piece)
                    length += len(piece)
            yield b"".join(pieces)

    return decode


@contextmanager
def _unreadable() -> Iterator[None]:
    """Turn any error of a decoder into `UndecodableError`."""
    try:
        yield
    except Exception as error:
        if by_signal(error):
            raise
        raise UndecodableError("compressed body cannot be read") from error


def _first(*names: str) -> Any:
    """Return the first of the modules that is installed; None if none is."""
    for name in names:
        try:
            return import_module(name)
        except ImportError:
            continue
    return None
