"""Whether a call site is tracked, and how the outside reaches it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from .facts import CLASS, FUNCTION, LAMBDA, Mention, Place, Scope
from .inference import Inference
from .program import Program, Ref, last_name
from .report import CAPTURED, COVERED, INVISIBLE, EntryPoint
from .sites import Site

#: Context managers and decorators that name a section.
SECTIONS = frozenset({"ai_usage", "ai_section", "AIUsageTracker"})
#: Functions and methods that record a call which has been made.
TRACKERS = frozenset(
    {"track_ai_usage", "track_ai_usage_safe", "log_ai_usage", "AIUsageTracker", "log_usage"}
)

_MOST_STEPS = 8
_VIEW_METHODS = {
    "get",
    "post",
    "put",
    "patch",
    "delete",
    "head",
    "options",
    "dispatch",
    "list",
    "create",
    "retrieve",
    "update",
    "partial_update",
    "destroy",
    "form_valid",
    "get_context_data",
    "get_queryset",
    "perform_create",
    "perform_update",
}
_VIEW_DECORATORS = {
    "api_view",
    "action",
    "require_POST",
    "require_GET",
    "require_http_methods",
    "require_safe",
    "login_required",
    "csrf_exempt",
    "permission_required",
    "staff_member_required",
    "never_cache",
    "cache_page",
}
_TASK_DECORATORS = {
    "shared_task",
    "task",
    "periodic_task",
    "db_task",
    "db_periodic_task",
    "background",
    "dramatiq.actor",
    "actor",
    "job",
}
_RECORDS = {"record", "record_usage"}


@dataclass(frozen=True, slots=True)
class Verdict:
    """The status of a site, why, and what would mend it."""

    status: str
    reason: str
    fix: str
    warnings: tuple[str, ...] = ()
    entry_points: tuple[EntryPoint, ...] = ()


@dataclass(slots=True)
class _Caller:
    """A place from which a function is reached."""

    ref: Ref
    mention: Mention


@dataclass(slots=True)
class Coverage:
    """Judges the sites of a program.

    `hooked` are the transports whose calls are recorded, `trackers` further names that record,
    `mapped` dotted paths of views whose section the settings name.
    """

    program: Program
    inference: Inference
    hooked: frozenset[str]
    trackers: frozenset[str] = frozenset()
    mapped: frozenset[str] = frozenset()
    #: Functions that ask a model themselves.
    _asking: set[Ref] = field(default_factory=set)
    _callers: dict[Ref, list[_Caller]] = field(default_factory=dict)
    _tracking: dict[Ref, list[Mention]] = field(default_factory=dict)

    def judge(self, sites: list[Site]) -> list[Verdict]:
        """A verdict for each site."""
        self._asking = {site.ref for site in sites}
        shared = self._shared(sites)
        return [self._judge(site, shared.get(number, 0)) for number, site in enumerate(sites)]

    def _judge(self, site: Site, others: int) -> Verdict:
        entries = tuple(self._entry_points(site.ref))
        warnings: list[str] = []
        tracker = self._follows(site.ref, site.mention)
        if tracker is not None:
            mention, name = tracker
            if others:
                warnings.append(f"{name} at line {mention.line} is shared by {others + 1} requests")
            if self._only_on_success(site, mention):
                warnings.append("tracked on the success path only: a failed call leaves no record")
        if tracker is not None:
            mention, name = tracker
            return Verdict(
                COVERED, f"followed by {name} at line {mention.line}", "", tuple(warnings), entries
            )
        is_hooked = site.transport in self.hooked
        section = self._section_of(site.ref, site.mention)
        if section and is_hooked:
            return Verdict(COVERED, section, "", (), entries)
        if not is_hooked:
            what = site.transport or "its transport"
            inside = (
                "record it: `usage.record(response)`"
                if section
                else ('with ai_usage(section="…") as usage: … ; usage.record(response)')
            )
            return Verdict(INVISIBLE, f"{what} is not hooked", inside, (), entries)
        return Verdict(
            CAPTURED,
            "captured, but no section is named on some path to it",
            'put it into `with ai_usage(section="…"):` or decorate '
            + (f"{entries[0].name} with " if entries else "its view or task with ")
            + '@ai_section("…")',
            (),
            entries,
        )

    # Sections: around the call, or around every way to it

    def _section_of(self, ref: Ref, mention: Mention) -> str:
        return self._covered(ref, mention, frozenset(), 0)

    def _covered(self, ref: Ref, mention: Mention, seen: frozenset[Ref], depth: int) -> str:
        """Why a call is inside a section, "" if it is not."""
        scope = self.program.scope(ref)
        place = scope.places[mention.place]
        for manager in place.withs:
            if name := self._section_name(manager, ref):
                return f"inside `with {name}`"
        return self._function_covered(ref, seen, depth)

    def _function_covered(self, ref: Ref, seen: frozenset[Ref], depth: int) -> str:
        at: Ref | None = ref
        while at is not None:
            scope = self.program.scope(at)
            for decorator in scope.decorators:
                if name := self._section_name(decorator, at):
                    return f"{scope.qualname} is decorated with {name}"
            if scope.kind == CLASS and "ai_section" in scope.bindings:
                return f"{scope.qualname} has an ai_section"
            if self._dotted(at) in self.mapped:
                return f"AI_USAGE_SECTION_MAP names the section of {scope.qualname}"
            at = self.program.parent(at)
        if depth >= _MOST_STEPS or ref in seen:
            return ""
        around = self._function(ref)
        if around is None:
            return ""
        callers = self._callers_of(around)
        callers = [each for each in callers if self._function(each.ref) != around]
        if not callers or self._is_entry(around):
            return ""
        reasons = [
            self._covered(each.ref, each.mention, seen | {ref}, depth + 1) for each in callers
        ]
        if all(reasons):
            what = "its caller is" if len(reasons) == 1 else f"all {len(reasons)} callers are"
            return f"{what} covered: {reasons[0]}"
        return ""

    def _section_name(self, expression: Any, ref: Ref) -> str:
        """`ai_usage` of `ai_usage(section="chat")`, `method_decorator(ai_section("x"), ...)`."""
        if not isinstance(expression, tuple):
            return ""
        if expression[0] == "call":
            name = last_name(expression[1])
            if name == "method_decorator" and expression[2]:
                return self._section_name(expression[2][0], ref)
            if name in {"enter_context", "enter_async_context"} and expression[2]:
                return self._section_name(expression[2][0], ref)
            return self._section_name(expression[1], ref)
        if expression[0] == "items":
            return next((n for each in expression[1] if (n := self._section_name(each, ref))), "")
        name = last_name(expression)
        if name in SECTIONS or name in self.trackers:
            return name
        for value in self.inference.of(expression, ref):
            if value[0] == "lib" and value[1].rpartition(".")[2] in SECTIONS:
                return str(value[1].rpartition(".")[2])
            if value[0] in {"function", "method"} and self._opens_section(value[1]):
                return self.program.scope(value[1]).name
        return ""

    def _opens_section(self, function: Ref) -> bool:
        """A context manager or decorator of the project's own that names a section."""
        scopes = [function]
        scopes += [
            (function[0], scope.number)
            for scope in self.program.files[function[0]].scopes
            if scope.parent == function[1] and scope.kind in (FUNCTION, LAMBDA)
        ]
        for ref in scopes:
            for place in self.program.scope(ref).places:
                if any(
                    last_name(m[1] if m and m[0] == "call" else m) in SECTIONS for m in place.withs
                ):
                    return True
        return False

    def _function(self, ref: Ref) -> Ref | None:
        """The function with a name that a scope is in; None at module level."""
        at: Ref | None = ref
        while at is not None:
            scope = self.program.scope(at)
            if scope.kind == FUNCTION:
                return at
            at = self.program.parent(at)
        return None

    # Trackers behind the call

    def _follows(self, ref: Ref, mention: Mention) -> tuple[Mention, str] | None:
        """The first call behind `mention` in its function that records it."""
        scope = self.program.scope(ref)
        if scope.kind == LAMBDA and (outer := self._function(ref)):
            ref, scope = outer, self.program.scope(outer)
            place = Place((), ())
        else:
            place = scope.places[mention.place]
        ways = []
        for call in self._trackers_in(ref):
            other = scope.places[call.place]
            if call.line >= mention.line and not _excludes(place, other) and call is not mention:
                ways.append(call)
        if not ways:
            return None
        ways.sort(key=lambda call: (not _is_behind(place, scope.places[call.place]), call.line))
        return ways[0], last_name(ways[0].expression[1])

    def _trackers_in(self, ref: Ref) -> list[Mention]:
        if ref not in self._tracking:
            self._tracking[ref] = [
                call for call in self.program.scope(ref).calls if self._records(call, ref, 1)
            ]
        return self._tracking[ref]

    def _records(self, call: Mention, ref: Ref, levels: int) -> bool:
        function = call.expression[1]
        name = last_name(function)
        if name in TRACKERS or name in self.trackers:
            return True
        if name in _RECORDS and function[0] == "attr" and self._is_handle(function[1], ref):
            return True
        for argument in call.expression[2][:1]:
            # track.delay(...), sync_to_async(track)(...), executor.submit(track, ...)
            if last_name(argument) in TRACKERS | self.trackers:
                return True
        inner = None
        if name in {"delay", "apply_async", "send"} and function[0] == "attr":
            inner = function[1]
        elif function and function[0] == "call" and function[2]:
            inner = function[2][0]
        if last_name(inner) in TRACKERS | self.trackers:
            return True
        if levels > 0 and function:
            for value in self.inference.of(function, ref):
                if value[0] in {"function", "method"} and self._always_records(
                    value[1], levels - 1
                ):
                    return True
        return False

    def _is_handle(self, owner: Any, ref: Ref) -> bool:
        """`usage` of `with ai_usage(...) as usage`."""
        name = last_name(owner)
        at: Ref | None = ref
        while at is not None:
            for binding in self.program.scope(at).bindings.get(name, ()):
                value = binding.value
                if value and value[0] == "entered" and self._section_name(value[1], at):
                    return True
            at = self.program.parent(at)
        return False

    def _always_records(self, function: Ref, levels: int) -> bool:
        """A helper of the project that records without asking a model itself."""
        scope = self.program.scope(function)
        if function in self._asking:
            return False
        return any(self._records(call, function, levels) for call in scope.calls)

    def _only_on_success(self, site: Site, tracker: Mention) -> bool:
        scope = self.program.scope(site.ref)
        if scope.kind != FUNCTION:
            return False
        place = scope.places[site.mention.place]
        for call in self._trackers_in(site.ref):
            where = scope.places[call.place].blocks
            if any(name == "finally" or name.startswith("except") for _, name in where):
                return False
        return not any(self._section_name(manager, site.ref) for manager in place.withs)

    def _shared(self, sites: list[Site]) -> dict[int, int]:
        """Site → how many others of its function the same tracker call has to stand for."""
        groups: dict[tuple[Ref, int, int], list[int]] = {}
        for number, site in enumerate(sites):
            if self.program.scope(site.ref).kind != FUNCTION:
                continue
            if found := self._follows(site.ref, site.mention):
                groups.setdefault((site.ref, found[0].line, id(found[0])), []).append(number)
        shared = {}
        for numbers in groups.values():
            for number in numbers:
                rivals = [
                    other
                    for other in numbers
                    if other != number
                    and not _excludes(
                        self._place(sites[number]), self._place(sites[other]), errors=False
                    )
                ]
                if rivals:
                    shared[number] = len(rivals)
        return shared

    def _place(self, site: Site) -> Place:
        return self.program.scope(site.ref).places[site.mention.place]

    # Who calls

    def _callers_of(self, function: Ref) -> list[_Caller]:
        if function not in self._callers:
            self._callers[function] = []
            found = [_Caller(ref, call) for ref, call, _ in self.inference.callers(function)]
            known = {id(each.mention) for each in found}
            scope = self.program.scope(function)
            for ref, mention in self.program.mentions_named.get(scope.name, ())[:200]:
                values = self.inference.of(mention.expression, ref)
                if (
                    any(v[0] in {"function", "method"} and v[1] == function for v in values)
                    and id(mention) not in known
                ) and (self._function(ref) is not None or mention.handed):
                    found.append(_Caller(ref, mention))
            self._callers[function] = found
        return self._callers[function]

    # Entry points

    def _is_entry(self, function: Ref) -> bool:
        return self._entry(function) is not None

    def _entry(self, function: Ref) -> EntryPoint | None:
        scope = self.program.scope(function)
        names = {
            last_name(item[1] if item and item[0] == "call" else item) for item in scope.decorators
        }
        where = function[0], scope.line
        if names & _TASK_DECORATORS:
            return EntryPoint("task", scope.qualname, *where)
        if self.program.is_method(function):
            cls = self.program.parent(function)
            if cls is None:
                return None
            bases = " ".join(self._base_names(cls))
            if scope.name in {"handle", "handle_noargs"} and "Command" in bases:
                return EntryPoint("command", _command(function[0]), *where)
            if scope.name in _VIEW_METHODS | {"connect", "receive", "receive_json"} and re.search(
                r"View|ViewSet|Mixin\b|Consumer|Admin|Resource", bases
            ):
                return EntryPoint("view", scope.qualname, *where)
            if names & {"action"}:
                return EntryPoint("view", scope.qualname, *where)
            if scope.name == "run" and "Task" in bases:
                return EntryPoint("task", scope.qualname, *where)
            return None
        first = scope.parameters[0].name if scope.parameters else ""
        if first == "request" or names & _VIEW_DECORATORS or names & {"get", "post", "put"}:
            return EntryPoint("view", scope.qualname, *where)
        return None

    def _base_names(self, cls: Ref) -> Iterator[str]:
        for each in self.inference.ancestry(cls):
            for base in self.program.scope(each).bases:
                yield last_name(base)

    def _entry_points(self, ref: Ref) -> list[EntryPoint]:
        found: dict[tuple[str, int], EntryPoint] = {}
        seen: set[Ref] = set()
        start = self._function(ref)
        waiting: list[tuple[Ref | None, int]] = [(start, 0)]
        while waiting and len(found) < 10:
            function, depth = waiting.pop(0)
            if function is None or function in seen or depth > _MOST_STEPS:
                continue
            seen.add(function)
            if entry := self._entry(function):
                found[entry.path, entry.line] = entry
                continue
            outer = self.program.parent(function)
            if outer and (holder := self._function(outer)):
                waiting.append((holder, depth + 1))
            for caller in self._callers_of(function):
                waiting.append((self._function(caller.ref), depth + 1))
        return list(found.values())

    def _dotted(self, ref: Ref) -> str:
        scope = self.program.scope(ref)
        module = (
            ref[0]
            .removesuffix(".py")
            .removesuffix("/__init__")
            .replace("/", ".")
            .replace("\\", ".")
        )
        return (
            next((name for name in self.mapped if _same(name, f"{module}.{scope.qualname}")), "")
            if scope.qualname
            else ""
        )


def _same(name: str, dotted: str) -> bool:
    return dotted == name or dotted.endswith("." + name)


def _excludes(one: Place, other: Place, *, errors: bool = True) -> bool:
    """Whether two places are in branches of which only one runs."""
    first, second = dict(one.blocks), dict(other.blocks)
    for number, block in first.items():
        if number in second and second[number] != block:
            pair = {block, second[number]}
            if pair & {"then", "else"} == pair or all(name.startswith("case") for name in pair):
                return True
            if errors and all(name.startswith("except") for name in pair):
                return True
    return False


def _is_behind(site: Place, tracker: Place) -> bool:
    """Whether the tracker runs whenever the site has: its branches are around the site too."""
    return set(tracker.blocks) <= set(site.blocks)


def _command(path: str) -> str:
    return re.sub(r".*[/\\]|\.py$", "", path)


def scope_name(scope: Scope) -> str:
    return scope.qualname or "<module>"
