"""A scan, from paths to a report."""

from __future__ import annotations

import gc
import hashlib
import os
import pickle
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path

from . import data_files
from .catalog import Catalog
from .coverage.verdicts import Coverage
from .evidence.confidence import CONFIDENCES, NAME_ONLY
from .facts import Problem
from .findings import findings_in_text, findings_of, relative
from .inference.engine import Inference
from .program import Program
from .reading import cache as caches
from .reading.discovery import FoundFile, find
from .reading.file_reader import RECURSION, FileReader
from .reading.relevance import relevance_of
from .reading.sdks import sdks_among, without
from .recorded_urls import DEFAULT, Tracking
from .report import Finding, Report
from .sites import Sites

#: An analysis is repeated at most so often.
_MOST_PASSES = 3


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
    catalog = data_files.load(options.extra, options.tracking)
    every = list(find(options.paths, include=options.include, exclude=options.exclude))
    own_code_of = sdks_among(every, catalog)
    found = without(every, own_code_of)
    sdks = tuple(map(relative, own_code_of))
    place = "\n".join(os.path.abspath(path) for path in options.paths)
    version = ".".join(map(str, sys.version_info[:3]))
    key = f"{caches.VERSION}-{_own_digest()}-{version}-{catalog.digest[:16]}"
    cache = caches.Cache.open(options.cache, place, key)
    state = _state(found, options)
    if cache.result and cache.result[0] == state:
        report: Report = caches.loads(cache.result[1])
        seconds = time.perf_counter() - started
        return replace(report, sdks=sdks, seconds=seconds, from_cache=True)
    cache.load_files()
    was_enabled = gc.isenabled()
    depth = sys.getrecursionlimit()
    # The collector would walk millions of tuples again and again, and free none of them.
    gc.disable()
    sys.setrecursionlimit(max(depth, RECURSION))
    try:
        report = _scan(found, options, catalog, cache, on_stage or (lambda _: None))
    finally:
        sys.setrecursionlimit(depth)
        if was_enabled:
            gc.enable()
    cache.result = (state, pickle.dumps(report, protocol=5))
    cache.save_results()
    return replace(report, sdks=sdks, seconds=time.perf_counter() - started)


def _scan(
    found: Sequence[FoundFile],
    options: Options,
    catalog: Catalog,
    cache: caches.Cache,
    on_stage: Callable[[str], object],
) -> Report:
    on_stage(f"Reading {len(found):,} files")
    program = Program((each.path for each in found), catalog.libraries)
    with FileReader(found, catalog, cache, options.jobs) as reader:
        reader.read()
        program.files = sources = reader.sources
        kept = _analysis(program, options, catalog, reader, cache, on_stage)
    cache.files = {path: cache.files[path] for path in sources}
    cache.save_files()
    findings, faults = caches.loads(kept)
    findings += findings_in_text(program, catalog)
    problems = [source.problem for source in sources.values() if source.problem]
    problems += [
        Problem(path, f"was analysed only in part because of an error in the scanner ({fault})")
        for path, fault in faults.items()
    ]
    return Report(
        findings=tuple(sorted(findings, key=lambda each: (each.path, each.line, each.call))),
        problems=tuple(replace(each, path=relative(each.path)) for each in problems),
        files=len(sources),
        lines=sum(source.lines for source in sources.values()),
        analysed=len(program.relevant_lines),
    )


def _analysis(
    program: Program,
    options: Options,
    catalog: Catalog,
    reader: FileReader,
    cache: caches.Cache,
    on_stage: Callable[[str], object],
) -> bytes:
    """Return the pickled findings and faults of the scanner: the last ones if nothing changed.

    A call that was found without a sign is a sign for the code that leads to it. So the analysis is
    repeated until it finds the calls from which it began.
    """
    last, result, unsigned = cache.analysis or ("", b"", {})
    by_signs = relevance_of(program, reader)
    for _ in range(_MOST_PASSES):
        relevance = relevance_of(program, reader, unsigned) if unsigned else by_signs
        program.relevant_lines = relevance.lines
        state = _state_of_analysis(program, options, cache)
        if state == last:
            break
        on_stage("Analysing calls")
        reader.load_scopes(program.relevant_lines)
        findings, faults, sites = _analyse(program, options, catalog)
        last, result = state, pickle.dumps((findings, faults), protocol=5)
        before, unsigned = unsigned, defaultdict(set)
        for path, line in sites:
            if not by_signs.followed.get(path, 0) >> line & 1:
                unsigned[path].add(line)
        if unsigned == before:
            break
    cache.analysis = (last, result, dict(unsigned))
    return result


def _analyse(
    program: Program, options: Options, catalog: Catalog
) -> tuple[list[Finding], dict[str, str], list[tuple[str, int]]]:
    """Return the findings in the relevant files, the errors of the scanner, and the places."""
    program.index()
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
    findings = list(findings_of(program, sites, coverage.judge(sites)))
    faults = inference.faults
    inference.close()
    return findings, faults, [(site.ref[0], site.line) for site in sites]


# The cache


def _state(found: Sequence[FoundFile], options: Options) -> str:
    """Return a digest of all that a report depends on."""
    digest = hashlib.blake2b(_state_of_options(options).encode())
    for each in found:
        digest.update(
            f"{each.path}\0{each.size}\0{each.modified}\n".encode(errors="surrogateescape")
        )
    return digest.hexdigest()


def _state_of_analysis(program: Program, options: Options, cache: caches.Cache) -> str:
    """Return a digest of all that an analysis depends on."""
    digest = hashlib.blake2b(_state_of_options(options).encode())
    for path, source in program.files.items():
        digest.update(f"{path}\0{source.imports}\n".encode(errors="surrogateescape"))
    for path, lines in sorted(program.relevant_lines.items()):
        digest.update(f"{path}\0{lines:x}\n".encode(errors="surrogateescape"))
        digest.update(cache.files[path].facts)
        digest.update(cache.files[path].scopes)
    return digest.hexdigest()


def _state_of_options(options: Options) -> str:
    values = [
        sorted(value) if isinstance(value, frozenset) else value
        for value in (
            *(os.getcwd(), options.paths, options.include, options.exclude, options.trackers),
            *(options.mapped, options.mapped_prefixes, options.scheduled, options.min_confidence),
            *astuple(options.tracking),
        )
    ]
    return repr(values)


def _own_digest() -> str:
    """Return a digest of the code that a report depends on."""
    here = Path(__file__).parent
    files = [*here.rglob("*.py"), *here.with_name("call_paths").rglob("*.py")]
    digest = hashlib.blake2b(digest_size=8)
    for file in sorted((*files, here.with_name("providers.py"))):
        digest.update(file.read_bytes())
    return digest.hexdigest()


__all__ = ["CannotScanError", "Options", "scan"]
