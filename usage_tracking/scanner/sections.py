"""Whether a section is named around a call, or on every way to it."""

from __future__ import annotations

from typing import Any

from .call_graph import MOST_STEPS, CallGraph
from .facts import CLASS, FUNCTION, LAMBDA, Expression, Mention
from .inference import Inference
from .program import Program, Ref, last_name
from .values import FUNCTIONS, Library

#: Context managers and decorators of usage_tracking that name a section.
SECTIONS = frozenset({"ai_usage", "ai_section", "AIUsageTracker"})
#: Functions that open or apply the context manager or decorator which is their first argument.
_WRAPPERS = {"method_decorator", "enter_context", "enter_async_context"}


class Sections:
    """The sections of a program.

    `trackers` are further names that count as naming a section, `mapped` the dotted paths of
    views whose section the settings name.
    """

    def __init__(
        self,
        program: Program,
        inference: Inference,
        graph: CallGraph,
        trackers: frozenset[str],
        mapped: frozenset[str],
    ) -> None:
        self._program = program
        self._inference = inference
        self._graph = graph
        self._trackers = trackers
        self._mapped = mapped
        #: A function that is judged as if it were decorated.
        self._assumed: Ref | None = None

    def would_cover(self, function: Ref, ref: Ref, mention: Mention) -> bool:
        """Return whether a call in the scope `ref` were in a section with `function` decorated."""
        self._assumed = function
        try:
            return bool(self.reason(ref, mention))
        finally:
            self._assumed = None

    def reason(self, ref: Ref, mention: Mention) -> str:
        """Return why a call in the scope `ref` is in a section, "" if it is not."""
        return self._of_call(ref, mention, frozenset(), 0)

    def _of_call(self, ref: Ref, mention: Mention, seen: frozenset[Ref], depth: int) -> str:
        return self.reason_here(ref, mention) or self._of_callers(ref, seen, depth)

    def reason_here(self, ref: Ref, mention: Mention) -> str:
        """Return the reason that the code around a call gives, without its callers."""
        nesting = self._program.scope(ref).nestings[mention.nesting]
        for manager in nesting.managers:
            if name := self.name(manager, ref):
                return f"inside `with {name}`"
        return self._of_definition(ref)

    def _of_definition(self, ref: Ref) -> str:
        """Return the reason that a function and the classes and functions around it give."""
        at: Ref | None = ref
        while at is not None:
            scope = self._program.scope(at)
            if at == self._assumed:
                return f"{scope.qualname} is assumed to be decorated"
            for decorator in scope.decorators:
                if name := self.name(decorator, at):
                    return f"{scope.qualname} is decorated with {name}"
            if scope.kind == CLASS and "ai_section" in scope.bindings:
                return f"{scope.qualname} has an ai_section"
            if self._is_mapped(at):
                return f"AI_USAGE_SECTION_MAP names the section of {scope.qualname}"
            at = self._program.parent(at)
        return ""

    def _of_callers(self, ref: Ref, seen: frozenset[Ref], depth: int) -> str:
        """Return a reason if every caller of a function is in a section."""
        function = self._graph.function(ref)
        if depth >= MOST_STEPS or ref in seen or function is None:
            return ""
        callers = [
            each
            for each in self._graph.callers(function)
            if self._graph.function(each.ref) != function
        ]
        if not callers or self._graph.entry_point(function) is not None:
            return ""
        reasons = [
            self._of_call(each.ref, each.mention, seen | {ref}, depth + 1) for each in callers
        ]
        if not all(reasons):
            return ""
        subject = "its caller is" if len(reasons) == 1 else f"all {len(reasons)} callers are"
        return f"{subject} covered: {reasons[0]}"

    def name(self, expression: Expression, ref: Ref) -> str:
        """Return the name of a context manager or decorator that names a section, "" for others.

        `ai_usage` of `ai_usage(section="chat")` and of `method_decorator(ai_usage("chat"), …)`.
        """
        if not expression:
            return ""
        if expression[0] == "call":
            _, function, arguments, *_ = expression
            is_wrapped = bool(arguments) and last_name(function) in _WRAPPERS
            return self.name(arguments[0] if is_wrapped else function, ref)
        if expression[0] == "items":
            names = (self.name(each, ref) for each in expression[1])
            return next(filter(None, names), "")
        name = last_name(expression)
        if name in SECTIONS or name in self._trackers:
            return name
        return self._name_by_value(expression, ref)

    def _name_by_value(self, expression: Expression, ref: Ref) -> str:
        for value in self._inference.of(expression, ref):
            if isinstance(value, Library):
                name = value.dotted.rpartition(".")[2]
                if name in SECTIONS:
                    return name
            elif isinstance(value, FUNCTIONS) and self._opens_section(value.ref):
                return self._program.scope(value.ref).name
        return ""

    def _opens_section(self, function: Ref) -> bool:
        """Return whether a context manager or decorator of the project names a section."""
        file, number = function
        inner = [
            scope
            for scope in self._program.files[file].scopes
            if scope.parent == number and scope.kind in (FUNCTION, LAMBDA)
        ]
        return any(
            _last_name_called(manager) in SECTIONS
            for scope in (self._program.scope(function), *inner)
            for nesting in scope.nestings
            for manager in nesting.managers
        )

    def _is_mapped(self, ref: Ref) -> bool:
        qualname = self._program.scope(ref).qualname
        if not qualname or not self._mapped:
            return False
        module = ref[0].removesuffix(".py").removesuffix("/__init__")
        dotted = f"{module}.{qualname}".replace("/", ".").replace("\\", ".")
        return any(dotted == name or dotted.endswith(f".{name}") for name in self._mapped)


def _last_name_called(expression: Any) -> str:
    return last_name(expression[1] if expression and expression[0] == "call" else expression)
