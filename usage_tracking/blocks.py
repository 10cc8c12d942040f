"""`ai_usage`: the block of code, or the function, whose AI calls belong together."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Mapping
from decimal import Decimal
from math import isfinite
from types import TracebackType
from typing import Any, TypeVar, cast

from . import conf, outbox, recorder
from .attribution.scope import Scope, Steps, Unit, current, enter, leave
from .attribution.streams import hold_stream
from .attribution.users import is_user, named
from .errors import contain, contained
from .events import Usage, UsageEvent
from .formats import read_response
from .formats.reader import Reader
from .log import logger
from .pricing import price
from .redaction import clean_text

F = TypeVar("F", bound=Callable[..., Any])

#: After so many uses without a single call a block is taken for one whose calls we cannot see.
SILENT_USES = 20
#: SDKs that speak gRPC, which no transport hook sees.
UNSEEN_SDKS = ("google.generativeai", "vertexai", "xai_sdk")

#: Uses of each block by file and line; a negative number says that it is settled.
_uses: dict[tuple[str, int], int] = {}
#: Blocks by file and line whose user cannot be one.
_warned_of_user: set[tuple[str, int]] = set()


class UsageHandle:
    """What `with ai_usage(...) as usage` gives: the calls of the block so far."""

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
        """The tokens of the calls so far, as far as they are known."""
        recorder.catch_up()
        return self._total_tokens

    @property
    def cost(self) -> Decimal | None:
        """The cost of the calls so far in USD; None if none of them has a known price."""
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
    ) -> None:
        """Records a call that the hooks cannot see (gRPC, websockets, an own transport).

        Of a call that they did see it adds what they could not know; it is never counted twice.
        `response` may be any SDK's response object or a dict: tokens, model and id are read off
        it. What is passed by name wins. Tokens are counts, `response_time_ms` milliseconds; a
        number that cannot be true is left out and named in the row's metadata.

        It never raises.
        """
        try:
            read = contained(read_response)(response) or Reader()
            found = read.usage or Usage()
            usage = Usage(
                prompt_tokens=found.prompt_tokens if prompt_tokens is None else prompt_tokens,
                completion_tokens=(
                    found.completion_tokens if completion_tokens is None else completion_tokens
                ),
                cached_tokens=found.cached_tokens,
                cache_write_tokens=found.cache_write_tokens,
                reasoning_tokens=found.reasoning_tokens,
                cost=found.cost,
            )
            with Steps(self._scope):  # it is a call of this block, wherever it is told
                recorder.record_manually(
                    usage=usage,
                    model_name=model_name or read.model,
                    provider=provider,
                    operation=read.operation,
                    response_id=read.response_id,
                    response_time_ms=_whole(response_time_ms),
                    success=success and not read.error,
                    error_message=error_message or read.error or "",
                    facts=read.facts,
                    metadata=metadata,
                )
        except Exception as error:  # noqa: BLE001 -- the site's call has succeeded
            contain(error, "UsageHandle.record")

    @contained
    def _price(self) -> None:
        while self._unpriced:
            if (cost := price(self._unpriced.pop())) is not None:
                self._cost = (self._cost or Decimal(0)) + cost

    def called(self, event: UsageEvent) -> None:
        self._calls += 1
        self._total_tokens += event.total_tokens
        self._unpriced.append(event)
        if len(self._unpriced) > 1000:
            self._price()  # a scope that lives for days must not keep every event

    def amended(self, before: UsageEvent, after: UsageEvent) -> None:
        self._total_tokens += after.total_tokens - before.total_tokens
        if not before.usage.known and after.usage.known:
            self._unpriced = [e for e in self._unpriced if e.id != before.id] + [after]


class ai_usage:
    """Attributes the AI calls made inside to a section, a user and metadata.

    A context manager, an asynchronous one, and a decorator of functions, coroutine functions,
    generators and views::

        with ai_usage(section="chat") as usage:
            client.chat.completions.create(...)

    `section` is a code of `AI_USAGE_SECTIONS`; `user` a user, a primary key or a username (by
    default the user of the request); `metadata` a mapping that is kept with every call. A username
    or a key is looked up after the call, the username first. What is left out comes from the
    enclosing scope. It makes no record by itself, and it never raises because of tracking.
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
        await self._aclose(opened)

    def __call__(self, function: F) -> F:
        if inspect.isasyncgenfunction(function):
            return cast(F, self._asyncgen(function))
        if inspect.isgeneratorfunction(function):
            return cast(F, self._generator(function))
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
                if not inspect.iscoroutine(result) and not self._hold(result, opened):
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
            if not self._hold(result, opened):
                await self._aclose(opened)

    def _left(self) -> Opened:
        """What this block was entered with here: one block may be shared by threads and tasks."""
        scope = current()
        while scope is not None:
            for position, opened in enumerate(self._entered):
                if opened.scope is scope:
                    return self._entered.pop(position)
            scope = scope.parent
        # One that is left more often than it was entered does nothing.
        return self._entered.pop() if self._entered else Opened(None, UsageHandle())

    @contained
    def _open(self) -> Opened:
        section = clean_text(self._section, 50) if self._section else None
        user = named(self._user)
        if user is not None and not is_user(user):
            self._warn_of_user(user)
        metadata = self._metadata if isinstance(self._metadata, Mapping) else None
        handle = UsageHandle()
        home = None
        parent = current()
        if parent is not None and parent.unit.open:
            unit = parent.unit
        else:
            unit = Unit(within=parent.unit.within if parent is not None else None)
            if parent is not None:
                # A thread that outlived its request: its unit is over, its attribution is not.
                section = section or parent.section or parent.unit.view_section() or None
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
    def _hold(self, result: Any, opened: Opened | None) -> bool:
        """Keeps the scope for the body of a streaming response that a view returned."""
        if opened is None or opened.scope is None:
            return False

        def done() -> None:
            self._end(opened)

        async def adone() -> None:
            await self._aclose(opened)

        if _is_outermost(opened.scope):
            unit = opened.scope.unit
            return hold_stream(result, opened.scope, done, adone, lambda: recorder.finish(unit))
        return hold_stream(result, opened.scope, done, adone)

    def _end(self, opened: Opened | None) -> None:
        self._resolve_routed(opened)
        wait = self._close(opened)
        if wait is not None:
            outbox.wake(wait=max(outbox.WAIT, wait))

    @contained
    def _close(self, opened: Opened | None) -> float | None:
        """End one use of the block; return the seconds to wait, None unless it is the outermost."""
        if opened is None or opened.scope is None or opened.is_settled():
            return None
        unit = opened.scope.unit
        is_outermost = _is_outermost(opened.scope)
        if is_outermost:
            recorder.finish(unit)
            recorder.catch_up()
        self._mind_silence(opened.handle)
        return unit.wait() if is_outermost else None

    @contained
    def _resolve_routed(self, opened: Opened | None) -> None:
        if opened is not None and opened.scope is not None and _is_outermost(opened.scope):
            recorder.resolve_routed(opened.scope.unit)

    async def _aclose(self, opened: Opened | None) -> None:
        try:
            try:
                if opened is not None and opened.scope is not None and _is_outermost(opened.scope):
                    await recorder.aresolve_routed(opened.scope.unit)
            finally:
                wait = self._close(opened)
            if wait is not None:
                await outbox.awake(wait=wait)
        except Exception as error:  # noqa: BLE001 -- see errors.contained
            contain(error, "ai_usage.__aexit__")

    def _warn_of_user(self, user: Any) -> None:
        """Warn once of a block whose `user` cannot be one."""
        if self._site in _warned_of_user or not conf.enabled():
            return
        _warned_of_user.add(self._site)
        logger.warning(
            "[TRACK_WARNING] The user of the ai_usage block at %s:%d must be a saved user, a "
            "primary key or a username, not of type %s; its calls are unattributed.",
            *self._site,
            type(user).__name__,
        )

    def _mind_silence(self, handle: UsageHandle) -> None:
        """Warns once of a block in which no call is ever seen."""
        uses = _uses.get(self._site, 0)
        if uses < 0:
            return
        if handle.calls:
            _uses[self._site] = -1
            return
        _uses[self._site] = uses + 1
        unseen = next((name for name in UNSEEN_SDKS if name in sys.modules), None)
        if uses + 1 < SILENT_USES and not unseen:
            return
        _uses[self._site] = -1
        if not conf.enabled():
            return
        logger.warning(
            "[TRACK_WARNING] No AI call was seen in the ai_usage block at %s:%d (%d uses%s). "
            "If it makes calls, record them: with ai_usage(...) as usage: usage.record(response)",
            *self._site,
            uses + 1,
            f"; {unseen} is imported, whose transport cannot be captured" if unseen else "",
        )

    def _generator(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            opened = self._open()
            try:
                result = yield from _stepped(function(*args, **kwargs), _steps(opened))
            except GeneratorExit:
                # It may be freed just now, in the middle of anything.
                recorder.later(lambda: self._close(opened))
                if opened is not None and opened.scope and _is_outermost(opened.scope):
                    recorder.finish(opened.scope.unit)
                raise
            except BaseException:
                self._end(opened)
                raise
            self._end(opened)
            return result

        return run

    def _asyncgen(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        async def run(*args: Any, **kwargs: Any) -> Any:
            opened = self._open()
            steps = _steps(opened)
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
                await self._aclose(opened)

        return run


class Opened:
    """One use of a block. `scope` is None where ours failed: the block then does nothing."""

    __slots__ = ("_settled", "handle", "scope")

    def __init__(self, scope: Scope | None, handle: UsageHandle) -> None:
        self.scope = scope
        self.handle = handle
        self._settled = False

    def is_settled(self) -> bool:
        """False the first time it is asked: a stream both ends and is closed."""
        settled, self._settled = self._settled, True
        if self.scope is not None:
            self.scope.closed = True
        return settled


def _steps(opened: Opened | None) -> Steps:
    return Steps(current() if opened is None else opened.scope)


def _whole(milliseconds: Any) -> Any:
    """Rounds a duration; what is none is left to be marked as such."""
    known = isinstance(milliseconds, float) and isfinite(milliseconds)
    return round(milliseconds) if known else milliseconds


def _is_outermost(scope: Scope) -> bool:
    parent = scope.parent
    return scope.unit.open and (parent is None or parent.unit is not scope.unit)


def _stepped(generator: Any, steps: Steps) -> Any:
    """`yield from generator` with each step taken in a scope (PEP 380 spelt out)."""
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
