"""The paths of AI calls, with those of AI_USAGE_PATHS."""

from __future__ import annotations

from functools import lru_cache

from django.core.signals import setting_changed

from .. import conf
from ..call_paths import Kind, Paths
from ..formats import READERS


@lru_cache(maxsize=1)
def table() -> Paths:
    """Return the paths that are captured; the same object until a test changes the settings."""
    return Paths(own())


def own() -> dict[str, Kind]:
    """Return the paths of AI_USAGE_PATHS: path ending → wire format and operation."""
    return {
        ending: (wire_format, READERS[wire_format].operation)
        for ending, wire_format in conf.paths().items()
        if wire_format in READERS
    }


def _forget(**_: object) -> None:
    table.cache_clear()


setting_changed.connect(_forget)
