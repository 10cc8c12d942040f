"""What the README says of the code holds."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import usage_tracking
from usage_tracking import conf

README = (Path(__file__).parent.parent / "README.md").read_text()


def section(title: str) -> str:
    return README.partition(f"## {title}\n")[2].partition("\n## ")[0]


def test_settings_table_lists_every_setting_and_no_other():
    listed = re.findall(r"^\| `AI_USAGE_(\w+)`", section("Settings"), re.MULTILINE)

    assert sorted(listed) == sorted(conf.SETTINGS)


def test_public_names_that_are_shown_exist():
    shown = set()
    for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and node.module == "usage_tracking":
                shown |= {name.name for name in node.names}

    assert shown <= set(usage_tracking.__all__)
    assert {"ai_usage", "track_ai_usage"} <= shown
    assert all(getattr(usage_tracking, name) for name in usage_tracking.__all__)


def test_first_two_commands_are_targets_of_the_makefile():
    makefile = (Path(__file__).parent.parent / "Makefile").read_text()
    commands = re.findall(r"^make (\w+)", section("See it"), re.MULTILINE)

    assert commands == ["demo", "test"]
    assert all(f"\n{command}:" in makefile for command in commands)
