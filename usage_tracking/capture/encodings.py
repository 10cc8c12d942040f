"""Undoes the content-encoding of a body, piece by piece.

Not with the libraries' own decoders: they are private, and each library's differ. br and zstd need
a package that is not in the standard library; a client that asks for them has one of these.
https://www.iana.org/assignments/http-parameters/http-parameters.xhtml#content-coding
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from importlib import import_module
from itertools import chain
from typing import Any

from ..interruptions import by_signal

#: Takes a piece of the body, gives it decoded in pieces of bounded size.
Decode = Callable[[bytes], Iterator[bytes]]

#: A few bytes can become gigabytes; so many are taken at a time.
MAX_PIECE = 8 * 1024 * 1024


class UndecodableError(ValueError):
    """The body is not what its content-encoding says, or there is nothing to decode it with."""


def decoder(content_encoding: str) -> Decode | None:
    """The decoder for the value of a Content-Encoding header, None if nothing has to be done.

    Raises `UndecodableError` if there is none for it here.
    """
    names = [name.strip().lower() for name in content_encoding.split(",")]
    # The last one was applied last: https://www.rfc-editor.org/rfc/rfc9110#section-8.4
    steps = [_decoder(name) for name in reversed(names) if name not in {"", "identity"}]
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


def _decoder(name: str) -> Decode:
    if name in {"gzip", "x-gzip", "deflate"}:
        return _zlib()
    if name == "br" and (brotli := _first("brotli", "brotlicffi")):
        return _brotli(brotli)
    if name == "zstd":
        if zstd := _first("compression.zstd", "backports.zstd"):
            return _zstd(zstd)
        if zstandard := _first("zstandard"):
            return _whole_pieces(zstandard.ZstdDecompressor().decompressobj().decompress)
    raise UndecodableError(f"content-encoding {name} cannot be read")


def _zlib() -> Decode:
    inflate = zlib.decompressobj(47)  # 32 + 15: gzip or zlib, by its header

    def decode(data: bytes) -> Iterator[bytes]:
        try:
            while data:
                yield inflate.decompress(data, MAX_PIECE)
                data = inflate.unconsumed_tail
        except zlib.error as error:
            raise UndecodableError("compressed body cannot be read") from error

    return decode


def _brotli(brotli: Any) -> Decode:
    inflate = brotli.Decompressor()
    # brotlicffi calls it so, and older releases of Brotli too.
    process = getattr(inflate, "process", None) or inflate.decompress
    return _whole_pieces(process)


def _zstd(zstd: Any) -> Decode:
    inflate = zstd.ZstdDecompressor()

    def decode(data: bytes) -> Iterator[bytes]:
        nonlocal inflate
        try:
            while data or not (inflate.needs_input or inflate.eof):
                if inflate.eof:  # a body may be several frames
                    inflate = zstd.ZstdDecompressor()
                yield inflate.decompress(data, MAX_PIECE)
                data = inflate.unused_data if inflate.eof else b""
        except zstd.ZstdError as error:
            raise UndecodableError("compressed body cannot be read") from error

    return decode


def _whole_pieces(process: Callable[[bytes], bytes]) -> Decode:
    def decode(data: bytes) -> Iterator[bytes]:
        try:
            yield process(data)
        except Exception as error:
            if by_signal(error):
                raise
            raise UndecodableError("compressed body cannot be read") from error

    return decode


def _first(*names: str) -> Any:
    """The first of the modules that is installed; None if none is."""
    for name in names:
        try:
            return import_module(name)
        except ImportError:
            continue
    return None
