"""Replaces a method of a library's class by one of ours, once and reversibly."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

_ORIGINAL = "_ai_usage_original"
_PATCH = "_ai_usage_patch"


class _Patch:
    """One method of ours in the place of another."""

    def __init__(self, owner: type, name: str, make: Callable[[Any], Any]) -> None:
        self.is_on = True
        self._owner, self._name = owner, name
        #: What to put back: None if the method is inherited.
        self._own = vars(owner).get(name)
        original = getattr(owner, name)
        ours = make(original)

        # Another tool may have patched the method after us: it keeps calling this function when
        # the patch is taken away again.
        def call(*args: Any, **options: Any) -> Any:
            return (ours if self.is_on else original)(*args, **options)

        async def acall(*args: Any, **options: Any) -> Any:
            return await (ours if self.is_on else original)(*args, **options)

        replacement: Any = acall if inspect.iscoroutinefunction(ours) else call
        self._replacement = functools.wraps(original)(replacement)
        setattr(self._replacement, _ORIGINAL, original)
        setattr(self._replacement, _PATCH, self)
        setattr(owner, name, self._replacement)

    def remove(self) -> bool:
        """Put the original back; return False, and only pass on, if another's patch is on top."""
        self.is_on = False
        if vars(self._owner).get(self._name) is not self._replacement:
            return False
        if self._own is None:
            delattr(self._owner, self._name)
        else:
            setattr(self._owner, self._name, self._own)
        return True


#: The patches of a method, the latest last. More than one if another tool's hides ours.
_patches: dict[tuple[type, str], list[_Patch]] = {}


def patch(owner: type, name: str, make: Callable[[Any], Any]) -> None:
    """Put `make(original)` in the place of `owner.name`, unless that was done before."""
    found = _found(owner, name)
    if found is not None:
        found.is_on = True
    else:
        made = _Patch(owner, name, make)
        _patches.setdefault((owner, name), []).append(made)


def unpatch(owner: type, name: str) -> None:
    """Take our patch of `owner.name` away, and nobody else's."""
    patches = _patches.get((owner, name), [])
    while patches and patches[-1].remove():
        patches.pop()
    for hidden in patches:
        hidden.is_on = False
    if not patches:
        _patches.pop((owner, name), None)


def is_patched(owner: type, name: str) -> bool:
    """Return whether calls of `owner.name` come by a method of ours, as far as can be seen."""
    found = _found(owner, name)
    return found is not None and found.is_on


def _found(owner: type, name: str) -> _Patch | None:
    """Return our patch of the method, also beneath wrappers that say what they wrap."""
    method = getattr(owner, name, None)
    found = getattr(method, _PATCH, None)  # `functools.wraps` copies it, wrapt passes it on
    return found if found in _patches.get((owner, name), []) else None
