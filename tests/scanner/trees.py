"""Small trees of files to scan."""

from __future__ import annotations

import shutil
import textwrap
from pathlib import Path
from typing import Any

import openai

from usage_tracking.scanner import Finding, Options, Report, scan


def write_tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text).lstrip("\n"))
    return root


def scan_tree(root: Path, files: dict[str, str], **options: Any) -> Report:
    write_tree(root, files)
    return scan(Options(paths=(str(root),), **options))


def only_finding(root: Path, code: str, **options: Any) -> Finding:
    """The one call site of a file with `code`."""
    (found,) = scan_tree(root, {"app/views.py": code}, **options).findings
    return found


def copy_of_openai(directory: Path) -> Path:
    """Copy some files of the installed SDK, with its clients and its requests."""
    installed = Path(openai.__file__).parent
    for name in (
        *("__init__.py", "_version.py", "_client.py", "_module_client.py"),
        *("resources/__init__.py", "resources/responses/responses.py"),
    ):
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(installed / name, directory / name)
    return directory
