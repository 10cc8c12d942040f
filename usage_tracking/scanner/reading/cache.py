"""The cache of a scan, so that the next one reads only changed files.

A cache that cannot be read, or that belongs to another version or other data, is ignored. It
holds plain facts: reading one runs no code.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import sys
import tempfile
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any

from .. import facts, report

#: Increase this with every change of what a cache holds.
VERSION = 4

_CLASSES = {
    (module.__name__, name): value
    for module in (facts, report)
    for name, value in vars(module).items()
    if isinstance(value, type)
}


#: What an unreadable or corrupt cache raises.
_UNREADABLE = (
    *(OSError, pickle.PickleError, EOFError),
    *(ValueError, TypeError, AttributeError, IndexError),
)


class _Reader(pickle.Unpickler):
    """Creates facts and reports, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _CLASSES:
            return _CLASSES[module, name]
        if (module, name) == ("builtins", "set"):
            return set
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed in a cache")


def loads(data: bytes) -> Any:
    """Return the facts or report that were pickled.

    Raises:
        pickle.UnpicklingError: The data holds anything else.
    """
    return _Reader(io.BytesIO(data)).load()


@dataclass(frozen=True, slots=True)
class CachedFile:
    """What a scan has read of a file."""

    #: Its size and when it was modified.
    state: tuple[int, int]
    #: Pickled: its facts without the two that follow, its outline, its scopes.
    facts: bytes
    outline: bytes
    scopes: bytes


@dataclass(slots=True)
class Cache:
    """The cache of one set of paths. Without a file it is empty and is not saved."""

    file: Path | None
    key: str
    files: dict[str, CachedFile] = field(default_factory=dict)
    #: The state that the last analysis belongs to, its pickled result, and the lines, by file, of
    #: the calls that it found without a sign.
    analysis: tuple[str, bytes, dict[str, set[int]]] | None = None
    #: The state that the last report belongs to, and the pickled report.
    result: tuple[str, bytes] | None = None

    @classmethod
    def open(cls, directory: Path | None, name: str, key: str) -> Cache:
        """Return the cache of `name` in `directory`; with another `key` its content is ignored."""
        if directory is None:
            return cls(None, key)
        file = directory / f"{hashlib.sha256(name.encode()).hexdigest()[:24]}.scan"
        cache = cls(file, key)
        try:
            data = cache.file and cache.file.with_suffix(".result").read_bytes()
            if data and (content := _checked(data, key)) is not None:
                cache.result, cache.analysis = loads(content)
        except _UNREADABLE:
            cache.result = cache.analysis = None
        return cache

    def load_files(self) -> None:
        """Read the facts of files; a report from the cache does not need them."""
        if self.file is None:
            return
        try:
            content = _checked(self.file.read_bytes(), self.key)
            entries = loads(content) if content is not None else {}
            self.files = {path: CachedFile(*entry) for path, entry in entries.items()}
        except _UNREADABLE:
            self.files = {}

    def save_files(self) -> None:
        """Write the facts of files."""
        self._save("", {path: astuple(kept) for path, kept in self.files.items()})

    def save_results(self) -> None:
        """Write the results of the analysis and of the scan."""
        self._save(".result", (self.result, self.analysis))

    def _save(self, suffix: str, content: Any) -> None:
        """Write a file of the cache. An error does not fail the scan."""
        if self.file is None:
            return
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            _write(self.file.with_suffix(suffix or self.file.suffix), self.key, content)
        except OSError:
            return


def default_directory() -> Path:
    """Return the user's cache directory, by the convention of the system."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "usage_tracking" / "scanner"


def _checked(data: bytes, key: str) -> bytes | None:
    """Return the content of a cache file if it is complete and its key is `key`."""
    head, _, content = data.partition(b"\n")
    return content if head == _head(content, key) else None


def _head(content: bytes, key: str) -> bytes:
    return f"{key} {hashlib.blake2b(content).hexdigest()}".encode()


def _write(file: Path, key: str, value: Any) -> None:
    content = pickle.dumps(value, protocol=5)
    handle, name = tempfile.mkstemp(dir=file.parent)
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(_head(content, key) + b"\n")
            out.write(content)
        os.replace(name, file)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
