"""The files that are scanned."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

#: Directories that never hold a project's own code.
_NEVER = {
    *("__pycache__", ".git", ".hg", ".svn", "node_modules", ".tox", ".nox", ".eggs"),
    *(".mypy_cache", ".pytest_cache", ".ruff_cache", ".ipynb_checkpoints", "bower_components"),
}
_TESTS = {"tests", "test", "testing", "__tests__"}
_TEST_FILES = ("test_*.py", "*_test.py", "*_tests.py", "tests.py", "conftest.py")
_ENVIRONMENTS = {"site-packages", "dist-packages"}

#: What is skipped unless `include` names it.
SKIPPED = ("tests", "migrations", "venvs")


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file to scan."""

    path: str
    #: In bytes.
    size: int
    #: In nanoseconds since the epoch.
    modified: int


def find(
    paths: Iterable[str], *, include: Sequence[str] = (), exclude: Sequence[str] = ()
) -> Iterator[FoundFile]:
    """Yield the Python files under `paths`, each once, in a stable order.

    `include` names parts of `SKIPPED` to scan, `exclude` holds patterns of paths. A path to a file
    is scanned under any name. Links to directories are not followed, so there are no loops.
    """
    seen: set[tuple[int, int]] = set()
    for path in paths:
        for file in _under(path, frozenset(include), exclude):
            try:
                status = os.stat(file)
            except OSError:
                continue  # a broken link, or deleted since
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            yield FoundFile(os.path.normpath(file), status.st_size, status.st_mtime_ns)


def _under(path: str, include: frozenset[str], exclude: Sequence[str]) -> Iterator[str]:
    if os.path.isfile(path):
        yield path
        return
    for directory, names, files in os.walk(path):
        inside = os.path.relpath(directory, path)
        names[:] = sorted(
            name
            for name in names
            if not _skips_directory(directory, name, include)
            and not _excluded(os.path.join(inside, name), exclude)
        )
        for name in sorted(files):
            if not name.endswith((".py", ".pyw")):
                continue
            if "tests" not in include and any(
                fnmatch.fnmatchcase(name, test) for test in _TEST_FILES
            ):
                continue
            file = os.path.join(directory, name)
            if not _excluded(os.path.join(inside, name), exclude) and os.path.isfile(file):
                yield file


def _skips_directory(directory: str, name: str, include: frozenset[str]) -> bool:
    if name in _NEVER:
        return True
    if name in _TESTS:
        return "tests" not in include
    if name == "migrations":
        return "migrations" not in include
    if "venvs" in include:
        return False
    return (
        name in _ENVIRONMENTS
        or Path(directory, name, "pyvenv.cfg").exists()
        or (name in {"venv", ".venv", "virtualenv"})
    )


def _excluded(path: str, patterns: Sequence[str]) -> bool:
    path = os.path.normpath(path).replace(os.sep, "/")
    return any(
        fnmatch.fnmatchcase(path, pattern.rstrip("/"))
        or fnmatch.fnmatchcase(path, f"*/{pattern.rstrip('/')}")
        for pattern in patterns
    )
