"""Distributions that look installed, without an installation."""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from types import ModuleType

import pytest


@dataclass
class Distributions:
    """A directory on `sys.path` during a test."""

    directory: Path
    monkeypatch: pytest.MonkeyPatch

    def __post_init__(self) -> None:
        self.monkeypatch.syspath_prepend(self.directory)

    def add(self, name: str, version: str, *requirements: str) -> None:
        info = self.directory / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
        lines += (f"Requires-Dist: {requirement}" for requirement in requirements)
        (info / "METADATA").write_text("\n".join(lines) + "\n")
        importlib.invalidate_caches()

    def write_module(self, name: str, code: str) -> None:
        self.monkeypatch.setitem(sys.modules, name, ModuleType(name))
        del sys.modules[name]  # the end of the test forgets the imported module
        (self.directory / f"{name}.py").write_text(dedent(code))
        importlib.invalidate_caches()
