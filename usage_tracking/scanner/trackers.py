"""Which calls record a request to a model that was made before them."""

from __future__ import annotations

from typing import Any

from .call_graph import CallGraph
from .facts import FUNCTION, LAMBDA, Mention, Nesting
from .inference import Inference
from .program import Program, Ref, last_name
from .sections import Sections
from .sites import Site
from .values import FUNCTIONS

#: Functions of usage_tracking that record a call.
TRACKERS = frozenset(
    {"track_ai_usage", "track_ai_usage_safe", "log_ai_usage", "AIUsageTracker", "log_usage"}
)
#: Methods of the handle that `with ai_usage()` returns.
_RECORDS = {"record", "record_usage"}
#: Methods that run a task.
_RUNS_TASK = {"delay", "apply_async", "send"}


class Trackers:
    """The calls of a program that record other calls.

    `names` are functions of the project that record. `with_sites` are the functions that contain
    sites: what these record are their own calls.
    """

    def __init__(
        self,
        program: Program,
        inference: Inference,
        graph: CallGraph,
        sections: Sections,
        names: frozenset[str],
        with_sites: set[Ref],
    ) -> None:
        self._program = program
        self._inference = inference
        self._graph = graph
        self._sections = sections
        self._names = TRACKERS | names
        self._with_sites = with_sites
        self._calls: dict[Ref, list[Mention]] = {}

    def after(self, site: Site) -> Mention | None:
        """Return the first call behind a site in its function that records it."""
        ref = site.ref
        scope = self._program.scope(ref)
        if scope.kind == LAMBDA and (outer := self._graph.function(ref)):
            ref, scope = outer, self._program.scope(outer)
            nesting = Nesting((), ())
        else:
            nesting = scope.nestings[site.mention.nesting]
        found = [
            call
            for call in self._in(ref)
            if call.line >= site.mention.line
            and call is not site.mention
            and not excludes(nesting, scope.nestings[call.nesting])
        ]
        return min(
            found,
            key=lambda call: (not _always_runs(scope.nestings[call.nesting], nesting), call.line),
            default=None,
        )

    def only_on_success(self, site: Site) -> bool:
        """Return whether no tracker of a site's function runs if the site fails."""
        scope = self._program.scope(site.ref)
        if scope.kind != FUNCTION:
            return False
        for call in self._in(site.ref):
            branches = scope.nestings[call.nesting].branches
            if any(part == "finally" or part.startswith("except") for _, part in branches):
                return False
        managers = scope.nestings[site.mention.nesting].managers
        return not any(self._sections.name(manager, site.ref) for manager in managers)

    def _in(self, ref: Ref) -> list[Mention]:
        if ref not in self._calls:
            self._calls[ref] = [
                call
                for call in self._program.scope(ref).calls
                if self._records(call, ref) or self._helper_records(call, ref)
            ]
        return self._calls[ref]

    def _records(self, call: Mention, ref: Ref) -> bool:
        """Return whether a call itself records: by its name, or by what it runs."""
        _, function, arguments, *_ = call.expression
        name = last_name(function)
        if name in self._names:
            return True
        if name in _RECORDS and function[0] == "attr" and self._is_handle(function[1], ref):
            return True
        # sync_to_async(track)(...), executor.submit(track, ...)
        if last_name(arguments[0] if arguments else None) in self._names:
            return True
        # track.delay(...)
        run = None
        if name in _RUNS_TASK and function[0] == "attr":
            run = function[1]
        elif function and function[0] == "call" and function[2]:
            run = function[2][0]
        return last_name(run) in self._names

    def _helper_records(self, call: Mention, ref: Ref) -> bool:
        """Return whether a call is of a helper of the project that records."""
        return any(
            isinstance(value, FUNCTIONS)
            and value.ref not in self._with_sites
            and any(
                self._records(inner, value.ref) for inner in self._program.scope(value.ref).calls
            )
            for value in self._inference.of(call.expression[1], ref)
        )

    def _is_handle(self, owner: Any, ref: Ref) -> bool:
        """Return whether `owner` is `usage` of `with ai_usage(...) as usage`."""
        name = last_name(owner)
        at: Ref | None = ref
        while at is not None:
            for binding in self._program.scope(at).bindings.get(name, ()):
                value = binding.value
                if value and value[0] == "entered" and self._sections.name(value[1], at):
                    return True
            at = self._program.parent(at)
        return False


def excludes(one: Nesting, other: Nesting, *, errors: bool = True) -> bool:
    """Return whether two places are in branches of which only one runs.

    With `errors`, handlers of the same `try` are such branches too.
    """
    first, second = dict(one.branches), dict(other.branches)
    for number, part in first.items():
        if number in second and second[number] != part:
            pair = {part, second[number]}
            if pair == {"then", "else"} or all(each.startswith("case") for each in pair):
                return True
            if errors and all(each.startswith("except") for each in pair):
                return True
    return False


def _always_runs(tracker: Nesting, site: Nesting) -> bool:
    """Return whether the tracker runs whenever the site has: it is in no further branch."""
    return set(tracker.branches) <= set(site.branches)
