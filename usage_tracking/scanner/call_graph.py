"""Which code reaches a function: its callers and the entry points of the site."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from .facts import FUNCTION, Mention
from .inference import Inference
from .program import Program, Ref, last_name
from .report import EntryPoint
from .values import is_reference_to

#: At most this many callers one behind the other are followed.
MOST_STEPS = 8
_MOST_ENTRY_POINTS = 10
_MOST_MENTIONS = 200

_VIEW_METHODS = {
    *("get", "post", "put", "patch", "delete", "head", "options", "dispatch"),
    *("list", "create", "retrieve", "update", "partial_update", "destroy"),
    *("form_valid", "get_context_data", "get_queryset", "perform_create", "perform_update"),
    *("connect", "receive", "receive_json"),
}
_VIEW_BASES = re.compile(r"View|ViewSet|Mixin\b|Consumer|Admin|Resource")
_VIEW_DECORATORS = {
    *("api_view", "action", "require_POST", "require_GET", "require_http_methods"),
    *("require_safe", "login_required", "csrf_exempt", "permission_required"),
    *("staff_member_required", "never_cache", "cache_page", "get", "post", "put"),
}
_TASK_DECORATORS = {
    *("shared_task", "task", "periodic_task", "db_task", "db_periodic_task", "background"),
    *("dramatiq.actor", "actor", "job"),
}
_COMMAND_METHODS = {"handle", "handle_noargs"}


@dataclass(frozen=True, slots=True)
class Caller:
    """A call or mention of a function, and the scope that it is in."""

    ref: Ref
    mention: Mention


class CallGraph:
    """The callers and entry points of the functions of a program."""

    def __init__(self, program: Program, inference: Inference) -> None:
        self._program = program
        self._inference = inference
        self._callers: dict[Ref, list[Caller]] = {}

    def function(self, ref: Ref) -> Ref | None:
        """Return the named function that a scope is in; None at module level."""
        at: Ref | None = ref
        while at is not None:
            if self._program.scope(at).kind == FUNCTION:
                return at
            at = self._program.parent(at)
        return None

    def callers(self, function: Ref) -> list[Caller]:
        """Return the calls of a function, and its mentions as an argument or in a function."""
        if function not in self._callers:
            self._callers[function] = []  # for a function that calls itself
            calls = self._inference.functions.callers(function)
            found = [Caller(ref, call) for ref, call in calls]
            known = {id(each.mention) for each in found}
            name = self._program.scope(function).name
            for ref, mention in self._program.mentions_named.get(name, ())[:_MOST_MENTIONS]:
                values = self._inference.of(mention.expression, ref)
                if (
                    id(mention) not in known
                    and is_reference_to(function, values)
                    and (mention.is_argument or self.function(ref) is not None)
                ):
                    found.append(Caller(ref, mention))
            self._callers[function] = found
        return self._callers[function]

    def entry_points(self, ref: Ref) -> tuple[EntryPoint, ...]:
        """Return the entry points that reach the code of a scope."""
        found: dict[tuple[str, int], EntryPoint] = {}
        seen: set[Ref] = set()
        waiting: list[tuple[Ref | None, int]] = [(self.function(ref), 0)]
        while waiting and len(found) < _MOST_ENTRY_POINTS:
            function, depth = waiting.pop(0)
            if function is None or function in seen or depth > MOST_STEPS:
                continue
            seen.add(function)
            if entry := self.entry_point(function):
                found[entry.path, entry.line] = entry
                continue
            outer = self._program.parent(function)
            if outer and (holder := self.function(outer)):
                waiting.append((holder, depth + 1))
            for caller in self.callers(function):
                waiting.append((self.function(caller.ref), depth + 1))
        return tuple(found.values())

    def entry_point(self, function: Ref) -> EntryPoint | None:
        """Return a function as an entry point, None if it is not one."""
        scope = self._program.scope(function)
        name, kind = scope.qualname, ""
        decorators = {
            last_name(item[1] if item and item[0] == "call" else item) for item in scope.decorators
        }
        first = scope.parameters[0].name if scope.parameters else ""
        if decorators & _TASK_DECORATORS:
            kind = "task"
        elif self._program.is_method(function):
            kind = self._kind_of_method(function, decorators)
            if kind == "command":
                name = re.sub(r".*[/\\]|\.py$", "", function[0])
        elif first == "request" or decorators & _VIEW_DECORATORS:
            kind = "view"
        return EntryPoint(kind, name, function[0], scope.line) if kind else None

    def _kind_of_method(self, method: Ref, decorators: set[str]) -> str:
        name = self._program.scope(method).name
        cls = self._program.parent(method)
        bases = " ".join(self._base_names(cls)) if cls else ""
        if name in _COMMAND_METHODS and "Command" in bases:
            return "command"
        if (name in _VIEW_METHODS and _VIEW_BASES.search(bases)) or "action" in decorators:
            return "view"
        return "task" if name == "run" and "Task" in bases else ""

    def _base_names(self, cls: Ref) -> Iterator[str]:
        for each in self._inference.classes.ancestry(cls):
            for base in self._program.scope(each).bases:
                yield last_name(base)
