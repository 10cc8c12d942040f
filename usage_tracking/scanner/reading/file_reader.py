"""Reads files, in several processes, and keeps what it reads in the cache."""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from ..catalog import Catalog
from ..facts import Part, Problem, SourceFile
from . import cache as caches
from .discovery import FoundFile
from .parsing import parse, search_instead
from .signs import Signs

#: Below this many bytes, a second process costs more time than it saves.
_WORTH_A_POOL = 1_500_000
#: Files that a process reads at a time.
_CHUNK = 40
#: Nested expressions are read and pickled recursively.
RECURSION = 12_000


class FileReader:
    """Reads the facts of the files of a scan.

    The outline and the scopes of a file take far more memory than its other facts. They stay bytes
    until they are asked for. Use it as a context manager: it ends its processes.
    """

    def __init__(
        self, found: Sequence[FoundFile], catalog: Catalog, cache: caches.Cache, jobs: int | None
    ) -> None:
        self._found = {each.path: each for each in found}
        self._catalog = catalog
        self._cache = cache
        self._signs = Signs(catalog)
        self._jobs = jobs or min(os.cpu_count() or 1, 8)
        self._pool: ProcessPoolExecutor | None = None
        #: Path → the facts, without scopes.
        self.sources: dict[str, SourceFile] = {}

    def __enter__(self) -> FileReader:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._pool:
            self._pool.shutdown()

    def read(self) -> None:
        """Read all files: in full if a file mentions AI, else only its imports."""
        missing = []
        for each in self._found.values():
            kept = self._cache.files.get(each.path)
            if kept and kept.state == (each.size, each.modified):
                self.sources[each.path] = caches.loads(kept.facts)
            else:
                missing.append(each)
        self._read(missing, whole=False)
        self.sources = {path: self.sources[path] for path in self._found if path in self.sources}

    def read_in_full(self, paths: Collection[str]) -> None:
        """Read in full those of the files that were not."""
        shallow = [self._found[path] for path in paths if not self.sources[path].is_whole]
        self._read(shallow, whole=True)

    def search(
        self, paths: Iterable[str], attributes: Mapping[str, Collection[str]]
    ) -> Iterator[tuple[str, set[int]]]:
        """Yield the files with one of the `attributes` by owner, and the numbers of the lines."""
        owners = [f"{owner}.".encode() for owner in attributes]
        pattern = re.compile(
            "|".join(
                rf"\b{re.escape(owner)}\.(?:{'|'.join(map(re.escape, sorted(names)))})\b"
                for owner, names in attributes.items()
            ).encode()
        )
        for path in paths:
            try:
                data = Path(path).read_bytes()
            except OSError:
                continue
            if any(owner in data for owner in owners):
                lines = {
                    data.count(b"\n", 0, match.start()) + 1 for match in pattern.finditer(data)
                }
                if lines:
                    yield path, lines

    def outline(self, path: str) -> list[Part]:
        """Return the statements of a file that was read in full."""
        outline: list[Part] = caches.loads(self._cache.files[path].outline)
        return outline

    def load_scopes(self, paths: Collection[str]) -> None:
        """Fill the scopes of files that were read in full; empty those of all others."""
        for path, source in self.sources.items():
            source.scopes = caches.loads(self._cache.files[path].scopes) if path in paths else []

    def _read(self, wanted: Sequence[FoundFile], *, whole: bool) -> None:
        work = partial(_read_chunk, whole=whole, catalog=self._catalog, signs=self._signs)
        # The largest first, so that none of them is left for the end.
        ordered = sorted(wanted, key=lambda each: -each.size)
        if self._jobs > 1 and sum(each.size for each in wanted) > _WORTH_A_POOL:
            count = max(1, -(-len(ordered) // _CHUNK))
            for results in self._processes().map(work, (ordered[n::count] for n in range(count))):
                self._keep(results)
        else:
            self._keep(work(ordered))

    def _processes(self) -> ProcessPoolExecutor:
        if self._pool is None:
            can_fork = hasattr(os, "fork") and sys.platform != "darwin"
            context = multiprocessing.get_context("fork" if can_fork else "spawn")
            self._pool = ProcessPoolExecutor(self._jobs, mp_context=context)
        return self._pool

    def _keep(self, results: Iterable[tuple[str, caches.CachedFile]]) -> None:
        for path, kept in results:
            self._cache.files[path] = kept
            self.sources[path] = caches.loads(kept.facts)


def _read_chunk(
    chunk: Sequence[FoundFile], *, whole: bool, catalog: Catalog, signs: Signs
) -> list[tuple[str, caches.CachedFile]]:
    sys.setrecursionlimit(max(sys.getrecursionlimit(), RECURSION))
    gc.disable()
    read = partial(_read_file, whole=whole, catalog=catalog, signs=signs)
    return [(each.path, read(each)) for each in chunk]


def _read_file(
    file: FoundFile, *, whole: bool, catalog: Catalog, signs: Signs
) -> caches.CachedFile:
    try:
        data = Path(file.path).read_bytes()
    except OSError as error:
        problem = Problem(file.path, f"cannot be read: {error.strerror}")
        source = SourceFile(file.path, is_whole=True, problem=problem)
    else:
        source = parse(file.path, data, whole=whole, catalog=catalog, signs=signs)
    try:
        scopes = pickle.dumps(source.scopes, protocol=5)
    except RecursionError:  # since Python 3.13, the limit of C code is fixed
        search_instead(source, data.decode(errors="replace"), catalog)
        scopes = pickle.dumps(source.scopes, protocol=5)
    outline = pickle.dumps(source.outline, protocol=5)
    source.scopes, source.outline = [], []
    facts = pickle.dumps(source, protocol=5)
    return caches.CachedFile((file.size, file.modified), facts, outline, scopes)
