"""What `AI_USAGE_SECTION_MAP` names: views, tasks and consumers."""

from __future__ import annotations

import os
from collections.abc import Iterator

from ..program import Program, Ref


class SettingsMap:
    """The mapped code of a program.

    `views` are the dotted paths of views whose every route is mapped, `prefixes` the names in the
    map, which the names of tasks and the paths of consumers may begin with.
    """

    def __init__(self, program: Program, views: frozenset[str], prefixes: frozenset[str]) -> None:
        self._program = program
        self._views = views
        self._prefixes = [tuple(each.split(".")) for each in prefixes]
        self._packages = {
            os.path.dirname(path) for path in program.files if path.endswith("__init__.py")
        }

    def has_view(self, view: Ref) -> bool:
        """Return whether all routes of a view are mapped."""
        qualname = self._program.scope(view).qualname
        if not qualname or not self._views:
            return False
        dotted = ".".join((*self._module(view[0])[0], qualname))
        return any(dotted == name or dotted.endswith(f".{name}") for name in self._views)

    def has_path(self, ref: Ref) -> bool:
        """Return whether the map has a prefix of the dotted path of a class or function."""
        if not self._prefixes:
            return False
        module, top = self._module(ref[0])
        return self._is_mapped((*module, *self._program.scope(ref).qualname.split(".")), top)

    def has_task(self, task: Ref) -> bool:
        """Return whether the map has a prefix of the name of a task."""
        names = list(self._names_of_task(task))
        if not names:
            return self.has_path(task)
        return all(self._is_mapped(tuple(name.split(".")), 0) for name in names)

    def _names_of_task(self, task: Ref) -> Iterator[str]:
        scope = self._program.scope(task)
        for decorator in scope.decorators:
            for keyword, value in decorator[3] if decorator and decorator[0] == "call" else ():
                if keyword == "name" and value:
                    yield value[1] if value[0] == "text" else ""
        cls = self._program.parent(task)
        if self._program.is_method(task) and cls:
            for binding in self._program.scope(cls).bindings.get("name", ()):
                if binding.value and binding.value[0] == "text":
                    yield binding.value[1]

    def _module(self, path: str) -> tuple[tuple[str, ...], int]:
        """Return the parts of a path as those of a module, and the number of its top package."""
        stem = os.path.abspath(path).removesuffix(".py").removesuffix(os.sep + "__init__")
        parts = tuple(filter(None, stem.split(os.sep)))
        top, directory = len(parts) - 1, os.path.dirname(path)
        while directory in self._packages:
            top, directory = top - 1, os.path.dirname(directory)
        return parts, max(top, 0)

    def _is_mapped(self, parts: tuple[str, ...], top: int) -> bool:
        """Return whether the map has the beginning of a path, at or above its top package."""
        return any(
            parts[start : start + len(prefix)] == prefix
            for prefix in self._prefixes
            for start in range(top + 1)
        )
