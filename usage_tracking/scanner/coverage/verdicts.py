"""Whether a call site is tracked, and how to track it if not."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from ..execution.call_graph import CallGraph
from ..execution.class_uses import ClassUses
from ..execution.dotted_names import DottedNames
from ..execution.entry_points import EntryPoints
from ..execution.function_runs import FunctionRuns
from ..execution.routes import Routes
from ..facts import FUNCTION, LAMBDA, Mention, Nesting
from ..inference.engine import Inference
from ..program import Program, Ref, last_name
from ..recorded_urls import Tracking
from ..report import CAPTURED, COVERED, DISABLED, INVISIBLE, UNKNOWN, Block, EntryPoint, Step
from ..sites import Site
from .blocks import Blocks
from .entry_sections import EntrySections
from .package_names import PackageNames
from .placement import Placement
from .section_marks import SectionMarks
from .section_values import SectionValues
from .sections import Sections
from .settings_map import SettingsMap
from .trackers import Trackers, excludes, is_fallback


@dataclass(frozen=True, slots=True)
class Verdict:
    """The status of a site, and the reason."""

    status: str
    reason: str
    #: A section is named on every path to it.
    is_named: bool = False
    warnings: tuple[str, ...] = ()
    entry_points: tuple[EntryPoint, ...] = ()
    #: Where a block covers it; None if it is covered, or if no block can.
    block: Block | None = None
    #: From an entry point down to the site's function.
    path: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class _Rivals:
    """How many other sites a tracker follows, and how many of them succeed if the site does."""

    all: int = 0
    before: int = 0


_UNKNOWN_HOSTS = " (AI_USAGE_UNKNOWN_HOSTS is False)"
_RUNS_LATER = "it runs later than the code around it"
#: A client whose methods return coroutines.
_ASYNC = re.compile(r"\bAsync[A-Z]|\ba(?=[A-Z]\w+\()|\.aio\b")


class Coverage:
    """Judges the sites of a program.

    `tracking` is what the site tracks, `trackers` are further names that record, `mapped` the
    dotted paths of views whose section the settings name, `mapped_prefixes` the names in
    `AI_USAGE_SECTION_MAP`, `scheduled` the names of the tasks that a beat sends.
    """

    def __init__(
        self,
        program: Program,
        inference: Inference,
        tracking: Tracking,
        trackers: frozenset[str] = frozenset(),
        mapped: frozenset[str] = frozenset(),
        mapped_prefixes: frozenset[str] = frozenset(),
        scheduled: frozenset[str] = frozenset(),
    ) -> None:
        self._program = program
        self._inference = inference
        self._tracking = tracking
        self._names = trackers
        names = DottedNames(program, inference)
        routes = Routes(program, inference, names)
        entries = EntryPoints(program, inference, names, routes)
        self._graph = CallGraph(program, inference, entries)
        values = SectionValues(program, inference, names)
        self._package = PackageNames(program, inference)
        marks = SectionMarks(program, inference, names, self._package, values)
        self._blocks = Blocks(program, inference, names, self._package, values, trackers)
        settings = SettingsMap(program, mapped, mapped_prefixes)
        entry_sections = EntrySections(
            program,
            inference,
            self._blocks,
            marks,
            values,
            entries,
            routes,
            settings,
            reads_views=tracking.reads_views,
        )
        runs = FunctionRuns(
            program, inference, names, scheduled, reaches_threads=tracking.reaches_threads
        )
        class_uses = ClassUses(program, inference)
        self._sections = Sections(
            program, names, self._blocks, runs, entries, entry_sections, class_uses
        )
        self._placement = Placement(program, self._graph, self._sections, entry_sections)

    def judge(self, sites: list[Site]) -> list[Verdict]:
        """Return a verdict for each site."""
        trackers = Trackers(
            self._program,
            self._inference,
            self._graph,
            self._blocks,
            self._package,
            self._names,
            {site.ref for site in sites},
        )
        self._sections.tracker_after = trackers.names_section_after
        rivals = self._rivals(sites, trackers)
        trackers.contested = {
            id(sites[number].mention) for number, others in rivals.items() if others.before
        }
        return [
            self._by_tracker(site, trackers, rivals.get(number, _Rivals()))
            or self._by_section(site)
            for number, site in enumerate(sites)
        ]

    def _by_tracker(self, site: Site, trackers: Trackers, rivals: _Rivals) -> Verdict | None:
        """Return the verdict if a tracker follows the site and decides its section."""
        tracker = trackers.after(site)
        if tracker is None or not self._tracking.is_enabled:
            return None
        if trackers.is_record(tracker):
            return self._by_record(site, tracker, trackers)
        name = last_name(tracker.expression[1])
        warnings: list[str] = []
        if rivals.all:
            warnings.append(f"{name} at line {tracker.line} is shared by {rivals.all + 1} requests")
        if trackers.only_on_success(site):
            warnings.append("tracked on the success path only: a failed call leaves no record")
        verdict = Verdict(
            COVERED,
            f"followed by {name} at line {tracker.line}",
            warnings=tuple(warnings),
            entry_points=self._graph.entry_points(site.ref),
            path=self._graph.path(site.ref),
        )
        if rivals.before and self._gap(site) is None:
            return replace(self._by_section(site), warnings=tuple(warnings))
        return verdict

    def _by_record(self, site: Site, tracker: Mention, trackers: Trackers) -> Verdict | None:
        """Return the verdict if only `usage.record()` records the site."""
        if self._gap(site) is None:
            return None  # for a captured call, it adds no section
        found = self._by_section(site)
        reason = f"followed by {last_name(tracker.expression[1])} at line {tracker.line}"
        if found.is_named or trackers.handle_has_section(tracker, site.ref):
            path = self._graph.path(site.ref)
            return Verdict(
                COVERED, reason, is_named=True, entry_points=found.entry_points, path=path
            )
        return replace(found, status=CAPTURED, reason=f"{reason}, whose block names no section")

    def _by_section(self, site: Site) -> Verdict:
        home = site.ref[0]
        answer = self._sections.answer(site.ref, site.mention, is_lazy=self._is_lazy(site))
        entries = self._graph.entry_points(site.ref)
        gap = self._gap(site)
        if gap is None and answer.is_named:
            path = self._graph.path(site.ref)
            return Verdict(
                COVERED, answer.text(home), is_named=True, entry_points=entries, path=path
            )
        function = self._placement.function(site)
        is_later = not self._helps(function, site)
        block = None if is_later else self._placement.block(function, home)
        path = self._graph.path(site.ref, function)
        why = _RUNS_LATER if is_later and function is None else answer.text(home)
        status, reason = gap or (CAPTURED, f"captured, but {why}")
        return Verdict(status, reason, answer.is_named, (), entries, block, path)

    def _is_lazy(self, site: Site) -> bool:
        """Return whether a site returns a coroutine that other code awaits."""
        is_call = site.mention.expression[0] == "call"
        return is_call and not site.mention.is_awaited and bool(_ASYNC.search(site.reason))

    def _gap(self, site: Site) -> tuple[str, str] | None:
        """Return why a site may have no row, with its status; None if capture writes one."""
        what = f"{site.provider} {site.kind}"
        if not self._tracking.is_enabled:
            return INVISIBLE, DISABLED
        if site.is_recorded is False:
            why = "" if self._tracking.records_unknown_hosts else _UNKNOWN_HOSTS
            return INVISIBLE, f"capture does not record this call of {what}{why}"
        if not site.transport:
            return UNKNOWN, f"the library that sends {what} is unknown"
        if site.transport not in self._tracking.hooked:
            return INVISIBLE, f"{site.transport} is not hooked"
        if site.is_recorded is None:
            return UNKNOWN, f"the scan cannot tell whether capture records this call of {what}"
        return None

    def _helps(self, function: Ref | None, site: Site) -> bool:
        """Return whether a block in a function, or in the code of the module, covers a site."""
        if function is None:
            return not self._runs_later(site)
        return self._sections.would_cover(function, site.ref, site.mention)

    def _runs_later(self, site: Site) -> bool:
        """Return whether code only holds a call for later: in a lambda, or passed on uncalled."""
        is_passed = site.mention.expression[0] != "call"
        return is_passed or self._program.scope(site.ref).kind == LAMBDA

    def _rivals(self, sites: list[Site], trackers: Trackers) -> dict[int, _Rivals]:
        """Return for each site the others of its function that the same tracker records.

        Sites that exclude each other do not count.
        """
        groups: dict[tuple[Ref, int], list[int]] = {}
        for number, site in enumerate(sites):
            if self._program.scope(site.ref).kind == FUNCTION:
                tracker = trackers.after(site)
                if tracker is not None:
                    groups.setdefault((site.ref, id(tracker)), []).append(number)
        rivals = {}
        for numbers in groups.values():
            for number in numbers:
                here = self._nesting(sites[number])
                others = [
                    self._nesting(sites[other])
                    for other in numbers
                    if other != number
                    and not excludes(here, self._nesting(sites[other]), errors=False)
                ]
                both = sum(not is_fallback(here, other) for other in others)
                rivals[number] = _Rivals(len(others), both)
        return rivals

    def _nesting(self, site: Site) -> Nesting:
        return self._program.scope(site.ref).nestings[site.mention.nesting]
