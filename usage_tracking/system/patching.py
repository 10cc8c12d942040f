"""Patch methods of library classes, once and reversibly."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

_ORIGINAL = "_ai_usage_original"
_PATCH = "_ai_usage_patch"


class _Patch:
    """One patched method."""

    def __init__(self, owner: type, name: str, make: Callable[[Any], Any]) -> None:
        self.is_on = True
        self._owner, self._name = owner, name
        #: The attribute to restore, None if the method is inherited.
        self._own = vars(owner).get(name)
        original = getattr(owner, name)
        ours = make(original)

        # If another tool patches the method after us, it still calls this function after our patch
        # is removed.
        def call(*args: Any, **options: Any) -> Any:
            return (ours if self.is_on else original)(*args, **options)

        async def acall(*args: Any, **options: Any) -> Any:
            return await (ours if self.is_on else original)(*args, **options)

        replacement: Any = acall if inspect.iscoroutinefunction(ours) else call
        self._replacement = functools.wraps(original)(replacement)
        setattr(self._replacement, _ORIGINAL, original)
        setattr(self._replacement, _PATCH, self)
        setattr(owner, name, self._replacement)

    @property
    def is_on_top(self) -> bool:
        """Whether no other tool has replaced the patched method."""
        return vars(self._owner).get(self._name) is self._replacement

    def remove(self) -> bool:
        """Restore the original; if another patch is on top, only pass calls on and return False."""
        self.is_on = False
        if not self.is_on_top:
            return False
        if self._own is None:
            delattr(self._owner, self._name)
        else:
            setattr(self._owner, self._name, self._own)
        return True


#: The patches of a method, the latest last. More than one if another tool's patch hides ours.
_patches: dict[tuple[type, str], list[_Patch]] = {}


def patch(owner: type, name: str, make: Callable[[Any], Any]) -> None:
    """Replace `owner.name` with `make(original)`, unless it is already patched."""
    found = _found(owner, name)
    if found is not None:
        found.is_on = True
    else:
        made = _Patch(owner, name, make)
        _patches.setdefault((owner, name), []).append(made)


def unpatch(owner: type, name: str) -> None:
    """Remove our patch of `owner.name`; keep those of other tools."""
    patches = _patches.get((owner, name), [])
    while patches and patches[-1].remove():
        patches.pop()
    for hidden in patches:
        hidden.is_on = False
    if not patches:
        _patches.pop((owner, name), None)


def is_patched(owner: type, name: str) -> bool:
    """Return whether calls of `owner.name` visibly go through our patch."""
    found = _found(owner, name)
    return found is not None and found.is_on


def is_covered(owner: type, name: str) -> bool:
    """Return whether another tool has replaced our patched method, which it may never call."""
    patches = _patches.get((owner, name))
    return patches is not None and not patches[-1].is_on_top


def _found(owner: type, name: str) -> _Patch | None:
    """Return our patch of the method, also below wrappers that expose what they wrap."""
    method = getattr(owner, name, None)
    found = getattr(method, _PATCH, None)  # `functools.wraps` copies it, wrapt forwards it
    return found if found in _patches.get((owner, name), []) else None
