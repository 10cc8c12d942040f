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
_SUFFIXES = (".py", ".pyw", ".ipynb")
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
    """Yield the Python files and notebooks under `paths`, each once, in a stable order.

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


def would_find(
    file: str, paths: Iterable[str], *, include: Sequence[str] = (), exclude: Sequence[str] = ()
) -> bool:
    """Return whether `find` yields `file` if it exists."""
    real = os.path.realpath(file)
    for path in map(os.path.realpath, paths):
        if real == path:
            return True
        inside = os.path.relpath(real, path)
        if os.path.isdir(path) and inside.partition(os.sep)[0] != os.pardir:
            at, name = os.path.split(inside)
            if _is_wanted(name, include) and not _excluded(inside, exclude):
                while at and not _skips(path, at, frozenset(include), exclude):
                    at = os.path.dirname(at)
                if not at:
                    return True
    return False


def _skips(root: str, inside: str, include: frozenset[str], exclude: Sequence[str]) -> bool:
    directory, name = os.path.split(os.path.join(root, inside))
    return _skips_directory(directory, name, include) or _excluded(inside, exclude)


def _is_wanted(name: str, include: Iterable[str]) -> bool:
    """Return whether a file is scanned, by its name."""
    return name.endswith(_SUFFIXES) and (
        "tests" in include or not any(fnmatch.fnmatchcase(name, test) for test in _TEST_FILES)
    )


def _under(path: str, include: frozenset[str], exclude: Sequence[str]) -> Iterator[str]:
    if os.path.isfile(path):
        yield path
        return
    for directory, names, files in os.walk(path):
        inside = os.path.relpath(directory, path)
        names[:] = sorted(
            name for name in names if not _skips(path, os.path.join(inside, name), include, exclude)
        )
        for name in sorted(files):
            if not _is_wanted(name, include):
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
