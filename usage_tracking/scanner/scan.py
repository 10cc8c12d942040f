"""A scan, from paths to a report."""

from __future__ import annotations

import gc
import hashlib
import multiprocessing
import os
import pickle
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import astuple, dataclass, replace
from functools import partial
from pathlib import Path

from . import catalog as catalogs
from .coverage.verdicts import Coverage
from .evidence.confidence import CONFIDENCES, NAME_ONLY
from .facts import Problem, SourceFile
from .findings import findings_of, relative
from .inference.engine import Inference
from .program import Program
from .reading import cache as caches
from .reading.discovery import FoundFile, find
from .reading.parsing import parse, search_instead
from .recorded_urls import DEFAULT, Tracking
from .report import Report
from .sites import Sites

#: Below this many bytes, a second process costs more time than it saves.
_WORTH_A_POOL = 1_500_000
#: Files with these words may wrap `ai_usage` for the rest of the project.
_OUR_MARKS = ("usage_tracking", "ai_section")
#: Files that a process reads at a time.
_CHUNK = 40
_RECURSION = 12_000


@dataclass(frozen=True, slots=True)
class Options:
    """What to scan, and what is known about the site."""

    paths: tuple[str, ...]
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    #: Data files about more SDKs, or directories of such files.
    extra: tuple[str, ...] = ()
    #: Names of the project's functions that record a call.
    trackers: tuple[str, ...] = ()
    #: What the site tracks, by its settings.
    tracking: Tracking = DEFAULT
    #: Dotted paths of views whose section the settings name.
    mapped: frozenset[str] = frozenset()
    #: The names in `AI_USAGE_SECTION_MAP`, for tasks and consumers.
    mapped_prefixes: frozenset[str] = frozenset()
    #: The names of the tasks that Celery beat sends.
    scheduled: frozenset[str] = frozenset()
    min_confidence: str = NAME_ONLY
    cache: Path | None = None
    #: Processes that read files; None: one per core, at most 8.
    jobs: int | None = None


class CannotScanError(Exception):
    """A path to scan does not exist."""


def scan(options: Options, on_stage: Callable[[str], object] | None = None) -> Report:
    """Read all files under `options.paths` and report their AI call sites.

    The scanned code is neither imported nor run.

    Args:
        options: What to scan.
        on_stage: Called with the name of each long stage when it begins.

    Raises:
        CannotScanError: A path does not exist.
        CatalogError: A data file cannot be read.
    """
    started = time.perf_counter()
    for path in options.paths:
        if not os.path.exists(path):
            raise CannotScanError(f"{path} does not exist")
    catalog = catalogs.load(options.extra, options.tracking)
    found = list(find(options.paths, include=options.include, exclude=options.exclude))
    place = "\n".join(os.path.abspath(path) for path in options.paths)
    version = ".".join(map(str, sys.version_info[:3]))
    key = f"{caches.VERSION}-{_own_digest()}-{version}-{catalog.digest[:16]}"
    cache = caches.Cache.open(options.cache, place, key)
    state = _state(found, options)
    if cache.result and cache.result[0] == state:
        report: Report = caches.loads(cache.result[1])
        return replace(report, seconds=time.perf_counter() - started, from_cache=True)
    cache.load_files()
    was_enabled = gc.isenabled()
    depth = sys.getrecursionlimit()
    # The collector would walk millions of tuples again and again, and free none of them.
    gc.disable()
    sys.setrecursionlimit(max(depth, _RECURSION))
    try:
        report = _scan(found, options, catalog, cache, on_stage or (lambda _: None))
    finally:
        sys.setrecursionlimit(depth)
        if was_enabled:
            gc.enable()
    cache.result = (state, pickle.dumps(report, protocol=5))
    cache.save()
    return replace(report, seconds=time.perf_counter() - started)


def _scan(
    found: Sequence[FoundFile],
    options: Options,
    catalog: catalogs.Catalog,
    cache: caches.Cache,
    on_stage: Callable[[str], object],
) -> Report:
    on_stage(f"Reading {len(found):,} files")
    sources = _read(found, catalog, cache, options.jobs)
    program = Program((each.path for each in found), catalog.libraries)
    program.files = sources
    _deepen(program, found, catalog, cache, options.jobs)
    cache.files = {path: cache.files[path] for path in sources if path in cache.files}
    program.index()
    on_stage("Analysing calls")
    inference = Inference(program, catalog)
    finder = Sites(program, inference, catalog)
    inference.solve(finder.candidates())
    sites = [
        site
        for site in finder.find()
        if CONFIDENCES.index(site.confidence) <= CONFIDENCES.index(options.min_confidence)
    ]
    coverage = Coverage(
        program,
        inference,
        options.tracking,
        frozenset(options.trackers),
        options.mapped,
        options.mapped_prefixes,
        options.scheduled,
    )
    findings = list(findings_of(program, catalog, sites, coverage.judge(sites)))
    problems = [source.problem for source in sources.values() if source.problem]
    problems += [
        Problem(path, f"was analysed only in part because of an error in the scanner ({fault})")
        for path, fault in inference.faults.items()
    ]
    inference.close()
    return Report(
        findings=tuple(sorted(findings, key=lambda each: (each.path, each.line, each.call))),
        problems=tuple(replace(each, path=relative(each.path)) for each in problems),
        files=len(sources),
        lines=sum(source.lines for source in sources.values()),
        analysed=sum(bool(source.scopes) for source in sources.values()),
    )


# Reading


def _read(
    found: Sequence[FoundFile], catalog: catalogs.Catalog, cache: caches.Cache, jobs: int | None
) -> dict[str, SourceFile]:
    """Return the facts of all files: in full if a file mentions AI, else only its imports."""
    sources: dict[str, SourceFile] = {}
    missing: list[FoundFile] = []
    for each in found:
        kept = cache.files.get(each.path)
        if kept and kept[0] == (each.size, each.modified):
            sources[each.path] = caches.loads(kept[1])
        else:
            missing.append(each)
    _parse_all(missing, catalog, cache, sources, jobs, whole=False)
    return {each.path: sources[each.path] for each in found if each.path in sources}


def _deepen(
    program: Program,
    found: Sequence[FoundFile],
    catalog: catalogs.Catalog,
    cache: caches.Cache,
    jobs: int | None,
) -> None:
    """Read in full the files that import a file which mentions AI, directly or indirectly."""
    importers = program.importers()
    waiting = [path for path, source in program.files.items() if source.mentions_ai]
    reached = set(waiting)
    while waiting:
        for importer in importers.get(waiting.pop(), ()):
            if importer not in reached:
                reached.add(importer)
                waiting.append(importer)
    shallow = [
        each for each in found if each.path in reached and not program.files[each.path].scopes
    ]
    _parse_all(shallow, catalog, cache, program.files, jobs, whole=True)


def _parse_all(
    wanted: Sequence[FoundFile],
    catalog: catalogs.Catalog,
    cache: caches.Cache,
    sources: dict[str, SourceFile],
    jobs: int | None,
    *,
    whole: bool,
) -> None:
    work = partial(
        _parse_chunk, whole=whole, catalog=catalog, marks=(*catalog.all_marks, *_OUR_MARKS)
    )
    # The largest first, so that none of them is left for the end.
    ordered = sorted(wanted, key=lambda each: -each.size)
    jobs = jobs or min(os.cpu_count() or 1, 8)
    if jobs > 1 and sum(each.size for each in wanted) > _WORTH_A_POOL:
        count = max(1, -(-len(ordered) // _CHUNK))
        chunks = [ordered[number::count] for number in range(count)]
        context = multiprocessing.get_context(
            "fork" if hasattr(os, "fork") and sys.platform != "darwin" else "spawn"
        )
        with ProcessPoolExecutor(jobs, mp_context=context) as pool:
            for results in pool.map(work, chunks):
                _keep(results, cache, sources)
    else:
        _keep(work(ordered), cache, sources)


def _keep(
    results: Iterable[tuple[FoundFile, bytes]], cache: caches.Cache, sources: dict[str, SourceFile]
) -> None:
    for each, data in results:
        sources[each.path] = caches.loads(data)
        if cache.file is not None:
            cache.files[each.path] = ((each.size, each.modified), data)


def _parse_chunk(
    chunk: Sequence[FoundFile],
    *,
    whole: bool,
    catalog: catalogs.Catalog,
    marks: Iterable[str],
) -> list[tuple[FoundFile, bytes]]:
    sys.setrecursionlimit(max(sys.getrecursionlimit(), _RECURSION))
    gc.disable()
    results = []
    for each in chunk:
        try:
            data = Path(each.path).read_bytes()
        except OSError as error:
            source = SourceFile(
                each.path, problem=Problem(each.path, f"cannot be read: {error.strerror}")
            )
        else:
            source = parse(each.path, data, whole=whole, catalog=catalog, marks=marks)
        try:
            facts = pickle.dumps(source, protocol=5)
        except RecursionError:  # since Python 3.13, the limit of C code is fixed
            search_instead(source, data.decode(errors="replace"), catalog)
            facts = pickle.dumps(source, protocol=5)
        results.append((each, facts))
    return results


# The cache


def _state(found: Sequence[FoundFile], options: Options) -> str:
    digest, tracking = hashlib.blake2b(), astuple(options.tracking)
    digest.update(repr((os.getcwd(), options.paths, options.include, options.exclude)).encode())
    digest.update(
        repr(
            (
                [sorted(value) if isinstance(value, frozenset) else value for value in tracking],
                options.trackers,
                sorted(options.mapped),
                sorted(options.mapped_prefixes),
                sorted(options.scheduled),
                options.min_confidence,
            )
        ).encode()
    )
    for each in found:
        digest.update(
            f"{each.path}\0{each.size}\0{each.modified}\n".encode(errors="surrogateescape")
        )
    return digest.hexdigest()


def _own_digest() -> str:
    """Return a digest of the scanner's own code."""
    digest = hashlib.blake2b(digest_size=8)
    for file in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


__all__ = ["CannotScanError", "Options", "scan"]
