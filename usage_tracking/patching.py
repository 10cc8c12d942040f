"""Replaces a method of a library's class by one of ours, once and reversibly."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

_ORIGINAL = "_ai_usage_original"


def patch(owner: type, name: str, make: Callable[[Any], Any]) -> None:
    """Puts `make(original)` in the place of `owner.name`, unless that was done before."""
    original = getattr(owner, name)
    if hasattr(original, _ORIGINAL):
        return
    replacement = functools.wraps(original)(make(original))
    setattr(replacement, _ORIGINAL, original)
    setattr(owner, name, replacement)


def unpatch(owner: type, name: str) -> None:
    original = getattr(getattr(owner, name), _ORIGINAL, None)
    if original is not None:
        setattr(owner, name, original)


def is_patched(owner: type, name: str) -> bool:
    return hasattr(getattr(owner, name, None), _ORIGINAL)
