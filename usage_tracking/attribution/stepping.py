"""Run each step of a generator in a scope that opens when the generator starts."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from .scope import Steps

T = TypeVar("T")


def stepped(
    function: Callable[..., Any],
    begin: Callable[[], T],
    steps_of: Callable[[T], Steps],
    end: Callable[[T], object],
    drop: Callable[[T], object],
) -> Callable[..., Any]:
    """Return a generator function whose generators run in a scope.

    Args:
        function: The generator function.
        begin: Opens the scope when a generator starts.
        steps_of: Returns the steps of the result of `begin`.
        end: Called when a generator has ended.
        drop: Called instead of `end` if a generator is freed or closed before its end.
    """

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        opened = begin()
        try:
            result = yield from _yield_from(function(*args, **kwargs), steps_of(opened))
        except GeneratorExit:
            drop(opened)
            raise
        except BaseException:
            end(opened)
            raise
        end(opened)
        return result

    return run


def astepped(
    function: Callable[..., Any],
    begin: Callable[[], T],
    steps_of: Callable[[T], Steps],
    aend: Callable[[T], Awaitable[object]],
) -> Callable[..., Any]:
    """Do the same as `stepped` for an asynchronous generator function."""

    @functools.wraps(function)
    async def run(*args: Any, **kwargs: Any) -> Any:
        opened = begin()
        steps = steps_of(opened)
        generator = function(*args, **kwargs)
        step, argument = generator.asend, None
        try:
            while True:
                try:
                    with steps:
                        item = await step(argument)
                except StopAsyncIteration:
                    return
                try:
                    argument = yield item
                    step = generator.asend
                except GeneratorExit:
                    with steps:
                        await generator.aclose()
                    raise
                except BaseException as error:  # noqa: BLE001 -- thrown into the generator
                    step, argument = generator.athrow, error
        finally:
            await aend(opened)

    return run


def _yield_from(generator: Any, steps: Steps) -> Any:
    """Do the same as `yield from generator` (PEP 380), with each step in a scope."""
    step, argument = generator.send, None
    while True:
        try:
            with steps:
                item = step(argument)
        except StopIteration as end:
            return end.value
        try:
            argument = yield item
            step = generator.send
        except GeneratorExit:
            with steps:
                generator.close()
            raise
        except BaseException as error:  # noqa: BLE001 -- thrown into the generator
            step, argument = generator.throw, error
