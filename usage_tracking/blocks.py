"""`ai_usage`: attribute the AI calls of a block of code or a function."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from decimal import Decimal
from functools import partial
from math import isfinite
from types import TracebackType
from typing import Any, TypeVar, cast

from . import block_warnings, outbox, recorder
from .attribution.resolve import view_section
from .attribution.scope import Scope, Steps, Unit, current, enter, leave
from .attribution.stepping import astepped, stepped
from .attribution.streams import keep_scope_in_stream
from .attribution.users import is_user, named
from .errors import contain, contained
from .events import UsageEvent
from .formats import read_responses
from .formats.reader import Reader
from .pricing import price
from .recorder import pending_users, units
from .redaction import clean_text
from .units import UnknownUnitError, check_names
from .usage import Usage

#: Why the usage of a recorded response is unknown.
_UNREAD = "no usage in the recorded response"

F = TypeVar("F", bound=Callable[..., Any])


class UsageHandle:
    """The handle of `with ai_usage(...) as usage`: the calls of the block so far."""

    def __init__(self) -> None:
        self._scope: Scope | None = None
        self._calls = 0
        self._total_tokens = 0
        self._cost: Decimal | None = None
        self._unpriced: list[UsageEvent] = []

    @property
    def calls(self) -> int:
        """The number of calls so far."""
        recorder.catch_up()
        return self._calls

    @property
    def total_tokens(self) -> int:
        """The known tokens of the calls so far."""
        recorder.catch_up()
        return self._total_tokens

    @property
    def cost(self) -> Decimal | None:
        """The known cost of the calls so far in USD; None if no call has a known price."""
        recorder.catch_up()
        self._price()
        return self._cost

    def record(
        self,
        response: Any = None,
        *,
        prompt_tokens: int | None = None,
        completion_tokens: int | None = None,
        model_name: str = "",
        provider: str = "",
        response_time_ms: float | None = None,
        success: bool = True,
        error_message: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        **units: float | None,
    ) -> None:
        """Record a call that the hooks cannot capture (a custom transport).

        If the call was captured, this only adds to it; the call is never counted twice. Errors of
        tracking are not raised. Invalid numbers are left out and named in the row's metadata.

        Args:
            response: The response object of any SDK, framework or HTTP library, a dict, or JSON.
                Tokens, model and id are read from it; the other arguments take precedence. The run
                of an agent is a call for each of its requests.
            prompt_tokens: The number of input tokens.
            completion_tokens: The number of output tokens.
            model_name: The name of the model.
            provider: The provider's name.
            response_time_ms: The duration of the call in milliseconds.
            success: Whether the call succeeded.
            error_message: The error of a failed call; secrets are redacted.
            metadata: Stored with the call; secrets are redacted.
            **units: What else was used, by the names of `usage_tracking.units.NAMES`, for example
                `input_audio_seconds=60` or `web_searches=2`. Parts count within their whole:
                `cache_write_1h_tokens` also count as `cache_write_tokens` and `input_tokens`.

        Raises:
            UnknownUnitError: The name of a unit is misspelt, a TypeError. Nothing is recorded.
        """
        try:
            check_names(units)
            given = {"input_tokens": prompt_tokens, "output_tokens": completion_tokens, **units}
            answers = contained(read_responses)(response) or [Reader()]
            if len(answers) > 1 and any(count is not None for count in given.values()):
                answers = [Reader()]  # the site counted them together
            for read in answers:
                usage = (read.usage or Usage()).updated(given)
                is_unread = response is not None and not usage.known
                with Steps(self._scope):  # the call belongs to this block, wherever it is reported
                    recorder.record_manually(
                        UsageEvent.manual(
                            usage=usage,
                            price_context=read.price_context,
                            model_name=model_name or read.model,
                            provider=provider,
                            operation=read.operation,
                            response_time_ms=_whole(response_time_ms),
                            success=success and not read.error,
                            error_message=error_message or read.error or "",
                            facts=read.facts | ({"unknown": _UNREAD} if is_unread else {}),
                            metadata=metadata,
                        ),
                        response_id=read.response_id,
                    )
        except UnknownUnitError:
            raise
        except Exception as error:  # noqa: BLE001 -- the site's call has succeeded
            contain(error, "UsageHandle.record")

    @contained
    def _price(self) -> None:
        while self._unpriced:
            if (cost := price(self._unpriced.pop())) is not None:
                self._cost = (self._cost or Decimal(0)) + cost

    def called(self, event: UsageEvent) -> None:
        """Add a call."""
        self._calls += 1
        self._total_tokens += event.total_tokens
        self._unpriced.append(event)
        if len(self._unpriced) > 1000:
            self._price()  # a scope that is open for days must not keep every event

    def amended(self, before: UsageEvent, after: UsageEvent) -> None:
        """Apply a new revision of a call's event."""
        self._total_tokens += after.total_tokens - before.total_tokens
        if not before.usage.known and after.usage.known:
            self._unpriced = [e for e in self._unpriced if e.id != before.id] + [after]


class ai_usage:
    """Attribute the AI calls made inside to a section, a user and metadata.

    Use it as a context manager, an asynchronous context manager, or a decorator of functions,
    coroutine functions, generators and views::

        with ai_usage(section="chat") as usage:
            client.chat.completions.create(...)

    Omitted arguments come from the enclosing scope. The block itself records no call, and it never
    raises because of tracking.

    Args:
        section: A code of `AI_USAGE_SECTIONS`.
        user: A user, a primary key or a username; by default the user of the request. A key or a
            username is looked up after the call; a string first as a username.
        metadata: A mapping that is stored with every call.

    Raises:
        TypeError: The decorator is used without parentheses.
    """

    def __init__(
        self,
        section: str | None = None,
        *,
        user: Any = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        if callable(section):
            raise TypeError("use the decorator with parentheses: @ai_usage(section=...)")
        self._section = section
        self._user = user
        self._metadata = metadata
        frame = sys._getframe(1)
        self._site = (frame.f_code.co_filename, frame.f_lineno)
        self._entered: list[Opened] = []

    def __enter__(self) -> UsageHandle:
        opened = self._open() or Opened(None, UsageHandle())
        if opened.scope is not None:
            enter(opened.scope)
        self._entered.append(opened)
        return opened.handle

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        opened = self._left()
        if opened.scope is not None:
            leave(opened.scope)
        self._end(opened)

    async def __aenter__(self) -> UsageHandle:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        opened = self._left()
        if opened.scope is not None:
            leave(opened.scope)
        await self._aend(opened)

    def __call__(self, function: F) -> F:
        """Return a wrapper that runs each call of `function` in a block."""
        wrapper = self._wrapper(function)
        # Celery checks the arguments of `delay` by the signature, and does not follow __wrapped__.
        # Any error may come from the host's code: Python 3.14 evaluates annotations here.
        with suppress(Exception):
            cast(Any, wrapper).__signature__ = inspect.signature(function)
        return wrapper

    def _wrapper(self, function: F) -> F:
        if inspect.isasyncgenfunction(function):
            return cast(F, astepped(function, self._open, _steps, self._aend))
        if inspect.isgeneratorfunction(function):
            return cast(F, stepped(function, self._open, _steps, self._end, self._drop))
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def arun(*args: Any, **kwargs: Any) -> Any:
                return await self._awaited(function(*args, **kwargs), self._open())

            return cast(F, arun)

        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            opened = self._open()
            result = None
            try:
                with _steps(opened):
                    result = function(*args, **kwargs)
            finally:
                if not inspect.iscoroutine(result) and not self._keeps_scope(result, opened):
                    self._end(opened)
            # An asynchronous class-based view is a plain function that returns a coroutine.
            return self._awaited(result, opened) if inspect.iscoroutine(result) else result

        return cast(F, run)

    async def _awaited(self, coroutine: Any, opened: Opened | None) -> Any:
        result = None
        try:
            with _steps(opened):
                result = await coroutine
            return result
        finally:
            if not self._keeps_scope(result, opened):
                await self._aend(opened)

    def _left(self) -> Opened:
        """Remove and return the use entered here; threads and tasks may share one block."""
        scope = current()
        while scope is not None:
            for position, opened in enumerate(self._entered):
                if opened.scope is scope:
                    return self._entered.pop(position)
            scope = scope.parent
        # Leaving a block more often than entering it does nothing.
        return self._entered.pop() if self._entered else Opened(None, UsageHandle())

    @contained
    def _open(self) -> Opened:
        section = clean_text(self._section, 50) if self._section else None
        user = named(self._user)
        if user is not None and not is_user(user):
            block_warnings.warn_of_user(self._site, user)
        metadata = self._metadata if isinstance(self._metadata, Mapping) else None
        handle = UsageHandle()
        home = None
        parent = current()
        if parent is not None and parent.unit.open:
            unit = parent.unit
        else:
            unit = Unit(within=parent.unit.within if parent is not None else None)
            if parent is not None:
                # A thread that outlives its request keeps the attribution of the ended unit.
                section = section or parent.section or view_section(parent.unit) or None
                if user is None:
                    user, home = parent.user or parent.unit.request, parent.home
        scope = Scope(
            *(unit, parent),
            section=section,
            user=user,
            metadata=metadata,
            observer=handle,
            home=home,
        )
        handle._scope = scope
        if not unit.open:
            unit.begin()
        return Opened(scope, handle)

    @contained
    def _keeps_scope(self, result: Any, opened: Opened | None) -> bool:
        """Keep the scope for the body of a streaming response, and return whether that was done."""
        if opened is None or opened.scope is None:
            return False

        def done() -> None:
            self._end(opened)

        async def adone() -> None:
            await self._aend(opened)

        if _is_outermost(opened.scope):
            unit = opened.scope.unit
            return keep_scope_in_stream(
                result, opened.scope, done, adone, lambda: pending_users.end(unit)
            )
        return keep_scope_in_stream(result, opened.scope, done, adone)

    def _end(self, opened: Opened | None) -> None:
        """End one use of the block, and its unit of work if it is the outermost."""
        if opened is None or opened.scope is None or not opened.close():
            return
        if _is_outermost(opened.scope):
            units.finish(opened.scope.unit, min_wait=outbox.WAIT)
        block_warnings.note_use(self._site, opened.handle)

    async def _aend(self, opened: Opened | None) -> None:
        if opened is None or opened.scope is None or not opened.close():
            return
        if _is_outermost(opened.scope):
            await units.afinish(opened.scope.unit)
        block_warnings.note_use(self._site, opened.handle)

    def _drop(self, opened: Opened | None) -> None:
        """End one use of the block in a finalizer, which may run at any point."""
        recorder.later(partial(self._end, opened))
        if opened is not None and opened.scope and _is_outermost(opened.scope):
            pending_users.end(opened.scope.unit)


class Opened:
    """One use of a block. `scope` is None after an internal error; the block does nothing then."""

    __slots__ = ("_is_closed", "handle", "scope")

    def __init__(self, scope: Scope | None, handle: UsageHandle) -> None:
        self.scope = scope
        self.handle = handle
        self._is_closed = False

    def close(self) -> bool:
        """Close the scope; return False if it was already closed: a stream ends and is closed."""
        is_first, self._is_closed = not self._is_closed, True
        if self.scope is not None:
            self.scope.closed = True
        return is_first


def _steps(opened: Opened | None) -> Steps:
    return Steps(current() if opened is None else opened.scope)


def _whole(milliseconds: Any) -> Any:
    """Round a duration; return an invalid one unchanged, which the event marks as clamped."""
    known = isinstance(milliseconds, float) and isfinite(milliseconds)
    return round(milliseconds) if known else milliseconds


def _is_outermost(scope: Scope) -> bool:
    parent = scope.parent
    return scope.unit.open and (parent is None or parent.unit is not scope.unit)
