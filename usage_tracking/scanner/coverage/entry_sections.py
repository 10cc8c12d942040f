"""The section of an entry point: `ai_section` of a view or consumer, or `AI_USAGE_SECTION_MAP`.

It holds for everything that the entry point reaches, until the request, message or task ends.
"""

from __future__ import annotations

from ..execution.entry_points import EntryPoints
from ..execution.routes import Route, Routes
from ..facts import FUNCTION, Expression
from ..inference.engine import Inference
from ..program import Program, Ref, last_name
from ..report import EntryPoint
from ..values import FUNCTIONS, Class
from .blocks import Blocks
from .package_names import MARK
from .section_marks import SectionMarks
from .section_values import SectionValues
from .settings_map import SettingsMap

#: Decorators whose result does not have the attributes of what they decorate.
_HIDING = {"api_view"}
#: Methods of a class-based view through which each of its requests passes.
_EVERY_REQUEST = ("dispatch", "__call__", "setup", "as_view")


class EntrySections:
    """The sections of the entry points of a program."""

    def __init__(
        self,
        program: Program,
        inference: Inference,
        blocks: Blocks,
        marks: SectionMarks,
        values: SectionValues,
        entries: EntryPoints,
        routes: Routes,
        mapped: SettingsMap,
        *,
        reads_views: bool,
    ) -> None:
        self._program = program
        self._inference = inference
        self._blocks = blocks
        self._marks = marks
        self._values = values
        self._entries = entries
        self._routes = routes
        self._mapped = mapped
        #: Whether a request has the section of its view, by `ai_section` or the map.
        self.reads_views = reads_views
        self._sections: dict[Ref, tuple[str, Ref] | None] = {}
        self._of_classes: dict[Ref, tuple[str, Ref] | None] = {}

    def of(self, function: Ref, entry: EntryPoint) -> tuple[str, Ref] | None:
        """Return why all calls of an entry point have a section, and where; None if not all do."""
        if function not in self._sections:
            self._sections[function] = self._find(function, entry.kind)
        return self._sections[function]

    def _find(self, function: Ref, kind: str) -> tuple[str, Ref] | None:
        if kind == "task":
            if not self._entries.is_mapped_by_name(function):
                return None
            if self._mapped.has_task(function):
                return self._by_map(function)
            return self._of_task_class(function)
        if kind not in {"view", "consumer"}:
            return None
        if self._program.is_method(function):
            return self._of_method(function, kind)
        return self._of_function(function)

    def _by_map(self, ref: Ref) -> tuple[str, Ref]:
        return f"AI_USAGE_SECTION_MAP names the section of {self._program.scope(ref).qualname}", ref

    def _of_task_class(self, task: Ref) -> tuple[str, Ref] | None:
        """Return the reason if the `base=` of a task opens a block around its code."""
        for decorator in self._program.scope(task).decorators:
            for keyword, value in decorator[3] if decorator and decorator[0] == "call" else ():
                for base in self._inference.of(value, task) if keyword == "base" else ():
                    if isinstance(base, Class) and self._dispatches_in_block(base.ref, task):
                        return f"{self._program.scope(base.ref).name} opens a block", base.ref
        return None

    # Functions

    def _of_function(self, view: Ref) -> tuple[str, Ref] | None:
        scope = self._program.scope(view)
        if not self.reads_views or self.is_hidden(view):
            return self._of_routes(view)
        for decorator in scope.decorators:
            if self._hides(decorator, view):
                break
            if name := self._marks.name(decorator, view):
                return f"`@{name}` on {scope.qualname}", view
        if self._is_set(view):
            return f"{scope.qualname} has an ai_section", view
        if self._mapped.has_view(view):
            return self._by_map(view)
        return self._of_routes(view)

    def is_hidden(self, view: Ref) -> bool:
        """Return whether a route hides the attributes of a view, so that no section is read."""
        return any(
            self._hides(wrapper, route.ref)
            for route in self._routes.of(view)
            for wrapper in route.wrappers
        )

    def is_wrapped_at(self, view: Ref, ref: Ref, line: int) -> bool:
        """Return whether a route wraps a view at a line, and keeps its attributes."""
        innermost = [route.innermost for route in self._routes.of(view)]
        return (ref, line) in innermost and not self.is_hidden(view)

    def _of_routes(self, view: Ref) -> tuple[str, Ref] | None:
        """Return the reason if every route of a view names a section around it."""
        routes = self._routes.of(view)
        is_function = self._program.scope(view).kind == FUNCTION
        names = [self._of_route(route) for route in routes]
        marked = [
            route
            for route, name in zip(routes, names, strict=True)
            if name == MARK and is_function and len(route.wrappers) == 1
        ]
        found = routes[:1] if routes and all(names) else marked  # a mark of a function stays
        if not found:
            return None
        return f"its route at {found[0].ref[0]}:{found[0].line} names a section", view

    def _of_route(self, route: Route) -> str:
        for wrapper in route.wrappers:
            found = self._blocks.name(wrapper, route.ref)
            if not found and self.reads_views:
                found = self._marks.name(wrapper, route.ref)
            if found:
                return found
        return ""

    def _hides(self, decorator: Expression, ref: Ref) -> bool:
        """Return whether a decorator hides the attributes of the function below it."""
        function = decorator[1] if decorator and decorator[0] == "call" else decorator
        if last_name(function) in _HIDING:
            return True
        return any(
            isinstance(value, FUNCTIONS) and not self._keeps_attributes(value.ref)
            for value in self._inference.of(function, ref)
        )

    def _keeps_attributes(self, decorator: Ref) -> bool:
        """Return whether a decorator of the project uses `functools.wraps` or the like."""
        scope = self._program.scope(decorator)
        parameters = {parameter.name for parameter in scope.parameters}
        inner = [
            each
            for each in self._program.files[decorator[0]].scopes
            if each.kind == FUNCTION and self._is_inside((decorator[0], each.number), decorator)
        ]
        if any(value and last_name(value) in parameters for value in scope.returns):
            return True
        for each in (scope, *inner):
            for call in each.calls:
                if last_name(call.expression[1]) in {"wraps", "update_wrapper"}:
                    return True
            if any(name == MARK for _, name, _ in each.attributes):
                return True
        return False

    def _is_inside(self, ref: Ref, outer: Ref) -> bool:
        at: Ref | None = ref
        while at is not None and at != outer:
            at = self._program.parent(at)
        return at == outer and ref != outer

    def _is_set(self, target: Ref) -> bool:
        """Return whether code sets the attribute `ai_section` of a function or class."""
        for ref, number in self._program.set_attributes.get(MARK, ()):
            owner, _, value = self._program.scope(ref).attributes[number]
            if self._values.is_section(value, ref) and any(
                isinstance(each, (*FUNCTIONS, Class)) and each.ref == target
                for each in self._inference.of(owner, ref)
            ):
                return True
        return False

    # Classes

    def _of_method(self, method: Ref, kind: str) -> tuple[str, Ref] | None:
        """Return the reason if every class whose objects run a method names a section."""
        found = None
        for cls in self.classes_with(method):
            found = self._of_class(cls, method, kind)
            if found is None:
                return None
        return found

    def classes_with(self, method: Ref) -> list[Ref]:
        """Return the classes whose objects run a method: routed ones, else the last to derive."""
        cls = self._program.parent(method)
        if cls is None:
            return []
        name = self._program.scope(method).name
        family = [cls, *self._inference.classes.descendants(cls)]
        using = [each for each in family if self._uses(each, method, name)]
        routed = [each for each in using if self._routes.of(each)]
        leaves = [each for each in using if not self._inference.classes.descendants(each)]
        found = routed or leaves or using
        # A class without a route may still be a view: the scan may not see its route.
        return found + [each for each in leaves if each not in found and not routed]

    def _uses(self, cls: Ref, method: Ref, name: str) -> bool:
        """Return whether objects of a class run a method, directly or by `super()`."""
        for each in self._inference.classes.ancestry(cls):
            own = self._program.methods(each).get(name, [])
            if method in own:
                return True
            if own and not any(self._calls_super(one, name) for one in own):
                return False
        return False

    def _calls_super(self, method: Ref, name: str) -> bool:
        return any(
            last_name(call.expression[1]) == name
            and call.expression[1][0] == "attr"
            and call.expression[1][1]
            and call.expression[1][1][0] == "call"
            for call in self._program.scope(method).calls
        )

    def _of_class(self, cls: Ref, method: Ref, kind: str) -> tuple[str, Ref] | None:
        name = self._program.scope(cls).name
        is_read = self.reads_views or kind == "consumer"
        if is_read and (section := self.section(cls)):
            return section
        if opened := self._decorated_for(cls, self._program.scope(method).name):
            return opened
        if kind == "consumer":
            return self._by_map(cls) if self._mapped.has_path(cls) else None
        if is_read and self._mapped.has_view(cls):
            return self._by_map(cls)
        if self._dispatches_in_block(cls, method):
            return f"{name}.dispatch opens a block", cls
        return self._of_routes(cls)

    def of_view_class(self, cls: Ref) -> tuple[str, Ref] | None:
        """Return why all requests to a class of views have a section, None if not all do."""
        found = None
        for each in (cls, *self._inference.classes.descendants(cls)):
            section = self.section(each) if self.reads_views else None
            found = section or self._by_routes_or_map(each)
            if found is None:
                return None
        return found

    def _by_routes_or_map(self, cls: Ref) -> tuple[str, Ref] | None:
        is_mapped = self.reads_views and self._mapped.has_view(cls)
        return self._by_map(cls) if is_mapped else self._of_routes(cls)

    def section(self, cls: Ref) -> tuple[str, Ref] | None:
        """Return why a class has a section, and the class that names it."""
        if cls not in self._of_classes:
            self._of_classes[cls] = self._section(cls)
        return self._of_classes[cls]

    def _section(self, cls: Ref) -> tuple[str, Ref] | None:
        for each in self._inference.classes.ancestry(cls):
            scope = self._program.scope(each)
            for decorator in scope.decorators:
                if (name := self._marks.name(decorator, each)) and (
                    _method_named(decorator) in {"", "dispatch"}
                ):
                    return f"`@{name}` on {scope.qualname}", each
            if self._is_set(each):
                return f"{scope.qualname} has an ai_section", each
            if bound := scope.bindings.get(MARK):
                if self._values.is_section(bound[-1].value, each):
                    return f"{scope.qualname} has an ai_section", each
                return None
            for method in self._program.methods(each).get("dispatch", ()):
                for decorator in self._program.scope(method).decorators:
                    if self._marks.name(decorator, method):
                        return f"`@{MARK}` on {scope.qualname}.dispatch", each
        return None

    def _decorated_for(self, cls: Ref, method: str) -> tuple[str, Ref] | None:
        """Return the reason if `method_decorator` puts a method of a class into a block."""
        for each in self._inference.classes.ancestry(cls):
            scope = self._program.scope(each)
            for decorator in scope.decorators:
                if (
                    decorator
                    and _method_named(decorator) in {method, *_EVERY_REQUEST}
                    and self._blocks.name(decorator, each)
                ):
                    return f"{scope.qualname} is decorated with ai_usage", each
        return None

    def _dispatches_in_block(self, cls: Ref, method: Ref) -> bool:
        """Return whether a class or base overrides `dispatch` with a block around the original."""
        for each in self._inference.classes.ancestry(cls):
            for name in ("dispatch", "__call__"):
                for override in self._program.methods(each).get(name, ()):
                    if override == method:
                        continue
                    scope = self._program.scope(override)
                    if any(self._blocks.name(item, override) for item in scope.decorators):
                        return True
                    calls = [call for call in scope.calls if last_name(call.expression[1]) == name]
                    if calls and all(
                        any(
                            self._blocks.name(manager, override)
                            for manager in scope.nestings[call.nesting].managers
                        )
                        for call in calls
                    ):
                        return True
        return False


def _method_named(decorator: Expression) -> str:
    """Return the method that `method_decorator(…, name="dispatch")` names, "" without a name."""
    if decorator and decorator[0] == "call":
        for keyword, value in decorator[3]:
            if keyword == "name" and value and value[0] == "text":
                return str(value[1])
    return ""
