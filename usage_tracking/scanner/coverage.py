"""Whether a call site is tracked, and how to track it if not."""

from __future__ import annotations

from dataclasses import dataclass

from .call_graph import CallGraph
from .facts import FUNCTION, LAMBDA, Nesting
from .inference import Inference
from .placement import Placement
from .program import Program, Ref, last_name
from .report import CAPTURED, COVERED, INVISIBLE, UNKNOWN, Block, EntryPoint, Step
from .sections import Sections
from .sites import Site
from .trackers import Trackers, excludes


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


class Coverage:
    """Judges the sites of a program.

    `hooked` are the transports whose calls are recorded, `trackers` further names that record,
    `mapped` dotted paths of views whose section the settings name.
    """

    def __init__(
        self,
        program: Program,
        inference: Inference,
        hooked: frozenset[str],
        trackers: frozenset[str] = frozenset(),
        mapped: frozenset[str] = frozenset(),
    ) -> None:
        self._program = program
        self._inference = inference
        self._hooked = hooked
        self._names = trackers
        self._graph = CallGraph(program, inference)
        self._sections = Sections(program, inference, self._graph, trackers, mapped)
        self._placement = Placement(program, self._graph, self._sections)

    def judge(self, sites: list[Site]) -> list[Verdict]:
        """Return a verdict for each site."""
        with_sites = {site.ref for site in sites}
        trackers = Trackers(
            self._program, self._inference, self._graph, self._sections, self._names, with_sites
        )
        rivals = self._rivals(sites, trackers)
        return [
            self._by_tracker(site, trackers, rivals.get(number, 0)) or self._by_section(site)
            for number, site in enumerate(sites)
        ]

    def _by_tracker(self, site: Site, trackers: Trackers, rivals: int) -> Verdict | None:
        """Return the verdict if a tracker follows the site."""
        tracker = trackers.after(site)
        if tracker is None:
            return None
        name = last_name(tracker.expression[1])
        warnings: list[str] = []
        if rivals:
            warnings.append(f"{name} at line {tracker.line} is shared by {rivals + 1} requests")
        if trackers.only_on_success(site):
            warnings.append("tracked on the success path only: a failed call leaves no record")
        return Verdict(
            COVERED,
            f"followed by {name} at line {tracker.line}",
            warnings=tuple(warnings),
            entry_points=self._graph.entry_points(site.ref),
            path=self._graph.path(site.ref),
        )

    def _by_section(self, site: Site) -> Verdict:
        section = self._sections.reason(site.ref, site.mention)
        entries = self._graph.entry_points(site.ref)
        gap = self._gap(site)
        is_hooked = gap is None
        if is_hooked and section:
            return Verdict(
                COVERED,
                section,
                is_named=True,
                entry_points=entries,
                path=self._graph.path(site.ref),
            )
        function = self._placement.function(site)
        is_later = function is None and self._runs_later(site)
        block = None if is_later else self._placement.block(function, site.ref[0])
        if is_hooked and is_later:
            status, reason = CAPTURED, "captured, but it runs later than the code around it"
        elif is_hooked:
            status, reason = CAPTURED, "captured, but at least one path to it names no section"
        else:
            status, reason = gap or (CAPTURED, "")
        path = self._graph.path(site.ref, function)
        return Verdict(status, reason, bool(section), (), entries, block, path)

    def _gap(self, site: Site) -> tuple[str, str] | None:
        """Return why a site may have no row, with its status; None if capture writes one."""
        what = f"{site.provider} {site.kind}"
        if site.is_recorded is False:
            return INVISIBLE, f"capture does not record {what} by this call"
        if not site.transport:
            return UNKNOWN, f"the library that sends {what} is unknown"
        if site.transport not in self._hooked:
            return INVISIBLE, f"{site.transport} is not hooked"
        if site.is_recorded is None:
            return UNKNOWN, f"whether capture records {what} by this call is unknown"
        return None

    def _runs_later(self, site: Site) -> bool:
        """Return whether code only holds a call for later: in a lambda, or passed on uncalled."""
        is_passed = site.mention.expression[0] != "call"
        return is_passed or self._program.scope(site.ref).kind == LAMBDA

    def _rivals(self, sites: list[Site], trackers: Trackers) -> dict[int, int]:
        """Return for each site how many others of its function the same tracker records.

        Sites of which only one runs do not count.
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
                rivals[number] = sum(
                    other != number
                    and not excludes(here, self._nesting(sites[other]), errors=False)
                    for other in numbers
                )
        return rivals

    def _nesting(self, site: Site) -> Nesting:
        return self._program.scope(site.ref).nestings[site.mention.nesting]
