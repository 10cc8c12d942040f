"""Whether every path to a call names a section, and which paths do not.

A path begins at an entry point and passes the runs of functions (`function_runs`). It names a
section if a block is around one of its runs, if a function on it is decorated with a block, or if
its entry point has its own section (`entry_sections`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from ..execution.class_uses import ClassUses
from ..execution.dotted_names import DottedNames
from ..execution.entry_points import EntryPoints
from ..execution.function_runs import FunctionRuns
from ..execution.run_places import LATER, NOW, Run
from ..facts import CLASS, FUNCTION, LAMBDA, CodeScope, Expression, Mention
from ..program import Program, Ref, last_name
from ..report import EntryPoint, Step
from .blocks import Blocks
from .entry_sections import EntrySections

_DEEPEST = 12
_MOST_FUNCTIONS = 400
#: At most this many calls are named in a reason.
_MOST_STEPS = 3
#: Kinds of entry points whose class a view uses.
_USED_BY_VIEWS = {"form", "serializer", "method", "field"}
#: Methods that run while an object is made.
_CONSTRUCTORS = {"__init__", "__new__", "__post_init__"}


@dataclass(frozen=True, slots=True)
class Answer:
    """Whether a call is in a section on every path to it, why, and by which calls."""

    is_named: bool
    #: Continues "covered: " or "captured: ".
    why: str
    #: The place of `why`.
    path: str = ""
    line: int = 0
    #: The calls from there down.
    through: tuple[Step, ...] = ()

    def text(self, home: str) -> str:
        """Return the reason for a reader who looks at the file `home`."""
        place = f" {_at(self.path, self.line, home)}" if self.line else ""
        what, comma, rest = self.why.partition(", which")
        found = f"{what}{place}{comma}{rest}"
        if self.through:
            steps = [f"{step.name} {_at(step.path, step.line, home)}" for step in self.through]
            found += f", through {' and '.join(steps)}"
        return found


def _at(path: str, line: int, home: str) -> str:
    return f"at line {line}" if path == home else f"at {path}:{line}"


class Sections:
    """The sections around the calls of a program."""

    def __init__(
        self,
        program: Program,
        names: DottedNames,
        blocks: Blocks,
        runs: FunctionRuns,
        entries: EntryPoints,
        entry_sections: EntrySections,
        class_uses: ClassUses,
    ) -> None:
        self._program = program
        self._names = names
        self._blocks = blocks
        self._runs = runs
        self._entries = entries
        self._entry_sections = entry_sections
        self._class_uses = class_uses
        #: Returns the name and line of a tracker that follows a call and records it.
        self.tracker_after: Callable[[Ref, Mention], tuple[str, int] | None] = _no_tracker
        #: Function and when its code runs → the answer for all its calls.
        self._answers: dict[tuple[Ref, int], Answer] = {}
        #: A function that is judged as if it were decorated.
        self._assumed: Ref | None = None

    def would_cover(self, function: Ref, ref: Ref, mention: Mention) -> bool:
        """Return whether a call in the scope `ref` is in a section if `function` is decorated."""
        before, self._answers, self._assumed = self._answers, {}, function
        try:
            return self.answer(ref, mention).is_named
        finally:
            self._answers, self._assumed = before, None

    def answer(self, ref: Ref, mention: Mention, *, is_lazy: bool = False) -> Answer:
        """Return whether a call in the scope `ref` is in a section on every path to it."""
        search = _Search()
        found = [
            self._of_run(run, search) for run in self._runs.of_site(mention, ref, is_lazy=is_lazy)
        ]
        return _all(found) or _no("no code is known that runs it")

    def names_section_at(self, ref: Ref, mention: Mention) -> bool:
        """Return whether the function around a call names a section for it."""
        (run,) = self._runs.of_call(mention, ref)
        managers = [(each, scope) for layer, scope in run.layers for each in layer]
        if any(self._blocks.name(manager, scope) for manager, scope in managers):
            return True
        holder = self._holder(ref)
        if holder is None:
            return False
        entry = self._entries.of(holder)
        block, is_below_entry = self._block_of(
            holder, self._program.scope(holder), entry.kind if entry else ""
        )
        if block and (is_below_entry or entry is None):
            return True
        return entry is not None and self._entry_sections.of(holder, entry) is not None

    def _of_run(self, run: Run, search: _Search) -> Answer | None:
        """Return the answer for a run; None if it is a circle, which other paths enter."""
        for managers, scope in run.layers:
            for manager in managers:
                if name := self._blocks.name(manager, scope):
                    line = _line_of(manager) or run.line
                    return _yes(f"`with {name}`", scope[0], line)
        if run.call and run.when == NOW and not run.lost:
            if opened := self._blocks.entered.before(run.ref, run.call):
                return _yes(f"`{opened}` is entered before", run.ref[0], run.line)
            if tracker := self.tracker_after(run.ref, run.call):
                return _yes(f"followed by {tracker[0]}", run.ref[0], tracker[1])
        if run.lost:
            return _no(f"it {run.lost}", run.ref[0], run.line)
        holder = self._holder(run.ref)
        if holder is None:
            return _no("the code of the module names no section", run.ref[0], run.line)
        return self._of_function(holder, run.when, search)

    def _holder(self, ref: Ref) -> Ref | None:
        """Return the function or lambda that a scope is in; None for the code of a module."""
        at: Ref | None = ref
        while at is not None and self._program.scope(at).kind not in {FUNCTION, LAMBDA}:
            at = self._program.parent(at)
        return at

    def _of_function(self, function: Ref, when: int, search: _Search) -> Answer | None:
        key = function, when
        if key in self._answers:
            return self._answers[key]
        if key in search.active:
            search.circles.add(key)
            return None
        scope = self._program.scope(function)
        if len(search.active) >= _DEEPEST or search.seen >= _MOST_FUNCTIONS:
            return _no(
                f"more calls than the scan follows lead to {scope.qualname}",
                function[0],
                scope.line,
            )
        search.seen += 1
        search.active.add(key)
        found = self._judge(function, when, scope, search)
        search.active.remove(key)
        search.circles.discard(key)
        if found is None and not search.active:
            found = _no(
                f"only functions that call each other reach {scope.qualname}",
                function[0],
                scope.line,
            )
        if found is not None and not search.circles:
            self._answers[key] = found
        return found

    def _judge(self, function: Ref, when: int, scope: CodeScope, search: _Search) -> Answer | None:
        if function == self._assumed and when != LATER:
            return _yes("assumed")
        entry = self._entries.of(function)
        block, is_below_entry = self._block_of(function, scope, entry.kind if entry else "")
        if block and when != LATER and (is_below_entry or entry is None):
            return _yes(f"`@{block}` on {scope.qualname}", function[0], scope.line)
        answers: list[Answer | None] = []
        if entry is not None:
            named = self._entry_sections.of(function, entry)
            if named is None and (by_class := self._of_class(function, entry.kind, search)):
                return by_class
            if named is None and not self._is_sent(function, entry):
                text = f"reached from {entry.kind} {entry.name}, which {self._lacks(entry.kind)}"
                return _no(text, entry.path, entry.line)
            if named is not None:
                why, at = named
                answers.append(_yes(why, at[0], self._program.scope(at).line))
        if block:
            answers.append(_yes(f"`@{block}` on {scope.qualname}", *_place(function, scope)))
        else:
            answers += [
                self._through(run, scope, self._of_run(run, search))
                for run in self._runs.of(function)
                if not (answers and self._has_own_section(run, function))
            ]
        if not answers:
            return _no(f"no caller of {scope.qualname} is known", function[0], scope.line)
        return _all(answers)

    def _has_own_section(self, run: Run, entry: Ref) -> bool:
        """Return whether a task is sent, or a view routed, so that its own section is read."""
        return run.is_sent or self._entry_sections.is_wrapped_at(entry, run.ref, run.line)

    def _lacks(self, kind: str) -> str:
        if kind == "view" and not self._entry_sections.reads_views:
            return "has no section without AIUsageMiddleware"
        return "names no section"

    def _of_class(self, method: Ref, kind: str, search: _Search) -> Answer | None:
        """Return yes if all views that use the class of a method name a section."""
        cls = self._program.parent(method)
        if kind not in _USED_BY_VIEWS or cls is None:
            return None
        users, runs = self._class_uses.of(cls)
        found = [self._entry_sections.of_view_class(user) for user in users]
        answers = [self._of_run(run, search) for run in runs]
        if not (users or runs) or not all(found) or not all(a and a.is_named for a in answers):
            return None
        if found and found[0]:
            why, at = found[0]
            return _yes(why, at[0], self._program.scope(at).line)
        return _all(answers)

    @staticmethod
    def _through(run: Run, scope: CodeScope, found: Answer | None) -> Answer | None:
        """Return the answer for a caller as the answer for the function that it calls."""
        if found is None or scope.kind == LAMBDA:
            return found
        if run.lost:
            return replace(found, why=f"{scope.qualname} {run.lost}")
        if len(found.through) >= _MOST_STEPS:
            return found
        return replace(found, through=(*found.through, Step(scope.qualname, run.ref[0], run.line)))

    def _is_sent(self, task: Ref, entry: EntryPoint) -> bool:
        """Return whether an entry point is a task to which its sender gives a section."""
        return (
            entry.kind == "task"
            and self._entries.carries_section(task)
            and any(not run.lost for run in self._runs.of(task))
        )

    def _block_of(self, function: Ref, scope: CodeScope, kind: str) -> tuple[str, bool]:
        """Return the block that decorators open, and whether the entry point runs inside it."""
        above: str = ""
        for decorator in reversed(scope.decorators):
            if (name := self._blocks.name(decorator, function)) and (
                self._blocks.wrappers.holds_for(decorator, function)
            ):
                return name, not above
            if "contextmanager" in last_name(decorator):
                break  # a block above it ends before the code of the generator begins
            if kind not in {"", "view"} and self._registers(decorator, function):
                above = last_name(decorator) or "it"
        cls = self._program.parent(function)
        if cls and self._program.scope(cls).kind == CLASS:
            for decorator in self._program.scope(cls).decorators:
                if scope.name in _CONSTRUCTORS and (name := self._blocks.name(decorator, cls)):
                    return name, True
        return "", False

    def _registers(self, decorator: Expression, ref: Ref) -> bool:
        names = self._names.of(decorator, ref)
        return self._entries.is_entry_decorator(names)


class _Search:
    """The functions on the path of one search."""

    __slots__ = ("active", "circles", "seen")

    def __init__(self) -> None:
        self.active: set[tuple[Ref, int]] = set()
        self.circles: set[tuple[Ref, int]] = set()
        self.seen = 0


def _all(answers: list[Answer | None]) -> Answer | None:
    """Return the first answer that is no; the first yes if all others are yes or circles."""
    known = [answer for answer in answers if answer is not None]
    for answer in known:
        if not answer.is_named:
            return answer
    return known[0] if known else None


def _no_tracker(_ref: Ref, _mention: Mention) -> None:
    return None


def _yes(why: str, path: str = "", line: int = 0) -> Answer:
    return Answer(is_named=True, why=why, path=path, line=line)


def _no(why: str, path: str = "", line: int = 0) -> Answer:
    return Answer(is_named=False, why=why, path=path, line=line)


def _place(ref: Ref, scope: CodeScope) -> tuple[str, int]:
    return ref[0], scope.line


def _line_of(expression: Expression) -> int:
    if not expression:
        return 0
    if expression[0] == "call":
        return int(expression[4])
    return int(expression[2]) >> 12 if expression[0] == "name" else 0
