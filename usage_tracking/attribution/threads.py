"""Make threads, thread pools and greenlets inherit the scope of the code that starts them.

Python gives a new thread an empty context. Only this package's context variable is carried over, so
that the site's own context variables keep their meaning. In a pool the job inherits the scope, and
the worker thread that may be started for it does not, because it serves other jobs later. The
worker processes of a pool are forks and would inherit everything, so they start without a scope.
Their jobs inherit nothing unless the site wraps them with `propagate`.

gevent also starts each greenlet with an empty context, and offers a callback before it runs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import wrapt

from .. import conf
from ..errors import contained
from ..system.patching import patch, unpatch
from .propagation import propagate
from .scope import Scope, Steps, context_of, current

#: The methods that every way to submit a job to a `multiprocessing.pool.ThreadPool` calls.
_POOL_METHODS = ("apply_async", "_map_async", "imap", "imap_unordered")

#: The imported pool classes: thread pools, and process pools with the method that starts workers.
_pools: list[Any] = []
_forking: list[tuple[Any, str]] = []
#: gevent's greenlet class and thread pool class, if gevent is imported.
_greenlets: list[Any] = []
_native_pools: list[Any] = []
_is_registered = False


def install() -> None:
    """Patch threads, thread pools and process pools; a second call does nothing."""
    global _is_registered
    patch(threading.Thread, "start", _start_in_scope)
    patch(ThreadPoolExecutor, "submit", _submit_in_scope)
    if not _is_registered:
        _is_registered = True
        wrapt.register_post_import_hook(_patch_pool, "multiprocessing.pool")
        wrapt.register_post_import_hook(_patch_executor, "concurrent.futures.process")
        wrapt.register_post_import_hook(_follow_greenlets, "gevent")
        wrapt.register_post_import_hook(_patch_native_pool, "gevent.threadpool")
    for greenlet in _greenlets:
        greenlet.add_spawn_callback(_inherit)
    for pool in _native_pools:
        patch(pool, "spawn", _submit_in_scope)
    for pool in _pools:
        _patch_methods(pool)
    for pool, method in _forking:
        patch(pool, method, _without_scope)


def uninstall() -> None:
    """Remove the patches."""
    unpatch(threading.Thread, "start")
    unpatch(ThreadPoolExecutor, "submit")
    for greenlet in _greenlets:
        greenlet.remove_spawn_callback(_inherit)
    for pool in _native_pools:
        unpatch(pool, "spawn")
    for pool in _pools:
        for name in _POOL_METHODS:
            unpatch(pool, name)
    for pool, method in _forking:
        unpatch(pool, method)


def _patch_pool(module: ModuleType) -> None:
    _pools.append(module.ThreadPool)
    _patch_methods(module.ThreadPool)
    _start_without_scope(module.Pool, "__init__")  # ThreadPool inherits it


def _patch_executor(module: ModuleType) -> None:
    _start_without_scope(module.ProcessPoolExecutor, "submit")


def _follow_greenlets(module: ModuleType) -> None:
    _greenlets.append(module.Greenlet)
    module.Greenlet.add_spawn_callback(_inherit)


def _patch_native_pool(module: ModuleType) -> None:
    _native_pools.append(module.ThreadPool)
    patch(module.ThreadPool, "spawn", _submit_in_scope)


@contained
def _inherit(greenlet: Any) -> None:
    """Start a greenlet in the scope of the code that starts it.

    A greenlet to which the site has given a context keeps that context.
    """
    scope = _carried()
    if scope is not None and getattr(greenlet, "gr_context", scope) is None:
        greenlet.gr_context = context_of(scope)


def _start_without_scope(pool: Any, method: str) -> None:
    _forking.append((pool, method))
    patch(pool, method, _without_scope)


def _patch_methods(pool: Any) -> None:
    for name in _POOL_METHODS:
        patch(pool, name, _submit_in_scope)


def _start_in_scope(start: Callable[..., None]) -> Callable[..., None]:
    def start_in_scope(self: threading.Thread) -> None:
        if (scope := _carried()) is not None:
            run = self.run

            def run_in_scope() -> None:
                del self.run  # ends the cycle thread → run → thread
                with Steps(scope):
                    run()

            self.run = run_in_scope  # type: ignore[method-assign]
        start(self)

    return start_in_scope


def _submit_in_scope(submit: Callable[..., Any]) -> Callable[..., Any]:
    def submit_in_scope(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        if _carried() is not None:
            if args:
                args = (propagate(args[0]), *args[1:])
            elif "func" in kwargs:
                kwargs["func"] = propagate(kwargs["func"])
        with Steps(None):
            return submit(self, *args, **kwargs)

    return submit_in_scope


def _without_scope(method: Callable[..., Any]) -> Callable[..., Any]:
    def without_scope(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        with Steps(None):
            return method(self, *args, **kwargs)

    return without_scope


@contained
def _carried() -> Scope | None:
    """Return the scope that a thread started here inherits."""
    scope = current()
    return scope if scope is not None and conf.propagate_threads() else None
