"""A body that is any file, where requests and botocore expect a response of urllib3.

Adapters of sites return such bodies, and tools for tests: vcrpy (a response of `http.client`) and
moto (a `BytesIO`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import wrapt

from ..errors import contained
from .exchange import Exchange


def tee_file(raw: Any, exchange: Exchange) -> Any:
    """Return a proxy of `raw` that passes on what is read through the methods that `raw` has."""
    # Nothing decompresses such a body on its way to the site.
    exchange.is_decoded()
    return _File(raw, exchange)


class _File(wrapt.ObjectProxy):  # type: ignore[type-arg]
    def __init__(self, raw: Any, exchange: Exchange) -> None:
        super().__init__(raw)
        self._self_exchange = exchange

    def __del__(self) -> None:
        self._self_exchange.abandon()

    def __iter__(self) -> Iterator[bytes]:
        return self._self_pieces(self.__wrapped__.__iter__)

    def read(self, *args: Any, **options: Any) -> bytes:
        data: bytes = self._self_data(self.__wrapped__.read, *args, **options)
        if not args or args[0] in {None, -1}:
            self._self_exchange.end()
        return data

    def close(self) -> None:
        self.__wrapped__.close()
        self._self_exchange.end(abandoned=True)

    # The site may ask whether a file has these: a property that raises AttributeError says no.

    @property
    def read1(self) -> Callable[..., bytes]:
        return partial(self._self_data, self.__wrapped__.read1)

    @property
    def readline(self) -> Callable[..., bytes]:
        return partial(self._self_data, self.__wrapped__.readline)

    @property
    def readlines(self) -> Callable[..., list[bytes]]:
        return partial(self._self_lines, self.__wrapped__.readlines)

    @property
    def readinto(self) -> Callable[[Any], int]:
        return partial(self._self_into, self.__wrapped__.readinto)

    @property
    def stream(self) -> Callable[..., Iterator[bytes]]:
        return partial(self._self_pieces, self.__wrapped__.stream)

    def _self_data(self, method: Callable[..., bytes], *args: Any, **options: Any) -> bytes:
        data = method(*args, **options)
        self._self_took(data)
        return data

    def _self_into(self, method: Callable[[Any], int], buffer: Any) -> int:
        size = method(buffer)
        self._self_took(bytes(memoryview(buffer).cast("B")[: size or 0]))
        return size

    def _self_lines(self, method: Callable[..., list[bytes]], *args: Any) -> list[bytes]:
        lines = method(*args)
        self._self_took(b"".join(lines))
        if not args:
            self._self_exchange.end()
        return lines

    def _self_pieces(
        self, method: Callable[..., Any], *args: Any, **options: Any
    ) -> Iterator[bytes]:
        for piece in method(*args, **options):
            if piece:
                self._self_exchange.chunk(piece)
            yield piece
        self._self_exchange.end()

    @contained
    def _self_took(self, data: bytes) -> None:
        if data:
            self._self_exchange.chunk(data)
        else:
            self._self_exchange.end()
