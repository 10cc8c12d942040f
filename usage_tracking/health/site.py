"""Whether the site is set up: tables, a user to test with, URLs, middleware, settings."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.core.checks import CheckMessage, registry
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.db import DatabaseError, connections
from django.db.migrations.executor import MigrationExecutor
from django.test import RequestFactory
from django.urls import URLPattern, get_resolver

from .. import conf, places
from ..models import AIUsageLog, AIUsageTracking
from ..system.patching import is_patched
from .findings import Finding, Result, failed, manage, note, ok, problem, warning

API = "usage_tracking.api"
#: What its extra brings.
API_PACKAGES = ("rest_framework", "django_filters")
_MIDDLEWARE = {"usage_tracking.W002", "usage_tracking.W003"}
_OUTBOX = {"usage_tracking.W004", "usage_tracking.W005", "usage_tracking.W010"}


def models(using: str) -> Result:
    """Whether the database answers and has the tables, with every migration applied."""
    return Result("Checking if models are accessible", (_models(using),))


def _models(using: str) -> Finding:
    migrate = manage("migrate usage_tracking", using)
    try:
        connection = connections[using]
        with connection.cursor() as cursor:
            tables = set(connection.introspection.table_names(cursor))
            constraints = _of_users(connection, cursor)
        executor = MigrationExecutor(connection)
        ours = [key for key in executor.loader.graph.leaf_nodes() if key[0] == "usage_tracking"]
        missing = [
            migration.name
            for migration, _ in executor.migration_plan(ours)
            if migration.app_label == "usage_tracking"
        ]
    except (DatabaseError, ImproperlyConfigured) as error:
        return problem(
            "database_error",
            f"The database {using!r} does not answer: {failed(error)}",
            manage("dbshell", using),
        )
    lacking = {model._meta.db_table for model in (AIUsageLog, AIUsageTracking)} - tables
    if lacking:
        return problem(
            "not_migrated",
            f"The database {using!r} has no table {' and no table '.join(sorted(lacking))}",
            migrate,
        )
    if missing:
        return problem("migrations", f"Not applied: {', '.join(missing)}", migrate)
    if constraints:
        table, name = constraints[0]
        fix = f"ALTER TABLE {table} DROP CONSTRAINT {name};"
        return problem(
            "foreign_key",
            f"{table} has a foreign key to the users in {using!r}, but DATABASE_ROUTERS puts the "
            f"users in {places.own_users()!r}",
            fix
            if connection.vendor == "postgresql"
            else "Create the tables again: docs/scaling.md",
        )
    return ok("models", "Models are accessible")


def _of_users(connection: Any, cursor: Any) -> list[tuple[str, str]]:
    """Return the foreign keys (table, name) to a users' table that is not the site's."""
    if not places.users_are_apart() or _are_one(connection, connections[places.own_users()]):
        return []
    return [
        (model._meta.db_table, name)
        for model in (AIUsageLog, AIUsageTracking)
        for name, found in connection.introspection.get_constraints(
            cursor, model._meta.db_table
        ).items()
        if found["foreign_key"]
    ]


def _are_one(connection: Any, other: Any) -> bool:
    """Return whether both connections reach one database, such as directly and by a pooler."""
    found = []
    for each in (connection, other):
        if each.vendor != "postgresql":
            return False
        with each.cursor() as cursor:
            cursor.execute(
                "SELECT pg_postmaster_start_time(), current_database(), to_regclass(%s)::oid",
                [AIUsageLog._meta.db_table],
            )
            found.append(cursor.fetchone())
    return bool(found[0] == found[1])


def find_user(name: str | None, using: str) -> tuple[Result, Any]:
    """The user that `name` (username or key) names, else a superuser, else an active user."""
    title = "Getting test user"
    model = get_user_model()
    users = model._base_manager.using(places.users_of(using))
    user: Any
    if name:
        user = users.filter(**{model.USERNAME_FIELD: name}).first() or _by_key(users, name)
        if user is None:
            text = f"There is no user {name!r}"
            fix = "Leave --user out, or give the username or the key of one that exists."
            return Result(title, (problem("no_such_user", text, fix),)), None
    else:
        user = _somebody(model, users)
    if user is None:
        text = "There is no active user to test with"
        return Result(
            title, (problem("no_user", text, manage("createsuperuser", places.users_of(using))),)
        ), None
    return Result(title, (ok("user", f"Using user: {user.get_username()} (ID: {user.pk})"),)), user


def _somebody(model: Any, users: Any) -> Any:
    """A superuser, else an active user; of a user model without such flags anybody."""
    names = {field.name for field in model._meta.get_fields()}
    flags = [flag for flag in ("is_superuser", "is_active") if flag in names]
    for flag in flags:
        if user := users.filter(**{flag: True}).order_by("pk").first():
            return user
    return None if flags else users.order_by("pk").first()


def _by_key(users: Any, name: str) -> Any:
    try:
        return users.filter(pk=name).first()
    except (ValueError, ValidationError, OverflowError):
        return None


def rows(using: str) -> Result:
    """How many rows there are."""
    logs = AIUsageLog.objects.using(using).count()
    days = AIUsageTracking.objects.using(using).count()
    return Result(
        "Checking existing logs",
        (
            note("logs", f"AIUsageLog entries: {logs}"),
            note("days", f"AIUsageTracking entries: {days}"),
            ok("rows", "Can query existing logs"),
        ),
    )


def api() -> Result:
    """Whether the endpoints of the REST API are mounted and answer."""
    return Result("Checking API endpoints", tuple(_api()))


def _api() -> Iterator[Finding]:
    missing = [name for name in API_PACKAGES if find_spec(name) is None]
    urlconf = getattr(django_settings, "ROOT_URLCONF", None)
    try:
        urls = _urls(get_resolver(), "/") if urlconf else ()
        patterns = [(path, view) for path, view in urls if _is_ours(view)]
    except Exception as error:  # noqa: BLE001 -- whatever the site's own modules raise is the finding
        if isinstance(error, ModuleNotFoundError) and error.name in missing:
            text = (
                "The REST API is mounted, and not installed: "
                f"there is no {' and no '.join(missing)}"
            )
            yield problem("api_not_installed", text, 'pip install "django-usage-tracking[api]"')
        else:
            text = f"The URLs of {urlconf} cannot be loaded: {failed(error)}"
            yield problem("urls_broken", text, _CHECK)
        return
    # Neither is wrong: a site need not have it, whatever else it uses REST framework for.
    if missing:
        yield note("api_not_installed", "The REST API is not installed")
    elif not patterns:
        mount = f'path("api/v1/ai/", include("{API}.urls"))'
        yield note("api_not_mounted", f"The REST API is not mounted, as {mount} would")
    for path, view in patterns:
        if "<" in path or "(" in path:
            continue  # of one row
        try:
            status = view(RequestFactory().get(path)).status_code
        except Exception as error:  # noqa: BLE001 -- whatever a view of the site's raises is the finding
            yield problem("api_broken", f"{path} raises {failed(error)}", "python manage.py check")
            continue
        if status < 500:
            yield ok("api", f"{path} answers ({status})")
        else:
            yield problem("api_broken", f"{path} answers {status}", "python manage.py check")


def _urls(resolver: Any, prefix: str) -> Iterator[tuple[str, Callable[..., Any]]]:
    for pattern in resolver.url_patterns:
        path = prefix + str(pattern.pattern).lstrip("^").rstrip("$")
        if isinstance(pattern, URLPattern):
            yield path, pattern.callback
        else:
            yield from _urls(pattern, path)


def _is_ours(view: Any) -> bool:
    kind = getattr(view, "cls", None) or getattr(view, "view_class", view)
    return str(getattr(kind, "__module__", "")).startswith(API)


def middleware(using: str) -> Result:
    """Whether the middleware is there, and behind the one that knows the user."""
    found = [_told(message) for message in _messages(using) if message.id in _MIDDLEWARE]
    return Result(
        "Checking the middleware",
        (*(found or (ok("middleware", "AIUsageMiddleware is in place"),)), *_not_carried()),
    )


#: What runs a site's code in other processes, or for nobody, by its package.
_QUEUES = {
    "apscheduler": "APScheduler",
    "django_q": "Django Q",
    "dramatiq": "dramatiq",
    "huey": "huey",
    "rq": "rq",
}
_AT_ONCE = ("ImmediateBackend", "DummyBackend")


def _not_carried() -> Iterator[Finding]:
    """Name what is in use and takes no user and no section along."""
    queues = [name for package, name in _QUEUES.items() if find_spec(package) is not None]
    tasks = getattr(django_settings, "TASKS", None) or {}
    if any(not str(task.get("BACKEND", "")).endswith(_AT_ONCE) for task in tasks.values()):
        queues.append("Django's tasks")
    if queues:
        yield note(
            "jobs_without_user",
            f"Jobs of {', '.join(queues)} carry no user: name it in the job, "
            "with ai_usage(user=..., section=...)",
        )
    if not conf.propagate_threads():
        yield note(
            "threads_without_user",
            "AI_USAGE_PROPAGATE_THREADS is False: threads and greenlets carry no user, unless by "
            "propagate(function)",
        )
    consumers = sys.modules.get("channels.consumer")
    if consumers is not None and not is_patched(consumers.AsyncConsumer, "__call__"):
        yield warning(
            "channels_not_followed",
            "The consumers of Channels are not followed: their calls have no user",
            "Restart the site with AI_USAGE_ENABLED = True.",
        )


def settings(using: str) -> Result:
    """What the system checks say of the settings."""
    messages = [m for m in _messages(using) if m.id not in _MIDDLEWARE | _OUTBOX]
    return Result(
        "Checking the settings",
        tuple(map(_told, messages)) or (ok("settings", "The settings are sound"),),
    )


def outbox_settings(using: str) -> list[Finding]:
    """What the system checks say of the outbox."""
    return [_told(message) for message in _messages(using) if message.id in _OUTBOX]


def _messages(using: str) -> list[CheckMessage]:
    """Of our own system checks, which stand above this module: asked for by Django's registry."""
    return [
        message
        for check in registry.registry.get_checks()
        if check.__module__ == "usage_tracking.checks"
        for message in check(app_configs=None, databases=[using])
    ]


def _told(message: CheckMessage) -> Finding:
    code = str(message.id).removeprefix("usage_tracking.").lower()
    return problem(f"check_{code}", message.msg, message.hint or f"Mend it, then: {_CHECK}")


_CHECK = "python manage.py check"
