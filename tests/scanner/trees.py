"""Small trees of files to scan."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

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
