"""Test the setup of the site: tables, a user for the test call, URLs, middleware, settings."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.core.checks import CheckMessage
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.db import DatabaseError, connections
from django.db.migrations.executor import MigrationExecutor
from django.test import RequestFactory
from django.urls import URLPattern, get_resolver

from .. import checks, conf, places
from ..models import AIUsageLog, AIUsageTracking
from ..system.patching import is_patched
from .findings import Finding, Result, failed, manage, note, ok, problem, warning

API = "usage_tracking.api"
#: The packages of the extra `api`.
API_PACKAGES = ("rest_framework", "django_filters")
#: Messages that the test of the outbox shows; the test of the settings shows the others.
_OUTBOX = {"usage_tracking.W004", "usage_tracking.W005", "usage_tracking.W010"}


def models(using: str) -> Result:
    """Test whether the database answers, has the tables and all migrations."""
    return Result("Checking if models are accessible", (_models(using),))


def _models(using: str) -> Finding:
    migrate = manage("migrate usage_tracking", using)
    try:
        connection = connections[using]
        with connection.cursor() as cursor:
            tables = set(connection.introspection.table_names(cursor))
            constraints = _foreign_keys_to_users(connection, cursor)
        missing = [name for app, name in _not_applied(using) if app == "usage_tracking"]
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
        return problem("migrations", f"Migrations not applied: {', '.join(missing)}", migrate)
    if constraints:
        table, name = constraints[0]
        fix = f"ALTER TABLE {table} DROP CONSTRAINT {name};"
        return problem(
            "foreign_key",
            f"{table} has a foreign key to the users in {using!r}, but DATABASE_ROUTERS puts the "
            f"users in {places.own_users()!r}",
            fix
            if connection.vendor == "postgresql"
            else "Create the tables again: see docs/scaling.md",
        )
    return ok("models", "Models are accessible")


def _not_applied(using: str) -> list[tuple[str, str]]:
    """Return app and name of each migration that the database lacks."""
    executor = MigrationExecutor(connections[using])
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [(migration.app_label, migration.name) for migration, _ in plan]


def query_failed(error: DatabaseError, using: str) -> Finding:
    """Explain why a query failed in a database that has answered before."""
    for alias in dict.fromkeys((using, places.users_of(using))):
        try:
            apps = dict.fromkeys(app for app, _ in _not_applied(alias))
        except (DatabaseError, ImproperlyConfigured):
            continue
        if apps:
            text = f"Migrations not applied to the database {alias!r}: {', '.join(apps)}"
            return problem("not_migrated", f"{text} ({failed(error)})", manage("migrate", alias))
    text = f"The database {using!r} stopped answering: {failed(error)}"
    return problem("database_error", text, manage("dbshell", using))


def _foreign_keys_to_users(connection: Any, cursor: Any) -> list[tuple[str, str]]:
    """Return the foreign keys (table, name) to a table of users that is not the site's."""
    if not places.users_are_apart():
        return []
    if _is_same_database(connection, connections[places.own_users()]):
        return []
    return [
        (model._meta.db_table, name)
        for model in (AIUsageLog, AIUsageTracking)
        for name, found in connection.introspection.get_constraints(
            cursor, model._meta.db_table
        ).items()
        if found["foreign_key"]
    ]


def _is_same_database(connection: Any, other: Any) -> bool:
    """Return whether both connections reach one database, for example one through a pooler."""
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
    """Return the user with the username or primary key `name`, or a default user.

    The default is a superuser, or else an active user.
    """
    title = "Getting test user"
    model = get_user_model()
    users = model._base_manager.using(places.users_of(using))
    user: Any
    if name:
        user = users.filter(**{model.USERNAME_FIELD: name}).first() or _by_key(users, name)
        if user is None:
            text = f"There is no user {name!r}"
            fix = "Omit --user, or use the username or primary key of an existing user."
            return Result(title, (problem("no_such_user", text, fix),)), None
    else:
        user = _default_user(model, users)
    if user is None:
        text = "There is no active user for the test call"
        return Result(
            title, (problem("no_user", text, manage("createsuperuser", places.users_of(using))),)
        ), None
    return Result(title, (ok("user", f"Using user: {user.get_username()} (ID: {user.pk})"),)), user


def _default_user(model: Any, users: Any) -> Any:
    """Return a superuser, or else an active user; any user if the model has no such flags."""
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
    """Count the rows."""
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
    """Test whether the endpoints of the REST API are mounted and answer."""
    return Result("Checking API endpoints", tuple(_api()))


def _api() -> Iterator[Finding]:
    missing = [name for name in API_PACKAGES if find_spec(name) is None]
    urlconf = getattr(django_settings, "ROOT_URLCONF", None)
    try:
        urls = _urls(get_resolver(), "/") if urlconf else ()
        patterns = [(path, view) for path, view in urls if _is_ours(view)]
    except Exception as error:  # noqa: BLE001 -- the site's own modules may raise anything
        if isinstance(error, ModuleNotFoundError) and error.name in missing:
            text = f"The REST API is mounted but not installed: {' and '.join(missing)} missing"
            yield problem("api_not_installed", text, 'pip install "django-usage-tracking[api]"')
        else:
            text = f"The URLs of {urlconf} cannot be loaded: {failed(error)}"
            yield problem("urls_broken", text, _CHECK)
        return
    # Not a problem: the API is optional, even if the site uses REST framework.
    if missing:
        yield note("api_not_installed", "The REST API is not installed")
    elif not patterns:
        mount = f'path("api/v1/ai/", include("{API}.urls"))'
        yield note("api_not_mounted", f"The REST API is not mounted. To mount it: {mount}")
    for path, view in patterns:
        if "<" in path or "(" in path:
            continue  # the endpoint of one row
        try:
            status = view(RequestFactory().get(path)).status_code
        except Exception as error:  # noqa: BLE001 -- the site's code may raise anything
            yield problem("api_broken", f"{path} raises {failed(error)}", _CHECK)
            continue
        if status < 500:
            yield ok("api", f"{path} answers ({status})")
        else:
            yield problem("api_broken", f"{path} answers {status}", _CHECK)


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


def middleware() -> Result:
    """Test whether the middleware is installed, and what runs code without a user."""
    found = [_finding(message) for message in checks.check_middleware()]
    return Result(
        "Checking the middleware",
        (*(found or (ok("middleware", "AIUsageMiddleware is in place"),)), *_without_user()),
    )


#: Task queues that do not pass the user on, by package.
_QUEUES = {
    "apscheduler": "APScheduler",
    "django_q": "Django Q",
    "dramatiq": "dramatiq",
    "huey": "huey",
    "rq": "rq",
}
#: Task backends that run no code in another process.
_IMMEDIATE = ("ImmediateBackend", "DummyBackend")


def _without_user() -> Iterator[Finding]:
    """Yield what the site uses that does not pass on user and section."""
    queues = [name for package, name in _QUEUES.items() if find_spec(package) is not None]
    tasks = getattr(django_settings, "TASKS", None) or {}
    if any(not str(task.get("BACKEND", "")).endswith(_IMMEDIATE) for task in tasks.values()):
        queues.append("Django's tasks")
    if queues:
        yield note(
            "jobs_without_user",
            f"Jobs of {', '.join(queues)} do not pass on the user: set it in the job, "
            "with ai_usage(user=..., section=...)",
        )
    if not conf.propagate_threads():
        yield note(
            "threads_without_user",
            "AI_USAGE_PROPAGATE_THREADS is False: threads and greenlets have no user, unless you "
            "use propagate(function)",
        )
    consumers = sys.modules.get("channels.consumer")
    if consumers is not None and not is_patched(consumers.AsyncConsumer, "__call__"):
        yield warning(
            "channels_not_followed",
            "The consumers of Channels are not instrumented: their calls have no user",
            "Restart the site with AI_USAGE_ENABLED = True.",
        )


def settings(using: str) -> Result:
    """Run the system checks of the settings, the database and the tenants."""
    messages = [
        *checks.check_settings(),
        *checks.check_database(databases=[using]),
        *(message for message in checks.check_outbox() if message.id not in _OUTBOX),
        *checks.check_tenants(),
    ]
    return Result(
        "Checking the settings",
        tuple(map(_finding, messages)) or (ok("settings", "The settings are valid"),),
    )


def outbox_settings() -> list[Finding]:
    """Run the system checks of the outbox, for `undelivered.examine`."""
    return [
        _finding(message)
        for message in checks.check_outbox()
        # The test of the outbox writes a file instead.
        if message.id in _OUTBOX - {"usage_tracking.W005"}
    ]


def _finding(message: CheckMessage) -> Finding:
    code = str(message.id).removeprefix("usage_tracking.").lower()
    return problem(f"check_{code}", message.msg, message.hint or f"Fix it, then run: {_CHECK}")


_CHECK = "python manage.py check"
