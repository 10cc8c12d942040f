"""Capture AI calls on the wire, with hooks on the libraries that all SDKs send with.

A library is hooked when the site imports it; it is never imported in order to hook it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Any

import wrapt

from ..errors import contained

#: Transport → the module here that hooks it, with `hook`, `unhook` and `is_hooked`. It is imported
#: with the library, so that the start of a site does not wait for readers it may not need.
TRANSPORTS = {
    "httpx": "httpx",
    "httpx2": "httpx",
    "requests": "requests",
    "aiohttp": "aiohttp",
    "botocore": "botocore",
    "grpc": "grpc",
    "websockets": "websockets",
    "httpx_ws": "httpx_ws",
    "websocket_client": "websocket_client",
}
#: Transport → the modules whose import hooks it, where those are not its package.
_MODULES = {
    "httpx2": ("httpx2", "httpx2.websockets._api"),
    "botocore": ("botocore.httpsession",),
    "websockets": (
        "websockets.sync.client",
        "websockets.asyncio.client",
        "websockets.legacy.client",
    ),
    "httpx_ws": ("httpx_ws._api",),
    "websocket_client": ("websocket._core",),
}
#: Modules that another module here hooks than the rest of their transport.
_SOCKETS = {"httpx2.websockets._api": "httpx_ws"}
#: Transport → the name of its distribution, where that is another.
_DISTRIBUTIONS = {"grpc": "grpcio"}

_wanted: set[str] = set()
_registered: set[str] = set()


@dataclass(frozen=True, slots=True)
class TransportStatus:
    """Whether the calls of one library are captured, and if not, why."""

    transport: str
    #: The installed version, "" if it is not installed.
    version: str
    hooked: bool
    reason: str


def install(wanted: bool | Sequence[str]) -> None:  # noqa: FBT001 -- the setting AI_USAGE_CAPTURE
    """Hook the transports, now or when they are imported. A second call does nothing more.

    Args:
        wanted: True for all, False for none, or a list of names in `TRANSPORTS`.
    """
    for name in TRANSPORTS:
        if wanted is True or (wanted is not False and name in wanted):
            _wanted.add(name)
            if name not in _registered:
                _registered.add(name)
                for module_name in _modules(name):
                    wrapt.register_post_import_hook(partial(_hook, name), module_name)
            else:
                for module in _imported(name):
                    _hook(name, module)


def uninstall() -> None:
    """Remove every hook."""
    for name in TRANSPORTS:
        _wanted.discard(name)
        for module in _imported(name):
            _hooks(name, module).unhook(module)


def status() -> list[TransportStatus]:
    """Return the state of every transport in this process."""
    return [_status(name) for name in TRANSPORTS]


def module_of(name: str) -> str:
    """Return the name of the module whose import hooks a transport."""
    return _modules(name)[0]


def _modules(name: str) -> tuple[str, ...]:
    return _MODULES.get(name, (name,))


def _hooks(name: str, module: ModuleType) -> Any:
    return import_module(f".{_SOCKETS.get(module.__name__, TRANSPORTS[name])}", __name__)


def _imported(name: str) -> list[ModuleType]:
    return [sys.modules[module] for module in _modules(name) if module in sys.modules]


@contained
def _hook(name: str, module: ModuleType) -> None:
    if name in _wanted:
        _hooks(name, module).hook(module, name)


def _status(name: str) -> TransportStatus:
    from importlib.metadata import (
        PackageNotFoundError,
        version,
    )  # takes 5 ms, which the start of a site does not need

    try:
        installed = version(_DISTRIBUTIONS.get(name, name))
    except PackageNotFoundError:
        return TransportStatus(name, "", hooked=False, reason="not installed")
    if name not in _wanted:
        return TransportStatus(name, installed, hooked=False, reason="not in AI_USAGE_CAPTURE")
    modules = _imported(name)
    if not modules:
        return TransportStatus(name, installed, hooked=False, reason="hooked when it is imported")
    if all(_hooks(name, module).is_hooked(module) for module in modules):
        return TransportStatus(name, installed, hooked=True, reason="")
    return TransportStatus(
        name, installed, hooked=False, reason="unsupported version: expected methods are missing"
    )
