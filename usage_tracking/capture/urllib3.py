"""The response of urllib3, from which requests and botocore read.

https://urllib3.readthedocs.io/en/stable/reference/urllib3.response.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, TypeVar

from ..errors import contained
from .exchange import Exchange
from .file import tee_file

T = TypeVar("T")


def tee(raw: Any, exchange: Exchange) -> Any:
    """Pass on what is read from urllib3's response, through any of its methods.

    The response gets a subclass as its class. To the site it stays the same object, and because no
    other object holds it, it is freed with its connection when it always was.

    Returns:
        What to read from instead of `raw`: the same object, except for a file that is not urllib3's
        response, such as that of a test tool.
    """
    from urllib3 import HTTPResponse  # already imported by requests and botocore

    if not isinstance(raw, HTTPResponse):
        return tee_file(raw, exchange)
    response: Any = raw
    response._ai_usage_exchange = exchange
    response.__class__ = _teeing(type(raw))
    return response


@cache
def _teeing(kind: Any) -> type:  # noqa: C901 -- one class, whose base is known at run time only
    class Tee(kind):  # type: ignore[misc]
        """Captures what is read: all ways of reading end in the first three methods."""

        _ai_usage_exchange: Exchange
        # While urllib3 reads, it releases the connection itself, at the end and also before it
        # raises an error: then the read decides how the call ended.
        _ai_usage_reads = False

        def read(
            self,
            amt: int | None = None,
            decode_content: bool | None = None,
            *args: Any,
            **options: Any,
        ) -> bytes:
            read = super().read
            data: bytes = self._ai_usage_read(lambda: read(amt, decode_content, *args, **options))
            self._ai_usage_take(data, decode_content)
            if self._ai_usage_at_end() or amt is None or (amt and not data):
                self._ai_usage_exchange.end()
            return data

        def read1(self, amt: int | None = None, decode_content: bool | None = None) -> bytes:
            read1 = super().read1
            data: bytes = self._ai_usage_read(lambda: read1(amt, decode_content))
            self._ai_usage_take(data, decode_content)
            if self._ai_usage_at_end() or (amt != 0 and not data):
                self._ai_usage_exchange.end()
            return data

        def read_chunked(
            self, amt: int | None = None, decode_content: bool | None = None
        ) -> Iterator[bytes]:
            # Runs once for each event of a stream: inlined, because each call adds up.
            exchange = self._ai_usage_exchange
            take = exchange.chunk
            self._ai_usage_take(b"", decode_content)
            chunks = iter(super().read_chunked(amt, decode_content))
            while True:
                self._ai_usage_reads = True
                try:
                    chunk = next(chunks, None)
                except BaseException as error:
                    exchange.end(error)
                    raise
                finally:
                    self._ai_usage_reads = False
                if chunk is None:
                    break
                take(chunk)
                yield chunk
            exchange.end()

        def close(self) -> None:
            self._ai_usage_release(super().close)

        def release_conn(self) -> None:
            self._ai_usage_release(super().release_conn)

        def __del__(self) -> None:
            self._ai_usage_exchange.abandon()
            self._ai_usage_reads = True  # the close that follows must not end it either
            super().__del__()

        def _ai_usage_read(self, step: Callable[[], T]) -> T:
            self._ai_usage_reads = True
            try:
                return step()
            except BaseException as error:
                self._ai_usage_exchange.end(error)
                raise
            finally:
                self._ai_usage_reads = False

        def _ai_usage_release(self, method: Callable[[], None]) -> None:
            try:
                method()
            finally:
                if not self._ai_usage_reads:
                    self._ai_usage_exchange.end(abandoned=True)

        @contained
        def _ai_usage_take(self, data: bytes, decode_content: bool | None) -> None:
            if self.decode_content if decode_content is None else decode_content:
                self._ai_usage_exchange.is_decoded()
            self._ai_usage_exchange.chunk(data)

        @contained
        def _ai_usage_at_end(self) -> bool:
            """Return whether all has been read and decoded; an empty read may never come."""
            buffered = len(getattr(self, "_decoded_buffer", b""))
            decoder = getattr(self, "_decoder", None)
            rest = buffered or getattr(decoder, "has_unconsumed_tail", False)
            return self.closed and not (rest or self.length_remaining)

    Tee.__name__, Tee.__qualname__, Tee.__module__ = (
        kind.__name__,
        kind.__qualname__,
        kind.__module__,
    )
    return Tee
