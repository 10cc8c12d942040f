"""Objects by name, which a scan cannot follow."""

from __future__ import annotations

from typing import Any

_OBJECTS: dict[str, Any] = {}


def put(name: str, found: Any) -> None:
    _OBJECTS[name] = found


class Rows:
    def execute(self) -> str:
        return "rows"


put("rows", Rows())


def get(name: str) -> Any:
    return _OBJECTS[name]
