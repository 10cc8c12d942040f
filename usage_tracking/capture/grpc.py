"""grpc, sync and asyncio.

https://grpc.github.io/grpc/python/grpc.html#channel-object
https://grpc.github.io/grpc/python/grpc_asyncio.html#channel-object

A stub asks its channel for one callable per method, by the path of the method. The hook is there,
on the classes of channels, and wraps the callables of AI methods only. So calls of other services
(Pub/Sub, Firestore) run exactly the code that they always ran, and it does not matter how a channel
was made, who imported which name, or which interceptors are around it.

The alternative, an interceptor added in `grpc.secure_channel` and its siblings, would be in every
call of every service, change the class of channels and of asyncio's calls, and miss functions that
were imported by name before.

In an AI call, functions around the (de)serializers of the call see its messages, whatever its
style and whoever reads them. Its end is seen where the caller sees it, or in a callback if the
caller never looks.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Coroutine
from functools import cache, partial
from importlib import import_module
from types import ModuleType
from typing import Any

import wrapt

from ..errors import contained
from ..system.patching import is_patched, patch, unpatch
from .grpc_calls import GRPCCall, open_call
from .grpc_methods import Method, find

#: The methods that return a callable → whether its answer is a stream of messages.
_STYLES = {
    "unary_unary": False,
    "unary_stream": True,
    "stream_unary": False,
    "stream_stream": True,
}
#: The attribute of a channel that has its target.
_TARGET = "_ai_usage_target"
#: The names of the modules that are hooked. A stub keeps its callables when the hooks are removed.
_hooked: set[str] = set()


def hook(module: ModuleType, _transport: str) -> None:
    """Hook grpc."""
    _hooked.add(module.__name__)
    for channel, wrapper in _channels(module):
        patch(channel, "__init__", _remember_target)
        for style in _STYLES:
            patch(channel, style, partial(_wrap, style, wrapper))


def unhook(module: ModuleType) -> None:
    """Remove the hooks."""
    _hooked.discard(module.__name__)
    for channel, _ in _channels(module):
        for name in ("__init__", *_STYLES):
            unpatch(channel, name)


def is_hooked(module: ModuleType) -> bool:
    """Return whether every hook is in place."""
    return all(
        is_patched(channel, name)
        for channel, _ in _channels(module)
        for name in ("__init__", *_STYLES)
    )


def _channels(module: ModuleType) -> list[tuple[Any, Any]]:
    """Return the classes of channels and what wraps the callables of each.

    grpc imports the first with its first channel; nothing else of grpc is then still to import.
    """
    name = module.__name__
    return [
        (import_module(f"{name}._channel").Channel, _Callable),
        (import_module(f"{name}.aio._channel").Channel, _AsyncCallable),
    ]


def _remember_target(original: Any) -> Any:
    def init(channel: Any, target: Any, *args: Any, **options: Any) -> None:
        original(channel, target, *args, **options)
        setattr(channel, _TARGET, target)

    return init


@contained
def _target(channel: Any) -> str:
    """Return the target of a channel, also of one that was made before the hooks were there."""
    target = getattr(channel, _TARGET, None) or channel._channel.target
    target = target() if callable(target) else target
    return target.decode() if isinstance(target, bytes) else str(target)


def _wrap(style: str, wrapper: Any, original: Any) -> Any:
    is_stream = _STYLES[style]

    def make(channel: Any, method: Any, *args: Any, **options: Any) -> Any:
        made = original(channel, method, *args, **options)
        called = find(method)
        if called is None:
            return made
        serializers = _serializers(*args, **options)

        def remake(call: GRPCCall) -> Any:
            # Not a registered method: grpc registers methods when a stub is made, in one thread.
            serializer, deserializer = serializers
            return original(
                channel, method, call.serializer(serializer), call.deserializer(deserializer)
            )

        return wrapper(made, partial(_open, called, _target(channel), remake), is_stream)

    return make


def _serializers(
    request_serializer: Any = None, response_deserializer: Any = None, *_: Any, **__: Any
) -> tuple[Any, Any]:
    return request_serializer, response_deserializer


@contained
def _open(
    method: Method,
    target: str | None,
    remake: Callable[[GRPCCall], Any],
    request: Any,
    metadata: Any,
    *,
    is_stream: bool,
    is_ended_by_message: bool = False,
) -> tuple[GRPCCall, Any] | None:
    if not _hooked:
        return None
    call = open_call(
        method,
        target or "",
        request,
        metadata,
        is_stream=is_stream,
        is_ended_by_message=is_ended_by_message,
    )
    return None if call is None else (call, remake(call))


class _Callable(wrapt.ObjectProxy):  # type: ignore[type-arg]
    """A method of a sync channel."""

    def __init__(self, made: Any, opening: Any, is_stream: bool) -> None:  # noqa: FBT001
        super().__init__(made)
        self._self_open = partial(opening, is_stream=is_stream)
        self._self_is_stream = is_stream

    def __call__(self, *args: Any, **options: Any) -> Any:
        opened = self._self_open(*_request(*args, **options))
        if opened is None:
            return self.__wrapped__(*args, **options)
        call, made = opened
        if self._self_is_stream:
            return _watched_call(call, made, args, options)
        return _blocking(call, made, args, options)

    def with_call(self, *args: Any, **options: Any) -> Any:
        """Call, and return the answer with the call."""
        opened = self._self_open(*_request(*args, **options))
        if opened is None:
            return self.__wrapped__.with_call(*args, **options)
        call, made = opened
        return _blocking(call, made.with_call, args, options)

    def future(self, *args: Any, **options: Any) -> Any:
        """Call, and return the future answer."""
        opened = self._self_open(*_request(*args, **options))
        if opened is None:
            return self.__wrapped__.future(*args, **options)
        call, made = opened
        return _watched_call(call, made.future, args, options)


class _AsyncCallable(wrapt.ObjectProxy):  # type: ignore[type-arg]
    """A method of an asyncio channel."""

    def __init__(self, made: Any, opening: Any, is_stream: bool) -> None:  # noqa: FBT001
        super().__init__(made)
        # asyncio reads a single answer only after the status, and only if that is OK.
        self._self_open = partial(opening, is_stream=is_stream, is_ended_by_message=not is_stream)
        self._self_is_stream = is_stream

    def __call__(self, *args: Any, **options: Any) -> Any:
        opened = self._self_open(*_request(*args, **options))
        if opened is None:
            return self.__wrapped__(*args, **options)
        call, made = opened
        try:
            answer = made(*args, **options)
        except BaseException as error:
            call.failed(error)
            raise
        _watch_async(call, answer, is_stream=self._self_is_stream)
        return answer


def _request(*args: Any, **options: Any) -> tuple[Any, Any]:
    """Return the request and the metadata of a call."""
    # Of sync channels: (request, timeout, metadata, …).
    metadata = args[2] if len(args) > 2 else options.get("metadata")
    if args:
        return args[0], metadata
    return options.get("request", options.get("request_iterator")), metadata


def _blocking(call: GRPCCall, made: Any, args: Any, options: Any) -> Any:
    try:
        answer = made(*args, **options)
    except BaseException as error:
        call.failed(error)
        raise
    call.succeeded()
    return answer


def _watched_call(call: GRPCCall, made: Any, args: Any, options: Any) -> Any:
    try:
        answer = made(*args, **options)
    except BaseException as error:
        call.failed(error)
        raise
    _watch(call, answer)
    return answer


@contained
def _watch(call: GRPCCall, answer: Any) -> None:
    """Watch for the end of a stream or a future of a sync channel.

    The callback has no reference to the answer: grpc cancels a call whose answer is dropped.
    """
    kind: Any = type(answer)
    answer._ai_usage_call = call
    answer.__class__ = _watched(kind)
    end = partial(_end_of, call, weakref.ref(answer))
    if not answer.add_callback(end):
        end()


@contained
def _end_of(call: GRPCCall, answer: weakref.ref[Any]) -> None:
    if (alive := answer()) is None:
        call.left()
    else:
        call.ended(alive.code(), alive.details())


@cache
def _watched(kind: Any) -> Any:
    class Watched(kind):  # type: ignore[misc]
        """Ends the call before its reader sees the end; grpc's callbacks may come later."""

        _ai_usage_call: GRPCCall

        def __next__(self) -> Any:
            try:
                return super().__next__()
            except BaseException:
                self._ai_usage_end()
                raise

        def next(self) -> Any:
            return self.__next__()

        def result(self, *args: Any, **options: Any) -> Any:
            try:
                return super().result(*args, **options)
            finally:
                self._ai_usage_end()

        def exception(self, *args: Any, **options: Any) -> Any:
            try:
                return super().exception(*args, **options)
            finally:
                self._ai_usage_end()

        @contained
        def _ai_usage_end(self) -> None:
            if self.done():  # otherwise the reader was interrupted
                self._ai_usage_call.ended(self.code(), self.details())

    Watched.__name__, Watched.__qualname__, Watched.__module__ = (
        kind.__name__,
        kind.__qualname__,
        kind.__module__,
    )
    return Watched


@contained
def _watch_async(call: GRPCCall, answer: Any, *, is_stream: bool) -> None:
    answer.add_done_callback(partial(_end_of_async, call, is_stream))


@contained
def _end_of_async(call: GRPCCall, is_stream: bool, answer: Any) -> None:  # noqa: FBT001
    code = _now(answer.code())
    if is_stream or code.name != "OK":
        call.ended(code, _now(answer.details()))


def _now(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Return the result of a coroutine that has nothing to wait for."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    coroutine.close()
    raise RuntimeError("The call has not ended.")
