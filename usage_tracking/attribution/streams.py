"""Run each step of a streaming response body in the scope of its request."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

from ..log import logger
from .scope import Scope, Steps


def keep_scope_in_stream(
    response: Any,
    scope: Scope,
    done: Callable[[], None],
    adone: Callable[[], Awaitable[None]],
    dropped: Callable[[], None] = lambda: None,
) -> bool:
    """Run every step of a streaming response in `scope`.

    A file that the server sends itself (`wsgi.file_wrapper`) is not changed.

    Args:
        response: What a view returned.
        scope: The scope of the request.
        done: Called when the body has ended.
        adone: Awaited instead of `done` on an event loop.
        dropped: Called when the body is freed. A body that a 304 replaces is never read or closed.

    Returns:
        False if `response` is not a streaming response.
    """
    if not getattr(response, "streaming", False) or getattr(response, "file_to_stream", None):
        return False
    body = response.streaming_content
    steps = Steps(scope)
    # Closing the view's generator is one of its steps; Django would do it outside the scope.
    closers = list(response._resource_closers)
    response._resource_closers.clear()

    def close() -> None:
        # The response calls this in a thread without an event loop, also after a disconnect.
        with steps:
            for closer in closers:
                try:
                    closer()
                except Exception as error:  # noqa: BLE001 -- Django does the same
                    logger.debug("closing a response: %s", error)
        done()

    try:
        if response.is_async:
            response.streaming_content = _AsyncStreamSteps(body, steps, adone, close, dropped)
        else:
            response.streaming_content = _StreamSteps(body, steps, done, close, dropped)
    except Exception:
        response._resource_closers[:] = closers
        raise
    return True


class _StreamSteps:
    def __init__(
        self,
        body: Any,
        steps: Steps,
        done: Callable[[], None],
        close: Callable[[], None],
        dropped: Callable[[], None],
    ) -> None:
        self._steps = steps
        self._done = done
        self.close = close
        self._dropped = dropped
        self._body = iter(body)

    def __del__(self) -> None:
        self._dropped()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            with self._steps:
                return next(self._body)
        except BaseException:
            self._done()
            raise


class _AsyncStreamSteps:
    def __init__(
        self,
        body: Any,
        steps: Steps,
        adone: Callable[[], Awaitable[None]],
        close: Callable[[], None],
        dropped: Callable[[], None],
    ) -> None:
        self._steps = steps
        self._adone = adone
        self.close = close
        self._dropped = dropped
        self._body = aiter(body)

    def __del__(self) -> None:
        self._dropped()

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        try:
            with self._steps:
                return await anext(self._body)
        except Exception:  # StopAsyncIteration, or an error of the body
            await self._adone()
            raise
