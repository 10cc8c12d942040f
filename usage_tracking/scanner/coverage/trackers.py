"""Which calls record a request to a model that was made before them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..execution.call_graph import CallGraph
from ..facts import FUNCTION, LAMBDA, CodeScope, Mention, Nesting
from ..inference.engine import Inference
from ..program import Program, Ref, last_name
from ..sites import Site
from ..values import FUNCTIONS
from .blocks import Blocks
from .package_names import PackageNames

#: Functions of usage_tracking that record a call.
TRACKERS = ("track_ai_usage", "track_ai_usage_safe", "log_ai_usage", "AIUsageTracker")
#: Names of functions that record, of no certain package.
_LOOSE = {"log_usage"}
#: Methods of the handle that `with ai_usage()` returns.
_RECORDS = {"record", "record_usage"}
#: Methods that run a task.
_RUNS_TASK = {"delay", "apply_async", "send"}

_Branches = tuple[tuple[int, str], ...]


class Trackers:
    """The calls of a program that record other calls.

    `names` are functions of the project that record. `with_sites` are the functions that contain
    sites: these record their own calls.
    """

    def __init__(
        self,
        program: Program,
        inference: Inference,
        graph: CallGraph,
        blocks: Blocks,
        package: PackageNames,
        names: frozenset[str],
        with_sites: set[Ref],
    ) -> None:
        self._program = program
        self._inference = inference
        self._graph = graph
        self._blocks = blocks
        self._package = package
        self._names = names | _LOOSE
        self._with_sites = with_sites
        self._calls: dict[Ref, list[Mention]] = {}
        #: The identities of the calls that share a tracker, which then records only one of them.
        self.contested: set[int] = set()

    def after(self, site: Site) -> Mention | None:
        """Return the first call after a site in its function that records it, whenever it ran."""
        return self.after_call(site.ref, site.mention)

    def names_section_after(self, ref: Ref, mention: Mention) -> tuple[str, int] | None:
        """Return the name and line of a tracker with a section that follows a call."""
        found = self.after_call(ref, mention)
        if found is None or self.is_record(found):
            return None  # a handle gives a captured call no section
        if id(mention) in self.contested or self._is_repeated(ref, mention, found):
            return None
        return last_name(found.expression[1]) or "a tracker", found.line

    def _is_repeated(self, ref: Ref, mention: Mention, tracker: Mention) -> bool:
        """Return whether the tracker follows another call of the same function too."""
        scope = self._program.scope(ref)
        here = scope.nestings[mention.nesting]
        name = last_name(mention.expression[1]) if mention.expression[0] == "call" else ""
        return any(
            call is not mention
            and last_name(call.expression[1]) == name
            and not excludes(here, scope.nestings[call.nesting])
            and not is_fallback(here, scope.nestings[call.nesting])
            and self.after_call(ref, call) is tracker
            for call in (scope.calls if name and scope.kind == FUNCTION else ())
            if call.line <= tracker.line
        )

    def is_record(self, tracker: Mention) -> bool:
        """Return whether a tracker is `usage.record()`, which names no section itself."""
        function = tracker.expression[1]
        return last_name(function) in _RECORDS and last_name(function) not in self._names

    def handle_has_section(self, tracker: Mention, ref: Ref) -> bool:
        """Return whether the block of the handle that records names a section."""
        return self._is_handle(tracker.expression[1][1], ref, needs_section=True)

    def after_call(self, ref: Ref, mention: Mention) -> Mention | None:
        """Return the first call after another in its function that always records it."""
        scope = self._program.scope(ref)
        if scope.kind == LAMBDA and (outer := self._graph.function(ref)):
            ref, scope = outer, self._program.scope(outer)
            nesting = Nesting((), ())
        else:
            nesting = scope.nestings[mention.nesting]
        found = [
            call
            for call in self._in(ref)
            if call is not mention
            and (call.line >= mention.line or _contains(call.expression, mention.expression))
            and not excludes(nesting, scope.nestings[call.nesting])
        ]
        if not found or not self._always_run(found, nesting, mention, scope):
            return None
        return min(
            found,
            key=lambda call: (
                not {*scope.nestings[call.nesting].branches} <= {*nesting.branches},
                call.line,
            ),
        )

    def _always_run(
        self, trackers: list[Mention], nesting: Nesting, mention: Mention, scope: CodeScope
    ) -> bool:
        """Return whether a tracker runs on every path from a call to the function's end."""
        here = {*nesting.branches}
        if any(_contains(call.expression, mention.expression) for call in trackers):
            return True
        branches = [scope.nestings[call.nesting].branches for call in trackers]
        leaves = self._exits(nesting, mention, scope)
        for line, around in leaves:
            before = [
                each
                for call, each in zip(trackers, branches, strict=True)
                if call.line <= line or _is_finally_of(each, (*around, *nesting.branches))
            ]
            if not _is_certain(_beyond(before, {*around} | here)):
                return False
        in_loop = {pair for pair in here if pair[1] == "loop"}
        branches = [
            each for each in branches if in_loop <= {*each}
        ]  # after it only the last counts
        if any(line <= mention.line for line, _ in leaves):
            return True  # the call is in a `return`, where all its paths end
        return _is_certain(_beyond(branches, here))

    def _exits(
        self, nesting: Nesting, mention: Mention, scope: CodeScope
    ) -> list[tuple[int, _Branches]]:
        """Return where a function may be left after a call: (line, branches)."""
        found = []
        for line, number in scope.exits:
            there = scope.nestings[number]
            is_own = number == mention.nesting and line <= mention.line
            if not is_own and line < mention.line:
                continue
            if excludes(nesting, there) or _handles_error_of(there, nesting):
                continue
            found.append((line, there.branches))
        own = [each for each in found if each[0] <= mention.line]
        return own[-1:] or found

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
        return not any(self._blocks.name(manager, site.ref) for manager in managers)

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
        if self._is_tracker(function, ref):
            return True
        if name in _RECORDS and function[0] == "attr" and self._is_handle(function[1], ref):
            return True
        # sync_to_async(track)(...), executor.submit(track, ...)
        if self._is_tracker(arguments[0] if arguments else None, ref):
            return True
        # track.delay(...)
        run = None
        if name in _RUNS_TASK and function[0] == "attr":
            run = function[1]
        elif function and function[0] == "call" and function[2]:
            run = function[2][0]
        return self._is_tracker(run, ref)

    def _is_tracker(self, function: Any, ref: Ref) -> bool:
        name = last_name(function)
        return name in self._names or (
            bool(function) and self._package.is_ours(function, ref, *TRACKERS)
        )

    def _helper_records(self, call: Mention, ref: Ref) -> bool:
        """Return whether a call is of a helper of the project that always records."""
        return any(
            isinstance(value, FUNCTIONS)
            and value.ref not in self._with_sites
            and self._always_records(value.ref)
            for value in self._inference.of(call.expression[1], ref)
        )

    def _always_records(self, helper: Ref) -> bool:
        scope = self._program.scope(helper)
        trackers = [inner for inner in scope.calls if self._records(inner, helper)]
        if not trackers:
            return False
        first = min(call.line for call in trackers)
        branches = [scope.nestings[call.nesting].branches for call in trackers]
        is_left = any(line < first for line, _ in scope.exits)
        return not is_left and _is_certain(_beyond(branches, set()))

    def _is_handle(self, owner: Any, ref: Ref, *, needs_section: bool = False) -> bool:
        """Return whether `owner` is `usage` of `with ai_usage(...) as usage`."""
        name = last_name(owner)
        at: Ref | None = ref
        while at is not None:
            for binding in self._program.scope(at).bindings.get(name, ()):
                value = binding.value
                if (
                    value
                    and value[0] == "entered"
                    and self._blocks.name(value[1], at, needs_section=needs_section)
                ):
                    return True
            at = self._program.parent(at)
        return False


def excludes(one: Nesting, other: Nesting, *, errors: bool = True) -> bool:
    """Return whether two places are in branches that exclude each other.

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


def is_fallback(one: Nesting, other: Nesting) -> bool:
    """Return whether one place is in a `try` whose handler the other is in."""
    first, second = dict(one.branches), dict(other.branches)
    return any(
        {part[:6], second[number][:6]} == {"try", "except"}
        for number, part in first.items()
        if number in second
    )


def _handles_error_of(handler: Nesting, site: Nesting) -> bool:
    """Return whether a place runs only if the site has failed, or something near it."""
    around = {number for number, part in site.branches if part in {"try", "tried"}}
    return any(part.startswith("except") and number in around for number, part in handler.branches)


def _is_finally_of(branches: _Branches, around: _Branches) -> bool:
    tried = {number for number, part in around if part != "finally"}
    return any(part == "finally" and number in tried for number, part in branches)


def _beyond(all_branches: Iterable[_Branches], here: set[tuple[int, str]]) -> list[_Branches]:
    """Return the branches that a place is in beyond those of another, without sure ones."""
    tried = {number for number, part in here if part in {"try", "tried"}}
    found = []
    for branches in all_branches:
        rest = tuple(
            (number, part)
            for number, part in branches
            if (number, part) not in here
            and part not in {"tried", "try", "finally"}
            and not (part == "no error" and number in tried)
        )
        found.append(rest)
    return found


def _is_certain(branches: list[_Branches]) -> bool:
    """Return whether one of some places is always reached: one in no branch, or both of an `if`."""
    if any(not each for each in branches):
        return True
    parts: dict[int, dict[str, list[_Branches]]] = {}
    for each in branches:
        (number, part), *rest = each
        parts.setdefault(number, {}).setdefault(part, []).append(tuple(rest))
    return any(
        {"then", "else"} <= {*found} and all(_is_certain(found[part]) for part in ("then", "else"))
        for found in parts.values()
    )


def _contains(outer: Any, inner: Any) -> bool:
    """Return whether a call has another among its arguments, at any depth."""
    waiting = [*outer[2], *(value for _, value in outer[3])]
    while waiting:
        each = waiting.pop()
        if each is inner:
            return True
        if isinstance(each, tuple):
            waiting += [part for part in each if isinstance(part, tuple)]
    return False
