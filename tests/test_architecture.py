"""The list of modules in docs/architecture.md matches the tree."""

from __future__ import annotations

import re
import tomllib

from tests.support.children import ROOT

PACKAGE = ROOT / "usage_tracking"
PAGE = (ROOT / "docs" / "architecture.md").read_text()
LISTED = re.findall(r"^\| `([\w/]+)` \| (.+) \|$", PAGE, re.MULTILINE)


def test_every_module_is_listed_once():
    modules = {
        str(path.relative_to(PACKAGE).with_suffix(""))
        for path in PACKAGE.rglob("*.py")
        if path.name != "__init__.py" and path.parent.name != "migrations"
    }

    assert sorted(name for name, _ in LISTED) == sorted(modules)


def test_every_module_is_described_in_one_line():
    assert [name for name, text in LISTED if not 3 <= len(text) <= 100] == []


def test_every_package_and_module_of_the_root_has_a_layer():
    with (ROOT / "pyproject.toml").open("rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    (layers,) = [contract for contract in contracts if contract["id"] == "layers"]
    placed = {name for layer in layers["layers"] for name in re.split(r" [:|] ", layer)}
    there = {
        path.stem
        for path in PACKAGE.iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }

    assert layers["exhaustive"]
    assert placed == there - {"__init__", "migrations"}
