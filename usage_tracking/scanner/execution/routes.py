"""The routes of a site: which views its URLconfs name, and what wraps them there."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace

from ..facts import Expression
from ..inference.engine import Inference
from ..program import Program, Ref, last_name
from ..values import FUNCTIONS, Class
from .dotted_names import DottedNames

#: Functions that add a route, and the index of the argument that is the view.
ROUTES = {"path": 1, "re_path": 1, "url": 1, "register": 1, "add_url_rule": 2, "add_api_route": 1}
_DEEPEST = 8


@dataclass(frozen=True, slots=True)
class Route:
    """A route to a view; `wrappers` are what is called with the view, outermost first."""

    ref: Ref
    line: int
    wrappers: tuple[Expression, ...]
    #: Where the innermost of them is called.
    innermost: tuple[Ref, int] | None = None


class Routes:
    """The routes of a program, by view: a function, or a class."""

    def __init__(self, program: Program, inference: Inference, names: DottedNames) -> None:
        self._program = program
        self._inference = inference
        self._names = names
        self._routes: dict[Ref, list[Route]] = defaultdict(list)
        self._is_filled = False

    def of(self, view: Ref) -> list[Route]:
        """Return the routes of a view."""
        if not self._is_filled:
            self._is_filled = True
            for name, index in ROUTES.items():
                for ref, call in self._program.calls_named.get(name, ()):
                    _, _, arguments, keywords, line, *_ = call.expression
                    named = [value for keyword, value in keywords if keyword in {"view", "viewset"}]
                    for target in (*arguments[index : index + 1], *named):
                        self._add(target, ref, Route(ref, line, ()), 0)
        return self._routes.get(view, [])

    def _add(self, target: Expression, ref: Ref, route: Route, depth: int) -> None:
        if not target or depth > _DEEPEST:
            return
        if target[0] == "call":
            _, function, arguments, _, line, *_ = target
            if last_name(function) == "as_view" and function[0] == "attr":
                self._add(function[1], ref, route, depth + 1)
            elif arguments:
                wrappers = (*route.wrappers, function)
                inner = replace(route, wrappers=wrappers, innermost=(ref, line))
                self._add(arguments[0], ref, inner, depth + 1)
            return
        views = [
            value.ref
            for value in self._inference.of(target, ref)
            if isinstance(value, (*FUNCTIONS, Class))
        ]
        for view in views:
            self._routes[view].append(replace(route, ref=ref))
        if not views:
            for value, at in self._names.bindings(target, ref):
                if value and value[0] == "call":
                    self._add(value, at, route, depth + 1)
