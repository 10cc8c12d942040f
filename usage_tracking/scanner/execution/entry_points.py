"""Where code of the site begins to run: views, tasks, commands, consumers and other hooks."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..facts import FUNCTION, CodeScope
from ..inference.engine import Inference
from ..program import Program, Ref, chain, last_name
from ..report import EntryPoint
from .dotted_names import DottedNames
from .routes import Routes

#: Decorators that hand a function over to a framework, and what the framework makes of it.
_DECORATORS: dict[str, frozenset[str]] = {
    "task": frozenset(
        (
            *("shared_task", "task", "periodic_task", "db_task", "db_periodic_task"),
            *("background", "actor", "job", "on_queue"),
        )
    ),
    "view": frozenset(
        (
            *("api_view", "action", "require_POST", "require_GET", "require_http_methods"),
            *("require_safe", "login_required", "csrf_exempt", "permission_required", "route"),
            *("staff_member_required", "never_cache", "cache_page", "get", "post", "put"),
            *("user_passes_test", "ensure_csrf_cookie", "condition", "etag", "gzip_page"),
            *("vary_on_headers", "vary_on_cookie", "xframe_options_exempt", "patch", "delete"),
            *("sensitive_post_parameters", "websocket"),
        )
    ),
    "signal receiver": frozenset(("receiver", "connect", "connect_via")),
    "template tag": frozenset(
        ("simple_tag", "inclusion_tag", "simple_block_tag", "filter", "tag", "stringfilter")
    ),
    "admin action": frozenset(("display",)),
    "command": frozenset(("command", "group", "callback")),
    "scheduled job": frozenset(
        ("scheduled_job", "cron", "every", "repeat", "crontab", "register_job")
    ),
    "tool": frozenset(("tool", "function_tool", "tool_plain", "kernel_function", "ai_function")),
    "check": frozenset(("register",)),
    "resolver": frozenset(("field", "mutation", "subscription", "query")),
    "fixture": frozenset(("fixture",)),
}
_KINDS = {name: kind for kind, names in _DECORATORS.items() for name in names}

#: The bases of classes whose methods a framework calls, and the methods that it calls even if the
#: project calls them too.
_BASES: tuple[tuple[str, str, str], ...] = (
    ("consumer", r"Consumer$", r"connect|disconnect|receive\w*|websocket_\w+|http_\w+|dispatch"),
    ("command", r"Command$", r"handle\w*"),
    ("middleware", r"Middleware(Mixin)?$", r"__a?call__|process_\w+"),
    (
        "admin action",
        r"Admin(Mixin)?$|Inline$|AdminSite$",
        r"(save|delete)_\w+|get_\w+|\w+_view|response_\w+|log_\w+|formfield_\w+",
    ),
    (
        "view",
        r"View(Set)?(Mixin)?$|^Resource$|Endpoint$",
        r"get|post|put|patch|delete|head|options|trace|dispatch|setup|list|create|retrieve|update"
        r"|partial_update|destroy|form_valid|form_invalid|get_context_data|get_queryset|get_object"
        r"|perform_\w+|initial|render_to_response|get_form_kwargs|get_form|handle_exception",
    ),
    ("serializer", r"Serializer$", r"validate\w*|create|update|to_\w+|get_\w+|run_validation"),
    ("form", r"Form(Set)?$", r"clean\w*|full_clean"),
    ("task", r"Task$", r"run|on_\w+|after_return|__call__"),
    ("scheduled job", r"Job(Base)?$", r"do|run|execute"),
    ("logging handler", r"Handler$", r"emit|handle"),
    ("resolver", r"Mutation$|ObjectType$", r"resolve_\w+|mutate\w*|perform_mutation"),
    ("model", r"Model$", r"save|delete|clean|full_clean|__str__|get_absolute_url|pre_save"),
    ("field", r"Field$|Widget$", r"clean|to_\w+|pre_save|validate|render"),
)
_HOOKS = [(kind, re.compile(base), re.compile(hooks)) for kind, base, hooks in _BASES]
_CELERY = {"shared_task", "task", "periodic_task"}
_OTHER_QUEUES = re.compile(
    r"huey|dramatiq|procrastinate|rq$|arq|taskiq|invoke|fabric|prefect|luigi"
)
_HTTP_METHOD = re.compile(r"get|post|put|patch|delete|head|options|dispatch")
#: Bases from which no framework calls methods.
_PLAIN_BASES = re.compile(
    r"^(object|Generic|Protocol|ABC|Enum|\w*Exception|\w*Error|NamedTuple|TypedDict|BaseModel|dict"
    r"|list|str|local|Thread|\w*Mixin|ContextDecorator|AbstractContextManager)$"
)
#: Methods that Python itself calls.
_IMPLICIT = re.compile(
    r"^__(?!init__|new__|post_init__|call__|enter__|exit__|aenter__|aexit__)\w+__$"
)


class EntryPoints:
    """The entry points of a program."""

    def __init__(
        self, program: Program, inference: Inference, names: DottedNames, routes: Routes
    ) -> None:
        self._program = program
        self._inference = inference
        self._names = names
        self._routes = routes
        self._entries: dict[Ref, EntryPoint | None] = {}
        self._class_kinds: dict[Ref, tuple[str, ...]] = {}

    def of(self, function: Ref) -> EntryPoint | None:
        """Return a function as an entry point, None if only the project calls it."""
        if function not in self._entries:
            self._entries[function] = self._find(function)
        return self._entries[function]

    def _find(self, function: Ref) -> EntryPoint | None:
        scope = self._program.scope(function)
        if scope.kind != FUNCTION:
            return None
        kind, name = self._of_decorators(function, scope), scope.qualname
        if self._program.is_method(function):
            kind = self._of_class(function, scope) or kind
            if kind == "command":
                name = re.sub(r".*[/\\]|\.py$", "", function[0])
        elif not kind and (self._routes.of(function) or self._is_view(function, scope)):
            kind = "view"
        return EntryPoint(kind, name, function[0], scope.line) if kind else None

    def _of_decorators(self, function: Ref, scope: CodeScope) -> str:
        """Return the kind that the decorators of a function give it, "" if they give none."""
        found = ""
        for decorator in scope.decorators:
            for name in self._names.of(decorator, function):
                kind = _KINDS.get(name.rpartition(".")[2], "")
                if kind and (kind in {"task", "view"} or not found):
                    found = kind
        return found

    def carries_section(self, task: Ref) -> bool:
        """Return whether the messages of a task carry the section of their sender: Celery's do."""
        return self._queue(task) == "celery"

    def is_mapped_by_name(self, task: Ref) -> bool:
        """Return whether `AI_USAGE_SECTION_MAP` is read for a task: of Celery and of Django."""
        return self._queue(task) in {"celery", "django"}

    def _queue(self, task: Ref) -> str:
        """Return the library that runs a task: "celery", "django", or "" for others."""
        for decorator in self._program.scope(task).decorators:
            function = decorator[1] if decorator and decorator[0] == "call" else decorator
            for name in self._names.of(decorator, task):
                parts = name.split(".")
                if parts[-1] not in _KINDS or _KINDS[parts[-1]] != "task":
                    continue
                if parts[0] in {"django", "django_tasks"}:
                    return "django"
                words = {*parts[:-1], *chain(function)[:-1]}
                is_other = any(_OTHER_QUEUES.search(word) for word in words)
                return "celery" if parts[-1] in _CELERY and not is_other else ""
        return "celery" if self._program.is_method(task) else ""

    @staticmethod
    def is_entry_decorator(names: list[str]) -> bool:
        """Return whether a decorator with one of `names` hands a function over to a framework."""
        return any(name.rpartition(".")[2] in _KINDS for name in names)

    def _is_view(self, function: Ref, scope: CodeScope) -> bool:
        """Return whether a function without a known route is a view: no code of ours calls it."""
        first = scope.parameters[0].name if scope.parameters else ""
        return first == "request" and not self._inference.functions.callers(function)

    # Classes

    def kinds_of_class(self, cls: Ref) -> tuple[str, ...]:
        """Return what frameworks take the objects of a class for, by the names of its bases."""
        if cls not in self._class_kinds:
            bases = list(self._base_names(cls))
            found = [kind for kind, base, _ in _HOOKS if any(base.search(each) for each in bases)]
            if not found and "get_response" in self._parameters_of_init(cls):
                found = ["middleware"]
            if not found and any(not _PLAIN_BASES.match(each) for each in bases):
                found = ["method"]
            self._class_kinds[cls] = tuple(found)
        return self._class_kinds[cls]

    def _parameters_of_init(self, cls: Ref) -> list[str]:
        return [
            parameter.name
            for method in self._program.methods(cls).get("__init__", ())
            for parameter in self._program.scope(method).parameters
        ]

    def _of_class(self, method: Ref, scope: CodeScope) -> str:
        cls = self._program.parent(method)
        kinds = [
            kind
            for each in ((cls, *self._inference.classes.descendants(cls)) if cls else ())
            for kind in self.kinds_of_class(each)
        ]
        for kind, _, hooks in _HOOKS:
            if kind in kinds and hooks.fullmatch(scope.name):
                return kind
        takes_request = len(scope.parameters) > 1 and scope.parameters[1].name == "request"
        if not kinds and takes_request and _HTTP_METHOD.fullmatch(scope.name):
            return "view"
        if "consumer" in kinds and any(p.name in {"event", "message"} for p in scope.parameters):
            return "consumer"
        if _IMPLICIT.match(scope.name):
            return kinds[0] if kinds else "method"
        is_public = not scope.name.startswith("_") or scope.name == "__call__"
        if kinds and is_public and not self._inference.functions.callers(method):
            return kinds[0]
        return ""

    def _base_names(self, cls: Ref) -> Iterator[str]:
        """Yield the names of the bases of a class that are not in the project."""
        for each in self._inference.classes.ancestry(cls):
            for base in self._program.scope(each).bases:
                base = base[1] if base and base[0] == "index" else base
                yield last_name(base[1] if base and base[0] == "call" else base)
