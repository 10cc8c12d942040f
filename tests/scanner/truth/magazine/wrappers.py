"""Decorators and context managers of the app."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import ContextDecorator, ExitStack, asynccontextmanager, contextmanager
from typing import Any, ParamSpec, TypeVar

import usage_tracking as ut

from . import tracked

P = ParamSpec("P")
T = TypeVar("T")


def timed(function: Callable[P, T]) -> Callable[P, T]:
    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        return function(*args, **kwargs)

    return wrapper


def bare(function: Any) -> Any:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def retried(times: int = 3) -> Any:
    def decorate(function: Any) -> Any:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            for attempt in range(times):
                try:
                    return function(*args, **kwargs)
                except ValueError:
                    if attempt == times - 1:
                        raise
            return None

        return wrapper

    return decorate


def in_section(section: str) -> Any:
    def decorate(function: Any) -> Any:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with ut.ai_usage(section=section):
                return function(*args, **kwargs)

        return wrapper

    return decorate


def in_section_if(is_on: bool) -> Any:
    def decorate(function: Any) -> Any:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            if not is_on:
                return function(*args, **kwargs)
            with ut.ai_usage(section="chat"):
                return function(*args, **kwargs)

        return wrapper

    return decorate


def logged_section(function: Any) -> Any:
    """Open a block that ends before the function is called."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        with tracked("chat") as usage:
            kwargs["usage"] = usage
        return function(*args, **kwargs)

    return wrapper


class Sectioned:
    """A decorator that is a class."""

    def __init__(self, function: Any) -> None:
        functools.update_wrapper(self, function)
        self.function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with tracked(section="search"):
            return self.function(*args, **kwargs)


class Unsectioned(Sectioned):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)


class SectionDecorator:
    def __init__(self, section: str) -> None:
        self.section = section

    def __call__(self, function: Any) -> Any:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with tracked(section=self.section):
                return function(*args, **kwargs)

        return wrapper


class InSearch(ContextDecorator):
    def __enter__(self) -> InSearch:
        self.stack = ExitStack()
        self.stack.enter_context(tracked(section="search"))
        return self

    def __exit__(self, *error: Any) -> None:
        self.stack.close()


class Forgets(ContextDecorator):
    """It opens a block, and closes it at once."""

    def __enter__(self) -> Forgets:
        with ExitStack() as stack:
            stack.enter_context(tracked(section="search"))
        return self

    def __exit__(self, *error: Any) -> None:
        pass


class Holds:
    def __enter__(self) -> Any:
        self.block = tracked(section="search")
        return self.block.__enter__()

    def __exit__(self, *error: Any) -> Any:
        return self.block.__exit__(*error)


@contextmanager
def spanned(section: str = "search"):
    try:
        with ut.ai_usage(section=section) as usage:
            yield usage
    finally:
        pass


@contextmanager
def maybe_spanned(section: str | None = None):
    if section is None:
        yield None
        return
    with ut.ai_usage(section=section) as usage:
        yield usage


@contextmanager
def stacked():
    with ExitStack() as stack:
        stack.enter_context(tracked("search"))
        yield stack


@asynccontextmanager
async def aspanned():
    async with tracked(section="search"):
        yield


@contextmanager
def early():
    with tracked(section="search"):
        pass
    yield
