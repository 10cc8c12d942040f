"""Generators whose every step is taken in a scope, which is opened when they begin to run."""

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
    """Return a generator function whose generators run in what `begin` opens.

    `end` is called when a generator has ended, `drop` if it is freed or closed before that.
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
    """Do as `stepped`, with an asynchronous generator function."""

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
                except BaseException as error:  # noqa: BLE001 -- handed to the generator
                    step, argument = generator.athrow, error
        finally:
            await aend(opened)

    return run


def _yield_from(generator: Any, steps: Steps) -> Any:
    """Do as `yield from generator`, with each step taken in a scope (PEP 380 spelt out)."""
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
        except BaseException as error:  # noqa: BLE001 -- handed to the generator
            step, argument = generator.throw, error
