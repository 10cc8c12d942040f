"""Captures AI calls on the wire: hooks on the HTTP libraries that every SDK ends in.

A library is hooked when the site imports it, never imported for it.
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

#: Transport → the module of ours that hooks it. Each has `hook`, `unhook` and `is_hooked`, and is
#: imported with the library, so that a site's start does not wait for readers it may not need.
TRANSPORTS = {
    "httpx": "httpx",
    "httpx2": "httpx",
    "requests": "requests",
    "aiohttp": "aiohttp",
    "botocore": "botocore",
}
#: The module whose import hooks a transport, where that is not its package.
_MODULES = {"botocore": "botocore.httpsession"}

_wanted: set[str] = set()
_registered: set[str] = set()


@dataclass(frozen=True, slots=True)
class TransportStatus:
    """Whether the calls of one HTTP library are captured, and why not."""

    transport: str
    #: The installed version, "" if it is not installed.
    version: str
    hooked: bool
    reason: str


def install(wanted: bool | Sequence[str]) -> None:  # noqa: FBT001 -- the setting AI_USAGE_CAPTURE
    """Hooks the transports now or when they are imported. A second call does nothing more.

    `wanted` is True for all, False for none, or a list of names out of `TRANSPORTS`.
    """
    for name in TRANSPORTS:
        if wanted is True or (wanted is not False and name in wanted):
            _wanted.add(name)
            if name not in _registered:
                _registered.add(name)
                wrapt.register_post_import_hook(partial(_hook, name), module_of(name))
            elif module := _imported(name):
                _hook(name, module)


def uninstall() -> None:
    """Takes every hook away again."""
    for name in TRANSPORTS:
        _wanted.discard(name)
        if module := _imported(name):
            _hooks(name).unhook(module)


def status() -> list[TransportStatus]:
    """The state of every transport in this process."""
    return [_status(name) for name in TRANSPORTS]


def module_of(name: str) -> str:
    """The module whose import hooks a transport."""
    return _MODULES.get(name, name)


def _hooks(name: str) -> Any:
    return import_module(f".{TRANSPORTS[name]}", __name__)


def _imported(name: str) -> ModuleType | None:
    return sys.modules.get(module_of(name))


@contained
def _hook(name: str, module: ModuleType) -> None:
    if name in _wanted:
        _hooks(name).hook(module, name)


def _status(name: str) -> TransportStatus:
    from importlib.metadata import PackageNotFoundError, version  # 5 ms that no start needs

    try:
        installed = version(name)
    except PackageNotFoundError:
        return TransportStatus(name, "", hooked=False, reason="not installed")
    if name not in _wanted:
        return TransportStatus(name, installed, hooked=False, reason="not in AI_USAGE_CAPTURE")
    module = _imported(name)
    if module is None:
        return TransportStatus(name, installed, hooked=False, reason="hooked when it is imported")
    if _hooks(name).is_hooked(module):
        return TransportStatus(name, installed, hooked=True, reason="")
    return TransportStatus(name, installed, hooked=False, reason="this version has another shape")
